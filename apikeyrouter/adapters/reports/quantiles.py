"""Exact quantiles of many groups at once: one sort of whole numbers."""

from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]

_VALUE_BITS = 42
_MOST = (1 << _VALUE_BITS) - 1
"""Durations up to fifty days fit; a longer one counts as that."""


def quantiles(
    groups: Numbers, values: Numbers, shares: Sequence[float]
) -> tuple[list[dict[int, int]], list[int | None]]:
    """Return, for each share, the quantile of each group by nearest rank, and that of all rows.

    A row is the number of its group, below two million, and a value; groups without a row are left out.
    """
    if not len(values):
        return [{} for _ in shares], [None for _ in shares]
    values = np.clip(values, 0, _MOST)
    ordered = np.sort((groups << _VALUE_BITS) | values)
    present, first = np.unique(ordered >> _VALUE_BITS, return_index=True)
    sizes = np.diff(np.append(first, len(ordered)))
    by_group = [_at(share, ordered, present, first, sizes) for share in shares]
    alone = np.sort(values)
    return by_group, [int(alone[_rank(share, len(alone))]) for share in shares]


def _at(
    share: float, ordered: Numbers, present: Numbers, first: NDArray[np.intp], sizes: NDArray[np.intp]
) -> dict[int, int]:
    ranks = np.maximum(np.ceil(share * sizes).astype(np.int64), 1) - 1
    return dict(zip(present.tolist(), (ordered[first + ranks] & _MOST).tolist(), strict=True))


def _rank(share: float, size: int) -> int:
    return max(ceil(share * size), 1) - 1
