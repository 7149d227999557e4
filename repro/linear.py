"""A VAE without hidden layers against probabilistic PCA, to which it must come in closed form.

With eigenvalues l_j of the rows and noise beta/2 the optimum is known: as many active latents as
eigenvalues above the noise, importance l_j, sigma_j^2 = (beta/2)/l_j, norm_j = 1 - sigma_j^2, and the
log density of each row. Here the closed form is computed by NumPy from the same rows.
"""
import math

import numpy as np

from bars import Bars
from lab import Job, Table, mean, plus_minus

TITLE = "Linear VAE against probabilistic PCA"

EIGENVALUES = [10 * 0.65 ** j for j in range(16)]
KDD, THYROID, AUTHORS = ("kddcup99/kdd_cup.npz", "thyroid/thyroid.mat", "radogaga_toy/toy.csv.gz")
ACTIVE = 1.105  # a latent is called active above this multiple of the noise


# ---- data ----

def gaussian(rows, seed):
    """16 dimensions, well separated eigenvalues, axes that are the same for every seed."""
    axes = np.linalg.qr(np.random.default_rng(16).normal(size=(16, 16)))[0]
    draw = np.random.default_rng(seed).normal(size=(rows, 16))
    return ((draw * np.sqrt(EIGENVALUES)) @ axes.T + 3).astype(np.float32)


def table(lab, name, seed):
    """Rows of a real table, constant columns left out."""
    if name == "kdd":
        rows = np.load(lab.file(KDD))["kdd"]
        rows = rows[rows[:, -1] == 1][:, :-1]
        rows = rows[np.random.default_rng(seed).permutation(len(rows))[:20000]]
    elif name == "thyroid":
        from scipy.io import loadmat
        rows = loadmat(lab.file(THYROID))["X"]
    else:
        rows = np.loadtxt(lab.file(AUTHORS), delimiter=",", usecols=range(16))
    return rows[:, rows.std(axis=0) > 0].astype(np.float32)


# ---- the closed form ----

class Exact:
    """Probabilistic PCA of the rows with a noise variance and at most `most` components."""

    def __init__(self, rows, most, standard):
        x = rows.astype(np.float64)
        self.mean = x.mean(axis=0)
        self.scale = x.std(axis=0) if standard else np.ones(x.shape[1])
        x = (x - self.mean) / self.scale
        values, axes = np.linalg.eigh(x.T @ x / len(x))
        self.values, self.axes, self.most = np.maximum(values[::-1], 0), axes[:, ::-1], most

    def ml_noise(self):
        """The maximum-likelihood noise: mean of the variances left out."""
        return self.values[self.most:].mean()

    def active(self, noise):
        return min(self.most, int(np.sum(self.values > ACTIVE * noise)))

    def scores(self, rows):
        return ((rows.astype(np.float64) - self.mean) / self.scale) @ self.axes

    def log_density(self, rows, noise):
        """Of each row in its own units: log N(x; mean, C), C with the eigenvalues max(l_j, noise)
        for j < most, else the noise."""
        values = np.full(len(self.values), noise)
        values[:self.most] = np.maximum(self.values[:self.most], noise)
        square = (self.scores(rows) ** 2 / values).sum(axis=1)
        return -0.5 * (square + np.log(2 * math.pi * values).sum()) - np.log(self.scale).sum()


# ---- jobs ----

def compare(work, train, test, beta, latents, scale, seed, options):
    data, fresh = work.path("train.npy"), work.path("test.npy")
    np.save(data, train)
    np.save(fresh, test)
    model, seconds = work.fit(data, "--arch", "linear", "-n", latents, "--beta", beta, "--scale",
                              scale, "--validation", "0", "--seed", seed, *options)
    report = work.report(model, data, "--rows", "all", "--iwae", "0")
    noise = report["beta"] / 2
    exact = Exact(train, latents, scale == "standard")
    count = exact.active(noise)
    on = [latent for latent in report["latents"] if latent["active"]]
    both = list(zip(on, exact.values[:count]))
    work.isovae("score", model, fresh, "-o", work.path("score.npy"))
    work.isovae("encode", model, fresh, "--isometric", "-o", work.path("y.npy"))
    log_p = np.load(work.path("score.npy"))[:, 0]
    y, scores = np.load(work.path("y.npy")), exact.scores(test)
    closed = exact.log_density(test, noise)
    return {
        "noise": noise, "ml_noise": exact.ml_noise(), "floor": 0.005 * float(exact.values.mean()),
        "active": report["active_dim"], "predicted": count, "eigenvalues": exact.values[:count],
        "importance": [latent["importance"] for latent, _ in both],
        "variance_y": [latent["variance_y"] for latent, _ in both],
        "sigma2": [latent["sigma2_mean"] * value / noise for latent, value in both],
        "norm": [latent["norm_mean"] - (1 - latent["sigma2_mean"]) for latent, _ in both],
        "axes": [abs(np.corrcoef(y[:, j], scores[:, j])[0, 1]) for j in range(len(both))],
        "cosine": report["orthogonality"]["mean_abs_cosine"],
        "density": {"difference": np.abs(log_p - closed).mean(), "bias": (log_p - closed).mean(),
                    "sd": closed.std(), "r": np.corrcoef(log_p, closed)[0, 1],
                    "worst": np.abs(log_p - closed).max()},
        "seconds": seconds}


def on_gaussian(work, beta, latents, seed, options):
    rows = 5000 if "--steps" in options else 50000
    return compare(work, gaussian(rows, seed), gaussian(10000, seed + 1000), beta, latents, "none",
                   seed, options)


def on_table(work, name, latents, scale, beta, seed, options):
    rows = table(work.lab, name, seed)
    return compare(work, rows, rows, beta, latents, scale, seed, options)


TABLES = {"kdd": ("KDDCup99, 20,000 normal rows", KDD, 16, "none"),
          "thyroid": ("Thyroid, standardised", THYROID, 5, "standard"),
          "authors": ("authors' toy set", AUTHORS, 5, "none")}


def jobs(lab):
    options = ["--steps", 300] if lab.smoke else []
    seeds, out = range(1 if lab.smoke else 3), []
    for beta in ["0.8"] if lab.smoke else ["0.8", "4", "auto"]:
        for seed in seeds:
            out.append(Job(f"gaussian-{beta}-{seed}", on_gaussian,
                           dict(beta=beta, latents=10 if beta != "auto" else 8, seed=seed,
                                options=options)))
    for name, (_, file, latents, scale) in TABLES.items():
        for seed in seeds:
            out.append(Job(f"{name}-auto-{seed}", on_table,
                           dict(name=name, latents=latents, scale=scale, beta="auto", seed=seed,
                                options=options), needs=(file,)))
    return out


# ---- the page ----

def off(values, truth):
    return [abs(v / t - 1) for v, t in zip(values, truth)]


def rows_of(records):
    """(heading, figures of all seeds) of each setting."""
    out = []
    for name, words in [("gaussian-0.8", "Gaussian, beta 0.8"), ("gaussian-4", "Gaussian, beta 4"),
                        ("gaussian-auto", "Gaussian, beta auto, 8 latents"),
                        *((f"{k}-auto", f"{v[0]}, beta auto") for k, v in TABLES.items())]:
        group = [r["figures"] for key, r in records.items() if key.rsplit("-", 1)[0] == name]
        if group:
            out.append((name, words, group))
    return out


def spectrum(every, bars):
    rows = []
    for name, words, group in every:
        good = all(f["active"] == f["predicted"] for f in group)
        error = [mean(off(f["importance"], f["eigenvalues"])) for f in group]
        most = max(max(off(f["importance"], f["eigenvalues"])) for f in group)
        sigma = [mean([abs(s - 1) for s in f["sigma2"]]) for f in group]
        norm = [mean([abs(v) for v in f["norm"]]) for f in group]
        axes = min(min(f["axes"]) for f in group)
        rows.append([words, bars.judge(", ".join(str(f["active"]) for f in group), good,
                                       ", ".join(str(f["predicted"]) for f in group),
                                       f"{words}: active"),
                     bars.judge(f"{mean(error):.2%}", mean(error) <= 0.016, "1.6%",
                                f"{words}: importance"),
                     f"{most:.2%}", f"{mean(sigma):.2%}", f"{mean(norm):.4f}",
                     f"{mean([f['cosine'] for f in group]):.4f}", f"{axes:.5f}"])
    head = ["data", "active in each run; PCA's count", "importance off the eigenvalues, mean",
            "largest", "sigma_j^2 off (beta/2)/l_j, mean", "norm_j off 1 - sigma_j^2",
            "mean abs cosine", "least abs r of y_j with PCA's score j"]
    return Table(head, rows, "**Spectrum**: every quantity beside its closed form, over active "
                 "latents and seeds. The eigenvalues are NumPy's, of the same rows. Unlike a linear "
                 "autoencoder the VAE finds the principal axes themselves (last column).")


def density(every, bars):
    rows = []
    for name, words, group in every:
        values = [f["density"]["difference"] for f in group]
        rows.append([words, bars.judge(plus_minus(values, 4), mean(values) <= 0.05, "0.05",
                                       f"{words}: density"),
                     f"{mean([f['density']['bias'] for f in group]):+.4f}",
                     f"{max(f['density']['worst'] for f in group):.3f}",
                     f"{mean([f['density']['sd'] for f in group]):.2f}",
                     f"{mean([f['density']['r'] for f in group]):.6f}"])
    return Table(["data", "mean abs difference (SD over seeds)", "mean difference", "largest",
                  "SD of the log density itself", "r"], rows, "**Log density** of each row (score, "
                 "E6) against the closed form with the same noise, nats; Gaussian: of 10,000 fresh "
                 "rows.")


def noise(every, bars):
    rows = []
    for name, words, group in every:
        if not name.endswith("auto"):
            continue
        held = all(f["ml_noise"] < f["floor"] for f in group)
        for_bar = [f["floor"] if held else f["ml_noise"] for f in group]
        error = mean([abs(f["noise"] / b - 1) for f, b in zip(group, for_bar)])
        rows.append([words, f"{mean([f['noise'] for f in group]):.6g}",
                     f"{mean([f['ml_noise'] for f in group]):.6g}",
                     f"{mean([f['floor'] for f in group]):.6g}",
                     bars.judge(f"{error:.2%}", error <= 0.02, "2%", f"{words}: noise")
                     + (" (of the floor)" if held else "")])
    return Table(["data", "beta/2", "maximum-likelihood noise", "floor", "off by"], rows,
                 "**Beta as noise**: `--beta auto` must come to the maximum-likelihood noise of "
                 "probabilistic PCA with as many components, the mean of the discarded eigenvalues, "
                 "or to its floor of 0.5 % of the mean variance of a feature where the data have "
                 "less.")


def curve(every, lab):
    rows = []
    for name, words, group in every:
        if name == "gaussian-0.8":
            f = group[0]
            for j, value in enumerate(f["eigenvalues"][:len(f["importance"])]):
                rows.append([str(j), f"{value:.4f}", f"{f['importance'][j]:.4f}",
                             f"{f['variance_y'][j]:.4f}", f"{f['sigma2'][j]:.4f}",
                             f"{f['norm'][j]:+.5f}"])
    return Table(["latent", "eigenvalue", "importance (bound)", "variance_y",
                  "sigma_j^2 l_j / (beta/2)", "norm_j - (1 - sigma_j^2)"], rows,
                 "**Latent by latent**, Gaussian, beta 0.8, first seed.")


def page(lab, records):
    every, bars = rows_of(records), Bars()
    blocks = [spectrum(every, bars), density(every, bars), noise(every, bars), curve(every, lab)]
    intro = ("Encoder and decoder without hidden layers (`--arch linear`), trained like everything "
             "else: single precision, mini-batches, Adam, a sampled z. The Gaussian set has 16 "
             "dimensions with eigenvalues 10, 6.5, 4.2, ... falling by 0.65. The bars are what a "
             "prototype reached in the same way (importance to 0.2 to 1.6 %, log density to 0.02 to "
             "0.05 nats); with the exact objective in double precision the closed form is met to "
             "rounding, which is among the unit tests.")
    return [intro, bars.verdict(), *[b for b in blocks if b.rows]]
