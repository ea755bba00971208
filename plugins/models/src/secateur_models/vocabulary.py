"""The words a text is written in, numbered in the order in which the training text first has them.

The two words of their own kind are those of the Penn Treebank and WikiText corpora (Mikolov et al., 2010; Merity et
al., 2017): `<eos>` ends a line, `<unk>` stands for every word that has no number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from secateur.errors import DataError, suggestion

if TYPE_CHECKING:
    from secateur.records import TextSplit

__all__ = ["END", "SPLITS", "UNKNOWN", "Vocabulary", "checked_min_count", "checked_split"]

SPLITS = ("train", "valid", "test")
END, UNKNOWN = "<eos>", "<unk>"


@frozen(eq=False)
class Vocabulary:
    """`numbers`: {word: its number}, counted from 0 without a gap."""

    numbers: Mapping[str, int]

    @classmethod
    def of(cls, words: Sequence[str], min_count: int, where: str) -> Vocabulary:
        """Number the words that occur at least `min_count` times, in the order of their first occurrence.

        `<eos>` and `<unk>` always have numbers, the last ones if `words` lacks them. Raises `DataError` if no other
        word occurs so often.
        """
        counts = Counter(words)
        known = [word for word, count in counts.items() if count >= min_count or word in (END, UNKNOWN)]
        if not set(known) - {END, UNKNOWN}:
            raise DataError(f"no word occurs {min_count} times", where=where, hint="give a smaller min_count")
        known += [word for word in (END, UNKNOWN) if word not in counts]
        return cls({word: number for number, word in enumerate(known)})

    def __len__(self) -> int:
        return len(self.numbers)

    def encode(self, words: Sequence[str]) -> TextSplit:
        """Return the numbers of `words`, int64 (words,)."""
        import numpy as np
        import torch

        from secateur.records import TextSplit

        numbers, unknown = self.numbers, self.numbers[UNKNOWN]
        found = np.fromiter((numbers.get(word, unknown) for word in words), dtype=np.int64, count=len(words))
        return TextSplit(tokens=torch.from_numpy(found))


def checked_split(split: Any, where: str) -> str:
    """Return `split` if it is one of train, valid and test, or raise `DataError`."""
    if split not in SPLITS:
        raise DataError(f"there is no split {split!r}", where=where, hint=suggestion(str(split), SPLITS))
    return str(split)


def checked_min_count(min_count: Any, where: str) -> int:
    """Return `min_count` if it is an integer of at least 1, or raise `DataError`."""
    if isinstance(min_count, bool) or not isinstance(min_count, int) or min_count < 1:
        raise DataError(f"min_count is {min_count!r}", where=where, hint="give an integer of at least 1")
    return min_count
