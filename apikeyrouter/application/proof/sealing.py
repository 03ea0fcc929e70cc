"""The sealer: follows the log behind the requests, hashes what is durable, and signs checkpoints.

It is told that there is something and reads the rows itself, in a thread of its own and in small pages with
pauses, so that no request waits for it. Events behind the latest checkpoint are not sealed yet: about a
second's worth, or what was written before a crash, which is sealed at the next start.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from apikeyrouter.application.notices import notices
from apikeyrouter.application.ports import Clock
from apikeyrouter.application.proof.ports import Rows, SealBook, Signer
from apikeyrouter.domain.events import Recorded
from apikeyrouter.domain.proof.checkpoints import Checkpoint
from apikeyrouter.domain.proof.leaves import MalformedRowError, row_hash
from apikeyrouter.domain.proof.notes import VerifierKey
from apikeyrouter.domain.windows import SECOND_US

MOST_UNSEALED = 10_000
PAGE_ROWS = 200
PAUSE_S = 0.002
"""After a page of some 1 ms: requests get the interpreter in between."""

KEEP_US = 60 * SECOND_US
"""Each checkpoint vouches for all that came before, so of those in between one a minute is enough to keep."""


class Pace(msgspec.Struct, frozen=True):
    """The least seconds between two checkpoints while events come, and the most while none do."""

    busy_s: float
    idle_s: float


class Inconsistent(ValueError):  # noqa: N818 - it says what the log is
    """What is stored behind the seals can never have been written by the log."""


class Sealer:
    """Seals one log. `condemn` is told why if the stored rows cannot be the log's own."""

    def __init__(
        self,
        *,
        rows: Rows,
        book: SealBook,
        signer: Signer,
        clock: Clock,
        pace: Pace,
        condemn: Callable[[str], None],
    ) -> None:
        self._rows = rows
        self._book = book
        self._signer = signer
        self._clock = clock
        self._pace = pace
        self._condemn = condemn
        self._sealed = 0
        self._sealed_at_us: int | None = None
        self._news = threading.Event()
        self._many = threading.Event()
        self._closing = False
        self._told_of = ""
        self._keep_at_us = clock.elapsed_us()
        self._thread = threading.Thread(target=self._run, name="log-sealer", daemon=True)

    @property
    def sealed(self) -> int:
        """How many events the latest checkpoint covers."""
        return self._sealed

    @property
    def key(self) -> VerifierKey:
        """The public key that checkpoints are verified with."""
        return self._signer.key

    @property
    def sealed_at_us(self) -> int | None:
        """When this process signed its latest checkpoint, by the clock that never jumps; None: not yet."""
        return self._sealed_at_us

    @property
    def is_failing(self) -> bool:
        """True from a failure to seal until it is over."""
        return bool(self._told_of)

    def follow(self, batch: Sequence[Recorded]) -> None:
        """Hear that events are durable; called in the loop's thread, and done in a microsecond."""
        if not self._news.is_set():
            self._news.set()
        if batch[-1].position - self._sealed >= MOST_UNSEALED:
            self._many.set()

    def start(self) -> None:
        """Catch up with what is stored, then seal what comes."""
        self._thread.start()

    async def close(self) -> None:
        """Seal the rest; call it once the log is closed. If that fails, the next start catches up."""
        self._closing = True
        self._many.set()
        self._news.set()
        await asyncio.to_thread(self._finish)

    def seal(self, pause_s: float = 0.0) -> None:
        """Hash what is stored behind the latest checkpoint, and sign the next one."""
        sealed = self._book.count
        for page in self._rows.pages(sealed + 1, most=PAGE_ROWS):
            if page[0].position != sealed + 1 or page[-1].position != sealed + len(page):
                raise Inconsistent(f"the positions behind {sealed} have a gap")
            self._book.add(b"".join(map(row_hash, page)))
            sealed += len(page)
            if pause_s and not self._closing:
                time.sleep(pause_s)
        self._rows.make_durable()
        checkpoint = Checkpoint(self._signer.key.name, sealed, self._book.root())
        note = self._signer.sign(checkpoint.text(), self._clock.now_us() // SECOND_US)
        now_us = self._clock.elapsed_us()
        keep = self._closing or now_us >= self._keep_at_us
        self._book.conclude(note, keep=keep)
        if keep:
            self._keep_at_us = now_us + KEEP_US
        self._sealed, self._sealed_at_us = sealed, now_us

    def _run(self) -> None:
        while True:
            self._news.clear()
            self._many.clear()
            if self._closing:  # asked behind the clearing: whoever closes sets both once more
                return
            self._attempt(PAUSE_S)
            self._many.wait(self._pace.busy_s)
            self._news.wait(self._pace.idle_s)

    def _finish(self) -> None:
        if self._thread.ident is not None:
            self._thread.join()
        if self._attempt(0.0):
            self._book.end()
        self._book.close()

    def _attempt(self, pause_s: float) -> bool:
        """Seal once; a failure is told once, and tried again until it is over."""
        try:
            self.seal(pause_s)
        except (Inconsistent, MalformedRowError) as error:
            self._failed(error)
            self._condemn(str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, requests go on, and so does the sealer
            self._failed(error)
        else:
            self._told_of = ""
            return True
        return False

    def _failed(self, error: Exception) -> None:
        if self._told_of != str(error):
            self._told_of = str(error)
            notices().error("sealing_failed", reason=str(error), error=type(error).__name__)
