"""Play a plan through one router, then wait to be ended: `python -m benchmarks.routers NAME FOLDER`."""

import asyncio
import signal
import sys
from pathlib import Path

from benchmarks.routers.player import perform


def main() -> None:
    """Run as a process."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    asyncio.run(perform(sys.argv[1], Path(sys.argv[2])))
    print("done", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
