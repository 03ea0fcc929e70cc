"""How leases end, and what changes them: dead nodes, clocks, new windows, administrators."""

import pytest
from lease_nodes import SECOND_US, TERM_US, opened, terms
from lease_steps import served, shared, told
from lease_world import LeaseWorld

from apikeyrouter.domain import lease_acts
from apikeyrouter.domain.events import (
    BudgetClosed,
    BudgetTermsSet,
    BudgetToppedUp,
    BudgetWindowOpened,
    LeaseDenied,
    LeaseExpired,
    LeaseGranted,
    LeaseRecalled,
    LeaseReclaimed,
)
from apikeyrouter.domain.lease_folds import fold
from apikeyrouter.domain.lease_holdings import LeaseHoldings
from apikeyrouter.domain.lease_messages import Renewal, Report, Silence
from apikeyrouter.domain.models.system_error import ConflictError

DAY_US = 86_400 * SECOND_US


class TestDeadNodes:
    def test_what_it_held_counts_at_its_bound_and_the_rest_is_free_again(self):
        world, dead, _ = shared(30, 0)
        served(world, dead, 20)
        world.flush(dead)
        world.settle(dead, "r1", 5)
        world.flush(dead)
        world.crash(dead)
        world.bury_all()
        (reclaimed,) = told(world, LeaseReclaimed)
        assert (reclaimed.settled, reclaimed.forfeited) == (5, 20)
        assert world.account.free == 75

    def test_a_grant_that_never_arrived_is_reclaimed_whole(self):
        world = LeaseWorld(opened(100))
        dead, other = world.join(), world.join()
        world.arrive(dead, 50)
        world.flush(dead)
        world.deliver()
        world.crash(dead)
        assert world.account.free == 50
        world.bury_all()
        assert served(world, other, 100)

    def test_a_settlement_that_was_not_durable_is_forgotten_with_its_node(self):
        world, dead, _ = shared(80, 0)
        world.settle(dead, "r1", 1)
        world.crash(dead)
        world.bury_all()
        assert told(world, LeaseReclaimed)[0].forfeited == 80

    def test_a_lease_is_not_reclaimed_before_it_has_expired(self):
        """Its node may still reserve, and the events that were read would not be all."""
        world, _ = shared(1)
        report = Report(lease=1, granted=100, returned=0, settled=0)
        with pytest.raises(ConflictError, match="not expired"):
            lease_acts.reclaim(world.account, report, 0, world.account.latest_us)

    def test_nothing_is_reserved_under_a_lease_that_has_expired(self):
        """A node that slept through its end finds its append refused, and makes no call."""
        world, slow, other = shared(1, 0)
        world.arrive(slow, 10)
        other.watch.look(world.account, world.ticks_us(other))
        world.elapsed_us += TERM_US + 1
        world.look_out(other)
        assert told(world, LeaseExpired)
        world.flush(slow)
        assert world.used("logged") == 1
        assert len(slow.out) == 1

    def test_a_node_whose_lease_expired_gets_another_and_reports_on_the_old_one_tell_nothing(self):
        world, slow, other = shared(1, 0)
        other.watch.look(world.account, world.ticks_us(other))
        world.elapsed_us += TERM_US + 1
        world.look_out(other)
        stale = Report(lease=1, granted=25, returned=24, settled=0)
        assert not lease_acts.take_back(world.account, stale, world.wall_us(slow))
        assert served(world, slow, 10)
        assert world.account.lease_of(slow.node_id).number == 2
        assert world.account.leases[1].expired

    def test_a_node_does_not_give_itself_up(self):
        """It cannot know that it slept; it asks anew, which is a sign of life."""
        world, node, _ = shared(1, 0)
        node.watch.look(world.account, world.ticks_us(node))
        world.elapsed_us += TERM_US + 1
        world.look_out(node)
        assert not told(world, LeaseExpired)

    def test_a_restarted_process_that_is_alone_need_not_wait_for_a_term(self):
        world, dead = shared(40)
        world.crash(dead)
        fresh = world.join()
        silence = Silence(lease=1, by_node_id=fresh.node_id, node_ended=True)
        world.append(lease_acts.expire(world.account, silence, world.wall_us(fresh)))
        world.reclaim(fresh, 1)
        assert served(world, fresh, 60)


class TestGoodOrder:
    def test_a_node_that_stops_closes_its_lease_and_all_that_is_left_is_free_at_once(self):
        world, node, other = shared(30, 0)
        world.settle(node, "r1", 12)
        node.outbox.append(("close", node.holdings.close(1)))
        world.flush(node)
        world.deliver()
        assert world.account.free == 88
        assert served(world, other, 88)

    def test_a_grant_that_arrives_after_the_end_of_its_lease_is_not_used(self):
        world, node = shared(30)
        world.settle(node, "r1", 12)
        node.outbox.append(("close", node.holdings.close(1)))
        world.round()
        world.catch_up(node)
        node.holdings.see(told(world, LeaseGranted)[0])
        assert not node.holdings.leases

    def test_a_lease_is_not_closed_while_a_call_is_under_way(self):
        _, node = shared(30)
        with pytest.raises(ConflictError, match="under way"):
            node.holdings.close(1)


class TestClocks:
    def test_setting_the_clock_on_the_wall_expires_nothing(self):
        world, first, second = shared(1, 1, unit="total")
        for node in (first, second):
            node.wall_offset_us = 1_000 * DAY_US
            world.look_out(node)
            world.review(node)
        assert not told(world, LeaseExpired)
        assert served(world, first, 10)

    def test_a_node_stops_by_itself_before_others_give_it_up(self):
        world, first, second = shared(1, 1)
        world.elapsed_us += TERM_US
        assert first.holdings.lease_for(1, world.wall_us(first), world.ticks_us(first)) is None
        world.look_out(second)
        assert not told(world, LeaseExpired)

    def test_renewing_counts_from_when_it_was_asked_for(self):
        world, first, _ = shared(1, 0)
        world.elapsed_us += TERM_US - 1
        world.renew(first)
        world.elapsed_us += TERM_US - 1
        world.round()
        world.catch_up(first)
        assert first.holdings.lease_for(1, world.wall_us(first), world.ticks_us(first)) == 1
        world.elapsed_us += 1
        assert first.holdings.lease_for(1, world.wall_us(first), world.ticks_us(first)) is None

    def test_a_sign_of_life_that_came_meanwhile_keeps_a_lease(self):
        world, _, second = shared(1, 0)
        stale = Silence(lease=1, by_node_id=second.node_id, signs=0, silent_us=2 * TERM_US)
        assert not lease_acts.expire(world.account, stale, world.wall_us(second))


class TestWindows:
    def test_a_new_window_is_a_whole_budget_and_old_calls_settle_in_the_old_one(self):
        world, node = shared(80)
        world.elapsed_us += DAY_US
        assert served(world, node, 100)
        (turned,) = told(world, BudgetWindowOpened)
        assert turned.window == 2
        world.settle(node, "r1", 70)
        world.rounds_until(lambda: 1 not in world.account.leases)
        assert 1 not in world.account.leases
        assert world.used("logged", window=1) == 70
        assert world.account.charge == 100

    def test_a_rolling_window_gives_back_what_was_told_one_length_ago(self):
        world, node = shared(100, kind="rolling")
        world.settle(node, "r1", 60)
        world.tell_again(node)
        world.flush(node)
        world.deliver()
        assert world.account.free == 0
        world.elapsed_us += DAY_US + DAY_US // 1_000
        world.append(lease_acts.renew(world.account, node.holdings.renew(1, 0), world.wall_us(node)))
        assert world.account.free == 60
        assert not told(world, BudgetWindowOpened)

    def test_what_leaves_a_rolling_window_is_kept_in_so_many_steps_at_most(self):
        """A month of renewals every few seconds is no month of amounts to add up."""
        world, node = shared(1, kind="rolling", limit=10_000)
        account, at_us = world.account, world.wall_us(node)
        for settled in range(1, 1_500):
            at_us += DAY_US // 1_500
            renewal = Renewal(lease=1, renewal=1, settled=settled)
            account = fold(lease_acts.renew(account, renewal, at_us), account)
        assert 900 < len(account.fading) <= 1_001
        assert sum(amount for _, amount in account.fading) == 1_499


class TestAdministrators:
    def test_a_top_up_serves_who_waits(self):
        world, first, second = shared(100, 0)
        name = world.arrive(second, 30)
        world.flush(second)
        world.deliver()
        at_us = world.account.latest_us
        world.append([BudgetToppedUp(at_us=at_us, actor="t", amount_nano_usd=30)])
        world.review(first)
        world.catch_up(second)
        assert name in world.requests

    def test_a_top_up_that_has_ended_is_not_granted(self):
        """Though nothing was told to the account since: the question itself lets the time pass."""
        account = LeaseWorld(opened(0, kind="rolling")).account
        since_us = account.latest_us
        topped = BudgetToppedUp(at_us=since_us, actor="t", amount_nano_usd=30, until_us=since_us + DAY_US)
        ask = LeaseHoldings("n1").ask(1, 30)
        account = fold([topped], account)
        (denied,) = lease_acts.answer(account, ask, since_us + DAY_US)
        assert isinstance(denied, LeaseDenied)
        assert isinstance(lease_acts.answer(account, ask, since_us + DAY_US - 1)[0], LeaseGranted)

    def test_a_cut_below_what_is_leased_calls_it_back_and_grants_nothing(self):
        world, node = shared(30)
        at_us = world.account.latest_us
        world.append([BudgetTermsSet(at_us=at_us, actor="t", terms=terms(20))])
        assert world.account.free == -80
        world.review(node)
        world.review(node)
        assert len(told(world, LeaseRecalled)) == 1
        world.round()
        assert world.account.charge == 30
        assert not served(world, node, 1)
        world.settle(node, "r1", 5)
        assert served(world, node, 15)

    def test_what_is_spent_moves_along_into_another_window(self):
        """Too much for once, but never too little; in a rolling window it leaves one length later."""
        world, node = shared(100)
        world.settle(node, "r1", 60)
        world.tell_again(node)
        world.flush(node)
        world.deliver()
        at_us = world.account.latest_us
        rolling = terms(100, kind="rolling", unit="hour")
        world.append([BudgetTermsSet(at_us=at_us, actor="t", terms=rolling)])
        assert world.account.charge == 100
        for passed_us, free in ((DAY_US // 24 - 1, 0), (DAY_US // 24 + DAY_US // 24_000, 60)):
            later = BudgetToppedUp(at_us=at_us + passed_us, actor="t", amount_nano_usd=1, until_us=at_us)
            assert fold([later], world.account).free == free

    def test_what_an_old_window_spent_takes_nothing_off_a_rolling_one(self):
        """A lease of a window that is over was never counted in this one, so it cannot leave it either."""
        world, node = shared(80)
        world.elapsed_us += DAY_US
        assert served(world, node, 100)
        at_us = world.account.latest_us
        rolling = terms(100, kind="rolling", unit="hour")
        world.append([BudgetTermsSet(at_us=at_us, actor="t", terms=rolling)])
        world.settle(node, "r1", 70)
        assert world.rounds_until(lambda: 1 not in world.account.leases)
        later = BudgetToppedUp(at_us=at_us + DAY_US, actor="t", amount_nano_usd=1, until_us=at_us)
        assert fold([later], world.account).charge == 100

    def test_a_closed_budget_grants_nothing_and_its_leases_end(self):
        world, node = shared(30)
        world.append([BudgetClosed(at_us=world.account.latest_us, actor="t")])
        world.catch_up(node)
        world.settle(node, "r1", 3)
        world.round()
        assert not world.account.leases
        ask = LeaseHoldings("n9").ask(1, 0)
        assert not lease_acts.answer(world.account, ask, world.account.latest_us)


class TestMoreThanWasHeld:
    def test_a_cost_above_its_bound_is_counted_as_it_is(self):
        """Money that is spent is spent: the account knows it, and the node asks for that much more."""
        world, node, _ = shared(10, 0)
        lease = world.account.lease_of(node.node_id)
        report = Report(lease=lease.number, granted=lease.granted, returned=0, settled=60)
        account = fold(lease_acts.take_back(world.account, report, world.wall_us(node)), world.account)
        assert account.charge == 60
