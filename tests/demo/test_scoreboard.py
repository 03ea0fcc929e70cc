"""The demo's numbers and its choice of what to show, as folds over given events."""

from apikeyrouter.domain.events import (
    AttemptFailed,
    Candidate,
    EventRef,
    KeyRegistered,
    KeyStateChanged,
    Policy,
    Recorded,
    RequestCompleted,
    RequestFacts,
    RequestFailed,
    RouteDecided,
    RouteRefused,
)
from apikeyrouter.interfaces.demo.feed import STANDS_US, Feed
from apikeyrouter.interfaces.demo.scoreboard import Scoreboard

A, B = "01a20810360876888215", "01a20810360d73989d6e"
FACTS = RequestFacts(operation="chat", model="swift-1")
POLICY = Policy(objective="fairness", fairness=1.0)


def log(*events):
    """Give events their positions."""
    return [
        Recorded(place, stream, version, event) for place, (stream, version, event) in enumerate(events, 1)
    ]


def registered(key_id: str, label: str):
    event = KeyRegistered(at_us=1, actor="t", provider_id="north", fingerprint="f", metadata={"label": label})
    return f"key-{key_id}", 1, event


def decided(request: str, version: int, key_id: str, *, attempt: int = 1, at_us: int = 2):
    ref = EventRef(f"key-{key_id}", 1)
    chosen = Candidate(
        key_id=key_id,
        provider_id="north",
        total=1.0,
        cost=1.0,
        reliability=1.0,
        fairness=1.0,
        latency=1.0,
        quality=1.0,
        in_flight=0,
        state_ref=ref,
        offer_ref=ref,
    )
    event = RouteDecided(
        rules=2,
        at_us=at_us,
        as_of=1,
        seed=1,
        attempt=attempt,
        facts=FACTS,
        policy=POLICY,
        chosen=chosen,
        eligible=2,
    )
    return f"request-{request}", version, event


def failed(request: str, version: int, key_id: str):
    event = AttemptFailed(
        at_us=3,
        attempt=1,
        key_id=key_id,
        provider_id="north",
        failure="server_error",
        effect="strike",
        elapsed_us=5,
    )
    return f"request-{request}", version, event


def completed(request: str, version: int, key_id: str, *, attempt: int = 1):
    event = RequestCompleted(
        at_us=4,
        attempt=attempt,
        key_id=key_id,
        provider_id="north",
        model="swift-1",
        input_tokens=10,
        output_tokens=5,
        usage_source="provider",
        cost_nano_usd=700,
        elapsed_us=900,
        first_byte_us=300,
        response_bytes=10,
        response_sha256="",
    )
    return f"request-{request}", version, event


def refused(request: str, version: int):
    event = RouteRefused(
        rules=2,
        at_us=5,
        as_of=1,
        seed=1,
        attempt=2,
        facts=FACTS,
        policy=POLICY,
        reason="every_key_tried",
    )
    return f"request-{request}", version, event


def ended(request: str, version: int):
    event = RequestFailed(at_us=5, attempts=1, failure="server_error", status=502)
    return f"request-{request}", version, event


class TestScoreboard:
    def scored(self, *events) -> Scoreboard:
        scoreboard = Scoreboard()
        scoreboard.take(log(registered(A, "a"), registered(B, "b"), *events))
        return scoreboard

    def test_a_failure_that_another_key_made_good(self):
        """It counts against the key, is absorbed, and no client saw it."""
        board = self.scored(
            decided("1", 1, A),
            failed("1", 2, A),
            decided("1", 3, B, attempt=2),
            completed("1", 4, B, attempt=2),
        )
        assert (board.totals.upstream_failures, board.totals.absorbed, board.totals.failed) == (1, 1, 0)
        assert (board.rows[A].failed, board.rows[A].answered) == (1, 0)
        assert (board.rows[B].failed, board.rows[B].answered) == (0, 1)
        assert board.rows[B].cost_nano_usd == board.totals.cost_nano_usd == 700
        assert board.most_attempts == ("request-1", 2)

    def test_a_failure_that_reached_the_client(self):
        """Whether the request failed or was refused at last, nothing was absorbed."""
        for end in (ended("1", 3), refused("1", 3)):
            board = self.scored(decided("1", 1, A), failed("1", 2, A), end)
            assert (board.totals.upstream_failures, board.totals.absorbed) == (1, 0)
            assert board.totals.failed + board.totals.refused == board.totals.ended == 1

    def test_states(self):
        """A key's state and its end are those of its last transition."""
        change = KeyStateChanged(
            at_us=7, actor="router", from_state="available", to_state="throttled", trigger="t", until_us=9
        )
        board = self.scored((f"key-{A}", 2, change))
        assert (board.rows[A].state, board.rows[A].until_us) == ("throttled", 9)
        assert board.labels == {A: "a", B: "b"}


class TestFeed:
    def shown(self, *events) -> list[str]:
        feed = Feed({A: "alpha", B: "beta"})
        feed.take(log(*events))
        return [f"{item.title}: {item.sentence}" for item in feed.items]

    def test_the_first_decision_at_once(self):
        """Nobody waits for the first explanation, and keys are called by their names."""
        [item] = self.shown(decided("1", 1, A))
        assert "swift-1 → alpha" in item
        assert A not in item

    def test_then_one_at_a_time(self):
        """Of many decisions only one is shown in its time: the one that another attempt made telling."""
        later = [decided(str(n), 1, A, at_us=2 + n) for n in range(2, 50)]
        second = decided("1", 3, B, attempt=2, at_us=60)
        last = decided("99", 1, A, at_us=2 + STANDS_US)
        items = self.shown(decided("1", 1, A), *later, second, last)
        assert len(items) == 2
        assert "after 1 failed attempt" in items[1]

    def test_a_key_lost_is_news(self):
        """That a key became invalid is shown at once."""
        change = KeyStateChanged(
            at_us=7, actor="router", from_state="available", to_state="invalid", trigger="key_rejected"
        )
        assert "alpha is invalid" in self.shown((f"key-{A}", 2, change))[0]
