"""Quotas and forecasts as users see them, at instants of the test's own."""

import pytest
from worlds import SECOND_US, World

from apikeyrouter.domain.events import KeyMetadataChanged, KeyStateChanged, QuotaLimitLearned, RouteDecided
from apikeyrouter.domain.models.quota_state import CapacityState, LimitSource, Uncertainty
from apikeyrouter.domain.routing import decide
from apikeyrouter.domain.windows import moment
from apikeyrouter.interfaces.quota_views import REFUSED_BY_PROVIDER, Outlook

MINUTE_US = 60 * SECOND_US


@pytest.fixture
def world():
    world = World()
    world.provider()
    return world


def ask(world: World, name: str, input_tokens: int = 1000) -> None:
    decision = decide(world.state, world.question(input_tokens=input_tokens))
    assert isinstance(decision, RouteDecided), decision
    world.append(f"request-{name}", decision)


def move(world: World, key_id: str, from_state: str, to_state: str, until_us: int | None = None) -> None:
    changed = KeyStateChanged(
        at_us=world.now_us,
        actor="router",
        from_state=from_state,
        to_state=to_state,
        trigger="test",
        until_us=until_us,
    )
    world.append(f"key-{key_id}", changed)


def quota_state(world: World, key_id: str = "a", after_us: int = 0):
    return Outlook(world.state, world.now_us + after_us).quota_state(world.state.keys[key_id])


def prediction(world: World, key_id: str = "a", after_us: int = 0):
    return Outlook(world.state, world.now_us + after_us).prediction(world.state.keys[key_id])


class TestWithoutLimits:
    def test_nothing_is_made_up(self, world):
        """No limit known: the capacity is unknown, and no field holds a number."""
        world.key("a")
        ask(world, "1")
        told = quota_state(world)
        assert told.capacity_state == told.uncertainty == "unknown"
        amounts = (told.remaining_capacity, told.total_capacity, told.used_capacity)
        assert [amount.value for amount in amounts] == [None, None, None]
        assert told.accounts == ()
        foreseen = prediction(world)
        assert foreseen.probability is foreseen.exhausted_at is foreseen.method is None
        assert foreseen.capacity_state == "unknown"

    def test_limits_that_were_lifted_are_known_no_longer(self, world):
        """A key whose last limit is gone is unknown again."""
        world.key("a", rpm=5)
        ask(world, "1")
        world.append("key-a", KeyMetadataChanged(at_us=world.now_us, actor="test", metadata={}))
        assert quota_state(world).capacity_state == "unknown"
        assert list(Outlook(world.state, world.now_us).standings()) == []


class TestAccounts:
    def test_what_is_reserved_settled_and_left_adds_up(self, world):
        """Of every account: settled, reserved and remaining make the limit; the tightest is repeated."""
        world.key("a", rpm=3, tpm=1_000_000)
        ask(world, "1")
        told = quota_state(world)
        for account in told.accounts:
            assert account.settled + account.reserved + account.remaining == account.limit
            assert account.reserved > 0
        requests = next(account for account in told.accounts if account.dimension == "requests")
        assert told.dimension == "requests"
        assert (told.remaining_capacity.value, told.total_capacity.value) == (2, 3)
        assert told.used_capacity.value == 1
        assert requests.source is LimitSource.Declared
        assert requests.window_starts_at == moment(world.now_us - MINUTE_US)
        assert told.reset_at == requests.window_ends_at == moment(world.now_us + MINUTE_US)

    def test_tokens_under_way_are_a_bound_and_requests_are_not(self, world):
        """How many tokens a call takes is known when it ends; that it is one call is known at once."""
        world.key("a", rpm=3, tpm=1_000_000)
        ask(world, "1")
        sure = {account.dimension: account.uncertainty for account in quota_state(world).accounts}
        assert sure == {"requests": Uncertainty.Exact, "tokens": Uncertainty.Bounded}

    def test_a_guessed_limit_is_an_estimate(self, world):
        """A limit that was guessed from refusals is told with its source and not as exact."""
        world.key("a")
        world.append(
            "quota-key-a/requests/minute/m",
            QuotaLimitLearned(
                at_us=world.now_us,
                key_id="a",
                dimension="requests",
                unit="minute",
                limit=9,
                models=("m",),
                source=LimitSource.Refusal,
            ),
        )
        [account] = quota_state(world).accounts
        assert (account.source, account.declared) == (LimitSource.Refusal, None)
        assert account.uncertainty is Uncertainty.Estimated

    def test_what_is_used_up_is_exhausted_until_it_leaves(self, world):
        """At the limit the state is exhausted for sure; once the window has passed it no longer is."""
        world.key("a", rpm=1)
        ask(world, "1")
        assert quota_state(world).capacity_state is CapacityState.Exhausted
        foreseen = prediction(world)
        assert foreseen.probability == 1.0
        assert foreseen.exhausted_at == moment(world.now_us)
        assert quota_state(world, after_us=MINUTE_US).remaining_capacity.value == 1

    def test_keys_of_a_group_share_an_account(self, world):
        """One account, shown once, with the keys that draw on it."""
        world.key("a", rpm=4, quota_group="team")
        world.key("b", rpm=4, quota_group="team")
        ask(world, "1")
        [standing] = Outlook(world.state, world.now_us).standings()
        assert standing.key_ids == ("a", "b")
        assert quota_state(world, "a").accounts == quota_state(world, "b").accounts

    def test_pages_cover_every_account_once(self, world):
        """Whatever the size of a page."""
        for number in range(7):
            world.key(f"k{number}", rpm=5, tpm=1000)
        outlook = Outlook(world.state, world.now_us)
        whole = [one.report.account_id for one in outlook.standings()]
        paged = [one.report.account_id for after in range(0, 14, 3) for one in outlook.standings(after, 3)]
        assert paged == whole
        assert len(set(whole)) == 14


class TestForecasts:
    def test_the_likeliest_account_speaks_for_the_key(self, world):
        """A key runs out when its first account does."""
        world.key("a", rpm=20, rpd=100_000)
        for number in range(18):
            ask(world, str(number), 10)
            world.now_us += SECOND_US
        foreseen = prediction(world)
        likeliest = max(foreseen.accounts, key=lambda account: account.probability)
        assert likeliest.window == "minute"
        assert foreseen.probability == likeliest.probability > 0.5
        assert foreseen.earliest_at <= foreseen.exhausted_at <= foreseen.latest_at
        assert foreseen.exhausted_at <= foreseen.horizon_ends_at
        assert foreseen.method == likeliest.method
        assert likeliest.requests_seen > 10

    def test_looking_changes_nothing(self, world):
        """A question in between leaves the fold as it was: the present moves only by events."""
        world.key("a", rpm=20, tpm=100_000)
        ask(world, "1")
        before = world.state.quotas.accounts.now_us
        quota_state(world, after_us=3600 * SECOND_US)
        assert world.state.quotas.accounts.now_us == before
        assert quota_state(world).used_capacity.value == 1


class TestRefusedByProvider:
    def test_gone_quota_is_exhausted_whatever_was_counted(self, world):
        """The provider's word stands, also for a key without any known limit."""
        for name, limits in (("a", {}), ("b", {"rpm": 1000})):
            until_us = world.now_us + MINUTE_US
            world.key(name, **limits)
            move(world, name, "available", "exhausted", until_us)
            told, foreseen = quota_state(world, name), prediction(world, name)
            assert told.capacity_state is CapacityState.Exhausted
            assert told.reset_at == moment(until_us)
            assert (foreseen.probability, foreseen.method) == (1.0, REFUSED_BY_PROVIDER)

    def test_a_key_that_came_back_is_recovering(self, world):
        """After the reset the account is recovering, whether or not the end of the rest is recorded."""
        world.key("a", rpm=1000)
        move(world, "a", "available", "exhausted", world.now_us + MINUTE_US)
        assert quota_state(world, after_us=MINUTE_US).capacity_state is CapacityState.Recovering
        world.now_us += MINUTE_US
        move(world, "a", "exhausted", "recovering")
        assert quota_state(world).capacity_state is CapacityState.Recovering
