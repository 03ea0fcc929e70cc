"""Fixtures for all tests: an environment without settings, and the trace where there is one."""

import os
import signal
from pathlib import Path

import pytest
import structlog

# What runs in the background starts with Ctrl-C ignored, and would hand that on to the processes of tests.
signal.signal(signal.SIGINT, signal.default_int_handler)

TRACE = Path(__file__).resolve().parents[2] / "shared" / "traces" / "azure_llm_conversation_2023.csv"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("APIKEYROUTER_") or name in {"OPENAI_API_KEY", "OPENAI_BASE_URL"}:
            monkeypatch.delenv(name)
    monkeypatch.delenv("COLUMNS", raising=False)  # parallel workers hand theirs on, and tables are cut by it


@pytest.fixture(autouse=True)
def _clean_logging():
    yield
    structlog.reset_defaults()  # a command that ran in this process has pointed it at a stream of its own


@pytest.fixture(scope="session")
def trace_file() -> Path:
    """Return an hour of real traffic; it is no part of the project."""
    if not TRACE.exists():
        pytest.skip(f"the trace is not here: {TRACE.name} belongs into ../shared/traces")
    return TRACE
