"""A process that keeps read models up, or makes them anew, and says how far it has come; to be killed."""

import sys
from pathlib import Path

from apikeyrouter.adapters.reports.files import rebuild
from apikeyrouter.adapters.reports.store import ReadModelFile
from apikeyrouter.application.projections import projector

sys.path[:0] = [str(Path(__file__).parent)]

from test_keeping_up import busy_log  # noqa: E402 - from the folder of this file


def main() -> None:
    """Go on for ever: whoever started this kills it."""
    how, path = sys.argv[1], Path(sys.argv[2])
    projector.MOST_PROJECTED_EVENTS = 20
    log = busy_log(400)
    while True:
        if how == "rebuild":
            rebuild(log, path, progress=_say)
        else:
            with ReadModelFile(path) as store:
                projector.catch_up(log, store, progress=_say)
                store.forget(store.standings())


def _say(count: int) -> None:
    sys.stdout.write(f"{count}\n")
    sys.stdout.flush()


main()
