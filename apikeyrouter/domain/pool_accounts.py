"""The accounts that the members of a pool draw on, laid out flat: one pass over arrays reads them all."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from apikeyrouter.domain.columns import Rows


class Accounting(NamedTuple):
    """The accounts that a pool's members draw on, flat: member after member, each with its accounts.

    `rows` point into the accounts, `members` into the pool, `dimensions` into `Amounts`. `limited` are the
    members that have any, `starts` where the accounts of each of them begin, `places` where they stand.
    """

    rows: Rows
    members: Rows
    dimensions: Rows
    limited: Rows
    starts: Rows
    places: dict[int, slice]


class Purses(NamedTuple):
    """The hard budgets that only some members draw on, flat: member after member, each with its budgets.

    `limited` are the members that have any, `starts` where the budgets of each of them begin in `rows`;
    `members` is how many there are in all.
    """

    rows: Rows
    limited: Rows
    starts: Rows
    members: int


def accounting_of(drawn: Sequence[Sequence[int]], dimensions: Sequence[int]) -> Accounting | None:
    """Lay out the quota accounts of each member; None where nobody has any."""
    flat = _flat(drawn)
    if flat is None:
        return None
    rows, limited, starts = flat
    sizes = [len(drawn[index]) for index in limited]
    return Accounting(
        rows=rows,
        members=np.repeat(np.array(limited, dtype=np.intp), sizes),
        dimensions=np.array([dimensions[row] for row in rows.tolist()], dtype=np.intp),
        limited=np.array(limited, dtype=np.intp),
        starts=starts,
        places={
            index: slice(start, start + size)
            for index, start, size in zip(limited, starts.tolist(), sizes, strict=True)
        },
    )


def purses_of(
    drawn: Sequence[Sequence[int]], common: Collection[int], is_hard: Sequence[bool]
) -> Purses | None:
    """Lay out the hard budgets of each member apart from those that all draw on."""
    flat = _flat([[row for row in rows if row not in common and is_hard[row]] for rows in drawn])
    if flat is None:
        return None
    rows, limited, starts = flat
    return Purses(rows, np.array(limited, dtype=np.intp), starts, len(drawn))


def _flat(drawn: Sequence[Sequence[int]]) -> tuple[Rows, list[int], Rows] | None:
    limited = [index for index, rows in enumerate(drawn) if rows]
    if not limited:
        return None
    sizes = [len(drawn[index]) for index in limited]
    rows = np.array([row for rows in drawn for row in rows], dtype=np.intp)
    return rows, limited, np.cumsum([0, *sizes[:-1]], dtype=np.intp)
