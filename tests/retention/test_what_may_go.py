"""What leaves is old, whole and free; what is left gives the same money and quotas ever after."""

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from long_histories import DEEDS, START_US, History

from apikeyrouter.application.retention.choosing import ENDS, chooser_for
from apikeyrouter.application.retention.deleting import in_portions
from apikeyrouter.application.retention.rehearsal import rehearse
from apikeyrouter.domain.events import RouteDecided
from apikeyrouter.domain.positions import Positions, alternating, runs_of
from apikeyrouter.domain.retention_cut import cut_of
from apikeyrouter.domain.same_accounts import first_difference
from apikeyrouter.domain.state import RouterState
from apikeyrouter.domain.windows import DAY_US, HOUR_US

KEEPS = st.sampled_from((DAY_US, 8 * DAY_US, 40 * DAY_US))
COURSES = st.lists(DEEDS, min_size=10, max_size=70)


def lived(deeds, *, total=False) -> History:
    history = History(total=total)
    for deed in deeds:
        history.act(deed)
    return history


def chosen_from(history, keep_us, most_events=10_000):
    history.keep(keep_us)
    cut = cut_of(history.state, history.now_us)
    chooser = chooser_for(history, history.state, cut, most_events)
    return cut, chooser.choose(history.read(), 100)


class TestTheChoice:
    @settings(max_examples=150, deadline=None)
    @given(COURSES, KEEPS, st.booleans())
    def test_only_old_whole_and_free_requests(self, deeds, keep_us, total):
        """By a count of its own: ended before the cut, uncovered by hold and total budget."""
        history = lived(deeds, total=total)
        cut, choice = chosen_from(history, keep_us)
        leaving = choice.positions()
        streams = {}
        for one in history.events:
            streams.setdefault(one.stream, []).append(one)
        for stream, events in streams.items():
            gone = [one.position in leaving for one in events]
            if not any(gone):
                continue
            assert all(gone)
            assert stream.startswith("request-")
            assert isinstance(events[-1].event, ENDS)
            assert all(one.event.at_us < cut.at_us <= history.now_us - keep_us for one in events)
            self.check_free(history, stream, events)

    def check_free(self, history, stream, events):
        client = events[0].event.facts.client_id
        for hold in history.state.holds.by_id.values():
            named = hold.scope_id in {client, stream.removeprefix("request-")}
            within = any(
                (hold.since_us or 0) <= one.event.at_us < (hold.until_us or 1 << 62) for one in events
            )
            assert not (within and (named or hold.scope == "period"))
        decided = [one.event for one in events if isinstance(one.event, RouteDecided)]
        assert not any(one.account == "budget-2" for decision in decided for one in decision.reserved), (
            "a total budget needs it"
        )

    @settings(max_examples=60, deadline=None)
    @given(COURSES, st.integers(1, 12))
    def test_the_same_in_one_segment_or_many(self, deeds, most_events):
        """Segments part the choice, they do not change it; each names its positions, times and clients."""
        history = lived(deeds)
        _, whole = chosen_from(history, DAY_US)
        _, parted = chosen_from(history, DAY_US, most_events)
        assert parted.positions() == whole.positions()
        assert sum(one.events for one in parted.segments) == whole.positions().count
        for one in parted.segments:
            events = [history.events[at - 1] for at in one.positions().each()]
            assert (one.from_us, one.to_us) == (
                min(e.event.at_us for e in events),
                max(e.event.at_us for e in events),
            )
            clients = {e.event.facts.client_id for e in events if hasattr(e.event, "facts")}
            assert set(one.clients) == clients - {None}

    def test_a_window_that_is_open_is_waited_for(self):
        """Within the month of a monthly budget nothing of that month goes, however short the retention."""
        history = History()
        for _ in range(4):
            history.ask("acme", 10)
            history.end("done", 4)
            history.wait(2 * DAY_US)
        cut, _ = chosen_from(history, DAY_US)
        assert cut.because == "budget-1"
        assert cut.at_us < START_US + 8 * DAY_US - DAY_US

    def test_an_open_request_is_waited_for(self):
        """Nothing behind the beginning of a request that is still out goes."""
        history = History()
        history.ask("acme", 10)
        history.ask("acme", 10)
        history.end("done", 4)
        history.wait(90 * DAY_US)
        _, choice = chosen_from(history, DAY_US)
        assert choice.segments == ()
        history.end("done", 4)
        history.wait(90 * DAY_US)
        assert chosen_from(history, DAY_US)[1].positions().count == 4


class TestMoneyAndQuotas:
    @settings(max_examples=300, deadline=None)
    @given(COURSES, COURSES, KEEPS, st.sampled_from((DAY_US, 8 * DAY_US, 70 * DAY_US)))
    def test_they_are_the_same_at_every_later_position(self, before, behind, keep_us, aged_us):
        """From where the rehearsal says on, whatever happens afterwards; else nothing would leave."""
        history = lived(before)
        history.wait(aged_us)
        _, choice = chosen_from(history, keep_us)
        if not choice.segments:
            return
        leaving = choice.positions()
        rehearsed = rehearse(history, leaving, None, now_us=history.now_us, at_base=lambda _state: None)
        event("agreed" if rehearsed.difference is None else "refused")
        if rehearsed.difference is not None:
            return
        for deed in behind:
            history.act(deed)
        whole, left = RouterState(), RouterState()
        for recorded in history.events:
            whole.evolve(*recorded)
            if recorded.position not in leaving:
                left.evolve(*recorded)
            if recorded.position >= rehearsed.together_at:
                assert first_difference(whole, left) is None, recorded

    def test_the_state_at_the_base_is_the_whole_one(self):
        """What is pinned is the state as it was with everything, at the last position that leaves."""
        history = History()
        for _ in range(3):
            history.ask("acme", 100)
            history.end("done", 4)
        history.wait(70 * DAY_US)
        history.ask("acme", 100)
        _, choice = chosen_from(history, DAY_US)
        seen = []
        found = rehearse(
            history,
            choice.positions(),
            None,
            now_us=history.now_us,
            at_base=lambda state: seen.append((state.position, len(state.keys))),
        )
        assert found.difference is None
        assert seen == [(choice.last, 1)]

    def test_a_difference_is_a_refusal(self):
        """Where what would leave still counts, the account is named."""
        history = History()
        history.ask("acme", 100)
        history.end("done", 4)
        history.wait(HOUR_US)
        found = rehearse(
            history, Positions([(5, 6)]), None, now_us=history.now_us, at_base=lambda _state: None
        )
        assert (found.together_at, found.difference) == (None, "budget-0")

    def test_a_window_that_was_moved_is_noticed(self):
        """Spending that moved along into a new window still counts there: the rehearsal sees it."""
        history = History()
        history.ask("acme", 100)
        history.end("done", 4)
        history.wait(HOUR_US)
        from apikeyrouter.domain.budget_terms import parse_terms

        history.terms(0, parse_terms("5", "monthly", "hard", rolling=True))
        history.wait(20 * DAY_US)
        history.ask("zenith", 1)
        history.end("done", 0)
        found = rehearse(
            history, Positions([(5, 6)]), None, now_us=history.now_us, at_base=lambda _state: None
        )
        assert found.difference == "budget-0"


class TestPositions:
    sets = st.sets(st.integers(1, 60), min_size=1)

    @given(sets, st.integers(1, 60), st.integers(0, 60))
    def test_they_are_a_set(self, members, first, length):
        """Ranges or single positions, in any order: the same set."""
        made = Positions((one, one) for one in members)
        last = first + length
        assert list(made.each()) == sorted(members)
        assert made.count == len(members)
        assert [one for one in range(1, 62) if one in made] == sorted(members)
        within = {one for a, b in made.within(first, last) for one in range(a, b + 1)}
        others = {one for a, b in made.others(first, last) for one in range(a, b + 1)}
        assert within == members & set(range(first, last + 1))
        assert others == set(range(first, last + 1)) - members

    @given(sets)
    def test_alternating_counts_tell_them(self, members):
        """Counting and reading back gives the positions; counts are positive, and odd in number."""
        counts = alternating(sorted(members))
        assert Positions(runs_of(min(members), counts)) == Positions((one, one) for one in members)
        assert len(counts) % 2 == 1
        assert min(counts) > 0

    @given(sets, st.integers(1, 9))
    def test_portions_hold_all_of_them(self, members, most):
        """No portion is larger than it may be, and together they are the set."""
        portions = list(in_portions(Positions((one, one) for one in members), most))
        assert all(sum(last - first + 1 for first, last in runs) <= most for runs in portions)
        assert Positions(run for runs in portions for run in runs) == Positions((o, o) for o in members)


@pytest.mark.parametrize("keep_us", [DAY_US - 1, -1, 0])
def test_a_retention_below_a_day_is_refused(keep_us):
    from apikeyrouter.domain.models.system_error import InvalidRequestError
    from apikeyrouter.domain.retention import set_retention

    with pytest.raises(InvalidRequestError):
        set_retention(keep_us, at_us=0, actor="t")
