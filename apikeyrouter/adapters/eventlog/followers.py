"""Those who are told of events once these are durable."""

import asyncio
from collections.abc import Sequence

from apikeyrouter.application.ports import Follower
from apikeyrouter.domain.events import Recorded


class Followers:
    """Functions that are called in the loop's thread with every batch; one that fails harms no other."""

    def __init__(self) -> None:
        self._followers: list[Follower] = []

    def __bool__(self) -> bool:
        return bool(self._followers)

    def add(self, follower: Follower) -> None:
        """Tell this one too, from the next batch on."""
        self._followers.append(follower)

    def tell(self, batch: Sequence[Recorded]) -> None:
        """Call each with the batch."""
        for follower in self._followers:
            try:
                follower(batch)
            except Exception as error:  # noqa: BLE001 - the events are durable, whatever a follower makes of them
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "a follower of the event log failed", "exception": error}
                )
