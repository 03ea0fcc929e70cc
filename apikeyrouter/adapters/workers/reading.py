"""How workers read a log's file, and tell how far they have come."""

from collections.abc import Iterable, Iterator

from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.adapters.retention.whole_log import WholeLog
from apikeyrouter.adapters.workers.processes import Passed
from apikeyrouter.domain.events import Recorded

TELLS_EVERY = 1000


def whole_log(path: str) -> WholeLog:
    """Open a log's file with what has left it in its place."""
    reader = SqliteReader(path)
    return WholeLog(reader, reader.path)


def telling(events: Iterable[Recorded], passed: Passed, after: int = 0) -> Iterator[Recorded]:
    """Pass events on, and tell now and then how many positions that were, from those behind `after` on."""
    told = after
    for recorded in events:
        yield recorded
        if recorded.position >= told + TELLS_EVERY:
            passed(recorded.position - told)
            told = recorded.position
