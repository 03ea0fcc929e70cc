"""A stream is the same stream however its packets fall, and any bytes are some stream or a failure."""

import asyncio
import json
from itertools import cycle, pairwise
from unittest.mock import patch

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from raw_server import KEY
from stream_events import DONE, USAGE, collected, error_event, event, of_responses

from apikeyrouter.adapters.providers import openai_stream
from apikeyrouter.adapters.providers.openai_stream import OpenAIStream
from apikeyrouter.adapters.providers.redaction import Mask
from apikeyrouter.domain.failures import AttemptFailedError


class Canned:
    """A response whose chunks are given."""

    def __init__(self, chunks):
        self.status = 200
        self.headers = {}
        self.closed = False
        self._chunks = chunks

    async def chunks(self, relay):
        for chunk in self._chunks:
            if not relay(chunk):
                yield chunk

    def finish(self):
        self.closed = True

    close = finish


async def outcome(chunks, operation="chat", refusals=None):
    """Run a stream over given packets and return all that can be seen of it.

    With refusals, what tells nothing is relayed, but for what is refused.
    """
    stream = OpenAIStream(Canned(chunks), operation, Mask(KEY))
    try:
        await stream.begin()
    except AttemptFailedError as error:
        return b"", error.failure, None, None, None
    passed = bytearray()
    if refusals is not None:
        refusals = cycle([*refusals, False])
        stream.relay(lambda chunk: not next(refusals) and not passed.extend(chunk))
    failed = await collected(stream, passed)
    return bytes(passed), failed, stream.usage, stream.model, stream.finish_reason


VALUES = st.sampled_from(
    [
        None,
        "",
        "stop",
        "error",
        False,
        0,
        {},
        {"code": "x"},
        {"output": [], "model": "m"},
        USAGE,
        [],
        [None],
        [{}],
    ]
)
CHOICES = st.lists(st.fixed_dictionaries({}, optional={"finish_reason": VALUES, "delta": VALUES}), max_size=2)
NAMES = st.sampled_from(["type", "error", "usage", "response", "model", "choices"])
FIELDS = st.builds(
    lambda choices, others: {"choices": choices} | others, CHOICES, st.dictionaries(NAMES, VALUES, max_size=2)
)
PIECES = st.sampled_from(
    [
        event(),
        event("stop"),
        event(usage=USAGE),
        DONE,
        error_event(),
        b": c\n\n",
        b"data: junk\n\n",
        b"data: {}\r\n\r\n",
        event(content=f"echo {KEY}"),
        b"data: [DONE]\r\r",
        b"data: {",
        b"\n",
        b"\xff",
        of_responses("response.completed", response={"output": [], "status": "completed"}),
    ]
)
AT_ONCE = settings(max_examples=150, suppress_health_check=[HealthCheck.differing_executors], deadline=None)


class TestAnyPackets:
    @AT_ONCE
    @given(
        st.lists(PIECES, max_size=8),
        st.lists(st.integers(0, 5000), max_size=15),
        st.booleans(),
        st.none() | st.lists(st.booleans(), max_size=4),
    )
    def test_any_cut_gives_the_same_stream(self, pieces, places, of_chat, refusals):
        """However the packets fall, and who takes them, the same bytes are forwarded, the same facts read."""
        data = b"".join(pieces)
        edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
        packets = [data[a:b] for a, b in pairwise(edges) if a < b]
        operation = "chat" if of_chat else "responses"
        whole = asyncio.run(outcome([data] if data else [], operation))
        assert asyncio.run(outcome(packets, operation, refusals)) == whole
        assert KEY.encode() not in whole[0]

    @AT_ONCE
    @given(st.lists(st.binary(max_size=60), max_size=8))
    def test_any_bytes_end_in_a_failure_that_has_a_name(self, packets):
        """Garbage that is no end is classified, never an exception of another kind."""
        passed, failed, *_ = asyncio.run(outcome([event(), *packets]))
        assert failed is not None or passed.rstrip().endswith(b"[DONE]")
        assert passed.startswith(event())

    @AT_ONCE
    @given(st.lists(FIELDS, max_size=6))
    @example([{"choices": [], "type": "error"}])
    @example([{"choices": [], "error": {"code": "x"}}])
    @example([{"choices": [], "usage": USAGE}])
    @example([{"choices": [{"finish_reason": "stop"}]}])
    @example([{"choices": [], "type": {}, "response": {"output": []}}])
    def test_an_event_left_unread_had_nothing_to_tell(self, events):
        """What is forwarded, read and refused is the same as if every event were read in full."""
        packets = [event(), *(b"data: " + json.dumps(fields).encode() + b"\n\n" for fields in events), DONE]
        seen = asyncio.run(outcome(packets))
        assert asyncio.run(outcome(packets, refusals=[])) == seen
        with patch.object(openai_stream, "_tells_in_chat", lambda _: True):
            assert asyncio.run(outcome(packets)) == seen
