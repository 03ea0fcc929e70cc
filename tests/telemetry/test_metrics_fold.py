"""Metrics as a fold: every event counts once, and labels stay few."""

import contextlib
import subprocess
import sys
from types import NoneType, UnionType
from typing import Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from apikeyrouter.adapters.telemetry import names
from apikeyrouter.adapters.telemetry.exposition import exposition
from apikeyrouter.adapters.telemetry.metrics import Metrics, Served
from apikeyrouter.adapters.telemetry.standing import NOTHING_STANDS
from apikeyrouter.adapters.telemetry.tallies import CappedLabels, Consumption, Histogram
from apikeyrouter.domain.events import (
    EVENT_TYPES,
    AttemptFailed,
    Event,
    KeyRegistered,
    KeyRevoked,
    KeyStateChanged,
    ProviderRegistered,
    Recorded,
    RequestCancelled,
    RequestCompleted,
    RequestFailed,
    RequestReleased,
    RouteDecided,
    RouteDeferred,
    RouteRefused,
)
from apikeyrouter.limits import MOST_METRIC_MODELS, MOST_METRIC_PROVIDERS, MOST_METRIC_REASONS

OPENAI = {"provider_id": "openai"}


class FakeClock:
    elapsed = 0

    def now_us(self):
        return 0

    def elapsed_us(self):
        return self.elapsed


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def metrics(clock):
    return Metrics(clock)


class Disturbing(Histogram):
    """Lets something happen whenever its total is read."""

    def __init__(self, bounds, happens):
        super().__init__(bounds)
        self.happens = happens

    def __getattribute__(self, name):
        if name == "total":
            with contextlib.suppress(AttributeError):
                super().__getattribute__("happens")()
        return super().__getattribute__(name)


def sample(kind, /, **known):
    """Make an event of any type: required fields that are not given hold something of their type."""
    hints = get_type_hints(kind)
    required = (field.name for field in msgspec.structs.fields(kind) if field.required)
    return kind(**{name: something(hints[name]) for name in required if name not in known} | known)


def something(hint):
    if get_origin(hint) in {Union, UnionType}:
        return None if NoneType in get_args(hint) else something(get_args(hint)[0])
    plain = {str: "text", int: 1, float: 0.5, bool: False, tuple: (), dict: {}}
    kind = get_origin(hint) or hint
    return plain[kind] if kind in plain else sample(kind)


class Feed:
    """Hands events to metrics with positions of their own."""

    def __init__(self, metrics):
        self.metrics = metrics
        self.fed = []

    def __call__(self, stream, kind, /, **known):
        recorded = Recorded(len(self.fed) + 1, stream, 1, sample(kind, **known))
        self.fed.append(recorded)
        self.metrics.follow([recorded])

    def decided(self, stream, model="gpt-4o", provider_id="openai", operation="chat"):
        event = sample(RouteDecided)
        facts = msgspec.structs.replace(event.facts, operation=operation, model=model)
        chosen = msgspec.structs.replace(event.chosen, provider_id=provider_id)
        policy = msgspec.structs.replace(event.policy, objective="fairness")
        self(stream, RouteDecided, facts=facts, chosen=chosen, policy=policy)


@pytest.fixture
def feed(metrics):
    return Feed(metrics)


def samples(metrics):
    text = metrics.render().decode()
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def value(metrics, name, **labels):
    return samples(metrics).get((name, frozenset(labels.items())))


class TestFold:
    def test_every_type_of_event_is_taken_in(self, metrics, feed):
        """Also those that nothing is counted from, and the text can still be parsed."""
        for number, kind in enumerate(EVENT_TYPES.values()):
            feed(f"stream-{number}", kind)
        assert value(metrics, "apikeyrouter_log_head_position") == len(EVENT_TYPES)

    def test_an_unknown_type_is_ignored(self, metrics, feed):
        """A newer event does not stop an older reader."""

        class Newer(Event, frozen=True, kw_only=True):
            pass

        feed("stream", Newer)
        assert value(metrics, "apikeyrouter_log_head_position") == 1

    def test_a_served_request_is_counted_everywhere_once(self, metrics, feed):
        """Decision, attempt, outcome, tokens, cost, usage and duration."""
        feed("catalogue", ProviderRegistered, **OPENAI, kind="openai")
        feed.decided("request-1")
        assert value(metrics, "apikeyrouter_open_requests") == 1
        metrics._stale_at_us = 0
        feed(
            "request-1",
            RequestCompleted,
            **OPENAI,
            model="gpt-4o-2024",
            input_tokens=5,
            output_tokens=70,
            cost_nano_usd=123,
            elapsed_us=30_000,
        )
        served = {
            "gen_ai_operation_name": "chat",
            "gen_ai_provider_name": "openai",
            "gen_ai_request_model": "gpt-4o",
            "provider": "openai",
        }
        expected = {
            ("apikeyrouter_decisions_total", ("reason", "chosen"), ("objective", "fairness")): 1,
            ("apikeyrouter_attempts_total", ("provider", "openai"), ("failure_class", "none")): 1,
            ("apikeyrouter_requests_total", ("outcome", "completed")): 1,
            ("apikeyrouter_open_requests",): 0,
            (
                "apikeyrouter_tokens_total",
                ("provider", "openai"),
                ("model", "gpt-4o"),
                ("token_type", "input"),
            ): 5,
            (
                "apikeyrouter_tokens_total",
                ("provider", "openai"),
                ("model", "gpt-4o"),
                ("token_type", "output"),
            ): 70,
            ("apikeyrouter_settled_nano_usd_total", ("provider", "openai"), ("model", "gpt-4o")): 123,
        }
        shown = samples(metrics)
        for (name, *labels), count in expected.items():
            assert shown[name, frozenset(labels)] == count, name
        usage = "gen_ai_client_token_usage_bucket"
        assert value(metrics, usage, **served, gen_ai_token_type="input", le="4.0") == 0
        assert value(metrics, usage, **served, gen_ai_token_type="input", le="16.0") == 1
        assert value(metrics, usage, **served, gen_ai_token_type="output", le="+Inf") == 1
        duration = "gen_ai_client_operation_duration_seconds"
        assert value(metrics, f"{duration}_bucket", **served, error_type="", le="0.02") == 0
        assert value(metrics, f"{duration}_bucket", **served, error_type="", le="0.04") == 1
        assert value(metrics, f"{duration}_sum", **served, error_type="") == 0.03

    def test_failed_attempts_count_by_class_and_take_time(self, metrics, feed):
        """A request that failed over has two attempts and one outcome."""
        feed.decided("request-1")
        feed("request-1", AttemptFailed, provider_id="a", failure="rate_limited", elapsed_us=1)
        feed.decided("request-1", provider_id="b")
        feed("request-1", RequestCompleted, provider_id="b")
        shown = samples(metrics)
        attempts = {key[1]: n for key, n in shown.items() if key[0] == "apikeyrouter_attempts_total"}
        assert attempts == {
            frozenset({("provider", "a"), ("failure_class", "rate_limited")}): 1,
            frozenset({("provider", "b"), ("failure_class", "none")}): 1,
        }
        assert shown["apikeyrouter_requests_total", frozenset({("outcome", "completed")})] == 1

    @pytest.mark.parametrize(
        ("kind", "outcome"),
        [
            (RequestFailed, "failed"),
            (RequestCancelled, "cancelled"),
            (RequestReleased, "released"),
            (RouteRefused, "refused"),
        ],
    )
    def test_every_end_closes_the_request_under_its_name(self, metrics, feed, kind, outcome):
        """Nothing stays open that ended."""
        feed.decided("request-1")
        feed("request-1", kind)
        assert value(metrics, "apikeyrouter_requests_total", outcome=outcome) == 1
        assert value(metrics, "apikeyrouter_open_requests") == 0

    def test_what_was_settled_for_broken_requests_is_counted(self, metrics, feed):
        """Tokens and money of cancelled and broken answers were spent."""
        for number, kind in enumerate([RequestCompleted, RequestCancelled, RequestFailed]):
            feed.decided(f"request-{number}")
            known = {} if kind is RequestFailed else OPENAI
            feed(f"request-{number}", kind, **known, input_tokens=10, output_tokens=1, cost_nano_usd=100)
        of_model = {"provider": "openai", "model": "gpt-4o"}
        assert value(metrics, "apikeyrouter_settled_nano_usd_total", **of_model) == 300
        assert value(metrics, "apikeyrouter_tokens_total", **of_model, token_type="input") == 30

    def test_an_unknown_price_adds_nothing(self, metrics, feed):
        """And breaks nothing."""
        feed.decided("request-1")
        feed("request-1", RequestCompleted, **OPENAI, cost_nano_usd=None)
        assert value(metrics, "apikeyrouter_settled_nano_usd_total", provider="openai", model="gpt-4o") == 0

    def test_keys_are_counted_by_the_state_they_are_in(self, metrics, feed):
        """A state without keys is shown as zero."""
        for number in range(3):
            feed(f"key-{number}", KeyRegistered)
        feed("key-1", KeyStateChanged, from_state="available", to_state="throttled")
        feed("key-2", KeyRevoked)
        states = ("available", "throttled", "revoked", "invalid")
        assert [value(metrics, "apikeyrouter_keys", state=state) for state in states] == [1, 1, 1, 0]

    def test_history_and_live_events_may_overlap(self, metrics, feed):
        """An event counts once, however often it is handed in."""
        feed.decided("request-1")
        feed("request-1", RequestCompleted, **OPENAI)
        metrics.follow(feed.fed)
        assert value(metrics, "apikeyrouter_requests_total", outcome="completed") == 1

    def test_replayed_history_gives_the_same_text(self, metrics, feed, clock):
        """One batch or many, live or later."""
        feed("key-1", KeyRegistered)
        for number in range(50):
            feed.decided(f"request-{number}", model=f"model-{number % 7}")
            feed(f"request-{number}", RequestCompleted, **OPENAI, elapsed_us=number * 1000)
        replayed = Metrics(clock)
        replayed.follow(feed.fed)
        assert replayed.render() == metrics.render()

    def test_a_history_that_begins_in_the_middle_is_counted_as_far_as_it_tells(self, metrics, feed):
        """Ends without a beginning have an outcome, tokens and the provider's name."""
        feed("request-1", RequestCompleted, **OPENAI, model="gpt-4o", input_tokens=3)
        feed("request-2", AttemptFailed, **OPENAI)
        feed("request-2", RequestCancelled, **OPENAI)
        feed("request-3", RequestFailed)
        tokens = {"provider": "openai", "model": "gpt-4o", "token_type": "input"}
        assert value(metrics, "apikeyrouter_tokens_total", **tokens) == 3

    def test_appends_are_timed(self, metrics):
        """The log tells how long its commits take."""
        metrics.observe_append(1_500)
        assert value(metrics, "apikeyrouter_log_append_seconds_bucket", le="0.001") == 0
        assert value(metrics, "apikeyrouter_log_append_seconds_bucket", le="0.002") == 1


class TestWaiting:
    def test_a_wait_ends_with_a_key(self, metrics, feed):
        """From the first deferral to the decision; a second deferral is the same wait."""
        feed("request-1", RouteDeferred, at_us=1_000_000)
        feed("request-1", RouteDeferred, at_us=1_500_000)
        assert value(metrics, "apikeyrouter_waiting_requests") == 1
        metrics._stale_at_us = 0
        feed("request-1", RouteDecided, at_us=3_000_000)
        assert value(metrics, "apikeyrouter_waiting_requests") == 0
        assert value(metrics, "apikeyrouter_wait_seconds_sum", outcome="served") == 2.0
        assert value(metrics, "apikeyrouter_wait_seconds_count", outcome="gave_up") == 0

    @pytest.mark.parametrize("kind", [RouteRefused, RequestReleased, RequestFailed])
    def test_or_without_one(self, metrics, feed, kind):
        """Whose time was over, or who left, waited as well."""
        feed("request-1", RouteDeferred, at_us=1_000_000)
        feed("request-1", kind, at_us=1_250_000)
        assert value(metrics, "apikeyrouter_wait_seconds_sum", outcome="gave_up") == 0.25
        assert metrics.waiting_since_us == {}

    def test_who_does_not_wait_is_not_timed(self, metrics, feed):
        """A wait of zero would hide how long the others waited."""
        feed.decided("request-1")
        assert value(metrics, "apikeyrouter_wait_seconds_count", outcome="served") == 0


class TestCardinality:
    def test_models_beyond_the_bound_share_one_name(self, metrics, feed):
        """However many models serve, the number of series stays."""
        for number in range(3 * MOST_METRIC_MODELS):
            feed.decided(f"request-{number}", model=f"model-{number}")
            feed(f"request-{number}", RequestCompleted, **OPENAI)
        models = {
            dict(labels).get("model") for name, labels in samples(metrics) if name.endswith("tokens_total")
        }
        assert len(models) == MOST_METRIC_MODELS + 1
        assert "other" in models

    @pytest.mark.parametrize("kind", [AttemptFailed, RequestCancelled, RequestFailed])
    def test_models_that_clients_make_up_take_no_place(self, metrics, feed, kind):
        """A name gets a series when it has served, so nobody can crowd the real ones out."""
        for number in range(2 * MOST_METRIC_MODELS):
            feed.decided(f"request-{number}", model=f"made-up-{number}")
            known = {"input_tokens": 1} if kind is RequestFailed else OPENAI
            feed(f"request-{number}", kind, **known)
        feed.decided("request-x", model="real")
        feed("request-x", RequestCompleted, **OPENAI)
        assert "made-up" not in metrics.render().decode()
        assert value(metrics, "apikeyrouter_settled_nano_usd_total", provider="openai", model="real") == 0

    def test_providers_and_reasons_are_bounded_too(self, metrics, feed):
        """Whatever a log holds."""
        for number in range(300):
            feed(f"r-{number}", AttemptFailed, provider_id=f"p-{number}", failure=f"f-{number}")
            feed(f"s-{number}", RouteRefused, reason=f"reason-{number}")
        shown = [labels for name, labels in samples(metrics) if name == "apikeyrouter_attempts_total"]
        assert len({dict(labels)["provider"] for labels in shown}) == MOST_METRIC_PROVIDERS + 1
        shown = [labels for name, labels in samples(metrics) if name == "apikeyrouter_decisions_total"]
        assert len({dict(labels)["reason"] for labels in shown}) <= MOST_METRIC_REASONS + 1

    def test_no_key_and_no_request_has_a_series(self, metrics, feed):
        """Thousands of keys and requests give the text of one."""
        for number in range(500):
            feed(f"key-{number}", KeyRegistered)
            feed.decided(f"request-{number}")
            feed(f"request-{number}", RequestCompleted, **OPENAI, key_id=f"key-{number}")
        assert "key-7" not in metrics.render().decode()
        assert "request-7" not in metrics.render().decode()
        assert metrics.open_requests == {}
        assert len(samples(metrics)) < 140

    def test_two_providers_of_one_kind_keep_their_own_series(self, metrics, feed):
        """The same model at two accounts is two series, never one line twice."""
        for number, provider_id in enumerate(("openai-eu", "openai-us")):
            feed("catalogue", ProviderRegistered, provider_id=provider_id, kind="openai")
            feed.decided(f"request-{number}", provider_id=provider_id)
            feed(f"request-{number}", RequestCompleted, provider_id=provider_id)
        lines = [line.rpartition(" ")[0] for line in metrics.render().decode().splitlines() if line[0] != "#"]
        assert len(lines) == len(set(lines))
        assert sum('gen_ai_provider_name="openai"' in line and "_count" in line for line in lines) == 6

    def test_label_values_are_escaped(self, metrics, feed):
        """A name with quotes and line ends cannot write a series of its own."""
        odd = 'quo"te\\ and\nline'
        feed.decided("request-1", model=odd, provider_id=odd)
        feed("request-1", RequestCompleted, provider_id=odd)
        assert value(metrics, "apikeyrouter_settled_nano_usd_total", provider=odd, model=odd) == 0


class TestRendering:
    def test_the_text_is_rendered_once_a_second(self, metrics, feed, clock):
        """Rendering is slow, and scrapers may be many."""
        first = metrics.render()
        feed("key-1", KeyRegistered)
        clock.elapsed += 999_999
        assert metrics.render() is first
        clock.elapsed += 1
        assert metrics.render() is not first

    def test_the_fold_may_go_on_while_it_runs(self, metrics):
        """A scrape in another thread sees whole tables, though new models appear in the middle of it."""

        def fold_goes_on():
            served = Served("chat", "openai", f"model-{len(metrics.consumption)}")
            metrics.consumption[served] = Consumption()
            metrics.failed_us[served, "rate_limited"] = Histogram((1,))

        for model in ("one", "two"):
            served = Served("chat", "openai", model)
            metrics.consumption[served] = Consumption()
            metrics.consumption[served].input_tokens = Disturbing((1,), fold_goes_on)
            metrics.failed_us[served, "rate_limited"] = Disturbing((1,), fold_goes_on)
        list(text_string_to_metric_families(exposition(metrics, NOTHING_STANDS).decode()))
        assert len(metrics.consumption) > 2

    def test_bounds_are_those_of_the_semantic_conventions(self):
        """Dashboards that others made expect these."""
        assert names.TOKEN_BOUNDS[:4] == (1, 4, 16, 64)
        assert names.TOKEN_BOUNDS[-1] == 67_108_864
        assert [bound / 1e6 for bound in names.DURATION_BOUNDS_US[:3]] == [0.01, 0.02, 0.04]
        assert names.DURATION_BOUNDS_US[-1] == 81_920_000

    def test_importing_the_fold_does_not_import_the_renderer(self):
        """Who is never scraped does not pay for it."""
        code = (
            "import sys, apikeyrouter.adapters.telemetry.metrics; print('prometheus_client' in sys.modules)"
        )
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert ran.stdout.strip() == "False"


class TestTallies:
    def test_a_value_on_a_bound_counts_under_it(self):
        """Upper bounds are inclusive, as Prometheus has them."""
        histogram = Histogram((1, 4, 16))
        for observed in (0, 1, 2, 4, 16, 17):
            histogram.observe(observed)
        assert histogram.counts == [2, 2, 1, 1]
        assert histogram.total == 40

    def test_labels_keep_their_place(self):
        """Who came first stays, also when the places are taken."""
        labels = CappedLabels(2)
        assert [labels.admit(value) for value in "abcab"] == ["a", "b", "other", "a", "b"]
        assert [labels.known(value) for value in "acx"] == ["a", "other", "other"]
