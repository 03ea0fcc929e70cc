"""Visit a witness again and again while the log is written, and keep what it cosigned."""

import threading

import httpx

from apikeyrouter.adapters.ambient import SystemClock
from apikeyrouter.adapters.proof.durable_files import replace
from apikeyrouter.adapters.proof.seal_folder import SealFolder
from apikeyrouter.adapters.proof.witness_client import TIMEOUT_S, WitnessUnreachableError, ask_witness
from apikeyrouter.application.notices import notices
from apikeyrouter.application.proof.standing import Visit, VisitResult
from apikeyrouter.domain.models.system_error import NotFoundError
from apikeyrouter.domain.models.system_error import SystemError as RouterError
from apikeyrouter.domain.proof.checkpoints import parse_checkpoint
from apikeyrouter.domain.proof.notes import Note, VerifierKey


class WitnessVisits:
    """A thread that asks for a cosignature whenever there is a checkpoint that has none.

    What a witness refuses is told, and stops no request: people decide who of the two is wrong.
    """

    def __init__(self, seals: SealFolder, url: str, key: VerifierKey, interval_s: float) -> None:
        self._seals = seals
        self._url = url
        self._key = key
        self._interval_s = interval_s
        self._clock = SystemClock()
        self.last: Visit | None = None
        self.cosigned: int | None = None
        """How many events the checkpoint covers that was cosigned last, by this process's visits."""
        self._stop = threading.Event()
        self._cosigned = ""
        self._told_of = ""
        self._thread = threading.Thread(target=self._run, name="witness-visits", daemon=True)

    @property
    def witness(self) -> str:
        """The name of the witness."""
        return self._key.name

    def start(self) -> None:
        """Begin to visit."""
        self._thread.start()

    def stop(self) -> None:
        """Visit no more."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        with httpx.Client(timeout=TIMEOUT_S) as client:
            while not self._stop.wait(self._interval_s):
                try:
                    self._visit(client)
                    self._told_of = ""
                except NotFoundError:
                    continue  # nothing is sealed yet
                except Exception as error:  # noqa: BLE001 - whatever it is, the next visit may go better
                    self._note(_result_of(error))
                    self._tell(error)

    def _note(self, result: VisitResult) -> None:
        self.last = Visit(self._clock.elapsed_us(), result)

    def _visit(self, client: httpx.Client) -> None:
        latest = self._seals.latest()
        if latest is not None and latest.text == self._cosigned:
            return
        note = ask_witness(self._seals, client, self._url, self._key)
        self._keep(note)
        self._note(VisitResult.Cosigned)

    def _keep(self, note: Note) -> None:
        self._cosigned, self.cosigned = note.text, parse_checkpoint(note.text).size
        replace(self._seals.folder / "cosigned", note.render().encode())

    def _tell(self, error: Exception) -> None:
        """Tell of a trouble once, not with every visit."""
        reason = error.message if isinstance(error, RouterError) else type(error).__name__
        if reason != self._told_of:
            self._told_of = reason
            notices().error("witness_visit_failed", reason=reason)


def _result_of(error: Exception) -> VisitResult:
    """Tell a witness that says no from one that could not be asked; only the first accuses the log."""
    refused = isinstance(error, RouterError) and not isinstance(error, WitnessUnreachableError)
    return VisitResult.Refused if refused else VisitResult.Unreachable
