"""How far a pass over the log has come, on standard error."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from apikeyrouter.interfaces.cli.screen import console

if TYPE_CHECKING:
    from rich.progress import Progress

    from apikeyrouter.domain.events import Recorded

Track = Callable[["Iterable[Recorded]", int], "Iterable[Recorded]"]


@contextmanager
def progress(doing: str) -> Iterator[Track]:
    """Yield what shows a pass over so many events while they are taken; nothing is left of it at the end."""
    with _bar(doing) as shown:
        yield lambda events, total: shown.track(events, total=total)


@contextmanager
def passing(doing: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield what shows a pass over so many events that others take, and tell in how many they are."""
    with _bar(doing) as shown:
        task = shown.add_task(doing, total=total)
        yield lambda count: shown.advance(task, count)


def _bar(doing: str) -> "Progress":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(doing),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("events"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console(errors=True), transient=True)
