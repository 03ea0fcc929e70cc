"""Nodes that share an account: a log that fences, a network that loses, and an oracle that only adds up."""

from lease_nodes import START_US, TERM_US, Node, Request

from apikeyrouter.domain import lease_acts
from apikeyrouter.domain.events import (
    BudgetSpentOutside,
    BudgetWindowOpened,
    LeaseClosed,
    LeaseExpired,
    LeaseGranted,
    LeaseReclaimed,
    LeaseReturned,
)
from apikeyrouter.domain.lease_folds import evolve
from apikeyrouter.domain.lease_holdings import LeaseHoldings
from apikeyrouter.domain.lease_messages import Report
from apikeyrouter.domain.lease_watch import LeaseWatch
from apikeyrouter.domain.leases import LeaseAccount

ACTS = {
    "ask": lease_acts.answer,
    "report": lease_acts.take_back,
    "renew": lease_acts.renew,
    "close": lease_acts.close_lease,
}


class LeaseWorld:
    """The account's stream, the nodes around it, and what truly was spent."""

    def __init__(self, terms_event, outside=0):
        self.events = []
        self.account = LeaseAccount()
        self.nodes = {}
        self.network = []
        self.elapsed_us = 0
        self.requests = {}
        self.window_of = {}
        self.charge_at_end = {}
        self.lowest_left = {}
        self.names = 0
        self.append([terms_event])
        if outside:
            self.window_of[0] = 1
            spent_us = self.account.latest_us
            self.requests["outside"] = Request(0, outside, outside, outside, spent_us=spent_us)
            self.append(lease_acts.take_over(self.account, "n0", outside, spent_us))

    # --- clocks --------------------------------------------------------------------------------------

    def wall_us(self, node):
        return START_US + self.elapsed_us + node.wall_offset_us

    def ticks_us(self, node):
        return self.elapsed_us + node.ticks_offset_us

    # --- the account's stream ------------------------------------------------------------------------

    def append(self, events):
        for event in events:
            before = self.account
            if isinstance(event, BudgetWindowOpened):
                self.charge_at_end[before.window] = before.charge
            if isinstance(event, LeaseGranted):
                self.window_of[event.lease] = event.window
            if isinstance(event, LeaseExpired):
                self._fence(event.lease)
            self.events.append(event)
            self.account = evolve(before, event)
            self.check_step(before, event)
            for node in self.living():
                node.unseen.append(event)
            self.observe()

    def _fence(self, lease):
        """What was not durable by now never will be, so no call is made for it."""
        for request in self.requests.values():
            if request.lease == lease and request.is_open and not request.logged:
                self._forget(request)

    def check_step(self, before, event):
        """At every position: never over the limit, and where the limit was cut, never further over it."""
        account = self.account
        assert account.charge <= max(self.limit(), before.charge) or isinstance(event, BudgetSpentOutside)
        assert account.charge == self.naive_charge()
        assert self.used("logged") <= account.charge
        assert self.used("believed") <= account.charge

    def naive_charge(self):
        """Add up the stream: what was granted and not returned, and of ended leases what they spent."""
        window = self.account.window
        of_lease, outside = {}, 0
        for event in self.events:
            if isinstance(event, BudgetSpentOutside) and window == 1:
                outside += event.amount
            elif isinstance(event, LeaseGranted) and event.window == window:
                _, returned = of_lease.get(event.lease, (0, 0))
                of_lease[event.lease] = (event.granted, returned)
            elif isinstance(event, LeaseReturned) and event.lease in of_lease:
                of_lease[event.lease] = (of_lease[event.lease][0], event.returned)
            elif isinstance(event, LeaseClosed) and event.lease in of_lease:
                of_lease[event.lease] = (event.settled, 0)
            elif isinstance(event, LeaseReclaimed) and event.lease in of_lease:
                of_lease[event.lease] = (event.settled + event.forfeited, 0)
        leased = sum(granted - returned for granted, returned in of_lease.values())
        return outside + leased - self.account.faded

    # --- the oracle ----------------------------------------------------------------------------------

    def used(self, how, window=None):
        """Add up what requests took of a window; in a rolling one, of its last length."""
        window = self.account.window if window is None else window
        rolls = self.account.frame.kind == "rolling"
        since_us = self.account.latest_us - self.account.frame.length_us if rolls else -1
        return sum(
            getattr(request, how)
            for request in self.requests.values()
            if self.window_of[request.lease] == window and (request.is_open or request.spent_us > since_us)
        )

    def limit(self):
        return self.account.limit + sum(amount for _, amount in self.account.credits)

    def left(self):
        return self.limit() - self.used("believed")

    def observe(self):
        for name in self.lowest_left:
            self.lowest_left[name] = min(self.lowest_left[name], self.left())

    # --- nodes ---------------------------------------------------------------------------------------

    def join(self, ticks_offset_us=0, wall_offset_us=0):
        node_id = f"n{len(self.nodes) + 1}"
        node = Node(node_id, LeaseHoldings(node_id), LeaseWatch(node_id), wall_offset_us, ticks_offset_us)
        self.nodes[node_id] = node
        self.catch_up(node)
        return node

    def living(self):
        return [node for node in self.nodes.values() if node.alive]

    def crash(self, node):
        """What was not durable is lost, and so is what was not sent; what was sent may still arrive."""
        node.alive = False
        for name in node.waiting:
            self.lowest_left.pop(name)
        for _, name, *_ in node.pending:
            self._forget(self.requests[name])
        self.observe()

    def _forget(self, request):
        request.believed = request.logged
        request.is_open = request.is_open and request.logged > 0

    def arrive(self, node, need):
        self.names += 1
        name = f"r{self.names}"
        node.waiting[name] = (need, node.holdings.asked)
        self.lowest_left[name] = self.left()
        self.progress(node)
        return name

    def progress(self, node):
        """Serve what fits, refuse what was denied, ask for the rest: one step without a pause."""
        if node.holdings.is_closed:
            self.abandon(node)
        for name, (need, since) in list(node.waiting.items()):
            holdings, at_us, ticks_us = node.holdings, self.wall_us(node), self.ticks_us(node)
            lease = holdings.lease_for(need, at_us, ticks_us)
            if lease is not None:
                self._done(node, name)
                holdings.reserve(name, need, lease)
                node.pending.append(("reserve", name, need, lease))
                self.requests[name] = Request(lease, need, believed=need, is_open=True)
            elif holdings.is_denied(need, since):
                node.refused.append((name, need, self.lowest_left[name]))
                self._done(node, name)
            elif holdings.question is None:
                ask = holdings.ask(need, ticks_us, nodes=len(self.living()), term_us=TERM_US)
                node.outbox.append(("ask", ask))
            self.observe()

    def abandon(self, node):
        """The clients leave; a question that was asked for them stays asked."""
        for name in list(node.waiting):
            self._done(node, name)

    def _done(self, node, name):
        del node.waiting[name]
        self.lowest_left.pop(name)

    def settle(self, node, name, amount):
        request = self.requests[name]
        node.out.remove(name)
        node.holdings.settle(name, amount)
        node.pending.append(("settle", name, amount))
        if not request.is_released:
            request.believed = amount
        self.observe()

    def flush(self, node):
        """Make durable what a node recorded, then send what waited for that; the log refuses by its fence."""
        refused = False
        for op in node.pending:
            refused |= not self._record(node, op)
        node.pending.clear()
        if not refused:
            self.network += [(node.node_id, kind, message) for kind, message in node.outbox]
        node.outbox.clear()
        self.observe()

    def _record(self, node, op):
        kind, name, amount = op[:3]
        request = self.requests[name]
        if kind == "reserve":
            lease = self.account.leases.get(op[3])
            if lease is None or lease.expired:
                node.holdings.settle(name, 0)
                request.believed, request.is_open = 0, False
                return False
            request.logged = amount
            node.out.append(name)
        elif request.is_released:
            return False
        else:
            request.logged, request.is_open, request.spent_us = amount, False, self.account.latest_us
        node.journal.append(op)
        return True

    # --- messages ------------------------------------------------------------------------------------

    def deliver(self, index=0, *, keep=False):
        node_id, kind, message = self.network[index] if keep else self.network.pop(index)
        self.append(ACTS[kind](self.account, message, self.wall_us(self.nodes[node_id])))

    def see(self, node, index=0):
        node.holdings.see(node.unseen.pop(index))
        self.progress(node)

    def catch_up(self, node):
        """Read the stream from its beginning, as often as one likes."""
        node.unseen.clear()
        for event in self.events:
            node.holdings.see(event)
        self.progress(node)

    def answer_recalls(self, node):
        for number in node.holdings.recalled():
            node.outbox.append(("report", node.holdings.give_back(number)))
        self.observe()

    def give_back(self, node, keep):
        for number in list(node.holdings.leases):
            node.outbox.append(("report", node.holdings.give_back(number, keep)))

    def tell_again(self, node):
        """Repeat the question, and the totals of every lease."""
        if node.holdings.question is not None:
            node.outbox.append(("ask", node.holdings.question))
        for number in node.holdings.leases:
            node.outbox.append(("report", node.holdings.report(number)))

    def renew(self, node):
        for number in node.holdings.leases:
            node.outbox.append(("renew", node.holdings.renew(number, self.ticks_us(node))))

    def close_finished(self, node):
        for number in node.holdings.finished():
            node.outbox.append(("close", node.holdings.close(number)))

    def review(self, node):
        self.append(lease_acts.review(self.account, self.wall_us(node)))

    # --- closing for the dead ------------------------------------------------------------------------

    def look_out(self, node):
        """Give up the leases whose holders were silent for more than a term by this node's ticks."""
        for silence in list(node.watch.overdue(self.account, self.ticks_us(node))):
            self.append(lease_acts.expire(self.account, silence, self.wall_us(node)))

    def reclaim(self, node, number):
        """Read the holder's events, release what nobody settles, and close the lease."""
        lease = self.account.leases[number]
        read = self.read_journal(self.nodes[lease.node_id])
        settled, forfeited = read.spent_and_held(number)
        for name in [name for name, (under, _) in read.held.items() if under == number]:
            request = self.requests[name]
            request.is_released, request.is_open, request.spent_us = True, False, self.account.latest_us
            request.believed = request.logged = request.bound
        report = Report(lease=number, granted=0, returned=0, settled=settled)
        self.append(lease_acts.reclaim(self.account, report, forfeited, self.wall_us(node)))

    def read_journal(self, node):
        """Fold what a node made durable: the same state, as far as money goes."""
        read = LeaseHoldings(node.node_id)
        for op in node.journal:
            (read.reserve if op[0] == "reserve" else read.settle)(*op[1:])
        return read

    # --- when nothing is lost any more ---------------------------------------------------------------

    def round(self):
        """Everybody reads all, answers what is asked, repeats what may have been lost; all of it arrives."""
        for node in self.living():
            self.catch_up(node)
            self.answer_recalls(node)
            self.close_finished(node)
            self.tell_again(node)
            self.flush(node)
        while self.network:
            self.deliver()

    def rounds_until(self, done, most=100):
        """Let rounds pass until something is so, and tell whether it came to that."""
        for _ in range(most):
            if done():
                return True
            self.round()
        return done()

    def bury_all(self):
        """Until no dead node holds anything; one that died waiting may be granted what another had."""
        for _ in range(10):
            self.bury()
            if all(self.nodes[lease.node_id].alive for lease in self.account.leases.values()):
                return
        raise AssertionError("the dead go on holding leases")

    def bury(self):
        """More than a term passes: the living renew; the leases of the dead are closed from their events."""
        for pause_us in (0, 2 * TERM_US // 3, 2 * TERM_US // 3):
            self.elapsed_us += pause_us
            self.round()
            for node in self.living():
                self.renew(node)
                node.watch.look(self.account, self.ticks_us(node))
            self.round()
        for node in self.living():
            self.look_out(node)
        for lease in [one for one in self.account.leases.values() if one.expired]:
            self.reclaim(self.living()[0], lease.number)
        self.round()
