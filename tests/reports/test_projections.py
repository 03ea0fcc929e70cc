"""Read models are a function of the log: however it is cut, followed, or read anew."""

import typing

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import ROOT
from report_givens import ListLog, kept, logs, naive_calls

from apikeyrouter.adapters.eventlog.mapper import from_stored
from apikeyrouter.adapters.reports.files import fingerprints
from apikeyrouter.adapters.reports.store import ReadModelFile
from apikeyrouter.application.projections import projector
from apikeyrouter.application.projections.projector import catch_up
from apikeyrouter.application.projections.read_models import READ_MODELS, Projections
from apikeyrouter.application.projections.tables import Rule, Writing
from apikeyrouter.domain.events import EVENT_TYPES, Recorded
from apikeyrouter.domain.keys import ROUTER

SAMPLE_FOLDER = ROOT / "tests" / "eventlog" / "samples"
SAMPLES = [
    from_stored("s", 1, sample.name.removesuffix(".json"), sample.read_bytes())
    for sample in sorted(SAMPLE_FOLDER.iterdir())
]
TOLD_NOWHERE: dict[str, str] = {}
"""Types of events that no read model has, each with the reason."""

CATALOGUE = "the catalogue changes by administrators alone; the first start acts as one"
RETENTION = "what is kept and dropped is decided by administrators"
CAPTURE = "whose bodies are kept is decided by administrators"
ONLY_BY_HAND = {
    "provider.registered.v1": CATALOGUE,
    "price_book.adopted.v1": CATALOGUE,
    "price.set.v1": CATALOGUE,
    "models.equated.v1": CATALOGUE,
    "retention.set.v1": RETENTION,
    "hold.placed.v1": RETENTION,
    "hold.released.v1": RETENTION,
    "client.capture_set.v1": CAPTURE,
}
"""Types of events that name an actor who is never the router itself, each with the reason."""
STREAMS = ("request-1", "request-2", "key-a", "budget-b", "quota-q", "catalogue", "log", "")


def rows(store, sql, *values):
    return list(store.database.execute(sql, values))


class TestAnyLog:
    @settings(deadline=None, max_examples=60)
    @given(logs(), st.data())
    def test_following_it_gives_what_reading_it_at_once_gives(self, log, data):
        """Whether the log grows bit by bit or is read whole in batches of any size, contents are the same."""
        at_once = fingerprints(kept(log))
        followed = ReadModelFile(None)
        growing = ListLog()
        cuts = data.draw(st.sets(st.integers(1, max(len(log.events), 1))))
        for recorded in log.events:
            growing.append(recorded.stream, recorded.event)
            if recorded.position in cuts:
                catch_up(growing, followed)
        catch_up(growing, followed)
        assert fingerprints(followed) == at_once

    @settings(deadline=None, max_examples=30)
    @given(logs(), st.integers(1, 5))
    def test_the_size_of_batches_changes_nothing(self, log, size):
        """A batch may end between any two events of a request."""
        with pytest.MonkeyPatch.context() as patch:
            at_once = fingerprints(kept(log))
            patch.setattr(projector, "MOST_PROJECTED_EVENTS", size)
            assert fingerprints(kept(log)) == at_once

    @settings(deadline=None, max_examples=60)
    @given(logs())
    def test_calls_are_what_a_naive_reading_finds(self, log):
        """Every call, its state, its cost and its events, by key."""
        told = rows(
            kept(log),
            "SELECT p.key_id, coalesce(a.state, 'open'),"
            " coalesce(a.input_tokens, 0) + coalesce(a.output_tokens, 0),"
            " coalesce(a.cost_nano_usd, 0), coalesce(a.charged_nano_usd, 0), coalesce(p.client_id, '')"
            " FROM attempts a JOIN paths p USING (path_id)",
        )
        naive = [
            (c.decided.chosen.key_id, c.state, c.tokens, c.cost, c.charged, c.decided.facts.client_id or "")
            for c in naive_calls(log)
        ]
        assert sorted(told) == sorted(naive)

    @settings(deadline=None, max_examples=60)
    @given(logs())
    def test_requests_count_all_their_events(self, log):
        """One row a request, whose first and last position and number of events are its stream's."""
        told = rows(kept(log), "SELECT request_id, begun_position, last_position, events FROM requests")
        streams = {one.stream for one in log.events if one.stream.startswith("request-")}
        naive = [(stream.removeprefix("request-"), log.stream(stream)) for stream in streams]
        assert sorted(told) == sorted(
            (request, events[0].position, events[-1].position, len(events)) for request, events in naive
        )


class TestAnyEvents:
    @settings(deadline=None, max_examples=60)
    @given(
        st.lists(st.tuples(st.sampled_from(STREAMS), st.sampled_from(SAMPLES)), max_size=40),
        st.sets(st.integers(1, 40)),
    )
    def test_whatever_the_log_can_hold_in_any_order_is_told_the_same_way(self, events, cuts):
        """Every type of event, former shapes too, in streams that make no sense: nothing raises."""
        log, growing, followed = ListLog(events), ListLog(), ReadModelFile(None)
        for recorded in log.events:
            growing.append(recorded.stream, recorded.event)
            if recorded.position in cuts:
                catch_up(growing, followed)
        catch_up(growing, followed)
        assert fingerprints(followed) == fingerprints(kept(log))


class TestTheTableOfReadModels:
    def test_every_event_that_is_told_is_one_of_the_vocabulary(self):
        """A projection of an event that nothing writes would be dead code."""
        for model in READ_MODELS.values():
            assert set(model.projections) <= set(EVENT_TYPES.values())

    @pytest.mark.parametrize("name", sorted(set(EVENT_TYPES) - set(TOLD_NOWHERE)))
    def test_every_event_leaves_a_row(self, name):
        """Whatever the log can hold is told by some read model, or stands on the list with its reason."""
        assert _told(_sample(name)), f"{name} is in no read model: project it, or say why not"

    @pytest.mark.parametrize("name", sorted(set(EVENT_TYPES) - set(ONLY_BY_HAND) - set(TOLD_NOWHERE)))
    def test_what_the_router_does_by_itself_leaves_a_row_too(self, name):
        """The table of acts leaves the router's own out, so another one must have them."""
        event = _sample(name)
        if "actor" in event.__struct_fields__:
            event = msgspec.structs.replace(event, actor=ROUTER)
        assert _told(event), f"{name} by the router is in no read model"

    @pytest.mark.parametrize("listed", [TOLD_NOWHERE, ONLY_BY_HAND], ids=["nowhere", "by hand"])
    def test_the_lists_of_exceptions_name_events(self, listed):
        """And each has a reason."""
        assert set(listed) <= set(EVENT_TYPES)
        assert all(listed.values())

    def test_columns_that_mind_the_order_are_told_by_one_kind_of_change(self):
        """Kinds are written one after the other, so two of them must never compete for such a column."""
        minds = {Rule.First, Rule.Last}
        for model in READ_MODELS.values():
            tellers: dict[tuple[str, str], int] = {}
            for writing in _writings(model):
                for column in set(writing.columns) - set(writing.table.key):
                    if writing.table.columns[column].rule in minds:
                        place = writing.table.name, column
                        tellers[place] = tellers.get(place, 0) + 1
            assert all(count == 1 for count in tellers.values()), tellers

    def test_each_table_belongs_to_one_read_model(self):
        """So that one can be made anew without the others."""
        names = [table.name for model in READ_MODELS.values() for table in model.tables]
        assert len(names) == len(set(names))


def _sample(name):
    return from_stored("s", 1, name, (SAMPLE_FOLDER / f"{name}.json").read_bytes())


def _told(event):
    projections = Projections(READ_MODELS.values())
    return list(projections.changes([Recorded(1, "stream-1", 1, event)]))


def _writings(model) -> typing.Iterator[Writing]:
    modules = {function.__module__ for function in model.projections.values()}
    for module in modules:
        for value in vars(__import__(module, fromlist=["_"])).values():
            if isinstance(value, Writing):
                yield value
