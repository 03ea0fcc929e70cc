"""Arrivals of requests, and reading them from a trace in CSV."""

import csv
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TextIO

from apikeyrouter.domain.windows import epoch_us
from apikeyrouter.errors import InvalidRequestError

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
LONGEST_LINE = 10_000
MOST_TOKENS = 1_000_000_000
TIMESTAMP = re.compile(
    r"(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})?", re.ASCII
)


class Arrival(NamedTuple):
    """One request: when it came, and how many tokens went in and out."""

    at_us: int
    input_tokens: int
    output_tokens: int


def read_trace(path: Path | str) -> Iterator[Arrival]:
    """Yield the arrivals of a CSV file with TIMESTAMP, ContextTokens, GeneratedTokens, in its order.

    Times without an offset are UTC; what is finer than a microsecond is cut off. Other columns are left
    aside. What cannot be read raises `InvalidRequestError` with the line's number.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            yield from _arrivals(file, str(path))
    except OSError as error:
        raise InvalidRequestError(f"cannot read the trace {path}: {error.strerror}") from None


def _arrivals(file: TextIO, path: str) -> Iterator[Arrival]:
    rows = csv.reader(_bounded_lines(file))
    try:
        places = _places(next(rows, []))
        for row in rows:
            if row:
                yield _arrival(row, places)
    except UnicodeDecodeError:
        # The text is decoded in blocks, so the line is only known not to lie before.
        raise InvalidRequestError(f"{path}, after line {rows.line_num}: not UTF-8 text") from None
    except (ValueError, csv.Error) as error:
        raise InvalidRequestError(f"{path}, line {max(rows.line_num, 1)}: {error}") from None


def _bounded_lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise ValueError(f"the line is longer than {LONGEST_LINE} characters")
        yield line


def _places(header: list[str]) -> tuple[int, int, int]:
    """Find the three columns by their names."""
    names = [name.strip() for name in header]
    missing = [column for column in COLUMNS if column not in names]
    if missing:
        raise ValueError(f"the header lacks {', '.join(missing)}")
    at, context, generated = (names.index(column) for column in COLUMNS)
    return at, context, generated


def _arrival(row: list[str], places: tuple[int, int, int]) -> Arrival:
    if len(row) <= max(places):
        raise ValueError(f"{len(row)} fields are too few")
    at, context, generated = (row[place].strip() for place in places)
    return Arrival(
        _microseconds(at), _tokens("ContextTokens", context), _tokens("GeneratedTokens", generated)
    )


def _microseconds(text: str) -> int:
    """Read a time; of its fraction up to nine digits are read and six kept."""
    found = TIMESTAMP.fullmatch(text)
    if found is None:
        raise ValueError(f"TIMESTAMP {text[:40]!r} is not like 2023-11-16 18:15:46.6805900")
    date, time, fraction, offset = found.groups()
    try:
        at = datetime.fromisoformat(f"{date}T{time}{offset or '+00:00'}")
        whole_us = epoch_us(at)
    except (ValueError, OverflowError):
        raise ValueError(f"TIMESTAMP {text[:40]!r} is not a time that exists") from None
    return whole_us + int((fraction or "")[:6].ljust(6, "0"))


def _tokens(column: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= MOST_TOKENS):
        raise ValueError(f"{column} {text[:40]!r} is not a number of tokens")
    return int(text)
