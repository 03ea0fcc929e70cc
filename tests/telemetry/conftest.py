"""Canaries for the tests of this folder, and a log that is put back afterwards."""

import io
import logging
import sys
import threading

import pytest
import structlog

from apikeyrouter.adapters.telemetry.redaction import Redactor


@pytest.fixture
def redactor():
    return Redactor()


@pytest.fixture
def stream():
    return io.BytesIO()


@pytest.fixture
def _logging_put_back():
    root = logging.getLogger()
    before = (list(root.handlers), root.level, sys.excepthook, threading.excepthook)
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.captureWarnings(False)
    root.handlers[:], root.level, sys.excepthook, threading.excepthook = before
