"""What a law raises when it does not hold, and when it cannot be tried."""

from __future__ import annotations

import unittest


class LawBroken(AssertionError):
    """A law of the contract does not hold; the message says which, for what, and what was found."""


class NotTried(unittest.SkipTest):
    """A law could not be tried on a record: nothing the kit knows exercises it. pytest takes it as a skip."""
