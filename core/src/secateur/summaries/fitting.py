"""How wide each column of a table is where it must fit: long texts fold first, then columns are left out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from attrs import frozen

GAP = 2
"""Blanks between two columns, and the two edges together."""

NAMES, OTHERS, LEAST = 28, 12, 8
"""Letters that are left to a text that stays, to one that may be left out, and to any if nothing else helps."""


@frozen
class Measured:
    """What a column asks for: its `natural` width, whether its texts may fold, and how soon it may be left out."""

    natural: int
    folds: bool
    rank: int

    def least(self, width: int) -> int:
        """Columns that it needs; a name may have a third of the whole."""
        room = OTHERS if self.rank else max(NAMES, width // 3)
        return min(self.natural, room) if self.folds else self.natural


def fitted(columns: Sequence[Measured], width: int | None) -> list[int | None]:
    """The width of each column so that all fit in `width`; None for those that are left out.

    Columns of the highest rank go first, of several the last; those of rank 0 stay even where they do not fit. What is
    left over goes to the texts, those that ask for least first.

    >>> name, size, spread = Measured(40, True, 0), Measured(10, False, 0), Measured(8, False, 1)
    >>> fitted([name, size, spread], None), fitted([name, size, spread], 56), fitted([name, size, spread], 50)
    ([40, 10, 8], [32, 10, 8], [36, 10, None])
    """
    if width is None:
        return [column.natural for column in columns]
    kept = list(range(len(columns)))
    least = [column.least(width) for column in columns]

    def spare() -> int:
        return width - sum(least[at] for at in kept) - GAP * len(kept)

    while spare() < 0:
        gone = max(kept, key=lambda at: (columns[at].rank, at))
        if not columns[gone].rank:
            break
        kept.remove(gone)
    found: list[int | None] = [least[at] if at in kept else None for at in range(len(columns))]
    texts = sorted((at for at in kept if columns[at].folds), key=lambda at: columns[at].natural - least[at])
    left = spare()
    for position, at in enumerate(texts):
        given = max(least[at] + left // (len(texts) - position), min(least[at], LEAST))
        width_of = min(given, columns[at].natural)
        left -= width_of - least[at]
        found[at] = width_of
    return found


def folded(text: str, width: int) -> str:
    """A text in lines of at most that many letters, broken after dots, commas and the like where it can, else anywhere.

    >>> print(folded("encoder.layers.encoder_layer_0.self_attention", 24))
    encoder.layers.
    encoder_layer_0.
    self_attention
    """
    lines = [""]
    for piece in _pieces(text, width):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.strip() for line in lines)


def _pieces(text: str, width: int) -> Iterator[str]:
    """What lines are made of: each ends where a line may, after the first of these marks that makes it short enough."""
    for piece in re.findall(r"[^./, ]*[./, ]|[^./, ]+", text):
        if len(piece.rstrip()) <= width:
            yield piece
            continue
        for part in re.split(r"(?<=[_×])|(?<=[a-z0-9])(?=[A-Z])", piece):
            yield from (part[at : at + width] for at in range(0, len(part), width))
