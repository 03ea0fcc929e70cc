"""Where reports are asked for: the read models catch up with the log, then they are asked."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from apikeyrouter.adapters.reports.answers import Answers
from apikeyrouter.adapters.reports.catalogue import REPORTS
from apikeyrouter.adapters.reports.files import copy_to, fingerprints, rebuild
from apikeyrouter.adapters.reports.free_sql import select
from apikeyrouter.adapters.reports.store import ReadModelFile
from apikeyrouter.application.ports import EventReader
from apikeyrouter.application.projections.projector import Progress, Standing, catch_up
from apikeyrouter.application.reporting.forecasts import ABOUT, FORECAST
from apikeyrouter.application.reporting.questions import ReportAnswer, ReportQuestion
from apikeyrouter.application.retention.gaps import archived_within
from apikeyrouter.domain.events import EVENT_NAMES
from apikeyrouter.domain.models.system_error import InvalidRequestError


class Traced(msgspec.Struct, frozen=True):
    """Events behind a number, each with its place and its name; `count` is how many there are."""

    events: list[dict[str, Any]]
    count: int
    as_of: int


class ReportDesk:
    """Answer reports from a log and the file of its read models; without a file they live in memory.

    One question is answered at a time. Everything here blocks: a server asks from a thread.
    """

    def __init__(
        self, reader: EventReader, path: Path | None, *, progress: Progress = lambda _count: None
    ) -> None:
        self._reader = reader
        self._path = path
        self._progress = progress
        self._in_memory = ReadModelFile(None) if path is None else None
        self._turn = threading.Lock()

    def ask(self, question: ReportQuestion) -> ReportAnswer:
        """Answer a question to the read models."""
        with self._caught_up() as store:
            answer = Answers(store).ask(question)
        return msgspec.structs.replace(answer, archived=archived_within(self._reader, question.period))

    def trace(self, question: ReportQuestion, *, after: int = 0) -> Traced:
        """Return the events behind the rows of a question, from the log itself."""
        if question.report == FORECAST:
            raise InvalidRequestError(ABOUT, param="report")
        with self._caught_up() as store:
            found = Answers(store).trace(question, after=after)
        return Traced(list(self._told(found.positions)), found.count, found.as_of)

    def standings(self) -> dict[str, Standing]:
        """Return where each read model stands, as it is, without catching up."""
        with self._open() as store:
            return dict(store.standings())

    def fingerprints(self) -> dict[str, str]:
        """Return a hash of the contents of each read model, caught up."""
        with self._caught_up() as store:
            return fingerprints(store)

    def rebuild(self) -> int:
        """Make all read models anew; return the position that they stand at then."""
        with self._turn:
            if self._path is not None:
                return rebuild(self._reader, self._path, progress=self._progress)
            with self._open_store() as store:
                store.forget(store.standings())
                return catch_up(self._reader, store, progress=self._progress)

    def copy(self, target: Path) -> None:
        """Write a copy of the read models, caught up, for other programs to read."""
        with self._caught_up() as store:
            copy_to(store, target)

    def select(self, sql: str, limit: int) -> tuple[list[str], list[Sequence[Any]]]:
        """Run a query of the user's own, which cannot change anything; return names and rows."""
        with self._caught_up() as store:
            return select(store, sql, limit)

    @contextmanager
    def _caught_up(self) -> Iterator[ReadModelFile]:
        with self._open() as store:
            catch_up(self._reader, store, progress=self._progress)
            yield store

    @contextmanager
    def _open(self) -> Iterator[ReadModelFile]:
        with self._turn, self._open_store() as store:
            yield store

    @contextmanager
    def _open_store(self) -> Iterator[ReadModelFile]:
        if self._in_memory is not None:
            yield self._in_memory
            return
        with ReadModelFile(self._path) as store:
            yield store

    def _told(self, positions: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Look events up in the log, neighbours together."""
        for first, last in _stretches(positions):
            for recorded in self._reader.read(first - 1, last):
                yield {
                    "position": recorded.position,
                    "stream": recorded.stream,
                    "version": recorded.version,
                    "name": EVENT_NAMES[type(recorded.event)],
                    "at_us": recorded.event.at_us,
                }


def known_reports() -> list[dict[str, Any]]:
    """Describe the reports, and what each can be grouped and filtered by."""
    described = [
        {
            "report": one.name,
            "about": one.about,
            "columns": list(one.dimensions),
            "by": list(one.by),
            "counts": [*one.measures, *one.ratios, *one.quantiles],
        }
        for one in REPORTS.values()
    ]
    return [*described, {"report": FORECAST, "about": ABOUT, "columns": [], "by": ["account"], "counts": []}]


def _stretches(positions: Sequence[int]) -> Iterator[tuple[int, int]]:
    first = last = None
    for position in positions:
        if first is not None and last is not None and position == last + 1:
            last = position
            continue
        if first is not None and last is not None:
            yield first, last
        first = last = position
    if first is not None and last is not None:
        yield first, last
