"""Models as administrators declare them: names, prices in US dollars, abilities."""

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from apikeyrouter.domain.events import ModelOffer
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.pricing import NANO_PER_USD

_FIELDS = {
    "model",
    "input_usd_per_mtok",
    "output_usd_per_mtok",
    "quality",
    "capabilities",
    "max_output_tokens",
}


def parse_offers(models: Iterable[str | ModelOffer | Mapping[str, Any]]) -> tuple[ModelOffer, ...]:
    """Read declared models, or raise `InvalidRequestError` naming the field at fault."""
    offers = tuple(_offer(declared) for declared in models)
    if len({offer.model for offer in offers}) != len(offers):
        raise InvalidRequestError("a model is declared twice", param="models")
    return offers


def _offer(declared: str | ModelOffer | Mapping[str, Any]) -> ModelOffer:
    match declared:
        case ModelOffer():
            return declared
        case str():
            return ModelOffer(model=_name(declared))
        case Mapping():
            return _from_fields(declared)
    raise InvalidRequestError("a model is a name or a mapping with the field 'model'", param="models")


def _from_fields(fields: Mapping[str, Any]) -> ModelOffer:
    unknown = sorted(str(name) for name in fields if name not in _FIELDS)
    if unknown:
        raise InvalidRequestError(
            f"unknown field {unknown[0]!r} of a model; known: {', '.join(sorted(_FIELDS))}", param="models"
        )
    capabilities = fields.get("capabilities")
    return ModelOffer(
        model=_name(fields.get("model")),
        input_nano_usd_per_mtok=_price(fields, "input_usd_per_mtok"),
        output_nano_usd_per_mtok=_price(fields, "output_usd_per_mtok"),
        quality=_quality(fields.get("quality", 0.5)),
        capabilities=None if capabilities is None else tuple(sorted(str(name) for name in capabilities)),
        max_output_tokens=fields.get("max_output_tokens"),
    )


def _name(given: object) -> str:
    if not isinstance(given, str) or not given or not given.isprintable() or len(given) > 256:
        raise InvalidRequestError("a model's name is 1 to 256 printable characters", param="models")
    return given


def _price(fields: Mapping[str, Any], name: str) -> int | None:
    given = fields.get(name)
    if given is None:
        return None
    try:
        usd = Decimal(str(given))
    except InvalidOperation:
        usd = Decimal("NaN")
    if not usd.is_finite() or usd < 0 or usd > 1_000_000:
        raise InvalidRequestError(f"{name} must be an amount of US dollars of at least 0", param=name)
    return int(usd * NANO_PER_USD)


def _quality(given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= 1:
        raise InvalidRequestError("quality must be a number from 0 to 1", param="quality")
    return float(given)
