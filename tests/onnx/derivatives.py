#!/usr/bin/env python3
"""The scorer's written derivatives, kind of node by kind of node.

    tests/onnx/derivatives.py [--program build/isovae] [--only KIND]

A decoder with the node in its middle is fitted for a moment to toy data and exported; log densities
of ONNX Runtime are compared with `isovae score`, whose Jacobian comes from the graph's own tangents
(tests/onnx/export.py does that, limit 1e-5). Needs numpy, onnx and onnxruntime. Exit status 1 where
a scorer is missing or deviates."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

import export

# kind: nodes from "v" (of the shape given) to "w"
VECTOR, MATRIX, PICTURE = [12], [3, 4], [4, 6, 6]


def node(kind, inputs=("v",), output="w", **attributes):
    return {"name": f"dec.{output}.{kind}", "kind": kind, "inputs": list(inputs), "output": output,
            "attributes": attributes}


CASES = {k: (VECTOR, [node(k)]) for k in (
    "relu", "leaky_relu", "elu", "silu", "gelu", "softplus", "sigmoid", "tanh", "exp", "abs",
    "negate", "square", "erf", "sin", "cos", "selu", "celu", "mish", "softsign", "hard_sigmoid",
    "hard_swish", "log_sigmoid", "gelu_tanh")}
CASES["clip"] = VECTOR, [node("clip", min=-0.3, max=0.4)]
for f in ("sum", "mean", "max", "min", "prod", "sum_square", "l1", "l2", "log_sum_exp"):
    CASES[f"reduce {f}"] = MATRIX, [node("reduce", function=f, axes=[2])]
    CASES[f"reduce {f} kept"] = PICTURE, [node("reduce", function=f, axes=[1, 3], keepdims=1)]
for k in ("add", "subtract", "multiply", "minimum", "maximum"):
    CASES[k] = MATRIX, [node("reduce", output="s", function="mean", axes=[1]), node(k, ("v", "s"))]
CASES["divide"] = VECTOR, [node("exp", output="e"), node("divide", ("v", "e"))]
CASES["power"] = VECTOR, [node("exp", output="e"), node("power", ("e", "v"))]
CASES["where"] = VECTOR, [node("greater", output="g", value=0.1), node("tanh", output="t"),
                          node("where", ("g", "v", "t"))]
CASES["matmul"] = MATRIX, [node("transpose", output="t", perm=[2, 1]), node("matmul", ("v", "t"))]
CASES["matmul one moves"] = MATRIX, [
    node("sign", output="c"), node("transpose", ("c",), "t", perm=[2, 1]),
    node("matmul", ("t", "v"))]
CASES["attention"] = MATRIX, [
    node("transpose", output="t", perm=[2, 1]), node("matmul", ("v", "t"), "a"),
    node("softmax", ("a",), "p", axis=2), node("matmul", ("p", "v"))]
CASES["matmul stacked"] = PICTURE, [
    node("reduce", output="r", function="mean", axes=[1]), node("matmul", ("v", "r"))]
CASES["softmax"] = MATRIX, [node("softmax", axis=2)]
CASES["log_softmax"] = MATRIX, [node("log_softmax", axis=1)]
CASES["layer_norm"] = MATRIX, [node("layer_norm", axis=2)]
CASES["group_norm"] = PICTURE, [node("group_norm", groups=2)]
CASES["batch_norm"] = PICTURE, [node("batch_norm")]
CASES["gdn"] = PICTURE, [node("gdn")]
CASES["gdn_inverse"] = PICTURE, [node("gdn_inverse")]
CASES["max_pool"] = PICTURE, [node("max_pool", kernel=3, stride=2, pads=1)]
CASES["average_pool"] = PICTURE, [node("average_pool", kernel=2, stride=2)]
CASES["global_average_pool"] = PICTURE, [node("global_average_pool")]
CASES["upsample_nearest"] = PICTURE, [node("upsample_nearest", scale=2)]
CASES["upsample_bilinear"] = PICTURE, [node("upsample_bilinear", scale=2)]
CASES["pixel_shuffle"] = PICTURE, [node("pixel_shuffle", factor=2)]
CASES["take"] = VECTOR, [node("take", map=[3, -1, 0, 5], axis=1, fill=0.5)]
CASES["split and concat"] = VECTOR, [
    {**node("split"), "outputs": ["p", "q"], "attributes": {"sizes": [4, 8]}},
    node("concat", ("q", "p", "q"))]
CASES["concat with what stays"] = VECTOR, [node("sign", output="s"), node("concat", ("s", "v"))]
CASES["split and concat"][1][0].pop("output")


def draft(shape, nodes):
    dense = dict(kind="dense", attributes={"activation": "tanh"})
    first = int(np.prod(shape))
    return {"format": "isovae-arch/1", "encoder": [
        {"name": "enc.in", **dense, "inputs": ["x"], "output": "e", "units": 32},
        {"name": "enc.mu", "kind": "dense", "inputs": ["e"], "output": "mu", "units": "latents"},
        {"name": "enc.logvar", "kind": "dense", "inputs": ["e"], "output": "logvar",
         "units": "latents"}],
        "decoder": [
        {"name": "dec.in", **dense, "inputs": ["z"], "output": "d", "units": first},
        node("reshape", ("d",), "v", shape=shape), *nodes,
        {"name": "dec.flat", "kind": "flatten", "inputs": ["w"], "output": "f"},
        {"name": "dec.hidden", **dense, "inputs": ["f"], "output": "h", "units": 24},
        {"name": "dec.out", "kind": "dense", "inputs": ["h"], "output": "out",
         "units": "features"}]}


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default=str(root / "build/isovae"))
    parser.add_argument("--only", help="kinds that hold this text")
    options = parser.parse_args()
    bad, worst = [], 0.0
    for name, (shape, nodes) in CASES.items():
        if options.only and options.only not in name:
            continue
        with tempfile.TemporaryDirectory() as work:
            work = pathlib.Path(work)
            (work / "net.json").write_text(json.dumps(draft(shape, nodes)))
            model = work / f"{name.replace(' ', '-')}.safetensors"
            fitted = subprocess.run(
                [options.program, "fit", "toy:mixa,n=500,seed=1", "-o", model, "-n", "3", "--arch",
                 work / "net.json", "--steps", "100", "-q"], capture_output=True, text=True)
            if fitted.returncode != 0:
                bad.append(name)
                print(f"{name}: {fitted.stderr.strip()}")
                continue
            off = export.compare(options.program, model, None, 50, np.random.default_rng(0), work)
            written = (work / "onnx/scorer.onnx").exists()
            worst = max(worst, off)
            if not (written and off <= export.LIMIT):
                bad.append(name)
    print(f"{len(CASES)} decoders, {len(bad)} bad {' '.join(bad)}; largest deviation {worst:.2g}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
