"""What the record shows of keys and models: what was really seen, never what a run made up."""

from typing import NamedTuple

from apikeyrouter.domain.columns import (
    FAILED,
    FIRST_BYTE_US,
    OUTCOME_HALF_LIFE_US,
    SUCCEEDED,
    DecayedColumns,
)
from apikeyrouter.domain.events import (
    AttemptFailed,
    KeyMaterialRotated,
    Recorded,
    RequestCancelled,
    RequestCompleted,
    RequestFailed,
    RequestReleased,
    RouteDecided,
    RouteRefused,
)
from apikeyrouter.domain.expectations import Expectation, Expectations
from apikeyrouter.domain.failures import Failure, FailureClass, KeyEffect
from apikeyrouter.domain.scoring import LEAST_OBSERVED, PRIOR_FAILURES, PRIOR_SUCCESSES
from apikeyrouter.domain.settlement import MEASURED

BLAMELESS = frozenset({KeyEffect.Nothing, KeyEffect.DenyModel})


class Known(NamedTuple):
    """What is known of a key: the probability that it serves, how it fails, how fast it is.

    `serves` is the mean of a Beta posterior over outcomes that fade with time, as routing forgets them.
    """

    is_seen: bool
    serves: float
    failure: Failure | None
    first_byte_us: int | None


class Evidence:
    """Fold the recorded outcomes, key by key. All runs of one comparison share it."""

    def __init__(self) -> None:
        self._outcomes: dict[str, DecayedColumns] = {}
        self._failures: dict[str, Failure] = {}
        self._rejected: set[str] = set()
        self._asked: dict[str, RouteDecided] = {}
        self._expectations = Expectations()

    def see(self, recorded: Recorded) -> None:
        """Take in a recorded event."""
        match recorded.event:
            case RouteDecided() as decided:
                self._asked[recorded.stream] = decided
            case RequestCompleted() as completed:
                self._served(completed)
                self._consumed(recorded.stream, completed)
            case RequestFailed() | RequestCancelled() | RequestReleased() | RouteRefused():
                self._asked.pop(recorded.stream, None)
            case AttemptFailed() as failed if failed.effect not in BLAMELESS:
                outcomes = self._of(failed.key_id)
                outcomes.sums[FAILED, 0] += outcomes.weight(failed.at_us)
                self._failures[failed.key_id] = failure_in(failed)
                if failed.effect == KeyEffect.Invalidate:
                    self._rejected.add(failed.key_id)
            case KeyMaterialRotated():
                self._rejected.discard(recorded.stream.removeprefix("key-"))

    def of(self, key_id: str, at_us: int) -> Known:
        """Tell what is known of a key at an instant; its provider rejects rejected material every time."""
        outcomes = self._outcomes.get(key_id)
        if outcomes is None:
            return Known(False, _serves(0.0, 0.0), None, None)
        sums = outcomes.sums[:, 0] * outcomes.scale(at_us)
        succeeded, failed, first_byte_us = (float(sums[line]) for line in (SUCCEEDED, FAILED, FIRST_BYTE_US))
        return Known(
            succeeded + failed > LEAST_OBSERVED,
            0.0 if key_id in self._rejected else _serves(succeeded, failed),
            self._failures.get(key_id),
            int(first_byte_us / succeeded) if succeeded > LEAST_OBSERVED else None,
        )

    def expected(self, decided: RouteDecided) -> Expectation:
        """Tell what a request will probably consume that nobody has seen answered."""
        return self._expectations.of(decided.model, decided.facts, decided.at_us)

    def _served(self, completed: RequestCompleted) -> None:
        outcomes = self._of(completed.key_id)
        weight = outcomes.weight(completed.at_us)
        outcomes.sums[SUCCEEDED, 0] += weight
        outcomes.sums[FIRST_BYTE_US, 0] += weight * completed.first_byte_us

    def _consumed(self, stream: str, completed: RequestCompleted) -> None:
        decided = self._asked.pop(stream, None)
        if decided is not None and completed.usage_source == MEASURED:
            self._expectations.observe(decided.model, decided.facts, completed)

    def _of(self, key_id: str) -> DecayedColumns:
        outcomes = self._outcomes.get(key_id)
        if outcomes is None:
            outcomes = self._outcomes[key_id] = DecayedColumns(OUTCOME_HALF_LIFE_US, 3, 1)
        return outcomes


def failure_in(event: AttemptFailed) -> Failure:
    """Return the failure that was recorded."""
    return Failure(
        failure_class=FailureClass(event.failure),
        status=event.status,
        code=event.code,
        retry_after_us=event.retry_after_us,
        sent=event.sent,
    )


def _serves(succeeded: float, failed: float) -> float:
    good = succeeded + PRIOR_SUCCESSES
    return good / (good + failed + PRIOR_FAILURES)
