"""The hour is served once, for all that is said of it."""

import asyncio

import pytest
from quota_givens import WallClock
from troubled_hour import Hour

from apikeyrouter.interfaces.traffic import read_trace


@pytest.fixture(scope="session")
def hour(trace_file, tmp_path_factory) -> Hour:
    arrivals = list(read_trace(trace_file))
    begin_us = arrivals[0].at_us
    arrivals = [one._replace(at_us=one.at_us - begin_us) for one in arrivals]
    served = Hour(tmp_path_factory.mktemp("hour"), len(arrivals))
    with pytest.MonkeyPatch.context() as patch:
        asyncio.run(served.live(WallClock(patch), arrivals))
    return served
