"""Choose what is worth reading among many decisions a second: the most telling one, then let it stand."""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from apikeyrouter.domain.events import KeyStateChanged, Recorded, RouteDecided, RouteRefused
from apikeyrouter.domain.explanation import explain

STANDS_US = 1_500_000
REMEMBERED = 8
STILL_NEWS = frozenset({"invalid", "exhausted"})


class Item(NamedTuple):
    """One line of the feed, and what is said below it. `at_us` is the event's own time."""

    at_us: int
    position: int
    title: str
    sentence: str


class Feed:
    """The last telling items. `labels` names the keys; it grows with the log."""

    def __init__(self, labels: dict[str, str]) -> None:
        self.items: deque[Item] = deque(maxlen=REMEMBERED)
        self.labels = labels
        self._best: tuple[int, Recorded] | None = None
        self._since_us = 0

    def take(self, batch: Iterable[Recorded]) -> None:
        """Look at new events."""
        for recorded in batch:
            match recorded.event:
                case RouteDecided() | RouteRefused() as decision:
                    self._weigh(recorded, _telling(decision))
                case KeyStateChanged(to_state=to_state) as change if to_state in STILL_NEWS:
                    self._push(recorded, self._changed(recorded.stream, change), "")
                case _:
                    pass

    def _weigh(self, recorded: Recorded, telling: int) -> None:
        if self._best is None or telling > self._best[0]:
            self._best = (telling, recorded)
        at_us = recorded.event.at_us
        if at_us - self._since_us >= STANDS_US or not self._since_us:
            self._since_us = at_us
            best, self._best = self._best[1], None
            self._show(best)

    def _show(self, recorded: Recorded) -> None:
        match recorded.event:
            case RouteDecided() as decided:
                title = f"{decided.facts.model} → {self._name(decided.chosen.key_id)}"
            case RouteRefused() as decided:
                title = f"{decided.facts.model} refused"
            case _:
                return
        self._push(recorded, f"{title}  ({decided.policy.objective})", self._named(explain(decided)))

    def _push(self, recorded: Recorded, title: str, sentence: str) -> None:
        self.items.append(Item(recorded.event.at_us, recorded.position, title, sentence))

    def _changed(self, stream: str, change: KeyStateChanged) -> str:
        name = self._name(stream.removeprefix("key-"))
        return f"{name} is {change.to_state} from now on: {change.trigger}"

    def _name(self, key_id: str) -> str:
        return self.labels.get(key_id, key_id)

    def _named(self, text: str) -> str:
        for key_id, label in self.labels.items():
            text = text.replace(key_id, label)
        return text


def _telling(decision: RouteDecided | RouteRefused) -> int:
    """Rank: a refusal, then another attempt, then a choice among keys that differ."""
    if isinstance(decision, RouteRefused):
        return 100
    return (
        10 * (decision.attempt > 1) + 3 * bool(decision.excluded) + (decision.policy.objective != "fairness")
    )
