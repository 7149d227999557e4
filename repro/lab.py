"""What the experiments share: jobs that are run once and kept, the public command, pages of results.

An experiment is a module beside this one with

    TITLE    its heading
    jobs(lab)            the list of its Jobs
    page(lab, records)   a list of blocks (str: a paragraph of Markdown; Table; Picture) from the
                         records of its jobs that are finished: {key: {"figures": ..., ...}}

A job is a call that returns a dict of figures (plain JSON). Its record is one file,
OUT/EXPERIMENT/KEY.json, written whole when the job is done; a job whose record is there with the
same settings is not run again, so a run that was stopped goes on where it was. What a job wants to
keep besides (models, reports) goes into its own folder, `work.folder`.
"""
import base64
import contextlib
import html
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Callable


@dataclass
class Job:
    key: str
    run: Callable  # (work, **settings) -> dict
    settings: dict = field(default_factory=dict)  # all that decides the figures, the seed too
    full: bool = False  # only with --full
    threads: int = 1  # jobs side by side hold at most as many as there are cores
    needs: tuple = ()  # data files below ISOVAE_DATA; the job is left out where one is missing


@dataclass
class Table:
    head: list
    rows: list  # of str, or numbers: see cell()
    caption: str = ""


@dataclass
class Picture:
    path: str  # of a PNG or SVG
    caption: str


class Failed(Exception):
    pass


class Work:
    """One job at work: the command with what is asked of it, and what its record will say."""

    def __init__(self, lab, experiment, job):
        self.lab, self.threads = lab, job.threads
        self.folder = os.path.join(lab.out, experiment, job.key)
        self.hashes = {}
        self.cpu = 0.0  # seconds of children
        os.makedirs(self.folder, exist_ok=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def isovae(self, command, *arguments, codes=(0,)):
        """Runs the public command; its standard output. Not for the figures: see report."""
        line = [self.lab.isovae, command, *map(str, arguments)]
        if "--threads" not in line and command in ("fit", "report", "score", "encode", "sweep",
                                                   "stability", "drift", "decode"):
            line += ["--threads", str(self.threads)]
        if command != "info":
            line.append("-q")
        return run_child(line, codes, self)

    def fit(self, data, *options, name="model", resume=True):
        """A model file; (path, seconds). What is there is kept; a checkpoint is gone on from."""
        model = self.path(name + ".safetensors")
        note = model + ".seconds"
        if not os.path.exists(note):
            started = time.time()
            more = ["--resume", model + ".ckpt"] if resume else []
            self.isovae("fit", data, "-o", model, *options, *more)
            replace(note, f"{time.time() - started:.1f}\n")
        with open(note) as file:
            return model, float(file.read())

    def report(self, model, data, *options, name="report"):
        """The JSON report as a dict."""
        out = self.path(name + ".json")
        self.isovae("report", model, data, "--json", out, *options)
        with open(out) as file:
            report = json.load(file)
        self.hashes[os.path.basename(str(data))] = report["provenance"]["data_hash"]
        return report


def run_child(line, codes=(0,), work=None):
    """Standard output; the processor time goes to `work`, for wall time counts what else runs."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if work is not None:
            work.cpu += usage.ru_utime + usage.ru_stime
        out.seek(0)
        err.seek(0)
        if child.returncode not in codes:
            raise Failed(f"{' '.join(line)}: exit {child.returncode}\n{err.read()[-2000:]}")
        return out.read()


def replace(path, text):
    """Writes a file whole or not at all."""
    with open(path + ".new", "w") as file:
        file.write(text)
    os.replace(path + ".new", path)


def machine():
    model = "unknown processor"
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        names = re.findall(r"model name\s*: (.*)", file.read())
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores"


class Lab:
    def __init__(self, isovae, data, out, full=False, smoke=False):
        self.isovae, self.data, self.out = isovae, data, out
        self.full, self.smoke = full, smoke
        self.cores = os.cpu_count() or 1
        self.version = run_child([isovae, "--version"]).split("\n")[0].strip()
        self.machine = machine()
        self.started = time.time()
        self.lock = threading.Condition()
        self.free = self.cores

    def file(self, name):
        """A file of the data folder."""
        return os.path.join(self.data, name)

    def here(self, name):
        return os.path.exists(self.file(name))

    # ---- running ----

    def record_path(self, experiment, key):
        return os.path.join(self.out, experiment, key + ".json")

    def read(self, experiment, job):
        with contextlib.suppress(OSError, ValueError), \
                open(self.record_path(experiment, job.key)) as file:
            record = json.load(file)
            if record["settings"] == plain(job.settings):
                return record
        return None

    @contextlib.contextmanager
    def cores_of(self, count):
        count = min(count, self.cores)
        with self.lock:
            self.lock.wait_for(lambda: self.free >= count)
            self.free -= count
        try:
            yield
        finally:
            with self.lock:
                self.free += count
                self.lock.notify_all()

    def do(self, experiment, job):
        with self.cores_of(job.threads):
            folder = os.path.join(self.out, experiment, job.key)
            settings = os.path.join(folder, "settings")
            text = json.dumps(plain(job.settings), sort_keys=True)
            # what another setting left must not be taken for this one's
            if os.path.exists(settings) and open(settings).read() != text:
                shutil.rmtree(folder)
            work = Work(self, experiment, job)
            replace(settings, text)
            started, own = time.time(), time.thread_time()
            figures = job.run(work, **job.settings)
            cpu = work.cpu + time.thread_time() - own
            record = {"settings": plain(job.settings), "figures": plain(figures),
                      "data": work.hashes, "seconds": round(time.time() - started, 1),
                      "cpu_seconds": round(cpu, 1),
                      "threads": job.threads, "version": self.version, "machine": self.machine,
                      "finished": time.strftime("%Y-%m-%d")}
            replace(self.record_path(experiment, job.key), json.dumps(record, indent=1) + "\n")
            return record["seconds"]

    def run(self, experiments):
        """{name: module} -> number of failed jobs. Progress to standard error."""
        todo, skipped = [], 0
        for name, module in experiments.items():
            for job in module.jobs(self):
                if job.full and not self.full:
                    continue
                if not all(self.here(file) for file in job.needs):
                    skipped += 1
                elif self.read(name, job) is None:
                    todo.append((name, job))
        if skipped:
            print(f"{skipped} jobs are left out: their data are not below {self.data}",
                  file=sys.stderr)
        failed = done = 0
        with ThreadPoolExecutor(max_workers=self.cores) as pool:
            waiting = {}
            queue = iter(todo)
            try:
                while True:
                    while len(waiting) < self.cores:
                        name, job = next(queue, (None, None))
                        if job is None:
                            break
                        waiting[pool.submit(self.do, name, job)] = (name, job)
                    if not waiting:
                        break
                    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                        name, job = waiting.pop(future)
                        done += 1
                        try:
                            text = f"{future.result():.0f} s"
                        except Failed as error:
                            failed += 1
                            text = f"FAILED\n{error}"
                        print(f"[{done}/{len(todo)}, {(time.time() - self.started) / 60:.1f} min] "
                              f"{name}/{job.key}: {text}", file=sys.stderr, flush=True)
            except KeyboardInterrupt:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return failed

    # ---- the pages ----

    def records(self, name, module):
        records = {}
        for job in module.jobs(self):
            record = self.read(name, job)
            if record is not None:
                records[job.key] = record
        return records

    def write(self, experiments, markdown, page):
        """All that is finished, as Markdown (pictures beside it) and as one HTML page."""
        beside = os.path.splitext(markdown)[0]
        lines = ["# Results", "", "Written by `make repro` and `make repro-full` from what they "
                 "measured; not by hand.", ""]
        body = ["<h1>isovae: results</h1>"]
        for name, module in experiments.items():
            records = self.records(name, module)
            blocks = [origin(records), *module.page(self, records)] if records else \
                ["Not run here."]
            lines += [f"## {module.TITLE}", ""]
            body.append(f"<h2>{html.escape(module.TITLE)}</h2>")
            for block in blocks:
                lines += [markdown_of(block, name, beside), ""]
                body.append(html_of(block))
        replace(markdown, "\n".join(lines).rstrip() + "\n")
        replace(page, PAGE.format(body="\n".join(body)))


def origin(records):
    """Where a section's figures come from."""
    every = list(records.values())
    seeds = sorted({r["settings"]["seed"] for r in every if "seed" in r["settings"]})
    seeds = f"seeds {', '.join(map(str, seeds))}" if seeds else "seed 1"
    hashes = {k: v for r in every for k, v in r["data"].items()}
    data = "; data " + ", ".join(f"{k} `{v}`" for k, v in sorted(hashes.items())[:6]) \
        if hashes else ""
    more = f" and {len(hashes) - 6} more" if len(hashes) > 6 else ""
    minutes = sum(r.get("cpu_seconds", r["seconds"]) for r in every) / 60
    return (f"*{len(every)} jobs, {minutes:.1f} core minutes; {seeds}{data}{more}; "
            f"{every[-1]['version']}, {every[-1]['machine']}, "
            f"{max(r['finished'] for r in every)}.*")


def plain(value):
    """As JSON has it: numbers of other kinds become Python's, what is not finite null."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def cell(value):
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}" if 0.01 <= abs(value) < 1000 or value == 0 else f"{value:.3g}"
    return str(value)


def mean(values):
    values = [v for v in values if v is not None]
    return sum(values) / len(values) if values else None


def sd(values):
    """Standard deviation of a sample; None for fewer than two."""
    values = [v for v in values if v is not None]
    if len(values) < 2:
        return None
    centre = sum(values) / len(values)
    return (sum((v - centre) ** 2 for v in values) / (len(values) - 1)) ** 0.5


def plus_minus(values, digits=3):
    """'0.731 (0.039)': mean and SD."""
    centre, spread = mean(values), sd(values)
    if centre is None:
        return "-"
    return f"{centre:.{digits}f}" + ("" if spread is None else f" ({spread:.{digits}f})")


def markdown_of(block, name, beside):
    if isinstance(block, str):
        return block
    if isinstance(block, Table):
        rows = ["| " + " | ".join(map(cell, row)) + " |" for row in [block.head, *block.rows]]
        rows.insert(1, "|" + "---|" * len(block.head))
        return (block.caption + "\n\n" if block.caption else "") + "\n".join(rows)
    os.makedirs(beside, exist_ok=True)
    place = os.path.join(beside, f"{name}-{os.path.basename(block.path)}")
    shutil.copyfile(block.path, place)
    return (f"![{block.caption}]({os.path.basename(beside)}/{os.path.basename(place)})\n\n"
            f"*{block.caption}*")


def inline(text):
    """Of Markdown what the pages use: code, bold, emphasis."""
    text = html.escape(text)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    text = re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", text)
    return re.sub(r"(?<!\w)\*([^*]+)\*(?!\w)", r"<i>\1</i>", text)


def html_of(block):
    if isinstance(block, str):
        return "\n".join(f"<p>{inline(part)}</p>" for part in block.split("\n\n"))
    if isinstance(block, Table):
        rows = "".join("<tr>" + "".join(f"<td>{inline(cell(v))}</td>" for v in row) + "</tr>"
                       for row in block.rows)
        head = "".join(f"<th>{inline(cell(v))}</th>" for v in block.head)
        caption = f"<p>{inline(block.caption)}</p>" if block.caption else ""
        return f"{caption}<table><tr>{head}</tr>{rows}</table>"
    kind = "svg+xml" if block.path.endswith(".svg") else "png"
    with open(block.path, "rb") as file:
        data = base64.b64encode(file.read()).decode()
    return (f'<figure><img src="data:image/{kind};base64,{data}" alt="{html.escape(block.caption)}">'
            f"<figcaption>{inline(block.caption)}</figcaption></figure>")


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>isovae: results</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }}
td, th {{ padding: .2rem .6rem; border-bottom: 1px solid #ddd; text-align: left;
          font-variant-numeric: tabular-nums }}
figure {{ margin: 1rem 0 }} img {{ max-width: 100% }} figcaption {{ color: #555 }}
</style></head><body>
{body}
</body></html>
"""
