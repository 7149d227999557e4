"""What the peers share: the numbers that isovae-bench wrote, and the protocol of bench/run.py."""

import json
import os
import sys
import time

import numpy

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import works  # noqa: E402

REPEAT_SECONDS = 0.02
MAX_INNER = 2000


def load(folder, name):
    """The JSON description and the arrays by name, each two-dimensional."""
    with open(os.path.join(folder, name + ".json"), encoding="utf-8") as file:
        about = json.load(file)
    flat = numpy.fromfile(os.path.join(folder, name + ".f32"), dtype=numpy.float32)
    arrays = {}
    for a in about["arrays"]:
        size = a["rows"] * a["cols"]
        arrays[a["name"]] = flat[a["offset"]:a["offset"] + size].reshape(a["rows"], a["cols"])
    return about, arrays


def dense_names(net):
    """Parameter names of isovae in order: hidden layers of the encoder, heads, the decoder."""
    encoder = ["enc.fc%d" % (i + 1) for i in range(len(net["encoder"]) - 1)]
    decoder = ["dec.fc%d" % (i + 1) for i in range(len(net["decoder"]) - 2)] + ["dec.out"]
    return encoder, ["enc.mu", "enc.logvar"], decoder


def learning_rate(recipe, step):
    return recipe["rate"] * 0.5 * (1.0 + float(numpy.cos(numpy.pi * step / recipe["steps"])))


class Beta:
    """Beta of the recipe: annealed geometrically over the first half; follows the residual."""

    def __init__(self, recipe):
        self.r = recipe
        self.follow = None

    def at(self, step):
        r = self.r
        done = 2.0 * step / r["steps"]
        annealed = r["beta"]
        if done < 1.0:
            annealed = r["beta_start"] * (r["beta"] / r["beta_start"]) ** done
        if not r["beta_auto"]:
            return annealed
        followed = r["beta_cap"] if self.follow is None else self.follow
        return max(min(max(followed, r["beta"]), r["beta_cap"]), annealed)

    def stands(self, step):
        return (4 * step >= 3 * self.r["steps"]) if self.r["beta_auto"] else \
            (2 * step >= self.r["steps"])

    def see(self, step, distortion):
        residual = 2.0 * distortion / self.r["varying"]
        if self.follow is None:
            self.follow = residual
        elif not self.stands(step):
            self.follow += 0.02 * (residual - self.follow)


def fit_rows(recipe, arrays):
    """Rows in network units: training and validation."""
    x = (arrays["x"] - numpy.array(recipe["shift"], dtype=numpy.float32)) / \
        numpy.float32(recipe["scale"])
    held = numpy.zeros(len(x), dtype=bool)
    held[recipe["validation"]] = True
    return numpy.ascontiguousarray(x[~held]), numpy.ascontiguousarray(x[held])


def log_pi_beta(d, beta):
    return 0.5 * d * float(numpy.log(numpy.pi * beta))


class Work:
    """once() is timed; check() gives what the driver compares; quality() judges the last result."""

    timed_seconds = REPEAT_SECONDS
    share = 1.0  # of the work, that once() does

    def once(self):
        raise NotImplementedError

    def check(self):
        return {}

    quality = None


def _run(work, repeats):
    if work.timed_seconds and not hasattr(work, "inner"):
        best = min(_time(work, 1) for _ in range(3))
        work.inner = int(max(1, min(MAX_INNER, work.timed_seconds / max(best, 1e-9))))
    inner = getattr(work, "inner", 1)
    if work.timed_seconds:
        work.once()
    units = inner * work.share
    answer = {"ms": [1e3 * _time(work, inner) / units for _ in range(repeats)], "inner": inner}
    if work.quality is not None:
        answer["quality"] = work.quality()
    return answer


def _time(work, times):
    begun = time.perf_counter()
    for _ in range(times):
        work.once()
    return time.perf_counter() - begun


def serve(hello, factories):
    """Answers lines on standard input until `quit`; factories: work name -> function making a Work."""
    made = {}

    def work_of(name):
        if name not in made:
            made[name] = factories[name]()
        return made[name]

    for line in sys.stdin:
        words = line.split()
        try:
            if words == ["quit"]:
                break
            if words == ["hello"]:
                reply = dict(hello, works=list(factories))
            elif len(words) == 2 and words[0] == "check" and words[1] in factories:
                reply = work_of(words[1]).check()
            elif len(words) == 3 and words[0] == "run" and words[1] in factories:
                reply = _run(work_of(words[1]), int(words[2]))
            else:
                reply = {"error": "no such command or work"}
        except Exception as error:  # a peer that fails is left out, never an end of the benchmark
            reply = {"error": "%s: %s" % (type(error).__name__, str(error)[:300])}
        print(json.dumps(reply), flush=True)
