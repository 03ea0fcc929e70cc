"""Answers as files: JSON, JSON lines, CSV that no spreadsheet takes for formulas, and Parquet."""

import csv
import io
import json
from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from typing import Any

from apikeyrouter.application.reporting.questions import ReportAnswer, Unit
from apikeyrouter.domain.models.system_error import ConfigurationError
from apikeyrouter.interfaces import report_views as views

FORMULA_SIGNS = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""What a cell must not begin with, or spreadsheets run it; the last four are the full-width forms."""


class Format(StrEnum):
    """How an answer is written."""

    Json = "json"
    JsonLines = "jsonl"
    Csv = "csv"
    Parquet = "parquet"


MEDIA_TYPES = {
    Format.Json: "application/json",
    Format.JsonLines: "application/x-ndjson",
    Format.Csv: "text/csv; charset=utf-8",
    Format.Parquet: "application/vnd.apache.parquet",
}


def written(answer: ReportAnswer, form: Format) -> bytes:
    """Return an answer in a format."""
    return _WRITERS[form](answer)


def safe_cell(value: Any) -> Any:
    """Return a cell that spreadsheets take for text: a quote before what they would take for a formula."""
    if isinstance(value, str) and value.lstrip(" ")[:1] in FORMULA_SIGNS and value.lstrip(" "):
        return f"'{value}"
    return value


def _json(answer: ReportAnswer) -> bytes:
    return json.dumps(views.document(answer), ensure_ascii=False).encode() + b"\n"


def _json_lines(answer: ReportAnswer) -> bytes:
    columns = views.names(answer)
    lines = (
        json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False) for row in views.rows(answer)
    )
    return "".join(f"{line}\n" for line in lines).encode()


def _csv(answer: ReportAnswer) -> bytes:
    """Write RFC 4180; money is a plain decimal, and what is not known an empty cell."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(views.names(answer))
    numbers = {Unit.NanoUsd, Unit.Count, Unit.Amount, Unit.Position, Unit.Duration, Unit.Share}
    are_numbers = [column.unit in numbers for column in answer.columns]
    for row in views.rows(answer):
        cells = zip(row, are_numbers, strict=True)
        writer.writerow([value if is_number else safe_cell(value) for value, is_number in cells])
    return text.getvalue().encode()


def _parquet(answer: ReportAnswer) -> bytes:
    """Write Parquet: money as decimal dollars of nine places, instants as UTC timestamps."""
    arrow, parquet = _arrow()
    types = {
        Unit.Text: arrow.string(),
        Unit.NanoUsd: arrow.decimal128(38, views.DECIMALS),
        Unit.Instant: arrow.timestamp("us", tz="UTC"),
        Unit.Share: arrow.float64(),
    }
    fields = [
        arrow.field(name, types.get(column.unit, arrow.int64()))
        for name, column in zip(views.names(answer), answer.columns, strict=True)
    ]
    columns = [
        [_exact(column.unit, row[place]) for row in answer.rows]
        for place, column in enumerate(answer.columns)
    ]
    arrays = [arrow.array(values, type=field.type) for values, field in zip(columns, fields, strict=True)]
    buffer = io.BytesIO()
    parquet.write_table(arrow.table(arrays, schema=arrow.schema(fields)), buffer)
    return buffer.getvalue()


def _exact(unit: Unit, value: Any) -> Any:
    if unit is Unit.NanoUsd and value is not None:
        return Decimal(value).scaleb(-views.DECIMALS)
    return value


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to import
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError:
        raise ConfigurationError(
            "Parquet needs the package pyarrow: pip install 'apikeyrouter-core[parquet]'", param="format"
        ) from None
    return pa, pq


_WRITERS: dict[Format, Callable[[ReportAnswer], bytes]] = {
    Format.Json: _json,
    Format.JsonLines: _json_lines,
    Format.Csv: _csv,
    Format.Parquet: _parquet,
}
