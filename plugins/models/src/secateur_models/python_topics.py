"""What `help()` tells of Python itself, as a small corpus of English and code that is always there.

CPython ships its language reference by topics (module `pydoc_data.topics`). Each minor version has other texts, and so
other words and perplexities: compare only runs of one version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from secateur.errors import DataError
from secateur_models.vocabulary import END, Vocabulary, checked_min_count, checked_split

if TYPE_CHECKING:
    from secateur.records import TextSplit

__all__ = ["load", "sizes", "split_topics"]

WHERE = "data set python_topics"
TENTHS = {"train": 8, "valid": 1, "test": 1}
WORD = re.compile(r"\w+|[^\w\s]")
BETWEEN_PARAGRAPHS = re.compile(r"\n\s*\n")


def load(split: str, *, min_count: int = 2) -> TextSplit:
    """Return a split: "train" has about 80 % of the words, "valid" and "test" 10 % each (see `split_topics`).

    A word is a run of letters, digits and underscores, or any other single character that is no blank; `<eos>` ends
    each paragraph. Words that the training topics have fewer than `min_count` times become `<unk>`. Raises `DataError`
    for wrong arguments, or a Python without these texts.
    """
    split = checked_split(split, WHERE)
    vocabulary, topics = _vocabulary(checked_min_count(min_count, WHERE))
    return vocabulary.encode(_joined(topics[split]))


def sizes(*, min_count: int = 2) -> Mapping[str, int]:
    """Return {"vocabulary": how many words have numbers}; errors are those of `load`."""
    return {"vocabulary": len(_vocabulary(checked_min_count(min_count, WHERE))[0])}


def split_topics(texts: Mapping[str, str]) -> dict[str, dict[str, list[str]]]:
    """Share out whole topics: {split: {topic, in the order of the alphabet: its words}}.

    Topics quote each other at length, so a paragraph belongs to the longest topic that has it and is left out of the
    others: none is in two splits. Then the longest topics come first, and each goes to the split that lacks most words.
    """
    words: dict[str, list[str]] = {}
    seen: set[tuple[str, ...]] = set()
    for topic in sorted(texts, key=lambda topic: (-len(WORD.findall(texts[topic])), topic)):
        words[topic] = []
        for text in BETWEEN_PARAGRAPHS.split(texts[topic]):
            paragraph = tuple(WORD.findall(text))
            if paragraph and paragraph not in seen:
                seen.add(paragraph)
                words[topic] += [*paragraph, END]
    total = sum(map(len, words.values()))
    lacking = {split: tenths * total / 10 for split, tenths in TENTHS.items()}
    shares: dict[str, dict[str, list[str]]] = {split: {} for split in TENTHS}
    for topic in sorted(words, key=lambda topic: (-len(words[topic]), topic)):
        split = max(lacking, key=lambda split: lacking[split])
        shares[split][topic] = words[topic]
        lacking[split] -= len(words[topic])
    return {split: dict(sorted(share.items())) for split, share in shares.items()}


def _vocabulary(min_count: int) -> tuple[Vocabulary, dict[str, dict[str, list[str]]]]:
    try:
        from pydoc_data.topics import topics as texts
    except ImportError as error:
        raise DataError(
            "this Python comes without the texts of help() (module pydoc_data)",
            where=WHERE,
            hint="use a full installation of CPython, or the data set text_folder",
        ) from error
    topics = split_topics(texts)
    return Vocabulary.of(_joined(topics["train"]), min_count, WHERE), topics


def _joined(topics: Mapping[str, list[str]]) -> list[str]:
    return [word for words in topics.values() for word in words]
