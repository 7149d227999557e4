#!/usr/bin/env python3
"""Writes docs/c-api.md from the public header: its comments as text, its declarations as code.

    scripts/c-api-docs.py [--check]

--check writes nothing and ends with status 1 where the page is not what would be written.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEADER = ROOT / "include/isovae/isovae.h"
PAGE = ROOT / "docs/c-api.md"
HEAD = """# The C library

<!-- Written by scripts/c-api-docs.py from include/isovae/isovae.h; do not edit. -->

`#include <isovae/isovae.h>`; link with `pkg-config --cflags --libs isovae`, or CMake's `find_package(isovae)` and
`isovae::isovae`. What is marked *(not in libisovae-runtime)* needs the full library ([service.md](service.md)); a
worked example is [anomaly scores in a C service](tutorials/c-service.md), whole programs are in
[examples](../examples). Every call that can fail returns a status and takes an `isovae_error *`, which may be NULL.

"""


def comment(text):
    """The words of a comment as one line for Markdown."""
    words = re.sub(r"\n\s*\*(?!/) ?", "\n", text[2:-2])
    paragraphs = re.split(r"\n\s*\n", words.strip())
    lines = "\n\n".join(re.sub(r"\s+", " ", paragraph) for paragraph in paragraphs)
    return lines.replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def tidy(lines):
    """A declaration without the macros that say nothing to a reader."""
    text = "\n".join(lines)
    text = re.sub(r"ISOVAE_API |ISOVAE_MUST_CHECK\s+", "", text)
    # arguments that stood below the opening parenthesis
    return re.sub(r"\n {8,}(?=\S)(?![^{]*\})", "\n        ", text)


def page():
    text = HEADER.read_text(encoding="utf-8")
    out, lines, place = HEAD, text.split("\n"), 0
    full = False  # inside of #ifndef ISOVAE_RUNTIME_ONLY
    title, told = "Status, errors, version", None
    code = []

    def flush():
        nonlocal out, code, told, title
        if not code:
            return
        if title:
            out += f"## {title}\n\n"
            title, told = None, None
        if full and told is not True:
            out += "*(not in libisovae-runtime)*\n\n"
        told = full
        out += "```c\n" + tidy(code) + "\n```\n\n"
        code = []

    def heading():
        nonlocal out, title
        if title:
            out += f"## {title}\n\n"
            title = None

    # the part between extern "C" { and its end, after the macros
    place = next(i for i, line in enumerate(lines) if line.startswith("/* What a call came to"))
    end = next(i for i in range(place, len(lines)) if lines[i] == "#ifdef __cplusplus")
    while place < end:
        line = lines[place]
        section = re.match(r"/\* -+ (.*?) -+ \*/$", line)
        if line.startswith("#ifndef ISOVAE_RUNTIME_ONLY"):
            flush()
            full = True
        elif line.startswith("#endif"):
            flush()
            full = False
        elif section:
            flush()
            title = section[1][0].upper() + section[1][1:]
            told = None
        elif line.startswith("/*"):
            flush()
            start = place
            while "*/" not in lines[place]:
                place += 1
            heading()
            out += comment("\n".join(lines[start : place + 1])) + "\n\n"
        elif line.strip():
            code.append(line)
            depth = line.count("{") - line.count("}")
            while depth > 0 or not re.search(r"[;)]\s*(/\*.*)?$|\*/$", lines[place]):
                place += 1
                code.append(lines[place])
                depth += lines[place].count("{") - lines[place].count("}")
        place += 1
    flush()
    return re.sub(r"\n{3,}", "\n\n", out).rstrip() + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
            print("     docs/c-api.md is not of this header; run scripts/c-api-docs.py")
            sys.exit(1)
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        PAGE.write_text(page(), encoding="utf-8")
