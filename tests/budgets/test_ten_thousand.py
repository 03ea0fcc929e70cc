"""Thousands of random requests through a proxy that is killed again and again: not a nano-dollar is off.

2,000 requests by default. `LOAD_REQUESTS=10000 pytest tests/budgets/test_ten_thousand.py` is the slow
command; `LOAD_SEED=N` draws other requests, budgets and moments of death.
"""

import os
import random
from collections import Counter
from contextlib import AsyncExitStack
from decimal import Decimal

from quota_givens import running_node
from ten_thousand_bill import BOUNDED, MEASURED, Books, bill_of, matched
from ten_thousand_ledger import PlainLedger
from ten_thousand_load import (
    AT_ONCE,
    Crowd,
    MortalServer,
    Outcome,
    free_port,
    furnish,
    random_request,
    scripts,
)

from apikeyrouter import RouterSettings
from apikeyrouter.application.replay import verify
from apikeyrouter.bootstrap import Node
from apikeyrouter.domain.events import Recorded, RequestCompleted, RouteRefused
from apikeyrouter.domain.pricing import nano_usd
from apikeyrouter.domain.request_folds import PROCESS_DIED
from apikeyrouter.interfaces.budget_views import budget_view
from apikeyrouter.interfaces.scripted_provider import LedgerView, ScriptedProvider

REQUESTS = int(os.environ.get("LOAD_REQUESTS", "2000"))
SEED = int(os.environ.get("LOAD_SEED", "1"))
REQUESTS_A_DEATH = 500
LEFT = "client_left"
"""The mark of what was given back since its client left before the call was made."""


async def test_hard_budgets_hold_to_the_nano_dollar(tmp_path):
    """Nothing is over any hard budget at any position, nothing refused falsely, and the bill is met."""
    database, dice = tmp_path / "log.db", random.Random(SEED)  # noqa: S311 - it is to be repeatable
    async with AsyncExitStack() as stack:
        providers = {
            name: await stack.enter_async_context(ScriptedProvider(script))
            for name, script in scripts().items()
        }
        names = await furnish(database, providers, dice, REQUESTS)
        server = MortalServer(database, free_port())
        outcomes = await _ask_all(server, dice)
        for provider in providers.values():
            await provider.until(lambda ledger: not any(tally.open for tally in ledger.keys.values()))
        ledgers = {name: provider.ledger() for name, provider in providers.items()}
    plain = PlainLedger()
    async with running_node(RouterSettings(database_url=str(database))) as node:
        events = list(node.reader.read())
        for recorded in events:
            plain.follow(recorded)
        _check_after_restart(plain, node)
    assert not plain.faults, (SEED, len(plain.faults), plain.faults[:10])
    books = matched(events, ledgers, names)
    _check_bill(books, ledgers)
    _check_answers(outcomes, events)
    verified = verify(events)
    assert verified.identical, verified.differences
    _show(outcomes, books, plain, server.deaths)


async def _ask_all(server: MortalServer, dice: random.Random) -> list[Outcome]:
    """Let the crowd ask, and the server die at random moments; in the end it is dead."""
    wanted = [random_request(dice, number) for number in range(REQUESTS)]
    deaths = [dice.randrange(REQUESTS - AT_ONCE) for _ in range(REQUESTS // REQUESTS_A_DEATH)]
    await server.start()
    try:
        return await Crowd(server, wanted, deaths).run()
    finally:
        await server.kill()


def _check_after_restart(plain: PlainLedger, node: Node) -> None:
    """A node that starts after the last death holds nothing, and every budget stands as the events say."""
    assert not plain.held
    for budget_id, mine in plain.budgets.items():
        view = budget_view(node.state, node.budgets.budget(budget_id), node.state.latest_us)
        assert (nano_usd(view.spent), nano_usd(view.reserved)) == (mine.used, 0), view


def _check_bill(books: Books, ledgers: dict[str, LedgerView]) -> None:
    """What was measured is the bill; what was bounded says so, and is no less; nothing else was billed."""
    for attempt in books.attempts:
        if attempt.call is not None:
            assert attempt.billed == bill_of(attempt.provider_id, attempt.call), attempt
        if attempt.mark == MEASURED:
            assert attempt.charged == attempt.billed, attempt
        else:
            assert attempt.mark in {BOUNDED, PROCESS_DIED, LEFT} or attempt.mark.startswith("failed: "), (
                attempt
            )
            assert (attempt.charged or 0) >= attempt.billed, attempt
    assert not any(call.cost_nano_usd for call in books.strangers), books.strangers
    measured = sum(attempt.charged or 0 for attempt in books.measured())
    assert measured == sum(attempt.billed for attempt in books.measured())
    bills = sum(line.cost_nano_usd or 0 for ledger in ledgers.values() for line in ledger.bill)
    assert bills == measured + sum(attempt.billed for attempt in books.others())


def _check_answers(outcomes: list[Outcome], events: list[Recorded]) -> None:
    """What a client was told stands in the log: an answer with its cost, a refusal with its budget."""
    ends = {recorded.stream: recorded.event for recorded in events}
    for outcome in outcomes:
        if outcome.status == 0:
            continue
        end = ends[f"request-{outcome.headers['x-request-id']}"]
        if outcome.status == 200:
            assert isinstance(end, RequestCompleted), (outcome, end)
            if "x-akr-cost-usd" in outcome.headers:
                assert nano_usd(Decimal(outcome.headers["x-akr-cost-usd"])) == end.cost_nano_usd
        elif outcome.code == "insufficient_quota":
            assert isinstance(end, RouteRefused), (outcome, end)
            assert outcome.headers["x-should-retry"] == "false"
            assert outcome.headers["x-akr-budget"] == end.shortfall.budget_id
            told = Decimal(outcome.headers["x-akr-budget-remaining-usd"])
            assert nano_usd(told) == end.shortfall.remaining_nano_usd


def _show(outcomes: list[Outcome], books: Books, plain: PlainLedger, deaths: int) -> None:
    """Print the figures of a run (pytest -s), and see that it was worth running."""
    marks = Counter(attempt.mark for attempt in books.attempts)
    answers = Counter(f"{outcome.status} {outcome.code or ''}".strip() for outcome in outcomes)
    measured = sum(attempt.charged or 0 for attempt in books.measured())
    bounded = sum(attempt.charged or 0 for attempt in books.others())
    print(f"\n{len(outcomes)} requests, {deaths} deaths, {len(plain.budgets)} budgets: {dict(answers)}")
    print(f"attempts by how they were settled: {dict(marks)}")
    print(
        f"refused by budgets: {plain.refusals}, let in with less than twice their bound left: {plain.tight}"
    )
    print(f"settled by measure {measured}, by bound {bounded} nano-USD")
    assert plain.refusals >= REQUESTS // 20
    assert plain.tight >= REQUESTS // 100
    # The faster the machine, the less of the rolling budgets comes back in the time, and the more is refused.
    assert marks[MEASURED] >= REQUESTS // 40
    assert marks[PROCESS_DIED]
    assert marks[BOUNDED]
    assert len(outcomes) == REQUESTS
