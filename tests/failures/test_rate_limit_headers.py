"""What headers say of limits, in the names of every provider, and how it travels with each answer."""

import json
from email.utils import formatdate

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from raw_server import chunked, response

from apikeyrouter.adapters.providers.rate_limit_headers import (
    _NAMES,
    LONGEST_RESET_US,
    rate_limit_reports,
)
from apikeyrouter.domain.failures import AttemptFailedError, FailureClass
from apikeyrouter.domain.rate_limits import RateLimitReport, reset_after_us

NOW_S = 1_800_000_000.0
SECOND = 1_000_000
MINUTE, DAY = 60 * SECOND, 86_400 * SECOND
CHAT = json.dumps({"model": "m", "choices": [{"finish_reason": "stop"}]}).encode()
OPENAI = {
    "x-ratelimit-limit-requests": "10000",
    "x-ratelimit-remaining-requests": "9999",
    "x-ratelimit-reset-requests": "8.64s",
    "x-ratelimit-limit-tokens": "200000",
    "x-ratelimit-remaining-tokens": "0",
    "x-ratelimit-reset-tokens": "6m0s",
}
OF_OPENAI = (
    RateLimitReport("requests", 10_000, 9_999, 8_640_000),
    RateLimitReport("tokens", 200_000, 0, 360 * SECOND),
)


def reports(headers):
    return rate_limit_reports(headers, lambda: NOW_S)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, ()),
        ({"content-type": "text/plain", "x-request-id": "1"}, ()),
        (OPENAI, OF_OPENAI),
        ({"x-ratelimit-remaining-tokens": "12"}, (RateLimitReport("tokens", None, 12),)),
        (
            {
                "x-ratelimit-limit-requests-day": "14400",
                "x-ratelimit-remaining-requests-day": "14399",
                "x-ratelimit-reset-requests-day": "33011.382867",
                "x-ratelimit-limit-tokens-minute": "60000",
                "x-ratelimit-reset-tokens-minute": "11.38",
            },
            (
                RateLimitReport("requests", 14_400, 14_399, 33_011_382_867, DAY),
                RateLimitReport("tokens", 60_000, None, 11_380_000, MINUTE),
            ),
        ),
        (
            {
                "anthropic-ratelimit-requests-limit": "50",
                "anthropic-ratelimit-requests-remaining": "49",
                "anthropic-ratelimit-requests-reset": "2027-01-15T08:01:30Z",
                "anthropic-ratelimit-input-tokens-remaining": "30000",
                "anthropic-ratelimit-output-tokens-limit": "8000",
                "anthropic-ratelimit-tokens-limit": "38000",
            },
            (
                RateLimitReport("requests", 50, 49, 90 * SECOND),
                RateLimitReport("input_tokens", None, 30_000),
                RateLimitReport("output_tokens", 8_000),
                RateLimitReport("tokens", 38_000),
            ),
        ),
        (
            {
                "x-ratelimit-limit": "20",
                "x-ratelimit-remaining": "0",
                "x-ratelimit-reset": "1800000090000",
            },
            (RateLimitReport("requests", 20, 0, 90 * SECOND),),
        ),
        (
            {"ratelimit-limit": "100, 100;w=60", "ratelimit-remaining": "50", "ratelimit-reset": "50"},
            (RateLimitReport("requests", 100, 50, 50 * SECOND),),
        ),
        ({"ratelimit": '"default";r=0;t=30'}, (RateLimitReport("requests", None, 0, 30 * SECOND),)),
        (
            {
                "ratelimit": '"burst";r=0;t=30, "perday-tokens";r=7, "lines";r=1',
                "ratelimit-policy": '"burst";q=100;w=60,"perday-tokens";q=9000;w=86400, '
                '"lines";q=3;qu="concurrent-requests"',
            },
            (
                RateLimitReport("requests", 100, 0, 30 * SECOND, MINUTE),
                RateLimitReport("tokens", 9_000, 7, None, DAY),
            ),
        ),
        ({"ratelimit": "limit=10, remaining=3, reset=5"}, (RateLimitReport("requests", 10, 3, 5 * SECOND),)),
        ({"x-ratelimit-limit-tokens-prompt": "5"}, (RateLimitReport("input_tokens", 5),)),
        ({"x-ratelimit-limit-req-minute": "5"}, (RateLimitReport("requests", 5, window_us=MINUTE),)),
        ({"x-ratelimit-limit-requests": "-1", "x-ratelimit-remaining-requests": "many"}, ()),
        ({"x-ratelimit-limit-requests": "9" * 30, "x-ratelimit-reset-requests": "whenever"}, ()),
        ({"x-ratelimit-limit-requests": "1500.0"}, (RateLimitReport("requests", 1500),)),
        (
            {"x-ratelimit-reset-requests": formatdate(NOW_S + 90, usegmt=True)},
            (RateLimitReport("requests", reset_after_us=90 * SECOND),),
        ),
        ({"ratelimit": '"default";r=0;t=30' + " " * 600}, ()),
        ({"ratelimit": '"default";r=0;t=30', "ratelimit-policy": " " * 600}, ()),
        ({"ratelimit": ""}, ()),
    ],
)
def test_limits_are_read(headers, expected):
    """Each provider's names, values and units give the same report; nonsense gives none."""
    assert reports(headers) == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ((), None),
        (OF_OPENAI, 360 * SECOND),
        ((RateLimitReport("requests", 1, 1, 7), RateLimitReport("tokens", 1, 1, 5)), 5),
        ((RateLimitReport("requests", 1, 0, 7), RateLimitReport("tokens", 1, 0, 5)), 7),
        ((RateLimitReport("requests", 1, 0), RateLimitReport("tokens", 1, 3, 5)), 5),
        ((RateLimitReport("requests", 1, 0),), None),
    ],
)
def test_the_limit_that_is_used_up_decides(told, expected):
    """The reset of a limit that has room left is no reason to wait, unless nothing else is known."""
    assert reset_after_us(told) == expected


TEXTS = st.one_of(
    st.text(max_size=70),
    st.from_regex(r"-?[0-9]{1,20}(\.[0-9]{1,20})?(ms|s|m|h|d)?", fullmatch=True),
    st.from_regex(r'"[a-z]{0,9}";[rtqw]=[0-9]{1,20}(;[rtqw]="?[a-z0-9]{1,9})*', fullmatch=True),
    st.datetimes().map(lambda at: at.isoformat()),
)


@settings(deadline=None)
@example({"ratelimit": '""'}, 0.0)
@given(st.dictionaries(st.sampled_from(sorted(_NAMES | {"ratelimit-policy"})), TEXTS), st.floats(0, 1e11))
def test_any_headers_give_bounded_reports(headers, now_s):
    """No text crashes the reader, and no number leaves its bounds."""
    for report in rate_limit_reports(headers, lambda: now_s):
        counts = (report.limit, report.remaining)
        spans = (report.reset_after_us, report.window_us)
        assert report.dimension in {"requests", "tokens", "input_tokens", "output_tokens"}
        assert any(value is not None for value in counts + spans)
        assert all(count is None or (type(count) is int and 0 <= count < 10**15) for count in counts)
        assert all(span is None or (type(span) is int and 0 <= span <= LONGEST_RESET_US) for span in spans)


class TestReportsTravel:
    HEAD = tuple(f"{name}: {value}" for name, value in OPENAI.items())
    EVENT = b'data: {"model":"m","choices":[{"finish_reason":"stop"}]}\n\n'
    DONE = b"data: [DONE]\n\n"

    def streamed(self, *events):
        head = ("Content-Type: text/event-stream", "Transfer-Encoding: chunked", *self.HEAD)
        return response(framing="none", headers=head) + b"".join(map(chunked, events)) + b"0\r\n\r\n"

    async def test_with_a_whole_answer(self, adapter_for, call):
        """An answer tells what is left after it."""
        adapter = await adapter_for(response(CHAT, headers=self.HEAD))
        assert (await adapter.execute(call())).limits == OF_OPENAI

    async def test_with_a_stream_from_its_beginning(self, adapter_for, call):
        """The head of a stream has them already."""
        adapter = await adapter_for(self.streamed(self.EVENT, self.DONE))
        stream = await adapter.open_stream(call())
        assert stream.limits == OF_OPENAI
        assert b"".join([chunk async for chunk in stream]) == self.EVENT + self.DONE

    async def test_with_a_refusal_and_its_wait(self, adapter_for, call, failed):
        """A refused call tells the limits, and without another word the used-up one is the wait."""
        adapter = await adapter_for(response(b"{}", status="429 No", headers=self.HEAD))
        for attempt in (adapter.execute, adapter.open_stream):
            failure = await failed(attempt(call()))
            assert (failure.limits, failure.wait_us) == (OF_OPENAI, 360 * SECOND)

    @pytest.mark.parametrize("body", [b'{"error": {"code": "rate_limit_exceeded"}}', b"<html>", b"{}"])
    async def test_with_a_success_that_is_none(self, adapter_for, call, failed, body):
        """An error under 200, or garbage, came with a head all the same."""
        head = ("Content-Type: application/json", *self.HEAD)
        adapter = await adapter_for(response(body, headers=head))
        for attempt in (adapter.execute, adapter.open_stream):
            assert (await failed(attempt(call()))).limits == OF_OPENAI

    async def test_with_an_answer_that_stalls_or_cannot_be_read(self, adapter_for, call, failed):
        """The head was whole, whatever becomes of the body."""
        stalled = await adapter_for(
            response(
                framing="none", headers=("Content-Length: 9", "Content-Type: application/json", *self.HEAD)
            )
        )
        for attempt in (stalled.execute, stalled.open_stream):
            failure = await failed(attempt(call()))
            assert (failure.failure_class, failure.limits) == (FailureClass.IdleTimeout, OF_OPENAI)
        head = ("Content-Type: text/event-stream", "Content-Encoding: br", *self.HEAD)
        unreadable = await adapter_for(response(b"x", headers=head))
        assert (await failed(unreadable.open_stream(call()))).limits == OF_OPENAI

    @pytest.mark.parametrize(
        ("last", "expected"),
        [
            (b'data: {"error": {"code": "rate_limit_exceeded"}}\n\n', FailureClass.RateLimited),
            (
                b'data: [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}]\n\n',
                FailureClass.RateLimited,
            ),
            (b"", FailureClass.BrokenAnswer),
        ],
    )
    async def test_with_a_stream_that_breaks(self, adapter_for, call, last, expected):
        """What was told at the beginning is told with the failure too."""
        adapter = await adapter_for(self.streamed(self.EVENT, last) if last else self.streamed(self.EVENT))
        stream = await adapter.open_stream(call())
        with pytest.raises(AttemptFailedError) as caught:
            _ = [chunk async for chunk in stream]
        failure = caught.value.failure
        assert (failure.failure_class, failure.limits) == (expected, OF_OPENAI)

    async def test_not_where_nothing_is_told(self, adapter_for, call):
        """Silence is no report."""
        adapter = await adapter_for(response(CHAT))
        assert (await adapter.execute(call())).limits == ()
