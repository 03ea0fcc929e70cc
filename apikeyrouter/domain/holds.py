"""Legal holds: what must be kept whatever its age, and whoever asks for its erasure."""

import re
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from apikeyrouter.domain.models.system_error import ConflictError, InvalidRequestError, NotFoundError
from apikeyrouter.domain.vocabulary.retention import LegalHoldPlaced, LegalHoldReleased
from apikeyrouter.domain.vocabulary.shape import Event, EventRef

if TYPE_CHECKING:
    from apikeyrouter.domain.state import RouterState

MOST_REASON_CHARS = 500
MOST_NAME_CHARS = 200
_PSEUDONYM = re.compile("[0-9a-f]{32}")


class HoldScope(StrEnum):
    """What a hold is about."""

    Client = "client"
    Subject = "subject"
    Request = "request"
    Period = "period"
    Everything = "everything"


NAMED = frozenset({HoldScope.Client, HoldScope.Subject, HoldScope.Request})
"""Scopes that name somebody or something."""


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A hold in force: what it covers, since when, why and by whom, and the event that placed it."""

    hold_id: str
    scope: HoldScope
    scope_id: str | None
    since_us: int | None
    until_us: int | None
    reason: str
    actor: str
    placed_at_us: int
    ref: EventRef

    def covers(
        self, *, client_id: str | None, subject: str | None, request_id: str | None, at_us: int | None
    ) -> bool:
        """Tell whether something is held; what is at an unknown time may lie within any period."""
        if at_us is not None and not self._within(at_us):
            return False
        match self.scope:
            case HoldScope.Client:
                return client_id == self.scope_id
            case HoldScope.Subject:
                return subject == self.scope_id
            case HoldScope.Request:
                return request_id == self.scope_id
            case HoldScope.Period | HoldScope.Everything:
                return True

    def about(self) -> str:
        """Say what is held, for people."""
        return self.scope if self.scope_id is None else f"{self.scope} {self.scope_id}"

    def _within(self, at_us: int) -> bool:
        since_us, until_us = self.since_us, self.until_us
        return (since_us is None or since_us <= at_us) and (until_us is None or at_us < until_us)


class Holds:
    """The holds in force, by id, in the order in which they were placed."""

    def __init__(self) -> None:
        self.by_id: dict[str, Hold] = {}

    def __len__(self) -> int:
        return len(self.by_id)

    def covering(
        self,
        *,
        client_id: str | None = None,
        subject: str | None = None,
        request_id: str | None = None,
        at_us: int | None = None,
    ) -> Hold | None:
        """Return the first hold that covers something, told by all that is known of it; None: it is free.

        `subject` is the pseudonym under which events know a person, `at_us` when it happened.
        """
        known = {"client_id": client_id, "subject": subject, "request_id": request_id}
        return next((hold for hold in self.by_id.values() if hold.covers(**known, at_us=at_us)), None)

    def place(self, event: LegalHoldPlaced, ref: EventRef) -> None:
        """Take in that a hold was placed."""
        self.by_id[event.hold_id] = Hold(
            hold_id=event.hold_id,
            scope=HoldScope(event.scope),
            scope_id=event.scope_id,
            since_us=event.since_us,
            until_us=event.until_us,
            reason=event.reason,
            actor=event.actor,
            placed_at_us=event.at_us,
            ref=ref,
        )

    def release(self, event: LegalHoldReleased) -> None:
        """Take in that a hold is over."""
        self.by_id.pop(event.hold_id, None)


class HoldAsked(msgspec.Struct, frozen=True, kw_only=True):
    """What an administrator asks to hold, and why."""

    scope: str
    scope_id: str | None = None
    since_us: int | None = None
    until_us: int | None = None
    reason: str


def place(holds: Holds, asked: HoldAsked, *, hold_id: str, at_us: int, actor: str) -> LegalHoldPlaced:
    """Decide on a new hold; raises `InvalidRequestError` for one that covers nothing that can be named."""
    if hold_id in holds.by_id:
        raise ConflictError(f"there is a hold {hold_id} already", param="hold_id")
    _check_scope(asked)
    _check_text(asked.reason, "reason", MOST_REASON_CHARS)
    return LegalHoldPlaced(
        at_us=at_us,
        actor=actor,
        hold_id=hold_id,
        reason=asked.reason,
        scope=asked.scope,
        scope_id=_plain(asked),
        since_us=asked.since_us,
        until_us=asked.until_us,
    )


def release(holds: Holds, hold_id: str, *, at_us: int, actor: str, reason: str) -> LegalHoldReleased:
    """Decide to end a hold; raises `NotFoundError` if none of that id is in force."""
    if hold_id not in holds.by_id:
        raise NotFoundError(
            f"no hold {hold_id[:64]!r} is in force: `apikeyrouter retention hold list` names those that are",
            param="hold_id",
        )
    _check_text(reason, "reason", MOST_REASON_CHARS)
    return LegalHoldReleased(at_us=at_us, actor=actor, hold_id=hold_id, reason=reason)


def _check_scope(asked: HoldAsked) -> None:
    if asked.scope not in set(HoldScope):
        raise InvalidRequestError(f"a hold's scope is one of {', '.join(HoldScope)}", param="scope")
    if asked.scope in NAMED:
        _check_text(asked.scope_id, "scope_id", MOST_NAME_CHARS)
        if asked.scope == HoldScope.Subject:
            check_pseudonym(asked.scope_id or "", "scope_id")
    elif asked.scope_id is not None:
        raise InvalidRequestError(f"a hold on {asked.scope} names nobody", param="scope_id")
    since_us, until_us = asked.since_us, asked.until_us
    if asked.scope == HoldScope.Period and since_us is None and until_us is None:
        raise InvalidRequestError("a hold on a period says since when, or until when", param="since")
    if since_us is not None and until_us is not None and since_us >= until_us:
        raise InvalidRequestError(
            "a hold ends behind its beginning: until must be later than since", param="until"
        )


def check_pseudonym(subject: str, param: str) -> None:
    """Refuse a person's own name: nothing goes by it, and it must not stand in the log."""
    if _PSEUDONYM.fullmatch(subject) is None:
        raise InvalidRequestError(
            "a subject goes by its pseudonym, 32 hexadecimal digits: `apikeyrouter payloads pseudonym`"
            " tells it",
            param=param,
        )


def _check_text(text: str | None, param: str, most: int) -> None:
    if text is None or not text.strip() or len(text) > most or not text.isprintable():
        raise InvalidRequestError(f"{param} is needed: 1 to {most} printable characters", param=param)


def _plain(asked: HoldAsked) -> str | None:
    """Return the name that is held; requests are known by their id alone."""
    if asked.scope == HoldScope.Request and asked.scope_id is not None:
        return asked.scope_id.removeprefix("request-")
    return asked.scope_id


def _placed(state: "RouterState", stream: str, version: int, event: LegalHoldPlaced) -> None:
    state.holds.place(event, EventRef(stream, version))


def _released(state: "RouterState", _stream: str, _version: int, event: LegalHoldReleased) -> None:
    state.holds.release(event)


HOLD_FOLDS: dict[type[Event], Callable[["RouterState", str, int, Any], None]] = {
    LegalHoldPlaced: _placed,
    LegalHoldReleased: _released,
}
