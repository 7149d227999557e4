"""Progress of long calls, and Ctrl-C while they run."""

from __future__ import annotations

import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from . import _library as lib


class Watch:
    """Around a long call: shows progress, and turns Ctrl-C into an orderly end of the call.

    Python runs signal handlers only between its own instructions, so while C code works an
    interrupt would wait. Here it sets a flag that the library's progress callback looks at. A
    handler of the program's own stays in place; what it raises inside the callback ends the call,
    too.
    """

    def __init__(self, verbose: int = 0) -> None:
        self.verbose = int(verbose)
        self.callback = lib.ProgressFn(self._progress)
        self._interrupted = False
        self._error: BaseException | None = None
        self._previous: Any = None
        self._shown = 0.0
        self._stage = ""
        self._tenth = -1
        self._terminal = bool(getattr(sys.stderr, "isatty", lambda: False)())

    def __enter__(self) -> Watch:
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            self._previous = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
        if self.verbose and self._terminal and self._stage:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        if self._error is not None:
            raise self._error from None
        if self._interrupted:
            raise KeyboardInterrupt from None

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._interrupted = True

    def _progress(self, user: Any, stage: bytes, done: float, total: float) -> int:
        try:
            if self.verbose:
                self._show(stage.decode("utf-8", "replace"), done, total)
        except BaseException as error:  # must not leave a C callback; __exit__ raises it
            self._error = error
        return 0 if self._interrupted or self._error is not None else 1

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
