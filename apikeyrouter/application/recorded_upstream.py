"""The upstream of one request as recorded, and the vault that its calls do not need."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from apikeyrouter.application.recorded_world import RecordedTime
from apikeyrouter.application.what_if.evidence import failure_in
from apikeyrouter.domain.events import (
    AttemptFailed,
    Event,
    RequestCancelled,
    RequestCompleted,
    RequestFailed,
)
from apikeyrouter.domain.failures import AttemptFailedError, FailureClass
from apikeyrouter.domain.interfaces.provider_adapter import (
    ProviderDescription,
    UpstreamAnswer,
    UpstreamCall,
    UpstreamStream,
    Usage,
)
from apikeyrouter.domain.rate_limits import RateLimitReport

NOTHING_AT_ALL = UpstreamAnswer(body=b"")
BEYOND_ANY_TIMEOUT_US = 10**15


class RecordedUpstream:
    """Implements `ProviderAdapter`: every call ends as the record says that it did."""

    def __init__(self, time: RecordedTime) -> None:
        self._time = time

    def describe(self) -> ProviderDescription:
        """Tell nothing: it is never registered."""
        return ProviderDescription(kind="recorded")

    async def execute(self, call: UpstreamCall) -> UpstreamAnswer:
        """Answer like a stream: what was said is not in the record, only its size and its hash."""
        await self.open_stream(call)
        return NOTHING_AT_ALL

    async def open_stream(self, call: UpstreamCall) -> UpstreamStream:  # noqa: ARG002 - the record knows
        """Fail as recorded, or return once the first byte would have been there."""
        time, event = self._time, self._time.coming()
        match event:
            case AttemptFailed() if not self._breaks():
                gave_up = self._timed_out_in_all(event)
                time.pass_us(event.elapsed_us, then_us=BEYOND_ANY_TIMEOUT_US if gave_up else None)
                raise AttemptFailedError(failure_in(event))
            case RequestCompleted():
                time.pass_us(event.first_byte_us, then_us=event.elapsed_us)
            case RequestCancelled(phase="before_first_byte"):
                time.since_us = event.elapsed_us
                raise asyncio.CancelledError
        return NoStream()

    async def close(self) -> None:
        """Have nothing to give back."""

    def _breaks(self) -> bool:
        end = self._after_the_next()
        return isinstance(end, RequestFailed) and end.usage_source != "none"

    def _timed_out_in_all(self, failed: AttemptFailed) -> bool:
        end = self._after_the_next()
        total = FailureClass.TotalTimeout
        return isinstance(end, RequestFailed) and end.failure == total and failed.failure != total

    def _after_the_next(self) -> Event | None:
        time, coming = self._time, self._time.coming()
        own = [one.event for one in time.own if one.stream.startswith("request-")]
        place = next((place for place, event in enumerate(own) if event is coming), len(own))
        return own[place + 1] if place + 1 < len(own) else None


class NoStream:
    """A stream of which the record has the end alone."""

    usage: Usage | None = None
    model: str | None = None
    finish_reason: str | None = None
    upstream_request_id: str | None = None
    limits: tuple[RateLimitReport, ...] = ()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield nothing."""
        return
        yield b""

    def close(self) -> None:
        """Have nothing to close."""


class NoVault:
    """Implements what of `Vault` a call needs: no key material is known to the past."""

    def unseal(self, key_id: str) -> str:  # noqa: ARG002 - whichever key it is
        """Return nothing that opens anything."""
        return ""

    def fingerprint(self, material: str) -> str:  # noqa: ARG002
        """Return nothing."""
        return ""

    def seal(self, key_id: str, material: str) -> None:
        """Keep nothing."""

    def destroy(self, key_id: str) -> None:
        """Keep nothing."""

    def key_ids(self) -> Sequence[str]:
        """Know nobody."""
        return ()

    def close(self) -> None:
        """Have nothing to close."""
