"""A process that kills itself at a step of an erasure: `python die_while_erasing.py FOLDER STEP`."""

import asyncio
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from payload_world import ACTOR, CLIENT, a_world

from apikeyrouter.adapters.payloads.files import PayloadFiles
from apikeyrouter.adapters.payloads.rows import PayloadRows
from apikeyrouter.adapters.vault.store import VaultStore
from apikeyrouter.application.payloads.erasing import Erasing
from apikeyrouter.domain.events import SubjectErased

STEPS = {
    "ordered": (PayloadFiles, "shred"),
    "shredding": (VaultStore, "_sweep"),
    "shredded": (PayloadFiles, "delete"),
    "deleting": (PayloadRows, "delete_sealed_under"),
}


def die(*_given):
    os.kill(os.getpid(), signal.SIGKILL)


async def main(folder: Path, step: str) -> None:
    async with a_world(folder) as world:
        for person in ("ann", "bob", "ann"):
            await world.ask(user=person)
        await world.stored()
        if step in STEPS:
            setattr(*STEPS[step], die)
        elif step == "deleted":
            record = world.node.journal.record

            def dying(events):
                if isinstance(events[0].event, SubjectErased):
                    die()
                return record(events)

            world.node.journal.record = dying
        elif step == "recorded":
            Erasing.receipt = die
        await world.desk.erasing.erase(CLIENT, "ann", actor=ACTOR, reason="a letter")


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
