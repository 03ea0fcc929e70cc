"""One call to its last byte: hold it, let its fault strike, keep the limits, think, deliver."""

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import NamedTuple

from apikeyrouter.interfaces.scripted_provider import refusals
from apikeyrouter.interfaces.scripted_provider.answers import Tag
from apikeyrouter.interfaces.scripted_provider.asks import Ask, read_ask
from apikeyrouter.interfaces.scripted_provider.behaviour import Fault
from apikeyrouter.interfaces.scripted_provider.composition import Sizes, compose, tokens_for
from apikeyrouter.interfaces.scripted_provider.delivery import (
    INSTEAD,
    Delivery,
    Ending,
    manner_of,
    refused,
    spoiled,
)
from apikeyrouter.interfaces.scripted_provider.exchange import Exchange
from apikeyrouter.interfaces.scripted_provider.keyring import ScriptedKey
from apikeyrouter.interfaces.scripted_provider.ledger import Call, KeyTally
from apikeyrouter.interfaces.scripted_provider.refusals import RefusedError


class House(NamedTuple):
    """What all calls share: the models that are served, the sizes by default, and the time."""

    served: Collection[str]
    output_tokens: int
    dimensions: int
    now_us: Callable[[], int]


class Conversation:
    """A call of a known key."""

    def __init__(
        self, house: House, exchange: Exchange, key: ScriptedKey, call: Call, tally: KeyTally
    ) -> None:
        self._house = house
        self._exchange = exchange
        self._key = key
        self._call = call
        self._tally = tally

    async def serve(self, key_sent: str) -> None:
        """Answer the call; the call says how it ended unless the client left."""
        fault = self._key.next_fault(self._call.at_us)
        if fault is not None:
            self._call.fault = fault.kind.value
        try:
            delivery = await self._decide(fault, key_sent)
        except RefusedError as error:
            delivery = refused(error.refusal)
        tag = (b"x-request-id", b"req_scripted_%d" % self._call.number)
        await self._exchange.deliver(delivery._replace(headers=[tag, *delivery.headers]), self._call)
        self._call.outcome = "cut" if delivery.ending is Ending.Cut else "answered"

    async def _decide(self, fault: Fault | None, key_sent: str) -> Delivery:
        body = await self._exchange.body()
        await self._pass_gate()
        latency_s = self._key.latency_s()
        if fault is not None and fault.kind in INSTEAD:
            with suppress(RefusedError):
                self._read(body)
            await self._exchange.rest(latency_s)
            return INSTEAD[fault.kind](fault, key_sent)
        ask = self._admit(body)
        tag = Tag(self._call.number, self._call.at_us // 1_000_000)
        delivery = compose(ask, tag, manner_of(fault, key_sent), self._sizes(), self._house.served)
        await self._exchange.rest(latency_s + delivery.thinking_s)
        return spoiled(delivery._replace(headers=self._key.limits.headers(self._house.now_us())), fault)

    async def _pass_gate(self) -> None:
        """Wait while the key's calls are held."""
        while gate := self._key.gate():
            self._tally.held += 1
            try:
                await self._exchange.outlast(gate)
            finally:
                self._tally.held -= 1

    def _admit(self, body: bytes) -> Ask:
        """Read what is asked and take it from the key's limits; raise `RefusedError`."""
        ask = self._read(body)
        if ask.operation == "models":
            return ask
        if self._house.served and ask.model not in self._house.served:
            raise RefusedError(refusals.unknown_model(ask.model))
        now_us = self._house.now_us()
        overrun = self._key.limits.admit(now_us, tokens_for(ask, self._sizes()))
        if overrun is not None:
            raise RefusedError(refusals.over_limit(overrun, self._key.limits.headers(now_us)))
        return ask

    def _read(self, body: bytes) -> Ask:
        """Read what is asked, and enter it into the call; raise `RefusedError`."""
        ask = read_ask(self._call.operation, body)
        self._call.model, self._call.user, self._call.stream = ask.model, ask.user, ask.stream
        return ask

    def _sizes(self) -> Sizes:
        script = self._key.script
        return Sizes(
            script.output_tokens or self._house.output_tokens,
            self._house.dimensions,
            script.tokens_per_event,
            script.token_ms / 1000,
        )
