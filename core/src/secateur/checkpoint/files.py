"""Write a file whole or not at all: into a temporary folder beside it, synced, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from secateur.errors import SecateurError

Refuse = Callable[..., SecateurError]
"""The kind of error that is raised: called as `SecateurError` is."""


@contextmanager
def replacing(path: str | os.PathLike[str], error: Refuse) -> Iterator[Path]:
    """Yield a path to write to; afterwards that file takes the place of `path`, in one step.

    A link is followed. If the block fails, or the file cannot be put in place, nothing is left and the old file is
    untouched. Failures of the file system are raised as `error`.
    """
    target = Path(os.path.realpath(path))
    try:
        _check_target(target, str(path), error)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name[:100]}.", dir=target.parent))
    except OSError as problem:
        raise _refused(problem, path, error) from problem
    try:
        temporary = folder / "new"
        mode = _mode(target, folder)
        yield temporary
        _sync(temporary)
        os.chmod(temporary, mode)
        os.replace(temporary, target)
        _sync(target.parent)
    except OSError as problem:
        raise _refused(problem, path, error) from problem
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_writable(path: str | os.PathLike[str], error: Refuse) -> None:
    """Raise `error` unless a file could be written there; nothing is changed."""
    target = Path(os.path.realpath(path))
    try:
        _check_target(target, str(path), error)
        os.rmdir(tempfile.mkdtemp(prefix=f".{target.name[:100]}.", dir=target.parent))
    except OSError as problem:
        raise _refused(problem, path, error) from problem


def _check_target(target: Path, shown: str, error: Refuse) -> None:
    if target.is_dir():
        raise error("it is a folder", where=shown, hint="name a file in it")
    if target.exists() and not target.is_file():
        raise error("it is a device, a pipe or a socket", where=shown, hint="name an ordinary file")
    if not target.parent.is_dir():
        raise error(f"there is no folder {str(target.parent)!r}", where=shown, hint="make it first, or write elsewhere")


def _refused(problem: OSError, path: str | os.PathLike[str], error: Refuse) -> SecateurError:
    reason = problem.strerror or type(problem).__name__
    hint = "make room or permission, or write elsewhere"
    return error(f"it cannot be written ({reason})", where=str(path), hint=hint)


def _mode(target: Path, folder: Path) -> int:
    """The permissions of the file that is replaced, or those of any new file."""
    if target.exists():
        return target.stat().st_mode & 0o777
    probe = folder / "probe"
    os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return probe.stat().st_mode & 0o777


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
