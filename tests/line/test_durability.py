"""What a request waits for, by mode: in the end every mode has recorded the same."""

import pytest
from loopback import eventually, running_proxy, scripted

from apikeyrouter.application.replay import verify
from apikeyrouter.domain.events import RequestCompleted
from apikeyrouter.interfaces.scripted_provider import ScriptedProvider
from apikeyrouter.settings import RouterSettings

MODES = ("strict", "before_dispatch", "before_response", "async")


@pytest.mark.parametrize("mode", MODES)
async def test_every_mode_records_every_step(mode, tmp_path):
    """Whole and streamed answers are decided and settled in the log, whatever was awaited when."""
    settings = RouterSettings(database_url=str(tmp_path / "log.db"), durability=mode)
    async with ScriptedProvider(scripted("a", "b")) as provider, running_proxy(settings) as proxy:
        await proxy.provide(provider, "a", "b")
        for number in range(10):
            assert (await proxy.ask(stream=number % 2 == 0)).status_code == 200
        await eventually(lambda: len(list(proxy.node.reader.read())) == proxy.node.state.position)
        events = list(proxy.node.reader.read())
        assert sum(isinstance(e.event, RequestCompleted) for e in events) == 10
        assert verify(events).identical


@pytest.mark.parametrize("mode", MODES)
async def test_what_is_awaited_before_the_call(mode, tmp_path):
    """Only where the decision is awaited first is it in the file when the key is handed out."""
    settings = RouterSettings(database_url=str(tmp_path / "log.db"), durability=mode)
    async with ScriptedProvider(scripted("a")) as provider, running_proxy(settings) as proxy:
        await proxy.provide(provider, "a")
        stored = []
        unseal = proxy.node.vault.unseal
        proxy.node.route._vault.unseal = lambda key_id: (
            stored.append(len(list(proxy.node.reader.read())) == proxy.node.state.position),
            unseal(key_id),
        )[1]
        assert (await proxy.ask()).status_code == 200
        if mode in {"strict", "before_dispatch"}:
            assert stored == [True]
