"""The closed table: all that a state can hold is in it, and nothing else ever comes out of a snapshot."""

import ast
import gc
import importlib
import inspect
import os
import pickle
import pkgutil
import textwrap
import typing
from collections.abc import Iterator
from enum import StrEnum

import msgspec
import pytest

from apikeyrouter import domain
from apikeyrouter.adapters.snapshots import frozen_state
from apikeyrouter.adapters.snapshots.closed_table import CLASSES, WORDS
from apikeyrouter.adapters.snapshots.entry_queues import CopiedQueues
from apikeyrouter.adapters.snapshots.frozen_state import FrozenState, StoredState, UnusableStateError, thawed
from apikeyrouter.domain.account_columns import Entry
from apikeyrouter.domain.demand import Course, OpenSlot
from apikeyrouter.domain.exceedance import Prospect
from apikeyrouter.domain.offered import OfferedModel
from apikeyrouter.domain.price_book import PriceBook
from apikeyrouter.domain.recalibration import Lessons
from apikeyrouter.domain.state import RouterState

BY_OTHER_MEANS = {Entry, PriceBook, Course, Lessons, OpenSlot, Prospect, OfferedModel}
"""What is written otherwise than by its name, or is a cache."""


def _modules():
    for found in pkgutil.walk_packages(domain.__path__, f"{domain.__name__}."):
        yield importlib.import_module(found.name)


def _named_in(annotation: object, names: dict[str, object]) -> Iterator[type]:
    """Yield the classes that an annotation speaks of."""
    if isinstance(annotation, str):
        annotation = eval(annotation, dict(names))  # noqa: S307 - our own source
    if isinstance(annotation, type) and not typing.get_args(annotation):
        yield annotation
    for part in typing.get_args(annotation):
        if not isinstance(part, str):
            yield from _named_in(part, names)


def _parts_of(cls: type) -> Iterator[type]:
    """Yield the classes that the attributes of a class may be of, by its fields or by its constructor."""
    names = vars(inspect.getmodule(cls))
    if issubclass(cls, msgspec.Struct):
        for hint in typing.get_type_hints(cls).values():
            yield from _named_in(hint, names)
        return
    for owner in cls.__mro__[:-1]:
        if "__init__" in vars(owner) and owner.__module__.startswith(domain.__name__):
            yield from _set_in(owner)


def _set_in(owner: type) -> Iterator[type]:
    names = vars(inspect.getmodule(owner))
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(owner.__init__)))):
        if isinstance(node, ast.AnnAssign | ast.arg) and node.annotation is not None:
            yield from _named_in(ast.unparse(node.annotation), names)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            made = names.get(node.func.id)
            if isinstance(made, type):
                yield made


def _omits_defaults(cls: type) -> bool:
    return issubclass(cls, msgspec.Struct) and cls.__struct_config__.omit_defaults


def _reachable() -> set[type]:
    found, left = set(), [RouterState]
    while left:
        cls = left.pop()
        if cls.__module__.startswith(domain.__name__) and cls not in found:
            found.add(cls)
            if cls not in BY_OTHER_MEANS and not _omits_defaults(cls):  # those bring their parts along
                left += _parts_of(cls)
    return found


def test_every_class_that_a_state_can_hold_is_in_the_table():
    """Whoever adds to the state adds to the table: else no snapshot of it could be used."""
    missing = _reachable() - set(CLASSES) - set(WORDS) - BY_OTHER_MEANS
    assert not missing, f"add to adapters/snapshots/closed_table.py: {sorted(map(str, missing))}"
    assert len(_reachable()) > 30


def test_every_word_of_the_domain_is_in_the_table():
    """Words stand where the log has texts, so whichever there are may occur."""
    words = {
        value
        for module in _modules()
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, StrEnum) and value is not StrEnum
    }
    assert words == set(WORDS)


class Command:
    """What somebody would like to be executed while it is read."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "argument"), [(os.system, "true"), (eval, "1"), (__import__, "os"), (getattr, "x")]
)
def test_what_is_not_in_the_table_is_not_called(function, argument):
    """Even behind a right seal nothing but classes of states can be named."""
    skeleton = pickle.dumps(Command(function, argument))
    stored = StoredState(skeleton, CopiedQueues().encoded())
    with pytest.raises(UnusableStateError, match="it names"):
        thawed(msgspec.msgpack.encode(stored))


@pytest.mark.parametrize("content", [b"", b"\xc1", msgspec.msgpack.encode([b"", []])])
def test_bytes_of_another_shape_are_refused(content):
    """Whatever it is, one error says that it is no state."""
    with pytest.raises(UnusableStateError):
        thawed(content)


def test_arrays_of_other_kinds_than_the_states_are_refused():
    """Objects in an array would be pickled in their turn."""
    with pytest.raises(UnusableStateError, match="an array of"):
        frozen_state._array("|O", (1,), bytes(8))


def test_the_collector_is_as_it_was_after_freezing():
    """It is put off in the pause only, and stays off where the host has put it off."""
    FrozenState(RouterState())
    assert gc.isenabled()
    gc.disable()
    try:
        FrozenState(RouterState())
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_something_else_than_a_state_is_refused():
    """A list is a list, also when it comes out well."""
    stored = StoredState(pickle.dumps([1]), CopiedQueues().encoded())
    with pytest.raises(UnusableStateError, match="something else"):
        thawed(msgspec.msgpack.encode(stored))
