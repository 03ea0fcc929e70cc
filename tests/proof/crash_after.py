"""A process that dies: `python crash_after.py LOG first_start|before_sealing|torn_files`."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from apikeyrouter.application.proof.sealing import Sealer
from apikeyrouter.bootstrap import open_node
from apikeyrouter.settings import RouterSettings


async def main(log: Path, where: str) -> None:
    settings = RouterSettings(database_url=str(log), synchronous="NORMAL")
    if where != "first_start":
        await (await open_node(settings)).close()
    Sealer.seal = lambda *_: None
    await open_node(settings)
    if where == "torn_files":
        for name, torn in (
            ("leaves", b"x" * 77),
            ("subtrees", b"y" * 5),
            ("checkpoints", b"apikeyrouter/\n3\n"),
        ):
            with (log.with_name(f"{log.name}.seals") / name).open("ab") as file:
                file.write(torn)
    os.kill(os.getpid(), signal.SIGKILL)


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
