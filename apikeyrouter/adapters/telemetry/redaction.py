"""Keep secrets out of text: what is known exactly, in any usual escaping, and what looks like a key."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from apikeyrouter.limits import (
    MOST_LOGGED_CHARS,
    MOST_LOGGED_DEPTH,
    MOST_LOGGED_ITEMS,
    MOST_REMEMBERED_MATERIALS,
)

MASK = "[redacted]"
_WINDOW = 8  # a run of fewer characters gives nothing away, and occurs by chance
_STRIDE = 4


def _after(*words: str) -> str:
    """Match nothing, after one of these words; a whole look-behind each, as they differ in length."""
    return "(?:" + "|".join(rf"(?<={word})" for word in words) + ")"


_DASHED = ("sk", "rk", "pk", "csk", "xai", "pplx", "nvapi", "glpat")
_UNDERSCORED = ("gsk", "ghp", "gho", "ghs", "github_pat")
_NAMED = ("api_key", "api-key", "apikey", "authorization", "secret", "password", "passwd", "token")
# Each begins with a literal or a small set of characters, which `re` finds ten times faster than words.
_SHAPES = (
    re.compile("-" + _after(*(rf"\b{prefix}-" for prefix in _DASHED)) + r"[\w-]{8,}"),
    re.compile("_" + _after(*(rf"\b{prefix}_" for prefix in _UNDERSCORED)) + r"\w{8,}"),
    re.compile(r"_(?<=\bhf_)[A-Za-z0-9]{16,}"),
    re.compile(r"(?:AIza|AKIA|ASIA|ya29\.|eyJ)[\w.-]{8,}"),
    re.compile(r"://[^/\s:@]*:[^/\s@]+(?=@)"),
    re.compile(r"\s(?<=\bbearer\s)\s*[\w.~+/=-]{8,}", re.IGNORECASE),
    re.compile(
        "[:=]"
        + _after(*(f"{name}{between}[:=]" for name in _NAMED for between in ("", "[\"' ]")))
        + r"""\s*["']?(?:(?:bearer|basic)\s+)?[^\s"',;&)}\]]{6,}""",
        re.IGNORECASE,
    ),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
)
_SHORTEST_SHAPE = 11

_SECRET_FIELDS = frozenset(
    {
        "authorization",
        "cookie",
        "credentials",
        "encryption_key",
        "key_material",
        "master_key",
        "material",
        "password",
        "private_key",
        "proxy_authorization",
        "secret",
        "set_cookie",
        "token",
    }
)
_SECRET_ENDINGS = ("api_key", "apikey", "_secret", "_password", "_token")


class _Place(NamedTuple):
    """A window of a remembered text: where it begins."""

    text: str
    offset: int


class Redactor:
    """Masks remembered materials and everything shaped like a key.

    Each remembered text is indexed by windows of eight characters, every fourth one, so the price of a log
    line does not grow with the number of keys, and any run of eleven characters of a key is found as well.
    """

    def __init__(self) -> None:
        self._materials: dict[str, None] = {}
        self._windows: dict[str, _Place] = {}

    def __repr__(self) -> str:
        return f"Redactor({len(self._materials)} materials)"

    def remember(self, material: str) -> None:
        """Mask this from now on; what is shorter than eight characters occurs by chance and is not."""
        if len(material) < _WINDOW or material in self._materials:
            return
        if len(self._materials) >= MOST_REMEMBERED_MATERIALS:
            self._drop_older_half()
        self._materials[material] = None
        self._index(material)

    def redact(self, text: str) -> str:
        """Return the text with every secret masked."""
        if len(text) >= _WINDOW and self._windows:
            text = self._mask_remembered(text)
        if len(text) >= _SHORTEST_SHAPE:
            for shape in _SHAPES:
                text = shape.sub(MASK, text)
        return text

    def clean(self, value: object, depth: int = 0) -> object:
        """Return a value as plain, bounded data without secrets, fit for any renderer."""
        match value:
            case str():
                return self._clean_text(value)
            case None | bool() | float():
                return value
            case int():
                return value if -(2**63) <= value < 2**63 else self._clean_text(hex(value))
            case Mapping() | list() | tuple() | set() | frozenset():
                return self._clean_nested(value, depth + 1)
            case _:
                return self._clean_text(_described(value))

    def clean_fields(self, fields: Mapping[Any, object], depth: int = 0) -> dict[str, object]:
        """Clean a mapping; a field named like a secret is masked whatever it holds."""
        cleaned: dict[str, object] = {}
        for name, value in list(fields.items())[:MOST_LOGGED_ITEMS]:
            text = self._clean_text(str(name))
            cleaned[text] = MASK if _names_a_secret(text) and value is not None else self.clean(value, depth)
        return cleaned

    def _clean_nested(self, value: Collection[Any], depth: int) -> object:
        if depth > MOST_LOGGED_DEPTH:
            return f"<{type(value).__name__}>"
        if isinstance(value, Mapping):
            return self.clean_fields(value, depth)
        return [self.clean(item, depth) for item in list(value)[:MOST_LOGGED_ITEMS]]

    def _clean_text(self, text: str) -> str:
        if not text.isascii():  # lone surrogates would stop the renderer
            text = text.encode(errors="backslashreplace").decode()
        # Cut twice: a secret that the first cut halves is masked or lies beyond the second.
        return self.redact(text[: 2 * MOST_LOGGED_CHARS])[:MOST_LOGGED_CHARS]

    def _mask_remembered(self, text: str) -> str:
        pieces, shown_to = [], 0
        for start, end in self._runs(text):
            pieces += [text[shown_to:start], MASK]
            shown_to = end
        return "".join([*pieces, text[shown_to:]]) if pieces else text

    def _runs(self, text: str) -> list[tuple[int, int]]:
        """Find where remembered texts stand; keys with a common part may overlap, so runs are merged."""
        runs: list[tuple[int, int]] = []
        position, last, windows = 0, len(text) - _WINDOW, self._windows
        while position <= last:
            place = windows.get(text[position : position + _WINDOW])
            if place is None:
                position += 1
                continue
            start, end = _whole_run(text, position, place)
            position = end - _WINDOW + 1
            if runs and start <= runs[-1][1]:
                before = runs.pop()
                start, end = before[0], max(before[1], end)
            runs.append((start, end))
        return runs

    def _index(self, material: str) -> None:
        for form in _forms(material):
            for offset in (*range(0, len(form) - _WINDOW, _STRIDE), len(form) - _WINDOW):
                self._windows.setdefault(form[offset : offset + _WINDOW], _Place(form, offset))

    def _drop_older_half(self) -> None:
        kept = list(self._materials)[MOST_REMEMBERED_MATERIALS // 2 :]
        self._materials, self._windows = dict.fromkeys(kept), {}
        for material in kept:
            self._index(material)


def _whole_run(text: str, position: int, place: _Place) -> tuple[int, int]:
    """Grow a hit in both directions as far as text and secret agree."""
    secret, offset = place
    start, end, after = position, position + _WINDOW, offset + _WINDOW
    while start > 0 and offset > 0 and text[start - 1] == secret[offset - 1]:
        start, offset = start - 1, offset - 1
    while end < len(text) and after < len(secret) and text[end] == secret[after]:
        end, after = end + 1, after + 1
    return start, end


def _forms(material: str) -> Iterator[str]:
    """Yield the material as it stands in plain text, in JSON, in Python's reprs and in URLs."""
    whole = material.encode(errors="surrogatepass")
    forms = (
        material,
        json.dumps(material)[1:-1],
        json.dumps(material, ensure_ascii=False)[1:-1],
        repr(material)[1:-1],
        ascii(material)[1:-1],
        repr(whole)[2:-1],
        quote(whole, safe=""),
    )
    yield from dict.fromkeys(form for form in forms if len(form) >= _WINDOW)


def _names_a_secret(name: str) -> bool:
    plain = name.lower().replace("-", "_")
    return plain in _SECRET_FIELDS or plain.endswith(_SECRET_ENDINGS)


def _described(value: object) -> str:
    try:
        return f"{type(value).__name__}: {value}" if isinstance(value, BaseException) else repr(value)
    except Exception:  # noqa: BLE001 - a broken repr must not break the line that reports it
        return f"<{type(value).__name__}>"
