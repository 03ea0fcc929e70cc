"""Many nodes on one account: whatever is lost, late or dead, no nano-dollar is spent twice or lost."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from lease_nodes import SECOND_US, opened, terms
from lease_world import LeaseWorld

from apikeyrouter.domain.events import (
    BudgetClosed,
    BudgetTermsSet,
    BudgetToppedUp,
    LeaseClosed,
    LeaseGranted,
    LeaseReclaimed,
)
from apikeyrouter.domain.lease_folds import fold

DAY_S = 86_400
AMOUNTS = st.integers(1, 60)
LIMITS = st.integers(0, 200)
CLOCKS = st.integers(-3 * DAY_S, 3 * DAY_S).map(lambda seconds: seconds * SECOND_US)
FRAMES = st.sampled_from([("fixed", "day"), ("fixed", "total"), ("rolling", "day")])
INDEX = st.integers(0, 1_000)


class Leases(RuleBasedStateMachine):
    """Steps are everything that may happen to nodes, messages, clocks and the budget, in any order."""

    @initialize(limit=LIMITS, frame=FRAMES, nodes=st.integers(1, 3), outside=st.integers(0, 20))
    def begin(self, limit, frame, nodes, outside):
        self.world = LeaseWorld(opened(limit, *frame), outside)
        for _ in range(nodes):
            self.world.join()

    def pick(self, index):
        living = self.world.living()
        return living[index % len(living)]

    def alive(self):
        return bool(self.world.living())

    # --- nodes come and go ---------------------------------------------------------------------------

    @precondition(lambda self: len(self.world.living()) < 4)
    @rule(ticks=st.integers(0, 10**12), wall=CLOCKS)
    def a_node_joins(self, ticks, wall):
        self.world.join(ticks, wall)

    @precondition(lambda self: self.alive())
    @rule(index=INDEX, certainly=st.booleans())
    def a_node_dies(self, index, certainly):
        if certainly or len(self.world.living()) > 1:
            self.world.crash(self.pick(index))

    @precondition(lambda self: self.alive())
    @rule(index=INDEX)
    def a_node_makes_durable_what_it_decided(self, index):
        self.world.flush(self.pick(index))

    # --- requests ------------------------------------------------------------------------------------

    @precondition(lambda self: self.alive())
    @rule(index=INDEX, need=AMOUNTS)
    def a_request_arrives(self, index, need):
        self.world.arrive(self.pick(index), need)

    @precondition(lambda self: self.alive())
    @rule(index=INDEX, which=INDEX, share=st.integers(0, 100))
    def a_call_ends(self, index, which, share):
        node = self.pick(index)
        if node.out:
            name = node.out[which % len(node.out)]
            self.world.settle(node, name, self.world.requests[name].bound * share // 100)

    # --- messages ------------------------------------------------------------------------------------

    @precondition(lambda self: self.world.network)
    @rule(index=INDEX, twice=st.booleans())
    def a_message_arrives(self, index, twice):
        self.world.deliver(index % len(self.world.network), keep=twice)

    @precondition(lambda self: self.world.network)
    @rule(index=INDEX)
    def a_message_is_lost(self, index):
        self.world.network.pop(index % len(self.world.network))

    @precondition(lambda self: self.alive())
    @rule(index=INDEX, which=INDEX, is_next=st.booleans())
    def a_node_sees_an_event(self, index, which, is_next):
        node = self.pick(index)
        if node.unseen:
            self.world.see(node, 0 if is_next else which % len(node.unseen))

    @precondition(lambda self: self.alive())
    @rule(index=INDEX)
    def a_node_reads_the_whole_stream(self, index):
        self.world.catch_up(self.pick(index))

    @precondition(lambda self: self.alive())
    @rule(index=INDEX)
    def a_node_answers_recalls(self, index):
        self.world.answer_recalls(self.pick(index))

    @precondition(lambda self: self.alive())
    @rule(index=INDEX, keep=st.integers(0, 20))
    def a_node_gives_back_what_it_does_not_use(self, index, keep):
        self.world.give_back(self.pick(index), keep)

    @precondition(lambda self: self.alive())
    @rule(index=INDEX, renews=st.booleans())
    def a_node_tells_again_or_renews(self, index, renews):
        (self.world.renew if renews else self.world.tell_again)(self.pick(index))

    @precondition(lambda self: self.alive())
    @rule(index=INDEX)
    def a_node_closes_what_is_finished(self, index):
        self.world.close_finished(self.pick(index))

    @rule()
    def all_is_told_and_heard(self):
        self.world.round()

    # --- clocks --------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 20, 40, DAY_S // 2, DAY_S]))
    def time_passes(self, seconds):
        self.world.elapsed_us += seconds * SECOND_US
        self.world.observe()

    @precondition(lambda self: self.alive())
    @rule(index=INDEX, offset_us=CLOCKS)
    def somebody_sets_a_clock(self, index, offset_us):
        self.pick(index).wall_offset_us = offset_us

    @precondition(lambda self: self.alive())
    @rule(index=INDEX)
    def a_node_looks_for_silent_ones(self, index):
        node = self.pick(index)
        before = {number for number, one in self.world.account.leases.items() if one.expired}
        heard = dict(node.watch._heard)
        self.world.look_out(node)
        for number, lease in self.world.account.leases.items():
            if lease.expired and number not in before:
                assert heard[number][1] + lease.term_us < self.world.ticks_us(node)

    @precondition(lambda self: self.alive())
    @rule(index=INDEX)
    def a_node_closes_an_expired_lease(self, index):
        expired = [one.number for one in self.world.account.leases.values() if one.expired]
        if expired:
            self.world.reclaim(self.pick(index), expired[index % len(expired)])

    # --- administrators ------------------------------------------------------------------------------

    @rule(limit=LIMITS, rolls=st.booleans())
    def the_limit_is_set(self, limit, rolls):
        frame = self.world.account.frame
        to = terms(limit, "rolling", "hour") if rolls else terms(limit, frame.kind, frame.unit)
        self.world.append([BudgetTermsSet(at_us=self.world.account.latest_us, actor="t", terms=to)])

    @rule(amount=st.integers(1, 100), is_forever=st.booleans())
    def the_budget_is_topped_up(self, amount, is_forever):
        until_us = None if is_forever else self.world.account.ends_us
        at_us = self.world.account.latest_us
        self.world.append([BudgetToppedUp(at_us=at_us, actor="t", amount_nano_usd=amount, until_us=until_us)])

    @precondition(lambda self: self.alive())
    @rule(index=INDEX)
    def a_node_reviews_the_account(self, index):
        self.world.review(self.pick(index))

    @rule(certainly=st.integers(0, 19))
    def the_budget_is_closed(self, certainly):
        if certainly == 0 and not self.world.account.is_closed:
            self.world.append([BudgetClosed(at_us=self.world.account.latest_us, actor="t")])

    # --- what fits is served, what does not is refused -----------------------------------------------

    @precondition(lambda self: self.alive())
    @rule(index=INDEX, need=AMOUNTS)
    def when_nothing_is_lost_a_request_is_served_exactly_if_it_fits(self, index, need):
        world, node = self.world, self.pick(index)
        for one in world.living():
            world.abandon(one)
        world.bury_all()
        for one in world.living():
            world.review(one)
        world.round()  # a cut of the limit holds for a node once it has seen the recall
        if world.account.is_closed:
            return
        left, free = world.left(), world.account.free
        name = world.arrive(node, need)
        assert world.rounds_until(lambda: name not in node.waiting), "no answer"
        if world.account.frame.kind == "rolling":
            assert name in world.requests or need > free
        else:
            assert (name in world.requests) == (need <= left)

    # --- what always holds ---------------------------------------------------------------------------

    @invariant()
    def nothing_is_refused_that_fitted_all_the_time(self):
        if not hasattr(self, "world") or self.world.account.frame.kind == "rolling":
            return
        for node in self.world.nodes.values():
            for name, need, lowest_left in node.refused:
                assert lowest_left < need, name

    @invariant()
    def every_window_keeps_what_it_had_at_its_end(self):
        for window, charge in self.ended().items():
            assert self.world.used("logged", window) <= charge

    def ended(self):
        return self.world.charge_at_end if hasattr(self, "world") else {}

    @invariant()
    def no_nano_dollar_is_lost_between_account_and_nodes(self):
        """What a living node has, what is on its way to it and back, and what is free, is the whole limit."""
        if not hasattr(self, "world"):
            return
        for lease in self.world.account.leases.values():
            node = self.world.nodes[lease.node_id]
            held = node.holdings.leases.get(lease.number)
            if held is None or not node.alive or lease.expired:
                continue
            unseen = lease.granted - held.granted
            under_way = held.returned - lease.returned
            assert unseen >= 0
            assert under_way >= 0
            assert held.idle >= 0
            own = held.settled + held.reserved + held.idle
            assert own + unseen + under_way == lease.granted - lease.returned
            believed = (one.believed for one in self.world.requests.values() if one.lease == lease.number)
            assert held.settled + held.reserved == sum(believed)
            if not node.pending:
                read = self.world.read_journal(node)
                assert read.spent_and_held(lease.number) == (held.settled, held.reserved)

    @invariant()
    def a_lease_ends_at_most_once_and_is_never_granted_after(self):
        ended = set()
        for event in self.world.events if hasattr(self, "world") else ():
            if isinstance(event, LeaseClosed | LeaseReclaimed):
                assert event.lease not in ended
                ended.add(event.lease)
            if isinstance(event, LeaseGranted):
                assert event.lease not in ended

    @invariant()
    def the_events_tell_the_state(self):
        if hasattr(self, "world"):
            assert fold(self.world.events) == self.world.account

    def teardown(self):
        """In the end all nodes die, another closes for them, and every lease has ended exactly once."""
        if not hasattr(self, "world"):
            return
        world = self.world
        for node in world.living():
            world.crash(node)
        world.network.clear()
        world.join()
        world.bury_all()
        assert not world.account.leases
        assert Counter(
            event.lease for event in world.events if isinstance(event, LeaseClosed | LeaseReclaimed)
        ) == Counter({event.lease: 1 for event in world.events if isinstance(event, LeaseGranted)})
        if world.account.frame.kind == "fixed":
            assert world.account.charge == world.used("logged")


TestLeases = Leases.TestCase
TestLeases.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
