#!/usr/bin/env python3
"""Random ONNX graphs of supported operators: isovae's graph beside ONNX Runtime.

    tests/onnx/compare.py [--graphs 1000] [--seed 0] [--program build/tests/onnx_run] [--keep DIR]

Each graph is made of a handful of operators behind each other, on vectors, sequences, signals,
images or volumes, with a free or a fixed batch, in one of the opsets 9 to 21. Outputs are compared
relative to the largest element of the output (limit 1e-5, or what the runtime's own output moves by
where the last bit of its inputs changes, times 2: counted as "sensitive"); every graph's tangent pass is checked against
differences and its reverse pass against the tangent, in double precision. Needs numpy, onnx and
onnxruntime (scripts/onnx-setup.sh installs them into build/onnx-venv). Exit status 1 where a
deviation is above its limit, or a graph is refused."""
import argparse
import collections
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

LIMIT, TANGENT_LIMIT, REVERSE_LIMIT = 1e-5, 1e-4, 1e-9
onnxruntime.set_default_logger_severity(3)


class Graph:
    def __init__(self, rng, opset, batch, fixed):
        self.rng, self.opset, self.batch, self.fixed = rng, opset, batch, fixed
        self.nodes, self.inits, self.used, self.n, self.kinks = [], [], [], 0, False

    def name(self):
        self.n += 1
        return f"t{self.n}"

    def const(self, array):
        array = np.asarray(array)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        name = self.name()
        if self.rng.random() < 0.2:
            self.nodes.append(helper.make_node("Constant", [], [name],
                                               value=numpy_helper.from_array(array)))
        else:
            self.inits.append(numpy_helper.from_array(array, name))
        return name

    def ints(self, *values):
        return self.const(np.array(values, np.int64))

    def node(self, op, inputs, n_out=1, **attributes):
        outputs = [self.name() for _ in range(n_out)]
        self.nodes.append(helper.make_node(op, inputs, outputs, name=f"{op}_{self.n}",
                                           **attributes))
        self.used.append(f"{op}-{attributes['mode']}" if op in ("Resize", "Upsample", "Pad") else
                         f"{op}-{len(attributes['kernel_shape'])}D" if "kernel_shape" in attributes
                         else op)
        return outputs[0] if n_out == 1 else outputs

    def normal(self, *shape, scale=1.0):
        return (self.rng.standard_normal(shape) * scale).astype(np.float32)

    def pick(self, *options):
        return options[self.rng.integers(len(options))]


class T:
    """A tensor [B, *row]."""

    def __init__(self, name, row):
        self.name, self.row = name, tuple(int(i) for i in row)

    @property
    def size(self):
        return int(np.prod(self.row))


OPS = []


def op(since=9, until=99, weight=1.0):
    def add(f):
        OPS.append((f, since, until, weight))
        return f
    return add


def full(g, row):
    """A shape for Reshape whose batch is said in one of the ways in which exporters say it."""
    if g.fixed and g.rng.random() < 0.5:
        return [g.batch, *row]
    if g.rng.random() < 0.5:
        return [-1, *row]
    return [0, *row]


# ---- elementwise ----

@op(weight=6)
def unary(g, t):
    ops = ["Relu", "LeakyRelu", "Elu", "Selu", "Sigmoid", "HardSigmoid", "Tanh", "Softplus",
           "Softsign", "Abs", "Neg", "Exp", "Erf", "Sin", "Cos", "Identity"]
    ops += ["Celu"] * 2 * (g.opset >= 12) + ["HardSwish"] * 2 * (g.opset >= 14)
    ops += ["Mish"] * 3 * (g.opset >= 18) + ["Gelu", "GeluTanh"] * (g.opset >= 20)
    o = g.pick(*ops)
    name, attributes = t.name, {}
    if o in ("LeakyRelu", "Elu", "Celu") and g.rng.random() < 0.5:
        attributes["alpha"] = float(g.rng.uniform(0.1, 1.5))
    if o == "Exp":
        name = g.node("Clip", [name, g.const(np.float32(-3)), g.const(np.float32(3))]) \
            if g.opset >= 11 else g.node("Clip", [name], min=-3.0, max=3.0)
    if o == "GeluTanh":
        o, attributes = "Gelu", {"approximate": "tanh"}
    return T(g.node(o, [name], **attributes), t.row)


@op()
def positive(g, t):
    a = g.node("Abs", [t.name])
    b = g.node("Add", [a, g.const(np.float32(0.5))])
    return T(g.node(g.pick("Log", "Sqrt", "Reciprocal"), [b]), t.row)


def partner(g, t):
    """A constant that broadcasts with [B, *row], maybe of fewer axes."""
    row = [d if g.rng.random() < 0.6 else 1 for d in t.row]
    cut = g.rng.integers(0, len(row) + 1)
    shape = row[cut:] if cut or g.rng.random() < 0.5 else [1, *row]
    return g.normal(*shape)


@op(weight=0.7)
def steps(g, t):
    """Without slope; added, so that what is behind still depends on more than steps."""
    o = g.pick(*["Sign", "Floor", "Ceil"] + ["Round"] * (g.opset >= 11))
    y = g.node(o, [g.node("Mul", [t.name, g.const(np.float32(1.7))])])
    return T(g.node("Add", [y, t.name]), t.row)


@op(since=10)
def folded(g, t):
    """Functions of constants alone, which are computed when the file is read."""
    x = g.const(g.rng.uniform(-0.9, 0.9, t.row[-1:]).astype(np.float32))
    o = g.pick("Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Mod", "EyeLike", "Size")
    if o == "Mod":
        x = g.node("Mod", [x, g.const(np.float32(0.3))], fmod=1)
    elif o == "EyeLike":
        n = t.row[-1]
        x = g.node("MatMul", [t.name, g.node("EyeLike", [g.const(np.zeros((n, n), np.float32))],
                                             k=int(g.rng.integers(-1, 2)))])
    elif o == "Size":
        n = g.node("Cast", [g.node("Size", [x])], to=TensorProto.FLOAT)
        x = g.node("Div", [x, n])
    else:
        x = g.node(o, [x])
    return T(g.node("Add", [t.name, x]), t.row)


@op(weight=5)
def binary(g, t):
    o = g.pick("Add", "Sub", "Mul", "Div", "Min", "Max", "Pow")
    c = partner(g, t)
    if o == "Div":
        c = np.abs(c) + 0.5
    name = t.name
    if o == "Pow":
        if g.rng.random() < 0.5:
            return T(g.node("Pow", [name, g.const(np.float32(g.pick(1, 2, 3)))]), t.row)
        name = g.node("Add", [g.node("Abs", [name]), g.const(np.float32(0.3))])
        c = np.clip(c, -2, 2)
    pair = [name, g.const(c)]
    if o in ("Add", "Sub", "Mul", "Min", "Max") and g.rng.random() < 0.3:
        pair.reverse()
    return T(g.node(o, pair), t.row)


@op(weight=2)
def both(g, t):
    """Two ways from one tensor, joined again."""
    a = unary(g, t)
    b = binary(g, t)
    o = g.pick("Add", "Mul", "Sub", "Max", "Sum", "Mean", "Div", "Min")
    if o == "Div":
        b = T(g.node("Add", [g.node("Abs", [b.name]), g.const(np.float32(0.5))]), b.row)
    return T(g.node(o, [a.name, b.name]), t.row)


@op()
def power(g, t):
    """A base and an exponent that both depend on the input."""
    a = g.node("Add", [g.node("Abs", [t.name]), g.const(np.float32(0.5))])
    return T(g.node("Pow", [a, g.node("Tanh", [binary(g, t).name])]), t.row)


@op()
def of_more(g, t):
    """Sum, Mean, Min, Max of one to four tensors, constants among them."""
    o = g.pick("Sum", "Mean", "Min", "Max")
    parts = [t.name] + [g.pick(lambda: unary(g, t).name, lambda: g.const(partner(g, t)))()
                        for _ in range(int(g.rng.integers(0, 4)))]
    return T(g.node(o, [parts[i] for i in g.rng.permutation(len(parts))]), t.row)


@op()
def gate(g, t):
    return T(g.node("Mul", [t.name, g.node("Sigmoid", [t.name])]), t.row)


@op(weight=1.5)
def prelu(g, t):
    shape = [t.row[0]] + [1] * (len(t.row) - 1) if g.rng.random() < 0.6 else [1]
    return T(g.node("PRelu", [t.name, g.const(g.normal(*shape, scale=0.3))]), t.row)


@op()
def clip(g, t):
    if g.opset < 11:
        return T(g.node("Clip", [t.name], min=-0.7), t.row)
    low, high = g.const(np.float32(-0.8)), g.const(np.float32(0.9))
    return T(g.node("Clip", g.pick([t.name, low], [t.name, low, high], [t.name, "", high])), t.row)


@op()
def where(g, t):
    c = partner(g, t)
    test = g.node(g.pick("Greater", "Less"), [t.name, g.const(c)])
    if g.opset >= 16 and g.rng.random() < 0.3:
        test = g.node("Not", [g.node("And", [test, g.node("LessOrEqual",
                                                          [t.name, g.const(np.float32(0.5))])])])
    if g.rng.random() < 0.4:
        return T(g.node("Where", [test, t.name, g.const(np.float32(0.1))]), t.row)
    if g.rng.random() < 0.4:
        f = g.node("Cast", [test], to=TensorProto.FLOAT)
        return T(g.node("Mul", [f, t.name]), t.row)
    return T(g.node("Where", [test, t.name, unary(g, t).name]), t.row)


@op(weight=2)
def tests(g, t):
    """Comparisons and what joins them."""
    def one():
        o = g.pick(*["Greater", "Less", "Equal"] + ["GreaterOrEqual", "LessOrEqual"] * (g.opset >= 12))
        if o == "Equal":  # of halves, rounded, so that it is met
            if g.opset < 11:
                return g.node("Greater", [t.name, g.const(partner(g, t))])
            return g.node("Equal", [g.node("Round", [t.name]),
                                    g.const(g.rng.integers(-1, 2, t.row[-1:]).astype(np.float32))])
        pair = [t.name, g.const(partner(g, t))]
        return g.node(o, pair if g.rng.random() < 0.7 else pair[::-1])
    test = one()
    if g.rng.random() < 0.7:
        test = g.node(g.pick("And", "Or", "Xor"), [test, one()])
    if g.rng.random() < 0.3:
        test = g.node("Not", [test])
    if g.opset >= 15 and g.rng.random() < 0.3:
        return T(g.node("Mul", [g.node("CastLike", [test, t.name]), t.name]), t.row)
    if g.rng.random() < 0.2:  # by way of an integer
        f = g.node("Cast", [g.node("Cast", [test], to=TensorProto.INT64)], to=TensorProto.FLOAT)
        return T(g.node("Add", [f, t.name]), t.row)
    return T(g.node("Where", [test, unary(g, t).name, t.name]), t.row)


@op()
def where_mask(g, t):
    mask = g.rng.random(t.row[-1:]) < 0.5
    return T(g.node("Where", [g.const(mask), t.name, g.const(np.float32(-2))]), t.row)


# ---- matrices ----

@op(weight=3)
def gemm(g, t):
    if len(t.row) != 1:
        return None
    k, n = t.row[0], int(g.rng.integers(1, 12))
    turned = g.rng.random() < 0.7
    w = g.normal(*((n, k) if turned else (k, n)), scale=k ** -0.5)
    attributes = {"transB": int(turned)}
    if g.rng.random() < 0.3:
        attributes["alpha"] = 0.7
    if g.rng.random() < 0.3:
        attributes["beta"] = 1.3
    inputs = [t.name, g.const(w)]
    if g.rng.random() < 0.8 or g.opset < 11:
        inputs.append(g.const(g.normal(*g.pick((n,), (1, n), (1,)))))
    return T(g.node("Gemm", inputs, **attributes), (n,))


@op(weight=3)
def matmul(g, t):
    k, n = t.row[-1], int(g.rng.integers(1, 9))
    y = g.node("MatMul", [t.name, g.const(g.normal(k, n, scale=k ** -0.5))])
    if g.rng.random() < 0.7:
        y = g.node("Add", [y, g.const(g.normal(n))])
    return T(y, t.row[:-1] + (n,))


@op()
def matmul_left(g, t):
    if len(t.row) < 2:
        return None
    k, m = t.row[-2], int(g.rng.integers(1, 9))
    lead = (t.row[-3],) if len(t.row) > 2 and g.rng.random() < 0.4 else ()
    y = g.node("MatMul", [g.const(g.normal(*lead, m, k, scale=k ** -0.5)), t.name])
    return T(y, t.row[:-2] + (m, t.row[-1]))


@op(weight=2)
def attention(g, t):
    if len(t.row) != 2:
        return None
    s, d = t.row
    h = g.pick(*[i for i in (1, 2, 3, 4) if d % i == 0])
    parts = []
    for _ in range(3):
        y = g.node("MatMul", [t.name, g.const(g.normal(d, d, scale=d ** -0.5))])
        y = g.node("Reshape", [y, g.ints(*full(g, (s, h, d // h)))])
        parts.append(g.node("Transpose", [y], perm=[0, 2, 1, 3]))
    q, k, v = parts
    scores = g.node("MatMul", [q, g.node("Transpose", [k], perm=[0, 1, 3, 2])])
    scores = g.node("Mul", [scores, g.const(np.float32((d // h) ** -0.5))])
    if g.rng.random() < 0.3:
        mask = np.triu(np.full((s, s), -np.inf, np.float32), 1)
        scores = g.node("Add", [scores, g.const(mask)])
    y = g.node("MatMul", [g.node("Softmax", [scores], axis=3), v])
    y = g.node("Transpose", [y], perm=[0, 2, 1, 3])
    return T(g.node("Reshape", [y, g.ints(*full(g, (s, d)))]), t.row)


@op(since=12, weight=2)
def einsum(g, t):
    if len(t.row) == 1:
        n = t.row[0]
        return g.pick(
            lambda: T(g.node("Einsum", [t.name, g.const(g.normal(n, 3, scale=n ** -0.5))],
                             equation="bi,ij->bj"), (3,)),
            lambda: T(axes_of(g, "Unsqueeze", g.node("Einsum", [t.name, t.name],
                                                     equation="bi,bi->b"), [1]), (1,)),
            lambda: T(g.node("Einsum", [t.name, t.name], equation="bi,bj->bij"), (n, n)),
            lambda: T(g.node("Einsum", [g.const(g.normal(2, n, scale=n ** -0.5)), t.name],
                             equation="ji,...i->...j"), (2,)))() if n < 40 else None
    if len(t.row) == 3:
        a, b, d = t.row
        return g.pick(
            lambda: T(g.node("Einsum", [t.name, g.const(g.normal(d, 2, scale=d ** -0.5))],
                             equation="...d,de->...e"), (a, b, 2)),
            lambda: T(g.node("Einsum", [t.name, t.name], equation="bhqd,bhkd->bhqk"), (a, b, b)),
            lambda: T(g.node("Einsum", [t.name, g.const(g.normal(a, d, 2, 3))],
                             equation="bthd,tdke->bhke"), (b, 2, 3)),
            lambda: T(g.node("Einsum", [t.name, g.const(g.normal(b, 3)), g.const(g.normal(d, 2))],
                             equation="bijk,jm,kn->bimn"), (a, 3, 2)),
            lambda: T(g.node("Einsum", [t.name], equation="bijk->bkj"), (d, b)))()
    if len(t.row) == 2:
        a, b = t.row
        return g.pick(
            lambda: T(g.node("Einsum", [t.name, g.const(g.normal(b, 4))], equation="bij,jk->bik"),
                      (a, 4)),
            lambda: T(g.node("Einsum", [t.name, t.name], equation="bij,bkj->bik"), (a, a)),
            lambda: T(g.node("Einsum", [t.name, g.const(g.normal(a, b, 3))],
                             equation="b i j, i j k -> b k"), (3,)),
            lambda: T(g.node("Einsum", [t.name], equation="bij->bji"), (b, a)),
            lambda: T(g.node("Einsum", [t.name], equation="bij->bi"), (a,)),
            lambda: T(g.node("Einsum", [t.name, g.const(g.normal(b))], equation="bij,j->bij"),
                      (a, b)),
            lambda: T(g.node("Einsum", [t.name, g.const(g.normal(b, 4))],
                             equation="...j,jk->...k"), (a, 4)),
            lambda: T(g.node("Einsum", [g.node("Einsum", [t.name, t.name],
                                               equation="...ij,...kj->...ik")],
                             equation="bii->bi"), (a,)))()
    return None


# ---- shapes ----

@op(weight=2)
def reshape(g, t):
    factors = [(t.size,)]
    factors += [(a, t.size // a) for a in range(2, t.size) if t.size % a == 0]
    if len(t.row) == 4:
        factors = factors[:1]
    row = factors[g.rng.integers(len(factors))]
    how = g.rng.integers(4)
    if how == 0 and len(row) == 1:
        return T(g.node("Flatten", [t.name], axis=1), row)
    if how == 1:  # by computing with shapes
        n = g.node("Gather", [g.node("Shape", [t.name]), g.const(np.int64(0))], axis=0)
        if g.opset < 13:
            n = g.node("Unsqueeze", [n], axes=[0])
        else:
            n = g.node("Unsqueeze", [n, g.ints(0)])
        shape = g.node("Concat", [n, g.ints(*row)], axis=0)
        return T(g.node("Reshape", [t.name, shape]), row)
    return T(g.node("Reshape", [t.name, g.ints(*full(g, row))]), row)


@op()
def through_merged(g, t):
    """[B, T, D] as [B T, D], through a layer, and back."""
    if len(t.row) != 2:
        return None
    s, d = t.row
    flat = g.node("Reshape", [t.name, g.ints(-1, d)])
    n = int(g.rng.integers(1, 7))
    y = g.node("Gemm", [flat, g.const(g.normal(d, n, scale=d ** -0.5)), g.const(g.normal(n))])
    y = g.node("Tanh", [y])
    return T(g.node("Reshape", [y, g.ints(-1, s, n)]), (s, n))


@op()
def batch_inside(g, t):
    """Sequence first, as in torch's MultiheadAttention."""
    if len(t.row) != 2:
        return None
    s, d = t.row
    y = g.node("Transpose", [t.name], perm=[1, 0, 2])
    y = g.node("MatMul", [y, g.const(g.normal(d, d, scale=d ** -0.5))])
    y = g.node("Add", [y, g.const(g.normal(s, 1, d))])
    return T(g.node("Transpose", [y], perm=[1, 0, 2]), (s, d))


@op(weight=2)
def transpose(g, t):
    n = len(t.row)
    if n < 2:
        return None
    order = list(g.rng.permutation(n))
    return T(g.node("Transpose", [t.name], perm=[0] + [int(i) + 1 for i in order]),
             [t.row[i] for i in order])


def axes_of(g, op_name, name, axes, since=13):
    if g.opset < since:
        return g.node(op_name, [name], axes=list(axes))
    return g.node(op_name, [name, g.ints(*axes)])


@op()
def squeeze(g, t):
    if len(t.row) > 3:
        return None
    at = int(g.rng.integers(1, len(t.row) + 2))
    y = axes_of(g, "Unsqueeze", t.name, [at])
    if g.rng.random() < 0.5 and len(t.row) > 0:
        return T(y, t.row[:at - 1] + (1,) + t.row[at - 1:])
    y = g.node("Tanh", [y])
    return T(axes_of(g, "Squeeze", y, [at]), t.row)


def axis_of(g, t):
    axis = int(g.rng.integers(1, len(t.row) + 1))
    return axis, (axis if g.rng.random() < 0.6 else axis - len(t.row) - 1)


@op()
def concat(g, t):
    axis, said = axis_of(g, t)
    a = unary(g, t)
    parts, extent = [t.name, a.name], 2 * t.row[axis - 1]
    if g.fixed and g.batch == 1 and g.rng.random() < 0.5:
        row = list(t.row)
        row[axis - 1] = 2
        parts.append(g.const(g.normal(1, *row)))
        extent += 2
    row = list(t.row)
    row[axis - 1] = extent
    return T(g.node("Concat", parts, axis=said), row)


@op()
def many(g, t):
    """More parts than a node of the graph takes."""
    axis, said = axis_of(g, t)
    n = t.row[axis - 1]
    if n < 9 or n > 16:
        return None
    sizes = [1] * n
    if g.opset < 13:
        parts = g.node("Split", [t.name], n, axis=said, split=sizes)
    else:
        parts = g.node("Split", [t.name, g.ints(*sizes)], n, axis=said)
    return T(g.node("Concat", parts[::-1], axis=axis), t.row)


@op(weight=2)
def split(g, t):
    axis, said = axis_of(g, t)
    n = t.row[axis - 1]
    if n < 2:
        return None
    a = int(g.rng.integers(1, n))
    sizes = [a, n - a]
    if n % 2 == 0 and g.rng.random() < 0.5:
        attributes = {"num_outputs": 2} if g.opset >= 18 else {}
        parts = g.node("Split", [t.name], 2, axis=said, **attributes)
        sizes = [n // 2] * 2
    elif g.opset < 13:
        parts = g.node("Split", [t.name], 2, axis=said, split=sizes)
    else:
        parts = g.node("Split", [t.name, g.ints(*sizes)], 2, axis=said)
    which = int(g.rng.integers(2))
    row = list(t.row)
    row[axis - 1] = sizes[which]
    if sizes[0] == sizes[1]:
        return T(g.node("Mul", [parts[0], g.node("Sigmoid", [parts[1]])]), row)
    return T(parts[which], row)


@op(weight=2)
def slices(g, t):
    axis, said = axis_of(g, t)
    n = t.row[axis - 1]
    start, end, step = g.pick((0, n, 2), (1, 2 ** 63 - 1, 1), (-2, n, 1), (0, -1, 1),
                              (-1, -2 ** 31, -1), (n - 1, -n - 1, -2), (0, 1000, 3))
    if g.opset < 10:
        step = 1
        start, end = max(start, -n), (end if end > 0 or end == -1 else n)
    extent = len(range(*slice(start, end, step).indices(n)))
    if extent < 1:
        return None
    row = list(t.row)
    row[axis - 1] = extent
    if g.opset < 10:
        return T(g.node("Slice", [t.name], starts=[start], ends=[end], axes=[axis]), row)
    inputs = [t.name, g.ints(start), g.ints(end), g.ints(said)]
    return T(g.node("Slice", inputs + ([g.ints(step)] if step != 1 else [])), row)


@op()
def gather(g, t):
    axis, said = axis_of(g, t)
    n = t.row[axis - 1]
    shape = g.pick((), (2,), (3,), (2, 2))
    if len(t.row) - 1 + len(shape) not in (1, 2, 3):
        return None
    which = g.rng.integers(-n if g.opset >= 11 else 0, n, shape)
    row = t.row[:axis - 1] + shape + t.row[axis:]
    return T(g.node("Gather", [t.name, g.const(np.array(which, np.int64))], axis=said), row)


@op(since=11)
def gather_nd(g, t):
    """Indices into the first axes behind the batch, which is moved behind them, as in jax2onnx."""
    n = len(t.row)
    depth = int(g.rng.integers(1, min(n, 2) + 1))
    lead = g.pick((3,), (2, 2)) if n - depth < 2 else (2,)
    which = np.stack([g.rng.integers(-d, d, lead) for d in t.row[:depth]], -1).astype(np.int64)
    there = [*range(1, depth + 1), 0, *range(depth + 1, n + 1)]
    y = g.node("Transpose", [t.name], perm=there)
    y = g.node("GatherND", [y, g.const(which)])
    back = [len(lead), *range(len(lead)), *range(len(lead) + 1, len(lead) + 1 + n - depth)]
    return T(g.node("Transpose", [y], perm=back), lead + t.row[depth:])


@op(since=10)
def finite(g, t):
    """As jax and tf2onnx guard a logarithm of a sum."""
    bad = g.node("Or", [g.node("IsNaN", [t.name]), g.node("IsInf", [t.name])])
    return T(g.node("Where", [bad, g.const(np.float32(0)), t.name]), t.row)


@op(weight=1.5)
def expand(g, t):
    if len(t.row) > 3:
        return None
    at = int(g.rng.integers(1, len(t.row) + 2))
    y = axes_of(g, "Unsqueeze", t.name, [at])
    row = t.row[:at - 1] + (3,) + t.row[at - 1:]
    return T(g.node("Expand", [y, g.ints(1, *row)]), row)


@op(weight=1.5)
def tile(g, t):
    axis, _ = axis_of(g, t)
    repeats = [1] * (len(t.row) + 1)
    repeats[axis] = 2
    row = list(t.row)
    row[axis - 1] *= 2
    return T(g.node("Tile", [t.name, g.ints(*repeats)]), row)


@op(weight=2)
def pad(g, t):
    mode = g.pick(*["constant", "reflect", "edge"] + ["wrap"] * (g.opset >= 19))
    before, after = [0], [0]
    for d in t.row:
        most = min(2, d - 1) if mode == "reflect" else min(2, d) if mode == "wrap" else 2
        before.append(int(g.rng.integers(0, most + 1)))
        after.append(int(g.rng.integers(0, most + 1)))
    if mode == "reflect" and len(t.row) > 2:  # as far as the runtime has it
        before[1] = after[1] = 0
    row = [d + a + b for d, a, b in zip(t.row, before[1:], after[1:])]
    if g.opset < 11:
        return T(g.node("Pad", [t.name], mode=mode, pads=before + after, value=0.3), row)
    some = g.opset >= 18 and g.rng.random() < 0.4  # axes that are not said stay
    inputs = [t.name, g.ints(*before[some:], *after[some:])]
    if mode == "constant":
        inputs.append(g.const(np.float32(0.3)))
    if some:
        inputs += [""] * (3 - len(inputs)) + [g.ints(*range(1, len(t.row) + 1))]
    return T(g.node("Pad", inputs, mode=mode), row)


@op(since=14)
def trilu(g, t):
    if len(t.row) < 2:
        return None
    return T(g.node("Trilu", [t.name, g.const(np.int64(g.rng.integers(-1, 2)))],
                    upper=int(g.rng.integers(2))), t.row)


@op()
def constant_of_shape(g, t):
    shape = g.node("Shape", [t.name])
    ones = g.node("ConstantOfShape", [shape],
                  value=helper.make_tensor("v", TensorProto.FLOAT, [1], [0.25]))
    return T(g.node("Add", [t.name, ones]), t.row)


@op(since=11)
def positions(g, t):
    """A range as long as an axis, its sine, added."""
    axis = len(t.row)
    n = g.node("Gather", [g.node("Shape", [t.name]), g.const(np.int64(axis))], axis=0)
    r = g.node("Range", [g.const(np.int64(0)), n, g.const(np.int64(1))])
    s = g.node("Sin", [g.node("Mul", [g.node("Cast", [r], to=TensorProto.FLOAT),
                                      g.const(np.float32(0.3))])])
    return T(g.node("Add", [t.name, s]), t.row)


# ---- sums ----

@op(weight=3)
def reduce(g, t):
    if len(t.row) < 2 and g.rng.random() < 0.7:
        return None
    n = len(t.row)
    count = int(g.rng.integers(1, max(2, n)))
    axes = sorted(int(i) + 1 for i in g.rng.permutation(n)[:count])
    keep = int(g.rng.integers(2)) if n > count else 1
    o = g.pick("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSumSquare", "ReduceL1",
               "ReduceL2", "ReduceLogSumExp", "ReduceProd", "ReduceLogSum")
    if o in ("ReduceMax", "ReduceMin") and g.opset < 11 and len(axes) > 1:
        return None
    name = t.name
    if o in ("ReduceLogSum", "ReduceProd"):
        name = g.node("Add", [g.node("Abs", [name]), g.const(np.float32(0.4))])
    said = [a if g.rng.random() < 0.6 or g.opset < 11 else a - n - 1 for a in axes]
    if g.opset >= 18 or (o == "ReduceSum" and g.opset >= 13):
        y = g.node(o, [name, g.ints(*said)], keepdims=keep)
    else:
        y = g.node(o, [name], axes=said, keepdims=keep)
    row = [(1 if keep else None) if i + 1 in axes else d for i, d in enumerate(t.row)]
    return T(y, [d for d in row if d is not None])


@op(weight=2)
def softmax(g, t):
    axis, said = axis_of(g, t)
    if g.opset < 11:
        said = axis
    o = g.pick("Softmax", "LogSoftmax")
    return T(g.node(o, [t.name], axis=said), t.row)


# ---- convolutions and pools ----

def spatial(g, t, least=1):
    rank = len(t.row) - 1
    return rank if 1 <= rank <= 3 and min(t.row[1:]) >= least else 0


@op(weight=6)
def conv(g, t):
    rank = spatial(g, t)
    if not rank:
        return None
    c = t.row[0]
    groups = g.pick(*[i for i in (1, 1, 1, 2, c) if c % i == 0])
    out = groups * int(g.rng.integers(1, 4))
    attributes = {"group": groups}
    same = g.rng.random() < 0.2
    kernel, stride, dilation, before, after, shape = [], [], [], [], [], []
    for d in t.row[1:]:
        k, s, a = int(g.rng.integers(1, 4)), int(g.rng.integers(1, 3)), int(g.rng.integers(1, 3))
        if same:
            a = 1
        p, q = int(g.rng.integers(0, k)), int(g.rng.integers(0, k))
        span = a * (k - 1) + 1
        if d + p + q < span:
            return None
        shape.append(-(-d // s) if same else (d + p + q - span) // s + 1)
        kernel.append(k), stride.append(s), dilation.append(a), before.append(p), after.append(q)
    attributes.update(kernel_shape=kernel, strides=stride, dilations=dilation)
    if same:
        attributes["auto_pad"] = g.pick("SAME_UPPER", "SAME_LOWER")
    else:
        attributes["pads"] = before + after
    w = g.normal(out, c // groups, *kernel, scale=(c // groups * np.prod(kernel)) ** -0.5)
    inputs = [t.name, g.const(w)]
    if g.rng.random() < 0.7:
        inputs.append(g.const(g.normal(out)))
    return T(g.node("Conv", inputs, **attributes), [out, *shape])


@op(weight=4)
def conv_transpose(g, t):
    rank = spatial(g, t)
    if not rank or t.size > 600:
        return None
    c = t.row[0]
    groups = g.pick(*[i for i in (1, 1, 2) if c % i == 0])
    out = groups * int(g.rng.integers(1, 4))
    kernel, stride, dilation, before, after, more, shape = [], [], [], [], [], [], []
    for d in t.row[1:]:
        k, s, a = int(g.rng.integers(1, 4)), int(g.rng.integers(1, 3)), int(g.rng.integers(1, 3))
        p, q, m = int(g.rng.integers(0, k)), int(g.rng.integers(0, k)), int(g.rng.integers(0, s))
        size = s * (d - 1) + a * (k - 1) + 1 + m - p - q
        if size < 1:
            return None
        shape.append(size)
        kernel.append(k), stride.append(s), dilation.append(a)
        before.append(p), after.append(q), more.append(m)
    w = g.normal(c, out // groups, *kernel, scale=(c // groups * np.prod(kernel)) ** -0.5)
    inputs = [t.name, g.const(w)]
    if g.rng.random() < 0.7:
        inputs.append(g.const(g.normal(out)))
    return T(g.node("ConvTranspose", inputs, group=groups, kernel_shape=kernel, strides=stride,
                    dilations=dilation, pads=before + after, output_padding=more), [out, *shape])


@op(weight=3)
def pool(g, t):
    rank = spatial(g, t, 2)
    if not rank:
        return None
    o = g.pick("MaxPool", "AveragePool")
    kernel = [int(g.rng.integers(1, min(3, d) + 1)) for d in t.row[1:]]
    stride = [int(g.rng.integers(1, 3)) for _ in kernel]
    before = [int(g.rng.integers(0, k)) for k in kernel]
    after = [int(g.rng.integers(0, k)) for k in kernel]
    attributes = {"kernel_shape": kernel, "strides": stride, "pads": before + after}
    ceil = g.opset >= 10 and o == "MaxPool" and g.rng.random() < 0.3
    dilation = [1] * rank
    if (g.opset >= 10 and o == "MaxPool" or g.opset >= 19) and not ceil and g.rng.random() < 0.3:
        dilation = [int(g.rng.integers(1, 3)) for _ in kernel]
        if any(d + p + q < a * (k - 1) + 1 for d, k, a, p, q in
               zip(t.row[1:], kernel, dilation, before, after)):
            return None
        attributes["dilations"] = dilation
    if ceil:
        attributes["ceil_mode"] = 1
    if o == "AveragePool":
        attributes["count_include_pad"] = int(g.rng.integers(2))
    shape = []
    for d, k, s, p, q, a in zip(t.row[1:], kernel, stride, before, after, dilation):
        k = a * (k - 1) + 1
        n = (d + p + q - k) // s + 1
        if ceil and (d + p + q - k) % s and n * s < d + p:
            n += 1
        shape.append(n)
    return T(g.node(o, [t.name], **attributes), [t.row[0], *shape])


@op()
def global_pool(g, t):
    if not spatial(g, t):
        return None
    return T(g.node(g.pick("GlobalAveragePool", "GlobalMaxPool"), [t.name]),
             [t.row[0]] + [1] * (len(t.row) - 1))


# ---- normalisations ----

@op(weight=2)
def batch_norm(g, t):
    c = t.row[0]
    p = [g.normal(c), g.normal(c), g.normal(c), np.abs(g.normal(c)) + 0.3]
    return T(g.node("BatchNormalization", [t.name] + [g.const(i) for i in p],
                    epsilon=g.pick(1e-5, 1e-3)), t.row)


@op(weight=2)
def instance_norm(g, t):
    if not spatial(g, t) or np.prod(t.row[1:]) < 4:
        return None
    c = t.row[0]
    return T(g.node("InstanceNormalization", [t.name, g.const(g.normal(c)), g.const(g.normal(c))],
                    epsilon=1e-2), t.row)


@op(since=17, weight=2)
def layer_norm(g, t):
    axis = int(g.rng.integers(1, len(t.row) + 1))
    shape = t.row[axis - 1:]
    if np.prod(shape) < 4:
        return None
    inputs = [t.name, g.const(g.normal(*shape))]
    if g.rng.random() < 0.7:
        inputs.append(g.const(g.normal(*shape)))
    return T(g.node("LayerNormalization", inputs, axis=g.pick(axis, axis - len(t.row) - 1),
                    epsilon=1e-2), t.row)


@op(since=18, weight=6)
def group_norm(g, t):
    if not spatial(g, t):
        return None
    c = t.row[0]
    groups = g.pick(*[i for i in (1, 2, 3, c) if c % i == 0])
    if c // groups * np.prod(t.row[1:]) < 4:
        return None
    n = c if g.opset >= 21 else groups
    return T(g.node("GroupNormalization", [t.name, g.const(g.normal(n)), g.const(g.normal(n))],
                    num_groups=groups, epsilon=1e-2), t.row)


# ---- images ----

@op(until=9, weight=8)
def upsample(g, t):
    return resize(g, t)


@op(weight=3)
def resize(g, t):
    if len(t.row) not in (2, 3) or t.size > 600:
        return None
    mode = g.pick("nearest", "linear", "nearest", "linear", "cubic", "cubic")
    if (mode == "cubic" and (len(t.row) != 3 or min(t.row[1:]) < 4)) or min(t.row[1:]) < 2:
        return None
    shape = [g.pick(d, 2 * d, 3 * d, d + 1, max(1, d - 1)) for d in t.row[1:]]
    scales = [1.0, 1.0] + [s / d for s, d in zip(shape, t.row[1:])]
    if g.opset == 9 or (g.opset == 10 and mode == "cubic"):
        if mode == "cubic" or any(s < 1 for s in scales):
            return None
    if any(int(np.floor(np.float32(d) * np.float32(s))) != n or
           int(np.floor(d * float(np.float32(s)))) != n
           for d, s, n in zip(t.row[1:], scales[2:], shape)):
        return None
    row = [t.row[0], *shape]
    scale = g.const(np.array(scales, np.float32))
    if g.opset == 9:
        return T(g.node("Upsample", [t.name, scale], mode=mode), row)
    if g.opset == 10:
        return T(g.node("Resize", [t.name, scale], mode=mode), row)
    where = g.pick(*["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"] +
                   ["tf_half_pixel_for_nn"] * (g.opset < 13 and mode == "nearest") +
                   ["half_pixel_symmetric"] * (g.opset >= 19))
    attributes = {"mode": mode, "coordinate_transformation_mode": where}
    if mode == "cubic" and g.rng.random() < 0.5:
        attributes["cubic_coeff_a"] = -0.5
        attributes["exclude_outside"] = int(g.rng.integers(2))
    if mode == "nearest":
        # at halves runtimes differ among themselves
        whole = all(s % d == 0 for s, d in zip(shape, t.row[1:]))
        if not whole or where == "align_corners":
            attributes["coordinate_transformation_mode"] = "asymmetric"
            attributes["nearest_mode"] = "floor"
        elif where == "asymmetric":
            attributes["nearest_mode"] = "floor"
    roi = g.const(np.zeros(0, np.float32))
    if g.rng.random() < 0.5:
        sizes = g.node("Concat", [g.node("Slice", [g.node("Shape", [t.name]), g.ints(0),
                                                   g.ints(2)]), g.ints(*shape)], axis=0)
        none = "" if g.opset >= 13 else g.const(np.zeros(0, np.float32))
        return T(g.node("Resize", [t.name, roi, none, sizes], **attributes), row)
    return T(g.node("Resize", [t.name, roi, scale], **attributes), row)


@op(weight=2)
def shuffle(g, t):
    if len(t.row) != 3:
        return None
    c, h, w = t.row
    if c % 4 == 0 and g.rng.random() < 0.7:
        attributes = {"mode": g.pick("DCR", "CRD")} if g.opset >= 11 else {}
        return T(g.node("DepthToSpace", [t.name], blocksize=2, **attributes), (c // 4, 2 * h, 2 * w))
    if h % 2 == 0 and w % 2 == 0:
        return T(g.node("SpaceToDepth", [t.name], blocksize=2), (4 * c, h // 2, w // 2))
    return None


@op()
def dropout(g, t):
    if g.opset >= 12 and g.rng.random() < 0.5:
        return T(g.node("Dropout", [t.name, g.const(np.float32(0.4)), g.const(np.bool_(False))]), t.row)
    return T(g.node("Dropout", [t.name]), t.row)


@op(since=11, weight=0.7)
def branch(g, t):
    """If, with a condition that is constant."""
    def body(o):
        made = g.name()
        return helper.make_graph([helper.make_node(o, [t.name], [made])], f"branch_{made}", [],
                                 [helper.make_tensor_value_info(made, TensorProto.FLOAT, None)])
    n = g.node("Gather", [g.node("Shape", [t.name]), g.const(np.int64(1))], axis=0)
    test = g.node("Equal", [n, g.const(np.int64(g.pick(t.row[0], -3)))])
    return T(g.node("If", [test], then_branch=body("Tanh"), else_branch=body("Sigmoid")), t.row)


@op(weight=0.7)
def noise(g, t):
    """Random numbers of next to no width, so that both sides have their mean."""
    o = g.pick("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
    width = {"mean": 0.5, "scale": 1e-30} if "Normal" in o else {"low": 0.5, "high": 0.5}
    if o.endswith("Like"):
        return T(g.node("Add", [t.name, g.node(o, [t.name], **width)]), t.row)
    return T(g.node("Add", [t.name, g.node(o, [], shape=[1, *t.row], **width)]), t.row)


# ---- graphs ----

def make(seed):
    rng = np.random.default_rng(seed)
    opset = int(rng.integers(9, 22))
    fixed = rng.random() < 0.4
    batch = int(rng.integers(1, 4)) if not fixed else int(rng.choice([1, 1, 3]))
    g = Graph(rng, opset, batch, fixed)
    row = g.pick((7,), (12,), (5, 6), (4, 8), (3, 10), (3, 6, 5), (4, 6, 6), (2, 8, 8), (2, 3, 4, 4))
    t = T("x", row)
    usable = [o for o in OPS if o[1] <= opset <= o[2]]
    weights = np.array([o[3] for o in usable])
    wanted, tries = int(rng.integers(3, 8)), 0
    while wanted > 0 and tries < 60:
        tries += 1
        nodes, inits, used = len(g.nodes), len(g.inits), len(g.used)
        made = usable[rng.choice(len(usable), p=weights / weights.sum())][0](g, t)
        if made is None or made.size > 3000 or made.size < 1:
            del g.nodes[nodes:], g.inits[inits:], g.used[used:]
            continue
        t, wanted = made, wanted - 1
    axis = batch if fixed else "N"
    graph = helper.make_graph(
        g.nodes, f"random{seed}", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [axis, *row])],
        [helper.make_tensor_value_info(t.name, TensorProto.FLOAT, None)], g.inits)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    return model, g, rng.standard_normal((batch, *row)).astype(np.float32)


def run(program, path, folder, x, flags):
    x.astype(np.float64).tofile(folder / "in.bin")
    done = subprocess.run([program, *flags, str(path), str(len(x)), str(folder / "in.bin"),
                           str(folder / "out.bin")], capture_output=True, text=True)
    if done.returncode != 0:
        return None, done.stderr.strip() or f"exit {done.returncode}"
    return np.fromfile(folder / "out.bin"), done.stdout


def sensitivity(session, x, want):
    """What a graph that subtracts nearly equal numbers makes of the last bit of its inputs."""
    rng, most = np.random.default_rng(0), 0.0
    for _ in range(3):
        near = (x * (1 + rng.choice([-1, 1], x.shape) * 2.0 ** -23)).astype(np.float32)
        got = session.run(None, {"x": near})[0].astype(np.float64).ravel()
        most = max(most, float(np.abs(got - want).max() / max(1e-3, np.abs(want).max())))
    return most


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser()
    parser.add_argument("--graphs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--program", default=str(root / "build/tests/onnx_run"))
    parser.add_argument("--keep", help="folder for the graphs that deviate")
    options = parser.parse_args()
    counts, bad, skipped = collections.Counter(), 0, 0
    worst = {"f32": 0.0, "f64": 0.0, "tangent": 0.0, "reverse": 0.0}
    kinked, sensitive = 0, set()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for seed in range(options.seed, options.seed + options.graphs):
            model, g, x = make(seed)
            path = folder / "model.onnx"
            onnx.save(model, path)
            try:
                session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
                want = session.run(None, {"x": x})[0].astype(np.float64).ravel()
            except Exception as error:  # the runtime has no kernel, or the graph is no valid one
                skipped += 1
                print(f"graph {seed}: left out, {str(error).splitlines()[0][:150]}")
                continue
            if not np.isfinite(want).all() or np.abs(want).max() > 1e6:
                skipped += 1
                continue
            counts.update(g.used)
            problem = ""
            for precision in ("f32", "f64"):
                flags = ["-m", "-p", precision] + (["-c"] if precision == "f64" else [])
                got, said = run(options.program, path, folder, x, flags)
                if got is None or got.shape != want.shape:
                    problem = said if got is None else f"{got.size} elements, not {want.size}"
                    break
                off = float(np.abs(got - want).max() / max(1e-3, np.abs(want).max()))
                if not off <= LIMIT and off <= 2 * sensitivity(session, x, want):
                    sensitive.add(seed)
                    print(f"graph {seed}: {precision} {off:.3g}, which the runtime moves by itself")
                else:
                    worst[precision] = max(worst[precision], off)
                    if not off <= LIMIT:
                        problem += f"{precision} {off:.3g} "
                if precision == "f64":
                    line = [i for i in said.splitlines() if i.startswith("tangent")][0].split()
                    tangent, reverse = float(line[1]), float(line[3])
                    worst["reverse"] = max(worst["reverse"], reverse)
                    if not reverse <= REVERSE_LIMIT:
                        problem += f"reverse {reverse:.3g} "
                    if tangent <= TANGENT_LIMIT:
                        worst["tangent"] = max(worst["tangent"], tangent)
                    else:
                        # a kink between the two points of a difference: rare, and counted
                        kinked += 1
                        print(f"graph {seed}: tangent beside difference {tangent:.3g}")
            if problem:
                bad += 1
                print(f"graph {seed} (opset {g.opset}, batch {g.batch}{' fixed' if g.fixed else ''}): "
                      f"{problem}\n    {' '.join(g.used)}")
                if options.keep:
                    pathlib.Path(options.keep).mkdir(parents=True, exist_ok=True)
                    onnx.save(model, pathlib.Path(options.keep) / f"random{seed}.onnx")
    done = options.graphs - skipped
    print("operators:", ", ".join(f"{o} {n}" for o, n in sorted(counts.items())))
    print(f"{done} graphs compared, {skipped} left out, {bad} deviate, {kinked} with a kink, "
          f"{len(sensitive)} sensitive; largest "
          "deviations: " + ", ".join(f"{k} {v:.2g}" for k, v in worst.items()))
    sys.exit(1 if bad or kinked > options.graphs // 50 else 0)


if __name__ == "__main__":
    main()
