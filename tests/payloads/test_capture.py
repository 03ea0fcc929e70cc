"""Bodies are kept of the clients for which that was switched on, of what was asked and of what came back."""

import asyncio
import json

import httpx
import openai
import pytest
from loopback import eventually, scripted
from payload_world import ACTOR, CLIENT, PROMPT, Part, a_world, files_of, question

from apikeyrouter import ApiKeyRouter
from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.application.journal import unavailable
from apikeyrouter.domain.events import (
    AttemptFailed,
    PayloadCaptured,
    PayloadLost,
    PayloadRead,
    RequestCancelled,
)
from apikeyrouter.domain.models.system_error import LogUnavailableError
from apikeyrouter.interfaces.scripted_provider import Fault, FaultKind, KeyScript, ScriptedProvider


async def shown(world, payload):
    return (await world.desk.reading.show(payload.request_id, actor=ACTOR)).bodies


def sdk(world, **options):
    return openai.AsyncOpenAI(
        base_url=f"{world.proxy.base_url}/v1",
        api_key="sk-test-client",
        max_retries=0,
        default_headers={"x-akr-client": CLIENT},
        **options,
    )


class TestWhoseAreKept:
    async def test_nobodys_by_default(self, tmp_path):
        """No file, no event, and not a word of it anywhere."""
        async with a_world(tmp_path, capture=False) as world:
            assert (await world.ask()).status_code == 200
            assert await world.stored() == []
            assert world.node.state.payloads.due == {}
        files = files_of(tmp_path)
        assert not [name for name in files if "payload" in name]
        assert not [name for name, content in files.items() if b"CANARY" in content or b"payload." in content]

    async def test_only_of_the_client_that_was_named(self, world):
        """Another one's, and those of nobody in particular, are let go."""
        await world.ask(client="other")
        await world.ask(client=None)
        mine = await world.ask()
        assert [one.request_id for one in await world.stored()] == [mine.headers["x-request-id"]]

    async def test_until_it_is_switched_off(self, world):
        """What was kept stays."""
        await world.ask()
        await world.desk.terms.switch_off(CLIENT, actor=ACTOR)
        await world.ask()
        assert len(await world.stored()) == 1

    async def test_what_counts_is_the_beginning_of_a_request(self, tmp_path):
        """Switched off or on while it is under way, it goes on as it began."""
        async with (
            ScriptedProvider(scripted(a=KeyScript(hold=True))) as provider,
            a_world(tmp_path, provider=provider) as world,
        ):
            first = asyncio.create_task(world.ask("first"))
            await eventually(lambda: len(world.node.state.payloads.due) == 1)
            await world.desk.terms.switch_off(CLIENT, actor=ACTOR)
            second = asyncio.create_task(world.ask("second"))
            await eventually(lambda: len(world.node.state.open_requests) == 2)
            await world.desk.terms.switch_on(CLIENT, actor=ACTOR)
            provider.change_key("a", hold=False)
            answers = await asyncio.gather(first, second)
            [kept] = await world.stored()
        assert kept.request_id == answers[0].headers["x-request-id"]

    async def test_a_request_that_is_refused_leaves_nothing(self, world):
        """Nothing was sent to anybody."""
        key_id = world.proxy.key_ids["a"]
        await world.node.manage.disable_key(key_id, actor=ACTOR)
        assert (await world.ask()).status_code == 503
        assert await world.stored() == []
        assert await world.events(PayloadLost) == []


class TestWhatIsKept:
    async def test_a_whole_answer_to_the_openai_sdk(self, world):
        """What was asked and what came back, byte for byte as they went over the wire."""
        async with sdk(world) as client:
            raw = await client.chat.completions.with_raw_response.create(**question())
        [kept] = await world.stored()
        bodies = await shown(world, kept)
        assert json.loads(bodies[Part.Request])["messages"][0]["content"] == PROMPT
        assert bodies[Part.Answer] == raw.http_response.content
        assert kept.request_id == raw.headers["x-request-id"]

    async def test_a_streamed_answer_to_the_openai_sdk(self, world):
        """Every event of the stream, to its end."""
        async with sdk(world) as client:
            stream = await client.chat.completions.create(**question(stream=True))
            texts = [chunk.choices[0].delta.content or "" async for chunk in stream]
        [kept] = await world.stored()
        answer = (await shown(world, kept))[Part.Answer]
        assert answer.endswith(b"data: [DONE]\n\n")
        chunks = [json.loads(line[6:]) for line in answer.splitlines() if line.startswith(b"data: {")]
        told = [one["choices"][0]["delta"].get("content") or "" for one in chunks if one["choices"]]
        assert "".join(told) == "".join(texts) != ""
        assert not any(part.truncated for part in kept.parts)

    async def test_the_library_keeps_them_too(self, world):
        """By the same line."""
        async with ApiKeyRouter() as router:
            await router.register_provider("openai", OpenAIAdapter(base_url=world.provider.base_url))
            await router.register_key("sk-test-a", "openai")
            await router.payloads.capture_on(CLIENT, keep="30d", reason="a complaint")
            intent = {**question(user="u"), "client_id": CLIENT}
            response = await router.route(intent)
            [_ async for _ in router.route_stream(intent)]
            told = await router.payloads.show(response.request_id, reason="to see")
            assert PROMPT in told["bodies"]["request"]
            assert response.content in told["bodies"]["answer"]
            listed = await router.payloads.list_payloads(client_id=CLIENT)
            assert len(listed) == 2
            assert {one["subject"] for one in listed} == {await router.payloads.pseudonym(CLIENT, "u")}
            assert (await router.payloads.captures())[0]["keep_us"] == 30 * 86_400_000_000
            receipt = await router.payloads.erase(CLIENT, "u", reason="asked to")
            assert receipt == await router.payloads.receipt(receipt["erasure_id"])
            assert receipt["payloads"] == 2
            assert (await router.payloads.verify())["ok"]
            assert await router.payloads.expire() == {}
            assert (await router.payloads.capture_off(CLIENT))[0]["enabled"] is False

    async def test_persons_are_told_apart_by_their_pseudonyms(self, world):
        """Named by either field; without one it is the client's own."""
        for fields in ({"user": "ann"}, {"safety_identifier": "ann", "user": "x"}, {"user": "bob"}, {}):
            await world.ask(**fields)
        subjects = [one.subject for one in await world.stored()]
        pseudonym = world.desk.reading.pseudonym
        assert subjects == [pseudonym(CLIENT, name) for name in ("ann", "ann", "bob", None)]

    async def test_the_event_tells_sizes_and_nothing_of_the_contents(self, world):
        """Sizes of what was sent and sealed, a hash of the ciphertext, and that is all."""
        await world.ask(user="a-named-person")
        [kept] = await world.stored()
        [recorded] = await world.events(PayloadCaptured)
        assert recorded.stream == f"payload-{kept.request_id}"
        assert recorded.event.parts == kept.parts
        assert recorded.event.client_id == CLIENT
        sizes = {part: len(body) for part, body in (await shown(world, kept)).items()}
        assert {part.part: part.plain_bytes for part in kept.parts} == sizes

    async def test_what_is_too_long_is_cut_and_said_to_be(self, tmp_path):
        """Each body has its own limit; the client gets all of it."""
        async with a_world(tmp_path, capture_bytes=200) as world:
            whole = await world.ask()
            streamed = await world.ask("x" * 300, stream=True)
            first, second = await world.stored()
            assert [part.truncated for part in first.parts] == [False, True]
            assert [part.truncated for part in second.parts] == [True, True]
            assert (await shown(world, first))[Part.Answer] == whole.content[:200]
            begun = (await shown(world, second))[Part.Answer]
            assert len(begun) == 200
            assert begun[:20] == streamed.content[:20]
            assert streamed.content.endswith(b"[DONE]\n\n")

    async def test_no_header_is_kept(self, world):
        """Client keys travel in headers."""
        headers = {"x-akr-client": CLIENT, "authorization": "Bearer sk-CANARY-client-key"}
        await world.proxy.client.post("/v1/chat/completions", json=question(), headers=headers)
        [kept] = await world.stored()
        for body in (await shown(world, kept)).values():
            assert b"sk-CANARY" not in body
            assert b"sk-test-a" not in body


class TestRequestsThatEndBadly:
    async def test_of_a_failed_request_what_was_asked_is_kept(self, tmp_path):
        """The provider refused it: there is no answer."""
        faults = (Fault(kind=FaultKind.Status, status=400),)
        async with (
            ScriptedProvider(scripted(a=KeyScript(faults=faults))) as provider,
            a_world(tmp_path, provider=provider) as world,
        ):
            assert (await world.ask()).status_code == 400
            [kept] = await world.stored()
            assert list(await shown(world, kept)) == [Part.Request]

    async def test_of_a_request_that_ran_out_of_keys_what_was_asked_is_kept(self, tmp_path):
        """Somebody was asked, and then there was nobody left."""
        faults = (Fault(kind=FaultKind.Status, status=500),)
        async with (
            ScriptedProvider(scripted(a=KeyScript(faults=faults))) as provider,
            a_world(tmp_path, provider=provider) as world,
        ):
            assert (await world.ask()).status_code >= 500
            [kept] = await world.stored()
            assert list(await shown(world, kept)) == [Part.Request]

    async def test_of_a_stream_that_broke_while_the_log_failed_what_came_is_kept(self, tmp_path, monkeypatch):
        """It is known once the log works again."""
        faults = (Fault(kind=FaultKind.CutMidStream),)
        async with (
            ScriptedProvider(scripted(a=KeyScript(faults=faults))) as provider,
            a_world(tmp_path, provider=provider) as world,
        ):
            record, failures = world.node.journal.record, []

            def failing(events):
                if any(isinstance(one.event, AttemptFailed) for one in events) and not failures:
                    failures.append(events)
                    world.node.journal.fall_behind()
                    raise unavailable()
                return record(events)

            monkeypatch.setattr(world.node.journal, "record", failing)
            await world.ask(stream=True)
            assert failures
            [kept] = await world.stored()
            assert (await shown(world, kept))[Part.Answer].startswith(b"data: {")

    async def test_of_a_stream_that_broke_what_came_is_kept(self, tmp_path):
        """As far as it went."""
        faults = (Fault(kind=FaultKind.CutMidStream),)
        async with (
            ScriptedProvider(scripted(a=KeyScript(faults=faults))) as provider,
            a_world(tmp_path, provider=provider) as world,
        ):
            await world.ask(stream=True)
            [kept] = await world.stored()
            answer = (await shown(world, kept))[Part.Answer]
            assert answer.startswith(b"data: {")
            assert b"[DONE]" not in answer

    async def test_of_a_client_that_left_a_stream_what_came_is_kept(self, tmp_path):
        """Its request counts as cancelled, and is kept once."""
        slow = KeyScript(token_ms=20, output_tokens=500)
        async with (
            ScriptedProvider(scripted(a=slow)) as provider,
            a_world(tmp_path, provider=provider) as world,
        ):
            headers = {"x-akr-client": CLIENT}
            async with world.proxy.client.stream(
                "POST", "/v1/chat/completions", json=question(stream=True), headers=headers
            ) as answer:
                async for _ in answer.aiter_bytes():
                    break
            await eventually(lambda: not world.node.state.open_requests)
            [kept] = await world.stored()
            assert len(await world.events(RequestCancelled)) == 1
            assert (await shown(world, kept))[Part.Answer].startswith(b"data: {")

    async def test_of_a_client_that_left_before_the_answer_the_question_is_kept(self, tmp_path):
        """Somebody may have answered it."""
        async with (
            ScriptedProvider(scripted(a=KeyScript(hold=True))) as provider,
            a_world(tmp_path, provider=provider) as world,
        ):
            with pytest.raises(httpx.ReadTimeout):
                await world.proxy.client.post(
                    "/v1/chat/completions",
                    json=question(),
                    headers={"x-akr-client": CLIENT},
                    timeout=0.3,
                )
            await eventually(lambda: not world.node.state.open_requests)
            [kept] = await world.stored()
            assert list(await shown(world, kept)) == [Part.Request]


class TestReading:
    async def test_every_reading_is_an_event_before_it_is_an_answer(self, world):
        """Who, what, when and why, in the stream of the bodies."""
        await world.ask()
        [kept] = await world.stored()
        for reason in ("a complaint", None):
            await world.desk.reading.show(kept.request_id, actor=ACTOR, reason=reason)
        reads = await world.events(PayloadRead)
        assert [(one.version, one.event.actor, one.event.reason) for one in reads] == [
            (2, ACTOR, "a complaint"),
            (3, ACTOR, None),
        ]

    async def test_readings_at_the_same_time_do_not_get_in_each_others_way(self, world):
        """Each is recorded in its own place."""
        await world.ask()
        [kept] = await world.stored()
        shows = [world.desk.reading.show(kept.request_id, actor=str(number)) for number in range(8)]
        assert len(await asyncio.gather(*shows)) == 8
        assert [one.version for one in world.node.reader.stream(f"payload-{kept.request_id}")] == [
            *range(1, 10)
        ]

    async def test_without_a_log_nothing_is_shown(self, world, monkeypatch):
        """What cannot be recorded is not done."""
        await world.ask()
        [kept] = await world.stored()

        def fail(_events):
            raise unavailable()

        monkeypatch.setattr(world.node.journal, "record", fail)
        with pytest.raises(LogUnavailableError):
            await world.desk.reading.show(kept.request_id, actor=ACTOR)
