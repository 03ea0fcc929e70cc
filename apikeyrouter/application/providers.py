"""The adapters of this process, by provider id."""

from apikeyrouter.domain.failures import AttemptFailedError, Failure, FailureClass
from apikeyrouter.domain.interfaces.provider_adapter import ProviderAdapter
from apikeyrouter.domain.models.system_error import NotFoundError
from apikeyrouter.domain.state import RouterState


class ProviderRegistry:
    """Attach adapters to the providers that the log knows."""

    def __init__(self) -> None:
        self._adapters: dict[str, ProviderAdapter] = {}
        self._provisional: set[str] = set()
        self._replaced: list[ProviderAdapter] = []

    def attach(self, provider_id: str, adapter: ProviderAdapter, *, provisional: bool = False) -> None:
        """Use this adapter from now on. A provisional one, built from the log, yields to any other."""
        if provider_id in self._adapters:
            self._replaced.append(self._adapters[provider_id])  # calls may be under way: close it at the end
        self._adapters[provider_id] = adapter
        self._provisional.discard(provider_id)
        if provisional:
            self._provisional.add(provider_id)

    def attached(self, provider_id: str) -> bool:
        """Tell whether somebody has chosen an adapter for a provider."""
        return provider_id in self._adapters and provider_id not in self._provisional

    def adapter(self, provider_id: str) -> ProviderAdapter:
        """Return a provider's adapter; without one the attempt fails before anything is sent."""
        adapter = self._adapters.get(provider_id)
        if adapter is None:
            raise AttemptFailedError(
                Failure(failure_class=FailureClass.ConnectFailed, code="provider_not_attached", sent=False)
            )
        return adapter

    async def close(self) -> None:
        """Give every adapter's connections back."""
        for adapter in (*self._adapters.values(), *self._replaced):
            await adapter.close()


def require_provider(state: RouterState, provider_id: str) -> None:
    """Raise `NotFoundError`, naming those there are, unless the log knows the provider."""
    if provider_id not in state.providers:
        known = ", ".join(sorted(state.providers)) or "none yet"
        raise NotFoundError(
            f"unknown provider {str(provider_id)[:64]!r}; registered: {known}", param="provider_id"
        )
