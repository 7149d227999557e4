#!/usr/bin/env python3
"""Fits the toy sets on several seeds and prints their figures beside the bars of docs/theory.md.

    repro/toy_figures.py [--isovae build/isovae] [--seeds 5] [--only norm,mixa] [--keep DIR]

Standard library only. Exit status 1 where a figure misses its bar.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

BAR = {  # norm range, its SD, mean cosine, variance ratio, coding/predicted, estimate, r, r_log
    "norm": dict(norm=(0.98, 1.01), sd=0.03, cosine=0.010, ratio=0.015, coding=(0.985, 1.01),
                 estimate="elbo", r=0.999, r_log=0.999, bias=0.015),
    "mixa": dict(norm=(0.95, 1.02), sd=0.10, cosine=0.012, ratio=0.03, coding=(0.965, 9),
                 estimate="elbo", r=0.985, r_log=0.988),
    "ramp": dict(norm=(0.91, 1.02), sd=0.20, cosine=0.012, ratio=0.04, coding=(0.965, 9),
                 estimate="logdet", r=0.98, r_log=0.992),
    "mix": dict(estimate="elbo", r=0.93, r_log=0.0, init="multimodal"),
}


def run(*command):
    start = time.time()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    return time.time() - start


def fit_and_report(isovae, folder, name, data, test, options, report_options=()):
    model, out = os.path.join(folder, name + ".safetensors"), os.path.join(folder, name + ".json")
    seconds = run(isovae, "fit", data, "-o", model, "-q", *options)
    run(isovae, "report", model, test, "--json", out, "-q", *report_options)
    with open(out) as file:
        return seconds, json.load(file)


def judge(kind, report):
    """(text, list of misses)"""
    bar, misses = BAR[kind], []

    def within(label, value, low, high):
        if not low <= value <= high:
            misses.append(f"{label} {value:.4f} outside {low:g}..{high:g}")

    active = [latent for latent in report["latents"] if latent["active"]]
    norms = [latent["norm_mean"] for latent in active]
    sd = max(latent["norm_sd"] for latent in active)
    optimality = [latent["optimality_mean"] for latent in report["latents"]]
    cosine = report["orthogonality"]["mean_abs_cosine"]
    ratios = report["truth"]["ratio"]
    coding = report["distortion"]["coding"] / report["distortion"]["coding_predicted"]
    density = report["truth"]["density"]
    chosen = density[bar["estimate"]]
    posterior = density["posterior"]
    if "norm" in bar:
        within("active", len(active), 3, 3)
        for value in norms:
            within("norm_mean", value, *bar["norm"])
        within("norm_sd", sd, 0, bar["sd"])
        within("cosine", cosine, 0, bar["cosine"])
        for value in ratios:
            within("variance ratio", value, 1 - bar["ratio"], 1 + bar["ratio"])
        within("coding/predicted", coding, *bar["coding"])
    if kind == "norm":
        for value in optimality:
            within("optimality", value, 0.97, 1.03)
        within("posterior bias", abs(posterior["bias_nats"]), 0, bar["bias"])
    within("r", chosen["r"], bar["r"], 1)
    within("r_log", chosen["r_log"], bar["r_log"], 1)
    text = (f"{len(active)} | {min(norms):.3f}-{max(norms):.3f} | {sd:.3f} | {cosine:.4f} | "
            f"{' '.join(f'{r:.4f}' for r in ratios)} | {coding:.3f} | "
            f"{min(optimality):.3f}-{max(optimality):.3f} | {bar['estimate']} {chosen['r']:.4f} / "
            f"{chosen['r_log']:.4f} | {posterior['bias_nats']:+.4f}")
    return text, misses


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--isovae", default="build/isovae")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="norm,mixa,ramp,mix,spare")
    parser.add_argument("--fit", default="", help="further options of isovae fit, as one string")
    parser.add_argument("--keep", help="folder for models and reports (default: a temporary one)")
    options = parser.parse_args()
    kinds = options.only.split(",")
    folder = options.keep or tempfile.mkdtemp()
    os.makedirs(folder, exist_ok=True)
    failed = 0
    print("| set, seed | active | norm_mean | norm_sd | cosine | variance_y / truth | coding/pred | "
          "optimality | density r / log | E5 bias | s |\n" + "|---" * 11 + "|")
    for kind in [k for k in kinds if k in BAR]:
        for seed in range(options.seeds):
            fit_options = ["--latent-dim", "3", "--beta", "0.003", "--objective", "decomposed",
                           "--seed", str(seed)]
            fit_options += options.fit.split()
            if "init" in BAR[kind]:
                fit_options += ["--init", BAR[kind]["init"]]
            seconds, report = fit_and_report(options.isovae, folder, f"{kind}{seed}",
                                             f"toy:{kind},n=50000,seed={seed}",
                                             f"toy:{kind},n=10000,seed={seed + 100}", fit_options)
            text, misses = judge(kind, report)
            print(f"| {kind} {seed} | {text} | {seconds:.1f} |", flush=True)
            for miss in misses:
                print(f"|   miss: {miss} |", flush=True)
            failed += len(misses)
    if "spare" in kinds:
        print("\n8 latents for 3, conventional, beta 0.01\n\n| seed | active | variance_y / truth | restarts, warnings | s |\n"
              + "|---" * 5 + "|")
        for seed in range(2 * options.seeds):
            seconds, report = fit_and_report(options.isovae, folder, f"spare{seed}",
                                             f"toy:norm,n=50000,seed={seed}",
                                             f"toy:norm,n=10000,seed={seed + 100}",
                                             ["--latent-dim", "8", "--beta", "0.01", "--seed", str(seed)])
            ratios = report["truth"]["ratio"]
            good = report["active_dim"] == 3 and all(abs(r - 1) <= 0.03 for r in ratios)
            failed += not good
            codes = ",".join(w["code"] for w in report["warnings"])
            print(f"| {seed} | {report['active_dim']} | {' '.join(f'{r:.4f}' for r in ratios)} | "
                  f"{codes or '-'} | {seconds:.1f} |{'' if good else ' miss'}", flush=True)
    print(f"\n{failed} figures missed their bars" if failed else "\nevery figure meets its bar")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
