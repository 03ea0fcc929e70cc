"""Reservations under any course of events: each ends once, and the books balance at every position."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from quota_givens import audited
from worlds import SECOND_US, World

from apikeyrouter.application.replay import verify
from apikeyrouter.domain.deferral import behind_others, until_capacity
from apikeyrouter.domain.events import (
    AttemptFailed,
    KeyMetadataChanged,
    KeyRevoked,
    QuotaCorrected,
    QuotaLimitLearned,
    Recorded,
    RequestCancelled,
    RequestCompleted,
    RequestFailed,
    RequestReleased,
    RouteDecided,
    RouteDeferred,
    key_stream,
    quota_stream,
)
from apikeyrouter.domain.failures import HANDLING, FailureClass
from apikeyrouter.domain.models.api_key import KeyState
from apikeyrouter.domain.routing import decide

KEYS = ("a", "b", "c")
amounts = st.integers(1, 6)
limits = st.fixed_dictionaries(
    {},
    optional={
        "rps": amounts,
        "rpm": amounts,
        "rpd": st.integers(3, 12),
        "tpm": st.integers(500, 5000),
        "otpd": st.integers(100, 900),
        "rpm:m": amounts,
        "max_concurrency": st.integers(1, 3),
        "quota_group": st.sampled_from(("g", "h")),
        "quota_window": st.sampled_from(("rolling", "fixed", "bucket")),
        "quota_timezone": st.sampled_from(("Europe/Berlin", "UTC")),
    },
)


class Reservations(RuleBasedStateMachine):
    """Decisions reserve; calls end in every way there is, also by the death of the process."""

    @initialize(declared=st.tuples(limits, limits, limits))
    def begin(self, declared):
        self.world = World()
        self.world.provider()
        for key_id, metadata in zip(KEYS, declared, strict=True):
            self.world.key(key_id, **metadata)
        self.count = 0
        self.out: dict[str, RouteDecided] = {}
        self.failed: dict[str, RouteDecided] = {}
        self.queued: dict[str, int] = {}

    def _decide(self, stream, model, tokens, seed, tried=()):
        question = self.world.question(model, input_tokens=tokens, seed=seed, tried=tried)
        decision = decide(self.world.state, question)
        if isinstance(decision, RouteDecided):
            self.out[stream] = decision
            self.world.append(stream, decision)
            return
        deferred = until_capacity(self.world.state, decision, 30 * SECOND_US)
        self.world.append(stream, deferred or decision)
        if isinstance(deferred, RouteDeferred):
            self.queued[stream] = tokens

    @rule(model=st.sampled_from("mn"), tokens=st.integers(1, 900), seed=st.integers(0, 2**53 - 1))
    def asks(self, model, tokens, seed):
        self.count += 1
        self._decide(f"request-{self.count}", model, tokens, seed)

    @rule(tokens=st.integers(1, 900))
    def stands_behind_others(self, tokens):
        self.count += 1
        question = self.world.question(input_tokens=tokens)
        self.world.append(f"request-{self.count}", behind_others(question, 30 * SECOND_US))
        self.queued[f"request-{self.count}"] = tokens

    @precondition(lambda self: self.queued)
    @rule(data=st.data(), leaves=st.booleans(), seed=st.integers(0, 9))
    def waits_no_longer(self, data, leaves, seed):
        stream = data.draw(st.sampled_from(sorted(self.queued)))
        tokens = self.queued.pop(stream)
        if leaves:
            released = RequestReleased(at_us=self.world.now_us, attempt=0, key_id="", trigger="left")
            self.world.append(stream, released)
        else:
            self._decide(stream, "m", tokens, seed)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), failure=st.sampled_from(FailureClass), sent=st.booleans())
    def fails(self, data, failure, sent):
        stream = data.draw(st.sampled_from(sorted(self.out)))
        decision = self.failed[stream] = self.out.pop(stream)
        event = AttemptFailed(
            at_us=self.world.now_us,
            attempt=decision.attempt,
            key_id=decision.chosen.key_id,
            provider_id="openai",
            failure=failure,
            effect=HANDLING[failure].effect,
            blames_provider=HANDLING[failure].blames_provider,
            elapsed_us=5,
            sent=sent,
        )
        self.world.append(stream, event)

    @precondition(lambda self: self.failed)
    @rule(data=st.data(), fails_over=st.booleans(), tokens=st.integers(0, 100), seed=st.integers(0, 9))
    def goes_on_or_gives_up(self, data, fails_over, tokens, seed):
        """A stream that broke has tokens that come after its attempt failed: no more than it had held."""
        stream = data.draw(st.sampled_from(sorted(self.failed)))
        decision = self.failed.pop(stream)
        facts = decision.facts
        if fails_over:
            tried = (*decision.tried, decision.chosen.key_id)
            self._decide(stream, facts.model, facts.input_tokens_bound, seed, tried)
            return
        ended = RequestFailed(
            at_us=self.world.now_us, attempts=1, failure="server_error", status=502, output_tokens=0
        )
        self.world.append(stream, ended)

    @precondition(lambda self: self.out)
    @rule(
        data=st.data(),
        way=st.sampled_from(("done", "left", "owed", "died", "freed")),
        share=st.integers(0, 4),
    )
    def ends(self, data, way, share):
        stream = data.draw(st.sampled_from(sorted(self.out)))
        decision = self.out.pop(stream)
        facts, common = decision.facts, {"at_us": self.world.now_us}
        key = {"attempt": decision.attempt, "key_id": decision.chosen.key_id}
        used = {
            "input_tokens": facts.input_tokens_bound * share // 4,
            "output_tokens": facts.output_tokens_bound * share // 4,
            "usage_source": "provider",
        }
        call = {**common, **key, **used, "provider_id": "openai", "elapsed_us": 9, "response_bytes": 1}
        ways = {
            "done": lambda: RequestCompleted(**call, model="m", first_byte_us=7, response_sha256="0"),
            "left": lambda: RequestCancelled(**call, phase="streaming"),
            "owed": lambda: RequestFailed(**common, **used, attempts=1, failure="x", status=500),
            "died": lambda: RequestReleased(**common, **key, trigger="process_died"),
            "freed": lambda: RequestReleased(**common, **key, trigger="log_unavailable"),
        }
        self.world.append(stream, ways[way]())

    @rule(key_id=st.sampled_from(KEYS), metadata=limits)
    def declared_anew(self, key_id, metadata):
        if self.world.state.keys[key_id].state is not KeyState.Revoked:
            changed = KeyMetadataChanged(at_us=self.world.now_us, actor="test", metadata=metadata)
            self.world.append(key_stream(key_id), changed)

    @rule()
    def the_last_key_is_revoked(self):
        if self.world.state.keys["c"].state is not KeyState.Revoked:
            revoked = KeyRevoked(at_us=self.world.now_us, actor="test", reason="test")
            self.world.append(key_stream("c"), revoked)

    @rule(key_id=st.sampled_from("ab"), limit=st.integers(1, 9), guessed=st.booleans())
    def a_limit_is_learned(self, key_id, limit, guessed):
        source = "learned_from_refusal" if guessed else "learned_from_headers"
        learned = QuotaLimitLearned(
            at_us=self.world.now_us,
            key_id=key_id,
            dimension="requests",
            unit="minute",
            limit=limit,
            models=("m",),
            source=source,
        )
        self.world.append(quota_stream(f"{key_id}-learned"), learned)

    @precondition(lambda self: self.world.state.quotas.by_row)
    @rule(data=st.data(), remaining=st.integers(0, 5), passed_us=st.none() | st.integers(0, 70 * SECOND_US))
    def somebody_else_used_it(self, data, remaining, passed_us):
        limit = data.draw(st.sampled_from(self.world.state.quotas.by_row))
        until_us = None if passed_us is None else self.world.now_us + passed_us
        corrected = QuotaCorrected(
            at_us=self.world.now_us, account=limit.account_id, remaining=remaining, until_us=until_us
        )
        self.world.append(quota_stream(limit.account_id), corrected)

    @rule(
        passed_us=st.integers(0, 3 * SECOND_US)
        | st.integers(0, 130 * SECOND_US)
        | st.just(86_400 * SECOND_US)
    )
    def time_passes(self, passed_us):
        self.world.now_us += passed_us

    @invariant()
    def what_is_reserved_is_what_open_requests_hold(self):
        if hasattr(self, "world"):
            state = self.world.state
            assert (state.quotas.accounts.reserved >= 0).all()
            if not self.out:
                assert not state.quotas.accounts.reserved.any()
            assert set(state.open_requests) == {*self.out, *self.failed, *self.queued}
            assert state.columns.in_flight.sum() == len(self.out)

    def teardown(self):
        """The log alone tells an auditor that nothing was passed, and every decision comes out again."""
        if not hasattr(self, "world"):
            return
        events = [Recorded(position, *new) for position, new in enumerate(self.world.log, 1)]
        audit = audited(events)
        assert not audit.faults, audit.faults[:5]
        assert set(audit.open_holdings) == set(self.out)
        result = verify(events)
        assert result.identical, result.differences
        live, again = self.world.state.quotas.accounts, self.world.refolded()
        again.advance(self.world.state.latest_us)
        for name in ("limit", "used", "reserved", "ends_us"):
            assert getattr(live, name).tobytes() == getattr(again.quotas.accounts, name).tobytes()


TestReservations = Reservations.TestCase
TestReservations.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
