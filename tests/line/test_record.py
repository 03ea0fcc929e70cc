"""What the log holds of a request: every step, in order, with evidence that resolves."""

import asyncio

import msgspec
from loopback import QUESTION, eventually, running_proxy, scripted

from apikeyrouter.adapters.eventlog import backlog
from apikeyrouter.application.audit import trail
from apikeyrouter.application.replay import verify
from apikeyrouter.domain.events import (
    AttemptFailed,
    RequestCancelled,
    RequestCompleted,
    RequestFailed,
    RouteDecided,
)
from apikeyrouter.interfaces.cli.story import tell
from apikeyrouter.interfaces.scripted_provider import Fault, FaultKind, KeyScript, ScriptedProvider
from apikeyrouter.settings import RouterSettings


async def test_a_happy_request_is_two_events(tmp_path):
    """Decided before the call, completed before the answer; usage is the provider's own."""
    async with ScriptedProvider(scripted("a")) as provider, running_proxy() as proxy:
        await proxy.provide(provider, "a")
        answer = await proxy.ask()
        events = [e.event for e in proxy.node.reader.stream(f"request-{answer.headers['x-request-id']}")]
        decided, completed = events
        assert isinstance(decided, RouteDecided)
        assert isinstance(completed, RequestCompleted)
        usage = answer.json()["usage"]
        assert (completed.input_tokens, completed.output_tokens) == (
            usage["prompt_tokens"],
            usage["completion_tokens"],
        )
        assert completed.usage_source == "provider"
        assert completed.response_bytes == len(answer.content)


async def test_every_reference_of_an_explanation_resolves():
    """The trail shows sentences, events and evidence, and misses nothing."""
    async with ScriptedProvider(scripted("a", "b", "c")) as provider, running_proxy() as proxy:
        await proxy.provide(provider, "a", "b", "c")
        answers = [await proxy.ask() for _ in range(20)]
        story = trail(proxy.node.reader, answers[-1].headers["x-request-id"])
        assert not story.missing
        assert len(story.evidence) >= 4
        assert story.sentences[0].startswith("Chose key")
        assert f"{story.events[0].stream}/1" == answers[-1].headers["x-akr-decision"]
        assert story.events[0].position == int(answers[-1].headers["x-akr-log-position"])


async def test_all_decisions_re_execute_to_the_same_bytes(tmp_path):
    """Concurrent traffic, whole and streamed, then the log is folded again and every decision made again."""
    async with ScriptedProvider(scripted("a", "b", "c")) as provider, running_proxy() as proxy:
        await proxy.provide(provider, "a", "b", "c")
        await asyncio.gather(*(proxy.ask(stream=number % 2 == 0) for number in range(60)))
        result = verify(proxy.node.reader.read())
        assert result.identical, result.differences
        assert result.decisions == 60


async def test_verification_locates_a_changed_decision():
    """A decision that would not come out so is found, down to the field."""
    async with ScriptedProvider(scripted("a", "b")) as provider, running_proxy() as proxy:
        await proxy.provide(provider, "a", "b")
        await proxy.ask()
        events = list(proxy.node.reader.read())
        place = next(i for i, e in enumerate(events) if isinstance(e.event, RouteDecided))
        forged = msgspec.structs.replace(
            events[place].event, chosen=msgspec.structs.replace(events[place].event.chosen, total=0.5)
        )
        events[place] = events[place]._replace(event=forged)
        result = verify(events)
        assert result.different == 1
        assert result.differences[0].field == "chosen.total"


async def test_a_client_that_leaves_closes_the_upstream_and_is_settled():
    """Mid-stream and before the first byte: the upstream notices within a second, the log tells."""
    slow = KeyScript(token_ms=50, output_tokens=200)
    silent = KeyScript(latency_ms=20_000)
    for script, phase in ((slow, "streaming"), (silent, "before_first_byte")):
        async with ScriptedProvider(scripted(a=script)) as provider, running_proxy() as proxy:
            await proxy.provide(provider, "a")
            if phase == "streaming":
                async with proxy.client.stream(
                    "POST", "/v1/chat/completions", json={**QUESTION, "stream": True}
                ) as answer:
                    await anext(answer.aiter_bytes())
            else:
                asking = asyncio.create_task(proxy.ask())
                await eventually(lambda p=provider: p.ledger().keys["a"].open == 1)
                asking.cancel()
            await eventually(lambda p=provider: p.ledger().keys["a"].aborted == 1, 2)
            await eventually(lambda p=proxy: not p.node.state.open_requests)
            *_, last = proxy.node.reader.read()
            assert isinstance(last.event, RequestCancelled)
            assert last.event.phase == phase
            assert proxy.node.state.columns.in_flight.sum() == 0


async def test_a_failure_and_the_end_that_charges_for_it_share_a_transaction(tmp_path, monkeypatch, capsys):
    """Between two, a death would free what the broken stream holds of its budgets and charge nothing."""
    monkeypatch.setattr(backlog, "MOST_BATCH_EVENTS", 1)
    settings = RouterSettings(database_url=str(tmp_path / "log.db"))
    cut = KeyScript(output_tokens=20, faults=(Fault(kind=FaultKind.CutMidStream),))
    transactions = []
    async with ScriptedProvider(scripted(a=cut)) as provider, running_proxy(settings) as proxy:
        await proxy.provide(provider, "a")
        proxy.node.journal.log.follow(transactions.append)
        answer = await proxy.ask(stream=True)
        await eventually(lambda: not proxy.node.state.open_requests)
        story = trail(proxy.node.reader, answer.headers["x-request-id"])
    assert b'"error"' in answer.content
    tell(story, {})
    shown = " ".join(capsys.readouterr().out.split())
    assert "bytes, and then an error in the stream" in shown
    assert "status 502" not in shown
    kinds = [[type(one.event) for one in batch] for batch in transactions]
    (shared,) = (batch for batch in kinds if AttemptFailed in batch)
    assert RequestFailed in shared
    assert RouteDecided not in shared


async def test_restart_brings_back_keys_states_and_history(tmp_path):
    """The same file gives the same keys in the same states, and answers as before."""
    settings = RouterSettings(database_url=str(tmp_path / "log.db"))
    async with ScriptedProvider(scripted("a", "b")) as provider:
        async with running_proxy(settings) as proxy:
            await proxy.provide(provider, "a", "b")
            await proxy.node.manage.disable_key(proxy.key_ids["b"], actor="test")
            first = await proxy.ask()
        async with running_proxy(settings) as proxy:
            assert (await proxy.ask()).status_code == 200
            assert proxy.node.state.keys[next(iter(proxy.node.state.keys))].state == "available"
            story = trail(proxy.node.reader, first.headers["x-request-id"])
            assert len(story.events) == 2
            assert verify(proxy.node.reader.read()).identical
