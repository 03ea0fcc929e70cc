"""The demo on a terminal: the keys as they are now, and decisions with their reasons."""

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from apikeyrouter.domain.windows import SECOND_US
from apikeyrouter.interfaces.cli.screen import STATE_STYLES, rounded_usd, table
from apikeyrouter.interfaces.demo.feed import Feed, Item
from apikeyrouter.interfaces.demo.scoreboard import KeyRow, Scoreboard

ITEM_LINES = 4
OTHER_LINES = 15


class Page:
    """What is on the screen; drawn anew a few times a second."""

    def __init__(self, scoreboard: Scoreboard, feed: Feed, *, requests: int, began_us: int) -> None:
        self._scoreboard = scoreboard
        self._feed = feed
        self._requests = requests
        self._began_us = began_us

    def __rich_console__(self, console: Console, _options: object) -> list[RenderableType]:
        """Draw everything, with as many decisions as the terminal is high."""
        shown = max(1, (console.height - OTHER_LINES) // ITEM_LINES)
        return [self._head(), "", keys_table(self._scoreboard), "", Group(*self.last_items(shown))]

    def last_items(self, count: int) -> list[RenderableType]:
        """Draw the last items of the feed."""
        return [self.item(item) for item in list(self._feed.items)[-count:]]

    def item(self, item: Item) -> RenderableType:
        """Draw one item of the feed."""
        at_s = (item.at_us - self._began_us) / SECOND_US
        title = Text.assemble((f"{at_s:5.1f} s  ", "dim"), (item.title, "bold"))
        return (
            Group(title, Padding(Text(item.sentence), (0, 0, 0, 9), expand=False)) if item.sentence else title
        )

    def _head(self) -> RenderableType:
        totals = self._scoreboard.totals
        bar = Table.grid(expand=True, padding=(0, 1))
        bar.add_column(ratio=1)
        bar.add_column(justify="right", no_wrap=True)
        position, spent = self._scoreboard.position, rounded_usd(totals.cost_nano_usd)
        told = f"{totals.ended} of {self._requests} requests · {spent} · position {position:,}"
        bar.add_row(ProgressBar(self._requests, totals.ended), told)
        return bar


def keys_table(scoreboard: Scoreboard) -> Table:
    """Draw a line a key."""
    shown = table("key", "state", ">calls", ">answered", ">failed", ">tokens", ">cost", "behaviour")
    for row in scoreboard.rows.values():
        shown.add_row(
            row.label,
            _state(row, scoreboard.latest_us),
            str(row.calls),
            str(row.answered),
            Text(str(row.failed), "red" if row.failed else "dim"),
            f"{row.tokens:,}",
            rounded_usd(row.cost_nano_usd),
            Text(row.note, "dim"),
        )
    return shown


def _state(row: KeyRow, now_us: int) -> Text:
    rest_us = 0 if row.until_us is None else row.until_us - now_us
    rest = f" {rest_us / SECOND_US:.1f} s" if rest_us > 0 else ""
    return Text(f"● {row.state}{rest}", STATE_STYLES.get(row.state, "default"))
