#!/usr/bin/env python3
"""Writes the kept corpora of the data readers' fuzzers: a few tiny files of each kind.

Run in this folder; needs nothing but Python. The files are the same on every run."""
import gzip
import io
import pathlib
import struct
import zipfile

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


def main():
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


if __name__ == "__main__":
    main()
