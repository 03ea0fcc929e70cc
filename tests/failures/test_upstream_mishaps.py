"""A provider that misbehaves in every way there is: each ends in its class, and says what was sent."""

import pytest
from raw_server import KEY

from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.adapters.providers.transport import Deadlines
from apikeyrouter.domain.failures import AttemptFailedError, FailureClass
from apikeyrouter.interfaces.scripted_provider import Fault, FaultKind, KeyScript, Script, ScriptedProvider

HASTY = Deadlines(connect_s=2, first_byte_s=0.3, idle_s=0.3, total_s=4)
FINE = None
STREAM_BODY = b'{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hi"}]}'

WHOLE = {
    FaultKind.Html: FailureClass.MalformedAnswer,
    FaultKind.Empty: FailureClass.MalformedAnswer,
    FaultKind.HangBeforeHeaders: FailureClass.FirstByteTimeout,
    FaultKind.HangAfterHeaders: FailureClass.IdleTimeout,
    FaultKind.CutBeforeHeaders: FailureClass.BrokenAnswer,
    FaultKind.EndlessHeaders: FailureClass.MalformedAnswer,
    FaultKind.EndlessBody: FailureClass.MalformedAnswer,
    FaultKind.GzipBomb: FailureClass.MalformedAnswer,
    FaultKind.TruncatedJson: FailureClass.MalformedAnswer,
    FaultKind.WrongContentType: FINE,
    FaultKind.Trickle: FailureClass.TotalTimeout,
    FaultKind.CutMidBody: FailureClass.BrokenAnswer,
    FaultKind.CutMidStream: FailureClass.BrokenAnswer,
    FaultKind.CutMidEvent: FailureClass.BrokenAnswer,
    FaultKind.CutMidCharacter: FailureClass.BrokenAnswer,
    FaultKind.CloseAfterAnswer: FINE,
    FaultKind.ErrorEvent: FailureClass.ServerError,
    FaultKind.MissingDone: FINE,
    FaultKind.UsageMissing: FINE,
    FaultKind.UsageAbsurd: FINE,
    FaultKind.EchoKey: FINE,
}
STREAMED = WHOLE | {
    FaultKind.EndlessBody: FailureClass.MalformedAnswer,
    FaultKind.TruncatedJson: FailureClass.BrokenAnswer,
    FaultKind.WrongContentType: FailureClass.MalformedAnswer,
    FaultKind.MissingDone: FailureClass.BrokenAnswer,
}


async def outcome(kind, call, *, stream, deadlines=HASTY):
    """Ask a provider with this fault, and return how it failed or None."""
    fault = Fault(kind=kind, every_ms=20)
    script = Script(keys={"a": KeyScript(key=KEY, faults=(fault,))})
    async with ScriptedProvider(script) as provider:
        adapter = OpenAIAdapter(provider.base_url, deadlines=deadlines)
        try:
            if stream:
                opened = await adapter.open_stream(call(body=STREAM_BODY))
                _ = [chunk async for chunk in opened]
            else:
                await adapter.execute(call())
        except AttemptFailedError as error:
            return error.failure
        finally:
            await adapter.close()
    return None


def test_no_way_to_misbehave_is_left_out():
    """A new fault of the scripted provider wants its class here; statuses have a table of their own."""
    assert set(WHOLE) == set(STREAMED) == set(FaultKind) - {FaultKind.Status}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("kind", [kind for kind in FaultKind if kind is not FaultKind.Status])
async def test_each_ends_in_its_class(call, kind, stream):
    """What the provider does decides the class, not who notices it; the request had been sent."""
    expected = (STREAMED if stream else WHOLE)[kind]
    deadlines = Deadlines(connect_s=2, first_byte_s=0.3, idle_s=0.3, total_s=0.6)
    slow = kind is FaultKind.Trickle
    failure = await outcome(kind, call, stream=stream, deadlines=deadlines if slow else HASTY)
    assert (failure and failure.failure_class) == expected
    assert failure is None or failure.sent


async def test_nobody_listens(call):
    """A port where nobody listens: nothing was sent."""
    async with ScriptedProvider(Script(accept_any_key=True)) as provider:
        address = provider.base_url
    adapter = OpenAIAdapter(address, deadlines=HASTY)
    with pytest.raises(AttemptFailedError) as caught:
        await adapter.execute(call())
    await adapter.close()
    failure = caught.value.failure
    assert (failure.failure_class, failure.sent) == (FailureClass.ConnectFailed, False)


async def test_a_day_that_is_used_up_and_a_minute_that_is(call):
    """The scripted provider's own limits, refused over a socket, are told apart, with their waits."""
    script = Script(keys={"a": KeyScript(key=KEY, rpm=1), "b": KeyScript(key="sk-b", requests_per_day=0)})
    async with ScriptedProvider(script) as provider:
        adapter = OpenAIAdapter(provider.base_url, deadlines=HASTY)
        answer = await adapter.execute(call())
        with pytest.raises(AttemptFailedError) as minute:
            await adapter.execute(call())
        with pytest.raises(AttemptFailedError) as day:
            await adapter.execute(call(key_material="sk-b"))
        await adapter.close()
    assert {report.dimension for report in answer.limits} == {"requests"}
    assert minute.value.failure.failure_class is FailureClass.RateLimited
    assert 0 < minute.value.failure.wait_us <= 60_000_000
    assert minute.value.failure.limits[0].remaining == 0
    assert day.value.failure.failure_class is FailureClass.QuotaExhausted
    assert day.value.failure.wait_us >= 3_600_000_000
