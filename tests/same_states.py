"""Two states compared to the last bit, and as graphs: what is one object in one is one in the other.

Caches are left out, for they are drawn anew, and told by name here on purpose: a new attribute counts.
"""

from collections import deque
from collections.abc import Iterator, Mapping

import msgspec
import numpy as np

from apikeyrouter.adapters.snapshots.frozen_state import FrozenState, thawed
from apikeyrouter.domain.events import canonical_bytes
from apikeyrouter.domain.state import RouterState

CACHES = {
    "RouterState": {"pools"},
    "Offers": {"_found"},
    "Budgets": {"_of_requests"},
    "DemandColumns": {"views"},
    "Expectations": {"_weighed"},
    "PriceBook": {"content", "sha256"},
}
UNORDERED = {"metadata"}
"""Attributes whose order the log does not keep."""

Found = Iterator[str]


def again(state: RouterState) -> RouterState:
    """Send a state through a snapshot's bytes; what comes back must be the same."""
    restored = thawed(FrozenState(state).encoded())
    assert differences(state, restored) == []
    return restored


def differences(one: object, other: object, most: int = 5) -> list[str]:
    """Name the first places at which two states differ."""
    found = _Walk().compare(one, other, "state")
    return [difference for difference, _ in zip(found, range(most), strict=False)]


class _Walk:
    def __init__(self) -> None:
        self._pairs: dict[int, int] = {}
        self._back: dict[int, int] = {}
        self._alive: list[object] = []

    def compare(self, one: object, other: object, at: str) -> Found:
        if isinstance(one, str) and isinstance(other, str):
            if one != other:  # words of an enumeration are texts when they come out of the log
                yield f"{at}: {one!r} and {other!r}"
            return
        if type(one) is not type(other):
            yield f"{at}: {type(one).__name__} and {type(other).__name__}"
            return
        if _is_plain(one):
            if one != other and not (one != one and other != other):  # noqa: PLR0124 - not a number
                yield f"{at}: {one!r} and {other!r}"
            return
        if id(one) in self._pairs or id(other) in self._back:
            if self._pairs.get(id(one)) != id(other) and not _is_frozen(one):
                yield f"{at}: shared in one and not in the other"
                return
            if self._pairs.get(id(one)) == id(other):
                return
        self._pairs[id(one)], self._back[id(other)] = id(other), id(one)
        self._alive += [one, other]
        yield from self._parts(one, other, at)

    def _parts(self, one: object, other: object, at: str) -> Found:  # noqa: C901 - one case a kind
        match one:
            case msgspec.Struct() if type(one).__struct_config__.omit_defaults:
                if canonical_bytes(one) != canonical_bytes(other):
                    yield f"{at}: another {type(one).__name__}"
            case np.ndarray():
                if (one.dtype, one.shape, one.tobytes()) != (other.dtype, other.shape, other.tobytes()):
                    yield f"{at}: other numbers"
            case Mapping():
                yield from self._mapping(one, other, at)
            case set() | frozenset():
                if one != other:
                    yield f"{at}: {one ^ other!r}"
            case list() | tuple() | deque():
                if len(one) != len(other) or getattr(one, "maxlen", 0) != getattr(other, "maxlen", 0):
                    yield f"{at}: {len(one)} and {len(other)} items"
                    return
                for number, pair in enumerate(zip(one, other, strict=True)):
                    yield from self.compare(*pair, f"{at}[{number}]")
            case _:
                yield from self._attributes(one, other, at)

    def _mapping(self, one: Mapping, other: Mapping, at: str) -> Found:
        if at.rpartition(".")[2] in UNORDERED:
            one, other = dict(sorted(one.items())), dict(sorted(other.items()))
        if list(one) != list(other):
            yield f"{at}: keys {list(one)[:9]!r} and {list(other)[:9]!r}"
            return
        for name, value in one.items():
            yield from self.compare(value, other[name], f"{at}[{name!r}]")

    def _attributes(self, one: object, other: object, at: str) -> Found:
        names = _attributes_of(one)
        if names != _attributes_of(other):
            yield f"{at}: attributes {names ^ _attributes_of(other)}"
            return
        for name in sorted(names):
            yield from self.compare(getattr(one, name), getattr(other, name), f"{at}.{name}")


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | bytes)


def _is_frozen(value: object) -> bool:
    """Tell whether nobody can see if two of these are one."""
    if isinstance(value, tuple | frozenset | Mapping):
        return not isinstance(value, dict)
    return isinstance(value, msgspec.Struct) and type(value).__struct_config__.frozen


def _attributes_of(value: object) -> set[str]:
    names = set(getattr(value, "__struct_fields__", ())) | set(getattr(value, "__dict__", ()))
    names |= {name for cls in type(value).__mro__ for name in getattr(cls, "__slots__", ())}
    return {name for name in names if hasattr(value, name)} - CACHES.get(type(value).__name__, set())
