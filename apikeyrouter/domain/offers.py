"""Models and prices as administrators declare them: names, US dollars, abilities."""

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from apikeyrouter.domain.events import ModelOffer, Prices
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.pricing import TOKENS_PER_PRICE, nano_usd

_FIELDS = {
    "model",
    "input_usd_per_mtok",
    "output_usd_per_mtok",
    "quality",
    "capabilities",
    "max_output_tokens",
}
_PER_MTOK = tuple(name for name in Prices.__struct_fields__ if name != "request")
_PRICE_FIELDS = (*(f"{name}_usd_per_mtok" for name in _PER_MTOK), "request_usd")


def parse_offers(models: Iterable[str | ModelOffer | Mapping[str, Any]]) -> tuple[ModelOffer, ...]:
    """Read declared models, or raise `InvalidRequestError` naming the field at fault."""
    offers = tuple(_offer(declared) for declared in models)
    if len({offer.model for offer in offers}) != len(offers):
        raise InvalidRequestError("a model is declared twice", param="models")
    return offers


def parse_prices(fields: Mapping[str, Any]) -> Prices:
    """Read declared prices, or raise `InvalidRequestError` naming the field at fault."""
    unknown = sorted(str(name) for name in fields if name not in _PRICE_FIELDS)
    if unknown:
        known = ", ".join(_PRICE_FIELDS)
        raise InvalidRequestError(
            f"unknown field {unknown[0][:64]!r} of a price; known: {known}", param="prices"
        )
    told = {name: _price(fields, f"{name}_usd_per_mtok") for name in _PER_MTOK}
    a_request = _price(fields, "request_usd")
    return Prices(**told, request=None if a_request is None else a_request * TOKENS_PER_PRICE)


def _offer(declared: str | ModelOffer | Mapping[str, Any]) -> ModelOffer:
    match declared:
        case ModelOffer():
            return declared
        case str():
            return ModelOffer(model=checked_name(declared))
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
        model=checked_name(fields.get("model")),
        input_nano_usd_per_mtok=_price(fields, "input_usd_per_mtok"),
        output_nano_usd_per_mtok=_price(fields, "output_usd_per_mtok"),
        quality=_quality(fields.get("quality", 0.5)),
        capabilities=None if capabilities is None else tuple(sorted(str(name) for name in capabilities)),
        max_output_tokens=fields.get("max_output_tokens"),
    )


def checked_name(given: object) -> str:
    """Return a model's name, or raise `InvalidRequestError`."""
    if not isinstance(given, str) or not given or not given.isprintable() or len(given) > 256:
        raise InvalidRequestError("a model's name is 1 to 256 printable characters", param="models")
    return given


def _price(fields: Mapping[str, Any], name: str) -> int | None:
    """Read an amount of US dollars as nano-USD, rounded up: what has a price is never free."""
    given = fields.get(name)
    if given is None:
        return None
    try:
        usd = Decimal(str(given))
    except InvalidOperation:
        usd = Decimal("NaN")
    if not usd.is_finite() or usd < 0 or usd > 1_000_000:
        raise InvalidRequestError(f"{name} must be an amount of US dollars of at least 0", param=name)
    return nano_usd(usd)


def _quality(given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= 1:
        raise InvalidRequestError("quality must be a number from 0 to 1", param="quality")
    return float(given)
