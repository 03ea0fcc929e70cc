"""Keep a key out of what comes back: an upstream may echo what it was sent."""

import msgspec

_SHORTEST_SECRET = 12
"""Placeholders of keyless local servers ("EMPTY", "ollama") are words that answers may well contain."""


class Mask:
    """Hides one key. The mask is as long as the key, so nothing around it moves."""

    __slots__ = ("_forms", "_material")

    def __init__(self, material: str) -> None:
        self._material = material if len(material) >= _SHORTEST_SECRET else ""
        self._forms = _forms_in_json(self._material)

    def __repr__(self) -> str:
        """Tell nothing."""
        return "Mask()"

    def hide(self, body: bytes) -> bytes:
        """Return the bytes with every occurrence of the key masked."""
        for form, stars in self._forms:
            body = body.replace(form, stars)
        return body

    def occurs_in(self, text: str) -> bool:
        """Tell whether a decoded text holds the key."""
        return bool(self._material) and self._material in text


def _forms_in_json(material: str) -> tuple[tuple[bytes, bytes], ...]:
    """Return the key as it may stand in JSON text, plain or escaped, and each time what to put there."""
    if not material:
        return ()
    escaped = msgspec.json.encode(material)[1:-1]
    forms = {material.encode(), escaped, escaped.replace(b"/", b"\\/")}
    return tuple((form, b"*" * len(form)) for form in forms)
