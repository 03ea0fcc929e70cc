"""Management of providers and keys."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, SecretStr

from apikeyrouter.bootstrap import adapter_for
from apikeyrouter.domain.models.api_key import APIKey
from apikeyrouter.domain.models.system_error import ConflictError
from apikeyrouter.interfaces.http.node_access import Actor, NodeDependency
from apikeyrouter.interfaces.key_changes import merged_metadata
from apikeyrouter.interfaces.views import api_key, provider_view

router = APIRouter(tags=["management"])


class NewProvider(BaseModel):
    """A provider to be routed to; prices are US dollars per million tokens."""

    model_config = ConfigDict(extra="forbid")

    provider_id: str
    kind: str = "openai"
    base_url: str | None = None
    models: list[dict[str, Any] | str] = []
    overwrite: bool = False


class NewKey(BaseModel):
    """A key to be sealed."""

    model_config = ConfigDict(extra="forbid")

    key_material: SecretStr
    provider_id: str
    metadata: dict[str, Any] = {}


class NewMaterial(BaseModel):
    """Material that replaces a key's old one."""

    model_config = ConfigDict(extra="forbid")

    key_material: SecretStr


class KeyChange(BaseModel):
    """What is declared anew of a key: entries replace those of the same name, null removes one."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"metadata": {"rpm": 500, "tpm:gpt-4o": 40000}}]}
    )

    metadata: dict[str, Any]


@router.get("/providers")
async def list_providers(node: NodeDependency) -> list[dict[str, Any]]:
    """List the providers and how they do: healthy, down until a time, or recovering by a single request."""
    return [provider_view(node.state, provider) for provider in node.state.providers.values()]


@router.post("/providers", status_code=201)
async def register_provider(new: NewProvider, node: NodeDependency, actor: Actor) -> dict[str, Any]:
    """Register a provider of a built-in kind; one that the log knows is replaced with `overwrite` only."""
    if new.provider_id in node.state.providers and not new.overwrite:
        raise ConflictError(
            f"provider {new.provider_id!r} is registered already; overwrite replaces its address and models",
            param="provider_id",
        )
    adapter = adapter_for(new.kind, new.base_url, new.models, node.settings)
    await node.manage.register_provider(new.provider_id, adapter, actor=actor, overwrite=new.overwrite)
    return provider_view(node.state, node.state.providers[new.provider_id])


@router.get("/keys")
async def list_keys(node: NodeDependency) -> list[APIKey]:
    """List the keys: ids and states, never material."""
    return [api_key(node.state, key) for key in node.state.keys.values()]


@router.post("/keys", status_code=201)
async def register_key(new: NewKey, node: NodeDependency, actor: Actor) -> APIKey:
    """Seal a key and make it a candidate."""
    material = new.key_material.get_secret_value()
    key = await node.manage.register_key(material, new.provider_id, new.metadata, actor=actor)
    return api_key(node.state, key)


@router.get("/keys/{key_id}")
async def get_key(key_id: str, node: NodeDependency) -> APIKey:
    """Return one key."""
    return api_key(node.state, node.manage.key(key_id))


@router.patch("/keys/{key_id}")
async def change_key(key_id: str, change: KeyChange, node: NodeDependency, actor: Actor) -> APIKey:
    """Change what is declared of a key, such as its limits; entries that are not named stay."""
    merged = merged_metadata(node.manage.key(key_id).metadata, change.metadata)
    return api_key(node.state, await node.manage.change_key_metadata(key_id, merged, actor=actor))


@router.post("/keys/{key_id}/rotate")
async def rotate_key(key_id: str, new: NewMaterial, node: NodeDependency, actor: Actor) -> APIKey:
    """Replace a key's material; a rejected key is healed by it."""
    key = await node.manage.rotate_key(key_id, new.key_material.get_secret_value(), actor=actor)
    return api_key(node.state, key)


@router.post("/keys/{key_id}/disable")
async def disable_key(key_id: str, node: NodeDependency, actor: Actor) -> APIKey:
    """Take a key out of service at once; requests under way finish."""
    return api_key(node.state, await node.manage.disable_key(key_id, actor=actor))


@router.post("/keys/{key_id}/drain")
async def drain_key(key_id: str, node: NodeDependency, actor: Actor) -> APIKey:
    """Give a key no new requests; it is disabled when those under way have ended."""
    return api_key(node.state, await node.manage.drain_key(key_id, actor=actor))


@router.post("/keys/{key_id}/pin")
async def pin_key(key_id: str, node: NodeDependency, actor: Actor) -> APIKey:
    """Prefer a key to all that are not pinned, as long as it may be chosen."""
    return api_key(node.state, await node.manage.pin_key(key_id, actor=actor))


@router.post("/keys/{key_id}/unpin")
async def unpin_key(key_id: str, node: NodeDependency, actor: Actor) -> APIKey:
    """Prefer a key no longer."""
    return api_key(node.state, await node.manage.pin_key(key_id, actor=actor, pinned=False))


@router.post("/keys/{key_id}/enable")
async def enable_key(key_id: str, node: NodeDependency, actor: Actor) -> APIKey:
    """Bring a disabled or draining key back to what it was."""
    return api_key(node.state, await node.manage.enable_key(key_id, actor=actor))


@router.post("/keys/{key_id}/revoke")
async def revoke_key(key_id: str, node: NodeDependency, actor: Actor) -> APIKey:
    """End a key for ever and destroy its material."""
    return api_key(node.state, await node.manage.revoke_key(key_id, actor=actor))
