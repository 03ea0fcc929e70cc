"""What a request cost, or would cost."""

from decimal import Decimal

from pydantic import BaseModel, ConfigDict

from apikeyrouter.domain.pricing import usd


class CostEstimate(BaseModel):
    """An amount of money; `amount` is None where no price is known."""

    model_config = ConfigDict(frozen=True)

    amount: Decimal | None
    currency: str = "USD"

    @classmethod
    def from_nano_usd(cls, nano_usd: int | None) -> "CostEstimate":
        """Convert from the integer that the log holds."""
        return cls(amount=None if nano_usd is None else usd(nano_usd))
