"""Every alert is logged, and the address of a receiver never is."""

import json

import pytest
from alert_givens import World, logged
from alert_receiver import Receiver
from loopback import eventually

from apikeyrouter.adapters.alerts.log_lines import alert_lines
from apikeyrouter.domain.models.system_error import ConfigurationError
from apikeyrouter.settings import RouterSettings


@pytest.fixture
async def world():
    return World()


@pytest.fixture
def lines():
    with logged() as lines:
        yield lines


class TestLines:
    async def test_every_alert_is_logged(self, world, lines):
        """With its budget and its amounts, webhook or not."""
        world.log.follow(alert_lines(lambda: world.state.budgets))
        world.alert()
        (line,) = [line for line in lines() if line["event"] == "budget_alert"]
        assert line["level"] == "warning"
        assert (line["alert_id"], line["percent"], line["spent_usd"]) == ("budget-one@2", 80, "40")

    @pytest.mark.parametrize("answer", [200, 404, "break"])
    async def test_the_address_is_never_logged(self, world, lines, answer):
        """Neither by us nor by the client, whatever happens: it holds the receiver's secret."""
        receiver = Receiver(answer)
        async with receiver.listening():
            url = receiver.url.replace("http://", "http://user:a-secret-word@")
            async with world.telling(url):
                world.alert()
                await eventually(lambda: receiver.told)
        assert "authorization: basic" in receiver.heads[0].lower()
        assert "secret" not in json.dumps(lines())

    async def test_an_address_that_nothing_can_be_made_of(self, world, lines):
        """Ends the task with a line, and not the process."""
        async with world.telling("http://127.0.0.1:a-secret-port/"):
            world.alert()
            await eventually(lambda: any(line["event"] == "budget_alerts_stopped" for line in lines()))
        assert "secret" not in json.dumps(lines())


class TestSettings:
    @pytest.mark.parametrize(
        "url",
        [
            "https://hooks.example.com/services/a",
            "https://user:word@hooks.example.com:8443/a?b=c",
            "http://127.0.0.1:9000/a",
            "http://[::1]:9000/a",
            "http://localhost/a",
        ],
    )
    def test_what_stays_secret_on_its_way(self, url):
        """TLS, or this machine."""
        assert RouterSettings(alert_webhook_url=url).alert_webhook_url.get_secret_value() == url

    @pytest.mark.parametrize(
        "url",
        [
            "http://hooks.example.com/a-secret-path",
            "http://127.0.0.1@hooks.example.com/a-secret-path",
            "http://127.0.0.1\\@hooks.example.com/a-secret-path",
            "http://0.0.0.0/a-secret-path",
            "ftp://127.0.0.1/a-secret-path",
            "https:///a-secret-path",
            "https://hooks.example.com:port/a-secret-path",
            "https://hooks.example.com/a-secret-path#part",
            "https://hooks.example.com/a-secret-path with-blanks",
            "https://[hooks/a-secret-path",
            "a-secret-path",
        ],
    )
    def test_what_does_not_is_refused_without_being_repeated(self, url):
        """The refusal names the setting and not its value."""
        with pytest.raises(ConfigurationError) as refused:
            RouterSettings(alert_webhook_url=url)
        assert "alert_webhook_url" in refused.value.message
        assert "secret" not in refused.value.message
