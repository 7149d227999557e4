"""Ctrl-C and other exceptions while C code works."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from isovae import IsoVAE
from isovae._watch import Watch


@pytest.fixture(autouse=True)
def heeded():
    """Ctrl-C is heeded, as in the foreground: what a shell runs in the background ignores it."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


def test_ctrl_c_stops_a_fit(curve):
    timer = threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        IsoVAE(2, steps=10**8).fit(curve)
    assert time.monotonic() - start < 30
    IsoVAE(2, steps=20, random_state=0).fit(curve)  # all works afterwards


def test_ctrl_c_ends_a_script():
    code = """
        import numpy as np, isovae
        print("ready", flush=True)
        isovae.IsoVAE(2, steps=10**8).fit(np.random.default_rng(0).normal(size=(200, 3)))
        print("not reached")
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert out == "" and "KeyboardInterrupt" in err and "ctypes" not in err
    assert child.returncode != 0


def test_a_handler_of_the_programs_own(curve):
    class Enough(Exception):
        pass

    def handler(number, frame):
        raise Enough

    previous = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.4)
    try:
        with pytest.raises(Enough):
            IsoVAE(2, steps=10**8, verbose=1).fit(curve)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_in_a_thread_of_its_own(curve):
    out = []
    thread = threading.Thread(
        target=lambda: out.append(IsoVAE(2, steps=20, random_state=0).fit(curve).score(curve))
    )
    thread.start()
    thread.join()
    assert np.isfinite(out[0])


def test_the_lock_is_free_meanwhile(curve):
    """Another thread runs while the library works."""
    ticks = []
    stop = threading.Event()

    def tick():
        while not stop.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.005)

    thread = threading.Thread(target=tick)
    thread.start()
    IsoVAE(2, steps=1500, report=False, random_state=0).fit(curve)
    stop.set()
    thread.join()
    assert len(ticks) >= 5


def test_progress_lines(capsys):
    watch = Watch(verbose=1)
    for done in range(101):
        assert watch._progress(None, b"training", float(done), 100.0) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11 and lines[5] == "isovae: training  50%"


def test_errors_of_the_callback_end_the_call(curve, monkeypatch):
    def broken(*_):
        raise OSError("no standard error")

    monkeypatch.setattr(Watch, "_show", broken)
    with pytest.raises(OSError, match="no standard error"):
        IsoVAE(2, steps=10**8, verbose=1).fit(curve)
