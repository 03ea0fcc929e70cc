"""What a user wants from a model, before anybody decided who serves it."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Message(BaseModel):
    """One message of a conversation; fields of OpenAI's dialect that are not listed pass through."""

    model_config = ConfigDict(extra="allow", frozen=True)

    role: str = Field(min_length=1)
    content: str | list[dict[str, Any]] | None = None


class RequestIntent(BaseModel):
    """A request for a model. Without a provider, every provider that serves the model is a candidate.

    `client_id`, `team` and `tags` say for whom it is: budgets and reports use them, providers never see them.
    `parameters` and further fields of OpenAI's dialect (tools, temperature, …) pass through as they are.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    model: str = Field(min_length=1)
    messages: list[Message] = Field(min_length=1)
    provider_id: str | None = None
    parameters: dict[str, Any] = {}
    client_id: str | None = None
    team: str | None = None
    tags: tuple[str, ...] = ()
