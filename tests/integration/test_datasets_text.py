"""Texts become numbers by rules one can state: who has a number, what ends a line, what is unknown."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from secateur.errors import DataError
from secateur.plugins import PluginManager
from secateur_models import python_topics, text_folder
from secateur_models.vocabulary import SPLITS, Vocabulary

WIKITEXT = Path(__file__).parents[3] / "shared" / "data" / "wikitext-2"
TEXTS = {"train": "the cat sat\n\nthe <unk> dog\n", "valid": "the dog ran\n", "test": "a cat"}
Make = Callable[..., Path]


@pytest.fixture
def corpus(tmp_path: Path) -> Make:
    def make(name: str = "{}.txt", **texts: str | bytes) -> Path:
        for split, text in (TEXTS | texts).items():
            (tmp_path / name.format(split)).write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path

    return make


def refusal(load: Callable[[], object]) -> str:
    with pytest.raises(DataError) as caught:
        load()
    return str(caught.value)


@pytest.mark.parametrize("name", ["{}.txt", "wiki.{}.tokens", "ptb.{}.txt"])
def test_words_are_numbered_as_the_training_text_first_has_them(corpus: Make, name: str) -> None:
    folder = corpus(name)
    # the 0, cat 1, sat 2, <eos> 3, <unk> 4, dog 5
    train = text_folder.load("train", path=folder)
    assert train.tokens.dtype == torch.int64
    assert train.tokens.tolist() == [0, 1, 2, 3, 3, 0, 4, 5, 3]
    assert len(train) == 9
    assert text_folder.load("valid", path=str(folder)).tokens.tolist() == [0, 5, 4, 3]
    assert text_folder.load("test", path=folder).tokens.tolist() == [4, 1, 3]
    assert text_folder.sizes(path=folder) == {"vocabulary": 6}


def test_a_training_text_without_unknown_words_gets_a_number_for_them(corpus: Make) -> None:
    folder = corpus(train="a b\n")
    assert text_folder.sizes(path=folder) == {"vocabulary": 4}
    assert text_folder.load("train", path=folder).tokens.tolist() == [0, 1, 2]
    assert text_folder.load("valid", path=folder).tokens.tolist() == [3, 3, 3, 2]


def test_rare_words_are_unknown(corpus: Make) -> None:
    folder = corpus()  # the 0, <eos> 1, <unk> 2, though <unk> occurs once
    assert text_folder.sizes(path=folder, min_count=2) == {"vocabulary": 3}
    assert text_folder.load("train", path=folder, min_count=2).tokens.tolist() == [0, 2, 2, 1, 1, 0, 2, 2, 1]


def test_line_ends_and_byte_order_marks_of_other_systems_change_nothing(corpus: Make) -> None:
    expected = text_folder.load("train", path=corpus()).tokens
    windows = b"\xef\xbb\xbf" + TEXTS["train"].replace("\n", "\r\n").encode()
    assert torch.equal(text_folder.load("train", path=corpus(train=windows)).tokens, expected)
    assert torch.equal(text_folder.load("train", path=corpus(train=TEXTS["train"].rstrip("\n"))).tokens, expected)


def test_a_changed_training_text_is_read_anew(corpus: Make) -> None:
    folder = corpus()
    assert text_folder.sizes(path=folder) == {"vocabulary": 6}
    corpus(train="one two three four five six\n")
    assert text_folder.sizes(path=folder) == {"vocabulary": 8}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "validation"}, "there is no split 'validation'; did you mean 'valid'? (known: test, train, valid)"),
        ({"min_count": 0}, "min_count is 0; give an integer of at least 1"),
        ({"min_count": True}, "min_count is True; give an integer of at least 1"),
        ({"min_count": "2"}, "min_count is '2'; give an integer of at least 1"),
        ({"path": 3}, "path is 3; give the path of a folder"),
        ({"path": ""}, "path is ''; give the path of a folder"),
        ({"path": "/no/such"}, "/no/such does not exist; path: names the folder that holds train.txt"),
    ],
)
def test_bad_arguments_are_refused(corpus: Make, arguments: Mapping[str, object], message: str) -> None:
    given = {"split": "train", "path": corpus()} | dict(arguments)
    assert refusal(lambda: text_folder.load(**given)) == f"data set text_folder: {message}"  # type: ignore[arg-type]


def test_folders_that_are_no_corpus_are_refused(corpus: Make) -> None:
    folder = corpus()
    where = "data set text_folder"
    message = refusal(lambda: text_folder.sizes(path=folder / "train.txt"))
    assert message == f"{where}: {folder}/train.txt is a file; path: names the folder that holds train.txt"
    (folder / "ptb.train.txt").write_text("a\n")
    message = refusal(lambda: text_folder.load("valid", path=folder))
    assert message == f"{where}: {folder} has both train.txt and ptb.train.txt; remove one of them"
    (folder / "ptb.train.txt").unlink()
    (folder / "valid.txt").unlink()
    message = refusal(lambda: text_folder.load("valid", path=folder))
    assert message == (
        f"{where}: {folder} has no text of the split valid; "
        "the file is called valid.txt or wiki.valid.tokens or ptb.valid.txt"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", " holds no words"),
        (b"\n \n", " holds no words"),
        (b"a b\nc \xff\n", " is not UTF-8: line 2; convert it to UTF-8"),
    ],
)
def test_damaged_files_are_refused(corpus: Make, text: bytes, message: str) -> None:
    for split in SPLITS:
        folder = corpus(**{split: text})
        assert refusal(lambda at=folder, of=split: text_folder.load(of, path=at)) == (  # type: ignore[misc]
            f"data set text_folder: {folder}/{split}.txt{message}"
        )
        corpus()


def test_a_min_count_that_leaves_no_word_is_refused(corpus: Make) -> None:
    folder = corpus()
    assert refusal(lambda: text_folder.load("test", path=folder, min_count=3)) == (
        f"data set text_folder: {folder}/train.txt: no word occurs 3 times; give a smaller min_count"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_refused(corpus: Make) -> None:
    folder = corpus()
    (folder / "test.txt").chmod(0)
    message = refusal(lambda: text_folder.load("test", path=folder))
    assert message == f"data set text_folder: {folder}/test.txt cannot be read: Permission denied"


@pytest.mark.skipif(not (WIKITEXT / "valid.txt").exists(), reason="WikiText-2 is not beside the checkout")
def test_wikitext_has_the_published_number_of_words(tmp_path: Path) -> None:
    for split, source in {"train": "valid", "valid": "valid", "test": "test"}.items():
        (tmp_path / f"{split}.txt").symlink_to(WIKITEXT / f"{source}.txt")
    began = time.perf_counter()
    words = {split: text_folder.load(split, path=tmp_path) for split in SPLITS}
    assert time.perf_counter() - began < 3  # 0.3 s; the limit is for a busy machine
    assert {split: len(text) for split, text in words.items()} == {"train": 217_646, "valid": 217_646, "test": 245_569}
    assert text_folder.sizes(path=tmp_path) == {"vocabulary": 13_777}
    assert int(words["train"].tokens.max()) == 13_776


# ------------------------------------------------------------------------------------------ Python's help


def test_topics_share_no_paragraph_between_splits() -> None:
    from pydoc_data.topics import topics

    shares = python_topics.split_topics(topics)
    assert sorted(name for share in shares.values() for name in share) == sorted(topics)
    sizes = {split: sum(map(len, share.values())) for split, share in shares.items()}
    total = sum(sizes.values())
    assert total > 80_000
    assert sizes["train"] / total == pytest.approx(0.8, abs=0.01)
    assert sizes["valid"] / total == pytest.approx(0.1, abs=0.01)
    assert all(len(share) > 10 for share in shares.values())
    paragraphs = {split: _paragraphs(share) for split, share in shares.items()}
    assert not paragraphs["train"] & paragraphs["valid"]
    assert not paragraphs["train"] & paragraphs["test"]
    assert not paragraphs["valid"] & paragraphs["test"]


def _paragraphs(share: Mapping[str, list[str]]) -> set[str]:
    return {text for words in share.values() for text in " ".join(words).split("<eos>") if text.strip()}


def test_a_topic_is_words_and_paragraphs() -> None:
    texts = {"b": "x = [0]\n\n  It's\n  so.\n", "a": "x = [0]\n", "c": "x"}
    shares = python_topics.split_topics(texts)
    found = {name: words for share in shares.values() for name, words in share.items()}
    assert found == {
        "b": ["x", "=", "[", "0", "]", "<eos>", "It", "'", "s", "so", ".", "<eos>"],
        "a": [],
        "c": ["x", "<eos>"],
    }


def test_python_topics_are_numbers_below_their_vocabulary() -> None:
    size = python_topics.sizes()["vocabulary"]
    texts = {split: python_topics.load(split) for split in SPLITS}
    assert 1_500 < size < 4_000
    assert sorted(set(texts["train"].tokens.tolist())) == list(range(size))  # every word is there to be learnt
    assert all(int(text.tokens.max()) < size for text in texts.values())
    assert python_topics.sizes(min_count=1)["vocabulary"] > size
    assert torch.equal(texts["test"].tokens, python_topics.load("test").tokens)


@pytest.mark.skipif(sys.version_info[:3] != (3, 11, 7), reason="other versions of Python have other texts")
def test_python_topics_of_one_version_are_always_the_same() -> None:
    assert {split: len(python_topics.load(split)) for split in SPLITS} == {
        "train": 75_899,
        "valid": 9_486,
        "test": 9_481,
    }
    assert python_topics.sizes() == {"vocabulary": 2_336}
    tokens = python_topics.load("train").tokens
    assert int((tokens * torch.arange(len(tokens))).sum() % 1_000_003) == CHECKSUM


CHECKSUM = 797_817


def test_wrong_arguments_of_python_topics_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    where = "data set python_topics"
    assert refusal(lambda: python_topics.load("tset")) == (
        f"{where}: there is no split 'tset'; did you mean 'test'? (known: test, train, valid)"
    )
    assert refusal(lambda: python_topics.sizes(min_count=-1)) == (
        f"{where}: min_count is -1; give an integer of at least 1"
    )
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    assert refusal(lambda: python_topics.load("train")) == (
        f"{where}: this Python comes without the texts of help() (module pydoc_data); "
        "use a full installation of CPython, or the data set text_folder"
    )


def test_both_are_registered_as_texts() -> None:
    datasets = PluginManager.discover().datasets
    for name in ("text_folder", "python_topics"):
        entry = datasets[name]
        assert (entry.task, entry.splits, entry.classes) == ("language", ("train", "valid", "test"), None)
    assert datasets["python_topics"].offline
    assert not datasets["text_folder"].offline


def test_a_vocabulary_knows_its_words() -> None:
    words = ["b", "a", "b"]
    vocabulary = Vocabulary.of(words, 1, "here")
    assert dict(vocabulary.numbers) == {"b": 0, "a": 1, "<eos>": 2, "<unk>": 3}
    assert vocabulary.encode(["a", "z"]).tokens.tolist() == [1, 3]
