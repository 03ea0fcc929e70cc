"""How the seals stand is seen: in health, in the metrics, and by the doctor."""

import asyncio
import os

import httpx
import pytest
from loopback import eventually, running_proxy, scripted
from prometheus_client.parser import text_string_to_metric_families

from apikeyrouter.adapters.proof import witness_visits
from apikeyrouter.adapters.proof.signing import NoteSigner
from apikeyrouter.application.proof import patrol
from apikeyrouter.application.proof.findings import Finding, Trouble
from apikeyrouter.application.proof.sealing import Sealer
from apikeyrouter.bootstrap import open_node
from apikeyrouter.interfaces.cli import seal_checkup
from apikeyrouter.interfaces.cli.run_file import Run, publish
from apikeyrouter.interfaces.cli.seal_checkup import look_at_seals
from apikeyrouter.interfaces.scripted_provider import ScriptedProvider
from apikeyrouter.settings import RouterSettings

WITNESS = NoteSigner("witness.example/w", bytes(32)).cosigning_key


def settings_of(folder, **more) -> RouterSettings:
    return RouterSettings(database_url=str(folder / "log.db"), **{"seal_interval_s": 0.01, **more})


def witnessed(folder, **more) -> RouterSettings:
    """Return settings of a server that visits a witness all the time."""
    witness = {"witness_url": "http://witness.example", "witness_key": WITNESS.render()}
    return settings_of(folder, witness_interval_s=0.01, **witness, **more)


def found(settings) -> dict[str, tuple[str, str]]:
    return {one.what: (one.status, one.detail) for one in look_at_seals(settings)}


async def seals_of(proxy):
    return (await proxy.client.get("/health")).json()["seals"]


async def metrics_of(proxy) -> dict[tuple, float]:
    text = (await proxy.client.get("/metrics")).text
    families = text_string_to_metric_families(text)
    return {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}


@pytest.fixture
def refusing(monkeypatch):
    """Let the witness answer with a status of the test."""

    def answer_with(status: int):
        made = httpx.Client
        transport = httpx.MockTransport(lambda _: httpx.Response(status, text="no"))
        monkeypatch.setattr(witness_visits.httpx, "Client", lambda **_: made(transport=transport))

    return answer_with


class TestARunningServer:
    async def test_all_that_was_written_is_sealed_soon(self, tmp_path):
        """Health tells how much, how long ago, under which key, and that the patrol is done."""
        async with ScriptedProvider(scripted("a")) as provider, running_proxy(settings_of(tmp_path)) as proxy:
            await proxy.provide(provider, "a")
            assert (await proxy.ask()).status_code == 200
            node = proxy.node
            await eventually(lambda: (node.seals().unsealed, node.seals().patrol) == (0, "done"))
            told = await seals_of(proxy)
            assert told["sealed_events"] == node.state.position
            assert told["key"].startswith("apikeyrouter/")
            assert 0 <= told["checkpoint_age_s"] < 60
            assert (told["failing"], told["witness"]) == (False, None)

    async def test_metrics_say_the_same(self, tmp_path):
        """One series each; a node without a witness has none about visits."""
        async with running_proxy(settings_of(tmp_path)) as proxy:
            await eventually(lambda: (proxy.node.seals().unsealed, proxy.node.seals().patrol) == (0, "done"))
            told, health = await metrics_of(proxy), await seals_of(proxy)
        assert told["apikeyrouter_log_sealed_events", health["key"]] == health["sealed_events"]
        assert told["apikeyrouter_log_unsealed_events",] == 0
        assert told["apikeyrouter_log_checkpoint_age_seconds",] >= 0
        assert told["apikeyrouter_log_sealing_failing",] == 0
        assert told["apikeyrouter_log_patrol", "done"] == 1
        assert told["apikeyrouter_log_patrol", "found"] == 0
        assert not any(name.startswith("apikeyrouter_witness") for name, *_ in told)

    async def test_a_log_in_memory_has_no_seals(self):
        """It says so, and has no series about them."""
        async with running_proxy() as proxy:
            assert await seals_of(proxy) is None
            assert not any("sealed" in name for name, *_ in await metrics_of(proxy))

    async def test_sealing_that_fails_is_seen(self, tmp_path, monkeypatch):
        """What waits for a seal is counted while it does."""
        async with running_proxy(settings_of(tmp_path)) as proxy:
            await eventually(lambda: proxy.node.seals().unsealed == 0)

            def broken(self, _pause_s=0.0):
                raise OSError("no room")

            with monkeypatch.context() as patch:
                patch.setattr(Sealer, "seal", broken)
                async with ScriptedProvider(scripted("a")) as provider:
                    await proxy.provide(provider, "a")
                await eventually(lambda: proxy.node.seals().is_failing)
                assert (await seals_of(proxy))["unsealed_events"] > 0
            async with ScriptedProvider(scripted("b")) as provider:
                await proxy.provide(provider, "b", provider_id="other")
            await eventually(lambda: not proxy.node.seals().is_failing and not proxy.node.seals().unsealed)

    @pytest.mark.parametrize(
        ("status", "result"), [(422, "refused"), (409, "refused"), (500, "unreachable"), (503, "unreachable")]
    )
    async def test_what_the_witness_said_last(self, tmp_path, refusing, status, result):
        """A witness that says no accuses the log, one that is ill does not."""
        refusing(status)
        async with running_proxy(witnessed(tmp_path)) as proxy:
            await eventually(lambda: proxy.node.seals().visit is not None)
            told = (await seals_of(proxy))["witness"]
            assert (told["name"], told["last_visit"]) == ("witness.example/w", result)
            assert told["cosigned_events"] is None
            metrics = await metrics_of(proxy)
        states = {
            one: metrics["apikeyrouter_witness_last_visit", *sorted((one, WITNESS.name))] for one in RESULTS
        }
        assert states == {one: float(one == result) for one in RESULTS}
        assert metrics["apikeyrouter_witness_last_visit_age_seconds",] >= 0

    async def test_a_patrol_that_found_something(self, tmp_path, monkeypatch):
        """It is seen after the walk, and the node is not ready any more."""
        await (await open_node(settings_of(tmp_path))).close()
        monkeypatch.setattr(patrol, "in_order", lambda _: [Finding(Trouble.Changed, 1, "x")])
        async with running_proxy(settings_of(tmp_path)) as proxy:
            await eventually(lambda: proxy.node.seals().patrol == "found" and not proxy.node.ready)
            assert (await seals_of(proxy))["patrol"] == "found"


RESULTS = ("cosigned", "refused", "unreachable")


class TestTheDoctor:
    async def test_a_log_closed_in_good_order(self, tmp_path):
        """All is sealed, since then, under a key that it names."""
        await (await open_node(settings_of(tmp_path))).close()
        status, detail = found(settings_of(tmp_path))["seals"]
        assert status == "ok"
        assert "key apikeyrouter/" in detail

    def test_no_log(self, tmp_path):
        """There is nothing to say of what does not exist."""
        assert not found(settings_of(tmp_path))
        assert not found(RouterSettings())

    async def test_seals_that_are_gone(self, tmp_path):
        """The folder is named, and the failure is one."""
        await (await open_node(settings_of(tmp_path))).close()
        for path in (tmp_path / "log.db.seals").iterdir():
            path.unlink()
        status, detail = found(settings_of(tmp_path))["seals"]
        assert (status, "no checkpoint" in detail) == ("fail", True)

    async def test_a_log_that_was_never_sealed(self, tmp_path):
        """Its key is not there either."""
        await (await open_node(settings_of(tmp_path))).close()
        (tmp_path / "log.db.signing-key").unlink()
        assert found(settings_of(tmp_path))["seals"][0] == "warn"

    async def test_a_checkpoint_that_somebody_changed(self, tmp_path):
        """Whatever is not signed by the log's key is no checkpoint."""
        await (await open_node(settings_of(tmp_path))).close()
        latest = tmp_path / "log.db.seals" / "latest"
        for changed in (latest.read_bytes().replace(b"\n", b"\n1", 1), b"nonsense"):
            latest.write_bytes(changed)
            assert found(settings_of(tmp_path))["seals"][0] == "fail"

    async def test_a_log_that_ends_before_its_seals(self, tmp_path):
        """An older copy of the file was put in its place."""
        settings = settings_of(tmp_path)
        await (await open_node(settings)).close()
        old = (tmp_path / "log.db").read_bytes()
        await (await open_node(settings)).close()
        (tmp_path / "log.db").write_bytes(old)
        status, detail = found(settings)["seals"]
        assert (status, "ends before its seals" in detail) == ("fail", True)

    async def test_a_witness_that_cosigned_nothing(self, tmp_path):
        """One is set, and nothing of it lies by the seals."""
        await (await open_node(settings_of(tmp_path))).close()
        assert found(witnessed(tmp_path))["witness"] == ("warn", f"{WITNESS.name} has cosigned nothing yet")


class TestTheDoctorBesideAServer:
    @staticmethod
    async def found(proxy, settings):
        """Look as the command does, which finds the server by the file that `serve` leaves."""
        run = Run(pid=os.getpid(), url=proxy.base_url, management_key="sk-test-run")
        publish(settings.database_path, run)
        return await asyncio.to_thread(found, settings)

    async def test_all_is_well(self, tmp_path):
        """The patrol is told of, and nothing warns."""
        settings = settings_of(tmp_path)
        async with running_proxy(settings) as proxy:
            await eventually(lambda: (proxy.node.seals().unsealed, proxy.node.seals().patrol) == (0, "done"))
            told = await self.found(proxy, settings)
        assert {status for status, _ in told.values()} == {"ok"}
        assert told["patrol"][1].endswith("done")

    async def test_a_checkpoint_that_is_late(self, tmp_path, monkeypatch):
        """While a server runs, none is old as long as events wait for one."""
        settings = settings_of(tmp_path)
        async with running_proxy(settings) as proxy:
            await eventually(lambda: proxy.node.seals().unsealed == 0)
            monkeypatch.setattr(seal_checkup, "time", lambda: 2**33)
            status, detail = (await self.found(proxy, settings))["seals"]
        assert (status, "late" in detail) == ("warn", True)

    async def test_a_witness_that_refuses(self, tmp_path, refusing):
        """The server knows what it was told last."""
        refusing(422)
        settings = witnessed(tmp_path)
        async with running_proxy(settings) as proxy:
            await eventually(lambda: proxy.node.seals().visit is not None)
            told = await self.found(proxy, settings)
        assert told["witness visits"][0] == "warn"
        assert "refused" in told["witness visits"][1]

    async def test_a_server_that_does_not_answer(self, tmp_path):
        """It is said, and the files are looked at all the same."""
        settings = settings_of(tmp_path)
        async with running_proxy(settings) as proxy:
            await eventually(lambda: proxy.node.seals().unsealed == 0)
            proxy.base_url = "http://127.0.0.1:9"
            told = await self.found(proxy, settings)
        assert (told["seals"][0], told["sealing"][0]) == ("ok", "warn")
