#!/usr/bin/env python3
"""The experiments: runs what has not been run, and writes docs/results.md and an HTML page.

    repro/run.py [NAME ...] [--full] [--smoke] [--write-only]

NAME is one of the experiments below (default: all). Without --full what takes two cores an hour at
most, all of it together. --smoke runs a short form of everything into a folder of its own: that it
works, not what comes out. Results are kept below OUT, and a run that was stopped goes on there.
Exit status: 0, 1 where a job failed, 130 when interrupted.
"""
import argparse
import importlib
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lab import Failed, Lab  # noqa: E402

NAMES = ["toy", "linear", "sweeps", "trust", "images", "anomaly", "cells", "calibration"]


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--full", action="store_true", help="also what takes hours")
    parser.add_argument("--smoke", action="store_true", help="a short form of each")
    parser.add_argument("--write-only", action="store_true", help="run nothing, write the pages")
    parser.add_argument("--isovae", default=os.path.join(root, "build/isovae"))
    parser.add_argument("--data", default=os.environ.get("ISOVAE_DATA",
                                                         os.path.join(root, "../shared/data")))
    parser.add_argument("--out", help="default build/repro; build/repro-smoke with --smoke")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error(f"no experiment {unknown[0]}: they are {', '.join(NAMES)}")
    out = options.out or os.path.join(root, "build", "repro-smoke" if options.smoke else "repro")
    os.makedirs(out, exist_ok=True)
    try:
        lab = Lab(options.isovae, os.path.abspath(options.data), out, options.full, options.smoke)
    except (Failed, OSError) as error:
        sys.exit(f"{error}\nbuild it first: make")
    every = {name: importlib.import_module(name) for name in NAMES
             if os.path.exists(os.path.join(root, "repro", name + ".py"))}
    chosen = {name: module for name, module in every.items()
              if not options.names or name in options.names}
    failed = 0
    try:
        if not options.write_only:
            failed = lab.run(chosen)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    # a smoke run's pages and those of a try elsewhere are no results of the project
    own = not options.smoke and not options.out
    markdown = os.path.join(root, "docs/results.md") if own else os.path.join(out, "results.md")
    page = os.path.join(out, "results.html")
    lab.write(every, markdown, page)
    print(f"{markdown}\n{page}")
    if failed:
        print(f"{failed} jobs failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
