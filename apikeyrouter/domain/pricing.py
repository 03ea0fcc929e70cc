"""What tokens cost: integer nano-USD, rounded up, so that a sum of parts is never below the whole."""

from apikeyrouter.domain.events import ModelOffer

NANO_PER_USD = 1_000_000_000
TOKENS_PER_PRICE = 1_000_000


def cost_nano_usd(offer: ModelOffer | None, input_tokens: int, output_tokens: int) -> int | None:
    """Price a use of a model; None where a price is not known."""
    if offer is None or offer.input_nano_usd_per_mtok is None or offer.output_nano_usd_per_mtok is None:
        return None
    total = input_tokens * offer.input_nano_usd_per_mtok + output_tokens * offer.output_nano_usd_per_mtok
    return -(-total // TOKENS_PER_PRICE)
