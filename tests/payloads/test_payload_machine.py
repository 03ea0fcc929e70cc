"""Any history of captures, erasures, holds, expiries and restarts, held against a naive model."""

import asyncio
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from payload_world import ACTOR

from apikeyrouter.adapters.ambient import SystemClock, SystemEntropy
from apikeyrouter.adapters.eventlog.memory_log import MemoryLog
from apikeyrouter.adapters.payloads.files import PayloadFiles
from apikeyrouter.application.journal import Journal
from apikeyrouter.application.payloads.capturing import Capturing
from apikeyrouter.application.payloads.desk import payload_desk
from apikeyrouter.application.payloads.ports import Bodies
from apikeyrouter.domain import holds
from apikeyrouter.domain.events import RETENTION_STREAM, SubjectErased
from apikeyrouter.domain.holds import HoldAsked
from apikeyrouter.domain.models.system_error import ConflictError, NotFoundError
from apikeyrouter.domain.state import RouterState

CLIENTS, PEOPLE = st.sampled_from(["acme", "other"]), st.sampled_from(["ann", "bob", None])


class Machine(RuleBasedStateMachine):
    """The model is a list of who said what; the real thing is the use cases on files and a log in memory."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.log = MemoryLog()
        self.clock, self.entropy = SystemClock(), SystemEntropy()
        self.kept: dict[str, tuple[str, str | None, str]] = {}
        self.held: dict[str, tuple[str, str | None]] = {}
        self.erased = 0
        self.run(self.open())

    def run(self, act):
        return self.loop.run_until_complete(act)

    async def open(self):
        self.journal = Journal(self.log, self.clock, "node")
        await self.journal.open()
        self.store = PayloadFiles(Path(self.folder.name) / "log.db", b"m" * 32)
        capturing = Capturing(journal=self.journal, clock=self.clock, store=self.store)
        self.desk = payload_desk(
            journal=self.journal,
            reader=self.log,
            clock=self.clock,
            entropy=self.entropy,
            capturing=capturing,
            store=self.store,
        )
        await self.desk.start()

    def teardown(self):
        self.run(self.desk.close())
        self.loop.close()
        self.folder.cleanup()

    @rule(client=CLIENTS, person=PEOPLE, text=st.text(max_size=20))
    def capture(self, client, person, text):
        """Keep a body; the fold learns that it is due as it would from a decision."""
        request_id = self.entropy.new_id()
        body = {"model": "m", "messages": [text]} | ({} if person is None else {"user": person})
        raw = msgspec.json.encode(body)
        self.journal.state.payloads.due[request_id] = client
        capturing = self.desk.capturing
        capturing._queue.append(
            Bodies(
                request_id=request_id,
                client_id=client,
                taken_at_us=self.clock.now_us(),
                request=raw,
                answer=text.encode(),
            )
        )
        capturing._queued_bytes += len(raw) + len(text.encode())
        self.kept[request_id] = client, person, text

    @rule(client=CLIENTS, person=PEOPLE | st.just("nobody"))
    def erase(self, client, person):
        """A person's, or with None everybody's of a client."""
        theirs = {
            request_id
            for request_id, (whose, who, _) in self.kept.items()
            if whose == client and (person is None or who == person)
        }
        covered = any(self.covers(held, request_id) for held in self.held.values() for request_id in theirs)
        try:
            erasure = self.run(self.desk.erasing.erase(client, person, actor=ACTOR))
        except NotFoundError:
            assert not theirs
        except ConflictError:
            assert covered
        else:
            assert theirs
            assert not covered
            assert erasure.finished
            assert sum(one.payloads for one in erasure.erased) == len(theirs)
            self.erased += len(erasure.erased)
            for request_id in theirs:
                del self.kept[request_id]

    def covers(self, held, request_id):
        client, person, _ = self.kept[request_id]
        return held in {(client, None), (client, person or "")}

    @rule(client=CLIENTS, person=PEOPLE)
    def place_hold(self, client, person):
        """On a client, or on one of its persons."""
        asked = HoldAsked(scope="client", scope_id=client, reason="why")
        if person is not None:
            subject = self.store.pseudonym(client, person)
            asked = HoldAsked(scope="subject", scope_id=subject, reason="why")
        hold_id = self.entropy.new_id()
        state = self.journal.state
        placed = holds.place(state.holds, asked, hold_id=hold_id, at_us=self.clock.now_us(), actor=ACTOR)
        self.journal_now(placed)
        self.held[hold_id] = client, person

    @precondition(lambda self: self.held)
    @rule()
    def release_hold(self):
        """The oldest one."""
        hold_id = next(iter(self.held))
        released = holds.release(
            self.journal.state.holds, hold_id, at_us=self.clock.now_us(), actor=ACTOR, reason="over"
        )
        self.journal_now(released)
        del self.held[hold_id]

    def journal_now(self, event):
        async def record():
            await self.journal.settled(self.journal.record_next(RETENTION_STREAM, event))

        self.run(record())

    @rule()
    def restart(self):
        """End in good order, and open again from the log and the files alone."""
        self.run(self.desk.close())
        self.run(self.open())

    async def flush(self):
        async with self.desk.capturing.alone():
            pass

    @invariant()
    def what_is_kept_is_what_was_said(self):
        """Each body opens and says what it said; nobody else's is there."""
        self.run(self.flush())
        listed = self.run(self.desk.reading.listed(limit=1000))
        assert {one.request_id for one in listed} == set(self.kept)
        for one in listed:
            client, person, text = self.kept[one.request_id]
            assert one.subject == self.store.pseudonym(client, person)
            assert self.store.open(one.request_id)["answer"] == text.encode()

    @invariant()
    def keys_are_those_of_whom_something_is_kept(self):
        """One for each subject; none is left of those that were erased."""
        self.run(self.flush())
        subjects = {(client, person) for client, person, _ in self.kept.values()}
        assert len(self.store.key_fingerprints()) == len(subjects)

    @invariant()
    def the_log_agrees(self):
        """A check finds nothing, the ends are counted, and folding anew gives the same."""
        self.run(self.flush())
        assert self.run(self.desk.check()).findings == ()
        ends = [one for one in self.log.read() if isinstance(one.event, SubjectErased)]
        assert len(ends) == self.erased
        again = RouterState().fold(self.log.read()).payloads
        assert again.erased == self.journal.state.payloads.erased
        assert again.erasing == {} == self.journal.state.payloads.due


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=20,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestMachine = pytest.mark.filterwarnings("ignore::ResourceWarning")(TestMachine)
