"""What cannot be kept is lost in the open: the request goes on, and the log says why."""

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from payload_world import ACTOR, CLIENT, a_world, change, payloads_path_beside, question, rows

from apikeyrouter.application.journal import unavailable
from apikeyrouter.application.payloads import capturing
from apikeyrouter.application.payloads.capturing import Bounds
from apikeyrouter.domain.events import PayloadCaptured, PayloadLost, RequestCompleted
from apikeyrouter.domain.models.system_error import NotFoundError
from apikeyrouter.domain.payloads import Loss


async def losses(world):
    return [one.event.reason for one in await world.events(PayloadLost)]


class TestTheQueue:
    @pytest.mark.parametrize("bounds", [Bounds(queued=2), Bounds(queued_bytes=2_000)], ids=["count", "bytes"])
    async def test_what_does_not_fit_is_lost(self, world, bounds):
        """While the store is busy; what fitted is kept, and every request was answered."""
        world.desk.capturing._bounds = bounds
        async with world.desk.capturing.alone():
            answers = [await world.ask() for _ in range(5)]
        assert {answer.status_code for answer in answers} == {200}
        kept = {one.request_id for one in await world.stored()}
        assert 0 < len(kept) < 5
        assert await losses(world) == [Loss.QueueFull] * (5 - len(kept))
        assert world.node.state.payloads.due == {}
        lost = next(a for a in answers if a.headers["x-request-id"] not in kept)
        with pytest.raises(NotFoundError, match="queue_full"):
            await world.desk.reading.show(lost.headers["x-request-id"], actor=ACTOR)

    async def test_it_does_not_forget_how_much_is_in_it(self, world):
        """After it was full it takes as much as before."""
        world.desk.capturing._bounds = Bounds(queued_bytes=2_000)
        for _ in range(3):
            async with world.desk.capturing.alone():
                await asyncio.gather(*(world.ask() for _ in range(4)))
            await world.stored()
        assert world.desk.capturing._queued_bytes == 0
        assert len(await world.events(PayloadCaptured)) >= 3


class TestTheStore:
    async def test_a_file_that_cannot_be_made(self, tmp_path):
        """A folder stands in its place: requests are served, and the loss is recorded."""
        async with a_world(tmp_path) as world:
            payloads_path_beside(world.log).mkdir()
            assert (await world.ask()).status_code == 200
            async with world.desk.capturing.alone():
                pass
            assert await losses(world) == [Loss.StoreFailed]
            payloads_path_beside(world.log).rmdir()
            await world.ask()
            assert len(await world.stored()) == 1

    async def test_a_full_disk(self, world):
        """SQLite says so, by a limit of its own; what was kept before stays, and later ones follow."""
        await world.ask()
        await world.stored()
        connection = world.desk.store._rows._open()
        [(pages,)] = connection.execute("PRAGMA page_count")
        connection.execute(f"PRAGMA max_page_count = {pages}")
        for _ in range(3):
            await world.ask(str(list(range(20_000))))
        async with world.desk.capturing.alone():
            pass
        assert set(await losses(world)) == {Loss.DiskFull}
        connection.execute("PRAGMA max_page_count = 1000000")
        await world.ask()
        assert len(await world.stored()) == 2
        assert (await world.desk.check()).findings == ()

    async def test_an_error_that_nobody_foresaw(self, world, monkeypatch):
        """Its words are not repeated, for they may hold a body."""

        def fail(_bodies):
            raise RuntimeError("CANARY")

        monkeypatch.setattr(world.desk.store, "keep", fail)
        assert (await world.ask()).status_code == 200
        async with world.desk.capturing.alone():
            pass
        assert await losses(world) == [Loss.StoreFailed]

    async def test_an_answer_does_not_wait_for_the_store(self, world):
        """Nobody else can use it, and the answer is there."""
        async with world.desk.capturing.alone():
            assert (await world.ask()).status_code == 200
            assert (await world.ask(stream=True)).status_code == 200


class TestTheLog:
    async def test_what_cannot_be_recorded_is_recorded_later(self, world, monkeypatch):
        """While the log fails, what was stored waits, and is told when it works again."""
        monkeypatch.setattr(capturing, "RETRY_S", 0.01)
        journal, record, failures = world.node.journal, world.node.journal.record, []

        def failing(events):
            if any(isinstance(one.event, PayloadCaptured) for one in events) and len(failures) < 3:
                failures.append(events)
                raise unavailable()
            return record(events)

        monkeypatch.setattr(journal, "record", failing)
        await world.ask()
        [kept] = await world.stored()
        assert len(failures) == 3
        [told] = await world.events(PayloadCaptured)
        assert told.stream == f"payload-{kept.request_id}"

    async def test_a_request_that_ends_twice_is_kept_once(self, world, monkeypatch):
        """Its end could not be recorded, and so it was abandoned as well."""
        record, failures = world.node.journal.record, []

        def failing(events):
            if any(isinstance(one.event, RequestCompleted) for one in events) and not failures:
                failures.append(events)
                raise unavailable()
            return record(events)

        monkeypatch.setattr(world.node.journal, "record", failing)
        async with world.desk.capturing.alone():
            assert (await world.ask()).status_code == 503
            assert len(failures) == len(world.desk.capturing._queue) == 1
        assert len(await world.stored()) == 1

    async def test_what_the_log_took_and_lost_is_recorded_again(self, world, monkeypatch):
        """An append fails after it was handed in: what is due is known once the state is folded anew."""
        monkeypatch.setattr(capturing, "RETRY_S", 0.01)
        journal, settled, failures = world.node.journal, world.node.journal.settled, []

        async def failing(durable):
            await settled(durable)
            if not failures and not world.node.state.payloads.due and world.node.state.payloads.capturing:
                failures.append(durable)
                journal.ready = False
                asyncio.get_running_loop().call_later(0.05, come_back)
                raise unavailable()

        def come_back():
            journal.state.payloads.due.update(dict.fromkeys(asked, CLIENT))
            monkeypatch.setattr(journal, "record", lambda events: told.extend(events) or done())
            journal.ready = True

        def done():
            future = asyncio.get_running_loop().create_future()
            future.set_result(None)
            return future

        told, asked = [], []
        async with world.desk.capturing.alone():
            asked.append((await world.ask()).headers["x-request-id"])
            monkeypatch.setattr(journal, "settled", failing)
        await world.stored()
        assert len(failures) == 1
        assert [one.stream for one in told] == [f"payload-{asked[0]}"]
        monkeypatch.undo()

    async def test_a_clean_end_leaves_nothing_to_be_settled(self, tmp_path):
        """What was queued is stored, recorded, and noted as recorded."""
        async with a_world(tmp_path) as world, world.desk.capturing.alone():
            await world.ask()
        assert rows(world.log, "SELECT settled FROM payloads") == [(1,), (1,)]

    async def test_a_log_that_fails_at_the_end_of_the_process(self, tmp_path, monkeypatch):
        """The next start records what was stored."""
        async with a_world(tmp_path) as world:

            def failing(events):
                raise unavailable()

            await world.ask()
            async with contextlib.AsyncExitStack() as stack:
                await stack.enter_async_context(world.desk.capturing.alone())
                answer = await world.ask("second")
                monkeypatch.setattr(world.desk.capturing, "_try_record", failing)
                world.desk.capturing._closing = True
        async with a_world(tmp_path, provider=world.provider) as again:
            kept = {one.request_id for one in await again.stored()}
            assert answer.headers["x-request-id"] in kept
            assert len(await again.events(PayloadCaptured)) == 2
            assert again.node.state.payloads.due == {}


class TestAProcessThatDies:
    @pytest.mark.parametrize("step", ["queued", "stored", "recorded"])
    async def test_the_next_start_tells_what_is_kept_and_what_is_lost(self, tmp_path, step):
        """Killed with bodies in memory, in the file, or in the log."""
        script = Path(__file__).with_name("die_while_capturing.py")
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, str(script), str(tmp_path), step],
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == -9, done.stderr.decode()
        stored = step != "queued"
        with contextlib.suppress(sqlite3.OperationalError):
            assert len(rows(tmp_path / "router.db")) == (2 if stored else 0)
        async with a_world(tmp_path) as world:
            kept = await world.stored()
            assert len(kept) == len(await world.events(PayloadCaptured)) == int(stored)
            assert await losses(world) == ([] if stored else [Loss.ProcessEnded])
            assert world.node.state.payloads.due == {}
            assert (await world.desk.check()).findings == ()

    async def test_a_row_that_the_log_knows_nothing_of_is_deleted(self, tmp_path):
        """Its request was lost with the log's last words."""
        async with a_world(tmp_path) as world:
            await world.ask()
            await world.stored()
        change(world.log, "UPDATE payloads SET request_id = 'f' || request_id, settled = 0")
        async with a_world(tmp_path, provider=world.provider) as again:
            assert await again.stored() == []


async def test_many_at_once_are_all_kept(world):
    """Fifty requests of one client, whole and streamed, end at the same time."""
    headers = {"x-akr-client": CLIENT}
    async with httpx.AsyncClient(base_url=world.proxy.base_url, timeout=30) as client:
        answers = await asyncio.gather(
            *(
                client.post("/v1/chat/completions", json=question(stream=bool(n % 2)), headers=headers)
                for n in range(50)
            )
        )
    assert {answer.status_code for answer in answers} == {200}
    assert len(await world.stored()) == 50
    assert (await world.desk.check()).findings == ()
