"""Subjects shared out to processes: each has model and data, gets a subject at a time, and sends back its metrics."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from secateur.errors import SecateurError
from secateur.sensitivity.subjects import Subject

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from torch import nn

    from secateur.sensitivity.engines import Engine
    from secateur.sensitivity.evaluating import Metrics


@frozen(eq=False)
class Work:
    """What every process gets: a model, and how an engine for it is made."""

    model: nn.Module
    engine: Callable[[nn.Module], Engine]
    threads: int


def shared_out(work: Work, subjects: Sequence[Subject], jobs: int) -> Iterator[tuple[int, list[Metrics], str]]:
    """Yield (position of a subject, the metrics of its trials, why it was evaluated plainly) as they come.

    Raises `SecateurError` if something cannot be sent to another process, or one of them ends. All processes are gone
    when this ends, however it ends.
    """
    import multiprocessing
    from multiprocessing.connection import wait

    packed = _packed(work)
    context = multiprocessing.get_context("spawn")  # a forked process would inherit the locks of torch's threads
    processes: dict[Any, Any] = {}
    waiting = list(range(len(subjects)))[::-1]
    try:
        for _ in range(min(jobs, len(subjects))):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(packed, theirs), daemon=True)
            process.start()
            theirs.close()
            processes[ours] = process
            _send(ours, subjects, waiting)
        busy = set(processes)
        while busy:
            for connection in wait(list(busy)):
                found = _received(connection, processes[connection])
                if isinstance(found, Exception):
                    raise found
                if not _send(connection, subjects, waiting):
                    busy.discard(connection)
                yield found
    finally:
        for connection, process in processes.items():
            process.terminate()
            process.join()
            connection.close()


def _packed(work: Work) -> bytes:
    try:
        return pickle.dumps(work)
    except Exception as error:
        what = f"model, data or evaluation cannot be sent to another process ({type(error).__name__}: {error})"
        hint = "define functions and classes at the top of an importable module, or use jobs=1"
        raise SecateurError(what, where="jobs", hint=hint) from error


def _send(connection: Any, subjects: Sequence[Subject], waiting: list[int]) -> bool:
    """Give a process the next subject, if there is one."""
    if not waiting:
        return False
    number = waiting.pop()
    try:
        connection.send((number, subjects[number]))
    except OSError:
        waiting.append(number)  # it is gone; the next look at it says why
    return True


def _received(connection: Any, process: BaseProcess) -> Any:
    try:
        return connection.recv()
    except (EOFError, OSError):
        process.join(5)
        what = f"a process ended by itself (exit status {process.exitcode})"
        hint = "in a script, call it below `if __name__ == '__main__':`; it may also be short of memory: try jobs=1"
        raise SecateurError(what, where="jobs", hint=hint) from None


def serve(packed: bytes, connection: Connection) -> None:
    """Evaluate the subjects that come, until nobody sends any more; the body of a process."""
    import signal

    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal: the first one ends us
    try:
        work: Work = pickle.loads(packed)
        torch.set_num_threads(work.threads)
        engine = work.engine(work.model)
    except Exception as error:  # noqa: BLE001 - it is sent to the first process, which raises it
        what = f"it cannot be received in another process ({type(error).__name__}: {error})"
        connection.send(SecateurError(what, where="jobs", hint="define it in an importable module, or use jobs=1"))
        return
    while True:
        try:
            number, subject = connection.recv()
        except (EOFError, OSError):
            return
        try:
            metrics = [found for _, found in engine.run(subject)]
            answer: Any = (number, metrics, engine.notes.get(subject.name, ""))
        except SecateurError as error:
            answer = error
        except Exception as error:  # noqa: BLE001 - so is this one
            answer = SecateurError(f"{type(error).__name__}: {error}", where=f"jobs: {subject.name}")
        connection.send(_sendable(answer))


def _sendable(answer: Any) -> Any:
    """An error without what it was raised from, which may not be sent; it keeps what it says."""
    if isinstance(answer, SecateurError):
        return SecateurError(answer.what, where=answer.where, hint=answer.hint)
    return answer
