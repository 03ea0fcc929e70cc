"""Chunks that concern nobody are passed on as they arrive, without a task being woken for each."""

import hashlib

import pytest
from loopback import RunningProxy, running_proxy

from apikeyrouter.domain.events import RequestCompleted, RequestFailed
from apikeyrouter.domain.failures import AttemptFailedError, Failure, FailureClass
from apikeyrouter.domain.interfaces.provider_adapter import ProviderDescription, Usage

FIRST = b'data: {"choices":[{"delta":{"content":"one"}}]}\n\n'
QUIET = b'data: {"choices":[{"delta":{"content":"two"}}]}\n\n'
EMPTY = b'data: {"choices":[],"usage":null}\n\n'
NOT_YET = b'data: {"choices":[{"delta":{"content":"[DONE]"}}]}\n\n'
LAST = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\ndata: [DONE]\n\n'
CUT = b""


class RelayingStream:
    """Implements `UpstreamStream`: what lies between the first chunk and the last is offered."""

    def __init__(self, *chunks):
        self._chunks = chunks or (QUIET, EMPTY, QUIET)
        self.usage, self.limits = Usage(1, 2), ()
        self.model = self.finish_reason = self.upstream_request_id = None
        self.taken = []
        self._to = lambda _chunk: False

    def relay(self, to):
        self._to = to

    def close(self):
        """Nothing is open."""

    async def __aiter__(self):
        yield FIRST
        for chunk in self._chunks:
            if chunk is CUT:
                raise AttemptFailedError(Failure(failure_class=FailureClass.BrokenAnswer))
            if chunk is not NOT_YET and self._to(chunk):
                self.taken.append(chunk)
            else:
                yield chunk
        yield LAST


class PlainStream(RelayingStream):
    """The same, as an adapter may be that knows nothing of relaying."""

    relay = None


class Adapter:
    """Implements `ProviderAdapter` with one stream."""

    def __init__(self, stream):
        self.stream = stream

    def describe(self):
        return ProviderDescription(kind="scripted")

    async def execute(self, _call):
        raise NotImplementedError

    async def open_stream(self, _call):
        return self.stream

    async def close(self):
        """Nothing is open."""


async def streamed(proxy: RunningProxy, adapter: Adapter, **changes: object) -> bytes:
    """Ask for one stream of an adapter, and return what the client got."""
    await proxy.node.manage.register_provider("p", adapter, actor="test")
    await proxy.node.manage.register_key("sk-test-relayed", "p", {}, actor="test")
    return (await proxy.ask(stream=True, **changes)).content


@pytest.mark.parametrize("kind", [RelayingStream, PlainStream])
async def test_a_relayed_stream_is_the_same_stream(kind):
    """The client gets every byte in order, and the log counts and digests all that the provider sent."""
    adapter = Adapter(kind())
    async with running_proxy() as proxy:
        got = await streamed(proxy, adapter, stream_options={"include_usage": True})
        ends = [one.event for one in proxy.node.reader.read() if isinstance(one.event, RequestCompleted)]
    sent = FIRST + QUIET + EMPTY + QUIET + LAST
    assert got == sent
    assert [(end.response_bytes, end.response_sha256) for end in ends] == [
        (len(sent), hashlib.sha256(sent).hexdigest())
    ]
    assert adapter.stream.taken == ([QUIET, EMPTY, QUIET] if kind is RelayingStream else [])


async def test_usage_events_are_kept_from_who_did_not_ask_for_them():
    """One that is empty of choices is dropped on this way too, and ends no answer."""
    adapter = Adapter(RelayingStream())
    async with running_proxy() as proxy:
        got = await streamed(proxy, adapter)
    assert got == FIRST + QUIET + QUIET + b"data: [DONE]\n\n"
    assert adapter.stream.taken == [QUIET, EMPTY, QUIET]


async def test_nothing_overtakes_what_is_held_because_it_may_be_the_end():
    """An answer may well speak of `[DONE]`: what follows waits for the reader, who has that chunk."""
    adapter = Adapter(RelayingStream(QUIET, NOT_YET, QUIET, QUIET))
    async with running_proxy() as proxy:
        got = await streamed(proxy, adapter, stream_options={"include_usage": True})
    assert got == FIRST + QUIET + NOT_YET + QUIET + QUIET + LAST
    assert adapter.stream.taken == [QUIET, QUIET]


@pytest.mark.parametrize("middle", [(QUIET, NOT_YET), (NOT_YET, QUIET)])
async def test_what_is_held_is_not_lost_when_the_stream_breaks(middle):
    """The client has every byte that the log counts, and then the error."""
    adapter = Adapter(RelayingStream(*middle, CUT))
    async with running_proxy() as proxy:
        got = await streamed(proxy, adapter)
        ends = [one.event for one in proxy.node.reader.read() if isinstance(one.event, RequestFailed)]
    sent = FIRST + b"".join(middle)
    assert got.startswith(sent + b"data: {")
    assert got.count(b'"error"') == 1
    assert [end.response_bytes for end in ends] == [len(sent)]
