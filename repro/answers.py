#!/usr/bin/env python3
"""Are `isovae stability` and `isovae drift` right? Counts their answers where the truth is known.

    repro/answers.py [--isovae build/isovae] [--only stability,drift] [--seeds 10] [--smoke]

Stability: toy:mixa has 3 factors, of 8 latents; toy:norm,var=1:1:4 has two factors that no model can
tell apart. Drift: 100 pairs without a change each, of a built-in set and of a table with heavy tails,
whole numbers and a rare flag, split at random; the same with the training rows as the reference; and
how often half a standard deviation in one feature of 1,000 rows, and a spread 1.3 times as large, is
found. Standard library and the public command alone. Exit status 1 where a figure misses its bar.
"""
import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time


class Table:
    """Results as Markdown, and what missed."""

    def __init__(self):
        self.missed = 0
        print("| question | answer | bar | s |\n|---|---|---|---|")

    def add(self, question, answer, bar, good, started):
        self.missed += not good
        print(f"| {question} | {answer} | {bar}{'' if good else ': missed'} | "
              f"{time.time() - started:.0f} |", flush=True)


def run(*command, codes=(0,)):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in codes:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    return done.returncode


# ---- stability ----

def stability(isovae, folder, data, seeds, more):
    out = os.path.join(folder, "stability.json")
    run(isovae, "stability", data, "-n", "8", "--seeds", str(seeds), "--json", out, "-q",
        "--runs", tempfile.mkdtemp(dir=folder), *more)
    with open(out) as file:
        return json.load(file)


def check_stability(options, folder, table):
    more = ["--quick"] if options.smoke else []
    seeds = options.seeds
    started = time.time()
    report = stability(options.isovae, folder, "toy:mixa", seeds, more)
    claimed = [unit for unit in report["units"] if unit["claimed"]]
    least = min((unit["match_min"] for unit in claimed), default=0)
    good = (len(claimed) == 3 and all(len(u["latents"]) == 1 and u["found"] == seeds for u in claimed)
            and least >= (0.98 if options.smoke else 0.99))
    table.add(f"toy:mixa, 3 factors, 8 latents, {seeds} seeds", f"{report['summary']}; least match "
              f"{least:.4f}; {len(claimed)} claimed", "3 in every run, match >= 0.99", good, started)
    started = time.time()
    report = stability(options.isovae, folder, "toy:norm,var=1:1:4", seeds, more)
    units = sorted((len(unit["latents"]), unit["found"]) for unit in report["units"]
                   if unit["claimed"])
    apart = max(latent["match_min"] for latent in report["latents"][1:3])
    table.add(f"toy:norm,var=1:1:4, 8 latents, {seeds} seeds", f"{report['summary']}; least match of "
              f"the two apart {apart:.2f}", "one latent and one group of two",
              units == [(1, seeds), (2, seeds)], started)


# ---- drift ----

FEATURES = ["a", "b", "c", "heavy", "skew", "count", "flag", "mix", "n1", "n2", "n3", "n4"]


def make_row(draw):
    """12 features on 3 factors: heavy tails, a skewed one, whole numbers with ties, a rare flag."""
    f, g, h = (draw.gauss(0, 1) for _ in range(3))
    tail = draw.gauss(0, 1) / max(abs(draw.gauss(0, 1)), 0.05)
    return [f + 0.3 * draw.gauss(0, 1), g + 0.3 * draw.gauss(0, 1),
            f - g + 0.3 * draw.gauss(0, 1), h + 0.5 * tail, 2.718 ** (0.8 * h),
            float(round(3 + 1.5 * f + draw.gauss(0, 0.5))), float(draw.random() < 0.03),
            (2 if draw.random() < 0.4 else -2) + 0.5 * g, *(draw.gauss(0, 1) for _ in range(4))]


def write(path, rows):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(FEATURES)
        writer.writerows(rows)
    return path


def drift(isovae, model, reference, new):
    return run(isovae, "drift", model, reference, new, "-q", codes=(0, 1))


def check_drift(options, folder, table):
    isovae, repeats = options.isovae, 5 if options.smoke else 100
    fit = ["--quick"] if options.smoke else []
    draw = random.Random(20)

    def path(name):
        return os.path.join(folder, name)

    def fresh(count):
        return [make_row(draw) for _ in range(count)]

    def alarms(question, pairs, model):
        started = time.time()
        found = sum(drift(isovae, model, *pair) for pair in pairs)
        table.add(question, f"{found} alarms in {repeats}", f"at most {repeats // 10 or 1}",
                  found <= (repeats // 10 or 1), started)

    toy, model, train = path("toy.safetensors"), path("m.safetensors"), path("train.csv")
    run(isovae, "fit", "toy:mixa", "-n", "8", "-o", toy, "-q", *fit)
    write(train, fresh(3000))
    run(isovae, "fit", train, "-n", "6", "-o", model, "-q", *fit)

    alarms("toy:mixa, fresh 2,000 and 1,000 rows: no change",
           ((f"toy:mixa,n=2000,seed={1000 + k}", f"toy:mixa,n=1000,seed={5000 + k}")
            for k in range(repeats)), toy)
    alarms("toy:mixa, the training rows and fresh 1,000: no change",
           (("toy:mixa", f"toy:mixa,n=1000,seed={9000 + k}") for k in range(repeats)), toy)

    def splits():
        rows = fresh(2000)
        for _ in range(repeats):
            draw.shuffle(rows)
            yield write(path("a.csv"), rows[:1000]), write(path("b.csv"), rows[1000:])

    alarms("table of 2,000 rows split at random: no change", splits(), model)
    alarms("table, the training rows and fresh 1,000: no change",
           ((train, write(path("b.csv"), fresh(1000))) for _ in range(repeats)), model)

    rows = fresh(20000)
    count = len(rows)
    mean = [sum(row[i] for row in rows) / count for i in range(len(FEATURES))]
    sd = [(sum((row[i] - mean[i]) ** 2 for row in rows) / count) ** 0.5
          for i in range(len(FEATURES))]
    reference = write(path("reference.csv"), fresh(1000))

    def power(question, change, features, times):
        started = time.time()
        found, tried, missed = 0, 0, []
        for feature in features:
            i = FEATURES.index(feature)
            for _ in range(times):
                rows = fresh(1000)
                for row in rows:
                    row[i] = change(row[i], mean[i], sd[i])
                hit = drift(isovae, model, reference, write(path("b.csv"), rows))
                found, tried = found + hit, tried + 1
                if not hit:
                    missed.append(feature)
        table.add(question, f"found {found} of {tried}" + (f", missed in {', '.join(missed)}"
                                                            if missed else ""),
                  "all", found == tried, started)

    times = 1 if options.smoke else 50 // len(FEATURES) + 1
    power("half an SD in one feature of 1,000 rows, each feature in turn",
          lambda value, m, s: value + 0.5 * s, FEATURES, times)
    power("a spread of 1.3 in one feature of 1,000 rows",
          lambda value, m, s: m + 1.3 * (value - m),
          ["a", "b", "c", "mix", "n1", "n2"], 1 if options.smoke else 5)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--isovae", default="build/isovae")
    parser.add_argument("--only", default="stability,drift")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--smoke", action="store_true", help="a few repeats of short runs")
    options = parser.parse_args()
    options.seeds = options.seeds or (3 if options.smoke else 10)
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        if "stability" in options.only:
            check_stability(options, folder, table)
        if "drift" in options.only:
            check_drift(options, folder, table)
    print(f"\n{table.missed} figures missed their bars" if table.missed
          else "\nevery figure meets its bar")
    return 1 if table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
