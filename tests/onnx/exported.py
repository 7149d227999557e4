#!/usr/bin/env python3
"""Networks as PyTorch exports them, beside PyTorch's own outputs.

    tests/onnx/exported.py [--program build/tests/onnx_run] [--keep DIR]

MLP, convolutions with batch norm, residual blocks with attention, volumes, sequences, and a whole
VAE with its sampling inside; each by the TorchScript and the dynamo exporter, with a batch that is
free and one that is fixed to 1; and their tangents beside differences, in double precision. Needs
torch, onnx and onnxscript (scripts/onnx-setup.sh exporters). Exit status 1 where a deviation is
above 1e-5 of the largest element (of tangents 1e-4), or a file is refused."""
import argparse
import pathlib
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import torch
from torch import nn
from torch.nn import functional

LIMIT, TANGENT_LIMIT = 1e-5, 1e-4
warnings.filterwarnings("ignore")


class Mlp(nn.Module):
    row = (7,)

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(7, 20), nn.SiLU(), nn.Linear(20, 20), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(20, 3), nn.Linear(20, 3)

    def forward(self, x):
        h = self.body(x)
        return self.mean(h), self.log_variance(h)


class Vae(Mlp):
    """Its random numbers are left at their mean, 0, on both sides."""

    def __init__(self):
        super().__init__()
        self.decoder = nn.Sequential(nn.Linear(3, 20), nn.Tanh(), nn.Linear(20, 7))
        self.noise = True

    def forward(self, x):
        m, v = super().forward(x)
        z = m + torch.exp(0.5 * v) * torch.randn_like(v) if self.noise else m
        return self.decoder(z), m, v


class Encoder(nn.Module):
    row = (3, 16, 16)

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.LeakyReLU(0.2),
            nn.Conv2d(8, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2))
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        m, v = self.head(self.body(x).flatten(1)).chunk(2, 1)
        return m, torch.clamp(v, -10, 10)


class Attention(nn.Module):
    def __init__(self, d=16, heads=4):
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(d), nn.MultiheadAttention(d, heads, batch_first=True)

    def forward(self, x):
        y = self.norm(x)
        return x + self.attention(y, y, y, need_weights=False)[0]


class Residual(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.body = nn.Sequential(nn.GroupNorm(4, c), nn.SiLU(), nn.Conv2d(c, c, 3, padding=1),
                                  nn.BatchNorm2d(c), nn.GELU(), nn.Conv2d(c, c, 3, padding=1))

    def forward(self, x):
        return x + self.body(x)


class Decoder(nn.Module):
    row = (5,)

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(5, 256)
        self.residual, self.attention = Residual(16), Attention(16)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear")
        self.transposed = nn.ConvTranspose2d(16, 8, 4, 2, 1)
        self.last = nn.Conv2d(8, 3, 3, padding=1, padding_mode="reflect")

    def forward(self, z):
        h = self.residual(self.first(z).view(-1, 16, 4, 4))
        b, c, height, width = h.shape
        t = self.attention(h.flatten(2).transpose(1, 2))
        h = t.transpose(1, 2).reshape(b, c, height, width)
        h = functional.interpolate(self.up(h), size=(8, 8))
        return torch.sigmoid(self.last(torch.relu(self.transposed(h))))


class Volume(nn.Module):
    row = (2, 9, 9, 9)

    def __init__(self):
        super().__init__()
        self.down, self.pool = nn.Conv3d(2, 4, 3, 2, 1, groups=2), nn.AvgPool3d(2)
        self.up = nn.ConvTranspose3d(4, 2, 3, 2, 1, output_padding=1)
        self.norm = nn.InstanceNorm3d(2, affine=True)

    def forward(self, x):
        return self.norm(self.up(self.pool(torch.selu(self.down(x)))))


class Sequence(nn.Module):
    row = (5, 9)

    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(5, 16, 3, padding=1)
        self.places = nn.Parameter(torch.randn(1, 9, 16))
        self.layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, activation="gelu")
        self.query = nn.Parameter(torch.randn(2, 16))
        self.attention = nn.MultiheadAttention(16, 2)

    def forward(self, x):
        h = self.layer(self.first(x).transpose(1, 2) + self.places)
        q = self.query[None].expand(h.shape[0], -1, -1)
        y = self.attention(q.transpose(0, 1), h.transpose(0, 1), h.transpose(0, 1),
                           need_weights=False)[0]
        w = torch.einsum("bid,bjd->bij", h, h).softmax(-1)
        return y.transpose(0, 1).mean(1), w.logsumexp(-1)


class Gates(nn.Module):
    """What is written out in exports: norms of rows, masks, per-channel slopes, shuffles."""
    row = (4, 6, 6)

    def __init__(self):
        super().__init__()
        self.slope, self.conv = nn.PReLU(4), nn.Conv2d(4, 16, 1)

    def forward(self, x):
        x = functional.pixel_shuffle(self.conv(self.slope(x)), 2)
        n = functional.normalize(x.flatten(1), dim=1)
        mask = torch.tril(torch.ones(12, 12, dtype=torch.bool))
        y = x.masked_fill(~mask, -1.0)
        g = functional.softplus(y) * functional.hardswish(x) + functional.mish(x)
        return n, torch.where(g > 0.5, g, x).std(dim=(2, 3)), functional.log_softmax(y, -1)


def export(model, x, exporter, free, path):
    if exporter == "script":
        torch.onnx.export(model, (x,), path, opset_version=17, dynamo=False, input_names=["x"],
                          dynamic_axes={"x": {0: "batch"}} if free else None)
    else:
        shapes = ({0: torch.export.Dim("batch")},) if free else None
        torch.onnx.export(model, (x,), path, dynamo=True, dynamic_shapes=shapes,
                          input_names=["x"], verbose=False)


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default=str(root / "build/tests/onnx_run"))
    parser.add_argument("--exporters", default="script,dynamo")
    parser.add_argument("--keep", help="folder for the files")
    options = parser.parse_args()
    bad, worst, bent, done = 0, 0.0, 0.0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(options.keep or name)
        folder.mkdir(parents=True, exist_ok=True)
        for kind in (Mlp, Vae, Encoder, Decoder, Volume, Sequence, Gates):
            torch.manual_seed(0)
            model = kind().eval()
            for part in model.modules():
                if isinstance(part, nn.modules.batchnorm._BatchNorm):
                    part.running_mean.normal_(0, 0.3)
                    part.running_var.uniform_(0.5, 2)
            for exporter in options.exporters.split(","):
                for free in (True, False):
                    label = f"{kind.__name__} {exporter} {'free' if free else 'fixed'}"
                    x = torch.randn(3 if free else 1, *kind.row)
                    path = folder / f"{label.replace(' ', '_')}.onnx"
                    try:
                        export(model, x, exporter, free, str(path))
                    except Exception as error:
                        print(f"{label}: the exporter fails: {str(error).splitlines()[0][:120]}")
                        continue
                    if hasattr(model, "noise"):
                        model.noise = False
                    with torch.no_grad():
                        want = model(x)
                    if hasattr(model, "noise"):
                        model.noise = True
                    want = want if isinstance(want, tuple) else (want,)
                    want = [w.double().numpy().ravel() for w in want]
                    x.double().numpy().tofile(folder / "in.bin")
                    ran = subprocess.run([options.program, "-m", str(path), str(len(x)),
                                          str(folder / "in.bin"), str(folder / "out.bin")],
                                         capture_output=True, text=True)
                    if ran.returncode != 0:
                        bad += 1
                        print(f"{label}: refused: {ran.stderr.strip()}")
                        continue
                    got, at, off = np.fromfile(folder / "out.bin"), 0, 0.0
                    for w in want:
                        # np.maximum keeps what is no number
                        off = np.maximum(off, np.abs(got[at:at + w.size] - w).max() / np.abs(w).max())
                        at += w.size
                    ran = subprocess.run([options.program, "-m", "-c", "-p", "f64", str(path),
                                          str(len(x)), str(folder / "in.bin")],
                                         capture_output=True, text=True)
                    told = [i for i in ran.stdout.splitlines() if i.startswith("tangent")]
                    tangent = float(told[0].split()[1]) if told else float("nan")
                    done += 1
                    worst, bent = np.maximum(worst, off), np.maximum(bent, tangent)
                    bad += not (off <= LIMIT and tangent <= TANGENT_LIMIT)
                    print(f"{label}: {off:.2g}, tangent {tangent:.2g}")
    print(f"{done} files compared, {bad} bad; largest deviation {worst:.2g}, of a tangent {bent:.2g}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
