"""Published import path of `OpenAIAdapter`."""

from apikeyrouter.adapters.providers.openai import OpenAIAdapter

__all__ = ["OpenAIAdapter"]
