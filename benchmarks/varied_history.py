"""A month of requests by many clients, in which calls fail and some requests are refused."""

from collections.abc import Iterator
from random import Random

import msgspec

from apikeyrouter.domain.events import (
    CATALOGUE_STREAM,
    AttemptFailed,
    Event,
    NewEvent,
    Prices,
    ProviderRegistered,
    RequestCancelled,
    RequestFacts,
    RouteDecided,
    RouteRefused,
    request_stream,
)
from apikeyrouter.domain.offers import parse_offers
from apikeyrouter.domain.questions import RouteQuestion
from apikeyrouter.domain.routing import decide
from benchmarks.history import EPOCH_US, FACTS, History

CLIENTS = 30
TEAMS = 6
TAGS = ("batch", "chat", "search")
MODELS = ("gpt-4o", "gpt-4o-mini", "o3")
MONTH_US = 30 * 24 * 3600 * 1_000_000
FAILS, CANCELLED, UNKNOWN = 0.03, 0.01, 0.005
LIMITS = {"rpd": 1_000_000_000}


class VariedHistory(History):
    """A history of so many events in a month; the same every time."""

    def __init__(self, keys: int, events: int) -> None:
        super().__init__(keys, limits=LIMITS)
        self._chance = Random(7)
        self._gap_us = MONTH_US * 2 // events
        self._facts = FACTS
        self._at_us = EPOCH_US

    def opening(self) -> list[NewEvent]:
        """Register a provider, its keys, and then more models."""
        registered = ProviderRegistered(
            at_us=EPOCH_US, actor="bench", provider_id="openai", kind="openai", models=parse_offers(MODELS)
        )
        more = [NewEvent(CATALOGUE_STREAM, 2, registered)]
        events = super().opening()
        self.state.apply(more)
        return [*events, *more]

    def serve(self) -> Iterator[NewEvent]:
        """Decide and settle the next request, after a failed call now and then."""
        self._facts = self._next_facts()
        self._at_us += self._chance.randrange(self._gap_us // 2, self._gap_us * 3 // 2)
        stream, version, tried = request_stream(f"{self.requests:032x}"), 1, ()
        self.requests += 1
        while True:
            decision = decide(self.state, self._question(version, tried))
            yield self._happen(stream, version, decision)
            if isinstance(decision, RouteRefused):
                return
            assert isinstance(decision, RouteDecided)
            if self._chance.random() >= FAILS:
                yield self._happen(stream, version + 1, self._end(decision))
                return
            yield self._happen(stream, version + 1, self._failure(decision))
            version, tried = version + 2, (*tried, decision.chosen.key_id)

    def _question(self, version: int, tried: tuple[str, ...]) -> RouteQuestion:
        return RouteQuestion(
            facts=self._facts,
            policy=self.policy,
            attempt=len(tried) + 1,
            tried=tried,
            at_us=self._at_us + version,
            seed=self.requests * 2_654_435_761,
        )

    def _next_facts(self) -> RequestFacts:
        client = self._chance.randrange(CLIENTS)
        return msgspec.structs.replace(
            FACTS,
            model="unheard-of" if self._chance.random() < UNKNOWN else self._chance.choice(MODELS),
            client_id=f"client-{client:02}",
            team=f"team-{client % TEAMS}",
            tags=(self._chance.choice(TAGS),) if client % 3 == 0 else (),
        )

    def _end(self, decision: RouteDecided) -> Event:
        completed = msgspec.structs.replace(
            self._completion(decision),
            at_us=decision.at_us + 400_000,
            attempt=decision.attempt,
            model=decision.model,
            elapsed_us=int(self._chance.lognormvariate(13, 0.6)),
            cost_nano_usd=self._chance.randrange(10_000, 10_000_000),
            prices_nano_usd_per_million=Prices(input=2_500_000_000, output=10_000_000_000),
            price_source="book",
        )
        if self._chance.random() >= CANCELLED:
            return completed
        return RequestCancelled(
            at_us=completed.at_us,
            attempt=completed.attempt,
            key_id=completed.key_id,
            provider_id=completed.provider_id,
            phase="streaming",
            input_tokens=34,
            output_tokens=12,
            usage_source="estimated",
            cost_nano_usd=9_000,
            elapsed_us=completed.elapsed_us,
            response_bytes=100,
        )

    def _failure(self, decision: RouteDecided) -> AttemptFailed:
        return AttemptFailed(
            at_us=decision.at_us + 90_000,
            attempt=decision.attempt,
            key_id=decision.chosen.key_id,
            provider_id=decision.chosen.provider_id,
            failure="connection_reset",
            effect="nothing",
            elapsed_us=90_000,
        )
