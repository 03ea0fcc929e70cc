"""How long the log keeps requests, what must not be dropped, and what was: stream retention."""

from apikeyrouter.domain.vocabulary.shape import Event


class RetentionSet(Event, frozen=True, kw_only=True, gc=False):
    """An administrator said how long requests are kept; `keep_us` None: for ever."""

    actor: str
    keep_us: int | None = None


class LegalHoldPlaced(Event, frozen=True, kw_only=True, gc=False):
    """Somebody must keep what a scope covers, whatever its age, until the hold is released.

    `scope` is "client", "subject", "request", "period" or "everything", `scope_id` who or what it names.
    `since_us <= time < until_us` narrows any scope; None is no bound.
    """

    actor: str
    hold_id: str
    reason: str
    scope: str
    scope_id: str | None = None
    since_us: int | None = None
    until_us: int | None = None


class LegalHoldReleased(Event, frozen=True, kw_only=True, gc=False):
    """A hold is over: nothing is kept on its account any more."""

    actor: str
    hold_id: str
    reason: str


class SegmentDropped(Event, frozen=True, kw_only=True, gc=False):
    """Requests were archived as a segment, and are about to leave the log: these positions and no others.

    `runs` counts positions from `first` to `last`: so many dropped, so many kept, and so on in turn. The
    segment is a bundle of evidence with the hash `sha256`, made under the checkpoint over `size` events with
    `root` (base64). Its events bear times from `from_us` to `to_us`; `clients` are those that it tells of.
    `keep_us` was the retention in force. `signature` (base64) is that of the log's key on all of this.
    """

    actor: str
    segment: str
    sha256: str
    first: int
    last: int
    events: int
    requests: int
    runs: tuple[int, ...]
    size: int
    root: str
    from_us: int
    to_us: int
    clients: tuple[str, ...] = ()
    keep_us: int | None = None
    signature: str = ""


class SegmentRemoved(Event, frozen=True, kw_only=True, gc=False):
    """The rows of a dropped segment are gone from the file, and what they left in it is overwritten."""

    segment: str


class StateRefolded(Event, frozen=True, kw_only=True, gc=False):
    """A node began with a state that is a fold of what was left: the archived requests were not at hand.

    The state behind the event at `behind` was folded without any position that was dropped by then, `events`
    of them. Money and quotas are the same; averages of latency, success and demand are not.
    """

    node_id: str
    behind: int
    events: int
