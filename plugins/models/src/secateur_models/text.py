"""Texts for word language models: a folder of the user's, and Python's own help pages, which are always there."""

from __future__ import annotations

from collections.abc import Iterable

from secateur.hookspecs import hookimpl
from secateur.records import DatasetEntry
from secateur_models import python_topics, text_folder
from secateur_models.vocabulary import SPLITS


@hookimpl
def secateur_datasets() -> Iterable[DatasetEntry]:
    """Add text_folder and python_topics."""
    return [
        DatasetEntry(
            name="text_folder",
            task="language",
            load=text_folder.load,
            sizes=text_folder.sizes,
            splits=SPLITS,
            offline=False,
            summary="train.txt, valid.txt, test.txt in the folder `path`, as WikiText and the Penn Treebank have them.",
        ),
        DatasetEntry(
            name="python_topics",
            task="language",
            load=python_topics.load,
            sizes=python_topics.sizes,
            splits=SPLITS,
            offline=True,
            summary="CPython's help pages: about 100,000 words that come with Python, others with each version.",
        ),
    ]
