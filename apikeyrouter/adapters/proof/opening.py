"""Open the seals of a log: look before anything is appended, then seal what comes."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from apikeyrouter.adapters.proof.seal_folder import VERIFIER_KEY, SealFolder, seal_folder_beside
from apikeyrouter.adapters.proof.seal_writer import SealWriter
from apikeyrouter.adapters.proof.signing import NoteSigner, signed_by
from apikeyrouter.adapters.proof.signing_key import (
    load_signer,
    make_signer,
    read_verifier_key,
    signing_key_path,
)
from apikeyrouter.adapters.proof.stored_rows import StoredRows
from apikeyrouter.adapters.vault.envelope import Envelope
from apikeyrouter.adapters.vault.master_key import load_master_key
from apikeyrouter.application.ports import Clock, EventLog
from apikeyrouter.application.proof.patrol import Patrol
from apikeyrouter.application.proof.sealing import Pace, Sealer
from apikeyrouter.application.proof.standing import SealStanding
from apikeyrouter.application.proof.startup import refuse_if_inconsistent
from apikeyrouter.application.proof.verification import Evidence, dropped_from
from apikeyrouter.domain.models.system_error import ConfigurationError, InvalidRequestError, NotFoundError
from apikeyrouter.domain.proof.leaves import row_hash
from apikeyrouter.domain.proof.notes import NoteError, VerifierKey, parse_key
from apikeyrouter.settings import RouterSettings

if TYPE_CHECKING:
    from apikeyrouter.adapters.proof.witness_visits import WitnessVisits

ORIGIN_HEX_DIGITS = 16


class Sealing:
    """The sealing of one log by one process: look, begin, then close once the log is closed."""

    def __init__(self, settings: RouterSettings, log_path: Path) -> None:
        folder = seal_folder_of(settings, log_path)
        self._settings = settings
        self._log_path = log_path
        self._visits = visits_of(settings, SealFolder(folder))
        self.rows = StoredRows(log_path)
        self.book = SealWriter(folder)
        self._began = False
        self._sealer: Sealer | None = None
        self._patrol: Patrol | None = None
        self._clock: Clock | None = None

    def look(self) -> None:
        """Refuse to go on with a log that is not what was sealed; before its first event there is nothing."""
        key = read_verifier_key(self._log_path)
        if not self._never_sealed(key):
            if key is None:
                raise _key_gone(self._log_path)
            refuse_if_inconsistent(Evidence(rows=self.rows, seals=self.book, key=key, signed_by=signed_by))
        self.book.begin()
        self._began = True

    def start(self, log: EventLog, clock: Clock, condemn: Callable[[str], None]) -> None:
        """Seal from now on; the log has its first event, after which it is named."""
        self._clock = clock
        signer = self._signer()
        self.book.publish(signer.key)
        seals = SealFolder(self.book.folder)
        dropped = dropped_from(Evidence(rows=self.rows, seals=seals, key=signer.key, signed_by=signed_by))
        self._patrol = Patrol(self.rows, seals, self.book.count, condemn, unaccounted=dropped.unaccounted)
        self._sealer = Sealer(
            rows=self.rows,
            book=self.book,
            signer=signer,
            clock=clock,
            pace=Pace(self._settings.seal_interval_s, self._settings.seal_idle_s),
            condemn=condemn,
        )
        log.follow(self._sealer.follow)
        self._sealer.start()
        self._patrol.start()
        if self._visits is not None:
            self._visits.start()

    def standing(self, head: int) -> SealStanding | None:
        """Tell how the seals stand before the events up to a position; None before the sealing has begun."""
        sealer, patrol, visits = self._sealer, self._patrol, self._visits
        if sealer is None or patrol is None or self._clock is None:
            return None
        now_us = self._clock.elapsed_us()
        sealed_at_us, visit = sealer.sealed_at_us, None if visits is None else visits.last
        return SealStanding(
            key=sealer.key.name,
            sealed=sealer.sealed,
            unsealed=max(head - sealer.sealed, 0),
            checkpoint_age_us=None if sealed_at_us is None else now_us - sealed_at_us,
            is_failing=sealer.is_failing,
            patrol=patrol.state,
            witness=None if visits is None else visits.witness,
            visit=None if visit is None else visit.result,
            visit_age_us=None if visit is None else now_us - visit.at_us,
            cosigned=None if visits is None else visits.cosigned,
        )

    def _never_sealed(self, key: VerifierKey | None) -> bool:
        """Tell whether nothing was signed yet; the first process may have died with its key just made."""
        nothing_signed = next(self.book.notes(), None) is None
        return nothing_signed and (key is None or not self.book.closed)

    async def close(self) -> None:
        """Seal the rest of a log that is closed."""
        for walker in (self._patrol, self._visits):
            if walker is not None:
                await asyncio.to_thread(walker.stop)
        if self._sealer is not None:
            await self._sealer.close()
        else:
            self._withdraw()

    def _withdraw(self) -> None:
        """Give the folder back as it was, if nothing was written."""
        if self._began and self.rows.extent().last == self.book.count:
            self.book.end()
        self.book.close()

    def _signer(self) -> NoteSigner:
        envelope = _envelope(self._settings, self._log_path)
        if signing_key_path(self._log_path).exists():
            return load_signer(self._log_path, envelope)
        return make_signer(self._log_path, _origin(self.rows), envelope)


def open_sealing(settings: RouterSettings) -> Sealing | None:
    """Open the seals of the log that the settings name, and look at it; None for one in memory."""
    path = settings.database_path
    if path is None:
        return None
    sealing = Sealing(settings, path.resolve())
    try:
        sealing.look()
    except BaseException:
        sealing.book.close()
        raise
    return sealing


def seal_folder_of(settings: RouterSettings, log_path: Path) -> Path:
    """Return the folder of seals: the one that is set, else the one beside the log."""
    return settings.seal_folder or seal_folder_beside(log_path)


def visits_of(settings: RouterSettings, seals: SealFolder) -> "WitnessVisits | None":
    """Return who visits the witness that the settings name; None if they name none."""
    if settings.witness_url is None and settings.witness_key is None:
        return None
    if settings.witness_url is None or settings.witness_key is None:
        raise ConfigurationError(
            "witness_url and witness_key belong together: set both APIKEYROUTER_WITNESS_URL and"
            " APIKEYROUTER_WITNESS_KEY, or none of them",
            param="witness_key",
        )
    from apikeyrouter.adapters.proof.witness_visits import (  # noqa: PLC0415 - httpx, only where there is one
        WitnessVisits,
    )

    key = known_key(settings.witness_key)
    return WitnessVisits(seals, settings.witness_url, key, settings.witness_interval_s)


def known_key(line: str) -> VerifierKey:
    """Read the public key that somebody gives."""
    try:
        return parse_key(line)
    except NoteError as error:
        raise InvalidRequestError(f"the key is not usable: {error}", param="key") from None


def evidence_of(settings: RouterSettings, log_path: Path, *, key: VerifierKey | None = None) -> Evidence:
    """Collect what a log is verified by, for reading; refuse where it was never sealed."""
    folder = seal_folder_of(settings, log_path)
    key = key or read_verifier_key(log_path)
    if key is None and (folder / VERIFIER_KEY).exists():
        raise _key_gone(log_path, ", or give the public key as you noted it elsewhere with --key")
    if key is None:
        raise NotFoundError(
            f"the log {log_path} was never sealed: that begins with its next start, or give the public key"
            " that belongs to its seals with --key"
        )
    seals = SealFolder(folder)
    return Evidence(rows=StoredRows(log_path), seals=seals, key=key, signed_by=signed_by)


def signer_of(settings: RouterSettings, log_path: Path) -> NoteSigner:
    """Open the signing key of a log."""
    return load_signer(log_path, _envelope(settings, log_path))


def _envelope(settings: RouterSettings, log_path: Path) -> Envelope:
    explicit = settings.encryption_key
    return Envelope(
        load_master_key(
            explicit=None if explicit is None else explicit.get_secret_value(),
            key_file=settings.master_key_file,
            log_path=log_path,
        )
    )


def _origin(rows: StoredRows) -> str:
    """Name a log after its first event, which no other log has."""
    first = next(rows.pages(1, 1))[0]
    return f"apikeyrouter/{row_hash(first).hex()[:ORIGIN_HEX_DIGITS]}"


def _key_gone(log_path: Path, or_else: str = "") -> NotFoundError:
    path = signing_key_path(log_path)
    return NotFoundError(f"the log has seals, but its signing key {path} is gone: bring it back{or_else}")
