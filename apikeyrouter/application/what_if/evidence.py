"""What the record shows of keys and models: what was really seen, never what a run made up."""

from typing import NamedTuple

from apikeyrouter.domain.columns import (
    FAILED,
    FIRST_BYTE_US,
    OUTCOME_HALF_LIFE_US,
    SUCCEEDED,
    DecayedColumns,
)
from apikeyrouter.domain.events import AttemptFailed, KeyMaterialRotated, Recorded, RequestCompleted
from apikeyrouter.domain.failures import Failure, FailureClass, KeyEffect
from apikeyrouter.domain.scoring import LEAST_OBSERVED, PRIOR_FAILURES, PRIOR_SUCCESSES

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
        self._output: dict[str, tuple[int, int]] = {}

    def see(self, recorded: Recorded) -> None:
        """Take in a recorded event."""
        match recorded.event:
            case RequestCompleted() as completed:
                self._served(completed)
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

    def usual_output(self, model: str) -> int | None:
        """Return how many tokens a model answers on average; None where it never answered."""
        count, tokens = self._output.get(model, (0, 0))
        return tokens // count if count else None

    def _served(self, completed: RequestCompleted) -> None:
        outcomes = self._of(completed.key_id)
        weight = outcomes.weight(completed.at_us)
        outcomes.sums[SUCCEEDED, 0] += weight
        outcomes.sums[FIRST_BYTE_US, 0] += weight * completed.first_byte_us
        count, tokens = self._output.get(completed.model, (0, 0))
        self._output[completed.model] = count + 1, tokens + completed.output_tokens

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
