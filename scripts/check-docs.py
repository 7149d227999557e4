#!/usr/bin/env python3
"""Runs the commands that README.md and the tutorials quote, and compares what they print.

    scripts/check-docs.py [--slow] [--print] [FILE.md ...]

Lines of a code block that begin with "$ " are run in order, all of a document in one temporary folder,
and must end with status 0. The lines below each, up to "...", are what it printed: nine of ten must be in
its output, where any number stands for any other (machines differ in the last digits). Further:

    ```python FILE              the block is written to FILE
    ```python                   run, all blocks of the document as one program, after the commands above it
    <!-- check: needs WHAT -->  skip the document where WHAT is not there: python:MODULE, tool:NAME,
                                file:NAME, a file in a folder of ISOVAE_DATA, which is linked in, or
                                build:installed, the library, which is installed from ISOVAE's folder
    <!-- check: skip -->        the next block is not run
    <!-- check: needs-block WHAT -->  likewise the next block
    <!-- check: slow -->        the next block is run with --slow only

--print writes what each command printed, to be quoted. A line "ok - DOCUMENT", "not ok - DOCUMENT" or
"ok - DOCUMENT # skip WHY" for each. Environment: ISOVAE (build/isovae), ISOVAE_PYTHON (the Python of
the blocks and of `python3`), ISOVAE_DATA.
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ISOVAE = Path(os.environ.get("ISOVAE", ROOT / "build/isovae")).absolute()
# not resolved: the Python of a virtual environment is a link
PYTHON = os.path.abspath(shutil.which(os.environ.get("ISOVAE_PYTHON", "python3")) or sys.executable)
DATA = os.environ.get("ISOVAE_DATA", str(ROOT.parent / "shared/data"))
DOCUMENTS = ["README.md", "docs/tutorials/*.md"]


def blocks(text):
    """[(marks, info, lines)] of the code blocks, fenced and indented, in order."""
    found, marks, lines, fence, info = [], [], [], False, ""
    for line in text.split("\n") + [""]:
        if fence:
            if line.startswith("```"):
                found.append((marks, info, lines))
                marks, lines, fence, info = [], [], False, ""
            else:
                lines.append(line)
        elif line.startswith("```"):
            fence, info = True, line[3:].strip()
        elif line.startswith("    ") and (lines or "$ " in line):
            lines.append(line[4:])
        elif not line.strip() and lines:
            lines.append("")
        else:
            if lines:
                found.append((marks, "", lines))
                marks, lines = [], []
            mark = re.match(r"<!-- check: (skip|slow|needs-block .*) -->", line)
            if mark:
                marks.append(mark[1])
    return found


def commands(lines):
    """[(command, quoted lines)] of a block."""
    found = []
    for line in lines:
        if line.startswith("$ "):
            found.append([line[2:], []])
        elif found and found[-1][0].endswith("\\") and not found[-1][1]:
            found[-1][0] += "\n" + line
        elif found:
            found[-1][1].append(line)
    return found


def missing(text, word="<!-- check: needs"):
    """What the document needs and this machine lacks, or None; and the files to link."""
    files = []
    for need in re.findall(word + r" (.*?)(?: -->|$)", text):
        for what in need.split():
            kind, name = what.split(":", 1)
            if kind == "file":
                places = glob.glob(f"{DATA}/*/{name}")
                if not places:
                    return f"there is no {name}", []
                files.append(os.path.abspath(places[0]))
            elif kind == "build" and not (ISOVAE.parent / "cmake_install.cmake").exists():
                return "there is no build folder", []
            elif kind == "tool" and not shutil.which(name):
                return f"there is no {name}", []
            elif kind == "python" and subprocess.run(
                [PYTHON, "-c", f"import {name}"], capture_output=True
            ).returncode:
                return f"there is no Python module {name}", []
    return None, files


def plain(line):
    line = re.sub(r"[-+]?\d[\d.,]*(e[-+]?\d+)?", "N", line)
    return re.sub(r"\s+", " ", line).strip()


def differences(quoted, printed):
    """The quoted lines that were not printed, if they are more than one in ten."""
    wanted = [plain(line) for line in quoted]
    wanted = [line for line in wanted if line and line != "..."]
    seen = {plain(line) for line in printed.split("\n")}
    lost = [line for line in wanted if line not in seen]
    return lost if len(lost) > len(wanted) // 10 else []


def install(prefix, environment):
    """What `make install` would do, where the commands find it."""
    subprocess.run(
        ["cmake", "--install", str(ISOVAE.parent), "--prefix", str(prefix)],
        check=True, stdout=subprocess.DEVNULL,
    )
    libraries = next(prefix.rglob("libisovae.so")).parent
    environment["PKG_CONFIG_PATH"] = str(libraries / "pkgconfig")
    environment["LD_LIBRARY_PATH"] = str(libraries)


def check(path, slow, show):
    text = path.read_text(encoding="utf-8")
    why, files = missing(text)
    if why:
        return None, why
    place = Path(tempfile.mkdtemp(prefix="isovae-docs-"))
    tools = place / ".bin"
    tools.mkdir()
    (tools / "isovae").symlink_to(ISOVAE)
    (tools / "python3").write_text(f'#!/bin/sh\nexec "{PYTHON}" "$@"\n')
    (tools / "python3").chmod(0o755)
    for file in files:
        (place / os.path.basename(file)).symlink_to(file)
    environment = dict(os.environ, PATH=f"{tools}:{os.environ['PATH']}", COLUMNS="80")
    environment["ISOVAE_ROOT"] = str(ROOT)
    if "build:installed" in text:
        install(place / ".installed", environment)
    wrong, program = [], ""

    def run(name, command, quoted):
        done = subprocess.run(
            command, cwd=place, env=environment, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        if show:
            print(f"$ {name}\n{done.stdout}")
        if done.returncode:
            wrong.append(f"status {done.returncode}: {name}\n{done.stdout[-1500:]}")
        elif differences(quoted, done.stdout):
            wrong.append(f"not as quoted: {name}\n" + "\n".join(differences(quoted, done.stdout)))

    try:
        for marks, info, lines in blocks(text):
            if "skip" in marks or ("slow" in marks and not slow) or wrong:
                continue
            if any(missing(mark, "needs-block")[0] for mark in marks):
                continue
            kind, _, name = info.partition(" ")
            if name:
                (place / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
            elif kind == "python":
                program += "\n".join(lines) + "\n"
                run("python: " + lines[0], [PYTHON, "-c", program], [])
            else:
                for command, quoted in commands(lines):
                    run(command, ["bash", "-c", command], quoted)
    finally:
        shutil.rmtree(place)
    return not wrong, "\n".join(wrong)


def main():
    options = [word for word in sys.argv[1:] if word.startswith("--")]
    names = [word for word in sys.argv[1:] if not word.startswith("--")]
    if set(options) - {"--slow", "--print"}:
        sys.exit(__doc__)
    paths = [Path(name).absolute() for name in names]
    if not paths:
        paths = [path for pattern in DOCUMENTS for path in sorted(ROOT.glob(pattern))]
    failed = False
    for path in paths:
        good, why = check(path, "--slow" in options, "--print" in options)
        name = os.path.relpath(path, ROOT)
        if good is None:
            print(f"ok - {name} # skip {why}")
        elif good:
            print(f"ok - {name}")
        else:
            print(f"not ok - {name}")
            print("\n".join("#   " + line for line in why.split("\n")))
            failed = True
        sys.stdout.flush()
    return failed


if __name__ == "__main__":
    sys.exit(main())
