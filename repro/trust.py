"""Are `isovae stability` and `isovae drift` right? Counts their answers where the truth is known."""
import csv
import json
import math
import random

from bars import Bars
from lab import Job, Table

TITLE = "Can the answers be trusted? Stability and drift"

STABILITY = {"mixa": ("toy:mixa", "3 factors, 8 latents given"),
             "equal": ("toy:norm,var=1:1:4", "two factors of equal variance, 8 latents given")}
NULLS = {"toy": "toy:mixa, fresh 2,000 and 1,000 rows",
         "toy-train": "toy:mixa, the training rows and fresh 1,000",
         "table": "table of 2,000 rows, split at random",
         "table-train": "table, the training rows and fresh 1,000"}


# ---- stability ----

def stability(work, data, seeds, quick):
    out = work.path("stability.json")
    work.isovae("stability", data, "-n", "8", "--seeds", seeds, "--json", out, "--runs",
                work.path("runs"), *(["--quick"] if quick else []))
    with open(out) as file:
        report = json.load(file)
    keys = ("latents", "found", "claimed", "match_min", "match_mean")
    return {"summary": report["summary"],
            "units": [{k: unit[k] for k in keys if k in unit} for unit in report["units"]],
            "latents": [{k: x[k] for k in keys if k in x} for x in report["latents"]]}


# ---- drift ----

FEATURES = ["a", "b", "c", "heavy", "skew", "count", "flag", "mix", "n1", "n2", "n3", "n4"]


def make_row(draw):
    """12 features on 3 factors: heavy tails, a skewed one, whole numbers with ties, a rare flag."""
    f, g, h = (draw.gauss(0, 1) for _ in range(3))
    tail = draw.gauss(0, 1) / max(abs(draw.gauss(0, 1)), 0.05)
    return [f + 0.3 * draw.gauss(0, 1), g + 0.3 * draw.gauss(0, 1),
            f - g + 0.3 * draw.gauss(0, 1), h + 0.5 * tail, math.exp(0.8 * h),
            float(round(3 + 1.5 * f + draw.gauss(0, 0.5))), float(draw.random() < 0.03),
            (2 if draw.random() < 0.4 else -2) + 0.5 * g, *(draw.gauss(0, 1) for _ in range(4))]


class Tables:
    """Tables of such rows, in files of the job's folder, and a model of 3,000 of them."""

    def __init__(self, work, seed, quick):
        self.work, self.draw = work, random.Random(seed)
        self.train = self.write("train.csv", self.fresh(3000))
        self.model, _ = work.fit(self.train, "-n", "6", *(["--quick"] if quick else []))

    def fresh(self, count):
        return [make_row(self.draw) for _ in range(count)]

    def write(self, name, rows):
        path = self.work.path(name)
        with open(path, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(FEATURES)
            writer.writerows(rows)
        return path


def found(work, model, reference, new):
    """Whether drift says that the data have changed."""
    out = work.path("drift.json")
    work.isovae("drift", model, reference, new, "--json", out, codes=(0, 1))
    with open(out) as file:
        return bool(json.load(file)["found"])


def null(work, setting, repeats, quick, seed):
    """Alarms where nothing has changed."""
    if setting.startswith("toy"):
        model, _ = work.fit("toy:mixa", "-n", "8", *(["--quick"] if quick else []))
        pairs = (("toy:mixa" if setting == "toy-train" else f"toy:mixa,n=2000,seed={1000 + k}",
                  f"toy:mixa,n=1000,seed={(9000 if setting == 'toy-train' else 5000) + k}")
                 for k in range(repeats))
    else:
        tables = Tables(work, seed, quick)
        model = tables.model
        if setting == "table-train":
            pairs = ((tables.train, tables.write("b.csv", tables.fresh(1000)))
                     for _ in range(repeats))
        else:
            def splits():
                for _ in range(repeats):
                    rows = tables.fresh(2000)
                    yield (tables.write("a.csv", rows[:1000]), tables.write("b.csv", rows[1000:]))
            pairs = splits()
    return {"alarms": sum(found(work, model, *pair) for pair in pairs), "of": repeats}


def power(work, change, features, repeats, quick, seed):
    """How often a change in one feature of 1,000 rows is found, each feature in turn."""
    tables = Tables(work, seed, quick)
    rows = tables.fresh(20000)
    columns = list(zip(*rows))
    means = [sum(c) / len(c) for c in columns]
    sds = [(sum((v - m) ** 2 for v in c) / len(c)) ** 0.5 for c, m in zip(columns, means)]
    reference = tables.write("reference.csv", tables.fresh(1000))
    hits = {}
    for feature in features:
        i = FEATURES.index(feature)
        for _ in range(repeats):
            new = tables.fresh(1000)
            for row in new:
                row[i] = (row[i] + 0.5 * sds[i] if change == "shift"
                          else means[i] + 1.3 * (row[i] - means[i]))
            hits[feature] = hits.get(feature, 0) + found(
                work, tables.model, reference, tables.write("b.csv", new))
    return {"found": hits, "each": repeats}


def jobs(lab):
    smoke = lab.smoke
    out = [Job(f"stability-{key}", stability, dict(data=data, seeds=3 if smoke else 10, quick=smoke))
           for key, (data, _) in STABILITY.items() if not smoke or key == "mixa"]
    out += [Job(f"null-{key}", null, dict(setting=key, repeats=3 if smoke else 100, quick=smoke,
                                          seed=20 + i)) for i, key in enumerate(NULLS)]
    out.append(Job("power-shift", power, dict(change="shift", features=FEATURES,
                                              repeats=1 if smoke else 5, quick=smoke, seed=30)))
    out.append(Job("power-spread", power, dict(change="spread",
                                               features=["a", "b", "c", "mix", "n1", "n2"],
                                               repeats=1 if smoke else 5, quick=smoke, seed=31)))
    return out


# ---- the page ----

def stability_table(records, bars):
    rows = []
    for key, (data, words) in STABILITY.items():
        record = records.get(f"stability-{key}")
        if record is None:
            continue
        seeds, f = record["settings"]["seeds"], record["figures"]
        claimed = [unit for unit in f["units"] if unit["claimed"]]
        whole = all(unit["found"] == seeds for unit in claimed)
        least = min((unit["match_min"] for unit in claimed), default=0)
        sizes = sorted(len(unit["latents"]) for unit in claimed)
        if key == "mixa":
            good, bar = whole and sizes == [1, 1, 1] and least >= 0.99, \
                "3 latents in all, match 0.99, no spare one claimed"
        else:
            good, bar = whole and sizes == [1, 2], "one latent and one group of two, in all"
        rows.append([f"`{data}`", words, str(seeds), f["summary"],
                     bars.judge(f"{least:.4f}", good, bar, f"stability of {data}")])
    return Table(["data", "truth", "runs", "what `stability` says", "least match of what it claims"],
                 rows, "**Stability**: trained again from other seeds with all defaults, does it "
                 "find what is there, claim nothing else, and tell that two axes of equal variance "
                 "are one plane?")


def drift_table(records, bars):
    rows = []
    for key, words in NULLS.items():
        record = records.get(f"null-{key}")
        if record is not None:
            alarms, of = record["figures"]["alarms"], record["figures"]["of"]
            rows.append([words, "nothing", bars.judge(f"{alarms} alarms in {of}",
                                                      alarms <= max(1, of // 10),
                                                      f"at most {max(1, of // 10)}",
                                                      f"false alarms: {words}")])
    for key, words in (("shift", "half a standard deviation in one feature"),
                       ("spread", "a spread 1.3 times as large in one feature")):
        record = records.get(f"power-{key}")
        if record is not None:
            hits, each = record["figures"]["found"], record["figures"]["each"]
            short = ", ".join(f"{k} {v} of {each}" for k, v in hits.items() if v < each)
            rows.append([f"table, {len(hits)} features in turn, 1,000 rows against 1,000", words,
                         bars.judge(f"found {sum(hits.values())} of {each * len(hits)}"
                                    + (f" ({short})" if short else ""), not short, "all",
                                    f"power: {words}")])
    return Table(["rows", "what has changed", "answer of `drift`"], rows, "**Drift**, at alpha 0.05: "
                 "how often it cries where nothing has changed, and how often it sees a change. "
                 "The table has 12 features with heavy tails, a skewed one, whole numbers, a rare "
                 "flag and two modes.")


def page(lab, records):
    bars = Bars()
    blocks = [stability_table(records, bars), drift_table(records, bars)]
    return [bars.verdict(), *[b for b in blocks if b.rows]]
