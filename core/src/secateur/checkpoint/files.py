"""Write a file whole or not at all: into a temporary folder beside it, synced, then renamed.

A process that is killed in between leaves its temporary folder. The name of such a folder says whose it is, and it is
locked as long as its process lives: whoever writes that file next removes those whose process is gone.
"""

from __future__ import annotations

import os
import platform
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
        remove_leftovers(target)
        folder = Path(tempfile.mkdtemp(prefix=_prefix(target), dir=target.parent))
    except OSError as problem:
        raise _refused(problem, path, error) from problem
    lock = _locked(folder)
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
        if lock is not None:
            os.close(lock)


def check_writable(path: str | os.PathLike[str], error: Refuse) -> None:
    """Raise `error` unless a file could be written there; nothing is changed."""
    target = Path(os.path.realpath(path))
    try:
        _check_target(target, str(path), error)
        os.rmdir(tempfile.mkdtemp(prefix=_prefix(target), dir=target.parent))
    except OSError as problem:
        raise _refused(problem, path, error) from problem


def remove_leftovers(target: Path) -> None:
    """Remove the temporary folders of processes of this machine that were killed while they wrote the file."""
    mark = f".{target.name[:100]}.{_machine()}-"
    for entry in list(os.scandir(target.parent)):
        pid, dash, _ = entry.name.removeprefix(mark).partition("-")
        if not (entry.name.startswith(mark) and dash and pid.isdigit() and entry.is_dir(follow_symlinks=False)):
            continue
        if _lives(int(pid)):
            continue
        lock = _locked(Path(entry.path))
        if lock is not None:
            shutil.rmtree(entry.path, ignore_errors=True)
            os.close(lock)


def _prefix(target: Path) -> str:
    return f".{target.name[:100]}.{_machine()}-{os.getpid()}-"


def _machine() -> str:
    """The name of this machine, fit for a file name."""
    return "".join(letter if letter.isalnum() else "_" for letter in platform.node())[:40]


def _lives(pid: int) -> bool:
    """Whether a process of this machine may be alive; where that cannot be asked, it may."""
    if os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _locked(folder: Path) -> int | None:
    """Lock a folder until the handle is closed, or the process ends; None if somebody else has, or nobody can."""
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


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
