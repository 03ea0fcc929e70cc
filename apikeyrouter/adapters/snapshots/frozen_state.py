"""A state as bytes and back: by `pickle`, which keeps what is one object one, with a closed table of names.

What comes back is believed only where its seal was checked before (see `snapshot_file`); the closed table is
the second lock. Caches stay out: they are drawn anew. What is large is encoded by other means, because the
state stands still meanwhile: numbers in arrays, entries of windows, prices.
"""

import contextlib
import copyreg
import gc
import io
import pickle
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from apikeyrouter.adapters.snapshots.closed_table import CLASSES, WORDS
from apikeyrouter.adapters.snapshots.entry_queues import CopiedQueues, RestoredQueues, StoredQueues
from apikeyrouter.domain.account_columns import Entry
from apikeyrouter.domain.budgets import Budgets
from apikeyrouter.domain.demand import STALE, Course, DemandColumns
from apikeyrouter.domain.expectations import Expectations
from apikeyrouter.domain.offered import Offers
from apikeyrouter.domain.price_book import PriceBook, Section
from apikeyrouter.domain.state import RouterState

PROTOCOL: Final = 5
DTYPES: Final = frozenset({"<f8", "<i8", "|i1", "|b1"})
Reduced = tuple[Any, ...]


class UnusableStateError(ValueError):
    """The bytes are no state that this program could have written."""


class StoredState(msgspec.Struct, frozen=True, array_like=True):
    """What `pickle` wrote, and what stands beside it."""

    skeleton: bytes
    queues: StoredQueues


class FrozenState:
    """A state as it stood when this was made. `encoded` may be called later, in another thread."""

    def __init__(self, state: RouterState) -> None:
        self._queues = CopiedQueues()
        written = io.BytesIO()
        pickler = pickle.Pickler(written, protocol=PROTOCOL)
        pickler.dispatch_table = {**_REDUCE, deque: self._deque, Entry: self._entry}
        with _no_collection():
            pickler.dump(state)
        self._skeleton = written.getvalue()

    def encoded(self) -> bytes:
        """Return the bytes that `thawed` takes."""
        return msgspec.msgpack.encode(StoredState(self._skeleton, self._queues.encoded()))

    def _deque(self, queue: deque[Any]) -> Reduced:
        if queue and type(queue[0]) is Entry:
            return _queue, (self._queues.add(queue),)
        return deque, ((), queue.maxlen), None, iter(queue)

    def _entry(self, entry: Entry) -> Reduced:
        return _held, (self._queues.hold(entry),)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Put the collector off: it would walk through the whole state in the pause, for nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def thawed(content: bytes) -> RouterState:
    """Return the state, or raise `UnusableStateError`; only for bytes whose seal was checked before."""
    try:
        stored = msgspec.msgpack.decode(content, type=StoredState)
        state = _Unpickler(stored).load()
    except Exception as error:
        raise UnusableStateError(f"{type(error).__name__}: {error}") from error
    if type(state) is not RouterState:
        raise UnusableStateError("it holds something else")
    return state


class _Unpickler(pickle.Unpickler):
    """Finds what stands in the closed table, and nothing else."""

    def __init__(self, stored: StoredState) -> None:
        super().__init__(io.BytesIO(stored.skeleton))
        queues = RestoredQueues(stored.queues)
        self._known = {**_KNOWN, _name(_queue): queues.queue, _name(_held): queues.held}

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name stands for; nothing is ever imported."""
        found = self._known.get((module, name))
        if found is None:
            raise UnusableStateError(f"it names {module}.{name}"[:200])
        return found


# --- what stands for the objects that are not written as they are ------------------------------------


def _queue(number: int) -> deque[Entry]:
    raise NotImplementedError(number)  # each state has its own


def _held(number: int) -> Entry:
    raise NotImplementedError(number)  # each state has its own


def _struct(cls: type[msgspec.Struct], values: tuple[Any, ...]) -> msgspec.Struct:
    return cls(**dict(zip(cls.__struct_fields__, values, strict=True)))


def _array(dtype: str, shape: tuple[int, ...], content: bytes) -> NDArray[Any]:
    if dtype not in DTYPES:
        raise UnusableStateError(f"an array of {dtype}"[:200])
    return np.frombuffer(content, dtype=dtype).reshape(shape).copy()


def _book(source: str, source_version: str, content: bytes) -> PriceBook:
    return PriceBook(source, source_version, msgspec.json.decode(content, type=tuple[Section, ...]))


def _courses(content: bytes) -> list[Course]:
    return msgspec.msgpack.decode(content, type=list[Course])


def _event(cls: type[msgspec.Struct], content: bytes) -> msgspec.Struct:
    return msgspec.msgpack.decode(content, type=cls)


def _models(content: bytes) -> dict[tuple[str, bool], list[float]]:
    return dict(msgspec.msgpack.decode(content, type=list[tuple[tuple[str, bool], list[float]]]))


def _clients(content: bytes) -> dict[tuple[str, bool, str], list[float]]:
    return dict(msgspec.msgpack.decode(content, type=list[tuple[tuple[str, bool, str], list[float]]]))


class _Packed:
    """Pickled as a call: a value that another encoder writes faster."""

    def __init__(self, unpack: Callable[[bytes], Any], value: Any) -> None:
        self._call = unpack, (msgspec.msgpack.encode(value),)

    def __reduce__(self) -> Reduced:
        return self._call


def _with(instance: object, **others: Any) -> Reduced:
    """Write an object with other values for some of its attributes."""
    return copyreg.__newobj__, (type(instance),), {**vars(instance), **others}  # type: ignore[attr-defined]


def _demand(columns: DemandColumns) -> Reduced:
    views = np.zeros_like(columns.views)
    views[0] = columns.views[0]
    views[1, : columns.rows] = STALE
    return _with(columns, views=views, courses=_Packed(_courses, columns.courses))


def _expectations(learned: Expectations) -> Reduced:
    facts = vars(learned)
    models, clients = list(facts["_models"].items()), list(facts["_clients"].items())
    return _with(learned, _models=_Packed(_models, models), _clients=_Packed(_clients, clients))


def _by_its_encoder(struct: msgspec.Struct) -> Reduced:
    return _event, (type(struct), msgspec.msgpack.encode(struct))


def _by_its_fields(struct: msgspec.Struct) -> Reduced:
    return _struct, (type(struct), msgspec.structs.astuple(struct))


def _of_structs() -> dict[type, Callable[[Any], Reduced]]:
    """Say how each struct is written.

    What omits its defaults omits the very default objects: "UTC" and another "UTC" make other bytes of an
    event. The encoder that omits them brings them back as well.
    """
    structs = [cls for cls in CLASSES if issubclass(cls, msgspec.Struct)]
    omits = {cls: cls.__struct_config__.omit_defaults for cls in structs}
    return {cls: _by_its_encoder if omits[cls] else _by_its_fields for cls in structs}


_REDUCE: dict[type, Callable[[Any], Reduced]] = {
    RouterState: lambda state: _with(state, pools={}),
    Budgets: lambda budgets: _with(budgets, _of_requests={}),
    Offers: lambda offers: _with(offers, _found={}),
    DemandColumns: _demand,
    Expectations: _expectations,
    np.ndarray: lambda array: (_array, (array.dtype.str, array.shape, array.tobytes())),
    PriceBook: lambda book: (_book, (book.source, book.source_version, book.content)),
    **_of_structs(),
}
_FUNCTIONS = (_array, _book, _courses, _event, _models, _clients, _struct)


def _name(known: type | Callable[..., Any]) -> tuple[str, str]:
    return known.__module__, known.__qualname__


_KNOWN: dict[tuple[str, str], Any] = {
    **{_name(each): each for each in (*CLASSES, *WORDS, deque)},
    **{_name(each): each for each in _FUNCTIONS},
}
