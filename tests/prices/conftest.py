"""A router at a provider that is nowhere, whose prices stand in a book of the test's own."""

import pytest
from book_givens import FIRST

from apikeyrouter import ApiKeyRouter


@pytest.fixture
def packaged(monkeypatch):
    """Install a book; the first of two unless the test installs another."""
    installed = [FIRST]
    monkeypatch.setattr("apikeyrouter.bootstrap.packaged_book", lambda: installed[-1])
    return installed.append


@pytest.fixture
def log(tmp_path) -> str:
    return str(tmp_path / "log.db")


@pytest.fixture
def opened(log, packaged):
    """Open a router on the log; its provider and key are registered at the first time."""

    def open_router() -> ApiKeyRouter:
        return ApiKeyRouter(state_store=log)

    return open_router
