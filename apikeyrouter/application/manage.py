"""Administrators' acts on providers and keys; each is an event with its author, durable before it returns."""

import re
from collections.abc import Collection, Mapping

from apikeyrouter.application.journal import Journal
from apikeyrouter.application.ports import Clock, Entropy, Vault
from apikeyrouter.application.providers import ProviderRegistry, require_provider
from apikeyrouter.application.upkeep import Upkeep
from apikeyrouter.domain import keys
from apikeyrouter.domain.events import CATALOGUE_STREAM, Event, ProviderRegistered, key_stream
from apikeyrouter.domain.interfaces.provider_adapter import ProviderAdapter, ProviderDescription
from apikeyrouter.domain.key_metadata import check_metadata
from apikeyrouter.domain.keys import Key
from apikeyrouter.domain.models.api_key import KeyState
from apikeyrouter.domain.models.system_error import (
    ConflictError,
    InvalidRequestError,
    KeyMaterialMissingError,
    NotFoundError,
)

PROVIDER_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
KEY_MATERIAL = re.compile(r"[\x21-\x7e]{1,4096}")


class Manage:
    """Change the catalogue and the keys."""

    def __init__(
        self, *, journal: Journal, providers: ProviderRegistry, vault: Vault, clock: Clock, entropy: Entropy
    ) -> None:
        self._journal = journal
        self._providers = providers
        self._vault = vault
        self._clock = clock
        self._entropy = entropy
        self._upkeep = Upkeep(journal)

    async def register_provider(
        self, provider_id: str, adapter: ProviderAdapter, *, actor: str, overwrite: bool = False
    ) -> None:
        """Attach an adapter, and record the provider unless the log describes it so already."""
        if not isinstance(provider_id, str) or not PROVIDER_ID.fullmatch(provider_id):
            raise InvalidRequestError(
                "a provider id is 1 to 64 characters of a-z, 0-9, '.', '_' and '-', no sign first",
                param="provider_id",
            )
        if not isinstance(adapter, ProviderAdapter):
            raise InvalidRequestError(
                "the adapter must have describe, execute, open_stream and close, as ProviderAdapter says",
                param="adapter",
            )
        if self._providers.attached(provider_id) and not overwrite:
            raise ConflictError(
                f"provider {provider_id!r} is registered already; pass overwrite=True to replace its adapter"
            )
        await self._describe(provider_id, adapter.describe(), actor)
        self._providers.attach(provider_id, adapter)

    async def register_key(
        self, material: str, provider_id: str, metadata: Mapping[str, object] | None = None, *, actor: str
    ) -> Key:
        """Seal a key and record it; the same material twice is refused."""
        fingerprint = self._fingerprint_of_new(material)
        require_provider(self._journal.state, provider_id)
        registered = keys.register(
            at_us=self._clock.now_us(),
            actor=actor,
            provider_id=provider_id,
            fingerprint=fingerprint,
            metadata=check_metadata(metadata),
        )
        key_id = self._entropy.new_id()
        self._vault.seal(key_id, material)
        try:
            await self._record(key_stream(key_id), registered)
        except BaseException:
            self._vault.destroy(key_id)
            raise
        return self._journal.state.keys[key_id]

    async def rotate_key(self, key_id: str, material: str, *, actor: str) -> Key:
        """Replace a key's material; id, history and limits stay.

        Its own may be given again: the provider may accept it by now, or the vault may have lost it.
        """
        key = self.key(key_id)
        fingerprint = self._fingerprint_of_new(material, may_hold=key_id)
        events = keys.rotate(key, at_us=self._clock.now_us(), actor=actor, fingerprint=fingerprint)
        previous = self._material_or_none(key_id)
        self._vault.seal(key_id, material)
        try:
            await self._record(key_stream(key_id), *events)
        except BaseException:
            self._put_back(key_id, previous)
            raise
        return self.key(key_id)

    async def disable_key(self, key_id: str, *, actor: str) -> Key:
        """Take a key out of service; requests under way finish."""
        event = keys.disable(self.key(key_id), at_us=self._clock.now_us(), actor=actor)
        await self._record(key_stream(key_id), event)
        return self.key(key_id)

    async def drain_key(self, key_id: str, *, actor: str) -> Key:
        """Give a key no new requests; it is disabled when those under way have ended."""
        event = keys.drain(self.key(key_id), at_us=self._clock.now_us(), actor=actor)
        await self._record(key_stream(key_id), event)
        self._upkeep.drain_idle(self._clock.now_us())
        return self.key(key_id)

    async def pin_key(self, key_id: str, *, actor: str, pinned: bool = True) -> Key:
        """Prefer a key to all that are not pinned, or stop that."""
        event = keys.pin(self.key(key_id), at_us=self._clock.now_us(), actor=actor, pinned=pinned)
        await self._record(key_stream(key_id), event)
        return self.key(key_id)

    async def change_key_metadata(self, key_id: str, metadata: Mapping[str, object], *, actor: str) -> Key:
        """Declare anew what is known of a key: its limits, its weight, its models."""
        checked = check_metadata(metadata)
        at_us = self._clock.now_us()
        event = keys.change_metadata(self.key(key_id), at_us=at_us, actor=actor, metadata=checked)
        await self._record(key_stream(key_id), event)
        return self.key(key_id)

    async def enable_key(self, key_id: str, *, actor: str) -> Key:
        """Bring a disabled key back."""
        event = keys.enable(self.key(key_id), at_us=self._clock.now_us(), actor=actor)
        await self._record(key_stream(key_id), event)
        return self.key(key_id)

    async def revoke_key(self, key_id: str, *, actor: str, reason: str = "revoked_by_hand") -> Key:
        """End a key for ever and destroy its material."""
        event = keys.revoke(self.key(key_id), at_us=self._clock.now_us(), actor=actor, reason=reason)
        await self._record(key_stream(key_id), event)
        self._vault.destroy(key_id)
        return self.key(key_id)

    def key(self, key_id: str) -> Key:
        """Return a key, or raise `NotFoundError`."""
        key = self._journal.state.keys.get(key_id)
        if key is None:
            raise NotFoundError(f"no key has the id {str(key_id)[:64]!r}", param="key_id")
        return key

    def destroy_orphans(self) -> None:
        """Destroy material that no living key owns: a crash may come between the vault and the log."""
        keys_by_id = self._journal.state.keys
        for key_id in self._vault.key_ids():
            key = keys_by_id.get(key_id)
            if key is None or key.state is KeyState.Revoked:
                self._vault.destroy(key_id)

    def keys_without_material(self) -> list[str]:
        """Return the keys that cannot serve because the vault has lost their material."""
        return without_material(self._journal.state.keys, self._vault.key_ids())

    async def _describe(self, provider_id: str, description: ProviderDescription, actor: str) -> None:
        known = self._journal.state.providers.get(provider_id)
        offers = {offer.model: offer for offer in description.models}
        if known is not None and (known.kind, known.base_url, known.models.listed) == (
            description.kind,
            description.base_url,
            offers,
        ):
            return
        registered = ProviderRegistered(
            at_us=self._clock.now_us(),
            actor=actor,
            provider_id=provider_id,
            kind=description.kind,
            base_url=description.base_url,
            models=tuple(offers.values()),
        )
        await self._record(CATALOGUE_STREAM, registered)

    def _fingerprint_of_new(self, material: str, *, may_hold: str | None = None) -> str:
        if not isinstance(material, str) or not KEY_MATERIAL.fullmatch(material):
            raise InvalidRequestError(
                "key material must be 1 to 4096 printable ASCII characters without spaces or line ends",
                param="key_material",
            )
        fingerprint = self._vault.fingerprint(material)
        holder = self._journal.state.fingerprints.get(fingerprint)
        if holder not in {None, may_hold}:
            raise ConflictError(f"this material is registered already, as key {holder}", param="key_material")
        return fingerprint

    def _material_or_none(self, key_id: str) -> str | None:
        try:
            return self._vault.unseal(key_id)
        except KeyMaterialMissingError:
            return None

    def _put_back(self, key_id: str, previous: str | None) -> None:
        if previous is None:
            self._vault.destroy(key_id)
        else:
            self._vault.seal(key_id, previous)

    async def _record(self, stream: str, *events: Event) -> None:
        await self._journal.settled(self._journal.record_next(stream, *events))


def without_material(keys_by_id: Mapping[str, Key], sealed: Collection[str]) -> list[str]:
    """Return the ids of the keys that are not revoked and have nothing sealed under them."""
    held = frozenset(sealed)
    return [
        key_id
        for key_id, key in keys_by_id.items()
        if key.state is not KeyState.Revoked and key_id not in held
    ]
