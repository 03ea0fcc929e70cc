"""A key as users see it: its stable id, state and history, never its material."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict


class KeyState(StrEnum):
    """The states of a key."""

    Available = "available"
    Throttled = "throttled"
    Exhausted = "exhausted"
    Recovering = "recovering"
    Draining = "draining"
    Disabled = "disabled"
    Invalid = "invalid"
    Revoked = "revoked"


ELIGIBLE_STATES = frozenset({KeyState.Available, KeyState.Recovering})


class APIKey(BaseModel):
    """A registered key. `state_until` is when a timed state ends by itself.

    A key on trial has rested and must serve one request before it gets many. A pinned one is preferred.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    provider_id: str
    state: KeyState
    state_until: datetime | None = None
    state_reason: str
    registered_at: datetime
    metadata: dict[str, Any] = {}
    in_flight: int = 0
    on_trial: bool = False
    pinned: bool = False
