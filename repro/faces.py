#!/usr/bin/env python3
"""Trains the convolutional VAEs of the paper's second experiment on faces and tells their figures.

    repro/faces.py FACES.zip [--isovae build/isovae] [--out build/repro/faces] [--only conv64-sse]

FACES.zip holds aligned CelebA crops of 89 x 109 pixels; the first 9 of 10 train (500 of them, or a
tenth of fewer, validate), the others are the test. Two networks times two metrics, 256 latents,
conventional objective. Each model is a row of OUT/faces.md, with its pages, sheets and curves
beside it; what is there already is not made again, and an interrupted training goes on where it
was. Standard library only.
"""
import argparse
import json
import os
import subprocess
import sys
import time
import zipfile

METRICS = {"sse": ("sse", 12288 / 100000), "ssim": ("ssim", 1 / 10000)}
STEPS = {"conv64": 8000, "conv-small": 6000}  # half an hour on two cores, and less


def run(command, log):
    with open(log, "w") as file:
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}, see {log}")


def split(source, folder, rows):
    """The zip in two, pictures in the order of their names: (training file, test file)."""
    parts = [os.path.join(folder, name) for name in ("train.zip", "test.zip")]
    if not all(os.path.exists(part) for part in parts):
        with zipfile.ZipFile(source) as archive:
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
    active = [latent for latent in latents if latent["active"]]
    whole, held, chosen = sum(latent["variance_y"] for latent in active), 0.0, []
    for latent in sorted(active, key=lambda latent: -latent["variance_y"]):
        if held >= share * whole:
            break
        chosen.append(latent)
        held += latent["variance_y"]
    return chosen


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else float("nan")


def figures(report):
    chosen = strongest(report["latents"], 0.95)
    distortion, quality = report["distortion"], report["image_quality"]
    optimality = [latent["optimality_mean"] for latent in chosen]
    centre = mean(optimality)
    spread = mean((value - centre) ** 2 for value in optimality) ** 0.5
    return {
        "active": report["active_dim"],
        "pca active": report["pca"]["active_predicted"],
        "holding 95 %": len(chosen),
        "E0": mean(latent["stationarity_mean"] for latent in chosen),
        "optimality": centre,
        "spread over latents": spread,
        "spread over rows": mean(latent["optimality_sd"] for latent in chosen),
        "cosine": report["orthogonality"]["mean_abs_cosine"],
        "coding / predicted": distortion["coding"] / distortion["coding_predicted"],
        "PSNR": quality["psnr_db"],
        "SSIM": quality["ssim"],
        "rate": report["rate_nats"],
    }


def verdict(f):
    """What E0 beside E1 says (docs/theory.md, section 3)."""
    if abs(f["E0"] - 1) > 0.05:
        return "undertrained" if f["E0"] < 1 else "encoder cannot follow"
    return "at the optimum" if f["optimality"] > 0.9 else "curved"


def losses(log):
    """(steps, best validation loss, its step, training and validation loss at the end)"""
    with open(log) as file:
        lines = [json.loads(line) for line in file]
    rows = [line for line in lines if line.get("validation_loss") is not None]
    best = min(rows, key=lambda row: row["validation_loss"])
    return rows[-1]["step"], best["validation_loss"], best["step"], rows[-1]["loss"], rows[-1][
        "validation_loss"]


def fit(options, name, arch, metric, train):
    path = os.path.join(options.out, name)
    model = path + ".safetensors"
    if os.path.exists(model):
        return model
    loss, beta = METRICS[metric]
    start = time.time()
    run([options.isovae, "fit", train, "-o", model, "--crop", "89,89,15,0", "--size", "64",
         "--arch", arch, "--latent-dim", "256", "--loss", loss, "--beta", f"{beta:.6g}",
         "--validation", "0.0556" if not options.rows else "0.1", "--seed", "1", "--steps",
         str(options.steps or STEPS[arch]), "--log", path + ".jsonl", "--resume", model + ".ckpt",
         *(["--threads", str(options.threads)] if options.threads else [])], path + ".log")
    with open(path + ".seconds", "w") as file:
        file.write(f"{time.time() - start:.0f}\n")
    return model


def report(options, name, model, test):
    path = os.path.join(options.out, name)
    if not os.path.exists(path + ".json"):
        run([options.isovae, "report", model, test, "--crop", "89,89,15,0", "--html",
             path + ".html", "--csv", path, "--json", path + ".json", "--iwae", "0"], path + ".txt")
        run([options.isovae, "traverse", model, "-o", path + "-traverse.png"], path + ".log2")
    with open(path + ".json") as file:
        return json.load(file)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("faces")
    parser.add_argument("--isovae", default="build/isovae")
    parser.add_argument("--out", default="build/repro/faces")
    parser.add_argument("--only", help="for example conv64-sse,conv-small-ssim")
    parser.add_argument("--steps", type=int, help="of each training, instead of its own number")
    parser.add_argument("--rows", type=int, help="so many of the pictures, for a try")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    os.makedirs(options.out, exist_ok=True)
    train, test = split(options.faces, options.out, options.rows)
    table, head = [], None
    for arch in STEPS:
        for metric in METRICS:
            name = f"{arch}-{metric}"
            if options.only and name not in options.only.split(","):
                continue
            model = fit(options, name, arch, metric, train)
            f = figures(report(options, name, model, test))
            steps, best, at, last, last_validation = losses(
                os.path.join(options.out, name + ".jsonl"))
            head = ["model", *f, "verdict", "steps", "best validation (at step)", "at the end: training, validation"]
            table.append([name, *(f"{v:.3f}" if isinstance(v, float) else str(v)
                                  for v in f.values()), verdict(f), str(steps), f"{best:.4g} ({at})",
                          f"{last:.4g}, {last_validation:.4g}"])
    text = "| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|\n"
    text += "".join("| " + " | ".join(row) + " |\n" for row in table)
    with open(os.path.join(options.out, "faces.md"), "w") as file:
        file.write(text)
    print(text, end="")


if __name__ == "__main__":
    main()
