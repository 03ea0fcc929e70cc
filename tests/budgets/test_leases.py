"""Leases step by step: how nodes share one budget without asking for each request."""

from lease_nodes import opened
from lease_steps import answer, served, shared, told
from lease_world import LeaseWorld

from apikeyrouter.domain import lease_acts
from apikeyrouter.domain.events import BudgetToppedUp, LeaseDenied, LeaseGranted, LeaseRecalled
from apikeyrouter.domain.lease_holdings import LeaseHoldings


class TestOneNode:
    def test_the_lease_of_a_node_that_is_alone_is_everything(self):
        world, _ = shared(1)
        (granted,) = told(world, LeaseGranted)
        assert granted.granted == 100
        assert world.account.free == 0

    def test_after_that_nothing_is_asked_or_told_until_the_budget_is_spent(self):
        """A request costs no event and no message: its lease covers it."""
        world, node = shared(1)
        before = len(world.events)
        for _ in range(99):
            world.arrive(node, 1)
        assert not node.waiting
        assert not node.outbox
        assert len(world.events) == before
        assert not served(world, node, 1)

    def test_what_a_request_did_not_cost_serves_the_next(self):
        world, node = shared(100)
        world.settle(node, "r1", 40)
        assert served(world, node, 60)
        assert not served(world, node, 1)

    def test_a_lease_without_a_term_never_runs_out(self):
        holdings = LeaseHoldings("n1")
        account = LeaseWorld(opened(10)).account
        for event in lease_acts.answer(account, holdings.ask(1, 5), account.latest_us):
            holdings.see(event)
        assert holdings.lease_for(10, account.latest_us, 1 << 60) == 1

    def test_what_it_spent_without_leases_counts_when_others_join(self):
        """A node that is alone may do without leases at all; what it used by then is taken over once."""
        world = LeaseWorld(opened(100), outside=70)
        world.join()
        second = world.join()
        assert not served(world, second, 31)
        assert served(world, second, 30)


class TestSlices:
    def test_slices_shrink_as_the_limit_nears(self):
        world = LeaseWorld(opened(1_000))
        nodes = [world.join() for _ in range(4)]
        for node in nodes:
            world.arrive(node, 1)
            world.round()
        assert [granted.granted for granted in told(world, LeaseGranted)] == [125, 109, 95, 83]

    def test_a_request_that_is_larger_than_a_slice_gets_what_it_needs(self):
        world, first, _ = shared(90, 0)
        assert world.account.lease_of(first.node_id).granted == 90

    def test_unused_parts_are_returned_and_serve_others(self):
        world, first, second = shared(1, 0)
        assert world.account.free == 75
        world.give_back(first, keep=4)
        world.round()
        assert world.account.free == 95
        assert served(world, second, 95)
        assert not told(world, LeaseRecalled)


class TestRecalls:
    def test_what_lies_idle_with_one_node_is_recalled_for_another(self):
        """The first node took all while it was alone; the second waits for one return, and is served."""
        world, first = shared(1)
        second = world.join()
        assert served(world, second, 99)
        (recalled,) = told(world, LeaseRecalled)
        assert recalled.ask_node_id == second.node_id
        assert world.used("logged") == 100
        assert first.holdings.lease_for(1, world.wall_us(first), world.ticks_us(first)) is None

    def test_what_no_recall_could_bring_is_denied_at_once(self):
        world, _, second = shared(60, 0)
        assert not served(world, second, 101)
        assert not told(world, LeaseRecalled)
        assert told(world, LeaseDenied)[-1].reason == "beyond_reach"

    def test_the_answer_is_no_when_two_rounds_found_nothing_idle(self):
        """What the other node holds for calls is out of reach now, though it may come free later."""
        world, _, second = shared(90, 0)
        assert not served(world, second, 20)
        denied = told(world, LeaseDenied)[-1]
        assert (denied.reason, denied.free) == ("nothing_idle", 10)
        assert len(told(world, LeaseRecalled)) == 2

    def test_what_comes_free_between_two_answers_is_found_by_the_second(self):
        world, first, second = shared(90, 0)
        name = world.arrive(second, 60)
        world.flush(second)
        world.deliver()
        answer(world, first)
        world.settle(first, "r1", 30)  # too late for the first answer
        world.flush(first)
        assert world.rounds_until(lambda: name not in second.waiting)
        assert name in world.requests

    def test_money_that_hides_behind_the_order_of_answers_is_found(self):
        """First one node has it and then the other, each while nobody looks; yet it is always there."""
        world, first, second, third = shared(50, 50, 0)
        world.settle(second, "r2", 0)
        name = world.arrive(third, 50)
        world.flush(third)
        world.deliver()
        answer(world, first)
        world.settle(first, "r1", 0)
        world.arrive(second, 50)
        answer(world, second)
        assert world.rounds_until(lambda: name not in third.waiting)
        assert name in world.requests

    def test_as_long_as_something_comes_back_all_are_asked_again(self):
        world, first, second, third = shared(50, 50, 0)
        name = world.arrive(third, 80)
        world.flush(third)
        world.deliver()
        for node in (first, second):
            answer(world, node)
        world.settle(first, "r1", 0)
        for node in (first, second):
            answer(world, node)
        world.settle(second, "r2", 0)
        assert world.rounds_until(lambda: name not in third.waiting)
        assert name in world.requests

    def test_only_who_has_seen_all_that_it_was_granted_has_answered(self):
        """The recall overtook a grant: what the node did not know of yet lies idle all the same."""
        world, first, second = shared(10, 0)
        world.arrive(first, 50)
        world.flush(first)
        world.deliver()
        world.abandon(first)
        name = world.arrive(second, 80)
        world.flush(second)
        world.deliver()
        for recalled in told(world, LeaseRecalled):
            first.holdings.see(recalled)
        world.answer_recalls(first)
        world.flush(first)
        world.deliver()
        assert (world.account.recall.number, world.account.recall.awaiting) == (1, {1})
        assert world.rounds_until(lambda: name not in second.waiting)
        assert name in world.requests

    def test_a_dead_node_stops_nobody_who_fits(self):
        """The large request waits for the dead node's part; a small one passes it."""
        world, dead, large, small = shared(60, 0, 0)
        world.crash(dead)
        name = world.arrive(large, 70)
        world.round()
        assert served(world, small, 10)
        assert name in large.waiting
        world.bury_all()
        world.round()
        assert name not in large.waiting

    def test_what_comes_back_is_not_kept_for_one_who_waits_for_a_dead_node(self):
        world, dead, holder, large, small = shared(60, 40, 0, 0)
        world.crash(dead)
        for node, need in ((large, 75), (small, 10)):
            world.arrive(node, need)
            world.flush(node)
            world.deliver()
        world.settle(holder, "r2", 20)
        answer(world, holder)
        world.catch_up(small)
        assert not small.waiting
        assert [want.node_id for want in world.account.wants] == [large.node_id]


class TestAnswers:
    def test_a_no_does_not_hold_where_more_came_free_at_home_meanwhile(self):
        """30 are free and 25 came back to the node itself: 50 are there, though 50 more are not."""
        world, first, _ = shared(60, 0, limit=130)
        assert served(world, first, 40)
        name = world.arrive(first, 50)
        world.flush(first)
        world.settle(first, "r1", 35)
        world.flush(first)
        world.deliver()
        assert told(world, LeaseDenied)
        assert world.rounds_until(lambda: name not in first.waiting)
        assert name in world.requests

    def test_a_no_holds_for_the_requests_that_it_was_asked_for_and_no_later_ones(self):
        world, _, second = shared(100, 0)
        assert not served(world, second, 50)
        at_us = world.account.latest_us
        world.append([BudgetToppedUp(at_us=at_us, actor="t", amount_nano_usd=100)])
        assert served(world, second, 60)

    def test_a_no_to_a_large_request_is_none_to_a_small_one(self):
        world, _, second = shared(60, 0)
        names = [world.arrive(second, need) for need in (1, 80, 20)]
        assert world.rounds_until(lambda: not second.waiting)
        assert [name in world.requests for name in names] == [True, False, True]

    def test_a_node_that_is_granted_more_during_a_recall_need_not_answer_that_one(self):
        """It is asked again in the next round, so that the one who waits gets an answer."""
        world, first, second = shared(58, 0, limit=59)
        name = world.arrive(second, 2)
        world.flush(second)
        world.deliver()
        assert served(world, first, 1)
        assert world.rounds_until(lambda: name not in second.waiting)
        assert name not in world.requests

    def test_what_comes_free_under_a_recall_is_not_used_again_before_it_went_back(self):
        world, first, second = shared(90, 0)
        world.arrive(second, 60)
        world.flush(second)
        world.deliver()
        answer(world, first)
        world.settle(first, "r1", 0)
        assert first.holdings.lease_for(1, world.wall_us(first), world.ticks_us(first)) is None
        assert first.holdings.recalled() == [1]
