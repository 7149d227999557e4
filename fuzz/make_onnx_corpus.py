#!/usr/bin/env python3
"""Writes the kept corpus of fuzz_onnx: a tiny model for each operator or family of them.

Run in this folder; needs nothing but Python. The files are the same on every run."""
import pathlib
import struct

ROOT = pathlib.Path(__file__).resolve().parent / "corpus" / "onnx"


def varint(n):
    n &= 2**64 - 1
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    """An integer, a float, or bytes (also of a message)."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(name, dims, values, kind=1):
    data = struct.pack("<%d%s" % (len(values), {1: "f", 7: "q", 9: "?", 11: "d"}[kind]), *values)
    return b"".join(field(1, d) for d in dims) + field(2, kind) + field(8, name) + field(9, data)


def attribute(name, value):
    out = field(1, name)
    if isinstance(value, bool):
        value = int(value)
    if isinstance(value, int):
        return out + field(3, value) + field(20, 2)
    if isinstance(value, float):
        return out + field(2, value) + field(20, 1)
    if isinstance(value, str):
        return out + field(4, value) + field(20, 3)
    if isinstance(value, bytes):  # a tensor
        return out + field(5, value) + field(20, 4)
    if isinstance(value, tuple):  # a graph
        return out + field(6, value[0]) + field(20, 5)
    return out + b"".join(field(8, i) for i in value) + field(20, 7)


def node(op, inputs, outputs, domain="", **attributes):
    out = b"".join(field(1, i) for i in inputs.split(" ")) if inputs else b""
    out += b"".join(field(2, o) for o in outputs.split(" "))
    out += field(3, op + "_" + outputs) + field(4, op)
    out += b"".join(field(5, attribute(k, v)) for k, v in attributes.items())
    return out + (field(7, domain) if domain else b"")


def info(name, *dims):
    shape = b"".join(field(1, field(1, d) if isinstance(d, int) else field(2, d)) for d in dims)
    return field(1, name) + field(2, field(1, field(1, 1) + (field(2, shape) if dims else b"")))


def graph(nodes, inits=(), inputs=(), outputs=("y",)):
    out = b"".join(field(1, n) for n in nodes) + field(2, "g")
    out += b"".join(field(5, t) for t in inits) + b"".join(field(11, i) for i in inputs)
    return out + b"".join(field(12, info(o)) for o in outputs)


def keep(name, nodes, inits=(), row=(2, 4, 4), opset=17, batch="N", outputs=("y",), functions=()):
    model = field(1, 8) + field(7, graph(nodes, inits, [info("x", batch, *row)], outputs))
    model += field(8, field(1, "") + field(2, opset)) + b"".join(field(25, f) for f in functions)
    ROOT.mkdir(parents=True, exist_ok=True)
    (ROOT / name).write_bytes(model)


def floats(name, *dims):
    n = 1
    for d in dims:
        n *= d
    return tensor(name, dims, [0.5 - i % 3 for i in range(n)])


def ints(name, *values):
    return tensor(name, [len(values)], values, 7)


def chain(*ops):
    """Operators of one input, one behind the other, from x by a to y."""
    names = ["x", "a"] + ["t%d" % i for i in range(len(ops) - 2)] + ["y"]
    return [node(op, names[i], names[i + 1]) for i, op in enumerate(ops)]


def main():
    keep("functions_1", chain("Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Sigmoid", "Tanh"), row=(3,))
    keep("functions_2", chain("Abs", "Sqrt", "Exp", "Neg", "Erf", "Floor", "Round", "Not"), row=(3,))
    keep("functions_3", chain("HardSwish", "Mish", "Gelu", "Softplus", "Identity"), row=(3,), opset=20)
    keep("clip", [node("Clip", "x a b", "y")], [floats("a"), tensor("b", [], [2.0])], row=(3,))
    keep("arithmetic", [node("Add", "x c", "a"), node("Mul", "c a", "b"), node("Pow", "b d", "e"),
                        node("Max", "e a x", "f"), node("Div", "f x", "y")],
         [floats("c", 4, 1), floats("d")], row=(4, 3))
    keep("where", [node("Greater", "x c", "a"), node("Where", "a x c", "b"),
                   node("Cast", "a", "d", to=1), node("Sub", "b d", "y")], [floats("c", 3)], row=(3,))
    keep("gemm", [node("Gemm", "x w b", "a", transB=1, alpha=0.5), node("Relu", "a", "y")],
         [floats("w", 2, 3), floats("b", 2)], row=(3,))
    keep("matmul", [node("MatMul", "x w", "a"), node("Add", "a b", "c"), node("MatMul", "v c", "y")],
         [floats("w", 3, 2), floats("b", 2), floats("v", 2, 2)], row=(2, 3))
    keep("einsum", [node("Einsum", "x x", "a", equation="bij,bkj->bik"),
                    node("Softmax", "a", "y", axis=-1)], row=(2, 3))
    keep("attention", [node("Reshape", "x s", "a"), node("Transpose", "a", "b", perm=[0, 2, 1, 3]),
                       node("Transpose", "b", "c", perm=[0, 1, 3, 2]), node("MatMul", "b c", "d"),
                       node("Softmax", "d", "e"), node("MatMul", "e b", "y")],
         [ints("s", 0, 3, 2, 2)], row=(3, 4))
    keep("merged", [node("Reshape", "x s", "a"), node("Gemm", "a w", "b"), node("Reshape", "b t", "y")],
         [ints("s", -1, 4), floats("w", 4, 2), ints("t", -1, 3, 2)], row=(3, 4))
    keep("shapes", [node("Shape", "x", "a"), node("Gather", "a z", "n"), node("Mul", "n two", "m"),
                    node("Div", "m two", "o"), node("Concat", "o open", "s", axis=0),
                    node("Reshape", "x s", "y")], [ints("z", 0), ints("two", 2), ints("open", -1)])
    keep("fixed", [node("Reshape", "x s", "a"), node("Squeeze", "a z", "b"), node("Unsqueeze", "b z", "y")],
         [ints("s", 1, 32), ints("z", 0)], batch=1)
    keep("constants", [node("Constant", "", "a", value=floats("v", 3)), node("Range", "p q r", "b"),
                       node("Cast", "b", "c", to=1), node("Add", "a c", "d"), node("Mul", "x d", "e"),
                       node("Shape", "e", "f"), node("ConstantOfShape", "f", "g"), node("Sub", "e g", "y")],
         [tensor("p", [], [0], 7), tensor("q", [], [3], 7), tensor("r", [], [1], 7)], row=(3,))
    keep("conv", [node("Conv", "x w b", "a", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
                  node("BatchNormalization", "a b b b v", "c"), node("Relu", "c", "y")],
         [floats("w", 3, 2, 3, 3), floats("b", 3), tensor("v", [3], [1.0, 2.0, 0.5])])
    keep("conv_1", [node("Conv", "x w", "a", strides=[2], auto_pad="SAME_UPPER", group=2),
                    node("ConvTranspose", "a w", "y", strides=[2], output_padding=[1], group=2)],
         [floats("w", 2, 1, 3)], row=(2, 5))
    keep("conv_3", [node("Conv", "x w", "a"), node("ConvTranspose", "a w", "y")],
         [floats("w", 1, 1, 2, 1, 2)], row=(1, 2, 2, 3))
    keep("pools", [node("MaxPool", "x", "a", kernel_shape=[2, 2], ceil_mode=1),
                   node("AveragePool", "a", "b", kernel_shape=[2, 2], pads=[1, 0, 0, 1]),
                   node("GlobalAveragePool", "b", "y")])
    keep("pool_3", [node("AveragePool", "x", "a", kernel_shape=[2, 2, 2]),
                    node("GlobalMaxPool", "a", "y")], row=(1, 2, 3, 3))
    keep("norms", [node("InstanceNormalization", "x s s", "a"), node("LayerNormalization", "a l", "b"),
                   node("GroupNormalization", "b s s", "y", num_groups=2)],
         [floats("s", 2), floats("l", 4)], opset=21)
    keep("resize", [node("Resize", "x r s", "a", mode="linear"), node("Resize", "a r r z", "b"),
                    node("Resize", "b r s", "y", mode="cubic")],
         [tensor("r", [0], []), tensor("s", [4], [1.0, 1.0, 2.0, 1.5]), ints("z", 1, 2, 3, 7)], batch=1)
    keep("upsample", [node("Upsample", "x s", "a", mode="nearest"), node("DepthToSpace", "b", "y", blocksize=1),
                      node("SpaceToDepth", "a", "b", blocksize=2)][::2] +
         [node("DepthToSpace", "b", "y", blocksize=1)], [tensor("s", [4], [1.0, 1.0, 2.0, 2.0])], opset=9)
    keep("picks", [node("Slice", "x p q r u", "a"), node("Gather", "a i", "b", axis=1),
                   node("Pad", "b d", "c", mode="reflect"), node("Tile", "c t", "e"),
                   node("Split", "e", "f g", axis=3), node("Concat", "g f", "y", axis=1)],
         [ints("p", 0, -1), ints("q", 9, -9), ints("r", 2, 3), ints("u", 1, -1), ints("i", 1, -1, 0),
          ints("d", 0, 0, 1, 0, 0, 0, 1, 0), ints("t", 1, 1, 1, 2)])
    keep("expand", [node("Unsqueeze", "x p", "a"), node("Expand", "a s", "b"), node("Trilu", "b", "y")],
         [ints("p", 1), ints("s", 1, 3, 2, 2)], row=(2, 2))
    keep("sums", [node("ReduceMean", "x", "a", axes=[2], keepdims=0), node("ReduceL2", "a", "b", axes=[-1]),
                  node("ReduceLogSumExp", "x", "c", axes=[1, 2, 3]), node("LogSoftmax", "a", "d", axis=1),
                  node("Sum", "b d", "y")])
    keep("sampling", [node("Exp", "x", "a"), node("RandomNormalLike", "a", "e"), node("Mul", "e a", "n"),
                      node("Add", "x n", "y")], row=(3,))
    keep("branch", [node("Shape", "x", "a"), node("Gather", "a o", "n"), node("Equal", "n n", "t"),
                    node("If", "t", "y", then_branch=(graph([node("Neg", "x", "r")], outputs=["r"]),),
                         else_branch=(graph([node("Abs", "x", "r")], outputs=["r"]),))], [ints("o", 1)])
    mine = field(1, "Mine") + field(4, "p") + field(5, "q") + field(6, "s")
    mine += field(7, node("Elu", "p", "q")) + field(10, "here")
    keep("function", [node("Mine", "x", "a", domain="here", s=0.5), node("Mine", "a", "y", domain="here")],
         functions=[mine])
    keep("einsum_open", [node("Einsum", "w x w", "a", equation="ij,...jk,kl->...il"),
                         node("Einsum", "a", "y", equation="bii->bi")], [floats("w", 3, 3)], row=(3, 3))
    keep("tensorflow", [node("IsNaN", "x", "n"), node("IsInf", "x", "i"), node("Or", "n i", "o"),
                        node("Erfc", "x", "e"), node("Expm1", "e", "m"), node("Where", "o x m", "w"),
                        node("Shape", "x", "s"), node("StatelessRandomNormalV2", "s", "r"),
                        node("Add", "w r", "y")], row=(3,))
    keep("slices", [node("Transpose", "x", "t", perm=[1, 2, 0]), node("GatherND", "t k", "g"),
                    node("Transpose", "g", "y", perm=[1, 0])],
         [tensor("k", [2, 2], [0, -1, 1, 0], 7)], row=(2, 3))
    outside = field(1, 3) + field(2, 1) + field(8, "w") + field(14, 1)
    outside += field(13, field(1, "location") + field(2, "../w.bin"))
    keep("outside", [node("Add", "x w", "y")], [outside], row=(3,))
    keep("giant", [node("Add", "x w", "y")], [field(1, 1 << 40) + field(1, 1 << 20) + field(2, 1) +
                                              field(8, "w") + field(9, b"1234")])
    keep("cycle", [node("Add", "x y", "a"), node("Relu", "a", "y")])


if __name__ == "__main__":
    main()
