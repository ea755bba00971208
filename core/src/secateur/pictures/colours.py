"""Colours of dims: what is coupled has one colour and one letter, in fills that dark text is legible on.

The fills are Paul Tol's "light" scheme (Colour Schemes, SRON/EPS/TN/09-002): distinct for people who see few colours,
made for labelled cells. Where there are more dims than fills, letters tell them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

FILLS = ("#77AADD", "#EE8866", "#EEDD88", "#FFAABB", "#99DDFF", "#44BB99", "#BBCC33", "#AAAA00")
PLAIN = "#FFFFFF"
OWN = "#E8EAED"
"""The fill of what has too many dims to show, and of the pale ones in the legend."""
INK = "#1A1A1A"
"""Text on a fill."""
FAINT = "#2D2F33"
"""Text on a fill that steps back."""
PAGE = "#202124"
"""Text on the page."""
QUIET = "#5F6368"
"""Text on the page that steps back."""
LINE = "#8A8F98"


@frozen
class Colour:
    """How a dim is drawn: its fill, the darker line of it, and its letter."""

    fill: str
    line: str
    letter: str
    """Empty for a pale one, whose colour comes again."""


@frozen
class Fill:
    """How a box is filled: with the colour of its dim, or with those of several in their shares."""

    fill: str
    line: str
    style: str = "rounded,filled"
    letters: str = ""
    """Of the one dim, or of those whose product it is."""


def colours_of(dims: Sequence[int], coupled: Sequence[bool]) -> Mapping[int, Colour]:
    """The colour of each dim that is drawn; where there are many, those that one layer writes alone are pale.

    >>> [colour.letter for colour in colours_of([4, 7], [False, True]).values()]
    ['A', 'B']
    """
    many = len(dims) > len(FILLS)
    strong = pale = 0
    found = {}
    for dim, several in zip(dims, coupled, strict=True):
        if several or not many:
            fill = FILLS[strong % len(FILLS)]
            found[dim] = Colour(fill, darker(fill), letter_of(strong))
            strong += 1
        else:
            found[dim] = Colour(paler(FILLS[pale % len(FILLS)]), LINE, "")
            pale += 1
    return found


def paler(colour: str, share: float = 0.4) -> str:
    """The colour with that share of its paint, on white.

    >>> paler("#FF8000", 0.5)
    '#FFBF7F'
    """
    return "#" + "".join(f"{int(255 - (255 - int(colour[i : i + 2], 16)) * share):02X}" for i in (1, 3, 5))


def darker(colour: str, share: float = 0.62) -> str:
    """The colour with that share of its light.

    >>> darker("#FF8000", 0.5)
    '#7F4000'
    """
    return "#" + "".join(f"{int(int(colour[i : i + 2], 16) * share):02X}" for i in (1, 3, 5))


def letter_of(place: int) -> str:
    """A, B, …, Z, AA, AB, …

    >>> [letter_of(place) for place in (0, 25, 26)]
    ['A', 'Z', 'AA']
    """
    letters = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, 26)
        letters = chr(65 + rest) + letters
    return letters
