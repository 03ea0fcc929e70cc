"""What happens to the log itself: stream log."""

from apikeyrouter.domain.vocabulary.shape import Event


class NodeStarted(Event, frozen=True, kw_only=True, gc=False):
    """A process opened the log for writing."""

    node_id: str
    version: str


class NodeStopped(Event, frozen=True, kw_only=True, gc=False):
    """A process closed the log in good order."""

    node_id: str


class LogRecovered(Event, frozen=True, kw_only=True, gc=False):
    """Appending works again after an outage during which every request was refused."""

    node_id: str
    outage_us: int


class ClockSteppedBack(Event, frozen=True, kw_only=True, gc=False):
    """The wall clock was set back: what follows bears earlier times than what came before.

    `at_us` is the latest time that counted before, at which windows and rests stand still for a while.
    """

    node_id: str
    by_us: int
