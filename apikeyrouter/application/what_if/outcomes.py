"""How a call ends in a run: as recorded where that very call was made, else by what is expected of the key.

A call that was never made has no outcome that anybody knows. It is drawn from what the record shows of the
key by then, with the consumption that the same request had elsewhere. Draws depend on the run's seed, the
request and the attempt alone.
"""

from hashlib import sha256

import msgspec

from apikeyrouter.application.what_if.evidence import Evidence, Known, failure_in
from apikeyrouter.application.what_if.scripts import Script
from apikeyrouter.domain.events import (
    AttemptFailed,
    Event,
    RequestCancelled,
    RequestCompleted,
    RequestFailed,
    RouteDecided,
)
from apikeyrouter.domain.failures import Failure, FailureClass
from apikeyrouter.domain.interfaces.provider_adapter import Usage
from apikeyrouter.domain.settlement import MEASURED, Outcome

GUESSED_FIRST_BYTE_US = 1_000_000
"""Where neither the key nor the request tells how long it takes."""

UNSEEN_FAILURE = Failure(failure_class=FailureClass.ServerError, status=500)
"""How a key fails that was never seen to fail."""


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a call ends, so long after its decision.

    One of `outcome`, `failure` and `left` is there; with `broke` the failure came after text had been sent.
    `basis` says on what this stands: "recorded", "modelled", or "unknown" where nothing is known of the key.
    """

    after_us: int
    basis: str
    outcome: Outcome | None = None
    failure: Failure | None = None
    broke: RequestFailed | None = None
    left: RequestCancelled | None = None
    elapsed_us: int = 0
    first_byte_us: int = 0


def outcome_in(event: RequestCompleted) -> Outcome:
    """Return what was seen of the answer that was recorded."""
    return Outcome(
        usage=usage_in(event),
        model=event.model,
        finish_reason=event.finish_reason,
        upstream_request_id=event.upstream_request_id,
        response_bytes=event.response_bytes,
        response_sha256=event.response_sha256,
    )


def usage_in(event: RequestCompleted | RequestCancelled | RequestFailed) -> Usage | None:
    """Return what the provider counted; None where the record only bounds it."""
    if event.usage_source != MEASURED:
        return None
    return Usage(**{name: getattr(event, name) for name in Usage.__struct_fields__})


class Outcomes:
    """Tell how calls end in one run; another seed draws otherwise what nobody knows.

    Without a seed nothing is drawn: whatever a key may serve, it serves.
    """

    def __init__(self, seed: int | None, evidence: Evidence) -> None:
        self._seed = seed
        self._evidence = evidence

    def of(self, script: Script, decided: RouteDecided) -> Ending:
        """Return how the call of a decision ends that was not made at this place of the record."""
        return _recorded(script, decided) or self._modelled(script, decided)

    def seed(self, script: Script, attempt: int) -> int:
        """Return the seed that was drawn for an attempt, or one that stands for it."""
        recorded = script.seed(attempt)
        return int(self._draw(script.stream, attempt, "seed") * 2**53) if recorded is None else recorded

    def _modelled(self, script: Script, decided: RouteDecided) -> Ending:
        known, end = self._evidence.of(decided.chosen.key_id, decided.at_us), script.end()
        basis = "modelled" if known.is_seen and isinstance(end, RequestCompleted) else "unknown"
        first_byte_us = known.first_byte_us or _own_first_byte_us(end)
        if self._fails(script, decided, known):
            failure = known.failure or UNSEEN_FAILURE
            return Ending(after_us=first_byte_us, basis=basis, failure=failure, elapsed_us=first_byte_us)
        if isinstance(end, RequestCancelled):
            return Ending(after_us=max(end.at_us - decided.at_us, 0), basis=basis, left=end)
        return Ending(
            after_us=first_byte_us + _rest_us(script, end),
            basis=basis,
            outcome=self._answer(decided, end),
            first_byte_us=first_byte_us,
        )

    def _fails(self, script: Script, decided: RouteDecided, known: Known) -> bool:
        if self._seed is None:
            return not known.serves
        return self._draw(script.stream, decided.attempt, "outcome") >= known.serves

    def _answer(self, decided: RouteDecided, end: Event | None) -> Outcome:
        """Give the answer that the request had elsewhere; where it had none, what is to be expected of it."""
        if isinstance(end, RequestCompleted):
            served = outcome_in(end)
            usual = served.model in {decided.facts.model, decided.model}
            return msgspec.structs.replace(
                served, model=served.model if usual else None, upstream_request_id=None
            )
        expected = self._evidence.expected(decided)
        return Outcome(
            usage=Usage(
                expected.input_tokens,
                expected.output_tokens,
                cached_input_tokens=expected.cached_tokens,
            ),
            model=None,
            finish_reason=None,
            upstream_request_id=None,
            response_bytes=0,
            response_sha256="",
        )

    def _draw(self, stream: str, attempt: int, what: str) -> float:
        """Return a number in [0, 1) that is the same in every process."""
        drawn = sha256(f"{self._seed}/{stream}/{attempt}/{what}".encode()).digest()
        return int.from_bytes(drawn[:6], "big") / 2**48


def _recorded(script: Script, decided: RouteDecided) -> Ending | None:
    """Return how the same call ended in the record, if it was made there."""
    found = script.after(decided)
    if found is None:
        return None
    then, event, end = found
    after_us = event.at_us - then.at_us
    match event:
        case RequestCompleted():
            return Ending(
                after_us=after_us,
                basis="recorded",
                outcome=outcome_in(event),
                first_byte_us=event.first_byte_us,
            )
        case RequestCancelled():
            return Ending(after_us=max(event.at_us - decided.at_us, 0), basis="recorded", left=event)
        case AttemptFailed():
            broke = end if isinstance(end, RequestFailed) and end.usage_source != "none" else None
            return Ending(
                after_us=after_us,
                basis="recorded",
                failure=failure_in(event),
                broke=broke,
                elapsed_us=event.elapsed_us,
            )
    return None


def _own_first_byte_us(end: Event | None) -> int:
    return end.first_byte_us if isinstance(end, RequestCompleted) else GUESSED_FIRST_BYTE_US


def _rest_us(script: Script, end: Event | None) -> int:
    """Return how long the answer took from its first byte on."""
    if not isinstance(end, RequestCompleted):
        return 0
    decided = [e.event for e in script.events if isinstance(e.event, RouteDecided)]
    return max(end.at_us - decided[-1].at_us - end.first_byte_us, 0) if decided else 0
