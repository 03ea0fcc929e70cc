"""A proxy that kills itself while bodies are on their way: `python die_while_capturing.py FOLDER STEP`."""

import asyncio
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from payload_world import a_world


def die(*_given):
    os.kill(os.getpid(), signal.SIGKILL)


async def main(folder: Path, step: str) -> None:
    async with a_world(folder) as world:
        capturing = world.desk.capturing
        if step == "queued":
            capturing._keep = die
        elif step == "stored":
            capturing._record = die
        await world.ask()
        await world.stored()
        die()


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
