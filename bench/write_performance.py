#!/usr/bin/env python3
"""Writes docs/performance.md from build/bench.json.

    bench/write_performance.py [JSON [PAGE]]
"""

import json
import os
import sys

sys.dont_write_bytecode = True
import works  # noqa: E402
from run import REPEATS  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# What is aimed at: share of the limit with one thread; ratios to PyTorch as it comes, and to the
# fastest peer, whichever it is. None: nothing.
TARGETS = {
    "toy-step": (0.70, 5.0, 3.0),
    "mnist-step": (0.75, 2.5, 1.5),
    "toy-jacobian": (0.80, 2.0, 1.5),
    "mnist-jacobian": (0.80, 2.0, 1.5),
    "conv64-step": (0.70, 2.0, 1.8),
    "conv-small-step": (0.70, 2.0, 1.8),
    "conv64-jacobian": (None, None, None),
}

METHOD = """\
## How it is measured
`make bench` builds `isovae-bench` and starts it and each peer as a process of its own that lives
through the run. First all of them compute the same thing from the same weights, data and noise:
the loss, the length of its gradient and the loss after three steps of Adam; trace and norm of the
Gram matrices; mean and spread of the scores. Whoever differs by more than 1e-4 is left out
(largest difference this time: {worst:.0e}). Then they take turns in blocks of {block} repeats, so that a
drift of the machine meets all alike; a repeat does the work as often as fills 20 ms; a block begins, after a pause in which the threads of the contender before come to rest,
with a run that does not count. What takes less than a second is repeated {repeats} times,
what takes longer {slow} times, whole fits 3 times (peers: {peer_fits}). With one thread all are pinned to the same processor. The tables give medians,
and quartiles in brackets. `OPENBLAS_CORETYPE` and `OPENBLAS_L2_SIZE` are unset for all.

- **isovae**: the library's own path: noise drawn, forward, backward, Adam; scores through the call
  that `isovae score` makes. `*-train` is the trainer's loop, which shuffles, gathers and scales rows as well.
- **default**: PyTorch as its users write it: `nn.Module`, autograd, `torch.optim.Adam`, Jacobians by
  `vmap(jacfwd)`.
- **tuned**: PyTorch without autograd: forward and backward by hand into buffers that are kept, all
  parameters in one vector under one Adam (fused where the version has it), tangents by hand as one
  matrix product, chunks of the size that proves fastest.
- **compiled**: the same functions under `torch.compile` (the step: autograd of the compiled loss
  and the fused Adam). Compiling is not timed.
- **jit**: JAX, the whole step one compiled function with donated state; Jacobians by `vmap(jvp)`.

The works on pictures (`conv*`) are steps of {conv} repeats (peers: {conv_peers}), Jacobians of {jacobian} (peers:
{jacobian_peers}, each on 20 of the 100 rows, times five); what all compute is compared on the first 10
rows of the Jacobian. Here PyTorch's **default** is autograd
with channels first; **tuned** is autograd with the faster of channels last and channels first and the
fused Adam; for the Jacobian it is the fastest, on a few rows, of tangents by hand (one convolution for
those of all rows), `vmap(jvp)` and double backward. The raw parameters of GDN are trained by all
alike. JAX is not among them, and without `--full` only PyTorch 2 with one thread (its compiled
Jacobian is left to `--full`).

Debian's PyTorch 1.13 multiplies matrices with the system's BLAS, which is a serial one where
isovae's own dependencies were installed.

### Operations
"""


PROFILE = """\
## Where the time goes
Shares of one core by `perf record`, on the machine that wrote this page first (AVX-512). In matrix
products the kernel runs at 95 to 98 % of the peak; what keeps a step from 85 % of its limit is the rest.

| of | products | activations, slopes | packing weights | Adam | bias gradients | other |
|---|---|---|---|---|---|---|
| toy-step | 64 % | 11 % | 5 % | 5 % | 3 % | slopes times gradients 2, KL, noise and z 4, calls 6 |
| mnist-step | 71 % | 1 % | 8 % | 8 % | 1 % | cross-entropy and its gradient 3, rows copied 1 |
| toy-jacobian | 80 % | 10 % | | | | Gram matrix 2, seeds and copies 2 |
| mnist-jacobian | 84 % | | | | | Gram matrix 10, G 2 |
| conv64-step | 69 % | | 5 % | 4 % | 1 % | slopes times gradients 3, images framed 2, GDN |
| conv-small-step | 69 % | 3 % | 1 % | 1 % | | batch norm 6, orders changed 4, images framed 3 |

A step at 85 % needs the toy's other third halved: weights packed by Adam in the same pass, and cheaper
exponentials. mnist-step waits for the third cache (Adam and packing move 30 MB a step), which shows as
its wide quartiles where neighbours use that cache. mnist-jacobian goes beyond its limit because that
counts zeros: behind a ReLU half of each tangent is zero, and is left out.
"""


def number(value):
    return "%.3g" % value if value < 1000 else "%.0f" % value


def default_peers(row):
    return {n: p for n, p in row["peers"].items() if n.endswith("default")}


def fastest(peers):
    return min(peers.items(), key=lambda item: item[1]["ms_median"])


def machine_lines(report):
    m = report["machine"]
    caches = m.get("caches", {})
    sizes = ", ".join("%s %d KiB" % (k.split("_")[0].upper(), v // 1024) for k, v in caches.items())
    together = [p["gflops_together"] for p in report["peaks"] if p["threads"] == 2]
    lines = ["## The machine", "",
             "%s, %d cores, kernels for %s; caches as the system tells them: %s. " % (
                 m["cpu"], m["cores"], m["isa"], sizes) +
             "Peak of one core, measured between the works by multiply-adds on registers: "
             "**%.0f GFLOP/s** (f32)%s." % (report["peak_gflops"],
                                           "; two cores together %.0f" % sorted(together)[
                                               len(together) // 2] if together else ""), "",
             "| read over and over | GB/s |", "|---|---|"]
    for b in report["bandwidth"]:
        lines.append("| %d KiB | %.0f |" % (b["bytes"] // 1024, b["gb_per_s"]))
    return lines


def main_table(report):
    lines = ["## The works", "",
             "Times in milliseconds (a step; 1,000 or 10,000 rows; a fit). The limit is the operations "
             "of the work over the peak of one core times the threads; the share is limit over median.",
             "",
             "| work | threads | isovae | GFLOP/s | limit | share |",
             "|---|---|---|---|---|---|"]
    for r in report["rows"]:
        limit = "| | | |" if r["flops"] == 0 else "| %s | %s | %.0f %% |" % (
            number(r["gflops"]), number(r["limit_ms"]), 100 * r["share_of_limit"])
        lines.append("| %s | %d | %s [%s, %s] %s" % (
            r["work"], r["threads"], number(r["ms_median"]), number(r["ms_q1"]),
            number(r["ms_q3"]), limit))
    lines.append("")
    lines += ["- `%s`: %s" % (name, text) for name, (_, _, text) in works.WORKS.items()
              if any(r["work"] == name for r in report["rows"])]
    return lines


def peer_table(report):
    names = []
    for r in report["rows"]:
        names += [n for n in r["peers"] if n not in names]
    if not names:
        return ["## Peers", "", "None was installed."]
    lines = ["## Peers", "",
             "Milliseconds, and how many times isovae's time that is (above 1: isovae is faster).", "",
             "| work | threads | isovae | " + " | ".join(names) + " |",
             "|---|---|---|" + "---|" * len(names)]
    for r in report["rows"]:
        if not r["peers"]:
            continue
        cells = []
        for n in names:
            p = r["peers"].get(n)
            cells.append("%s (%.2f)" % (number(p["ms_median"]), p["ratio"]) if p else "")
        lines.append("| %s | %d | %s | %s |" % (r["work"], r["threads"], number(r["ms_median"]),
                                              " | ".join(cells)))
    lines += ["", "Versions: " + ", ".join("%s (%s)" % item for item in
                                           report["contenders"].items()) + "."]
    return lines


def where_peers_win(report):
    lines = ["### Where a peer wins", ""]
    found = False
    for r in report["rows"]:
        for n, p in sorted(r["peers"].items(), key=lambda item: item[1]["ms_median"]):
            if p["ratio"] < 1:
                found = True
                lines.append("- %s, %d threads: %s takes %s ms, isovae %s ms (%.2f times as long)." % (
                    r["work"], r["threads"], n, number(p["ms_median"]), number(r["ms_median"]),
                    1 / p["ratio"]))
    if not found:
        lines.append("Nowhere in this run.")
    return lines


def goals(report):
    lines = ["## Against the aims", "",
             "With one thread; ratios to the faster of the PyTorch versions as they come, and to the "
             "fastest peer of all.", "",
             "| work | share of the limit | to PyTorch's default | to the fastest peer |",
             "|---|---|---|---|"]

    def judged(value, aim, text):
        if aim is None:
            return text % value
        return "%s (aim %s: %s)" % (text % value, text % aim, "met" if value >= aim else "short")

    for r in report["rows"]:
        if r["threads"] != 1 or r["work"] not in TARGETS:
            continue
        share, default, best = TARGETS[r["work"]]
        cells = [judged(100 * r["share_of_limit"], share and 100 * share, "%.0f %%"), "no peer",
                 "no peer"]
        if default_peers(r):
            cells[1] = judged(fastest(default_peers(r))[1]["ratio"], default, "%.2f")
        if r["peers"]:
            name, p = fastest(r["peers"])
            cells[2] = judged(p["ratio"], best, "%.2f") + ", " + name
        lines.append("| %s | %s |" % (r["work"], " | ".join(cells)))
    lines += two_threads(report)
    return lines


def two_threads(report):
    one = {r["work"]: r["ms_median"] for r in report["rows"] if r["threads"] == 1}
    pairs = [(r["work"], one[r["work"]] / r["ms_median"]) for r in report["rows"]
             if r["threads"] == 2 and r["work"] in one]
    lines = []
    if pairs:
        lines += ["", "Two threads against one: " +
                  ", ".join("%s %.2f" % pair for pair in pairs) + "."]
    if report["busy_core"]:
        lines += ["", "With another process busy on one of the two cores, two threads run at " +
                  ", ".join("%.2f (%s)" % (b["speed_of_one_thread"], b["work"])
                            for b in report["busy_core"]) +
                  " of the speed of one thread that has the other core to itself (aim 0.9)."]
    return lines


def fit_lines(report):
    lines = []
    for r in report["rows"]:
        q = r.get("quality")
        if not q:
            continue
        if not lines:
            lines += ["## Whole fits", "",
                      "`toy:norm`, 50,000 rows, the default recipe, from rows in memory to a calibrated "
                      "model. norm is to be within 0.98 to 1.01 and r (the default density estimate "
                      "against the truth) at least 0.999. Peers follow the same steps, schedule and batch.", ""]
        text = "- %s, %d threads: %.2f s for %d steps, %d latents active, norm %s" % (
            r["work"], r["threads"], r["ms_median"] / 1e3, q["steps"], q["active"],
            ", ".join("%.3f" % v for v in q["norm"]))
        if "r" in q:
            text += ", r %.4f" % q["r"]
        lines.append(text + "; the report after it %.2f s." % (q["report_ms"] / 1e3))
        for n, p in r["peers"].items():
            text = "    - %s: %.2f s (%.1f times)" % (n, p["ms_median"] / 1e3, p["ratio"])
            if "quality" in p:
                text += ", %d active, norm %s" % (p["quality"]["active"], ", ".join(
                    "%.3f" % v for v in p["quality"]["norm"]))
            lines.append(text)
    return lines


def level_rate(report, size):
    """Bandwidth of the smallest measured size that holds the weights."""
    for b in report["bandwidth"]:
        if b["bytes"] >= size:
            return b["gb_per_s"]
    return report["bandwidth"][-1]["gb_per_s"]


def latency_lines(report):
    lines = ["## One row at a time", "",
             "Microseconds. The last column: the time to read the weights once from the cache level that "
             "holds them (a score reads the decoder's more than once).", "",
             "| network | what | p50 | p99 | weights | reading them |", "|---|---|---|---|---|---|"]
    for r in report["latency"]:
        reading = r["weight_bytes"] / level_rate(report, r["weight_bytes"]) / 1e3
        lines.append("| %s | %s | %.1f | %.1f | %d KiB | %.1f |" % (
            r["net"], r["what"], r["p50_us"], r["p99_us"], r["weight_bytes"] // 1024, reading))
    if report["serve"]:
        lines += ["", "Clients that score random rows of one shared model at the same time, on all "
                  "cores (waiting for a core counts):", "",
                  "| network | clients | rows a second | p50 | p99 |", "|---|---|---|---|---|"]
        for r in report["serve"]:
            lines.append("| %s | %d | %.0f | %.1f | %.1f |" % (
                r["net"], r["clients"], r["rows_per_s"], r["p50_us"], r["p99_us"]))
    if "soak" in report:
        s = report["soak"]
        lines += ["", "%d rows of the %s network through one scorer: resident memory %.2f MiB before, "
                  "%.2f MiB after, %.0f rows a second." % (
                      s["rows"], s["net"], s["resident_before"] / 2**20,
                      s["resident_after"] / 2**20, s["rows_per_s"])]
    return lines


def repeats_on_pictures(full):
    step, jacobian = REPEATS["conv-step"][full], REPEATS["conv-jacobian"][full]
    return {"conv": step[0], "conv_peers": step[1], "jacobian": jacobian[0],
            "jacobian_peers": jacobian[1]}


def page(report):
    differences = [d for c in report["checks"].values() for d in c.values()] or [0.0]
    lines = ["# Performance", "",
             "Written by `bench/write_performance.py` from the JSON of one run of `make bench%s`; run it "
             "on your machine for your numbers." % ("-full" if report["full"] else ""), ""]
    lines += machine_lines(report) + [""] + main_table(report) + [""] + peer_table(report) + [""]
    lines += where_peers_win(report) + [""] + goals(report) + [""]
    lines += fit_lines(report) + [""] + latency_lines(report) + [""]
    lines += PROFILE.split("\n")
    lines += METHOD.format(worst=max(differences), block=5, repeats=60 if report["full"] else 30,
                           slow=10 if report["full"] else 3,
                           peer_fits="3" if report["full"] else "once",
                           **repeats_on_pictures(report["full"])).split("\n")
    lines += ["```", report["flops"].split("\n", 2)[2].strip("\n"), "```"]
    if report["notes"]:
        lines += ["", "Notes of the run: " + "; ".join(report["notes"]) + "."]
    return "\n".join(lines) + "\n"


def main():
    source = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "build", "bench.json")
    target = sys.argv[2] if len(sys.argv) > 2 else os.path.join(ROOT, "docs", "performance.md")
    with open(source, encoding="utf-8") as file:
        report = json.load(file)
    with open(target, "w", encoding="utf-8") as file:
        file.write(page(report))


if __name__ == "__main__":
    main()
