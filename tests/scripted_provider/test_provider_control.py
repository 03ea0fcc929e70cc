"""The ledger tells what happened, by label; keys can be changed, held and reset while the provider runs."""

import asyncio
import contextlib
import json

import httpx
import msgspec
import pytest
from provider_talk import QUESTION, Talk, ask, request

from apikeyrouter.errors import ConfigurationError, NotFoundError
from apikeyrouter.interfaces.scripted_provider import (
    ANY_KEY,
    Fault,
    FaultKind,
    KeyScript,
    LedgerView,
    Script,
    ScriptedModel,
    ScriptedProvider,
)
from apikeyrouter.interfaces.scripted_provider.app import ScriptedApp
from apikeyrouter.interfaces.scripted_provider.connections import Connections

SECRET = "sk-canary-0123456789"
PRICED = {"m": ScriptedModel(input_nano_usd_per_mtok=150_000_000, output_nano_usd_per_mtok=600_000_000)}


@pytest.fixture
async def provider():
    script = Script(keys={"alpha": KeyScript(key="sk-a"), "beta": KeyScript(key=SECRET)}, models=PRICED)
    async with ScriptedProvider(script) as provider:
        yield provider


@pytest.fixture
async def control(provider):
    async with httpx.AsyncClient(base_url=provider.url + "/_scripted") as client:
        yield client


class Time:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_us = 86_400_000_000 * 20_000

    def __call__(self) -> int:
        return self.now_us


class TestTheLedger:
    async def test_counts_calls_tokens_and_money(self, provider, control):
        """Calls, statuses, tokens and the bill stand under the key's label."""
        await ask(provider, max_tokens=10)
        await ask(provider, headers=("x-request-id: req-7",))
        view = msgspec.json.decode((await control.get("/ledger")).content, type=LedgerView)
        tally = view.keys["alpha"]
        assert (tally.calls, tally.by_status, tally.open) == (2, {200: 2}, 0)
        assert (tally.input_tokens, tally.output_tokens) == (4, 42)
        assert tally.first_call_us <= tally.last_call_us <= view.now_us
        (line,) = view.bill
        assert (line.key, line.model, line.calls) == ("alpha", "m", 2)
        assert line.cost_nano_usd == 4 * 150 + 42 * 600
        assert [(call.key, call.request_id, call.outcome) for call in view.calls] == [
            ("alpha", None, "answered"),
            ("alpha", "req-7", "answered"),
        ]
        assert view.keys["beta"].calls == 0

    @pytest.mark.parametrize("faults", [(), (Fault(kind=FaultKind.Status, status=500),)])
    async def test_tells_who_asked_for_what(self, provider, faults):
        """A call has the model and the user that its body names, also where a fault answers it."""
        provider.change_key("alpha", faults=faults)
        await ask(provider, user="request-7")
        await ask(provider)
        assert [(call.model, call.user) for call in provider.ledger().calls] == [
            ("m", "request-7"),
            ("m", None),
        ]

    async def test_a_fault_strikes_whatever_the_body(self, provider):
        """Where a fault answers instead, a body that cannot be read is no matter."""
        provider.change_key("alpha", faults=(Fault(kind=FaultKind.Status, status=503),))
        head, _ = await ask(provider, messages="nonsense")
        assert b" 503 " in head

    async def test_counts_connections(self, provider):
        """Connections are counted, those that were made and those that stand."""
        async with Talk(provider):
            await provider.until(lambda ledger: ledger.connections_open == 1)
        await provider.until(lambda ledger: ledger.connections_open == 0)
        assert provider.ledger().connections_made == 1

    async def test_lists_as_many_calls_as_wished(self, provider, control):
        """The list of calls can be short or left out; what is no number is refused."""
        for _ in range(3):
            await ask(provider)
        for wished, numbers in ((0, []), (2, [2, 3]), (9, [1, 2, 3])):
            calls = (await control.get("/ledger", params={"calls": wished})).json()["calls"]
            assert [call["number"] for call in calls] == numbers
        assert (await control.get("/ledger", params={"calls": "-1"})).status_code == 400

    async def test_remembers_a_bounded_number_of_calls(self):
        """The list of calls forgets the oldest, the counts do not."""
        script = Script(accept_any_key=True, remembered_calls=2)
        async with ScriptedProvider(script) as provider:
            for _ in range(3):
                await ask(provider, "whatever")
            ledger = provider.ledger()
        assert [call.number for call in ledger.calls] == [2, 3]
        assert ledger.keys[ANY_KEY].calls == 3

    async def test_never_holds_a_key(self, provider, control):
        """No control answer and no text form holds key material."""
        await ask(provider, SECRET)
        await ask(provider, "sk-unknown-canary")
        answers = [
            await control.get("/ledger"),
            await control.get("/keys"),
            await control.patch("/keys/beta", json={"key": SECRET, "rpm": 5}),
            await control.put("/keys/gamma", json={"key": SECRET}),
            await control.put("/keys/gamma", json={"key": SECRET + " "}),
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 400, 400]
        texts = [answer.text for answer in answers] + [repr(provider.ledger())]
        assert not [text for text in texts if "canary" in text]

    async def test_a_call_in_progress_is_open(self, provider, control):
        """While a call is held it is open; when its client leaves it is aborted, with the time."""
        provider.change_key("alpha", hold=True)
        async with Talk(provider) as talk:
            talk.send(request())
            await provider.until(lambda ledger: ledger.keys["alpha"].held == 1)
            (call,) = (await control.get("/ledger")).json()["calls"]
            assert (call["outcome"], call["ended_us"]) == ("open", None)
        ledger = await provider.until(lambda ledger: ledger.keys["alpha"].aborted == 1)
        assert ledger.calls[0].outcome == "aborted"
        assert ledger.calls[0].ended_us == ledger.keys["alpha"].last_aborted_us
        assert (ledger.keys["alpha"].open, ledger.keys["alpha"].held) == (0, 0)
        assert ledger.bill == []

    async def test_a_call_that_is_stopped_was_cut(self):
        """A call whose task is cancelled is neither open nor the client's doing."""
        app = ScriptedApp(Script(accept_any_key=True, keys={ANY_KEY: KeyScript(hold=True)}))
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://provider") as http:
            asking = asyncio.create_task(http.post("/v1/chat/completions", json=QUESTION))
            async with asyncio.timeout(5):
                while not app.view(0).keys[ANY_KEY].held:
                    await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking])
        assert app.view(1).calls[0].outcome == "cut"
        assert (app.view(0).keys[ANY_KEY].cut, app.view(0).keys[ANY_KEY].open) == (1, 0)


class TestLimits:
    @pytest.fixture
    def clock(self):
        return Time()

    async def test_requests_a_minute(self, clock):
        """The call above the limit is refused with the time to come again, and passes then."""
        script = Script(keys={"alpha": KeyScript(key="sk-a", rpm=2)})
        async with ScriptedProvider(script, clock=clock) as provider:
            heads = [(await ask(provider))[0] for _ in range(2)]
            head, body = await ask(provider)
            clock.now_us += 30_000_000
            later, _ = await ask(provider)
        assert b"x-ratelimit-remaining-requests: 0\r\n" in heads[-1]
        assert b"x-ratelimit-reset-requests: 1m0s\r\n" in heads[-1]
        assert head.startswith(b"HTTP/1.1 429")
        assert b"retry-after: 30\r\n" in head
        assert json.loads(body)["error"]["code"] == "rate_limit_exceeded"
        assert later.startswith(b"HTTP/1.1 200")

    async def test_tokens_a_minute(self, clock):
        """Input and output count together against the tokens of a minute."""
        script = Script(keys={"alpha": KeyScript(key="sk-a", tpm=34)})
        async with ScriptedProvider(script, clock=clock) as provider:
            statuses = [(await ask(provider, max_tokens=n))[0].split()[1] for n in (30, 1, 10)]
            tally = provider.ledger().keys["alpha"]
        assert statuses == [b"200", b"429", b"429"]
        assert tally.output_tokens == 30

    async def test_the_day(self, clock):
        """The used-up quota of a day is told as such, until midnight."""
        script = Script(keys={"alpha": KeyScript(key="sk-a", requests_per_day=1)})
        async with ScriptedProvider(script, clock=clock) as provider:
            await ask(provider)
            head, body = await ask(provider)
            clock.now_us += 86_400_000_000
            later, _ = await ask(provider)
        assert head.startswith(b"HTTP/1.1 429")
        assert b"retry-after" not in head
        assert json.loads(body)["error"]["code"] == "insufficient_quota"
        assert later.startswith(b"HTTP/1.1 200")

    async def test_a_window_of_time(self, clock):
        """A fault with a window strikes in it and not outside."""
        fault = Fault(kind=FaultKind.Status, status=503, from_ms=1000, until_ms=2000)
        script = Script(keys={"alpha": KeyScript(key="sk-a", faults=(fault,))})
        statuses = []
        async with ScriptedProvider(script, clock=clock) as provider:
            for _ in range(3):
                statuses.append((await ask(provider))[0].split()[1])
                clock.now_us += 1_000_000
        assert statuses == [b"200", b"503", b"200"]


class TestChangingKeys:
    async def test_one_field(self, provider, control):
        """PATCH changes the named fields, and answers with the script as it is then."""
        answer = await control.patch(
            "/keys/alpha", json={"faults": [{"kind": "status", "status": 503, "first": 1}]}
        )
        assert answer.json()["faults"] == [{"kind": "status", "status": 503, "first": 1}]
        assert [(await ask(provider))[0].split()[1] for _ in range(2)] == [b"503", b"200"]

    async def test_faults_count_from_when_they_are_told(self, provider):
        """Calls before a change do not count for the new faults; an unrelated change restarts nothing."""
        await ask(provider)
        provider.change_key("alpha", faults=[{"kind": "status", "status": 503, "after": 1}])
        first = (await ask(provider))[0].split()[1]
        provider.change_key("alpha", latency_ms=0)
        second = (await ask(provider))[0].split()[1]
        assert (first, second) == (b"200", b"503")

    async def test_a_bucket_outlives_other_changes(self, provider):
        """What is used of a limit stays used until the limit itself changes."""
        provider.change_key("alpha", rpm=1)
        await ask(provider)
        provider.change_key("alpha", output_tokens=3)
        assert (await ask(provider))[0].split()[1] == b"429"
        provider.change_key("alpha", rpm=2)
        assert (await ask(provider))[0].split()[1] == b"200"

    async def test_a_new_key(self, provider, control):
        """PUT adds a key, which is served at once."""
        assert (await control.put("/keys/gamma", json={"key": "sk-c"})).status_code == 200
        assert (await ask(provider, "sk-c"))[0].startswith(b"HTTP/1.1 200")
        assert provider.ledger().keys["gamma"].calls == 1

    async def test_new_material(self, provider, control):
        """With new material the old is refused."""
        await control.patch("/keys/alpha", json={"key": "sk-new"})
        assert [(await ask(provider, key))[0].split()[1] for key in ("sk-a", "sk-new")] == [b"401", b"200"]

    async def test_what_is_wrong_changes_nothing(self, provider, control):
        """A wrong change is refused with its place; the key goes on as before."""
        for body in (b"{", b"[]", b'{"rmp": 1}', b'{"key": ""}'):
            answer = await control.patch("/keys/alpha", content=body)
            assert answer.status_code == 400
        assert (await control.patch("/keys/nobody", json={})).status_code == 404
        assert (await control.get("/nothing")).status_code == 404
        assert (await ask(provider))[0].startswith(b"HTTP/1.1 200")

    async def test_in_process_errors_have_the_same_names(self, provider):
        """The methods raise the package's own errors."""
        with pytest.raises(ConfigurationError, match="rmp"):
            provider.change_key("alpha", rmp=1)
        with pytest.raises(NotFoundError):
            provider.change_key("nobody", rpm=1)
        with pytest.raises(ConfigurationError, match="same"):
            provider.put_key("gamma", KeyScript(key="sk-a"))

    async def test_calls_are_held_until_released(self, provider, control):
        """Every held call stands on its connection, and all go on together."""
        await control.patch("/keys/alpha", json={"hold": True})
        asking = [asyncio.create_task(ask(provider)) for _ in range(64)]
        ledger = await provider.until(lambda ledger: ledger.keys["alpha"].held == 64)
        assert ledger.keys["alpha"].most_open == 64
        assert (await ask(provider, SECRET))[0].startswith(b"HTTP/1.1 200")
        await control.patch("/keys/alpha", json={"hold": False})
        answers = await asyncio.gather(*asking)
        assert all(head.startswith(b"HTTP/1.1 200") for head, _ in answers)
        assert provider.ledger().keys["alpha"].held == 0

    async def test_reset(self, provider, control):
        """A reset empties the ledger, restores the script and lets held calls go on."""
        provider.change_key("alpha", hold=True)
        asking = asyncio.create_task(ask(provider))
        await provider.until(lambda ledger: ledger.keys["alpha"].held == 1)
        assert (await control.post("/reset")).status_code == 200
        assert (await asking)[0].startswith(b"HTTP/1.1 200")
        ledger = provider.ledger()
        assert (ledger.keys["alpha"].calls, ledger.keys["alpha"].open, ledger.calls) == (0, 0, [])
        assert (await ask(provider))[0].startswith(b"HTTP/1.1 200")

    async def test_closing_ends_what_is_held(self):
        """A provider that is left closes its calls at once."""
        async with ScriptedProvider(Script(keys={"alpha": KeyScript(key="sk-a", hold=True)})) as provider:
            talk = await Talk(provider).__aenter__()
            talk.send(request())
            await provider.until(lambda ledger: ledger.keys["alpha"].held == 1)
        with contextlib.suppress(ConnectionResetError):
            assert await talk.rest() == b""
        talk.writer.close()


class TestWhoMayControl:
    @pytest.mark.parametrize(
        ("client", "status"),
        [
            (("127.0.0.1", 1), 200),
            (("::1", 1), 200),
            (("192.0.2.7", 1), 403),
            (("testclient", 1), 403),
            (None, 403),
        ],
    )
    async def test_only_loopback(self, client, status):
        """Who is not on this machine reads no ledger and changes nothing."""
        app = ScriptedApp(Script(accept_any_key=True))
        transport = httpx.ASGITransport(app, client=client)
        async with httpx.AsyncClient(transport=transport, base_url="http://provider") as http:
            for method, path in (("GET", "ledger"), ("POST", "reset"), ("GET", "keys")):
                assert (await http.request(method, f"/_scripted/{path}")).status_code == status

    async def test_a_large_body_is_refused(self, provider, monkeypatch):
        """A body beyond the bound is not read to its end."""
        monkeypatch.setattr("apikeyrouter.interfaces.scripted_provider.exchange.MOST_BODY_BYTES", 100_000)
        async with Talk(provider) as talk:
            talk.send(request(padding="x" * 1_000_000))
            assert (await talk.head()).startswith(b"HTTP/1.1 413")


class Transport:
    """A connection as far as it is looked at."""

    def get_extra_info(self, _):
        return ("127.0.0.1", 4242)


def test_a_port_that_is_used_again_at_once_is_not_forgotten():
    """When an address has a new connection before the old one is seen to be gone, the new one stays known."""
    connections, old, new = Connections(), Transport(), Transport()
    connections.opened(old)
    connections.opened(new)
    connections.closed(old)
    assert connections.find(("127.0.0.1", 4242)) is new
    connections.closed(new)
    assert (len(connections), connections.made) == (0, 2)
