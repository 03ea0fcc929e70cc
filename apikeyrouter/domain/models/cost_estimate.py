"""What a request cost, or would cost."""

from datetime import datetime
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict

from apikeyrouter.domain.models.budget import BudgetScope
from apikeyrouter.domain.pricing import usd

InputSource = Literal["counted", "given", "bound"]
OutputSource = Literal["request", "model", "cap", "usual"]


class CostEstimate(BaseModel):
    """An amount of money; `amount` is None where no price is known."""

    model_config = ConfigDict(frozen=True)

    amount: Decimal | None
    currency: str = "USD"

    @classmethod
    def from_nano_usd(cls, nano_usd: int | None) -> "CostEstimate":
        """Convert from the integer that the log holds."""
        return cls(amount=None if nano_usd is None else usd(nano_usd))


class EstimatePrice(BaseModel):
    """The price that an estimate is made by, in US dollars per million tokens, and whose word it is.

    `source` is "administrator", "offer" (the provider's list, as declared) or "book", `book` its hash.
    """

    model_config = ConfigDict(frozen=True)

    input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal
    source: str
    book: str | None = None


class BudgetFit(BaseModel):
    """A budget that a candidate would draw on. `fits_at` is when the bound fits; None: not by time alone."""

    model_config = ConfigDict(frozen=True)

    budget_id: str
    scope: BudgetScope
    scope_id: str | None = None
    hard: bool
    limit: Decimal
    remaining: Decimal
    fits: bool
    fits_at: datetime | None = None


class CandidateEstimate(BaseModel):
    """What a request would consume and cost at one provider by one model.

    `input_tokens` are as `input_from` says: counted by the model's vocabulary, given by the caller, or no
    more than a bound. `input_tokens_bound` is what is reserved in any case. The output's bound is by the
    request, by the model's limit, by the cap that hard budgets put into the call, or only what is usual,
    which no provider is held to. `bound` is the cost at both bounds, `expected` that of the expected counts.
    """

    model_config = ConfigDict(frozen=True)

    provider_id: str
    model: str
    keys: int
    chosen: bool
    input_tokens: int
    input_from: InputSource
    input_tokens_bound: int
    expected_input_tokens: int
    output_tokens_bound: int
    output_bound_from: OutputSource
    expected_output_tokens: int
    learned_from_client: float
    learned_from_model: float
    bound: CostEstimate
    expected: CostEstimate
    price: EstimatePrice | None
    fits_budgets: bool
    budgets: tuple[BudgetFit, ...]


class RequestEstimate(CostEstimate):
    """What a request would cost if it came now: of the chosen candidate, `amount` expected, `bound` at most.

    Where nobody would be chosen, both are None and `refused` says why. Nothing is reserved or recorded.
    """

    bound: Decimal | None
    at: datetime
    model: str
    chosen_key_id: str | None
    chosen_provider_id: str | None
    chosen_model: str | None
    explanation: str
    refused: str | None
    retry_at: datetime | None
    candidates: tuple[CandidateEstimate, ...]


class EstimateAccuracy(BaseModel):
    """How estimates of a model at a provider compare with what settlements told, in US dollars.

    `source` is "measured" by the provider, or only "bounded". The bound and the actual cost are of
    `settlements` less those `unpriced`; expectation and errors are of the `foreseen` ones among them. The
    signed error is above zero where more was spent than expected. `above_bound` counts what cost more than
    was reserved, which happens only where a provider bills more than the bound allows for.
    """

    model_config = ConfigDict(frozen=True)

    provider_id: str
    model: str
    source: str
    settlements: int
    unpriced: int
    foreseen: int
    bound: Decimal
    expected: Decimal
    actual: Decimal
    mean_signed_error: Decimal | None
    mean_absolute_error: Decimal | None
    above_bound: int
    share_above_bound: Decimal | None
