"""Questions to the past that take long: one at a time, with pauses for the requests, and never for nobody."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from apikeyrouter.domain.events import Recorded
from apikeyrouter.domain.models.system_error import ErrorCategory, InvalidRequestError
from apikeyrouter.domain.models.system_error import SystemError as RouterError
from apikeyrouter.limits import MOST_REPLAYED_EVENTS

WORK_S = 0.002
PAUSE_S = 0.002
"""Requests are served by the same interpreter: they get every other moment of it."""

LOOK_FOR_CLIENT_S = 0.25
TRY_AGAIN_S = 5.0

Told = TypeVar("Told")


class BusyError(RouterError):
    """Somebody else's question to the past is being answered."""

    category = ErrorCategory.RateLimit
    code = "busy"
    http_status = 429
    retryable = True


class AbandonedError(RouterError):
    """Nobody waits for the answer any more."""

    code = "client_closed_request"
    http_status = 499


class Pacing:
    """Hands events on with pauses, until it is told that nobody waits."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End at the next pause."""
        self._stopped.set()

    def events(self, events: Iterable[Recorded]) -> Iterator[Recorded]:
        """Yield events; raise `AbandonedError` once nobody waits."""
        pause_at_s = monotonic() + WORK_S
        for recorded in events:
            if monotonic() >= pause_at_s:
                if self._stopped.wait(PAUSE_S):
                    raise AbandonedError("nobody waits for this answer")
                pause_at_s = monotonic() + WORK_S
            yield recorded


class LongQuestions:
    """Answers one question at a time, in a thread."""

    def __init__(self) -> None:
        self._busy = False

    async def answer(self, request: Request, work: Callable[[Pacing], Told]) -> Told:
        """Run the work, or raise `BusyError`; it is given up when the client leaves or the server ends."""
        if self._busy:
            raise BusyError("another question to the past is being answered", retry_after=TRY_AGAIN_S)
        self._busy = True
        pacing = Pacing()
        running = asyncio.get_running_loop().run_in_executor(None, work, pacing)
        running.add_done_callback(self._ended)
        try:
            while not running.done():
                await asyncio.wait((running,), timeout=LOOK_FOR_CLIENT_S)
                if await request.is_disconnected():
                    pacing.stop()
            return running.result()
        finally:
            pacing.stop()

    def _ended(self, running: "asyncio.Future[Any]") -> None:
        """Take the next question: the thread has ended, whoever still waits for it."""
        self._busy = False
        running.exception()


async def _long_questions(request: Request) -> LongQuestions:
    """Return the one place at which this server is asked."""
    questions: LongQuestions | None = getattr(request.app.state, "long_questions", None)
    if questions is None:
        questions = request.app.state.long_questions = LongQuestions()
    return questions


LongQuestionsDependency = Annotated[LongQuestions, Depends(_long_questions)]


def refuse_if_too_many(events: int, command: str) -> None:
    """Raise `InvalidRequestError` where more events would be read than a server reads beside its requests."""
    if events > MOST_REPLAYED_EVENTS:
        raise InvalidRequestError(
            f"this would read {events:,} events, and over HTTP at most {MOST_REPLAYED_EVENTS:,} are read for"
            f" a question: name an earlier end with `to`, or run `{command}` where the log is, which reads it"
            " beside the server, however long it is",
            param="to",
        )
