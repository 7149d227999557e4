"""Anomaly detection by the protocol of docs/theory.md section 7: a random half of the rows trains,
without its anomalies; the other half is scored, and the least probable share rho is flagged."""
import contextlib
import json
import os

import numpy as np

import peers
from lab import Job, Table, cell, mean, plus_minus, sd

TITLE = "Anomaly detection"

SETS = {
    "kdd": ("KDDCup99", "kddcup99/kdd_cup.npz", 0.20),
    "rev": ("KDDCup99-rev", "kddcup99/kdd_cup.npz", 0.20),
    "thyroid": ("Thyroid", "thyroid/thyroid.mat", 0.025),
    "arrhythmia": ("Arrhythmia", "arrhythmia/arrhythmia.mat", 0.15),
}
SPLITS = 20
MEASURES = ("precision", "recall", "F1", "AUROC", "AP")

# The Gaussian rows: one network, its length by the size of the data. Beta follows the residual to
# the noise of largest likelihood: its usual floor, half a per cent of the variance, lies above that
# where most rows are copies of each other (KDD).
GAUSS = ["--loss", "sse", "--arch", "mlp:128,128", "--activation", "silu", "--lr-schedule", "linear",
         "--lr-warmup", "50", "--validation", "0"]
COMMON, FEATURE = ["--noise", "common", "--beta-floor", "1e-5"], ["--noise", "feature"]
LENGTH = {
    "kdd": ["--latent-dim", "16", "--batch-size", "512", "--lr", "2e-3", "--epochs", "60",
            "--scale", "minmax"],
    "rev": ["--latent-dim", "16", "--batch-size", "512", "--lr", "2e-3", "--epochs", "100",
            "--scale", "minmax"],
    "thyroid": ["--latent-dim", "5", "--batch-size", "128", "--lr", "3e-3", "--steps", "8000",
                "--scale", "standard"],
    "arrhythmia": ["--latent-dim", "16", "--batch-size", "64", "--lr", "1e-3", "--steps", "600",
                   "--scale", "standard"],
}


# ---- the protocol ----

def read(lab, name):
    """Rows and which of them are anomalies."""
    path = lab.file(SETS[name][1])
    if path.endswith(".npz"):
        table = np.load(path)["kdd"]
        normal = table[:, -1] == 1
        x = table[:, :-1].astype(np.float32)
        return (x, normal) if name == "kdd" else (x, ~normal)
    from scipy.io import loadmat
    table = loadmat(path)
    return table["X"].astype(np.float32), table["y"].ravel() != 0


def split(x, odd, name, seed, small=False):
    """(training rows without anomalies, rows to score, which of these are odd, which of these are in
    the other half). For another protocol's sake the anomalies of the training half are scored, too;
    they count nowhere else."""
    draw = np.random.default_rng(seed)
    rows = np.arange(len(x))
    if name == "rev":  # the attacks thinned so that they are one in five
        normal = np.flatnonzero(~odd)
        rows = np.concatenate([normal, draw.choice(np.flatnonzero(odd), len(normal) // 4, False)])
    if small:
        rows = draw.choice(rows, min(len(rows), 2000), replace=False)
    rows = draw.permutation(rows)
    train, test = rows[:len(rows) // 2], rows[len(rows) // 2:]
    more = train[odd[train]]
    scored = np.concatenate([test, more])
    return x[train[~odd[train]]], x[scored], odd[scored], np.arange(len(scored)) < len(test)


def measures(score, odd, rho):
    """score: higher = more probable. The anomaly is the positive class; of equal scores the first in
    the random order of the rows are flagged."""
    count, positives = len(odd), int(odd.sum())
    order = np.argsort(score, kind="stable")
    flagged = max(1, round(rho * count))
    hits = float(odd[order[:flagged]].sum())
    precision, recall = hits / flagged, hits / positives
    # at the last of each group of equal scores
    last = np.append(np.flatnonzero(np.diff(score[order])), count - 1)
    caught, passed = np.cumsum(odd[order])[last], last + 1
    ap = float(np.sum(np.diff(caught, prepend=0) / positives * caught / passed))
    false = passed - caught
    auroc = float(np.trapezoid(np.append(0, caught), np.append(0, false)))
    auroc /= positives * (count - positives)
    return [precision, recall, 2 * hits / (flagged + positives), auroc, ap]


def judge(score, odd, half, rho):
    """The measures in the scored half; and F1 where all anomalies are scored and as many rows are
    flagged as there are anomalies, as newer papers count."""
    score = np.where(np.isfinite(score), score, -np.inf)
    score = np.nan_to_num(score, posinf=1e300, neginf=-1e300)
    return [*measures(score[half], odd[half], rho), measures(score, odd, odd.mean())[2]]


# ---- the command ----

def distinct(rows):
    """(the different rows, the place of each row among them)"""
    whole = np.ascontiguousarray(rows)
    whole = whole.view(np.dtype((np.void, whole.itemsize * whole.shape[1]))).ravel()
    _, first, back = np.unique(whole, return_index=True, return_inverse=True)
    return rows[first], back


class Scored:
    """Training rows and rows to score as files; equal rows are scored once."""

    def __init__(self, work, train, test):
        self.work, self.train = work, work.path("train.npy")
        self.test = work.path("test.npy")
        np.save(self.train, train)
        self.rows, self.back = distinct(test)
        np.save(self.test, self.rows)

    def score(self, name, *options):
        """(log density, residual, latent part) of each row, and what info says of the model."""
        model, seconds = self.work.fit(self.train, *options, name=name)
        out = self.work.path(name + ".npy")
        self.work.isovae("score", model, self.test, "-o", out)
        table = np.load(out)[self.back]
        os.remove(out)
        info = json.loads(self.work.isovae("info", model, "--json"))
        return table[:, 0], table[:, 1], table[:, 2], info, seconds

    def remove(self):
        for path in (self.train, self.test):
            with contextlib.suppress(OSError):
                os.remove(path)


def changed(train, test):
    """How many of the columns that are constant on the training rows a row changes."""
    constant = np.ptp(train, axis=0) == 0
    return (test[:, constant] != train[0, constant]).sum(1).astype(np.float64)


def evaluate(work, name, seed, small=False):
    """All of one split."""
    x, odd = read(work.lab, name)
    train, test, odd, half = split(x, odd, name, seed, small)
    rho = SETS[name][2]
    del x
    files = Scored(work, train, test)
    out, facts = {}, {"training rows": len(train), "scored": int(half.sum()),
                      "anomalies": int(odd[half].sum()), "distinct": len(files.rows)}

    def add(method, score):
        out[method] = judge(score, odd, half, rho)

    length = ["--steps", "60", "--batch-size", "64"] if small else LENGTH[name]
    short = length if small else []
    runs = {"preset": ["--preset", "anomaly", *short],
            "common": [*GAUSS, *length, *COMMON], "feature": [*GAUSS, *length, *FEATURE],
            "untrained": ["--preset", "anomaly", "--ensemble", "1", "--steps", "1", "--lr", "1e-12",
                          "--lr-warmup", "1"]}
    for run, options in runs.items():
        density, residual, latent, info, seconds = files.score(run, "--seed", seed, *options)
        add(run, density)
        facts[run] = {"seconds": seconds, "active": info["active_dim"], "beta": info["beta"]}
        if run not in ("preset", "common"):
            continue
        scale = info["beta"] if run == "common" else 1.0
        add(f"{run}: residual", -residual)
        add(f"{run}: latent part", -latent)
        add(f"{run}: residual + latent part", -(residual / scale + latent))
    columns = changed(train, test)
    add("changed columns", -columns)
    facts["constant columns"] = int((np.ptp(train, axis=0) == 0).sum())
    facts["rows that change one"] = [float((columns[half & (odd == kind)] > 0).mean())
                                     for kind in (False, True)]
    for method, score in baselines(train, files.rows, seed).items():
        add(method, score[files.back])
    files.remove()
    return {"measures": out, "facts": facts}


# ---- baselines in numpy ----

def scaled(train, test):
    centre, spread = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
    varies = spread > 0
    return [((x - centre) / np.where(varies, spread, 1))[:, varies] for x in (train, test)]


class LinearGaussian:
    """Probabilistic PCA in closed form, of rows with mean zero or near it."""

    def __init__(self, train):
        self.mean = train.mean(0)
        values, vectors = np.linalg.eigh(np.cov((train - self.mean).T, bias=True))
        self.values, self.vectors = values[::-1].clip(0), vectors[:, ::-1]

    def score(self, rows, count):
        d = len(self.values)
        noise = max(self.values[count:].mean(), 1e-6 * self.values.mean())
        kept = np.maximum(self.values[:count], noise)
        centred = rows - self.mean
        along = centred @ self.vectors[:, :count]
        away = np.maximum((centred ** 2).sum(1) - (along ** 2).sum(1), 0)
        return -0.5 * ((along ** 2 / kept).sum(1) + away / noise + np.log(kept).sum()
                       + (d - count) * np.log(noise) + d * np.log(2 * np.pi))


def ppca(train, test, seed):
    """The number of components is the one under which a fifth of the training rows, held out, is
    most probable."""
    train, test = scaled(train, test)
    held = np.random.default_rng(seed).permutation(len(train)) < len(train) // 5
    part, d = LinearGaussian(train[~held]), train.shape[1]
    counts = sorted({count for count in (1, 2, 3, 4, 5, 8, 12, 16, 24, 32, 48, 64) if count < d})
    best = max(counts, key=lambda count: part.score(train[held], count).mean())
    return LinearGaussian(train).score(test, best)


def rank_gaussian(train, test):
    """A diagonal Gaussian where each column has been brought to normal quantiles by its ranks."""
    from scipy.special import ndtri
    total, n = np.zeros(len(test)), len(train)
    for i in range(train.shape[1]):
        column = np.sort(train[:, i])
        below = np.searchsorted(column, test[:, i], "left")
        upto = np.searchsorted(column, test[:, i], "right")
        level = ((below + upto) / 2 / n).clip(0.5 / n, 1 - 0.5 / n)
        outside = (test[:, i] < column[0]) | (test[:, i] > column[-1])
        z = ndtri(np.where(outside, 0.5 / n, level))
        total -= 0.5 * z ** 2
    return total


def duplicates(train, test):
    """1 where a row is an exact copy of a training row."""
    known = {row.tobytes() for row in np.ascontiguousarray(train)}
    return np.array([row.tobytes() in known for row in np.ascontiguousarray(test)], float)


def baselines(train, test, seed):
    near = scaled(train, test)
    return {"PPCA": ppca(train, test, seed),
            "distance to the mean": -np.sqrt((near[1] ** 2).sum(1)),
            "duplicate matching": duplicates(train, test),
            "rank-Gaussian": rank_gaussian(train, test)}


def evaluate_peers(work, name, seed, methods, small=False):
    x, odd = read(work.lab, name)
    train, test, odd, half = split(x, odd, name, seed, small)
    rows, back = distinct(test)
    found = peers.scores(train, rows, seed, methods)
    return {"measures": {method: judge(score[back], odd, half, SETS[name][2])
                         for method, score in found.items()}}


# ---- the jobs ----

def jobs(lab):
    """Small sets with all their splits; of the large ones the first split, the rest with --full."""
    made, seeds = [], range(1, 2 if lab.smoke else SPLITS + 1)
    more = {"small": True} if lab.smoke else {}
    methods, _ = peers.available()
    for name in ("thyroid", "arrhythmia", "kdd", "rev"):
        large = name in ("kdd", "rev")
        for seed in seeds:
            settings = {"name": name, "seed": seed} | more
            common = {"full": large and seed > 1, "needs": (SETS[name][1],)}
            made.append(Job(f"{name}-{seed:02d}", evaluate, settings, **common))
            # the one that needs PyTorch apart, so that it can be added later
            for kind, some in (("peers", [m for m in methods if m != peers.TORCH]),
                               ("pyod-vae", [m for m in methods if m == peers.TORCH])):
                if some:
                    made.append(Job(f"{kind}-{name}-{seed:02d}", evaluate_peers,
                                    settings | {"methods": some}, **common))
    # the longest first: two cores are then busy to the end
    return sorted(made, key=lambda job: job.settings["name"] not in ("kdd", "rev"))


# ---- the page ----

BARS = {
    ("preset", "kdd"): {"F1": 0.95}, ("preset", "rev"): {"F1": 0.98},
    ("preset", "thyroid"): {"F1": 0.69, "AUROC": 0.985, "AP": 0.67},
    ("preset", "arrhythmia"): {"F1": 0.505, "AUROC": 0.825, "AP": 0.54},
    ("common", "kdd"): {"F1": 0.945, "AUROC": 0.995, "AP": 0.975},
    ("common", "rev"): {"F1": 0.98, "AUROC": 0.995},
    ("common", "thyroid"): {"F1": 0.59}, ("common", "arrhythmia"): {"F1": 0.44},
}
LABELS = {
    "preset": "`--preset anomaly`", "common": "Gaussian, common noise",
    "feature": "Gaussian, noise per feature", "untrained": "the preset's network, untrained",
    "PPCA": "probabilistic PCA", "rank-Gaussian": "diagonal Gaussian after rank-Gaussian scaling",
    "changed columns": "constant columns changed, their number",
}
OWN = ("preset", "common", "feature")
ROWS = (*OWN, "untrained", "PPCA", "distance to the mean", "duplicate matching", "changed columns",
        "rank-Gaussian", "isolation forest", "one-class SVM", "k nearest", "HBOS", "VAE of PyOD")
PARTS = ("residual", "latent part", "residual + latent part")
FOREST = "isolation forest"


class Results:
    """{method: {seed: measures}} of one data set."""

    def __init__(self, records, name):
        self.name, self.by, self.facts = name, {}, {}
        for record in records.values():
            settings, figures = record["settings"], record["figures"]
            if settings["name"] != name:
                continue
            if "facts" in figures:
                self.facts[settings["seed"]] = figures["facts"]
            for method, values in figures["measures"].items():
                self.by.setdefault(method, {})[settings["seed"]] = values

    def values(self, method, measure):
        at = MEASURES.index(measure) if measure in MEASURES else len(MEASURES)
        return [values[at] for values in self.by.get(method, {}).values()]

    def cell(self, method, measure, bars=None):
        values = self.values(method, measure)
        text = plus_minus(values)
        bar = (bars or {}).get(measure)
        if bar is None or not values:
            return text
        return f"{text}; bar {bar}: {'met' if mean(values) >= bar else '**missed**'}"

    def difference(self, method, other, measure="F1"):
        """(mean, standard error, splits) of method - other on the splits that both have."""
        at = MEASURES.index(measure)
        mine, theirs = self.by.get(method, {}), self.by.get(other, {})
        each = [mine[seed][at] - theirs[seed][at] for seed in mine if seed in theirs]
        spread = sd(each)
        return mean(each), None if spread is None else spread / len(each) ** 0.5, len(each)


def main_table(results):
    title, _, rho = SETS[results.name]
    facts = next(iter(results.facts.values()), None)
    rows = [[LABELS.get(method, method),
             *(results.cell(method, measure, BARS.get((method, results.name)))
               for measure in ("F1", "AUROC", "AP")),
             *(results.cell(method, measure) for measure in ("precision", "recall"))]
            for method in ROWS if method in results.by]
    size = "" if facts is None else (
        f" {facts['training rows']} training rows, {facts['scored']} scored ones of which "
        f"{facts['anomalies']} are anomalies (first split);")
    return Table(["method", "F1", "AUROC", "average precision", "precision", "recall"], rows,
                 f"**{title}**, rho {rho}:{size} mean and, in brackets, SD over "
                 f"{len(results.by.get('preset', {}))} random splits.")


def best_of(results, measure):
    means = {method: mean(results.values(method, measure)) for method in ROWS
             if method in results.by}
    return max(means, key=means.get), means


def verdict(results):
    """Where a baseline wins, in words."""
    title, said = SETS[results.name][0], []
    for measure, word in (("F1", "F1"), ("AUROC", "AUROC"), ("AP", "average precision")):
        _, means = best_of(results, measure)
        ahead = sorted((method for method in means
                        if method not in OWN and means[method] > means["preset"]),
                       key=means.get, reverse=True)
        own = max(OWN[1:], key=lambda method: means.get(method, -1))
        if means.get(own, -1) > means["preset"]:
            said.append(f"by {word} {LABELS[own]} is better than the preset "
                        f"({means[own]:.3f} against {means['preset']:.3f})")
        if ahead:
            names = ", ".join(f"{LABELS.get(m, m)} {means[m]:.3f}" for m in ahead[:3])
            said.append(f"by {word} the preset ({means['preset']:.3f}) is behind {names}")
    return f"{title}: " + ("; ".join(said) if said else
                           "the preset is ahead of every baseline by all three measures") + "."


def difference_table(every):
    rows = []
    for results in every:
        for method in ("preset", "common"):
            gain, error, count = results.difference(method, FOREST)
            if gain is None:
                continue
            upper = gain + 2 * (error or 0)
            asked = (method == "preset" and results.name in ("thyroid", "arrhythmia")) or \
                (method == "common" and results.name == "kdd")
            value = upper if method == "preset" else gain
            rows.append([SETS[results.name][0], LABELS[method], count, f"{gain:+.4f}",
                         "-" if error is None else f"{error:.4f}",
                         "-" if error is None else f"{upper:+.4f}",
                         "" if not asked else "met" if value >= 0 else "**missed**"])
    return Table(["set", "method", "splits", "mean difference in F1", "standard error",
                  "difference + 2 errors", "bar"], rows,
                 "**Paired difference to the isolation forest** on identical splits. Bars: for the "
                 "preset on Thyroid and Arrhythmia difference + 2 standard errors at least 0; for "
                 "common noise on KDDCup99 above the forest.")


def parts_table(every):
    rows = []
    for results in every:
        for method in ("preset", "common"):
            for part in ("", *PARTS):
                key = f"{method}: {part}" if part else method
                if key in results.by:
                    rows.append([SETS[results.name][0], LABELS[method],
                                 part or "whole score (E6)",
                                 *(results.cell(key, measure) for measure in ("F1", "AUROC", "AP"))])
    return Table(["set", "model", "score", "F1", "AUROC", "average precision"], rows,
                 "**What each part of the score contributes.** The whole is minus (residual + latent "
                 "part + coding term + what changed constant columns cost); residual: the distance "
                 "from Dec(mu), the reconstruction error alone; latent part: the KL of the row.")


def parts_words(every):
    said = []
    for results in every:
        for method in ("preset", "common"):
            whole, alone, both = (mean(results.values(key, "AP")) for key in (
                method, f"{method}: residual", f"{method}: residual + latent part"))
            if None in (whole, alone, both):
                continue
            said.append(f"{SETS[results.name][0]}, {LABELS[method]}: the latent part changes the "
                        f"average precision of the residual by {both - alone:+.3f}, the coding term "
                        f"and the constant columns that of both by {whole - both:+.3f}")
    return "; ".join(said) + "."


def constant_words(every):
    """What the rule for constant columns has to go by."""
    said = []
    for results in every:
        facts = list(results.facts.values())
        inliers, anomalies = (mean([f["rows that change one"][kind] for f in facts])
                              for kind in (0, 1))
        active = mean([f["preset"]["active"] for f in facts])
        said.append(f"{SETS[results.name][0]}: {mean([f['constant columns'] for f in facts]):.0f} "
                    f"columns are constant on the training rows, {100 * inliers:.1f} % of the inliers "
                    f"and {100 * anomalies:.1f} % of the anomalies change one; the preset has "
                    f"{active:.1f} active latents (first member)")
    return "; ".join(said) + "."


def other_protocol(every):
    rows = [[SETS[results.name][0], *(results.cell(method, "all") for method in (*OWN, FOREST))]
            for results in every]
    return Table(["set", *(LABELS.get(method, method) for method in (*OWN, FOREST))], rows,
                 "**F1 as newer papers count it.** Bergman and Hoshen (GOAD, ICLR 2020) score half of "
                 "the normal rows and *all* anomalies, those of the training half too, and flag as "
                 "many rows as there are anomalies; on Thyroid that doubles the share of anomalies, "
                 "so these figures are higher than those above and only these compare with theirs.")


def page(lab, records):
    every = [results for results in (Results(records, name) for name in SETS)
             if "preset" in results.by]
    _, missing = peers.available()
    blocks = [
        "A random half of all rows trains, without the anomalies in it (*not* wholly unsupervised: "
        "the training rows are known to be normal, as in the paper, section 5.3, and for DAGMM). The "
        "other half is scored by `isovae score`, and the share rho of its rows that is least "
        "probable is flagged; the anomaly is the positive class. AUROC and average precision (AP) "
        "need no rho.",
        "No label chose anything: the preset is a recipe fixed beforehand, but for 20,000 rows and "
        "more with 50 columns or more its width, its noise's start, the warm-up of the KL and that "
        "nothing is denoised were chosen by the bound of "
        "held-out training rows on one split of KDDCup99 (docs/theory.md, section 5; that the "
        "recipe had to be changed there was seen by the labels, what to change was not); the Gaussian "
        "rows let beta follow the noise of largest likelihood; probabilistic PCA takes its number "
        "of components by held-out likelihood; the others are at their libraries' defaults "
        f"(one-class SVM with nu 0.1; it and k nearest, k = 5, on at most {peers.MOST_TRAIN} "
        "training rows).",
        *(main_table(results) for results in every),
        "Where another method is ahead. " + " ".join(verdict(results) for results in every),
        difference_table(every), parts_table(every), "In words: " + parts_words(every),
        constant_words(every),
        other_protocol(every),
        "Published: DAGMM 0.9297 precision, 0.9442 recall, 0.9369 F1 on KDDCup99 over 20 runs (Zong "
        "et al., ICLR 2018, as quoted by the README of github danieltan07/dagmm, whose encoded "
        "file is the one used here; one run of that repository: 0.9607). GOAD's paper reports 0.99 "
        "on KDDCup99 for its closed-set variant (section 6), under the protocol of the table "
        "above. Its own tables, and those of NeuTraL AD and ICL, were not at hand when this was "
        "written, so none of their figures is quoted."]
    if missing:
        blocks.append("Not installed where this ran, so without a row: " + ", ".join(missing) + ".")
    return blocks
