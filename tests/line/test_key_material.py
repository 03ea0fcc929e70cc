"""Vault and log may part in a crash; neither orphans nor losses reach a client."""

import pytest
from loopback import material_of, running_proxy, scripted
from structlog.testing import capture_logs

from apikeyrouter.adapters.vault import vault_path_beside
from apikeyrouter.domain.models.api_key import KeyState
from apikeyrouter.domain.models.system_error import ConflictError, LogUnavailableError
from apikeyrouter.interfaces.scripted_provider import Fault, FaultKind, KeyScript, ScriptedProvider
from apikeyrouter.settings import RouterSettings

REJECTED_ONCE = KeyScript(faults=(Fault(kind=FaultKind.Status, status=401, first=1),))


@pytest.fixture
def settings(tmp_path):
    return RouterSettings(database_url=str(tmp_path / "log.db"))


async def lose_material(settings, *names):
    """Leave a log that knows these keys of a provider, without the vault that holds their material."""
    async with ScriptedProvider(scripted(*names)) as provider, running_proxy(settings) as proxy:
        await proxy.provide(provider, *names)
    vault_path_beside(settings.database_path).unlink()
    return proxy.key_ids


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


async def test_a_rejected_key_is_healed_with_its_own_material(settings):
    """A provider that was wrong for once costs nobody a new key, and the next process serves too."""
    async with ScriptedProvider(scripted(a=REJECTED_ONCE)) as provider:
        async with running_proxy(settings) as proxy:
            await proxy.provide(provider, "a")
            manage, key_id = proxy.node.manage, proxy.key_ids["a"]
            assert (await proxy.ask()).status_code == 502
            assert manage.key(key_id).state is KeyState.Invalid
            before = manage.key(key_id)
            healed = await manage.rotate_key(key_id, material_of("a"), actor="test")
            assert (healed.state, healed.fingerprint) == (KeyState.Available, before.fingerprint)
            assert healed.material_version > before.material_version
            assert (await proxy.ask()).status_code == 200
        async with running_proxy(settings) as proxy:
            assert proxy.node.state.keys[key_id].state is KeyState.Available
            assert (await proxy.ask()).status_code == 200
            with pytest.raises(ConflictError, match=key_id):
                await proxy.node.manage.register_key(material_of("a"), "openai", actor="test")


async def test_the_material_of_another_key_is_refused_in_rotation():
    """Only its own may be given again; the key keeps what it had."""
    async with ScriptedProvider(scripted("a", "b")) as provider, running_proxy() as proxy:
        await proxy.provide(provider, "a", "b")
        with pytest.raises(ConflictError, match=f"as key {proxy.key_ids['b']}"):
            await proxy.node.manage.rotate_key(proxy.key_ids["a"], material_of("b"), actor="test")
        assert proxy.node.vault.unseal(proxy.key_ids["a"]) == material_of("a")


async def test_material_that_a_key_had_before_is_free_again():
    """After a rotation to other material any key may take the old one."""
    async with ScriptedProvider(scripted("a", "b")) as provider, running_proxy() as proxy:
        await proxy.provide(provider, "a", "b")
        for name in ("a", "c"):
            await proxy.node.manage.rotate_key(proxy.key_ids["a"], material_of(name), actor="test")
        taken = await proxy.node.manage.rotate_key(proxy.key_ids["b"], material_of("a"), actor="test")
        assert proxy.node.state.fingerprints[taken.fingerprint] == proxy.key_ids["b"]


async def test_lost_material_is_told_at_the_start_and_given_again(settings):
    """One error with the number of keys; each is whole again once it has its own material back."""
    key_ids = await lose_material(settings, "a", "b")
    with capture_logs() as lines:
        async with running_proxy(settings) as proxy:
            for name, key_id in key_ids.items():
                await proxy.node.manage.rotate_key(key_id, material_of(name), actor="test")
    [told] = [line for line in lines if line["event"] == "key_material_missing"]
    assert (told["log_level"], told["count"]) == ("error", 2)
    assert not [name for name in key_ids if material_of(name) in str(lines)]
    with capture_logs() as lines:
        async with running_proxy(settings) as proxy:
            assert {proxy.node.vault.unseal(key_id) for key_id in key_ids.values()} == {
                "sk-test-a",
                "sk-test-b",
            }
    assert "key_material_missing" not in {line["event"] for line in lines}


async def test_a_revoked_key_is_not_missed(settings):
    """Its material is gone because it was to go."""
    with capture_logs() as lines:
        for _ in range(2):
            async with ScriptedProvider(scripted("a")) as provider, running_proxy(settings) as proxy:
                await proxy.provide(provider, "a")
                await proxy.node.manage.revoke_key(proxy.key_ids["a"], actor="test")
    assert "key_material_missing" not in {line["event"] for line in lines}


async def test_a_rotation_that_is_not_recorded_leaves_lost_material_lost(settings, monkeypatch):
    """The vault holds nothing that the log does not know."""
    key_ids = await lose_material(settings, "a")

    def refuse(*_):
        raise LogUnavailableError("the disk is full")

    async with running_proxy(settings) as proxy:
        monkeypatch.setattr(proxy.node.journal, "record_next", refuse)
        with pytest.raises(LogUnavailableError):
            await proxy.node.manage.rotate_key(key_ids["a"], material_of("new"), actor="test")
        assert list(proxy.node.vault.key_ids()) == []
