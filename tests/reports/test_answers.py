"""What reports answer: the sums, shares and quantiles that a naive reading of the log finds."""

import math
from collections import defaultdict
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_givens import (
    HOUR_US,
    START_US,
    ListLog,
    attempt_failed,
    completed,
    decided,
    facts,
    kept,
    logs,
    naive_calls,
    refused,
)

from apikeyrouter.adapters.reports.answers import Answers
from apikeyrouter.adapters.reports.catalogue import REPORTS
from apikeyrouter.application.reporting.periods import Period
from apikeyrouter.application.reporting.questions import Filter, ReportQuestion, Unit
from apikeyrouter.domain.events import RequestCompleted, RouteDecided, RouteRefused, request_stream
from apikeyrouter.domain.models.system_error import InvalidRequestError, NotFoundError

WRITTEN = {
    "hour": "2026-03-31 13:00",
    "day": "2026-03-31",
    "month": "2026-03",
    Unit.Instant: "2026-03-31T13:00:00.000001Z",
    Unit.NanoUsd: "-0.000000001",
}
ZONES = ("UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Australia/Lord_Howe")


def ask(store, report, **asked):
    return Answers(store).ask(ReportQuestion(report=report, **asked))


def as_dicts(answer):
    names = [column.name for column in answer.columns]
    return [dict(zip(names, row, strict=True)) for row in answer.rows]


def total(answer):
    names = [column.name for column in answer.columns if not column.groups]
    return dict(zip(names, answer.total, strict=True))


def trace(store, report, where=(), **asked):
    question = ReportQuestion(report=report, where=tuple(Filter(*one) for one in where), **asked)
    return Answers(store).trace(question)


class TestSpend:
    @settings(deadline=None, max_examples=60)
    @given(logs(), st.sampled_from(ZONES))
    def test_by_client_and_local_day_it_is_exact(self, log, zone):
        """Every nano-dollar is in the row of its client and of the day that the zone's clocks said."""
        naive = defaultdict(lambda: [0, 0, 0])
        for call in naive_calls(log):
            if call.spent_at_us is not None:
                day = datetime.fromtimestamp(call.spent_at_us / 1e6, ZoneInfo(zone)).date().isoformat()
                row = naive[day, call.decided.facts.client_id]
                row[0] += 1
                row[1] += call.cost
                row[2] += call.charged
        answer = ask(kept(log), "spend", by=("day", "client"), zone=zone)
        told = {
            (row["day"], row["client"]): [row["calls"], row["cost"], row["maybe_charged"]]
            for row in as_dicts(answer)
        }
        assert told == naive
        sums = [sum(row[place] for row in naive.values()) for place in range(3)]
        assert [total(answer)[name] for name in ("calls", "cost", "maybe_charged")] == sums

    @settings(deadline=None, max_examples=40)
    @given(logs(), st.integers(0, 96), st.integers(0, 96))
    def test_periods_are_half_open_and_leave_nothing_out(self, log, first, second):
        """What two neighbouring periods tell is what they tell together."""
        store, (begin, middle) = kept(log), sorted((START_US + first * HOUR_US, START_US + second * HOUR_US))
        parts = (Period(None, begin), Period(begin, middle), Period(middle, None))
        costs = [total(ask(store, "spend", period=part))["cost"] for part in parts]
        assert sum(costs) == total(ask(store, "spend"))["cost"]

    def test_sums_stay_exact_where_floats_would_not(self):
        """A nano-dollar beside millions of dollars is still there."""
        log = ListLog()
        for number, cost in enumerate((9_007_199_254_740_993, 1, 1)):
            stream = request_stream(f"{number:032x}")
            log.append(stream, decided(START_US, facts()))
            log.append(stream, completed(START_US, cost_nano_usd=cost))
        assert total(ask(kept(log), "spend"))["cost"] == 9_007_199_254_740_995

    def test_an_unknown_cost_is_counted_and_is_not_zero(self):
        """What nobody prices stands in a column of its own."""
        log = ListLog([("request-1", decided(START_US, facts()))])
        log.append("request-1", completed(START_US, cost_nano_usd=None))
        assert total(ask(kept(log), "spend"))["without_price"] == 1

    def test_by_tag_a_request_counts_for_each_of_its_tags_and_in_the_total_once(self):
        """Rows by tag may overlap; the line of sums never counts twice."""
        log = ListLog([("request-1", decided(START_US, facts(tags=("x", "y"))))])
        log.append("request-1", completed(START_US))
        answer = ask(kept(log), "spend", by=("tag",))
        assert {row["tag"]: row["cost"] for row in as_dicts(answer)} == {"x": 1500, "y": 1500}
        assert total(answer)["cost"] == 1500


class TestConditions:
    @settings(deadline=None, max_examples=60)
    @given(logs(), st.sampled_from(("", "acme", "globex")), st.sampled_from(("", "x", "y")))
    def test_they_pick_what_a_naive_reading_picks(self, log, client, tag):
        """An empty value stands for none: no client, no tag."""
        naive = [
            call
            for call in naive_calls(log)
            if (call.decided.facts.client_id or "") == client
            and (tag in call.decided.facts.tags if tag else not call.decided.facts.tags)
        ]
        where = (Filter("client", (client,)), Filter("tag", (tag,)))
        answer = ask(kept(log), "completeness", where=where)
        assert total(answer)["calls"] == len(naive)

    def test_several_values_of_a_column_mean_any_of_them(self):
        """Conditions on one column widen, those on several narrow."""
        log = ListLog()
        for number, client in enumerate(("a", "b", "c", None)):
            log.append(request_stream(str(number)), decided(START_US, facts(client_id=client)))
        counted = total(ask(kept(log), "usage", where=(Filter("client", ("a", "c", "")),)))
        assert counted["calls"] == 3

    @pytest.mark.parametrize(
        ("report", "asked", "said"),
        [
            ("spend", {"by": ("colour",)}, "no column 'colour'"),
            ("spend", {"where": (Filter("colour", ("red",)),)}, "no column 'colour'"),
            ("spend", {"where": (Filter("day", ("soon",)),)}, "2026-03-31"),
            ("spend", {"where": (Filter("hour", ("2026-03-31",)),)}, "2026-03-31 13:00"),
            ("spend", {"where": (Filter("month", ("9999-12",)),)}, "2026-03"),
            ("budgets", {"where": (Filter("amount", ("1e999999999",)),)}, "US dollars"),
            ("budgets", {"where": (Filter("amount", ("0.0000000001",)),)}, "US dollars"),
            ("admin", {"where": (Filter("at", ("soon",)),)}, "2026-03-31T13:00:00Z"),
            ("spend", {"zone": "Mars/Olympus"}, "unknown time zone"),
        ],
    )
    def test_what_a_report_cannot_do_is_refused_in_words(self, report, asked, said):
        """Names are looked up, never put into SQL."""
        with pytest.raises(InvalidRequestError, match=said):
            ask(kept(ListLog()), report, **asked)

    def test_an_unknown_report(self):
        """The refusal lists those that there are."""
        with pytest.raises(NotFoundError, match="spend, usage"):
            ask(kept(ListLog()), "weather")

    def test_values_are_bound_and_never_read_as_sql(self):
        """A quote in a value is a quote in a value."""
        hostile = "x') OR 1=1 --"
        log = ListLog([("request-1", decided(START_US, facts(client_id=hostile)))])
        store = kept(log)
        assert total(ask(store, "usage", where=(Filter("client", (hostile,)),)))["calls"] == 1
        assert total(ask(store, "usage", where=(Filter("client", ("x') OR 1=1 -- ",)),)))["calls"] == 0


class TestSla:
    @settings(deadline=None, max_examples=40)
    @given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 10**6), st.integers(0, 60)), max_size=40))
    def test_quantiles_are_exact_for_every_key_and_hour(self, served):
        """Nearest rank: the least value that such a share of the requests does not pass."""
        log, by_hour = ListLog(), defaultdict(list)
        for number, (key_id, elapsed_us, hours) in enumerate(served):
            at_us, stream = START_US + hours * HOUR_US, request_stream(str(number))
            log.append(stream, decided(at_us, facts(), key_id))
            log.append(stream, completed(at_us, key_id, elapsed_us=elapsed_us))
            by_hour[key_id, hours].append(elapsed_us)
        rows = as_dicts(ask(kept(log), "sla", by=("key", "hour"), zone="Asia/Kathmandu"))
        named = {}
        for (key_id, hours), values in by_hour.items():
            local = datetime.fromtimestamp(START_US / 1e6, ZoneInfo("Asia/Kathmandu")) + timedelta(
                hours=hours
            )
            named[key_id, local.strftime("%Y-%m-%d %H:00")] = sorted(values)
        told = {(row["key"], row["hour"]): [row["p50_us"], row["p95_us"], row["p99_us"]] for row in rows}
        assert told == {
            place: [values[math.ceil(share * len(values)) - 1] for share in (0.5, 0.95, 0.99)]
            for place, values in named.items()
        }

    def test_success_leaves_out_who_left_and_counts_who_was_refused(self):
        """The share is of those that ended one way or the other by our doing."""
        log = ListLog()
        for number in range(3):
            log.append(request_stream(f"{number}"), decided(START_US, facts()))
            log.append(request_stream(f"{number}"), completed(START_US))
        log.append("request-r", refused(START_US, facts()))
        answer = ask(kept(log), "sla", by=("client",))
        assert total(answer)["success"] == 0.75

    def test_a_request_that_another_key_saved(self):
        """Failovers are counted, and those that helped."""
        log = ListLog()
        for event in (
            decided(1, facts()),
            attempt_failed(2),
            decided(3, facts(), "b", 2),
            completed(4, "b", 2),
        ):
            log.append("request-1", event)
        told = total(ask(kept(log), "sla"))
        assert (told["requests"], told["attempts"], told["failed_over"], told["saved"]) == (1, 2, 1, 1)

    def test_without_a_grouping_that_has_latencies_there_are_none(self):
        """A state says nothing of how long its requests took: the columns are left out, not made up."""
        answer = ask(kept(ListLog([("request-1", decided(1, facts()))])), "sla", by=("state",))
        assert not any(column.name.endswith("_us") for column in answer.columns)


class TestRefusals:
    @settings(deadline=None, max_examples=40)
    @given(logs())
    def test_each_is_there_with_its_rules(self, log):
        """By position every refusal; by rule as many as were refused by it."""
        store = kept(log)
        naive = [one for one in log.events if isinstance(one.event, RouteRefused)]
        listed = as_dicts(ask(store, "refusals", by=("position", "reason")))
        assert [row["position"] for row in listed] == [one.position for one in naive]
        by_rule = defaultdict(int)
        for one in naive:
            for rule in one.event.excluded or {None: 1}:
                by_rule[rule] += 1
        told = as_dicts(ask(store, "refusals", by=("rule",)))
        assert {row["rule"]: row["refusals"] for row in told} == by_rule
        assert total(ask(store, "refusals", by=("rule",)))["refusals"] == len(naive)


class TestTraces:
    @settings(deadline=None, max_examples=60)
    @given(logs(), st.sampled_from(sorted(REPORTS)))
    def test_every_row_has_its_events_and_the_rows_together_have_all(self, log, report):
        """The events of a row are as many as the row says, and lie between its first and last position."""
        store = kept(log)
        answer = ask(store, report)
        found: set[int] = set()
        for row in as_dicts(answer):
            where = [
                (name, ("" if row[name] is None else str(row[name]),))
                for name in answer.by
                if name not in {"at", "until"}
            ]
            traced = trace(store, report, where)
            assert traced.count == len(traced.positions) == row.get("events", traced.count)
            if "first_position" in row:
                assert (min(traced.positions), max(traced.positions)) == (
                    row["first_position"],
                    row["last_position"],
                )
            found |= set(traced.positions)
        assert found == set(trace(store, report).positions)

    @settings(deadline=None, max_examples=40)
    @given(logs())
    def test_all_calls_of_a_key_are_all_its_calls(self, log):
        """Completeness counts the calls of a key by state, and its trace is the events that they are."""
        store = kept(log)
        mine = [call for call in naive_calls(log) if call.decided.chosen.key_id == "key-b"]
        where = [("key", ("key-b",))]
        answer = ask(store, "completeness", where=tuple(Filter(*one) for one in where))
        by_state = defaultdict(int)
        for call in mine:
            by_state[call.state] += 1
        assert {row["state"]: row["calls"] for row in as_dicts(answer)} == by_state
        assert set(trace(store, "completeness", where).positions) == {
            position for call in mine for position in call.positions
        }

    def test_pages_follow_each_other(self):
        """After the last position of a page comes the next one, and the count is of all."""
        log = ListLog()
        for number in range(5):
            log.append(request_stream(str(number)), decided(START_US, facts()))
            log.append(request_stream(str(number)), completed(START_US))
        store = kept(log)
        question = ReportQuestion(report="usage", limit=4)
        first = Answers(store).trace(question)
        second = Answers(store).trace(question, after=first.positions[-1])
        assert (first.positions, first.count) == ((1, 2, 3, 4), 10)
        assert second.positions == (5, 6, 7, 8)


class TestAnswers:
    def test_what_is_cut_off_is_said_and_still_in_the_total(self):
        """The limit bounds rows, not sums."""
        log = ListLog()
        for number in range(5):
            log.append(request_stream(str(number)), decided(START_US, facts(client_id=f"c{number}")))
        answer = ask(kept(log), "usage", limit=2)
        assert (len(answer.rows), answer.more, total(answer)["calls"]) == (2, True, 5)

    def test_it_stands_at_a_position(self):
        """The last event that is counted is named."""
        log = ListLog([("request-1", decided(START_US, facts()))])
        assert ask(kept(log), "spend").as_of == 1

    def test_calls_whose_beginning_is_gone_are_counted_all_the_same(self):
        """A log may have lost its oldest part: a call has an end then, and nobody knows by which key."""
        log = ListLog([("request-1", completed(START_US))])
        for event in (decided(START_US, facts()), completed(START_US)):
            log.append("request-2", event)
        answer = ask(kept(log), "usage", by=("key",))
        assert {row["key"]: row["calls"] for row in as_dicts(answer)} == {None: 1, "key-a": 1}
        assert (total(answer)["calls"], total(answer)["first_at"]) == (2, START_US)

    @pytest.mark.parametrize("report", REPORTS)
    def test_an_empty_log_has_empty_reports(self, report):
        """Nothing happened is an answer."""
        answer = ask(kept(ListLog()), report)
        assert answer.rows == ()

    @pytest.mark.parametrize("report", REPORTS)
    def test_every_column_can_be_grouped_by(self, report):
        """No column of any report is a broken promise."""
        log = ListLog([("request-1", decided(START_US, facts(tags=("x",))))])
        log.append("request-1", completed(START_US))
        store = kept(log)
        for name, dimension in REPORTS[report].dimensions.items():
            assert ask(store, report, by=(name,)).columns[0].name == name
            wanted = WRITTEN.get(dimension.bucket or dimension.unit, "v")
            ask(store, report, where=(Filter(name, (wanted, "")),))

    def test_a_model_that_served_for_another_is_where_the_money_went(self):
        """Spend is told by the model that was asked for, requests keep the one that was named."""
        import msgspec

        call = decided(START_US, facts(model="large"))
        cheaper = msgspec.structs.replace(call, chosen=msgspec.structs.replace(call.chosen, model="small"))
        assert isinstance(cheaper, RouteDecided)
        log = ListLog([("request-1", cheaper), ("request-1", completed(START_US))])
        assert isinstance(log.events[1].event, RequestCompleted)
        store = kept(log)
        assert as_dicts(ask(store, "spend", by=("model",)))[0]["model"] == "small"
        assert as_dicts(ask(store, "sla", by=("requested_model",)))[0]["requested_model"] == "large"
