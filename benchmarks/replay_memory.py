"""Replay a part of a log in this process alone, and tell the most memory that it had: see the suite `replay`.

`python -m benchmarks.replay_memory LOG ACTION POSITION` prints the peak resident size in MB.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.application.replay import verify
from apikeyrouter.application.turning_point import By, bisect
from apikeyrouter.application.what_if import Change, Stretch, what_if
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.domain.state import RouterState
from benchmarks.history import History

KEYS = 3
KB_PER_MB = 1024


def actions(log: SqliteReader, until: int) -> dict[str, Callable[[], object]]:
    """Return what can be replayed up to a position, by name."""
    cost = Change(policy=policy_of("cost"))
    question = msgspec.structs.replace(History(KEYS).question(), policy=policy_of("cost"))
    return {
        "fold": lambda: RouterState().fold(log.read(until=until)),
        "verify": lambda: verify(log.read(until=until)),
        "what-if": lambda: what_if(log.read(until=until), cost, Stretch(draws=1)),
        "bisect": lambda: bisect(lambda high: log.read(until=high), question, first=1, last=until, by=By.Key),
    }


if __name__ == "__main__":
    path, action, position = sys.argv[1:]
    actions(SqliteReader(path), int(position))[action]()
    # Not getrusage: its peak begins with that of the process that started this one.
    peak_kb = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak_kb is not None
    print(int(peak_kb[1]) // KB_PER_MB)
