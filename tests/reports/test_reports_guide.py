"""What docs/reports.md shows runs as it stands."""

import re

import pytest
from loopback import ROOT
from report_givens import START_US, ListLog, completed, decided, facts, kept
from typer.main import get_command

from apikeyrouter.adapters.reports.catalogue import REPORTS
from apikeyrouter.adapters.reports.free_sql import select
from apikeyrouter.application.projections.read_models import READ_MODELS
from apikeyrouter.application.reporting.forecasts import FORECAST
from apikeyrouter.domain.events import KeyRegistered
from apikeyrouter.interfaces.cli.main import app

GUIDE = (ROOT / "docs" / "reports.md").read_text()
QUERIES = re.findall(r"^```sql\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^apikeyrouter report ([^#\n]*)", GUIDE, re.MULTILINE)


@pytest.fixture
def store():
    log = ListLog([("request-1", decided(START_US, facts(client_id="acme")))])
    log.append("request-1", completed(START_US, cost_nano_usd=None))
    log.append("key-a", KeyRegistered(at_us=START_US, actor="ann", provider_id="p", fingerprint="f"))
    return kept(log)


@pytest.mark.parametrize("query", QUERIES)
def test_each_query_runs(store, query):
    """As the reading command runs it."""
    names, _ = select(store, query, 100)
    assert names


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_exists_with_its_options(command):
    """Nothing is shown that the command line does not take."""
    words = re.sub(r'".*"', "SQL", command).split()
    known = get_command(app).commands["report"].commands[words[0]]
    options = {name for parameter in known.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_every_report_and_every_table_is_told_of():
    """A report or a table that the guide leaves out would be found by nobody."""
    tables = {table.name for model in READ_MODELS.values() for table in model.tables}
    for name in {*REPORTS, FORECAST, *tables}:
        assert f"`{name}`" in GUIDE, name


def test_there_are_examples():
    """A guide without examples would pass in silence."""
    assert len(QUERIES) >= 5
    assert len(COMMANDS) >= 8
