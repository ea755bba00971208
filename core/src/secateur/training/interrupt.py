"""Being stopped while training: the mini-batch is finished first, so that what is saved then can be gone on from."""

from __future__ import annotations

import signal
import threading
from typing import Any, Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and what job schedulers, containers and `kill` send."""


class Interrupt:
    """A context in which the first signal to stop only sets `asked`; a second one interrupts at once.

    Outside the main thread, where Python handles no signals, it does nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self.status = 128 + signal.SIGINT
        """The exit status of a process that was stopped so, as shells count it: 130 after Ctrl-C, 143 after SIGTERM."""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._before = {each: signal.signal(each, self._note) for each in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, signal.SIG_DFL if handler is None else handler)  # None: not set by Python
        self._before = {}

    def _note(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked, self.status = True, 128 + number
