"""Ctrl-C while training: the mini-batch is finished first, so that what is saved then can be gone on from."""

from __future__ import annotations

import signal
import threading
from typing import Any


class Interrupt:
    """A context in which the first Ctrl-C only sets `asked`; a second one interrupts at once.

    Outside the main thread, where Python handles no signals, it does nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _note(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
