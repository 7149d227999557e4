#!/usr/bin/env python3
"""The benchmark: isovae beside PyTorch and JAX on the same work in the same run.

    bench/run.py --program build/isovae-bench [--out build/bench.json] [--full]
                 [--works toy-step,...] [--threads 1,2] [--repeats N] [--peers none|NAME,...]

Each contender is a process that lives through the run and answers lines: `check WORK` says what it
computes on numbers that all share (compared first: who computes something else is left out), `run
WORK REPEATS` gives milliseconds. Contenders take turns in blocks, so that a drift of the machine
meets all of them. Peers that are not installed are left out (scripts/bench-setup.sh installs
them). Prints a table and writes the JSON that bench/write_performance.py turns into a page.
"""

import argparse
import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import works  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
VARIANTS = {"torch": ("default", "tuned", "compiled"), "jax": ("jit",)}
TOLERANCE = 1e-4
BLOCK = 5            # repeats in a turn
BUDGET_S = 1000      # of `make bench`: beyond it whole fits of peers are left out
SLOW_MS = 1000.0     # works above this are repeated less
# Repeats of works on pictures: own and peers'; the same with --full.
REPEATS = {"conv-step": ((10, 5), (30, 10)), "conv-jacobian": ((2, 2), (5, 3)),
           "decode": ((3, 0), (5, 0))}
PAUSE_S = 0.25       # before a turn: threads of the contender before may still wait in a loop


def say(text):
    print("[%4d s] %s" % (time.monotonic() - BEGUN, text), file=sys.stderr, flush=True)


BEGUN = time.monotonic()


class Gone(Exception):
    """A contender died, did not answer in time, or says that it cannot."""


class Contender:
    def __init__(self, label, command, cpus, logs):
        self.label = label
        environment = {k: v for k, v in os.environ.items()
                       if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
        environment["OMP_NUM_THREADS"] = str(len(cpus))
        environment["JAX_PLATFORMS"] = "cpu"
        environment["TORCHINDUCTOR_CACHE_DIR"] = os.path.join(logs, "compiled")
        self.log = open(os.path.join(logs, label + ".log"), "w", encoding="utf-8")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
            env=environment, preexec_fn=lambda: os.sched_setaffinity(0, cpus))
        self.pending = b""
        self.hello = self.ask("hello", 120)
        self.name = self.hello["name"]

    def ask(self, line, limit_s=600):
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Gone("has ended; see %s" % self.log.name) from None
        deadline = time.monotonic() + limit_s
        while b"\n" not in self.pending:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.process.stdout], [], [], max(left, 0))
            if not ready:
                raise Gone("no answer to '%s' in %d s" % (line, limit_s))
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            if not data:
                raise Gone("has ended; see %s" % self.log.name)
            self.pending += data
        text, self.pending = self.pending.split(b"\n", 1)
        answer = json.loads(text)
        if "error" in answer:
            raise Gone(answer["error"])
        return answer

    def close(self):
        try:
            self.process.stdin.write(b"quit\n")
            self.process.stdin.close()
            self.process.wait(10)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        self.log.close()


# ---- who takes part ----


def has(python, module):
    command = [python, "-c", "import " + module]
    return os.path.exists(python) and subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def peer_commands(wanted):
    """(label, command up to the variant's arguments) of each peer that is installed."""
    venv = os.path.join(ROOT, "build", "bench-venv", "bin", "python")
    found = []
    for where, python in (("system", "/usr/bin/python3"), ("venv", venv)):
        for module, variants in VARIANTS.items():
            if wanted == ["none"] or not has(python, module):
                continue
            for variant in variants:
                if variant == "compiled" and where == "system":
                    continue  # PyTorch 1.13 has no torch.compile
                label = "%s-%s-%s" % (where, module, variant)
                if wanted and label not in wanted and module not in wanted:
                    continue
                script = os.path.join(HERE, "peers", module + "_peer.py")
                found.append((label, [python, "-W", "ignore", script, variant]))
    return found


def start(label, command, cpus, logs):
    try:
        return Contender(label, command, cpus, logs)
    except (Gone, OSError) as error:
        say("%s left out: %s" % (label, error))
        return None


# ---- measuring ----


def compare(expected, got):
    """The largest relative difference."""
    worst = 0.0
    for key, value in expected.items():
        worst = max(worst, abs(got[key] - value) / max(abs(value), 1e-12))
    return worst


def takes_part(peer, work, threads, options):
    """Works on pictures take long: in the short run beside PyTorch 2 alone, with one thread."""
    if work not in peer.hello["works"] or peer.dead:
        return False
    kind = works.WORKS[work][1]
    if options.full or not kind.startswith("conv"):
        return True
    if kind == "conv-jacobian" and peer.name.endswith("compiled"):
        return False
    return threads == 1 and peer.label.startswith("venv-torch")


def check_all(own, peers, names, checks, threads, options):
    """work -> contenders that compute the same."""
    able = {}
    for work in names:
        expected = own.ask("check " + work)
        able[work] = [own]
        for peer in peers:
            if not takes_part(peer, work, threads, options):
                continue
            if not expected:  # nothing to compare: a whole fit, judged by its quality
                able[work].append(peer)
                continue
            try:
                difference = compare(expected, peer.ask("check " + work))
            except Gone as error:
                say("%s, %s: left out: %s" % (work, peer.name, error))
                peer.dead = peer.process.poll() is not None
                continue
            checks.setdefault(work, {})[peer.name] = difference
            if difference <= TOLERANCE:
                able[work].append(peer)
            else:
                say("%s, %s: left out: differs by %.1e" % (work, peer.name, difference))
        say("%s checked: %s" % (work, ", ".join(
            "%s %.0e" % (c.name, checks[work][c.name]) if c is not own and expected else c.name
            for c in able[work])))
    return able


def repeats_of(contender, work, options, first_ms, own):
    if options.repeats:
        return options.repeats
    kind = works.WORKS[work][1]
    if kind in REPEATS:
        return REPEATS[kind][options.full][contender is not own]
    if works.WORKS[work][1] == "fit":
        return 3 if contender is own else (3 if options.full else 1)
    if first_ms > SLOW_MS:
        return 10 if options.full else 3
    return 60 if options.full else 30


def measure(work, contenders, options, own):
    """name -> {"ms": [...], "quality": ...}; contenders in turns."""
    fit = works.WORKS[work][1] in ("fit", "conv-jacobian", "decode")
    result, left = {}, {}
    for c in contenders:
        left[c] = 1  # until the first answer says how long a repeat takes
        result[c.name] = {"ms": []}
    while any(left.values()):
        for c in contenders:
            if left[c] == 0:
                continue
            known = result[c.name]["ms"]
            if not known and fit:
                count = 1
            elif not known:
                count = 1 if options.repeats == 1 else 2
            else:
                count = min(BLOCK, left[c])
                if fit or statistics.median(known) > SLOW_MS:
                    count = 1
            try:
                if len(contenders) > 1:
                    time.sleep(PAUSE_S)
                answer = c.ask("run %s %d" % (work, count))
            except Gone as error:
                say("%s, %s: left out: %s" % (work, c.name, error))
                left[c] = 0
                result.pop(c.name)
                continue
            known += answer["ms"]
            if "quality" in answer:
                result[c.name]["quality"] = answer["quality"]
            enough = repeats_of(c, work, options, statistics.median(known), own)
            left[c] = max(0, enough - len(known))
    return result


def spread(ms):
    if len(ms) < 2:
        return {"ms_median": ms[0], "ms_q1": ms[0], "ms_q3": ms[0]}
    q1, median, q3 = statistics.quantiles(ms, n=4, method="inclusive")
    return {"ms_median": median, "ms_q1": q1, "ms_q3": q3}


def make_row(work, threads, result, flops, peak):
    own = spread(result["isovae"]["ms"])
    row = {"work": work, "threads": threads, **own, "repeats": len(result["isovae"]["ms"]),
           "gflops": flops / own["ms_median"] / 1e6, "flops": flops}
    row["limit_ms"] = flops / (peak * threads) / 1e6
    row["share_of_limit"] = row["limit_ms"] / own["ms_median"]
    row["peers"] = {}
    for name, r in result.items():
        if name == "isovae":
            continue
        s = spread(r["ms"])
        row["peers"][name] = {**s, "ratio": s["ms_median"] / own["ms_median"],
                              "repeats": len(r["ms"])}
        if "quality" in r:
            row["peers"][name]["quality"] = r["quality"]
    if "quality" in result["isovae"]:
        row["quality"] = result["isovae"]["quality"]
    return row


def latencies(own, calls):
    rows = []
    for net in works.NETS:
        for what in ("score", "encode", "decode"):
            rows.append({"net": net, "what": what,
                         **own.ask("latency %s %s %d" % (net, what, calls))})
    return rows


def busy_core(program, isa, cpus, logs, names, repeats):
    """Two threads while another process computes on one of the two cores, beside one thread that
    has the other core to itself."""
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"],
                            preexec_fn=lambda: os.sched_setaffinity(0, [cpus[0]]))
    rows = []
    try:
        one = Contender("busy-1", [program, "--threads", "1"] + isa, [cpus[-1]], logs)
        two = Contender("busy-2", [program, "--threads", "2"] + isa, cpus[:1] + cpus[-1:], logs)
        for work in names:
            ms = {one: [], two: []}
            for _ in range(max(1, repeats // BLOCK)):
                for c in (one, two):
                    ms[c] += c.ask("run %s %d" % (work, min(BLOCK, repeats)))["ms"]
            a, b = statistics.median(ms[one]), statistics.median(ms[two])
            rows.append({"work": work, "ms_one_thread": a, "ms_two_threads": b,
                         "speed_of_one_thread": a / b})
        one.close()
        two.close()
    finally:
        busy.kill()
        busy.wait()
    return rows


# ---- the table ----


def print_table(report):
    print("%s, %s; peak of one core %.0f GFLOP/s" % (
        report["machine"]["cpu"], report["machine"]["isa"], report["peak_gflops"]))
    print("%-15s %3s %11s %17s %8s %7s %6s  %s" % (
        "work", "thr", "ms (median)", "quartiles", "GFLOP/s", "limit", "share", "peers: ms (ratio)"))
    for r in report["rows"]:
        peers = "  ".join("%s %.4g (%.2f)" % (name, p["ms_median"], p["ratio"])
                          for name, p in r["peers"].items())
        print("%-15s %3d %11.4g %17s %8.1f %7.3g %5.0f%%  %s" % (
            r["work"], r["threads"], r["ms_median"], "%.4g-%.4g" % (r["ms_q1"], r["ms_q3"]),
            r["gflops"], r["limit_ms"], 100 * r["share_of_limit"], peers))
    for r in report["latency"]:
        print("one row, %s %s: p50 %.2f us, p99 %.2f us" % (
            r["net"], r["what"], r["p50_us"], r["p99_us"]))
    for r in report["serve"]:
        print("%d clients score %s rows: %.0f a second, p50 %.1f us, p99 %.1f us" % (
            r["clients"], r["net"], r["rows_per_s"], r["p50_us"], r["p99_us"]))
    if "soak" in report:
        s = report["soak"]
        print("%d %s rows through one scorer: resident memory %.2f MiB before, %.2f MiB after" % (
            s["rows"], s["net"], s["resident_before"] / 2**20, s["resident_after"] / 2**20))
    for r in report["busy_core"]:
        print("%s, one core busy: two threads at %.2f of the speed of one" % (
            r["work"], r["speed_of_one_thread"]))
    for note in report["notes"]:
        print("note: " + note)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "isovae-bench"))
    parser.add_argument("--out", default=os.path.join(ROOT, "build", "bench.json"))
    parser.add_argument("--full", action="store_true", help="more repeats, whole fits of peers thrice")
    parser.add_argument("--works", default="", help="some of the works only, by comma")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--repeats", type=int, default=0, help="instead of 30 (3): to try it out")
    parser.add_argument("--peers", default="", help="none, or torch, jax, venv-torch-tuned, ...")
    parser.add_argument("--isa", default="", help="pin isovae's instruction set")
    return parser.parse_args()


def phase(threads, cpus, options, names, recipe, folder, report, logs):
    """All works with one number of threads."""
    isa = ["--isa", options.isa] if options.isa else []
    own = Contender("isovae-%d" % threads,
                    [options.program, "--threads", str(threads)] + isa, cpus, logs)
    missing = [w for w in names if w not in own.hello["works"]]
    names = [w for w in names if w not in missing]
    if missing and threads == int(options.threads.split(",")[0]):
        report["notes"].append("left out, for want of its data: " + ", ".join(missing))
    peers = []
    wanted = [w for w in options.peers.split(",") if w]
    for label, command in peer_commands(wanted):
        peer = start("%s-%d" % (label, threads), command + [str(threads), folder], cpus, logs)
        if peer is not None:
            peer.dead = False
            peers.append(peer)
    report["contenders"].update({p.name: p.hello["version"] for p in peers})
    able = check_all(own, peers, names, report["checks"], threads, options)
    measured = []
    for work in names:
        contenders = [c for c in able[work] if c is own or not c.dead]
        if works.WORKS[work][1] == "fit":
            # Compiling for new weights each time is no fit; the others are there twice over.
            contenders = [c for c in contenders if not c.name.endswith("compiled")]
            if not options.full and time.monotonic() - BEGUN > BUDGET_S:
                contenders = [own]
                report["notes"].append("whole fits of peers with %d threads: no time left" % threads)
        peak = own.ask("peak")
        report["peaks"].append({"threads": threads, "before": work, **peak})
        result = measure(work, contenders, options, own)
        measured.append((work, result))
        say("%s, %d threads: %s" % (work, threads, ", ".join(
            "%s %.4g ms" % (n, statistics.median(r["ms"])) for n, r in result.items())))
    report["peaks"].append({"threads": threads, "before": "the end", **own.ask("peak")})
    calls = 200 if options.repeats else 20000
    if threads == 1:
        report["machine"].update(own.ask("machine"))
        report["bandwidth"] = own.ask("bandwidth")["levels"]
        report["latency"] = latencies(own, calls)
        report["soak"] = {"net": "toy", **own.ask("soak toy %d" % (calls * 500))}
    if threads == 2 or options.threads == "1":
        for net in works.NETS:
            report["serve"].append({"net": net, **own.ask("serve %s 8 %d" % (net, calls))})
    for c in [own] + peers:
        c.close()
    return measured


def main():
    options = arguments()
    names = [w for w in options.works.split(",") if w] or list(works.WORKS)
    for name in names:
        if name not in works.WORKS:
            sys.exit("no such work: %s; there are %s" % (name, ", ".join(works.WORKS)))
    cpus = sorted(os.sched_getaffinity(0))
    logs = os.path.join(os.path.dirname(os.path.abspath(options.out)), "bench-logs")
    os.makedirs(logs, exist_ok=True)
    report = {"machine": {}, "peak_gflops": 0.0, "rows": [], "peaks": [], "bandwidth": [],
              "latency": [], "serve": [], "busy_core": [], "checks": {}, "contenders": {},
              "notes": [], "flops": works.__doc__, "full": options.full}
    with tempfile.TemporaryDirectory() as folder:
        writer = start("export", [options.program], cpus, logs)
        if writer is None:
            sys.exit("%s does not run: make bench builds it" % options.program)
        writer.ask("export " + folder)
        writer.close()
        with open(os.path.join(folder, "fit.json"), encoding="utf-8") as file:
            recipe = json.load(file)
        measured = []
        for threads in [int(t) for t in options.threads.split(",")]:
            if threads > len(cpus):
                report["notes"].append("%d threads: this process has %d processors" % (
                    threads, len(cpus)))
                continue
            chosen = cpus[-threads:]
            measured.append((threads, phase(threads, chosen, options, names, recipe, folder, report,
                                            logs)))
        # One peak for all rows: the median of what was measured between the works.
        report["peak_gflops"] = statistics.median(p["gflops"] for p in report["peaks"])
        for threads, results in measured:
            for work, result in results:
                row = make_row(work, threads, result, works.flops(work, recipe),
                               report["peak_gflops"])
                report["rows"].append(row)
        steps = [n for n in names if works.WORKS[n][1] == "step" and n.endswith("-step")]
        if len(cpus) >= 2 and steps and "2" in options.threads.split(","):
            isa = ["--isa", options.isa] if options.isa else []
            report["busy_core"] = busy_core(options.program, isa, cpus, logs, steps,
                                            options.repeats or 30)
    report["seconds"] = time.monotonic() - BEGUN
    os.makedirs(os.path.dirname(os.path.abspath(options.out)), exist_ok=True)
    with open(options.out, "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1)
        file.write("\n")
    print_table(report)


if __name__ == "__main__":
    main()
