"""Histories over months, in no time: requests, quotas, budgets, and whatever moves them."""

import msgspec
from hypothesis import strategies as st

from apikeyrouter.domain.budget_terms import parse_terms
from apikeyrouter.domain.events import (
    CATALOGUE_STREAM,
    RETENTION_STREAM,
    BudgetOpened,
    BudgetTermsSet,
    BudgetToppedUp,
    Event,
    KeyMetadataChanged,
    KeyRegistered,
    LegalHoldPlaced,
    LegalHoldReleased,
    ModelOffer,
    ProviderRegistered,
    QuotaCorrected,
    Recorded,
    RequestCompleted,
    RequestFacts,
    RequestReleased,
    RouteDecided,
    budget_stream,
    key_stream,
    quota_stream,
)
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.domain.questions import RouteQuestion
from apikeyrouter.domain.routing import decide
from apikeyrouter.domain.state import RouterState
from apikeyrouter.domain.windows import DAY_US, HOUR_US, MINUTE_US, SECOND_US

START_US = 1_760_000_000 * SECOND_US
OFFER = ModelOffer(model="m", input_nano_usd_per_mtok=10**9, output_nano_usd_per_mtok=2 * 10**9)
CLIENTS = ("acme", "zenith", None)
LIMITS = st.fixed_dictionaries(
    {"rpm": st.integers(5, 60), "tpm": st.integers(5_000, 90_000)},
    optional={
        "rpd": st.integers(5, 500),
        "quota_window": st.sampled_from(("rolling", "fixed", "bucket")),
        "quota_timezone": st.sampled_from(("Europe/Berlin", "UTC")),
    },
)
TERMS = st.sampled_from(
    [
        parse_terms("5", period, mode, rolling=rolling)
        for period in ("hourly", "daily", "weekly", "monthly")
        for rolling in (False, True)
        for mode in ("hard", "soft")
    ]
)
TIMES = st.sampled_from(
    (SECOND_US, 20 * SECOND_US, 5 * MINUTE_US, 3 * HOUR_US, DAY_US, 9 * DAY_US, 33 * DAY_US)
)
HOLDS = st.sampled_from(
    [
        {"scope": "client", "scope_id": "acme"},
        {"scope": "request", "scope_id": "3"},
        {"scope": "period", "since_us": START_US + DAY_US, "until_us": START_US + 12 * DAY_US},
    ]
)
DEEDS = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from(CLIENTS), st.integers(1, 4000)),
    st.tuples(st.just("ask"), st.sampled_from(CLIENTS), st.integers(1, 4000)),
    st.tuples(st.just("end"), st.sampled_from(("done", "died", "left")), st.integers(0, 4)),
    st.tuples(st.just("end"), st.just("done"), st.integers(0, 4)),
    st.tuples(st.just("wait"), TIMES),
    st.tuples(st.just("terms"), st.integers(0, 1), TERMS),
    st.tuples(st.just("top_up"), st.integers(0, 1)),
    st.tuples(st.just("declare"), LIMITS),
    st.tuples(st.just("correct"), st.integers(0, 9), st.integers(0, 4)),
    st.tuples(st.just("hold"), HOLDS),
    st.tuples(st.just("release")),
)


class History:
    """A log in memory with its state, and what is done to it."""

    def __init__(self, *, total: bool = False) -> None:
        self.state = RouterState()
        self.events: list[Recorded] = []
        self.versions: dict[str, int] = {}
        self.now_us = START_US
        self.out: list[tuple[str, RouteDecided]] = []
        self.count = 0
        self._tell(
            CATALOGUE_STREAM, ProviderRegistered, actor="t", provider_id="p", kind="openai", models=(OFFER,)
        )
        self._tell(key_stream("k"), KeyRegistered, actor="t", provider_id="p", fingerprint="f")
        for number, period in enumerate(("daily", "monthly", *(("total",) if total else ()))):
            scope = {"scope": "client", "scope_id": "zenith"} if period == "total" else {"scope": "global"}
            terms = parse_terms("50", period, "hard")
            self._tell(budget_stream(str(number)), BudgetOpened, actor="t", terms=terms, **scope)

    def read(self, after: int = 0, until: int | None = None):
        return iter(self.events[after:until])

    def stream(self, stream: str):
        return [one for one in self.events if one.stream == stream]

    def act(self, deed: tuple) -> None:
        name, *rest = deed
        getattr(self, name)(*rest)

    def ask(self, client: str | None, tokens: int) -> None:
        self.count += 1
        facts = RequestFacts(
            operation="chat", model="m", client_id=client, input_tokens_bound=tokens, output_tokens_bound=100
        )
        question = RouteQuestion(
            facts=facts, policy=policy_of(None), attempt=1, tried=(), at_us=self.now_us, seed=1
        )
        decision = decide(self.state, question)
        stream = f"request-{self.count}"
        self._record(stream, decision)
        if isinstance(decision, RouteDecided):
            self.out.append((stream, decision))

    def end(self, way: str, share: int) -> None:
        if not self.out:
            return
        stream, decision = self.out.pop(0 if share % 2 else -1)
        common = {"attempt": 1, "key_id": "k"}
        if way == "done":
            self._tell(
                stream,
                RequestCompleted,
                **common,
                provider_id="p",
                model="m",
                input_tokens=decision.facts.input_tokens_bound * share // 4,
                output_tokens=25 * share,
                usage_source="provider",
                cost_nano_usd=(decision.chosen.cost_bound_nano_usd or 0) * share // 4,
                elapsed_us=9,
                first_byte_us=7,
                response_bytes=1,
                response_sha256="0",
            )
        else:
            trigger = "process_died" if way == "died" else "client_left"
            self._tell(stream, RequestReleased, **common, trigger=trigger)

    def wait(self, passed_us: int) -> None:
        self.now_us += passed_us

    def terms(self, number: int, terms) -> None:
        self._tell(budget_stream(str(number)), BudgetTermsSet, actor="t", terms=terms)

    def top_up(self, number: int) -> None:
        until_us = self.now_us + DAY_US
        self._tell(
            budget_stream(str(number)), BudgetToppedUp, actor="t", amount_nano_usd=10**9, until_us=until_us
        )

    def declare(self, metadata: dict) -> None:
        self._tell(key_stream("k"), KeyMetadataChanged, actor="t", metadata=metadata)

    def correct(self, remaining: int, place: int) -> None:
        limits = self.state.quotas.by_row
        if limits:
            account = limits[place % len(limits)].account_id
            self._tell(quota_stream(account), QuotaCorrected, account=account, remaining=remaining)

    def hold(self, scope: dict) -> None:
        self.count += 1
        self._tell(
            RETENTION_STREAM, LegalHoldPlaced, actor="t", hold_id=str(self.count), reason="case", **scope
        )

    def release(self) -> None:
        for hold_id in list(self.state.holds.by_id)[:1]:
            self._tell(RETENTION_STREAM, LegalHoldReleased, actor="t", hold_id=hold_id, reason="over")

    def keep(self, keep_us: int) -> None:
        self.state.retention.keep_us = keep_us

    def _tell(self, stream: str, made: type[Event], /, **fields) -> None:
        self._record(stream, made(at_us=self.now_us, **fields))

    def _record(self, stream: str, event: Event) -> None:
        version = self.versions[stream] = self.versions.get(stream, 0) + 1
        recorded = Recorded(len(self.events) + 1, stream, version, msgspec.structs.replace(event))
        self.events.append(recorded)
        self.state.evolve(*recorded)
