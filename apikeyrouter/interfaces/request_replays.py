"""The replay of a request as users see it."""

from collections.abc import Iterable
from typing import Any

import msgspec

from apikeyrouter.application.audit import event_as_data
from apikeyrouter.application.reenact import Reenactment
from apikeyrouter.application.retrace import Step


def replay_view(request_id: str, steps: Iterable[Step], again: Reenactment) -> dict[str, Any]:
    """Show the steps of a request, and what came of sending it through the line again."""
    return {
        "request_id": request_id.removeprefix("request-"),
        "steps": [step.as_data() for step in steps],
        "again": {
            "identical": again.identical,
            "unable": again.unable,
            "different": msgspec.to_builtins(again.different),
            "events": [event_as_data(recorded) for recorded in again.made],
        },
    }
