"""An answer with everything that speaks for it."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from apikeyrouter.domain.models.cost_estimate import CostEstimate


class TokenUsage(BaseModel):
    """Tokens of one request. `source` tells whether the provider counted them or they are an upper bound."""

    model_config = ConfigDict(frozen=True)

    input_tokens: int
    output_tokens: int
    source: str

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


class ResponseMetadata(BaseModel):
    """How a request was served. `response_time_ms` spans from the call of the library to the answer."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model_used: str
    tokens_used: TokenUsage
    response_time_ms: float
    provider_id: str
    finish_reason: str | None
    correlation_id: str
    routing_explanation: str
    attempts: int


class SystemResponse(BaseModel):
    """An answer: `content` is the text, `body` the provider's whole answer, `decision` the recorded event."""

    model_config = ConfigDict(frozen=True)

    content: str | None
    key_used: str
    request_id: str
    cost: CostEstimate
    metadata: ResponseMetadata
    decision: dict[str, Any]
    body: dict[str, Any]
