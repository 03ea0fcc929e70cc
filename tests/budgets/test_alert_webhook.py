"""Alerts are posted to a receiver that may fail, hang, refuse or be away."""

import asyncio

import pytest
from alert_givens import AT_US, PATIENT, QUICK, World, logged
from alert_receiver import Receiver
from loopback import RUN_KEY, eventually, running_proxy

from apikeyrouter import ApiKeyRouter
from apikeyrouter.adapters.alerts.bookmark import Bookmark
from apikeyrouter.adapters.alerts.webhook import Webhook
from apikeyrouter.domain.events import LogRecovered
from apikeyrouter.domain.offers import parse_offers
from apikeyrouter.infrastructure.adapters.openai_adapter import OpenAIAdapter
from apikeyrouter.interfaces.scripted_provider import Script, ScriptedProvider
from apikeyrouter.settings import RouterSettings


@pytest.fixture
async def world():
    return World()


@pytest.fixture
async def lasting(tmp_path):
    """A world whose bookmark is a file."""
    return World(tmp_path)


@pytest.fixture
def lines():
    with logged() as lines:
        yield lines


class TestDelivery:
    async def test_an_alert_is_posted(self, world):
        """Whole in itself: who, how much of what, until when, and a sentence."""
        async with Receiver().listening() as receiver, world.telling(receiver.url):
            world.alert()
            await eventually(lambda: receiver.told)
        assert receiver.told == [
            {
                "type": "budget.alerted",
                "alert_id": "budget-one@2",
                "budget_id": "one",
                "budget_name": "one",
                "scope": "team",
                "scope_id": "one",
                "enforcement_mode": "hard",
                "percent": 80,
                "spent_usd": "40",
                "limit_usd": "50",
                "window_ends_at": "2026-11-18T11:07:40+00:00",
                "at": "2026-11-18T11:06:40+00:00",
                "position": 2,
                "text": 'The hard budget "one" (team one) has reached 80 %: $40.00 of $50.00 are spent.'
                " Its window ends at 2026-11-18 11:07:40 UTC.",
            }
        ]
        assert receiver.heads[0].startswith("POST /hook/a-secret-path HTTP/1.1")
        assert "content-type: application/json" in receiver.heads[0]

    @pytest.mark.parametrize("answer", [500, 503, 429, 401, 404, 302, "hang", "drip", "break"])
    async def test_a_receiver_that_fails_is_tried_again(self, world, answer):
        """Whatever it does, it gets the same alert, with the same id, once it is well."""
        async with Receiver(answer, answer, answer).listening() as receiver, world.telling(receiver.url):
            world.alert()
            await eventually(lambda: receiver.told)
        assert receiver.posts == 4
        assert receiver.ids == ["budget-one@2"]
        assert all(head.startswith("POST /hook/") for head in receiver.heads)  # redirects lead nowhere

    @pytest.mark.parametrize("answer", [400, 413, 422])
    async def test_what_a_receiver_refuses_for_good_does_not_stop_the_next(self, world, lines, answer):
        """It is logged as refused, and passed over."""
        async with Receiver(answer).listening() as receiver, world.telling(receiver.url):
            world.alert(80)
            world.alert(100)
            await eventually(lambda: receiver.told)
        assert (receiver.posts, receiver.ids) == (2, ["budget-one@3"])
        refused = [line for line in lines() if line["event"] == "budget_alert_refused"]
        assert [(line["alert_id"], line["reason"]) for line in refused] == [("budget-one@2", str(answer))]

    async def test_a_receiver_that_is_away_is_waited_for(self, world):
        """Nobody listens at first; the alert arrives when somebody does."""
        receiver = Receiver()
        async with receiver.listening():
            pass
        async with world.telling(receiver.url):
            world.alert()
            await eventually(lambda: world.webhook._queue)
            async with receiver.listening():
                await eventually(lambda: receiver.told)

    async def test_alerts_arrive_in_order(self, world):
        """Also where the first one fails at first."""
        async with Receiver(500, "break").listening() as receiver, world.telling(receiver.url):
            for percent in range(1, 6):
                world.alert(percent)
            await eventually(lambda: len(receiver.told) == 5)
        assert [alert["percent"] for alert in receiver.told] == [1, 2, 3, 4, 5]

    async def test_what_is_waiting_is_bounded(self, world):
        """Beyond the bound the log is the queue: nothing is kept in memory, and nothing is lost."""
        narrow = QUICK._replace(most_queued=3)
        world.budget("two")
        async with Receiver(200, "hang").listening() as receiver, world.telling(receiver.url, narrow):
            world.alert(1)
            await eventually(lambda: receiver.told)
            for percent in range(2, 11):
                world.alert(percent, budget=("one", "two")[percent % 2])
                assert len(world.webhook._queue) <= 3
            await eventually(lambda: len(receiver.told) == 10)
        assert [alert["percent"] for alert in receiver.told] == list(range(1, 11))

    async def test_what_was_read_from_the_log_is_not_queued_again(self, lasting):
        """An event may be read before the followers are told of it."""
        (lasting.path.parent / "log.db.alerts").write_bytes(b'{"delivered_position": 0}')
        lasting.alert(80)
        async with Receiver().listening() as receiver, lasting.telling(receiver.url):
            await eventually(lambda: receiver.told)
            lasting.webhook.follow(lasting.log.stream("budget-one")[-1:])
            lasting.alert(100)
            await eventually(lambda: "budget-one@3" in receiver.ids)
        assert receiver.ids == ["budget-one@2", "budget-one@3"]

    async def test_what_an_outage_kept_from_followers_is_read(self, world):
        """A gap in the positions is enough to look."""
        async with Receiver().listening() as receiver, world.telling(receiver.url):
            world.alert(1)
            await eventually(lambda: receiver.told)
            world.log._followers._followers.remove(world.webhook.follow)
            world.alert(2)
            world.log.follow(world.webhook.follow)
            world.record("log", LogRecovered(at_us=AT_US, node_id="n", outage_us=1))
            await eventually(lambda: len(receiver.told) == 2)

    def test_it_follows_into_another_loop(self):
        """A library may be used from one loop after another, and the first may just stand still."""
        receiver, loops = Receiver(), [asyncio.new_event_loop(), asyncio.new_event_loop()]

        async def given():
            world = World()
            async with receiver.listening():
                pass
            bookmark = Bookmark(None, world.log.head)
            webhook = Webhook(
                receiver.url,
                reader=world.log,
                budgets=lambda: world.state.budgets,
                bookmark=bookmark,
                pace=QUICK,
            )
            world.log.follow(webhook.follow)
            return world, webhook

        async def alert(percent):
            async with receiver.listening():
                world.alert(percent)
                await eventually(lambda: percent in [alert["percent"] for alert in receiver.told])

        world, webhook = loops[0].run_until_complete(given())
        tasks = []
        for percent, loop in enumerate(loops):
            loop.run_until_complete(alert(percent))
            tasks.append(webhook._task)
        for task, loop in zip(tasks, loops, strict=True):
            task.cancel()
            loop.run_until_complete(asyncio.wait([task]))
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
        assert sorted({alert["percent"] for alert in receiver.told}) == [0, 1]


class TestRestarts:
    async def test_what_was_not_delivered_is_delivered_by_the_next_process(self, lasting):
        """A process that ends while the receiver is ill leaves its alerts to the next one."""
        receiver = Receiver(503)
        async with receiver.listening():
            async with lasting.telling(receiver.url, PATIENT):
                lasting.alert(80)
                await eventually(lambda: receiver.posts)
                lasting.alert(100)
            assert receiver.told == []
            async with lasting.telling(receiver.url, PATIENT):
                await eventually(lambda: len(receiver.told) == 2)
        assert receiver.ids == ["budget-one@2", "budget-one@3"]

    async def test_what_was_delivered_is_not_told_again(self, lasting):
        """The position of the last delivered one is kept beside the log."""
        async with Receiver().listening() as receiver:
            async with lasting.telling(receiver.url):
                lasting.alert(80)
                await eventually(lambda: receiver.told)
            async with lasting.telling(receiver.url):
                lasting.alert(100)
                await eventually(lambda: len(receiver.told) == 2)
        assert receiver.ids == ["budget-one@2", "budget-one@3"]

    async def test_a_process_that_died_before_it_could_remember_tells_again(self, lasting):
        """With the same id, so that the receiver can drop it."""
        async with Receiver().listening() as receiver:
            async with lasting.telling(receiver.url):
                kept = (lasting.path.parent / "log.db.alerts").read_bytes()
                lasting.alert()
                await eventually(lambda: receiver.told)
            (lasting.path.parent / "log.db.alerts").write_bytes(kept)
            async with lasting.telling(receiver.url):
                await eventually(lambda: len(receiver.told) == 2)
        assert receiver.ids == ["budget-one@2"] * 2

    async def test_a_webhook_that_is_new_is_told_no_history(self, lasting):
        """What came before it was set is no news."""
        lasting.alert(80)
        async with Receiver().listening() as receiver, lasting.telling(receiver.url):
            lasting.alert(100)
            await eventually(lambda: receiver.told)
        assert receiver.ids == ["budget-one@3"]

    @pytest.mark.parametrize("content", [b"", b"garbage", b'{"delivered_position": "x"}', b"[]"])
    async def test_after_garbage_everything_is_told_again(self, lasting, content):
        """Rather than that something is lost."""
        lasting.alert()
        (lasting.path.parent / "log.db.alerts").write_bytes(content)
        async with Receiver().listening() as receiver, lasting.telling(receiver.url):
            await eventually(lambda: receiver.told)

    async def test_a_log_that_was_put_back_is_followed_from_its_end(self, lasting):
        """A bookmark behind the end of the log would swallow what comes next."""
        (lasting.path.parent / "log.db.alerts").write_bytes(b'{"delivered_position": 4711}')
        async with Receiver().listening() as receiver, lasting.telling(receiver.url):
            lasting.alert()
            await eventually(lambda: receiver.told)

    async def test_closing_does_not_wait_for_a_receiver_that_is_ill(self, world):
        """The pause after a failure ends with the process."""
        async with Receiver(500).listening() as receiver:
            async with world.telling(receiver.url, PATIENT) as webhook:
                world.alert()
                await eventually(lambda: receiver.posts)
            assert webhook._task.done()
        assert receiver.told == []


class TestTheWholeLine:
    async def test_a_request_that_reaches_a_threshold(self, tmp_path, monkeypatch, caplog):
        """A receiver that hangs delays nobody, and is told by the next process at the latest."""
        monkeypatch.setattr("apikeyrouter.adapters.alerts.webhook.GRACE_S", 0.01)
        price = [{"model": "gpt-4", "input_usd_per_mtok": "0", "output_usd_per_mtok": "1000000"}]
        intent = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello!"}]}
        receiver = Receiver("hang")
        async with receiver.listening(), ScriptedProvider(Script(accept_any_key=True)) as provider:
            settings = RouterSettings(database_url=str(tmp_path / "log.db"), alert_webhook_url=receiver.url)
            async with ApiKeyRouter(config=settings) as router:
                adapter = OpenAIAdapter(base_url=provider.base_url, models=parse_offers(price))
                await router.register_provider("openai", adapter)
                await router.register_key("sk-test-a", "openai")
                await router.cost_controller.create_budget("global", 1, "total", "soft", alerts_percent=[100])
                await router.route(intent)
                await eventually(lambda: receiver.posts)
        assert receiver.told == []
        assert "event='budget_alert'" in caplog.text
        async with receiver.listening(), running_proxy(settings) as proxy:
            await eventually(lambda: receiver.told)
            key = {"x-api-key": RUN_KEY}
            (budget,) = (await proxy.client.get("/api/v1/budgets", headers=key)).json()
            assert receiver.ids == [f"budget-{budget['id']}@2"]
