"""Whoever reads a log with gaps is right, or says what is missing and in which segment it is."""

import httpx
import pytest
from loopback import RUN_KEY
from retained_logs import ACTOR, DAY_US, EPOCH_US, Step, ask, drop, living, old_log, settings_of, streams_in

from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.adapters.proof.evidence_bundle import bundle_of
from apikeyrouter.adapters.proof.opening import evidence_of, signer_of
from apikeyrouter.adapters.reports.files import reports_file
from apikeyrouter.adapters.retention.whole_log import WholeLog
from apikeyrouter.application.as_of import Moment, state_at
from apikeyrouter.application.audit import trail
from apikeyrouter.application.proof import subjects
from apikeyrouter.application.replay import verify
from apikeyrouter.application.reporting.periods import Period
from apikeyrouter.application.reporting.questions import ReportQuestion
from apikeyrouter.application.retention.gaps import ArchivedError, retention_of
from apikeyrouter.domain.models.system_error import SystemError as RouterError
from apikeyrouter.domain.state import RouterState
from apikeyrouter.interfaces.http.app import Proxy
from apikeyrouter.interfaces.report_desk import ReportDesk


@pytest.fixture
def reader(log):
    return SqliteReader(log)


@pytest.fixture
def segment(log):
    [path] = log.with_name("log.db.segments").iterdir()
    return path


class TestARequestThatIsGone:
    def test_explaining_it_names_the_segment(self, reader, gone, segment):
        """Not "unknown": archived, and where."""
        with pytest.raises(ArchivedError, match=segment.name) as refused:
            trail(reader, gone[5])
        assert refused.value.http_status == 410

    def test_one_that_never_was_is_unknown(self, reader):
        """An id of another time is in no segment."""
        with pytest.raises(Exception, match="no request has the id") as refused:
            trail(reader, "01" * 16)
        assert not isinstance(refused.value, ArchivedError)

    def test_evidence_that_is_gone_is_named(self, reader, segment):
        """A later decision refers to the last old request: its trail says where that is now."""
        first_left = next(one for one in sorted(streams_in(reader.path)) if one.startswith("request-"))
        told = trail(reader, first_left).as_data()
        assert any(ref[0].startswith("request-") for ref in told["missing_evidence"])
        assert told["archived_in"] == [segment.name]


class TestTheWholeLog:
    def test_it_is_what_it_was(self, reader, log):
        """With the segments beside it, every event is in its place again."""
        positions = [one.position for one in WholeLog(reader, log).read()]
        assert positions == list(range(1, reader.head() + 1))
        assert [one.position for one in WholeLog(reader, log).read(10, 40)] == list(range(11, 41))

    def test_decisions_are_made_again(self, reader, log):
        """All of them, those in the segment too, come out to the same bytes."""
        found = verify(WholeLog(reader, log).read())
        assert (found.identical, found.decisions) == (True, 30)

    def test_without_the_segment_it_refuses(self, reader, log, segment):
        """Never a smaller past: it names what to bring back."""
        segment.rename(segment.with_name("elsewhere"))
        with pytest.raises(ArchivedError, match=segment.name):
            WholeLog(reader, log).read()

    def test_a_forged_segment_is_refused(self, reader, log, segment):
        content = bytearray(segment.read_bytes())
        content[200] ^= 1
        segment.write_bytes(content)
        with pytest.raises(Exception, match=segment.name):
            list(WholeLog(reader, log).read())

    def test_the_past_before_the_gap_is_folded_as_ever(self, reader, log, segment):
        """What lies before every dropped position needs no segment."""
        segment.unlink()
        first = retention_of(reader).segments[0].told.first
        assert state_at(WholeLog(reader, log), Moment(position=first - 1)).position == first - 1
        with pytest.raises(ArchivedError):
            state_at(WholeLog(reader, log), Moment(position=first + 10))

    def test_as_of_a_dropped_position(self, reader, log, whole):
        """The state in the middle of the gap is the one that the log gave when it was whole."""
        state = state_at(WholeLog(reader, log), Moment(position=20))
        assert (state.position, len(state.keys)) == (20, 1)


class TestReports:
    def ask(self, desk, begin_us, end_us):
        period = Period(begin_us, end_us)
        return desk.ask(ReportQuestion(report="usage", by=(), period=period))

    def test_a_dropped_period_is_told(self, reader, log, segment):
        """Never a silently smaller number."""
        desk = ReportDesk(reader, reports_file(log))
        old = self.ask(desk, EPOCH_US - 80 * DAY_US, EPOCH_US - 60 * DAY_US)
        assert old.archived == (segment.name,)
        new = self.ask(desk, EPOCH_US - 2 * DAY_US, None)
        assert (new.archived, new.total[0]) == ((), 6)

    async def test_read_models_forget_what_is_gone(self, tmp_path, calendar):
        """Rows of dropped requests are in no file of the read models, however they were kept before."""
        log = tmp_path / "log.db"
        ids = await old_log(log, calendar)
        kept = tmp_path / "kept.db"
        for path in (reports_file(log), kept):
            ReportDesk(SqliteReader(log), path).rebuild()
            assert ids[0].encode() in path.read_bytes()
        async with living(log) as node:
            await node.retaining.set(30 * DAY_US, actor=ACTOR)
            assert (await drop(node)).step == Step.Done
        assert not reports_file(log).exists()
        desk = ReportDesk(SqliteReader(log), kept)
        assert self.ask(desk, None, None).total[0] == 6
        fresh = ReportDesk(SqliteReader(log), reports_file(log))
        assert desk.fingerprints() == fresh.fingerprints()
        assert ids[0].encode() not in reports_file(log).read_bytes()

    def test_acts_are_reported(self, reader, log):
        """Who set the retention and who let go stands in the report of administrators' acts."""
        told = ReportDesk(reader, reports_file(log)).ask(ReportQuestion(report="admin"))
        names = [column.name for column in told.columns]
        acts = {row[names.index("act")] for row in told.rows}
        assert {"retention.set", "segment.dropped"} <= acts


class TestProofs:
    def test_a_bundle_over_the_gap_names_the_way(self, log, gone):
        """A range that was dropped is proven by its segment."""
        evidence, settings = evidence_of(settings_of(log), log), settings_of(log)
        with pytest.raises(RouterError, match="retention status"):
            bundle_of(evidence.rows, evidence.seals, signer_of(settings, log), subjects.of_positions(5, 40))

    def test_a_period_that_was_dropped_is_refused(self, reader):
        with pytest.raises(ArchivedError):
            subjects.of_period(reader, EPOCH_US - 75 * DAY_US, EPOCH_US)

    def test_what_is_left_is_proven_as_ever(self, log, reader):
        """A request behind the gap, its tree pruned around it."""
        left = max(one for one in streams_in(log) if one.startswith("request-"))
        evidence, settings = evidence_of(settings_of(log), log), settings_of(log)
        files = bundle_of(
            evidence.rows, evidence.seals, signer_of(settings, log), subjects.of_request(reader, left)
        )
        assert "events.jsonl" in files


class TestAStart:
    async def test_without_snapshots_money_and_quotas_are_the_same(self, log, calendar):
        """What is left folds to the same amounts that the whole log does."""
        whole = RouterState().fold(WholeLog(SqliteReader(log), log).read())
        left = RouterState().fold(SqliteReader(log).read())
        assert _amounts(whole) == _amounts(left)
        async with living(log) as node:
            assert await ask(node) is None  # its provider is gone; it is refused, not lost


def _amounts(state):
    return [
        (accounts.report(row, EPOCH_US).settled, accounts.report(row, EPOCH_US).reserved)
        for accounts in (state.quotas.accounts, state.budgets.accounts)
        for row in range(accounts.count)
    ]


class TestOverHttp:
    @pytest.fixture
    async def client(self, log, calendar):
        proxy = Proxy(settings_of(log), RUN_KEY)
        async with living(log) as node:
            proxy._node = node
            transport = httpx.ASGITransport(proxy)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://test", headers={"x-api-key": RUN_KEY}
            ) as client:
                yield client

    async def test_a_dropped_request(self, client, gone, segment):
        answer = await client.get(f"/api/v1/requests/{gone[0]}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (410, "archived")
        assert segment.name in answer.json()["error"]["message"]

    async def test_events_say_what_is_left_out(self, client, segment):
        """A page over the gap names the segment, one behind it none; a report does in every format."""
        over = await client.get("/api/v1/events", params={"limit": 40})
        assert over.headers["x-archived-in"] == segment.name
        behind = await client.get("/api/v1/events", params={"after": over.json()[-1]["position"]})
        assert "x-archived-in" not in behind.headers
        report = await client.get("/api/v1/reports/usage", params={"format": "csv", "from": "2020-01-01"})
        assert report.headers["x-archived-in"] == segment.name

    async def test_every_way_needs_a_management_key(self, client):
        for method, path in (
            ("GET", "/retention"),
            ("POST", "/retention"),
            ("GET", "/retention/outlook"),
            ("POST", "/retention/apply"),
            ("GET", "/retention/holds"),
            ("POST", "/retention/holds"),
            ("POST", "/retention/holds/x/release"),
        ):
            answer = await client.request(method, f"/api/v1{path}", json={}, headers={"x-api-key": "no"})
            assert answer.status_code == 401, path

    async def test_policy_holds_and_a_run(self, client, segment):
        """What the command line does, over HTTP."""
        assert (await client.post("/api/v1/retention", json={"keep": "1h"})).status_code == 400
        told = (await client.post("/api/v1/retention", json={"keep": "400d"})).json()
        assert (told["keep_days"], told["warning"]) == (400, None)
        asked = {"scope": "client", "scope_id": "acme", "reason": "case 17", "since": "2026-01-01"}
        placed = await client.post("/api/v1/retention/holds", json=asked)
        assert placed.status_code == 201
        assert placed.json()["left_before"] == [segment.name]
        status = (await client.get("/api/v1/retention")).json()
        assert [one["scope_id"] for one in status["holds"]] == ["acme"]
        assert (status["dropped"], status["segments"][0]["here"]) == (48, True)
        path = f"/api/v1/retention/holds/{placed.json()['hold_id']}/release"
        assert (await client.post(path, json={"reason": "closed"})).status_code == 200
        assert (await client.post(path, json={"reason": "closed"})).status_code == 404
        assert (await client.get("/api/v1/retention/outlook")).json()["events"] == 0
        bad = await client.post("/api/v1/retention/apply", json={"archive": "relative"})
        assert bad.status_code == 400
        begun = await client.post("/api/v1/retention/apply", json={})
        assert begun.status_code == 202

    async def test_a_request_that_is_gone_cannot_be_held(self, client, gone, segment):
        asked = {"scope": "request", "scope_id": gone[1], "reason": "too late"}
        answer = await client.post("/api/v1/retention/holds", json=asked)
        assert (answer.status_code, segment.name in answer.text) == (409, True)

    async def test_a_request_that_never_was_cannot_be_held(self, client):
        """It is a slip of the pen, and the right request would go unheld."""
        never = "0193c0de-0000-7000-8000-000000000000"
        asked = {"scope": "request", "scope_id": never, "reason": "case 17"}
        answer = await client.post("/api/v1/retention/holds", json=asked)
        assert (answer.status_code, never in answer.text) == (404, True)
