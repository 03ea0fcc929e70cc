"""Answers as JSON, CSV and Parquet: exact, and harmless where they are opened."""

import csv
import io
import json
import sys
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_givens import START_US, ListLog, completed, decided, facts, kept

from apikeyrouter.adapters.reports.answers import Answers
from apikeyrouter.application.reporting.questions import ReportQuestion
from apikeyrouter.domain.models.system_error import ConfigurationError
from apikeyrouter.interfaces.report_formats import FORMULA_SIGNS, Format, safe_cell, written
from apikeyrouter.interfaces.report_views import usd


def answer(client="acme", cost=1_234_567_891, **asked):
    log = ListLog([("request-1", decided(START_US, facts(client_id=client)))])
    log.append("request-1", completed(START_US, cost_nano_usd=cost))
    return Answers(kept(log)).ask(ReportQuestion(report="spend", by=("client", "team"), **asked))


def test_json_tells_what_was_asked_and_money_as_exact_text():
    """A float would lose digits in any reader."""
    told = json.loads(written(answer(), Format.Json))
    assert (told["report"], told["by"], told["as_of"], told["more"]) == (
        "spend",
        ["client", "team"],
        2,
        False,
    )
    assert told["rows"][0]["cost_usd"] == "1.234567891"
    assert told["total"]["cost_usd"] == "1.234567891"
    assert told["rows"][0]["team"] is None


def test_json_lines_are_one_row_a_line():
    """Each line is a document of its own."""
    lines = written(answer(), Format.JsonLines).decode().splitlines()
    assert [json.loads(line)["client"] for line in lines] == ["acme"]


def test_csv_is_read_back_as_it_was():
    """Commas, quotes and line ends of a name stay in their cell; what is not known is empty."""
    client = 'a,"b"\nc'
    rows = list(csv.DictReader(io.StringIO(written(answer(client), Format.Csv).decode(), newline="")))
    assert [(row["client"], row["team"], row["cost_usd"]) for row in rows] == [(client, "", "1.234567891")]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "\uff1d1"])
def test_no_cell_of_csv_is_a_formula(name):
    """A client's or model's name that a spreadsheet would run stands behind a quote."""
    rows = list(csv.reader(io.StringIO(written(answer(name), Format.Csv).decode(), newline="")))
    assert rows[1][0] == f"'{name}"


@given(st.text())
def test_any_text_is_safe_or_made_safe(text):
    """Nothing else is changed."""
    cell = safe_cell(text)
    assert cell in {text, f"'{text}"}
    assert cell.lstrip(" ")[:1] not in FORMULA_SIGNS or not cell.strip(" ")


@given(st.integers(-(2**63), 2**63 - 1))
def test_dollars_are_exact(nano_usd):
    """Nano-dollars and dollars are the same amount."""
    assert Decimal(usd(nano_usd)) == Decimal(nano_usd) / Decimal(10**9)


def test_instants_are_in_the_zone_of_the_report():
    """With their offset, so that they stay the same instant."""
    log = ListLog([("request-1", decided(START_US, facts()))])
    asked = ReportQuestion(report="usage", by=("client",), zone="Asia/Kathmandu")
    told = json.loads(written(Answers(kept(log)).ask(asked), Format.Json))
    assert told["rows"][0]["first_at"] == "2026-03-31T05:45:00+05:45"


def test_parquet_without_its_package_says_what_to_install(monkeypatch):
    """The extra is named, and nothing else of reports needs it."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'apikeyrouter-core\[parquet\]'"):
        written(answer(), Format.Parquet)


def test_parquet_has_types():
    """Money is a decimal of nine places, counts are integers."""
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = parquet.read_table(io.BytesIO(written(answer(), Format.Parquet))).to_pylist()
    assert rows[0]["cost_usd"] == Decimal("1.234567891")
    assert rows[0]["calls"] == 1
