"""What keeps snapshots must do. They are a cache of the fold: whatever is doubtful is folded anew."""

from typing import NamedTuple, Protocol

from apikeyrouter.domain.state import RouterState


class Frozen(NamedTuple):
    """A state as it stood behind the event at `position`; nothing that happens to the state changes it."""

    position: int
    latest_us: int
    content: object


class Snapshots(Protocol):
    """Keeps states of one log. Everything but `freeze` blocks, and may be called in any thread."""

    def nearest(
        self, until: int | None = None, *, at_us: int | None = None
    ) -> tuple[int, RouterState] | None:
        """Return the latest state that fits this log and this program, with its position; None: none does.

        It stands at `until` or before it, and no event up to it bears a time later than `at_us`. The state is
        the caller's own, to be folded on.
        """

    def freeze(self, state: RouterState) -> Frozen:
        """Copy a state in one step, for `write`; to be called by whoever changes it."""

    def write(self, frozen: Frozen, *, pinned: bool = False) -> None:
        """Store what was frozen; the log must be durable up to its position.

        Of those not pinned the newest few stay. That it failed is told to operators, and harms nobody else.
        """

    def keep(self, state: RouterState, *, pinned: bool = False) -> None:
        """Freeze and write."""

    def forget(self, *, before: int) -> None:
        """Remove all that stand before a position, pinned ones too: events behind them left the log."""


class NoSnapshots:
    """Keeps nothing: every state is folded from the beginning."""

    def nearest(
        self, until: int | None = None, *, at_us: int | None = None
    ) -> tuple[int, RouterState] | None:
        """Find none."""
        del until, at_us
        return None

    def freeze(self, state: RouterState) -> Frozen:
        """Copy nothing."""
        return Frozen(state.position, state.latest_us, None)

    def write(self, frozen: Frozen, *, pinned: bool = False) -> None:
        """Store nothing."""

    def keep(self, state: RouterState, *, pinned: bool = False) -> None:
        """Store nothing."""

    def forget(self, *, before: int) -> None:
        """Have nothing to remove."""


NO_SNAPSHOTS: Snapshots = NoSnapshots()
