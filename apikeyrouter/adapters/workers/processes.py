"""Share work among processes: each does one part, tells how far it has come, and hands back what it found."""

import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Generic, NamedTuple, TypeVar

from apikeyrouter.domain.models.system_error import ErrorCategory
from apikeyrouter.domain.models.system_error import SystemError as RouterError

Part = TypeVar("Part")
Result = TypeVar("Result")

Passed = Callable[[int], None]
Work = Callable[[Part, Passed], Result]
"""A function of a module: it is imported anew in each process. Parts and results are pickled."""

_SPAWN = get_context("spawn")  # a fork would share what threads hold at that instant


class WorkerDiedError(RouterError):
    """A process ended before it had done its part, so nothing can be said of the whole."""

    category = ErrorCategory.AuditUnavailable
    code = "worker_died"


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_processes(
    work: Work[Part, Result], parts: Sequence[Part], passed: Passed = lambda _count: None
) -> list[Result]:
    """Do each part in a process of its own; return the results in the order of the parts.

    `passed` hears the counts that the workers tell. The first error of a worker is raised here. However this
    ends, no process is left behind.
    """
    with contextlib.ExitStack() as crew:
        workers = [_Worker(work, part) for part in parts]
        for worker in workers:
            crew.callback(worker.stop)
            worker.start()
        return _results(workers, passed)


def _results(workers: "Sequence[_Worker[Part, Result]]", passed: Passed) -> list[Result]:
    found: dict[int, Result] = {}
    while len(found) < len(workers):
        working = {place: worker for place, worker in enumerate(workers) if place not in found}
        ready = wait([worker.ear for worker in working.values()])
        for place in [place for place, worker in working.items() if worker.ear in ready]:
            match workers[place].hear():
                case _Found(result):
                    found[place] = result
                case _Refused(error):
                    raise error
                case int() as count:
                    passed(count)
    return [found[place] for place in range(len(workers))]


class _Found(NamedTuple, Generic[Result]):
    result: Result


class _Refused(NamedTuple):
    error: RouterError


class _Worker(Generic[Part, Result]):
    """A process, and the end of the pipe at which it is heard."""

    def __init__(self, work: Work[Part, Result], part: Part) -> None:
        self.ear, self._mouth = _SPAWN.Pipe(duplex=False)
        self._process = _SPAWN.Process(target=_do, args=(self._mouth, work, part), daemon=True)

    def start(self) -> None:
        """Let it begin; from then on the end of the process is the end of the pipe."""
        self._process.start()
        self._mouth.close()

    def hear(self) -> _Found[Result] | _Refused | int:
        """Return what it says next."""
        try:
            said: _Found[Result] | _Refused | int = self.ear.recv()
        except EOFError:
            self._process.join()
            raise WorkerDiedError(
                f"a worker ended with code {self._process.exitcode} before it had done its part"
            ) from None
        return said

    def stop(self) -> None:
        """End it, wherever it is, and wait for that."""
        with contextlib.suppress(AttributeError, ValueError):  # it was never started
            self._process.terminate()
            self._process.join()
        self._mouth.close()
        self.ear.close()


def _do(mouth: Connection, work: Work[Part, Result], part: Part) -> None:
    """Do a part; Ctrl-C is for the process that started this one, and so is what comes of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):  # nobody is there any more who would want to know
        try:
            result = work(part, mouth.send)
        except RouterError as error:
            mouth.send(_Refused(error))
        else:
            mouth.send(_Found(result))
