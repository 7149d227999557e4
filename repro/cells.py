"""Science data: 700 blood cells by their genes, and 1,965 frames of one face; beside PCA."""
import csv
import json
import os

import numpy as np

import draw
from lab import Failed, Job, Picture, Table, mean, plus_minus

TITLE = "Science data: single cells and Frey faces"
CELLS = "pbmc68k_reduced/10x_pbmc68k_reduced.h5ad"
FREY = "freyfaces/freyfaces.npz"
# Steps and --denoise were chosen by the bound on the held-out rows of split 1, without labels. Noise
# on its input is meant to keep an encoder of 765 inputs from learning 500 rows by heart.
NETS = {
    "defaults": [],
    "short": ["--steps", "1000", "--lr", "0.002"],
    "short, denoised": ["--steps", "1000", "--lr", "0.002", "--denoise", "2"],
    "linear": ["--arch", "linear", "--steps", "3000"],
    "linear, denoised": ["--arch", "linear", "--steps", "3000", "--denoise", "1"],
}
SHOWN = ("short", "linear")
ALL_ROWS = ["--validation", "0"]  # as PCA has them; the short nets need no stop


def read_cells(path):
    """(rows, names of genes, cell types of the rows as numbers, their names)"""
    try:
        import h5py
    except ImportError as error:
        raise Failed("h5py is missing: build/repro-venv/bin/pip install -r "
                     "repro/requirements.txt") from error
    with h5py.File(path) as file:
        types = [name.decode() for name in file["uns/bulk_labels_categories"][:]]
        genes = [name.decode() for name in file["var"]["index"]]
        return file["X"][:].astype(float), genes, file["obs"]["bulk_labels"].astype(int), types


# ---- baselines ----

class Pca:
    """Of standardised columns, as isovae scales tables; with the density of probabilistic PCA."""

    def __init__(self, rows, count, scale=True):
        self.mean = rows.mean(0)
        self.sd = rows.std(0) if scale else np.ones(rows.shape[1])
        self.sd[self.sd == 0] = 1
        _, values, self.axes = np.linalg.svd(self.scaled(rows), full_matrices=False)
        self.values = np.zeros(rows.shape[1])
        self.values[:len(values)] = values ** 2 / len(rows)
        self.axes = self.axes[:count].T
        self.count = count

    def scaled(self, rows):
        return (rows - self.mean) / self.sd

    def encode(self, rows):
        return self.scaled(rows) @ self.axes

    def decode(self, codes):
        return codes @ self.axes.T * self.sd + self.mean

    def log_density(self, rows):
        codes, d = self.encode(rows), rows.shape[1]
        kept, noise = self.values[:self.count], self.values[self.count:].mean()
        rest = (self.scaled(rows) ** 2).sum(1) - (codes ** 2).sum(1)
        return (-0.5 * ((codes ** 2 / kept).sum(1) + rest / noise + np.log(kept).sum()
                        + (d - self.count) * np.log(noise) + d * np.log(2 * np.pi))
                - np.log(self.sd).sum())


def discriminant(train, labels, test):
    """Linear discriminant analysis; the pooled covariance is shrunk by a tenth."""
    known = np.unique(labels)
    centres = np.stack([train[labels == c].mean(0) for c in known])
    inner = train - centres[np.searchsorted(known, labels)]
    spread = inner.T @ inner / len(train)
    spread = 0.9 * spread + 0.1 * np.diag(np.diag(spread))
    weights = np.linalg.solve(spread, centres.T)
    prior = np.log([np.mean(labels == c) for c in known])
    return known[np.argmax(test @ weights - 0.5 * (centres.T * weights).sum(0) + prior, 1)]


def neighbours(train, labels, test, count=10):
    distance = ((test[:, None] - train[None]) ** 2).sum(-1)
    near = labels[np.argsort(distance, 1, kind="stable")[:, :count]]
    return np.array([np.bincount(row).argmax() for row in near])


def told(codes, labels):
    """eta^2 of each column: the share of its variance that lies between the classes."""
    whole = codes.var(0)
    between = sum(np.mean(labels == c) * (codes[labels == c].mean(0) - codes.mean(0)) ** 2
                  for c in np.unique(labels))
    return between / whole


# ---- jobs on cells ----

def encoded(work, model, data, latents):
    out = work.path("codes.npy")
    work.isovae("encode", model, data, "--isometric", "-o", out)
    return np.load(out)[:, latents]


def cells_model(work, options, seed, more=()):
    data = work.lab.file(CELLS)
    rows, _, labels, types = read_cells(data)
    model, seconds = work.fit(data, "--seed", seed, *options, *ALL_ROWS, *more)
    report = work.report(model, data, "--rows", "all", "--labels", "obs/bulk_labels")
    scores = work.path("scores.csv")
    work.isovae("score", model, data, "-o", scores)
    with open(scores) as file:
        density = np.array([float(row["log_density"]) for row in csv.DictReader(file)])
    pca = Pca(rows, 10)
    latents = report["latents"]
    keep = ("active", "variance_y", "share", "kl_nats", "optimality_mean", "stationarity_mean",
            "degenerate_group", "loadings")
    found = report["labels"]["latents"]
    return {"fit seconds": seconds, "active": report["active_dim"], "rows": report["n_samples"],
            "latents": [{key: latent[key] for key in keep} for latent in latents],
            "labels": found, "types": types,
            "pca": report["pca"]["eigenvalues"], "pca residual": report["pca"]["residual"],
            "residual": report["distortion"]["residual"],
            "pca told": told(pca.encode(rows), labels), "warnings": [w["code"] for w in
                                                                    report["warnings"]],
            "cosine": report["orthogonality"]["mean_abs_cosine"],
            "density": {types[c]: [float(density[labels == c].mean()), int((labels == c).sum())]
                        for c in np.unique(labels)}}


def cells_compare(work, nets, seed, more=()):
    """On a quarter of the rows that no one has seen: nats, and how well linear codes tell types."""
    rows, _, labels, _ = read_cells(work.lab.file(CELLS))
    order = np.random.default_rng(seed).permutation(len(rows))
    cut = len(rows) * 3 // 4
    train, test = order[:cut], order[cut:]
    paths = [work.path(name) for name in ("train.npy", "test.npy")]
    for path, part in zip(paths, (train, test)):
        np.save(path, rows[part].astype(np.float32))
    figures = {}
    for net, options in nets.items():
        options = options + ALL_ROWS if options else options
        model, _ = work.fit(paths[0], "--seed", seed, *options, *more, name=net.replace(", ", "-"))
        report = work.report(model, paths[1], "--iwae", "1000,1000")
        active = [i for i, latent in enumerate(report["latents"]) if latent["active"]]
        iwae = report["density"]["iwae"]
        codes = [encoded(work, model, path, active) for path in paths]
        pca = Pca(rows[train], len(active))
        linear = [pca.encode(rows[part]) for part in (train, test)]
        e0 = [latent["stationarity_mean"] for latent in report["latents"] if latent["active"]]
        figures[net] = {"E0": mean(e0), "active": len(active), "bound": report["elbo_nats"],
                        "iwae": report["density"]["mean"] - iwae["mean_difference"],
                        "ess": iwae["ess"], "ppca": float(pca.log_density(rows[test]).mean()),
                        "residual": report["distortion"]["transform"],
                        "ppca residual": float((pca.scaled(rows[test]) ** 2).sum(1).mean()
                                               - (linear[1] ** 2).sum(1).mean())}
        for name, (known, new) in (("", codes), ("pca ", linear)):
            for method, call in (("lda", discriminant), ("knn", neighbours)):
                right = call(known, labels[train], new) == labels[test]
                figures[net][name + method] = float(right.mean())
    figures["chance"] = float(np.bincount(labels[test]).max() / len(test))
    return figures


def stability(work, options, runs, seed, more=()):
    out = work.path("stability.json")
    work.isovae("stability", work.lab.file(CELLS), "--seeds", runs, "--seed", seed, "--runs",
                work.path("runs"), "--json", out, *options, *more)
    with open(out) as file:
        report = json.load(file)
    return {key: report[key] for key in ("summary", "n_runs", "units", "latents")}


def pca_stability(work, runs, seed, count=10):
    """The same question to PCA: another tenth left out each time; components matched on all rows."""
    from scipy.optimize import linear_sum_assignment
    rows = read_cells(work.lab.file(CELLS))[0]
    codes = []
    for run in range(runs):
        order = np.random.default_rng([seed, run]).permutation(len(rows))
        codes.append(Pca(rows[order[:len(rows) * 9 // 10]], count).encode(rows))
    match = []
    for other in codes[1:]:
        found = np.abs(np.corrcoef(codes[0].T, other.T)[:count, count:])
        match.append(found[linear_sum_assignment(-found)])
    match = np.array(match)
    return {"runs": runs, "found": 1 + (match >= 0.9).sum(0), "least": match.min(0)}


# ---- Frey faces ----

def frey(work, part, seed, more=()):
    """part: which tenth of the frames is the test, drawn at random or the film's last."""
    with np.load(work.lab.file(FREY)) as archive:
        frames = archive["faces"]
    order = np.random.default_rng(seed).permutation(len(frames)) if part == "random" \
        else np.arange(len(frames))
    cut = len(frames) * 9 // 10
    paths = [work.path(name) for name in ("train.npy", "test.npy")]
    for path, rows in zip(paths, (order[:cut], order[cut:])):
        np.save(path, frames[rows])
    model, seconds = work.fit(paths[0], "-n", "16", "--beta", "0.02", "--seed", seed,
                              *(more or ("--steps", "6000")))
    report = work.report(model, paths[1])
    work.isovae("traverse", model, "-o", work.path("sheet.png"), "--latents", "0-5", "--steps", "7")
    draw.smaller(work.path("sheet.png"), work.path("traversals.png"), 48, 420)
    flat = frames.reshape(len(frames), -1) / 255
    train, test = flat[order[:cut]], flat[order[cut:]]
    pca = {}
    for count in (report["active_dim"], 32, 64):
        base = Pca(train, count, scale=False)
        error = (test - base.decode(base.encode(test))) ** 2
        pca[count] = float(np.mean(-10 * np.log10(error.mean(1))))
    base = Pca(train, 16, scale=False)
    latents = report["latents"]
    return {"fit seconds": seconds, "active": report["active_dim"], "rows": report["n_samples"],
            "psnr": report["image_quality"]["psnr_db"], "pca psnr": pca,
            "gap": report["validation_gap_nats"],
            "variance": [latent["variance_y"] for latent in latents],
            "share": [latent["share"] for latent in latents],
            "E1": mean([latent["optimality_mean"] for latent in latents if latent["active"]]),
            "E0": mean([latent["stationarity_mean"] for latent in latents if latent["active"]]),
            "pca": report["pca"]["eigenvalues"], "pca train": base.values[:64],
            "residual": report["distortion"]["transform"],
            "warnings": [w["text"] for w in report["warnings"] if not w["note"]]}


def jobs(lab):
    quick = {"more": ["--steps", "60"]} if lab.smoke else {}
    made = []
    for net in SHOWN:
        made.append(Job(f"cells-{net}", cells_model, {"options": NETS[net], "seed": 1, **quick},
                        needs=(CELLS,)))
        runs = 2 if lab.smoke else 10
        made.append(Job(f"stability-{net}", stability, {"options": NETS[net], "runs": runs, "seed": 1,
                                                    **quick},
                        needs=(CELLS,)))
    made.append(Job("stability-pca", pca_stability, {"runs": 2 if lab.smoke else 10, "seed": 1},
                    needs=(CELLS,)))
    for seed in range(1, 2 if lab.smoke else 6):
        made.append(Job(f"compare-{seed}", cells_compare, {"nets": NETS, "seed": seed, **quick},
                        needs=(CELLS,)))
    for part in ("random", "last"):
        made.append(Job(f"frey-{part}", frey, {"part": part, "seed": 1, **quick}, needs=(FREY,)))
    return made if not lab.smoke else [job for job in made if job.key not in
                                       ("stability-linear", "cells-linear", "frey-last")]


# ---- the page ----

def page(lab, records):
    figures = {key: record["figures"] for key, record in records.items()}
    pictures = os.path.join(lab.out, "cells", "pictures")
    blocks = cells_page(figures, pictures)
    blocks += frey_page(lab, figures, pictures)
    return blocks


def cells_page(figures, pictures):
    models = {net: figures[f"cells-{net}"] for net in SHOWN if f"cells-{net}" in figures}
    blocks = ["**pbmc68k_reduced**: 700 blood cells, 765 genes, ten cell types that no training saw. 700 "
              "rows are few for a network of 765 inputs, and what follows says what that costs."]
    compared = [f for key, f in figures.items() if key.startswith("compare-")]
    if compared:
        blocks += comparison(compared)
    for net, f in models.items():
        blocks.append(latents_of(net, f))
        done = figures.get(f"stability-{net}")
        if done:
            blocks.append(stable_words(net, done))
    if "stability-pca" in figures:
        blocks.append(pca_words(figures["stability-pca"]))
    if models:
        blocks.append(Picture(draw_spectrum(models, os.path.join(pictures, "cells.png")),
                              "variance_y of the active latents beside PCA's eigenvalues, squared "
                              "standard deviations. A curved latent is longer than a straight one, so "
                              "its variance may pass PCA's (docs/theory.md, section 3, on E4)."))
        blocks.append(density_words(next(iter(models.values()))))
        blocks.append(beyond(models, figures, compared))
    return blocks


def comparison(compared):
    rows = []
    for net in NETS:
        f = [one[net] for one in compared]

        def show(key, digits=1, f=f):
            return plus_minus([one[key] for one in f], digits)

        rows.append([net, show("active"), show("E0", 2), show("bound"), show("iwae"), show("ppca"),
                     show("residual", 0), show("ppca residual", 0),
                     show("lda", 3), show("pca lda", 3), show("knn", 3), show("pca knn", 3)])
    chance = mean([one["chance"] for one in compared])
    best = max(NETS, key=lambda net: mean([one[net]["bound"] for one in compared]))
    text = f"On held-out rows the best bound is that of **{best}**."
    for net in NETS:
        ahead = [one[net]["bound"] - one[net]["ppca"] for one in compared]
        told_by = [one[net]["lda"] - one[net]["pca lda"] for one in compared]
        text += (f" *{net}*: {mean(ahead):+.1f} nats a row against probabilistic PCA with as many "
                 f"components, ahead in {sum(a > 0 for a in ahead)} of {len(ahead)} splits; cell types "
                 f"{100 * mean(told_by):+.1f} points.")
    for net in SHOWN:
        gain = mean([one[net + ", denoised"]["bound"] - one[net]["bound"] for one in compared])
        text += (f" Noise on the encoder's input changes the bound of *{net}* by {gain:+.1f} nats; "
                 "spectrum and genes, below, are those of the net without it.")
    return [Table(["network", "active of 10", "E0", "bound, nats", "importance-weighted", "probabilistic PCA",
                   "squared residual", "PCA's", "types told by discriminant", "PCA's", "by 10 neighbours",
                   "PCA's"], rows,
                  f"A quarter of the rows held out, mean (SD) over {len(compared)} splits; PCA has as "
                  "many components as there are active latents. *defaults* is `isovae fit` as it stands, "
                  "which holds out a tenth of its rows; the others train 1,000 steps (linear ones "
                  "3,000) on all rows that PCA has, *linear* without a hidden layer, *denoised* with noise on the "
                  "encoder's input, whose SD was chosen by the bound on the first split, not by "
                  "types. Types are told from the "
                  f"codes of held-out rows by rules learned on the others; the largest class alone: {chance:.3f}."),
            text]


def latents_of(net, f):
    rows = []
    for i, (latent, label) in enumerate(zip(f["latents"], f["labels"])):
        if not latent["active"]:
            continue
        genes = ", ".join(("+" if g["mean"] > 0 else "-") + g["feature"]
                          + ("" if g["sign_consistency"] > 0.5 else "~")
                          for g in latent["loadings"][:5])
        group = latent["degenerate_group"]
        rows.append([str(i), f"{latent['variance_y']:.1f}", f"{f['pca'][i]:.1f}",
                     f"{100 * latent['share']:.1f} %", f"{latent['kl_nats']:.2f}",
                     f"{latent['optimality_mean']:.2f}, {latent['stationarity_mean']:.2f}", genes,
                     f"{label['eta2']:.2f}", f"{f['pca told'][i]:.2f}",
                     f"{label['class']} ({label['auroc']:.3f})",
                     "-" if group is None or group < 0 else "abcdefgh"[group % 8]])
    return Table(["latent", "variance_y", "PCA", "share", "nats", "E1, E0", "genes that load most", "eta^2",
                  "of PCA's", "best told type (AUROC)", "may rotate"], rows,
                 f"**{net}**, trained and looked at on all 700 rows: {f['active']} active, mean "
                 f"abs cosine {f['cosine']:.3f}. eta^2: share of the latent's variance that lies between "
                 "cell types, beside that of the PCA component of the same rank. ~: the gene moves up "
                 "in some places and down in others. The same letter: near-degenerate, to be read as "
                 "one. Shares are of the latents' lengths and the residual together.")


def stable_words(net, f):
    units = [unit for unit in f["units"] if unit["claimed"]]
    text = (f"**Stability, {net}**, {f['n_runs']} seeds with other weights and held-out rows: "
            f"*{f['summary']}*.")
    if units:
        text += " Claimed: " + "; ".join(
            f"{', '.join(map(str, unit['latents']))} in {unit['found']} of {f['n_runs']}, least match "
            f"{unit['match_min']:.2f}" for unit in units) + "."
    else:
        shared = [f"{unit['directions_shared']} of {len(unit['latents'])}" for unit in f["units"]]
        text += (" Trained on so few rows, these latents should not be named one by one; of the space "
                 f"of each group, every run has {', '.join(shared)} directions.")
    return text


def pca_words(f):
    held = [str(i) for i, found in enumerate(f["found"]) if found >= 0.9 * f["runs"]]
    return (f"**Stability, PCA**: of ten components, {f['runs']} times with another tenth of the rows left "
            "out, " + (f"{', '.join(held)} are found in nine of ten runs (least match "
                       f"{min(f['least'][int(i)] for i in held):.2f})" if held else
                       "none is found in nine of ten runs") + ". That is the bar for the networks above: "
            "the rows do fix PCA's axes as far as listed, and where a network claims fewer, it is its "
            "training that does not.")


def draw_spectrum(models, path):
    figure, axes = draw.panels(len(models))
    for axis, (net, f) in zip(axes, models.items()):
        axis.semilogy([latent["variance_y"] for latent in f["latents"] if latent["active"]], "o-",
                      color=draw.COLORS[0], label="variance_y")
        axis.semilogy(f["pca"][:10], "s--", color=draw.COLORS[1], label="PCA")
        axis.set(title=net, xlabel="latent or component")
    axes[0].legend(fontsize=8)
    return draw.save(figure, path)


def density_words(f):
    ranked = sorted(f["density"].items(), key=lambda item: item[1][0])
    low, high = ranked[:2], ranked[-2:]

    def tell(items):
        return " and ".join(f"{name} ({value:.0f}, {count} cells)" for name, (value, count) in items)

    return (f"Log density by cell type (nats a row, never told to the model): lowest for {tell(low)}, "
            f"highest for {tell(high)}.")


def beyond(models, figures, compared):
    """What the figures say that isovae gives beyond PCA here; nothing where they do not."""
    said = ["**Beyond PCA here?**"]
    if compared:
        gain = {net: (mean([c[net]["bound"] - c[net]["ppca"] for c in compared]),
                      mean([c[net]["lda"] - c[net]["pca lda"] for c in compared])) for net in NETS}
        best = max(gain, key=lambda net: gain[net][0])
        said.append(f"In held-out nats the best network (*{best}*) is {gain[best][0]:+.1f} a row "
                    "from probabilistic PCA"
                    + (" of as many components." if gain[best][0] > 0 else " of as many components, which wins."))
        told_best = max(gain, key=lambda net: gain[net][1])
        said.append("For telling cell types " + (
            f"no network beats PCA's components (best: *{told_best}*, {100 * gain[told_best][1]:+.1f} "
            "points)." if gain[told_best][1] <= 0.01 else
            f"*{told_best}* is {100 * gain[told_best][1]:.1f} points better than PCA."))
    for net, f in models.items():
        ours = max(label["eta2"] for label, latent in zip(f["labels"], f["latents"])
                   if latent["active"])
        theirs = max(f["pca told"])
        said.append(f"The single latent of *{net}* that tells types best has eta^2 {ours:.2f}, PCA's best "
                    f"component {theirs:.2f}"
                    + (": PCA's axes are the ones to look at." if theirs > ours + 0.02 else "."))
    return " ".join(said)


def frey_page(lab, figures, pictures):
    found = {part: figures[f"frey-{part}"] for part in ("random", "last") if f"frey-{part}" in figures}
    if not found:
        return []
    counts = list(next(iter(found.values()))["pca psnr"])
    rows = [[{"random": "a tenth at random", "last": "the film's last tenth"}[part], str(f["rows"]),
             str(f["active"]), f"{f['E0']:.3f}, {f['E1']:.3f}", f"{f['psnr']:.2f} dB",
             *(f"{v:.2f} dB" for v in f["pca psnr"].values()), f"{f['gap']:.1f}"]
            for part, f in found.items()]
    blocks = [Table(["test frames", "rows", "active of 16", "E0, E1", "PSNR", *(f"PCA, {n}" for n in
                     counts), "validation gap, nats"], rows,
                    "**Frey faces**, 1,965 frames of 28 x 20, beta 0.02: mean PSNR of reconstructions of "
                    "test frames, beside PCA of the training frames with as many components and more. "
                    "Frames are neighbours in time, so a random tenth has near copies in the training "
                    "part, and the last tenth has not.")]
    said = []
    for part, f in found.items():
        same = f["pca psnr"][counts[0]]
        beaten = [n for n, v in f["pca psnr"].items() if v > f["psnr"]]
        said.append(f"{part}: {f['psnr'] - same:+.2f} dB against PCA with {counts[0]} components; "
                    + (f"PCA needs {beaten[0]} components or more to pass it" if beaten and
                       beaten[0] != counts[0] else "PCA is ahead with as many" if beaten else
                       f"PCA with {counts[-1]} is still behind") + ".")
    blocks.append("Frey faces, " + " ".join(said))
    figure, axes = draw.panels(len(found))
    for axis, (part, f) in zip(axes, found.items()):
        axis.semilogy(f["variance"], "o-", color=draw.COLORS[0], label="variance_y")
        axis.semilogy(f["pca train"][:32], "s--", ms=3, color=draw.COLORS[1],
                      label="PCA of the training frames")
        axis.set(title=f"test: {part}", xlabel="latent or component")
    axes[0].legend(fontsize=8)
    blocks.append(Picture(draw.save(figure, os.path.join(pictures, "frey.png")),
                          "Frey faces: variance_y beside PCA's eigenvalues, squared units of the range "
                          "0 to 1."))
    sheet = os.path.join(lab.out, "cells", "frey-random", "traversals.png")
    if os.path.exists(sheet):
        blocks.append(Picture(draw.smaller(sheet, os.path.join(pictures, "frey-traversals.png"), 48),
                              "Frey faces: the six strongest latents in equal steps of y."))
    return blocks
