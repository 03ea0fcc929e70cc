"""Fixtures for tests of kept bodies; the command line of its own tests serves here as well."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent / "cli"))


@pytest.fixture
async def world(tmp_path):
    from payload_world import a_world

    async with a_world(tmp_path) as running:
        yield running
