#!/usr/bin/env python3
"""Exported ONNX files in ONNX Runtime beside isovae's own encode, decode and score.

    tests/onnx/export.py MODEL [MODEL ...] [--data FILE] [--rows 200] [--program build/isovae]

Rows are those of --data (an .npy file that the models take), else decoded draws of the prior with
noise on them. A deviation is relative to the largest element of the output, of log_density to the
element's own size, and at least 1. Needs numpy, onnx and onnxruntime. Exit status 1 where a
deviation is above 1e-5."""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime

LIMIT = 1e-5
onnxruntime.set_default_logger_severity(3)


def run(path, **inputs):
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs)))


def compare(isovae, model, data, rows, rng, work):
    def call(command, given, *options):
        out = work / "out.npy"
        subprocess.run([isovae, command, model, given, "-o", out, "-q", *options], check=True)
        return np.load(out)

    folder = work / "onnx"
    said = subprocess.run([isovae, "export", model, "--onnx", folder], check=True,
                          capture_output=True, text=True)
    if said.stderr:
        print(said.stderr.strip())
    pair = folder / "member0" if (folder / "member0").exists() else folder
    meta = onnx.load(str(pair / "encoder.onnx"))
    latents = meta.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    pictures = [eval(p.value) for p in meta.metadata_props if p.key == "pictures"]
    z = rng.standard_normal((rows, latents)).astype(np.float32)
    np.save(work / "z.npy", z)
    decoded = call("decode", work / "z.npy")
    deviation = {"x": (run(pair / "decoder.onnx", z=z)["x"], decoded)}
    if data is None:
        spread = decoded.std(0).mean()
        x = (decoded + 0.1 * spread * rng.standard_normal(decoded.shape)).astype(np.float32)
        bce = [p.value for p in meta.metadata_props if p.key == "loss"] == ["bce"]
        if bce:
            x = np.clip(x, 0, decoded.max() if decoded.max() > 1 else 1)
    else:
        x = np.load(data)[:rows]
        x = x.reshape(len(x), -1).astype(np.float32)
    shape = (len(x), *[s for s in pictures[0]]) if pictures else x.shape
    given = x.reshape(shape)
    if pictures and pictures[0][2] == 1:
        given = given[..., 0]
    np.save(work / "x.npy", np.ascontiguousarray(given))
    out = run(pair / "encoder.onnx", x=x)
    codes = call("encode", work / "x.npy", "--sigma")
    deviation["mu"] = (out["mu"], codes[:, -2 * latents:-latents])
    deviation["sigma"] = (np.exp(out["logvar"] / 2), codes[:, -latents:])
    if "y" in out:
        deviation["y"] = (out["y"], call("encode", work / "x.npy", "--isometric")[:, -latents:])
    worst = {k: np.abs(a - b).max() / np.abs(b).max() for k, (a, b) in deviation.items()}
    if (folder / "scorer.onnx").exists():
        own = call("score", work / "x.npy")[:, 0]
        other = run(folder / "scorer.onnx", x=x)["log_density"]
        worst["log_density"] = np.abs((other - own) / np.maximum(np.abs(own), 1)).max()
    print(f"{pathlib.Path(model).name:28}",
          "  ".join(f"{k} {v:.1e}" for k, v in worst.items()))
    return max(worst.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--data")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--program", default="build/isovae")
    args = parser.parse_args()
    worst = 0.0
    for model in args.models:
        with tempfile.TemporaryDirectory() as work:
            rng = np.random.default_rng(args.seed)
            worst = max(worst, compare(args.program, model, args.data, args.rows, rng,
                                       pathlib.Path(work)))
    return 0 if worst <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
