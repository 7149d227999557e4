#!/usr/bin/env python3
"""Writes the kept corpora of the data readers' fuzzers: a few tiny files of each kind.

Run in this folder; needs nothing but Python. The files are the same on every run."""
import gzip
import io
import json
import pathlib
import struct
import zipfile
import zlib

ROOT = pathlib.Path(__file__).resolve().parent / "corpus"


def keep(fuzzer, name, content):
    folder = ROOT / fuzzer
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def npy(descr, shape, data, version=1, fortran=False):
    header = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}"
    prefix = 10 if version == 1 else 12
    header += " " * (-(prefix + len(header) + 1) % 16) + "\n"
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header.encode() + data


def npz(method, **arrays):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for key, content in arrays.items():
            info = zipfile.ZipInfo(key + ".npy", (1980, 1, 1, 0, 0, 0))
            info.compress_type = method
            with archive.open(info, "w", force_zip64=True) as member:
                member.write(content)
    return buffer.getvalue()


def idx(kind, shape, data):
    return bytes([0, 0, kind, len(shape)]) + b"".join(struct.pack(">I", n) for n in shape) + data


# The language of fuzz_h5ad.c.
def h5ad_numbers(*values):
    return bytes([len(values), 0]) + bytes(v + 4 for v in values)


def h5ad_names(kind, n):
    return bytes([kind, n, 7]) + b"".join(b"name%d\0\0\0" % i for i in range(n))


def png(color, depth, width, height, rows, extra=b""):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", packed)
            + chunk(b"IEND", b""))


# 8 x 8 pixels of grey, progressive, as libjpeg-turbo writes it.
JPEG = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffdb0043001b12141714111b1716171e1c1b2028422b2825"
    "2528513a3d3042605565645f555d5b6a7899816a7190735b5d85b586909ea3abadab6780bcc9baa6c799a8ab"
    "a4ffc2000b080008000801011100ffc40014000100000000000000000000000000000003ffda000801010000"
    "00012fffc4001510010100000000000000000000000000000013ffda000801010001050293ffc40014100100"
    "000000000000000000000000000000ffda0008010100063f027fffc400161000030000000000000000000000"
    "000000000161ffda0008010100013f21527fffda00080101000000107fffc400141001000000000000000000"
    "00000000000000ffda0008010100013f104fffd9")


def zip_of(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name.replace("_", "."), (1980, 1, 1, 0, 0, 0)), content)
    return buffer.getvalue()


def meta(rows, cols, names, note=b"", categories=()):
    numbers = struct.pack("<12Q", rows, cols, not categories, 0, 0, 0, 0, 0, 0, 0, 0, len(categories))

    def counted(data):
        return struct.pack("<Q", len(data)) + data

    return numbers + counted(bytes(rows)) + counted(note) + b"".join(map(counted, names)) + b"".join(
        struct.pack("<2Q", first, len(values)) + counted(column) + b"".join(map(counted, values))
        for first, column, values in categories)


def node(kind, source, output, **rest):
    inputs = source if isinstance(source, list) else [source]
    return {"name": output + "." + kind, "kind": kind, "inputs": inputs, "output": output, **rest}


def arch(use, encoder, decoder, **rest):
    """`use`: what the fuzzer makes it for: 0 a table of 3, 1: 8x8x1, 2: 5x4x3."""
    heads = [node("dense", "h", name, units="latents") for name in ("mu", "logvar")]
    draft = {"format": "isovae-arch/1", "encoder": encoder + heads, "decoder": decoder, **rest}
    return bytes([use]) + json.dumps(draft).encode()


def archs():
    act = {"activation": "silu"}
    keep("arch", "dense", arch(0, [node("dense", "x", "h", units=4, attributes=act)],
                               [node("dense", "z", "out", units="features", bias=False)]))
    keep("arch", "residual", arch(0, [node("dense", "x", "a", units=4),
                                      node("layer_norm", "a", "b"),
                                      node("dense", "b", "c", units=4, params={"weight": "w"}),
                                      node("dense", "c", "e", params={"weight": "w"}),
                                      node("add", ["a", "e"], "h")],
                                  [node("leaky_relu", "z", "a", attributes={"slope": 0.1}),
                                   node("concat", ["z", "a"], "b"), node("softmax", "b", "c"),
                                   node("dense", "c", "out", units=3)]))
    conv = {"stride": 2, "pads": 1}
    keep("arch", "conv", arch(1, [node("conv", "image", "a", units=4, kernel=4, attributes=conv),
                                  node("gdn", "a", "b"), node("batch_norm", "b", "c"),
                                  node("flatten", "c", "h")],
                              [node("dense", "z", "a", units=64),
                               node("reshape", "a", "b", attributes={"shape": [4, 4, 4]}),
                               node("gdn_inverse", "b", "c"),
                               node("conv_transpose", "c", "image", units=1, kernel=[4, 4],
                                    attributes={**conv, "output_padding": [0, 0]})],
                              pictures=True))
    keep("arch", "pools", arch(2, [node("max_pool", "image", "a",
                                        attributes={"kernel": [2, 1], "stride": [2, 1]}),
                                   node("average_pool", "a", "b", attributes={
                                       "kernel": 2, "pads": [1, 0, 0, 1], "count_include_pad": 1}),
                                   node("transpose", "b", "c", attributes={"perm": [3, 1, 2]}),
                                   {"name": "s", "kind": "split", "inputs": ["c"],
                                    "outputs": ["d", "e"], "attributes": {"axis": 1}},
                                   node("global_average_pool", "d", "g"),
                                   node("multiply", ["d", "g"], "i"), node("flatten", "i", "h")],
                               [node("dense", "z", "a", units=60),
                                node("reshape", "a", "b", attributes={"shape": [3, 5, 4]}),
                                node("group_norm", "b", "image", attributes={"groups": 3})],
                               pictures=True))
    keep("arch", "resize", arch(1, [node("flatten", "image", "h")],
                                [node("dense", "z", "a", units=16),
                                 node("reshape", "a", "b", attributes={"shape": [4, 2, 2]}),
                                 node("pixel_shuffle", "b", "c", attributes={"factor": 2}),
                                 node("upsample_nearest", "c", "d", attributes={"scale": [2, 1]}),
                                 node("upsample_bilinear", "d", "image",
                                      attributes={"scale": [1, 2]})], pictures=True))
    keep("arch", "general", arch(0, [node("dense", "x", "a", units=6),
                                     node("reshape", "a", "b", attributes={"shape": [2, 3]}),
                                     node("matmul", "b", "c", units=3),
                                     node("take", "c", "d", attributes={"map": [1, -1, 0, 2],
                                                                        "axis": 2, "fill": 0.5}),
                                     node("mish", "d", "a2"),
                                     node("where", ["d", "d", "a2"], "e"),
                                     node("reduce", "e", "h", attributes={
                                         "function": "l2", "axes": [1]})],
                                 [node("clip", "z", "a", attributes={"min": -1}),
                                  node("divide", "a", "b", attributes={
                                      "value": 2, "constant_first": 1}),
                                  node("log_softmax", "b", "c"),
                                  node("less", ["c", "z"], "d"),
                                  node("dense", "d", "out", units=3)]))
    keep("arch", "large", arch(0, [node("dense", "x", "h", units=1 << 20)],
                               [node("dense", "z", "a", units=1 << 20),
                                node("dense", "a", "out", units=1 << 20)]))


def mat_part(order, kind, data):
    """A part with its tag, padded to 8 bytes."""
    return struct.pack(order + "II", kind, len(data)) + data + bytes(-len(data) % 8)


def mat(order, kind, shape, name, *parts, flags=0):
    """A variable of a MATLAB 5 file: class, shape, name, and what follows them."""
    body = mat_part(order, 6, struct.pack(order + "II", kind | flags, 4))
    body += mat_part(order, 5, struct.pack(order + "%di" % len(shape), *shape))
    body += mat_part(order, 1, name) + b"".join(parts)
    return mat_part(order, 14, body)


def mats():
    doubles = mat_part("<", 9, struct.pack("<6d", 1, 2, 3, 4, 5, 6))
    plain = mat("<", 6, (3, 2), b"X", doubles)
    packed = zlib.compress(plain)
    sparse = mat("<", 5, (4, 3), b"s", mat_part("<", 5, struct.pack("<3i", 0, 2, 1)),
                 mat_part("<", 5, struct.pack("<4i", 0, 2, 2, 3)),
                 mat_part("<", 9, struct.pack("<3d", 1.5, -2, 4)))
    keep("mat", "double", b"\0" + plain)
    keep("mat", "packed", b"\0" + struct.pack("<II", 15, len(packed)) + packed)
    keep("mat", "sparse", b"\0" + sparse)
    keep("mat", "big", b"\1" + mat(">", 10, (2, 2), b"s", mat_part(">", 1, b"\1\2\3\xff")))
    keep("mat", "bytes_as_double", b"\0" + mat("<", 6, (4, 1), b"X", mat_part("<", 2, b"abcd")))
    keep("mat", "rank_3", b"\0" + mat("<", 9, (2, 2, 2), b"X", mat_part("<", 2, b"abcdefgh")))
    keep("mat", "promises", b"\0" + mat("<", 6, (2**31 - 1, 2**31 - 1), b"X", doubles))
    keep("mat", "two", b"\0" + mat("<", 4, (1, 2), b"t", mat_part("<", 4, b"a\0b\0")) + plain)


def main():
    archs()
    mats()
    small = struct.pack("<6f", 1, 2, 3, 4, 5, 6)
    keep("npy", "f4", npy("<f4", "(3, 2)", small))
    keep("npy", "f8_big_fortran", npy(">f8", "(2, 2)", struct.pack(">4d", 1, 2, 3, 4), fortran=True))
    keep("npy", "f2", npy("<f2", "(4,)", struct.pack("<4e", 0.5, -2, 65504, 6e-8)))
    keep("npy", "u1_images", npy("|u1", "(2, 2, 3)", bytes(range(12)), version=2))
    keep("npy", "u1_channels", npy("|u1", "(1, 3, 2, 2)", bytes(range(12)), version=3))
    keep("npy", "i8", npy("<i8", "(2, 1L)", struct.pack("<2q", -1, 2**60)))
    keep("npy", "b1", npy("|b1", "(3,)", b"\0\1\1"))
    keep("npy", "object", npy("|O", "(1,)", b"\x80\x04N."))
    keep("npy", "promises", npy("<f8", "(18446744073709551615, 3)", small))
    keep("npz", "one", npz(zipfile.ZIP_DEFLATED, a=npy("<f4", "(3, 2)", small)))
    keep("npz", "two_stored", npz(zipfile.ZIP_STORED, a=npy("<f4", "(3, 2)", small),
                                  b=npy("|u1", "(4,)", b"abcd")))
    keep("npz", "empty", npz(zipfile.ZIP_STORED))
    keep("idx", "u8", idx(8, (2, 2, 2), bytes(range(8))))
    keep("idx", "i16", idx(11, (3,), struct.pack(">3h", 1, -2, 3)))
    keep("idx", "f32", idx(13, (2, 1), struct.pack(">2f", 1, -2)))
    keep("idx", "f64", idx(14, (1, 1, 1, 1), struct.pack(">d", 0.5)))
    keep("idx", "promises", idx(8, (4294967295,) * 4, b"12"))
    keep("gzip", "text", gzip.compress(b"a,b\n1,2\n", mtime=0))
    keep("gzip", "two_members", gzip.compress(b"1\n", mtime=0) + gzip.compress(b"2\n", mtime=0))
    keep("gzip", "zeros", gzip.compress(bytes(5000), mtime=0))
    keep("csv", "commas", b"\0" + b"a,b,c\n1,2,3\n4.5,-6e2,7\n")
    keep("csv", "label", b"\3" + b'x,name,y\r\n1,"a ""b"", c",2\r\n3,d,4\r\n')
    keep("csv", "blanks", b"\0" + b"  1   2 3 \n 4 5 6\n\n")
    keep("csv", "semicolons", b"\1" + b"\xef\xbb\xbf1,5;2\n?;NA\n")
    keep("csv", "tabs", b"\2" + b"a\ta\ta\n1\t\tnan\n")
    keep("csv", "returns", b"\0" + b"1,2\r3,4\r")
    keep("csv", "newline_in_quotes", b"\0" + b'"1\n",2\n3,"4"\n')
    keep("csv", "ragged", b"\0" + b"1,2,3\n4,5\n6,7,8,9\n")
    vectors = h5ad_numbers(0, 2, 2, 5) + h5ad_numbers(1, 3, 0, 2, 0) + h5ad_numbers(1, 2, 3, 5, 4)
    none = bytes(3)
    keep("h5ad", "csr", bytes([0, 7, 8]) + vectors + none + none)
    keep("h5ad", "csc", bytes([1, 8, 7]) + vectors + none + none)
    keep("h5ad", "old_table", bytes([2, 7, 8]) + vectors + h5ad_names(1, 4) + h5ad_names(2, 3))
    keep("h5ad", "groups", bytes([0, 7, 8]) + vectors + h5ad_names(3, 4) + h5ad_names(4, 3))
    keep("h5ad", "wrong_count", bytes([0, 7, 8]) + vectors + h5ad_names(3, 5) + h5ad_names(6, 3))
    rgb = png(2, 8, 3, 2, [bytes(range(9)), bytes(range(9, 18))])
    palette = struct.pack(">I", 6) + b"PLTE" + b"\1\2\3\4\5\6"
    palette += struct.pack(">I", zlib.crc32(b"PLTE" + b"\1\2\3\4\5\6"))
    keep("picture", "rgb", b"\x22\x02" + rgb)
    keep("picture", "grey_deep", b"\x05\x45" + png(0, 16, 2, 2, [b"\1\2\3\4", b"\5\6\7\x08"]))
    keep("picture", "alpha", b"\x25\x25" + png(6, 8, 1, 3, [b"abcd", b"efgh", b"ijkl"]))
    keep("picture", "palette", b"\x05\x05" + png(3, 1, 8, 1, [b"\x5a"], palette))
    keep("picture", "jpeg", b"\x07\x07" + JPEG)
    keep("picture", "promises", b"\0\0" + png(2, 8, 2**31 - 1, 2**31 - 1, []))
    keep("picture_zip", "two", zip_of(a_png=rgb, b_jpg=JPEG))
    keep("picture_zip", "text", zip_of(a_txt=b"text"))
    keep("picture_zip", "array", zip_of(a_npy=b"text", b_png=rgb))
    keep("row_cache", "bytes", b"\3" + meta(24, 4, [b"a", b"b", b"c", b"d"], b"a note"))
    keep("row_cache", "categories", b"\7" + meta(12, 2, [b"a=x", b"a=y"],
                                                 categories=[(0, b"a", [b"x", b"y"])]))
    keep("row_cache", "unnamed", b"\0" + meta(96, 1, [b"c1"]))


if __name__ == "__main__":
    main()
