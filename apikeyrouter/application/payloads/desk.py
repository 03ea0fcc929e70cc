"""Everything that can be asked of kept bodies, in one place."""

import asyncio

import msgspec

from apikeyrouter.application.journal import Journal
from apikeyrouter.application.payloads.capturing import Capturing
from apikeyrouter.application.payloads.checking import PayloadCheck, check
from apikeyrouter.application.payloads.erasing import Erasing
from apikeyrouter.application.payloads.expiring import Expiring
from apikeyrouter.application.payloads.ports import PayloadStore
from apikeyrouter.application.payloads.reading import Reading
from apikeyrouter.application.payloads.terms import CaptureTerms
from apikeyrouter.application.ports import Clock, Entropy, EventReader


class PayloadDesk(msgspec.Struct, frozen=True, kw_only=True):
    """The use cases about bodies, wired to one store."""

    terms: CaptureTerms
    reading: Reading
    erasing: Erasing
    expiring: Expiring
    capturing: Capturing
    reader: EventReader
    store: PayloadStore

    async def check(self) -> PayloadCheck:
        """Compare what lies sealed with what the log says."""
        return await asyncio.to_thread(check, self.reader, self.store)

    async def start(self) -> None:
        """Finish what an earlier process began, then take bodies over."""
        await self.erasing.finish()
        await self.capturing.start()
        self.expiring.start()

    async def close(self) -> None:
        """Store and record what is queued, and end."""
        await self.expiring.close()
        await self.capturing.close()


def payload_desk(
    *,
    journal: Journal,
    reader: EventReader,
    clock: Clock,
    entropy: Entropy,
    capturing: Capturing,
    store: PayloadStore,
) -> PayloadDesk:
    """Wire the use cases."""
    return PayloadDesk(
        terms=CaptureTerms(journal, clock),
        reading=Reading(journal=journal, reader=reader, clock=clock, capturing=capturing, store=store),
        erasing=Erasing(journal=journal, reader=reader, clock=clock, entropy=entropy, capturing=capturing),
        expiring=Expiring(journal=journal, clock=clock, capturing=capturing),
        capturing=capturing,
        reader=reader,
        store=store,
    )
