#!/usr/bin/env python3
"""Small VAEs of PyTorch as ONNX files, and what a computation of our own in double says of them.

    python make_vaes.py [NAME ...]       needs torch, onnx, onnxruntime, numpy

Writes NAME_enc.onnx, NAME_dec.onnx (or NAME.onnx) and NAME.npz here, and the data (table.npy,
grey.npy, colour.npy: 256 rows each). The .npz of a model holds, for the first 16 rows,
`mu`, `logvar`, `xhat` of ONNX Runtime (xhat in the data's order, network units) and `gram`, the
diagonal of J^T G J of PyTorch in double; for all rows `kl` and `optimality` (E1 at the true beta)
of each latent; and `numbers`: the true beta in units of a summed distance and a summed KL, the beta
estimated from E0, squared errors a row of Dec(mu), of the mean and of PCA.

Models are trained on the very rows that are stored, all at once, with a rate that decays to 0.
"""
import copy, math, os, sys

import numpy as np
import torch
from torch import nn

HERE = os.path.dirname(os.path.abspath(__file__))
ROWS, SHOWN = 256, 16
torch.set_num_threads(1)


# ---- data ----

def table():
    """Eight columns from three Gaussian factors, the last of them bent a little."""
    r = np.random.default_rng(1)
    s = r.normal(size=(ROWS, 3)) * [1.0, 0.7, 0.45]
    mix = np.linalg.qr(r.normal(size=(8, 4)))[0].T * 1.5
    s = np.column_stack([s, 0.25 * (s[:, 0] ** 2 - 1)])
    return (s @ mix + 0.05 * r.normal(size=(ROWS, 8))).astype(np.float32)


def pictures(colours, seed):
    """Blobs of 8 x 8 whose place, width and colour vary."""
    r = np.random.default_rng(seed)
    y, x = np.mgrid[0:8, 0:8]
    cx, cy, s = r.uniform(2, 5, ROWS), r.uniform(2, 5, ROWS), r.uniform(1.2, 2.2, ROWS)
    p = np.exp(-((x - cx[:, None, None]) ** 2 + (y - cy[:, None, None]) ** 2) /
               (2 * s[:, None, None] ** 2))
    if colours == 1:
        return np.rint(255 * p).astype(np.uint8)
    tint = np.column_stack([np.ones(ROWS), r.uniform(0.2, 0.9, ROWS), np.full(ROWS, 0.3)])
    return np.rint(255 * p[..., None] * tint[:, None, None, :]).astype(np.uint8)


DATA = {"table": table, "grey": lambda: pictures(1, 2), "colour": lambda: pictures(3, 5)}


# ---- networks ----

class Heads(nn.Module):
    """mean and width of features; `form` is what comes out of the encoder."""

    def __init__(self, body, size, n, form="two"):
        super().__init__()
        self.body, self.form = body, form
        self.mu, self.width = nn.Linear(size, n), nn.Linear(size, n)

    def posterior(self, x):
        h = self.body(x)
        mu, w = self.mu(h), self.width(h)
        if self.form == "sigma":
            return mu, 2 * torch.log(nn.functional.softplus(w))
        if self.form == "constant":
            return mu, torch.zeros_like(w) - 4
        return mu, w

    def forward(self, x):
        mu, logvar = self.posterior(x)
        if self.form == "one":
            return torch.cat([mu, logvar], 1)
        if self.form == "sigma":
            return mu, nn.functional.softplus(self.width(self.body(x)))
        if self.form == "turned":
            return logvar, mu
        return mu, logvar


class Whole(nn.Module):
    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x):
        mu, logvar = self.encoder.posterior(x)
        return self.decoder(mu + torch.exp(0.5 * logvar) * torch.randn_like(mu))


class Residual(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.f = nn.Sequential(nn.GroupNorm(2, c), nn.SiLU(), nn.Conv2d(c, c, 3, padding=1),
                               nn.GroupNorm(2, c), nn.SiLU(), nn.Conv2d(c, c, 3, padding=1))

    def forward(self, x):
        return x + self.f(x)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm, self.qkv, self.out = nn.GroupNorm(1, c), nn.Conv2d(c, 3 * c, 1), nn.Conv2d(c, c, 1)

    def forward(self, x):
        _, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x)).flatten(2).chunk(3, 1)
        a = torch.softmax(q.transpose(1, 2) @ k / math.sqrt(c), -1)
        return x + self.out((v @ a.transpose(1, 2)).reshape(-1, c, h, w))


class Permuted(nn.Module):
    def __init__(self, *order):
        super().__init__()
        self.order = order

    def forward(self, x):
        return x.permute(0, *self.order)


class Squeezed(nn.Module):
    """Probabilities that do not come from a sigmoid."""

    def forward(self, x):
        return 0.5 * (torch.tanh(0.5 * x) + 1)


def mlp(d, n, form="two", hidden=32, last=()):
    encoder = Heads(nn.Sequential(nn.Linear(d, hidden), nn.Tanh(), nn.Linear(hidden, hidden),
                                  nn.Tanh()), hidden, n, form)
    return encoder, nn.Sequential(nn.Linear(n, hidden), nn.Tanh(), nn.Linear(hidden, hidden),
                                  nn.Tanh(), nn.Linear(hidden, d), *last)


def flat(networks):
    encoder, decoder = networks
    encoder.body = nn.Sequential(nn.Flatten(), encoder.body)
    return encoder, nn.Sequential(decoder, nn.Unflatten(1, (1, 8, 8)))


def convolutional(n):
    body = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.LeakyReLU(0.1),
                         nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.LeakyReLU(0.1),
                         nn.Flatten())
    decoder = nn.Sequential(nn.Linear(n, 64), nn.ReLU(), nn.Unflatten(1, (16, 2, 2)),
                            nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ELU(),
                            nn.ConvTranspose2d(8, 1, 4, 2, 1))
    return Heads(body, 64, n, "one"), decoder


def attention(n):
    body = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), Residual(8), Attention(8), nn.Flatten(),
                         nn.Linear(128, 24), nn.SiLU())
    decoder = nn.Sequential(nn.Linear(n, 128), nn.SiLU(), nn.Unflatten(1, (8, 4, 4)), Attention(8),
                            Residual(8), nn.Upsample(scale_factor=2), nn.Conv2d(8, 1, 3, padding=1))
    return Heads(body, 24, n), decoder


def nhwc(n):
    body = nn.Sequential(Permuted(3, 1, 2), nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(),
                         nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), Permuted(2, 3, 1), nn.Flatten(),
                         nn.Linear(64, 24), nn.ReLU())
    decoder = nn.Sequential(nn.Linear(n, 64), nn.ReLU(), nn.Unflatten(1, (2, 2, 16)),
                            Permuted(3, 1, 2), nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.ReLU(),
                            nn.ConvTranspose2d(8, 3, 4, 2, 1), Permuted(2, 3, 1), nn.Tanh())
    return Heads(body, 24, n, "turned"), decoder


# ---- what is trained ----

def case(data, networks, loss="sse", weight=1.0, steps=3000, low=0.0, high=1.0, mean=0.0, sd=1.0,
         names=("mu", "logvar"), whole=False, kl_mean=False, like=None):
    return dict(locals())


CASES = {
    # mean over features, weight 0.05: beta = 8 * 0.05
    "mlp": case("table", lambda: mlp(8, 4), "mse", 0.05, steps=6000),
    "whole": case("table", lambda: mlp(8, 4), "sse", 0.3, kl_mean=True, whole=True),
    "sigma": case("table", lambda: mlp(8, 3, "sigma"), "half", 0.1, names=("mu", "sigma")),
    "conv": case("grey", lambda: convolutional(5), "half", 0.1, names=("moments",)),
    "attention": case("grey", lambda: attention(4), "sse", 1.0, mean=0.3, sd=0.25),
    "nhwc": case("colour", lambda: nhwc(5), "mse", 0.005, low=-1.0, high=1.0,
                 names=("z_log_var", "z_mean")),
    "bce": case("grey", lambda: flat(mlp(64, 4, last=(nn.Sigmoid(),))), "bce", 1.0),
    "bce_plain": case("grey", lambda: flat(mlp(64, 4, last=(Squeezed(),))), "bce", 1.0, like="bce"),
    # what should not be called good
    "short": case("table", lambda: mlp(8, 4), "mse", 0.05, steps=30),
    "autoencoder": case("table", lambda: mlp(8, 3), "sse", 1e-6),
    "constant": case("table", lambda: mlp(8, 3, "constant"), "sse", 0.3),
    "collapsed": case("table", lambda: mlp(8, 3), "sse", 20.0, steps=1500),
}


def distance(c, xhat, x):
    if c["loss"] == "bce":
        return nn.functional.binary_cross_entropy(xhat, x, reduction="none").flatten(1).sum(1)
    square = ((xhat - x) ** 2).flatten(1).sum(1)
    return {"sse": 1, "half": 0.5, "mse": 1 / x[0].numel()}[c["loss"]] * square


def true_beta(c, d, n):
    scale = {"sse": 1, "half": 2, "mse": d, "bce": 1}[c["loss"]]
    return c["weight"] * scale / (n if c["kl_mean"] else 1)


def train(c, encoder, decoder, x):
    both = nn.ModuleList([encoder, decoder])
    rate = 3e-3
    optimiser = torch.optim.Adam(both.parameters(), rate, betas=(0.9, 0.99))
    for step in range(c["steps"]):
        for group in optimiser.param_groups:
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / c["steps"]))
        if step == c["steps"] // 2:
            both.eval()  # the averages of the normalisation are those of the exported file
        mu, logvar = encoder.posterior(x)
        eps = torch.randn_like(mu)
        z = torch.cat([mu + torch.exp(logvar / 2) * eps, mu - torch.exp(logvar / 2) * eps])
        kl = 0.5 * (mu ** 2 + logvar.exp() - logvar - 1)
        kl = kl.mean() if c["kl_mean"] else kl.sum(1).mean()
        loss = distance(c, decoder(z), torch.cat([x, x])).mean() + c["weight"] * kl
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    both.eval()
    return loss.item()


# ---- files and references ----

def network_units(c, data):
    x = torch.tensor(data, dtype=torch.float32)
    if data.dtype == np.uint8:
        x = x / 255 * (c["high"] - c["low"]) + c["low"]
    return (x - c["mean"]) / c["sd"]


def export(name, c, encoder, decoder, x):
    def save(network, example, file, ins, outs):
        torch.onnx.export(network, example, os.path.join(HERE, file), dynamo=False, opset_version=17,
                          input_names=ins, output_names=outs,
                          dynamic_axes={i: {0: "batch"} for i in ins + outs})
    z = torch.zeros(2, encoder.mu.out_features)
    if c["whole"]:
        save(Whole(encoder, decoder), x[:2], f"{name}.onnx", ["x"], ["reconstruction"])
    else:
        if c["like"] is None:  # else the encoder is that of the other
            save(encoder, x[:2], f"{name}_enc.onnx", ["x"], list(c["names"]))
        save(decoder, z, f"{name}_dec.onnx", ["z"], ["out"])


def by_runtime(name, c, encoder, decoder, x):
    """mu, logvar and the decoded mu; the whole file draws noise, so PyTorch stands in for it."""
    if c["whole"]:
        with torch.no_grad():
            mu, logvar = encoder.posterior(x)
            return mu.numpy(), logvar.numpy(), decoder(mu).numpy()
    import onnxruntime
    run = lambda file, a: onnxruntime.InferenceSession(
        os.path.join(HERE, file), providers=["CPUExecutionProvider"]).run(None, a)
    out = run(f"{c['like'] or name}_enc.onnx", {"x": x.numpy()})
    if encoder.form == "one":
        mu, width = np.split(out[0], 2, axis=1)
    elif encoder.form == "turned":
        width, mu = out
    else:
        mu, width = out
    if encoder.form == "sigma":
        width = 2 * np.log(width)
    return mu, width, run(f"{name}_dec.onnx", {"z": mu})[0]


def reference(c, encoder, decoder, x):
    """In double: the diagonal of J^T G J, E1, the KL, beta from E0, squared errors."""
    encoder, decoder, x = encoder.double(), decoder.double(), x.double()
    with torch.no_grad():
        mu, logvar = encoder.posterior(x)
    n, beta = mu.shape[1], true_beta(c, x[0].numel(), mu.shape[1])
    sigma = torch.exp(logvar / 2)
    columns = []
    for j in range(n):
        direction = torch.zeros_like(mu)
        direction[:, j] = 1
        columns.append(torch.func.jvp(decoder, (mu,), (direction,))[1].flatten(1))
    jacobian = torch.stack(columns, 2).detach()
    xhat = decoder(mu).flatten(1).detach()
    if c["loss"] == "bce":  # G of the output p is 1/(2 p (1 - p))
        jacobian = jacobian / torch.sqrt(2 * xhat * (1 - xhat))[:, :, None]
    gram = (jacobian ** 2).sum(1)
    kl = (0.5 * (mu ** 2 + sigma ** 2 - logvar - 1)).mean(0)
    optimality = (sigma ** 2 + 2 / beta * sigma ** 2 * gram).mean(0)
    summed = dict(c, loss="bce" if c["loss"] == "bce" else "sse")
    slope, draws = torch.zeros_like(mu), 256
    for draw in range(draws):
        eps = torch.randn_like(mu)
        for sign in (1, -1):
            z = (mu + sign * sigma * eps).requires_grad_()
            g = torch.autograd.grad(distance(summed, decoder(z), x).sum(), z)[0]
            slope += sigma * sign * eps * g / (2 * draws)
    active = kl > 0.05
    slopes, rests = slope.mean(0)[active].sum(), (1 - sigma ** 2).mean(0)[active].sum()
    flat_x = x.flatten(1)
    centred = flat_x - flat_x.mean(0)
    values = torch.linalg.eigvalsh(centred.T @ centred / len(x)).flip(0)
    error = ((xhat - flat_x) ** 2).sum(1).mean()
    numbers = [beta, float(slopes / rests), float(error), float(values.sum()),
               float(values[n:].sum())]
    return gram[:SHOWN].numpy(), kl.numpy(), optimality.numpy(), np.array(numbers)


def main(names):
    trained = {}
    for name, make in DATA.items():
        np.save(os.path.join(HERE, f"{name}.npy"), make())
    for name in names or CASES:
        c = CASES[name]
        torch.manual_seed(11)
        x = network_units(c, DATA[c["data"]]())
        encoder, decoder = c["networks"]()
        if c["data"] == "grey":
            x = x.reshape(ROWS, 1, 8, 8)
        if c["like"] in trained:  # the same weights
            encoder.load_state_dict(trained[c["like"]][0].state_dict())
            decoder.load_state_dict(trained[c["like"]][1].state_dict())
            loss = float("nan")
        else:
            loss = train(c, encoder, decoder, x)
        trained[name] = copy.deepcopy(encoder), copy.deepcopy(decoder)
        export(name, c, encoder, decoder, x)
        mu, logvar, xhat = by_runtime(name, c, encoder, decoder, x[:SHOWN])
        gram, kl, optimality, numbers = reference(c, encoder, decoder, x)
        np.savez_compressed(os.path.join(HERE, f"{name}.npz"), mu=mu.astype("<f4"),
                            logvar=logvar.astype("<f4"),
                            xhat=xhat.reshape(SHOWN, -1).astype("<f4"), gram=gram, kl=kl,
                            optimality=optimality, numbers=numbers)
        print(name, "loss %.4f" % loss, "kl", kl.round(2), "E1", optimality.round(3),
              "beta %.4g, found %.4g; errors %.4g of %.4g, PCA %.4g" % tuple(numbers), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
