"""Two scripted providers with the same model at different prices, for estimates end to end."""

from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.domain.offers import parse_offers

MODEL = "gpt-4o"
DEAR = {"model": MODEL, "input_usd_per_mtok": "10", "output_usd_per_mtok": "40"}
CHEAP = {"model": MODEL, "input_usd_per_mtok": "2.5", "output_usd_per_mtok": "10"}
INTENT = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "Hello!"}],
    "parameters": {"max_tokens": 400},
}
BODY = {"model": MODEL, "messages": INTENT["messages"], "max_tokens": 400}


def adapter(base_url: str, *models: dict) -> OpenAIAdapter:
    return OpenAIAdapter(base_url=base_url, models=parse_offers(models))
