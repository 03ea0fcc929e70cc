"""Kept bodies over HTTP: switched, listed, read, erased, with errors that say what is wrong."""

import pytest
from payload_world import CLIENT, PROMPT, a_world, hold

from apikeyrouter.domain.events import ErasureStarted, PayloadRead

PATHS = [
    ("GET", "/payloads"),
    ("GET", "/payloads/capture"),
    ("POST", "/payloads/capture"),
    ("POST", "/payloads/pseudonym"),
    ("GET", "/payloads/check"),
    ("POST", "/payloads/expire"),
    ("GET", "/payloads/erasures"),
    ("POST", "/payloads/erasures"),
    ("GET", "/payloads/erasures/1"),
    ("GET", "/payloads/1"),
    ("POST", "/payloads/1/readings"),
]


async def test_the_whole_life(tmp_path):
    """From on to off, as an officer would go through it."""
    async with a_world(tmp_path, capture=False) as world:
        assert await world.call("GET", "/payloads/capture") == []
        change = {"client_id": CLIENT, "enabled": True, "keep": "30d", "reason": "complaint 17"}
        [told] = await world.call("POST", "/payloads/capture", change)
        assert (told["client_id"], told["enabled"], told["actor"]) == (CLIENT, True, "command-line")
        assert told["reason"] == "complaint 17"
        request_id = (await world.ask(user="ann")).headers["x-request-id"]
        await world.ask(user="bob")
        await world.stored()

        who = {"client_id": CLIENT, "subject": "ann"}
        subject = (await world.call("POST", "/payloads/pseudonym", who))["subject"]
        [listed] = await world.call("GET", f"/payloads?client_id={CLIENT}&subject={subject}")
        assert listed["request_id"] == request_id
        refused = await world.call("GET", f"/payloads?client_id={CLIENT}&subject=ann", status=400)
        assert refused["error"]["param"] == "subject"  # else it would say that nothing is kept of her
        assert [part["truncated"] for part in listed["parts"]] == [False, False]
        assert await world.call("GET", f"/payloads/{request_id}") == listed
        assert len(await world.call("GET", "/payloads?limit=1")) == 1
        assert len(await world.call("GET", f"/payloads?after={request_id}")) == 1

        shown = await world.call("POST", f"/payloads/{request_id}/readings", {"reason": "to answer"})
        assert PROMPT in shown["bodies"]["request"]
        [read] = await world.events(PayloadRead)
        assert (read.event.actor, read.event.reason) == ("command-line", "to answer")

        receipt = await world.call("POST", "/payloads/erasures", {**who, "reason": "a letter"})
        assert (receipt["payloads"], receipt["finished"], receipt["reason"]) == (1, True, "a letter")
        path = f"/payloads/erasures/{receipt['erasure_id']}"
        again = await world.call("GET", path)
        unproven = {"sealed", "proofs"}
        assert {k: v for k, v in again.items() if k not in unproven} == {
            k: v for k, v in receipt.items() if k not in unproven
        }
        assert [one["erasure_id"] for one in await world.call("GET", "/payloads/erasures")] == [
            receipt["erasure_id"]
        ]
        check = await world.call("GET", "/payloads/check")
        assert (check["ok"], check["payloads"], check["gone"]) == (True, 2, 1)
        assert await world.call("POST", "/payloads/expire") == {"expired": {}}
        [told] = await world.call("POST", "/payloads/capture", {"client_id": CLIENT, "enabled": False})
        assert (told["enabled"], told["keep_us"]) == (False, 30 * 86_400_000_000)


class TestRefusals:
    @pytest.mark.parametrize(("method", "path"), PATHS)
    async def test_without_a_management_key_nobody_learns_anything(self, world, method, path):
        """The same answer whether there is something or not."""
        for headers in ({}, {"x-api-key": "sk-test-wrong"}):
            answer = await world.proxy.client.request(method, f"/api/v1{path}", json={}, headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "unauthorized"

    async def test_what_is_not_there(self, world):
        """A request that nobody made, one that was not kept, one that is erased; no such erasure."""
        not_kept = (await world.ask(client="other")).headers["x-request-id"]
        erased = (await world.ask(user="ann")).headers["x-request-id"]
        await world.call("POST", "/payloads/erasures", {"client_id": CLIENT})
        for request_id, code in (
            ("nothing", "no_payload"),
            (not_kept, "no_payload"),
            (erased, "payload_gone"),
        ):
            for method, path in (("GET", ""), ("POST", "/readings")):
                body = {} if method == "POST" else None
                told = await world.call(method, f"/payloads/{request_id}{path}", body, status=404)
                assert told["error"]["code"] == code
        await world.call("GET", "/payloads/erasures/nothing", status=404)
        assert await world.events(PayloadRead) == []

    async def test_of_whom_nothing_is_kept(self, world):
        """An unknown client, an unknown person; neither is repeated where it names somebody."""
        for who in ({"client_id": "nobody"}, {"client_id": CLIENT, "subject": "a-secret-name"}):
            told = await world.call("POST", "/payloads/erasures", who, status=404)
            assert told["error"]["code"] == "no_payload"
            assert "a-secret-name" not in told["error"]["message"]
        assert await world.events(ErasureStarted) == []

    async def test_a_legal_hold(self, world):
        """It is a conflict, and names the hold."""
        await world.ask(user="ann")
        await hold(world, "hold-7", scope="everything")
        told = await world.call("POST", "/payloads/erasures", {"client_id": CLIENT}, status=409)
        assert told["error"]["code"] == "legal_hold"
        assert "hold-7" in told["error"]["message"]

    async def test_what_is_off_cannot_be_switched_off(self, world):
        """Somebody may have misspelt a client."""
        await world.call("POST", "/payloads/capture", {"client_id": "acmee", "enabled": False}, status=409)

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/payloads/capture", {}),
            ("/payloads/capture", {"client_id": "", "enabled": True}),
            ("/payloads/capture", {"client_id": "x" * 129, "enabled": True}),
            ("/payloads/capture", {"client_id": "a\nb", "enabled": True}),
            ("/payloads/capture", {"client_id": "a", "enabled": True, "keep": "soon"}),
            ("/payloads/capture", {"client_id": "a", "enabled": True, "keep": 30}),
            ("/payloads/capture", {"client_id": "a", "enabled": True, "reason": "x" * 501}),
            ("/payloads/capture", {"client_id": "a", "enabled": True, "colour": "red"}),
            ("/payloads/erasures", {"subject": "ann"}),
            ("/payloads/erasures", {"client_id": "a", "reason": "\x00"}),
            ("/payloads/erasures", {"client_id": "a", "more": 1}),
            ("/payloads/erasures", {"client_id": "a", "subject": ""}),
            ("/payloads/pseudonym", {"client_id": "", "subject": "ann"}),
            ("/payloads/1/readings", {"reason": ""}),
        ],
    )
    async def test_what_cannot_be_used(self, world, path, body):
        """Each is refused, and nothing is recorded."""
        before = world.node.state.position
        told = await world.call("POST", path, body, status=400)
        assert told["error"]["type"] == "invalid_request_error"
        assert world.node.state.position == before

    @pytest.mark.parametrize("limit", ["0", "1001", "many"])
    async def test_a_limit_has_limits(self, world, limit):
        """No answer grows without bound."""
        await world.call("GET", f"/payloads?limit={limit}", status=400)


async def test_who_read_and_who_erased_is_told_by_the_reports(world):
    """The report on administrators' acts has each, with the reason."""
    request_id = (await world.ask(user="ann")).headers["x-request-id"]
    await world.call("POST", f"/payloads/{request_id}/readings", {"reason": "to answer"})
    await world.call("POST", "/payloads/erasures", {"client_id": CLIENT, "reason": "a letter"})
    rows = (await world.call("GET", "/reports/admin"))["rows"]
    acts = {row["act"]: row for row in rows}
    assert {"client.capture_set", "payload.read", "erasure.started", "subject.erased"} <= acts.keys()
    assert acts["payload.read"]["subject"] == request_id
    assert "to answer" in acts["payload.read"]["detail"]
    assert acts["payload.read"]["actor"] == "command-line"
