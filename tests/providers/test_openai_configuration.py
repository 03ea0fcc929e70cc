"""How the OpenAI adapter is configured, and how it describes itself."""

import pytest

from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.domain.events import ModelOffer
from apikeyrouter.domain.interfaces.provider_adapter import ProviderAdapter
from apikeyrouter.domain.models.system_error import ConfigurationError


def test_it_is_a_provider_adapter():
    """The adapter passes the check that users' adapters must pass."""
    assert isinstance(OpenAIAdapter(), ProviderAdapter)


def test_it_describes_itself_for_the_log():
    """Kind, address and models are known; models may be plain names."""
    offer = ModelOffer(model="m2", quality=0.9)
    described = OpenAIAdapter("http://127.0.0.1:1/v1/", models=("m1", offer)).describe()
    assert (described.kind, described.base_url) == ("openai", "http://127.0.0.1:1/v1")
    assert described.models == (ModelOffer(model="m1"), offer)


def test_the_environment_is_read_when_the_adapter_is_built(monkeypatch):
    """`OPENAI_BASE_URL` counts unless an address is given; without either it is OpenAI's."""
    assert OpenAIAdapter().describe().base_url == "https://api.openai.com/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert OpenAIAdapter().describe().base_url == "http://127.0.0.1:9/v1"
    assert OpenAIAdapter("http://127.0.0.1:8/v1").describe().base_url == "http://127.0.0.1:8/v1"


@pytest.mark.parametrize(
    "url",
    [
        "api.openai.com",
        "ftp://x/v1",
        "https://u:hunter2secret@x/v1",
        "https://x/v1?key=hunter2secret",
        "https://x/v1#a",
        "https://x/a b",
        "https://x\r\n/v1",
        "https://",
    ],
)
def test_an_unusable_address_stops_the_start(monkeypatch, url):
    """The setting is named, its value, which may hold a password, is not."""
    with pytest.raises(ConfigurationError, match="base_url") as caught:
        OpenAIAdapter(url)
    assert url not in str(caught.value)
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(ConfigurationError, match="OPENAI_BASE_URL"):
        OpenAIAdapter()


def test_an_unusable_organization_stops_the_start():
    """It would be a header."""
    with pytest.raises(ConfigurationError, match="organization"):
        OpenAIAdapter(organization="a\r\nb")
