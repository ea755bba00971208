"""Every error a user can meet: one message that says what is wrong, where, and what to do.

All of them derive from `SecateurError`, so `except secateur.SecateurError` catches what the tool refuses and
nothing else. None of them leaves anything half-changed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SecateurError(Exception):
    """Base class of all errors raised on purpose.

    >>> raise SecateurError("ratio is 1.2", where="prune['fc']", hint="give a number in [0, 1)")
    Traceback (most recent call last):
      ...
    secateur.errors.SecateurError: prune['fc']: ratio is 1.2; give a number in [0, 1)
    """

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        self.what, self.where, self.hint = what, where, hint
        super().__init__(f"{where}: {what}" if where else what)

    def __str__(self) -> str:
        return f"{self.args[0]}; {self.hint}" if self.hint else str(self.args[0])


class PluginError(SecateurError):
    """A plugin is missing, broken, or clashes with another one."""


class ConfigError(SecateurError):
    """A configuration file or a schedule says something that is not understood."""


class CaptureError(SecateurError):
    """The model could not be run to record its graph."""


class PlanError(SecateurError):
    """What was asked to be pruned cannot be planned: a bad ratio, a name that matches nothing, …"""


class ThinError(SecateurError):
    """A plan could not be applied; the model is as it was before."""


class VerificationError(ThinError):
    """The thinned network differs from the masked one; everything was rolled back."""


class CheckpointError(SecateurError):
    """A checkpoint cannot be written, or does not fit the model it is loaded into."""


class DataError(SecateurError):
    """A data set is missing, damaged, or cannot be fetched."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Say which known name was probably meant, and list what is known.

    >>> suggestion("apg", ["agp", "magnitude"])
    "did you mean 'agp'? (known: agp, magnitude)"
    >>> suggestion("AGP", ["agp", "magnitude"])
    "did you mean 'agp'? (known: agp, magnitude)"
    >>> suggestion("zzz", [])
    '(none is known)'
    """
    names = sorted(set(known))
    if not names:
        return "(none is known)"
    shown = ", ".join(names[:20]) + (f", … {len(names) - 20} more" if len(names) > 20 else "")
    same = [each for each in names if each.casefold() == name.casefold()]
    close = same or difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}? (known: {shown})" if close else f"(known: {shown})"
