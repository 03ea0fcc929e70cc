"""What outlives what: rests, rejections, trials and strikes, across disabling, draining and rotation."""

import pytest
from key_steps import (
    DI,
    DR,
    HOUR_US,
    INV,
    A,
    E,
    T,
    calls_end,
    disabled,
    drained,
    enabled,
    lived,
    quota_gone,
    rate_limited,
    rejected,
    rotated,
    served,
    time_comes,
)
from worlds import START_US

from apikeyrouter.domain import keys
from apikeyrouter.domain.events import EventRef, KeyStateChanged
from apikeyrouter.domain.failures import FailureClass


@pytest.mark.parametrize("rest", [rate_limited, quota_gone])
@pytest.mark.parametrize("leave", [(disabled,), (drained,), (drained, calls_end), (drained, disabled)])
def test_a_rest_goes_on_behind_disabling_and_draining(rest, leave):
    """Enabling gives back what is left of the rest to the microsecond; once it is over, the key is free."""
    resting = lived((rest,)).state.keys["k"]
    node = lived((rest, *leave))
    node.time_us = resting.until_us - 1
    enabled(node)
    key = node.state.keys["k"]
    assert (key.state, key.until_us) == (resting.state, resting.until_us)
    disabled(node)
    node.time_us += 1
    enabled(node)
    assert node.state.keys["k"].state is A


def test_gone_quota_does_not_shorten_a_longer_rest():
    """Told to wait a day and then that the quota is gone for an hour, a key waits the day."""
    node = lived((lambda n: rate_limited(n, 24 * 3600), quota_gone))
    key = node.state.keys["k"]
    assert (key.state, key.until_us) == (E, node.time_us + 24 * HOUR_US)


def test_a_late_success_does_not_bring_an_exhausted_key_back_before_its_time():
    """A call that was made before the quota went says nothing of the quota."""
    node = lived((quota_gone, served, served))
    assert node.state.keys["k"].state is E
    assert "k" in node.state.resting


@pytest.mark.parametrize("away", [disabled, drained])
@pytest.mark.parametrize("rest", [rate_limited, quota_gone])
def test_new_material_has_nothing_to_rest_from(rest, away):
    """Rotated while it was away, a key is free as soon as it is enabled."""
    assert lived((rest, away, rotated, enabled)).state.keys["k"].state is A


@pytest.mark.parametrize("away", [drained, disabled])
@pytest.mark.parametrize("rotation", [False, True])
def test_a_rejection_that_arrives_while_a_key_is_away_is_not_forgotten(away, rotation):
    """Enabled, it is Invalid, unless it has new material by then."""
    node = lived((away, rejected, *([rotated] if rotation else []), enabled))
    assert node.state.keys["k"].state is (A if rotation else INV)


def test_a_rejection_of_former_material_never_counts_against_the_new():
    """Neither in service nor while draining."""
    node = lived((rotated, rejected, drained, rejected, enabled))
    assert node.state.keys["k"].state is A


def test_a_draining_key_gets_no_new_request_and_ends_with_its_last():
    """However its calls end: served, failed or left."""
    node = lived((drained,))
    assert node.ask().excluded == {"key_draining": 1}
    for end in (served, rate_limited, lambda n: n.leave(min(n.out)), served):
        assert node.state.keys["k"].state is DR
        end(node)
    key = node.state.keys["k"]
    assert (key.state, key.reason) == (DI, "drained")


def test_a_draining_key_with_nothing_under_way_is_disabled_at_once():
    """Whoever drains an idle key need not wait for a request that never ends."""
    node = lived((calls_end, drained))
    assert [event.to_state for event in node.events(KeyStateChanged)] == [DR, DI]


def test_the_end_of_a_rest_names_the_event_that_began_it():
    """Not whatever befell the key in between, such as a pin."""
    node = lived((rate_limited,))
    node.manage(keys.pin, "k", pinned=True)
    time_comes(node)
    assert node.events(KeyStateChanged)[-1].evidence == (EventRef("key-k", 2),)


def test_a_key_back_from_a_rest_is_on_trial_until_it_has_served():
    """Leaving or being at fault oneself proves nothing; a success does."""
    node = lived((rate_limited, time_comes))
    assert node.state.keys["k"].on_trial
    node.leave(min(node.out))
    node.fail(min(node.out), FailureClass.InvalidRequest)
    assert node.state.columns.on_trial[0]
    served(node)
    assert not node.state.keys["k"].on_trial
    assert node.state.columns.trials == 0


def test_three_failures_in_a_row_rest_a_key_and_a_success_between_them_does_not():
    """Strikes are counted by the fold, from the last success on."""
    node = lived(())
    for end in (node.fail, node.fail, None, node.fail, node.fail, node.fail):
        assert node.state.keys["k"].state is A
        stream = node.call("k")
        if end is None:
            node.serve(stream)
        else:
            end(stream, FailureClass.PermissionDenied)
    key = node.state.keys["k"]
    assert (key.state, key.until_us) == (T, START_US + keys.FIRST_REST_US)
