"""What tests of reports share: logs as lists, lines of requests drawn at random, and a naive accountant."""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from hypothesis import strategies as st

from apikeyrouter.adapters.reports.store import ReadModelFile
from apikeyrouter.application.projections.projector import catch_up
from apikeyrouter.domain.events import (
    AttemptFailed,
    Candidate,
    Event,
    EventRef,
    Exclusion,
    KeyRegistered,
    KeyStateChanged,
    NodeStarted,
    Policy,
    Recorded,
    RequestCancelled,
    RequestCompleted,
    RequestFacts,
    RequestFailed,
    RequestReleased,
    Reserved,
    RouteDecided,
    RouteDeferred,
    RouteRefused,
    key_stream,
    request_stream,
)

START_US = 1_774_915_200_000_000  # 31 March 2026, 00:00 UTC: two days after Berlin's clocks went forward
HOUR_US = 3_600_000_000
CLIENTS = (None, "acme", "globex")
KEYS = ("key-a", "key-b", "key-c")
MODELS = ("large", "small")
SPAN_US = 4 * 24 * HOUR_US


class ListLog:
    """A log in a list; implements `EventReader`."""

    def __init__(self, events: Iterable[tuple[str, Event]] = ()) -> None:
        self.events: list[Recorded] = []
        self._versions: dict[str, int] = defaultdict(int)
        for stream, event in events:
            self.append(stream, event)

    def append(self, stream: str, event: Event) -> Recorded:
        self._versions[stream] += 1
        recorded = Recorded(len(self.events) + 1, stream, self._versions[stream], event)
        self.events.append(recorded)
        return recorded

    def read(self, after: int = 0, until: int | None = None):
        return iter(self.events[after:until])

    def stream(self, stream: str):
        return [recorded for recorded in self.events if recorded.stream == stream]


def kept(log: ListLog, path=None) -> ReadModelFile:
    """Return read models that have caught up with a log."""
    store = ReadModelFile(path)
    catch_up(log, store)
    return store


def facts(**changes) -> RequestFacts:
    return RequestFacts(**{"operation": "chat", "model": "large", **changes})


def decided(
    at_us: int, asked: RequestFacts, key_id: str = "key-a", attempt: int = 1, **changes
) -> RouteDecided:
    ref = EventRef(f"key-{key_id}", 1)
    chosen = Candidate(
        key_id=key_id,
        provider_id=f"provider-of-{key_id}",
        total=0.5,
        cost=0.5,
        reliability=0.5,
        fairness=0.5,
        latency=0.5,
        quality=0.5,
        in_flight=0,
        state_ref=ref,
        offer_ref=ref,
    )
    fields = {
        "rules": 2,
        "as_of": 1,
        "seed": 1,
        "policy": Policy(objective="fairness"),
        "eligible": 1,
        **changes,
    }
    return RouteDecided(at_us=at_us, attempt=attempt, facts=asked, chosen=chosen, **fields)


def refused(at_us: int, asked: RequestFacts, attempt: int = 1, **changes) -> RouteRefused:
    fields = {"rules": 2, "as_of": 1, "seed": 1, "policy": Policy(objective="fairness"), **changes}
    return RouteRefused(at_us=at_us, attempt=attempt, facts=asked, reason="no_key_available", **fields)


def completed(at_us: int, key_id: str = "key-a", attempt: int = 1, **changes) -> RequestCompleted:
    fields = {"input_tokens": 10, "output_tokens": 5, "cost_nano_usd": 1_500, "elapsed_us": 1000, **changes}
    return RequestCompleted(
        at_us=at_us,
        attempt=attempt,
        key_id=key_id,
        provider_id=f"provider-of-{key_id}",
        model="large",
        usage_source="provider",
        first_byte_us=fields["elapsed_us"] // 2,
        response_bytes=1,
        response_sha256="00",
        **fields,
    )


def attempt_failed(at_us: int, key_id: str = "key-a", attempt: int = 1, **changes) -> AttemptFailed:
    fields = {"failure": "server_error", "effect": "strike", "status": 500, "elapsed_us": 10, **changes}
    return AttemptFailed(
        at_us=at_us, attempt=attempt, key_id=key_id, provider_id=f"provider-of-{key_id}", **fields
    )


amounts = st.integers(0, 10**15)
costs = st.none() | amounts


@st.composite
def request_lines(draw) -> list[Event]:
    """Draw the events of one request, as the router writes them."""
    at_us = START_US + draw(st.integers(0, SPAN_US))
    asked = facts(
        model=draw(st.sampled_from(MODELS)),
        client_id=draw(st.sampled_from(CLIENTS)),
        team=draw(st.sampled_from((None, "red"))),
        tags=draw(st.sampled_from(((), ("x",), ("x", "y")))),
    )
    events: list[Event] = []
    if draw(st.booleans()):
        events.append(
            RouteDeferred(at_us=at_us, attempt=1, facts=asked, reason="quota", wait_until_us=at_us + 1)
        )
    failures = draw(st.integers(0, 2))
    for attempt in range(1, failures + 1):
        key_id = draw(st.sampled_from(KEYS))
        events.append(decided(at_us, asked, key_id, attempt, reserved=_reserved(draw)))
        charged = draw(st.just(0) | amounts)
        events.append(attempt_failed(at_us + 1, key_id, attempt, charged_nano_usd=charged))
    return [*events, *_last_steps(draw, at_us + 2, asked, failures, has_begun=bool(events))]


def _reserved(draw) -> tuple[Reserved, ...]:
    return (Reserved("pool/tokens/minute", draw(st.integers(1, 1000))),) if draw(st.booleans()) else ()


def _last_steps(draw, at_us: int, asked: RequestFacts, failures: int, *, has_begun: bool) -> list[Event]:
    kind = draw(
        st.sampled_from(("completed", "cancelled", "released", "broken", "failed", "refused", "left", "open"))
    )
    key_id, attempt = draw(st.sampled_from(KEYS)), failures + 1
    if kind == "refused":
        rules = draw(
            st.dictionaries(st.sampled_from(("quota", "key_disabled")), st.integers(1, 9), max_size=2)
        )
        exclusions = (Exclusion(key_id=key_id, rule="quota", evidence=EventRef("quota-x", 3)),)
        return [refused(at_us, asked, attempt, excluded=rules, exclusions=exclusions if rules else ())]
    if kind == "left" and has_begun:
        return [RequestReleased(at_us=at_us, attempt=failures, key_id="", trigger="client_left")]
    if kind == "failed" and failures:
        return [RequestFailed(at_us=at_us, attempts=failures, failure="server_error", status=502)]
    call = decided(at_us, asked, key_id, attempt)
    return [call, *_end_of_call(draw, kind, at_us + 1, key_id, attempt)]


def _end_of_call(draw, kind: str, at_us: int, key_id: str, attempt: int) -> list[Event]:
    used = {"input_tokens": draw(st.integers(0, 9999)), "output_tokens": draw(st.integers(0, 9999))}
    cost = draw(costs)
    match kind:
        case "completed":
            elapsed_us = draw(st.integers(0, 10**7))
            return [completed(at_us, key_id, attempt, cost_nano_usd=cost, elapsed_us=elapsed_us, **used)]
        case "cancelled":
            cancelled = RequestCancelled(
                at_us=at_us,
                attempt=attempt,
                key_id=key_id,
                provider_id=f"provider-of-{key_id}",
                phase="streaming",
                usage_source="estimated",
                cost_nano_usd=cost,
                elapsed_us=7,
                response_bytes=1,
                **used,
            )
            return [cancelled]
        case "released":
            charged = draw(st.just(0) | amounts)
            return [
                RequestReleased(
                    at_us=at_us,
                    attempt=attempt,
                    key_id=key_id,
                    trigger="process_died",
                    charged_nano_usd=charged,
                )
            ]
        case "broken":
            ended = RequestFailed(
                at_us=at_us + 1,
                attempts=attempt,
                failure="stream_broken",
                status=502,
                usage_source="estimated",
                cost_nano_usd=cost,
                **used,
            )
            return [attempt_failed(at_us, key_id, attempt), ended]
    return []


@st.composite
def logs(draw) -> ListLog:
    """Draw a log of several requests whose events come in any order that keeps each request's own."""
    lines = {
        request_stream(f"{number:032x}"): line
        for number, line in enumerate(draw(st.lists(request_lines(), max_size=8)))
    }
    lines[key_stream("key-a")] = [
        KeyRegistered(at_us=START_US, actor="ann", provider_id="p", fingerprint="f"),
        KeyStateChanged(
            at_us=START_US, actor="router", from_state="available", to_state="throttled", trigger="t"
        ),
        KeyStateChanged(
            at_us=START_US, actor="bob", from_state="throttled", to_state="disabled", trigger="by_hand"
        ),
    ]
    lines["log"] = [NodeStarted(at_us=START_US, node_id="n", version="1")]
    order = draw(st.permutations([stream for stream, line in lines.items() for _ in line]))
    left = {stream: iter(line) for stream, line in lines.items()}
    return ListLog((stream, next(left[stream])) for stream in order)


class Call(NamedTuple):
    """What the naive accountant knows of a call."""

    decided: RouteDecided
    state: str
    tokens: int
    cost: int
    charged: int
    spent_at_us: int | None
    positions: frozenset[int]


def naive_calls(log: ListLog) -> list[Call]:
    """Go through every request's stream by hand, and tell of every call how it ended and what it cost."""
    calls = []
    for stream in {recorded.stream for recorded in log.events if recorded.stream.startswith("request-")}:
        events = log.stream(stream)
        for place, recorded in enumerate(events):
            if isinstance(recorded.event, RouteDecided):
                calls.append(_naive_call(recorded, events[place + 1 :]))
    return calls


def _naive_call(begun: Recorded, later: list[Recorded]) -> Call:
    positions, state, tokens, cost, charged, spent_at_us = {begun.position}, "open", 0, 0, 0, None
    for position, _, _, event in later:
        if isinstance(event, RouteDecided | RouteRefused):
            break
        if isinstance(event, RequestReleased) and not event.key_id:
            break
        if isinstance(event, AttemptFailed | RequestReleased):
            state = "failed" if isinstance(event, AttemptFailed) else "released"
            charged, spent_at_us = event.charged_nano_usd, event.at_us if event.charged_nano_usd else None
        elif isinstance(event, RequestFailed) and event.usage_source == "none":
            break
        else:
            state = {RequestCompleted: "completed", RequestCancelled: "cancelled"}.get(type(event), "failed")
            tokens, cost = event.input_tokens + event.output_tokens, event.cost_nano_usd or 0
            spent_at_us = event.at_us
        positions.add(position)
    return Call(begun.event, state, tokens, cost, charged, spent_at_us, frozenset(positions))
