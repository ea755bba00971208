"""A corpus of the user's in a folder: three text files, one line after another, words between blanks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.errors import DataError
from secateur_models.vocabulary import END, Vocabulary, checked_min_count, checked_split

if TYPE_CHECKING:
    from secateur.records import TextSplit

__all__ = ["load", "sizes"]

WHERE = "data set text_folder"
NAMES = ("{}.txt", "wiki.{}.tokens", "ptb.{}.txt")
"""What the file of a split may be called: plainly, as WikiText names it, as the Penn Treebank of Mikolov does."""


def load(split: str, *, path: str | Path, min_count: int = 1) -> TextSplit:
    """Return a split ("train", "valid" or "test") of the corpus in the folder `path`.

    Words stand between blanks, `<eos>` ends each line, empty ones too: 217,646 words for WikiText-2's valid split, as
    published perplexities count them. The vocabulary is that of the training file in the order of its first
    occurrences, and `<unk>`; a word that is not in it becomes `<unk>`. Words that the training file has fewer than
    `min_count` times do so too: give 2 for a corpus without `<unk>`, since else no training example ever has one.

    Raises `DataError` if an argument is wrong, or a file is missing, empty, or no UTF-8.
    """
    split, folder = checked_split(split, WHERE), _folder(path)
    vocabulary = _vocabulary(folder, checked_min_count(min_count, WHERE))
    return vocabulary.encode(_words(_file(folder, split)))


def sizes(*, path: str | Path, min_count: int = 1) -> Mapping[str, int]:
    """Return {"vocabulary": how many words have numbers} from the training file; errors are those of `load`."""
    return {"vocabulary": len(_vocabulary(_folder(path), checked_min_count(min_count, WHERE)))}


def _folder(path: Any) -> Path:
    if not isinstance(path, (str, Path)) or not str(path):
        raise DataError(f"path is {path!r}", where=WHERE, hint="give the path of a folder")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise DataError(f"{folder} {what}", where=WHERE, hint="path: names the folder that holds train.txt")
    return folder


def _file(folder: Path, split: str) -> Path:
    names = [name.format(split) for name in NAMES]
    found = [name for name in names if (folder / name).is_file()]
    if not found:
        raise DataError(
            f"{folder} has no text of the split {split}", where=WHERE, hint=f"the file is called {' or '.join(names)}"
        )
    if len(found) > 1:
        raise DataError(f"{folder} has both {found[0]} and {found[1]}", where=WHERE, hint="remove one of them")
    return folder / found[0]


def _vocabulary(folder: Path, min_count: int) -> Vocabulary:
    file = _file(folder, "train")
    state = file.stat()
    return _counted(file.resolve(), state.st_mtime_ns, state.st_size, min_count)


@lru_cache(maxsize=2)
def _counted(file: Path, changed: int, size: int, min_count: int) -> Vocabulary:  # one file, as it was when it changed
    return Vocabulary.of(_words(file), min_count, f"{WHERE}: {file}")


def _words(file: Path) -> list[str]:
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}", where=WHERE) from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"{file} is not UTF-8: line {line}", where=WHERE, hint="convert it to UTF-8") from error
    if not text.strip():
        raise DataError(f"{file} holds no words", where=WHERE)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.endswith("\n"):
        text += "\n"
    return text.replace("\n", f" {END} ").split()
