"""Vault and log may part in a crash; neither orphans nor losses reach a client."""

from loopback import material_of, running_proxy, scripted

from apikeyrouter.domain.models.api_key import KeyState
from apikeyrouter.interfaces.scripted_provider import ScriptedProvider
from apikeyrouter.settings import RouterSettings


async def test_material_that_no_key_owns_is_destroyed_at_the_next_start(tmp_path):
    """A crash between sealing and the event leaves an orphan; a start sweeps it."""
    settings = RouterSettings(database_url=str(tmp_path / "log.db"))
    async with running_proxy(settings) as proxy:
        proxy.node.vault.seal("nobody", material_of("orphan"))
    async with running_proxy(settings) as proxy:
        assert list(proxy.node.vault.key_ids()) == []


async def test_a_key_without_material_is_passed_over():
    """The vault has lost a key's material: another key serves, and the lost one waits for rotation."""
    async with ScriptedProvider(scripted("a", "b")) as provider, running_proxy() as proxy:
        await proxy.provide(provider, "a", "b")
        proxy.node.vault.destroy(proxy.key_ids["a"])
        for _ in range(4):
            assert (await proxy.ask()).status_code == 200
        assert proxy.node.state.keys[proxy.key_ids["a"]].state is KeyState.Invalid
