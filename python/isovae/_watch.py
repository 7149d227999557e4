"""Progress of long calls, and Ctrl-C while they run."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from . import _library as lib

T = TypeVar("T")


class Watch:
    """Runs long calls: shows their progress, and ends them in order when the program is interrupted.

    Python runs signal handlers in the main thread alone, and only between its own instructions: a
    call of C code there would hold up Ctrl-C, and a handler that raises inside of a callback would
    be lost. So the main thread waits, and another one calls. What a handler raises in the wait stops
    the call at its next report of progress, and goes on from here.
    """

    def __init__(
        self, verbose: int = 0, hook: Callable[[str, float, float], Any] | None = None
    ) -> None:
        if hook is not None and not callable(hook):
            raise TypeError("callback must be callable: callback(stage, done, total)")
        self.verbose = int(verbose)
        self._hook = hook  # the user's; what it raises ends the call
        self.callback = lib.ProgressFn(self._progress)
        self._stop = False
        self._error: BaseException | None = None
        self._shown = 0.0
        self._stage = ""
        self._tenth = -1
        self._terminal = bool(getattr(sys.stderr, "isatty", lambda: False)())

    @property
    def stopped(self) -> bool:
        """The call is to end: callbacks of Python need not go on."""
        return self._stop

    def run(self, work: Callable[[], T]) -> T:
        """The result of work()."""
        results: list[T] = []
        errors: list[BaseException] = []
        # Not Thread.join: interrupted, it takes the thread for ended in Python before 3.13.
        done = threading.Event()
        begun: list[bool] = []

        def call() -> None:
            begun.append(True)
            try:
                if self._stop:  # interrupted before it began: nobody waits
                    return
                results.append(work())
            except BaseException as error:
                errors.append(error)
            finally:
                done.set()

        if threading.current_thread() is threading.main_thread():
            thread = threading.Thread(target=call, name="isovae", daemon=True)
            try:
                thread.start()
                done.wait()
            except BaseException:
                self._stop = True
                if begun:
                    self._wait(done)
                raise
        else:
            call()
        if self.verbose and self._terminal and self._stage:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        if self._error is not None:
            raise self._error
        if errors:
            raise errors[0]
        return results[0]

    @staticmethod
    def _wait(done: threading.Event) -> None:
        """The call still uses our memory: further interrupts do not cut this wait short."""
        while not done.is_set():
            try:
                done.wait()
            except BaseException:  # noqa: S112
                continue

    def _progress(self, user: Any, stage: bytes, done: float, total: float) -> int:
        try:
            if self.verbose:
                self._show(stage.decode("utf-8", "replace"), done, total)
            if self._hook is not None and not self._stop:
                self._hook(stage.decode("utf-8", "replace"), done, total)
        except BaseException as error:  # must not leave a callback of C; run() raises it
            self._error = error
        return 0 if self._stop or self._error is not None else 1

    def _show(self, stage: str, done: float, total: float) -> None:
        now = time.monotonic()
        share = done / total if total > 0 else 0.0
        if self._terminal:
            if stage == self._stage and now - self._shown < 0.2:
                return
            print(f"\r\x1b[Kisovae: {stage} {share:4.0%}", end="", file=sys.stderr, flush=True)
        else:
            tenth = int(10 * share)
            if stage == self._stage and tenth == self._tenth:
                return
            self._tenth = tenth
            print(f"isovae: {stage} {share:4.0%}", file=sys.stderr, flush=True)
        self._stage = stage
        self._shown = now

    def tell(self, text: str) -> None:
        """A line of its own, with verbose."""
        if self.verbose:
            print(("\r\x1b[K" if self._terminal else "") + text, file=sys.stderr, flush=True)
