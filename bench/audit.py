#!/usr/bin/env python3
"""isovae audit beside the same numbers in PyTorch, on a convolutional VAE of 64x64x3 pictures.

    bench/audit.py [--program build/isovae] [--rows 1000] [--latents 32] [--threads 2] [--repeats 3]
                   [--steps 300] [--chunk 8] [--folder DIR]

A usual VAE (four convolutions of stride 2 with 32 to 256 channels, a dense head, the mirror of it)
is trained a little on pictures of blobs, exported by torch.onnx.export, and audited with a known
beta. PyTorch computes the same of the same rows: mu and sigma, Dec(mu), the Jacobian of the decoder
at mu by torch.func.vmap of jvp over the latents, its Gram matrix of each row, E1, loadings, angles,
mean KL, E[1/sigma^2] - and, as the audit does, E0 and the mean distortion by 16 draws with a reverse
pass each, and log p(x) by importance weights with 64 draws. Numbers that both have are compared first; exit status 1 where they differ by more than
1e-4 of the largest (those of draws: by more than their spread allows). Then both are timed in turns,
each as a process with --threads threads; isovae's time is that of the whole command, from the start
of the process over ONNX and PCA to the report. PyTorch's begins when everything is loaded.

Needs torch and onnx (scripts/bench-setup.sh; pip install onnx). Prints a line of JSON at the end."""
import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
LIMIT = 1e-4
BETA = 2.0
DRAWS, IWAE = 16, 64


def networks(latents):
    import torch
    from torch import nn
    torch.manual_seed(1)

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            widths = (3, 32, 64, 128, 256)
            layers = []
            for a, b in zip(widths, widths[1:]):
                layers += [nn.Conv2d(a, b, 4, 2, 1), nn.ReLU()]
            self.body = nn.Sequential(*layers, nn.Flatten())
            self.mu, self.logvar = nn.Linear(4096, latents), nn.Linear(4096, latents)

        def forward(self, x):
            h = self.body(x)
            return self.mu(h), self.logvar(h)

    widths = (256, 128, 64, 32, 3)
    layers = [nn.Linear(latents, 4096), nn.ReLU(), nn.Unflatten(1, (256, 4, 4))]
    for a, b in zip(widths, widths[1:]):
        layers += [nn.ConvTranspose2d(a, b, 4, 2, 1)] + ([nn.ReLU()] if b > 3 else [])
    return Encoder(), nn.Sequential(*layers)


def pictures(rows):
    """Bytes, NHWC: two blobs whose places, widths and colours vary, so that latents are used."""
    import numpy as np
    r = np.random.default_rng(3)
    y, x = np.mgrid[0:64, 0:64] / 64.0
    out = np.zeros((rows, 64, 64, 3), np.float32)
    for _ in range(2):
        cx, cy, s = (r.uniform(a, b, (rows, 1, 1)) for a, b in ((.2, .8), (.2, .8), (.08, .25)))
        blob = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * s * s))
        out += blob[..., None] * r.uniform(0, 1, (rows, 1, 1, 3)).astype(np.float32)
    return np.rint(255 * np.clip(out, 0, 1)).astype(np.uint8)


def train(encoder, decoder, x, steps):
    import torch
    parameters = list(encoder.parameters()) + list(decoder.parameters())
    adam = torch.optim.Adam(parameters, 1e-3)
    for _ in range(steps):
        rows = x[torch.randint(0, len(x), (64,))]
        mu, logvar = encoder(rows)
        z = mu + torch.exp(logvar / 2) * torch.randn_like(mu)
        distance = ((decoder(z) - rows) ** 2).sum((1, 2, 3)).mean()
        kl = (mu * mu + logvar.exp() - logvar - 1).sum(1).mean() / 2
        adam.zero_grad()
        (distance + BETA * kl).backward()
        adam.step()
    return distance.item(), kl.item()


def make(folder, rows, latents, steps):
    import numpy as np
    import torch
    encoder, decoder = networks(latents)
    data = pictures(rows)
    np.save(os.path.join(folder, "pictures.npy"), data)
    x = torch.tensor(data).permute(0, 3, 1, 2).float() / 255
    if steps:
        print("trained: distortion %.2f, %.2f nats" % train(encoder, decoder, x, steps))
    encoder.eval()
    decoder.eval()
    torch.save((encoder.state_dict(), decoder.state_dict()), os.path.join(folder, "weights.pt"))
    for model, name, shape, outputs in ((encoder, "enc", (2, 3, 64, 64), ["mu", "logvar"]),
                                        (decoder, "dec", (2, latents), ["out"])):
        torch.onnx.export(model, torch.zeros(shape), os.path.join(folder, name + ".onnx"),
                          input_names=["in"], output_names=outputs, opset_version=17,
                          dynamic_axes={"in": {0: "batch"}}, dynamo=False)


# ---- the same numbers in PyTorch ----

class Peer:
    """`chunk` rows at a time through vmap of jvp: their n columns are n chunk rows of the decoder."""

    def __init__(self, folder, latents, chunk):
        import numpy as np
        import torch
        self.encoder, self.decoder = networks(latents)
        states = torch.load(os.path.join(folder, "weights.pt"), weights_only=True)
        self.encoder.load_state_dict(states[0])
        self.decoder.load_state_dict(states[1])
        self.encoder.eval()
        self.decoder.eval()
        self.data = np.load(os.path.join(folder, "pictures.npy"))
        self.latents, self.chunk = latents, chunk

    def run(self):
        import torch
        x = torch.tensor(self.data).permute(0, 3, 1, 2).float() / 255
        rows, n = len(x), self.latents
        basis = torch.eye(n)
        sums = {"loading": 0, "cosine": 0, "e1": 0, "kl": 0, "inverse": 0, "transform": 0,
                "norm": 0, "e0": 0, "total": 0, "log_p": 0}
        normaliser = -0.5 * x[0].numel() * math.log(math.pi * BETA * 255 ** 2)
        for first in range(0, rows, self.chunk):
            part = x[first:first + self.chunk]
            with torch.no_grad():
                mu, logvar = self.encoder(part)
                sigma2 = logvar.exp()

                def column(direction):
                    return torch.func.jvp(self.decoder, (mu,), (direction.expand_as(mu),))

                xhat, jacobian = torch.func.vmap(column, out_dims=(None, 0))(basis)
                jacobian = jacobian.flatten(2).transpose(0, 1)      # rows, n, features
                gram = torch.bmm(jacobian, jacobian.transpose(1, 2)).double()
                square = torch.diagonal(gram, dim1=1, dim2=2)
                norm = 2 / BETA * sigma2 * square
                sums["norm"] = sums["norm"] + norm.sum(0)
                sums["e1"] = sums["e1"] + (norm + sigma2).sum(0)
                length = square.sqrt()
                sums["cosine"] = sums["cosine"] + (gram / (length[:, :, None] *
                                                           length[:, None, :])).abs().sum(0)
                scaled = jacobian * sigma2.sqrt()[:, :, None]
                sums["loading"] = sums["loading"] + scaled.sum(0)
                sums["kl"] = sums["kl"] + (mu * mu + sigma2 - logvar - 1).sum(0).double() / 2
                sums["inverse"] = sums["inverse"] + (1 / sigma2).sum(0).double()
                sums["transform"] = sums["transform"] + ((xhat - part) ** 2).sum().double()
            for draw in range(DRAWS // 2):
                eps = torch.randn_like(mu)
                for e in (eps, -eps):
                    z = (mu + sigma2.sqrt() * e).requires_grad_()
                    distance = ((self.decoder(z) - part) ** 2).sum()
                    slope, = torch.autograd.grad(distance, z)
                    sums["e0"] = sums["e0"] + (sigma2 + sigma2.sqrt() / BETA * e *
                                               slope).sum(0).double() / DRAWS
                    sums["total"] = sums["total"] + distance.detach().double() / DRAWS
            with torch.no_grad():
                weights = []
                for _ in range(IWAE):
                    eps = torch.randn_like(mu)
                    z = mu + sigma2.sqrt() * eps
                    distance = ((self.decoder(z) - part) ** 2).flatten(1).sum(1)
                    weights.append(-distance.double() / BETA + normaliser +
                                   ((eps * eps - z * z + logvar) / 2).double().sum(1))
                sums["log_p"] = sums["log_p"] + (torch.logsumexp(torch.stack(weights), 0) -
                                                 math.log(IWAE)).sum()
        mean = {name: value / rows for name, value in sums.items()}
        mean["importance"] = BETA / 2 * mean.pop("inverse")
        return mean


def serve(arguments):
    """A peer in a process of its own: a line in, milliseconds and numbers out."""
    import torch
    torch.set_num_threads(arguments.threads)
    peer = Peer(arguments.folder, arguments.latents, arguments.chunk)
    print("ready", flush=True)
    for line in sys.stdin:
        begun = time.perf_counter()
        mean = peer.run()
        seconds = time.perf_counter() - begun
        columns = torch.tensor(json.loads(line))  # of each latent, in the order h, w, c
        pixel, channel = columns // 3, columns % 3
        mean["loading"] = mean["loading"].gather(1, (channel * 4096 + pixel)[:, None])[:, 0]
        print(json.dumps([seconds, {name: value.tolist() for name, value in mean.items()}]),
              flush=True)


# ---- both ----

def environment(threads):
    out = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE",
                                                            "OPENBLAS_L2_SIZE")}
    out["OMP_NUM_THREADS"] = str(threads)
    return out


def audit(arguments):
    folder = arguments.folder
    report = os.path.join(folder, "report.json")
    command = [arguments.program, "audit", os.path.join(folder, "pictures.npy"), "--encoder",
               os.path.join(folder, "enc.onnx"), "--decoder", os.path.join(folder, "dec.onnx"),
               "--beta", str(BETA), "--threads", str(arguments.threads), "--json", report, "-q"]
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL,
                   env=environment(arguments.threads))
    seconds = time.perf_counter() - begun
    with open(report, encoding="utf-8") as file:
        return seconds, json.load(file)


def compare(report, peer):
    """Largest deviation of what both have, relative to the largest of its kind."""
    latents = report["latents"]
    worst = {}

    def near(name, got, want):
        if not want:
            return
        scale = max(abs(w) for w in want)
        worst[name] = max(abs(g - w) for g, w in zip(got, want)) / scale

    for name, mine in (("e1", "optimality_mean"), ("norm", "norm_mean"), ("kl", "kl_nats"),
                       ("importance", "importance")):
        near(name, [latent[mine] for latent in latents],
             [peer[name][latent["index"]] for latent in latents])
    near("transform", [report["distortion"]["transform"]], [peer["transform"]])
    active = [latent["index"] for latent in latents if latent["active"]]
    pairs = [peer["cosine"][i][j] for i in active for j in active if i != j]
    if pairs:
        near("mean |cosine|", [report["orthogonality"]["mean_abs_cosine"]],
             [sum(pairs) / len(pairs)])
    used = [latent for latent in latents if latent["active"]]
    near("first loading", [latent["loadings"][0]["mean"] for latent in used],
         [peer["loading"][latent["index"]] * loading_factor(latent, report) for latent in used])
    near("log p (draws)",
         [report["density"]["mean"] - report["density"]["iwae"]["mean_difference"]],
         [peer["log_p"]])
    near("total (draws)", [report["distortion"]["total"]], [peer["total"]])
    near("e0 (draws)", [latent["stationarity_mean"] for latent in latents if latent["active"]],
         [peer["e0"][latent["index"]] for latent in latents if latent["active"]])
    return worst


def loading_factor(latent, report):
    """Loadings are E[sigma_j x_j] sd(y_j)/sqrt(beta/2), in data units: bytes."""
    sd = max(latent["variance_y"] - report["beta"] / 2, 0) ** 0.5
    return 255 * sd / (report["beta"] / 2) ** 0.5


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--program", default="build/isovae")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--latents", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--chunk", type=int, default=8)
    parser.add_argument("--folder")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments)
        return 0
    kept = arguments.folder
    with tempfile.TemporaryDirectory() as made:
        arguments.folder = kept or made
        if not os.path.exists(os.path.join(arguments.folder, "dec.onnx")):
            os.makedirs(arguments.folder, exist_ok=True)
            make(arguments.folder, arguments.rows, arguments.latents, arguments.steps)
        process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), "--serve", "--folder", arguments.folder,
             "--latents", str(arguments.latents), "--threads", str(arguments.threads), "--chunk",
             str(arguments.chunk)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=environment(arguments.threads))
        assert process.stdout.readline().strip() == "ready"
        own, peers, worst = [], [], {}
        for repeat in range(max(arguments.repeats, 1)):
            seconds, report = audit(arguments)
            own.append(seconds)
            columns = [0] * arguments.latents
            for latent in report["latents"]:
                columns[latent["index"]] = latent["loadings"][0]["column"]
            process.stdin.write(json.dumps(columns) + "\n")
            process.stdin.flush()
            seconds, numbers = json.loads(process.stdout.readline())
            peers.append(seconds)
            if repeat == 0:
                worst = compare(report, numbers)
                for name, value in worst.items():
                    print("%-16s deviates by %.2g" % (name, value))
            print("isovae %.2f s, PyTorch %.2f s" % (own[-1], peers[-1]), flush=True)
        process.stdin.close()
        process.wait()
    mine, theirs = statistics.median(own), statistics.median(peers)
    noise = max(0.05, 12 / math.sqrt(report["n_samples"] * DRAWS))  # a draw of a row: 1.4 and more
    bad = [name for name, value in worst.items() if value > (noise if "draws" in name else LIMIT)]
    print("isovae audit %.1f s, PyTorch %.1f s: %.2f times as long" % (mine, theirs, theirs / mine))
    for name in bad:
        print("the two do not compute the same: %s" % name)
    print(json.dumps({"rows": arguments.rows, "latents": arguments.latents,
                      "threads": arguments.threads, "isovae_s": mine, "torch_s": theirs,
                      "ratio": theirs / mine, "deviation": worst}))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
