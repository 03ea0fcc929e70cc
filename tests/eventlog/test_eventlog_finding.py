"""Single events are found without reading what lies around them."""

import pytest
from log_givens import new, run_of

from apikeyrouter.adapters.eventlog import sqlite_reader
from apikeyrouter.adapters.eventlog.sqlite_log import SqliteLog
from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.application.audit import MOST_AT_ONCE, trail
from apikeyrouter.domain.events import (
    Candidate,
    EventRef,
    NewEvent,
    Policy,
    QuotaCorrected,
    RequestFacts,
    RequestReleased,
    Reserved,
    RouteDecided,
)

KEY, ACCOUNT = "k1", "group-p:shared/requests/minute"


def decided(at_us: int) -> RouteDecided:
    ref = EventRef(f"key-{KEY}", 1)
    scores = dict.fromkeys(("total", "cost", "reliability", "fairness", "latency", "quality"), 0.5)
    chosen = Candidate(key_id=KEY, provider_id="p", in_flight=0, state_ref=ref, offer_ref=ref, **scores)
    return RouteDecided(
        at_us=at_us,
        attempt=1,
        facts=RequestFacts(operation="chat", model="m"),
        chosen=chosen,
        rules=2,
        as_of=1,
        seed=1,
        policy=Policy(objective="fairness"),
        eligible=1,
        reserved=(Reserved(ACCOUNT, 1),),
    )


def corrected(request: int) -> QuotaCorrected:
    evidence = (EventRef(f"request-{request}", 2),)
    return QuotaCorrected(at_us=request, account=ACCOUNT, remaining=1, until_us=9, evidence=evidence)


def of_request(number: int) -> list[NewEvent]:
    """Return the events of a request and, behind them, what it left in a stream that all have in common."""
    end = RequestReleased(at_us=number, attempt=1, key_id=KEY, trigger="client_left")
    return [
        NewEvent(f"request-{number}", 1, decided(number)),
        NewEvent(f"request-{number}", 2, end),
        NewEvent(f"quota-{ACCOUNT}", number, corrected(number)),
    ]


class TestFinding:
    async def test_one_event_by_its_place(self, log):
        """By stream and version, exactly."""
        await log.append([*run_of("s", 3), *run_of("st", 2)])
        assert log.event("s", 2) == log.stream("s")[1]
        assert log.event("s", 4) is None
        assert log.event("nobody", 1) is None

    @pytest.mark.parametrize(
        ("prefix", "after", "until", "found"),
        [
            ("s", 0, 9, [1, 2, 3, 4, 5]),
            ("st", 0, 9, [3, 5]),
            ("s", 1, 4, [2, 3, 4]),
            ("s", 4, 4, []),
            ("t", 0, 9, [6]),
            ("st\U0010ffff", 0, 9, []),
        ],
    )
    @pytest.mark.parametrize("most", [0, 5_000])
    async def test_a_stretch_of_streams_by_their_prefix(
        self, log, monkeypatch, most, prefix, after, until, found
    ):
        """In the order of their positions, the first bound left out and the second taken in."""
        monkeypatch.setattr(sqlite_reader, "_MOST_READ_IN_ORDER", most)
        events = [new("s", 1), new("s", 2), new("st", 1), new("s", 3), new("st", 2), new("t", 1)]
        await log.append(events)
        assert [one.position for one in log.within([prefix, prefix], after, until)] == found

    @pytest.mark.parametrize("most", [0, 5_000])
    async def test_several_prefixes_at_once(self, log, monkeypatch, most):
        """An event is told once, whichever of them its stream begins with."""
        monkeypatch.setattr(sqlite_reader, "_MOST_READ_IN_ORDER", most)
        await log.append([new("a", 1), new("b", 1), new("ab", 1), new("c", 1)])
        assert [one.position for one in log.within(["a", "ab", "c"], 0, 4)] == [1, 3, 4]


class TestTheTrailOfARequest:
    async def test_it_has_what_the_request_left_in_a_stream_of_many(self, log):
        """And nothing that others left there, before, meanwhile or afterwards."""
        await log.append([event for number in range(1, 6) for event in of_request(number)])
        told = trail(log, "3")
        assert [(one.stream, one.version) for one in told.consequences] == [(f"quota-{ACCOUNT}", 3)]

    async def test_it_reads_little_however_long_the_streams_are(self, path, monkeypatch):
        """Of the thousands that stand in the stream, those around the request alone are decoded."""
        log = SqliteLog(path)
        await log.append([event for number in range(1, 3_001) for event in of_request(number)])
        await log.close()
        decoded = []
        read = sqlite_reader.from_stored
        monkeypatch.setattr(sqlite_reader, "from_stored", lambda *row: decoded.append(row) or read(*row))
        assert len(trail(SqliteReader(path), "100").consequences) == 1
        assert len(decoded) < MOST_AT_ONCE
