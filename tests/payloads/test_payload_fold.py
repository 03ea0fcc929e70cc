"""What the fold says of kept bodies: whose are due, and which orders stand."""

import msgspec
import pytest
from loopback import ROOT

from apikeyrouter.adapters.eventlog.mapper import from_stored
from apikeyrouter.domain.events import (
    CaptureSet,
    ErasureStarted,
    PayloadCaptured,
    PayloadLost,
    RouteDecided,
    SubjectErased,
)
from apikeyrouter.domain.payloads import Payloads
from apikeyrouter.domain.state import RouterState

SAMPLES = ROOT / "tests" / "eventlog" / "samples"


def sample(name, **changes):
    event = from_stored("s", 1, name, (SAMPLES / f"{name}.json").read_bytes())
    return msgspec.structs.replace(event, **changes)


def decided(attempt, client_id="acme"):
    event = sample("request.decided.v3", attempt=attempt)
    assert isinstance(event, RouteDecided)
    return msgspec.structs.replace(event, facts=msgspec.structs.replace(event.facts, client_id=client_id))


@pytest.fixture
def state():
    folded = RouterState()
    folded.evolve(1, "client-acme", 1, sample("client.capture_set.v1"))
    return folded


def test_a_request_is_due_from_its_first_decision(state):
    """Not from a later one: capture was off when it began."""
    state.payloads.decided("request-1", decided(1))
    state.payloads.decided("request-2", decided(2))
    state.payloads.decided("request-3", decided(1, "other"))
    state.payloads.decided("request-4", decided(1, None))
    assert state.payloads.due == {"1": "acme"}


@pytest.mark.parametrize(
    ("name", "kind"), [("payload.captured.v1", PayloadCaptured), ("payload.lost.v1", PayloadLost)]
)
def test_it_is_due_until_it_is_kept_or_lost(state, name, kind):
    """And nothing of it stays in memory."""
    state.payloads.decided("request-1", decided(1))
    event = sample(name)
    assert isinstance(event, kind)
    state.evolve(2, "payload-1", 1, event)
    assert state.payloads.due == {}
    assert "payload-1" not in state.versions


def test_an_order_stands_until_its_last_key_is_destroyed(state):
    """Of a client with several persons."""
    started = sample("erasure.started.v1")
    assert isinstance(started, ErasureStarted)
    [doomed] = started.subjects
    another = msgspec.structs.replace(doomed, subject="other", key_fingerprint="other")
    state.evolve(2, "erasure-e", 1, msgspec.structs.replace(started, subjects=(doomed, another)))
    assert state.payloads.is_being_erased("acme")
    assert not state.payloads.is_being_erased("other")
    ended = sample("subject.erased.v1")
    assert isinstance(ended, SubjectErased)
    state.evolve(3, "erasure-e", 2, ended)
    assert state.payloads.is_being_erased("acme")
    state.evolve(4, "erasure-e", 3, msgspec.structs.replace(ended, key_fingerprint="other"))
    assert not state.payloads.is_being_erased("acme")
    assert state.payloads.erased == {doomed.key_fingerprint: "e", "other": "e"}


def test_off_keeps_nobodys(state):
    """The span of what is kept already stays."""
    off = sample("client.capture_set.v1", enabled=False, keep_us=None)
    assert isinstance(off, CaptureSet)
    state.evolve(2, "client-acme", 2, off)
    assert state.payloads.capturing == {}
    assert list(state.payloads.keep_us) == ["acme"]
    assert Payloads().capturing == {}
