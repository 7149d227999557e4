"""The paper's experiment on faces: two networks times two metrics, and what their latents hold."""
import csv
import json
import os
import zipfile

import draw
from lab import Job, Picture, Table, mean, sd

TITLE = "Images: convolutional VAEs on faces"
FACES = "celeba_10k/celeba_000001-010000_89x109.zip"
CROP = ("--crop", "89,89,15,0")
METRICS = {"sse": ("sse", 12288 / 100000), "ssim": ("ssim", 1 / 10000)}
# steps of the trainings that docs/gallery shows: 7 to 23 minutes on two cores each
STEPS = {"conv64-sse": 8000, "conv-small-sse": 6000, "conv64-ssim": 5000, "conv-small-ssim": 6000}
SHORT = "conv-small-sse-short"


def split(lab, rows):
    """The archive in two, pictures in the order of their names: (training file, test file)."""
    folder = os.path.join(lab.out, "images", f"faces-{rows or 'all'}")
    os.makedirs(folder, exist_ok=True)
    parts = [os.path.join(folder, name) for name in ("train.zip", "test.zip")]
    with lab.lock:  # two jobs want the same
        if not all(os.path.exists(part) for part in parts):
            with zipfile.ZipFile(lab.file(FACES)) as archive:
                names = sorted(n for n in archive.namelist() if n.lower().endswith((".jpg", ".png")))
                names = names[:rows] if rows else names
                cut = len(names) * 9 // 10
                for part, members in zip(parts, (names[:cut], names[cut:])):
                    with zipfile.ZipFile(part + ".new", "w", zipfile.ZIP_STORED) as out:
                        for name in members:
                            out.writestr(zipfile.ZipInfo(name), archive.read(name))
                    os.replace(part + ".new", part)
    return parts


def strongest(latents, share):
    """The latents that together hold `share` of the importance of the active ones."""
    active = sorted((latent for latent in latents if latent["active"]),
                    key=lambda latent: -latent["variance_y"])
    whole, held, chosen = sum(latent["variance_y"] for latent in active), 0.0, []
    for latent in active:
        if held >= share * whole:
            break
        chosen.append(latent)
        held += latent["variance_y"]
    return chosen


def train(work, arch, metric, steps, seed, rows=None):
    data, test = split(work.lab, rows)
    loss, beta = METRICS[metric]
    log = work.path("training.jsonl")
    model, seconds = work.fit(data, *CROP, "--size", "64", "--arch", arch, "-n", "256", "--loss", loss,
                              "--beta", f"{beta:.6g}", "--validation", "0.1" if rows else "0.0556",
                              "--seed", seed, "--steps", steps, "--log", log)
    report = work.report(model, test, *CROP, "--iwae", "0", "--csv", work.path("tables"))
    work.isovae("traverse", model, "-o", work.path("sheet.png"), "--latents", "0-5", "--steps", "7")
    draw.smaller(work.path("sheet.png"), work.path("traversals.png"), 64, 420)
    with open(log) as file:
        course = [line for line in map(json.loads, file) if line.get("validation_loss") is not None]
    latents, distortion = report["latents"], report["distortion"]
    chosen = strongest(latents, 0.95)
    optimality = [latent["optimality_mean"] for latent in chosen]
    keep = ("active", "variance_y", "norm_mean", "norm_sd", "optimality_mean", "stationarity_mean")
    return {
        "fit seconds": seconds, "rows": report["n_samples"], "active": report["active_dim"],
        "predicted": report["pca"]["active_predicted"], "comparable": report["pca"]["comparable"],
        "holding": len(chosen), "E0": mean([latent["stationarity_mean"] for latent in chosen]),
        "E1": mean(optimality), "E1 over latents": sd(optimality),
        "E1 over rows": mean([latent["optimality_sd"] for latent in chosen]),
        "cosine": report["orthogonality"]["mean_abs_cosine"],
        "transform": distortion["transform"], "coding": distortion["coding"],
        "coding predicted": distortion["coding_predicted"], "psnr": report["image_quality"]["psnr_db"],
        "ssim": report["image_quality"]["ssim"], "rate": report["rate_nats"],
        "pca residual": report["pca"]["residual"], "pca": report["pca"]["eigenvalues"],
        "loss": course[-1]["loss"], "validation": course[-1]["validation_loss"],
        "best at": min(course, key=lambda line: line["validation_loss"])["step"],
        "last": course[-1]["step"],
        "latents": {key: [latent[key] for latent in latents] for key in keep},
    }


def jobs(lab):
    if lab.smoke:
        return [Job(SHORT, train, {"arch": "conv-small", "metric": "sse", "steps": 40, "seed": 1,
                                   "rows": 80}, threads=2, needs=(FACES,))]
    made = [Job(SHORT, train, {"arch": "conv-small", "metric": "sse", "steps": 3000, "seed": 1},
                threads=2, needs=(FACES,))]
    for key, steps in STEPS.items():
        arch, metric = key.rsplit("-", 1)
        made.append(Job(key, train, {"arch": arch, "metric": metric, "steps": steps, "seed": 1},
                        full=True, threads=2, needs=(FACES,)))
    return made


# ---- the page ----

def verdict(f):
    """What E0 beside E1 says (docs/theory.md, section 3)."""
    if abs(f["E0"] - 1) > 0.05:
        why = "undertrained" if f["E0"] < 1 else "the encoder cannot follow"
        if f["validation"] > 1.04 * f["loss"]:
            why = "the encoder's widths fit training pictures better than new ones"
        return f"E0 off 1 by more than 0.05: missed; {why}"
    return "at the optimum" if abs(f["E1"] - 1) <= 0.1 else "E0 right, E1 off 1: curved"


def summary(figures):
    keys = list(figures)

    def row(name, text):
        return [name, *(text(figures[key]) for key in keys)]

    def first(f):
        every = [v for v, on in zip(f["latents"]["variance_y"], f["latents"]["active"]) if on]
        return ", ".join(f"{v:.3g}" for v in every[:5])

    rows = [
        row("steps; minutes of training", lambda f: f"{f['last']:,}; {f['fit seconds'] / 60:.0f}"),
        row("active of 256 (PCA: variances above 1.1 beta/2)", lambda f: f"{f['active']} "
            + (f"({f['predicted']})" if f["comparable"] else "(-)")),
        row("latents that hold 95 %", lambda f: str(f["holding"])),
        row("E0 over these (1)", lambda f: f"{f['E0']:.3f}"),
        row("E1: mean (1), SD over latents, over rows", lambda f:
            f"{f['E1']:.3f}, {f['E1 over latents']:.3f}, {f['E1 over rows']:.3f}"),
        row("verdict", verdict),
        row("mean abs cosine of two latents (0)", lambda f: f"{f['cosine']:.3f}"),
        row("coding loss / prediction (1)", lambda f: f"{f['coding'] / f['coding predicted']:.3f}"),
        row("transform loss (PCA with as many)", lambda f: f"{f['transform']:.3g} "
            + (f"({f['pca residual']:.3g})" if f["comparable"] else "(-)")),
        row("variance of the first five", first),
        row("PSNR, SSIM of reconstructions", lambda f: f"{f['psnr']:.1f} dB, {f['ssim']:.3f}"),
        row("loss at the end: training, validation; best at step", lambda f:
            f"{f['loss']:.4g}, {f['validation']:.4g}; {f['best at']:,}"),
    ]
    return Table(["test pictures", *keys], rows, "Figures on the test pictures; in brackets the value "
                 "that theory expects, or PCA's. E0 and E1 are means over the latents that hold 95 % of "
                 "the importance. \"conv-small-sse-short\" is half of the full training.")


def draw_optimality(figures, path):
    figure, axes = draw.panels(len(figures), 3.2, 2.6)
    for axis, (key, f) in zip(axes, figures.items()):
        latents = f["latents"]
        at = [i for i, on in enumerate(latents["active"]) if on]
        norm = [latents["norm_mean"][i] for i in at]
        spread = [latents["norm_sd"][i] for i in at]
        axis.fill_between(at, [m - s for m, s in zip(norm, spread)],
                          [m + s for m, s in zip(norm, spread)], color="#dddddd")
        axis.plot(at, norm, ".", ms=3, color=draw.COLORS[0], label="norm (band: SD over rows)")
        axis.plot(at, [latents["optimality_mean"][i] for i in at], "-", lw=0.8,
                  color=draw.COLORS[1], label="E1")
        axis.plot(at, [latents["stationarity_mean"][i] for i in at], "-", lw=0.8,
                  color=draw.COLORS[2], label="E0")
        axis.axhline(1, color="k", lw=0.5)
        axis.set(title=key, xlabel="latent by importance", ylim=(0, max(1.9, 1.4 * max(norm))))
    axes[0].legend(fontsize=7, loc="upper right")
    return draw.save(figure, path)


def draw_spectrum(figures, path):
    figure, axes = draw.panels(len(figures), 3.2, 2.6)
    for axis, (key, f) in zip(axes, figures.items()):
        values = [v for v, on in zip(f["latents"]["variance_y"], f["latents"]["active"]) if on]
        pca = f["pca"]
        if not f["comparable"]:
            values, pca = ([v / every[0] for v in every] for every in (values, pca))
        axis.semilogy(values, color=draw.COLORS[0], label="variance_y")
        axis.semilogy(pca, "--", color=draw.COLORS[1], label="PCA")
        axis.set(title=key + ("" if f["comparable"] else ", each over its first"),
                 xlabel="latent or component")
    axes[0].legend(fontsize=7)
    return draw.save(figure, path)


def read_cosines(path):
    with open(path) as file:
        return [[float(v) if v else float("nan") for v in row[1:]] for row in list(csv.reader(file))[1:]]


def draw_cosines(tables, path, count=48):
    figure, axes = draw.panels(len(tables), 2.9, 2.8)
    for axis, (key, rows) in zip(axes, tables.items()):
        shown = axis.imshow([row[:count] for row in rows[:count]], vmin=0, vmax=1, cmap="viridis")
        axis.set(title=key, xlabel="latent by importance")
    figure.colorbar(shown, ax=axes[-1])
    return draw.save(figure, path)


def page(lab, records):
    order = [key for key in [*STEPS, SHORT] if key in records]
    figures = {key: records[key]["figures"] for key in order}
    folder = os.path.join(lab.out, "images")
    pictures = os.path.join(folder, "pictures")
    blocks = [
        "10,000 aligned CelebA faces, 64 x 64 RGB; the first nine tenths train (500 of them "
        "validate), the others are the test. The two networks of the paper's second experiment, 256 "
        "latents, and its two metrics: sse with beta = 12288/100000, ssim with beta = 1/10000; the "
        "conventional objective. The paper trained on 20 times as many pictures."]
    if not all(key in figures for key in STEPS):
        missing = ", ".join(key for key in STEPS if key not in figures)
        blocks.append(f"Not run here (`make repro-full`): {missing}. [gallery](gallery/README.md) has "
                      "all four.")
    blocks.append(summary(figures))
    blocks.append(words(figures))
    blocks.append(Picture(draw_optimality(figures, os.path.join(pictures, "norm.png")),
                          "norm, E1 and E0 of each active latent, by importance; theory: 1 (norm: 1 "
                          "- sigma^2). The paper's Figure of norms."))
    blocks.append(Picture(draw_spectrum(figures, os.path.join(pictures, "spectrum.png")),
                          "The spectrum: variance_y of the active latents, and PCA's eigenvalues of "
                          "the same pictures."))
    tables = {key: os.path.join(folder, key, "tables", "cosines.csv") for key in order}
    tables = {key: read_cosines(file) for key, file in tables.items() if os.path.exists(file)}
    if tables:
        blocks.append(Picture(draw_cosines(tables, os.path.join(pictures, "cosines.png")),
                              "Inner products in the metric: mean abs cosine of the 48 strongest "
                              "latents; theory: 0 off the diagonal."))
    for key in order:
        sheet = os.path.join(folder, key, "traversals.png")
        if os.path.exists(sheet):
            blocks.append(Picture(named(sheet, pictures, key), f"{key}: the six strongest latents in "
                                  "equal steps of y; measured distances under the gaps. All decoded."))
    return blocks


def named(sheet, folder, key):
    """A copy under a name of its own: pages keep their pictures by their names."""
    return draw.smaller(sheet, os.path.join(folder, f"traversals-{key}.png"), 64)


def words(figures):
    said = []
    for key, f in figures.items():
        text = f"**{key}**: {verdict(f)} (E0 {f['E0']:.3f}, E1 {f['E1']:.3f})"
        gap = f["validation"] / f["loss"] - 1
        text += f"; on validation rows the loss is {100 * gap:.1f} % above that on training rows"
        if f["comparable"]:
            ratio = f["transform"] / f["pca residual"]
            text += (f"; transform loss is {ratio:.2f} times what linear PCA with {f['active']} "
                     f"components leaves of the same pictures (that PCA is fitted to them, the network is not)"
                     + (": PCA keeps more" if ratio > 1 else ": the network keeps more"))
        said.append(text + ".")
    if any(key.endswith("ssim") for key in figures):
        said.append("With ssim E1 is expected above E0: 1 - SSIM is quadratic only for small changes, "
                    "and at this beta sigma is so wide that it no longer is "
                    "([gallery](gallery/README.md)).")
    return "\n\n".join(said)
