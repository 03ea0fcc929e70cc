"""What workers do in tests; a module of its own, since each process imports it anew."""

import os
import signal
import sys
from pathlib import Path

from apikeyrouter.adapters.workers.processes import Passed, in_processes
from apikeyrouter.domain.models.system_error import NotFoundError


def square(number: int, passed: Passed) -> int:
    for _ in range(number):
        passed(1)
    return number * number


def die(number: int, passed: Passed) -> int:
    """Be killed in the middle, where the number is odd."""
    passed(number)
    if number % 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number, passed)


def leave(number: int, _passed: Passed) -> int:
    sys.exit(number)


def refuse(number: int, passed: Passed) -> int:
    if number == 3:
        raise NotFoundError("there is no such log", code="no_log")
    return talk(str(number), passed)


def talk(mark: str, passed: Passed) -> int:
    """Tell of the same event for ever; leave a file that says who talks."""
    if mark.startswith("/"):
        Path(f"{mark}-{os.getpid()}").touch()
    while True:
        passed(1)


def hold(mark: str, _passed: Passed) -> int:
    """Say nothing for ever."""
    Path(f"{mark}-{os.getpid()}").touch()
    while True:
        signal.pause()


if __name__ == "__main__":
    in_processes({"talk": talk, "hold": hold}[sys.argv[1]], sys.argv[2:])
