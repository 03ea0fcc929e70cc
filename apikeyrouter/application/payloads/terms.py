"""Whose bodies are kept, and how long: an administrator's word, client by client. Without it, nobody's."""

import re

from apikeyrouter.application.journal import Journal
from apikeyrouter.application.origin import origin_of
from apikeyrouter.application.ports import Clock
from apikeyrouter.domain.events import CaptureSet, client_stream
from apikeyrouter.domain.models.system_error import ConflictError, InvalidRequestError
from apikeyrouter.domain.windows import DAY_US, HOUR_US, MINUTE_US

MOST_REASON_CHARS = 500
_SPAN = re.compile(r"([1-9]\d{0,4})([mhdw])")
_UNIT_US = {"m": MINUTE_US, "h": HOUR_US, "d": DAY_US, "w": 7 * DAY_US}


def checked_reason(reason: str | None) -> str | None:
    """Return a reason as it may be recorded, or raise `InvalidRequestError`."""
    if reason is None or (0 < len(reason) <= MOST_REASON_CHARS and reason.isprintable()):
        return reason
    raise InvalidRequestError(f"a reason has 1 to {MOST_REASON_CHARS} printable characters", param="reason")


def checked_client(client_id: str) -> str:
    """Return the name of a client, or raise `InvalidRequestError`."""
    origin_of(client_id)
    return client_id


class CaptureTerms:
    """Switch the keeping of bodies on and off."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock

    async def switch_on(
        self, client_id: str, *, actor: str, keep_us: int | None = None, reason: str | None = None
    ) -> CaptureSet:
        """Keep the bodies of a client's requests from now on; `keep_us` None: until they are erased."""
        if keep_us is not None and keep_us <= 0:
            raise InvalidRequestError("bodies are kept for some time, or not at all", param="keep")
        return await self._set(
            checked_client(client_id),
            CaptureSet(
                at_us=self._clock.now_us(),
                actor=actor,
                enabled=True,
                keep_us=keep_us,
                reason=checked_reason(reason),
            ),
        )

    async def switch_off(self, client_id: str, *, actor: str, reason: str | None = None) -> CaptureSet:
        """Keep none of the requests that begin from now on; what is kept stays."""
        if client_id not in self._journal.state.payloads.capturing:
            raise ConflictError(f"bodies of client {client_id[:128]!r} are not kept", param="client_id")
        reason = checked_reason(reason)
        told = CaptureSet(at_us=self._clock.now_us(), actor=actor, enabled=False, reason=reason)
        return await self._set(client_id, told)

    async def _set(self, client_id: str, told: CaptureSet) -> CaptureSet:
        await self._journal.settled(self._journal.record_next(client_stream(client_id), told))
        return told


def parse_keep(text: str) -> int:
    """Read how long bodies are kept, such as 30d, in microseconds, or raise `InvalidRequestError`."""
    told = _SPAN.fullmatch(text)
    if told is None:
        raise InvalidRequestError("keep is a number with m, h, d or w behind it, such as 30d", param="keep")
    return int(told[1]) * _UNIT_US[told[2]]
