#!/usr/bin/env python3
"""Draws the spectrum of a VAE beside PCA's, with error bars over seeds, from isovae's reports.

    for seed in 1 2 3 4 5; do
        isovae fit DATA --seed $seed -o m.safetensors && isovae report m.safetensors DATA --json $seed.json
    done
    python3 scripts/spectrum.py spectrum.png 1.json 2.json 3.json 4.json 5.json

Bars are means over the reports of variance_y, the latents of each in decreasing order; error bars one
standard deviation; latents that are not active are left out. Needs numpy and matplotlib.
"""
import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    out, paths = sys.argv[1], sys.argv[2:]
    reports = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            reports.append(json.load(file))
    latents = max(len(report["latents"]) for report in reports)
    spectra = np.full((len(reports), latents), np.nan)
    for row, report in zip(spectra, reports):
        active = [latent["variance_y"] for latent in report["latents"] if latent["active"]]
        row[: len(active)] = sorted(active, reverse=True)
    shown = int(np.min(np.sum(~np.isnan(spectra), axis=1)))
    spectra = spectra[:, :shown]
    pca = np.array(reports[0]["pca"]["eigenvalues"][:shown])
    places = np.arange(shown)

    figure, axes = plt.subplots(figsize=(7, 2.9))
    axes.bar(places - 0.2, spectra.mean(0), 0.4, color="#0072b2",
             yerr=spectra.std(0, ddof=1) if len(reports) > 1 else None, capsize=2,
             label=f"VAE: variance_y of each latent, mean and SD of {len(reports)} seeds")
    axes.bar(places[: len(pca)] + 0.2, pca, 0.4, color="#d0d0d0", label="PCA: eigenvalues")
    axes.axhline(reports[0]["beta"] / 2, color="#d55e00", lw=1, ls="--",
                 label="beta/2: below it no latent is active")
    axes.set_xticks(places)
    axes.set_xlabel("latent, principal component")
    axes.set_ylabel("variance, " + reports[0]["unit"].replace("units of the", "units of the\n"))
    axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(out, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
