"""The store of bodies on two files: what is sealed in one, the keys that open it in the other."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import groupby
from pathlib import Path

from apikeyrouter.adapters.payloads.pseudonyms import Pseudonyms
from apikeyrouter.adapters.payloads.rows import PayloadRows, Row
from apikeyrouter.adapters.payloads.sealing import seal_body, unseal_body
from apikeyrouter.adapters.payloads.subject_keys import SubjectKeys
from apikeyrouter.adapters.vault.envelope import SealBrokenError
from apikeyrouter.application.payloads.ports import Bodies, FoundPart, Payload, PayloadStoreError, Place
from apikeyrouter.domain.events import SealedPart
from apikeyrouter.domain.models.system_error import SystemError as RouterError
from apikeyrouter.domain.payloads import Loss, Part, subject_named_in

PAGE_REQUESTS = 200
_PLACES = (
    "SELECT DISTINCT request_id, subject, key_fingerprint, taken_at_us FROM payloads WHERE client_id = ?"
)


def payloads_path_beside(log_path: Path) -> Path:
    """Name the file of sealed bodies that belongs to a log."""
    return log_path.with_name(f"{log_path.name}.payloads.db")


def payload_keys_path_beside(log_path: Path) -> Path:
    """Name the file of the subjects' data keys that belongs to a log."""
    return log_path.with_name(f"{log_path.name}.payload-keys")


class PayloadFiles:
    """Implements `PayloadStore`; in memory where there is no path. A key is durable before what it seals."""

    def __init__(self, log_path: Path | None, master_key: bytes) -> None:
        rows_path = None if log_path is None else payloads_path_beside(log_path)
        keys_path = None if log_path is None else payload_keys_path_beside(log_path)
        self._pseudonyms = Pseudonyms(master_key)
        self._keys = SubjectKeys(keys_path, master_key)
        self._rows = PayloadRows(rows_path)
        self._one_at_a_time = threading.Lock()

    def __repr__(self) -> str:
        return "PayloadFiles(…)"

    def pseudonym(self, client_id: str, person: str | None) -> str:
        """Return the name by which events know a person, or a client itself."""
        return self._pseudonyms.of(client_id, person)

    def keep(self, bodies: Sequence[Bodies]) -> list[Payload | Loss]:
        """Seal bodies; one that cannot be sealed does not keep the others from it."""
        with self._using():
            sealed = [self._sealed(one) for one in bodies]
            self._rows.insert(row for rows in sealed if isinstance(rows, list) for row in rows)
        return [_payload(rows) if isinstance(rows, list) else rows for rows in sealed]

    def settle(self, request_ids: Sequence[str]) -> None:
        """Note that the log has recorded these."""
        with self._using():
            self._rows.settle(request_ids)

    def unsettled(self) -> list[Payload]:
        """Return what the log may not have recorded."""
        with self._using():
            return _payloads(self._rows.select("settled = 0 ORDER BY request_id, part", blank=True))

    def discard(self, request_ids: Sequence[str]) -> None:
        """Delete the bodies of requests."""
        with self._using():
            self._rows.delete(request_ids)

    def find(self, request_id: str) -> Payload | None:
        """Return what is kept of a request, unopened."""
        with self._using():
            rows = self._rows.select("request_id = ? ORDER BY part", (request_id,), blank=True)
        return _payload(rows) if rows else None

    def listed(
        self, *, client_id: str | None, subject: str | None, after: str, limit: int
    ) -> Sequence[Payload]:
        """Return payloads in the order of their requests."""
        which = "request_id > ? AND (? IS NULL OR client_id = ?) AND (? IS NULL OR subject = ?)"
        values = (after, client_id, client_id, subject, subject)
        inner = f"SELECT DISTINCT request_id FROM payloads WHERE {which} ORDER BY request_id LIMIT ?"  # noqa: S608 - our own words
        with self._using():
            rows = self._rows.select(
                f"request_id IN ({inner}) ORDER BY request_id, part", (*values, limit), blank=True
            )
        return _payloads(rows)

    def open(self, request_id: str) -> dict[str, bytes]:
        """Unseal the bodies of a request by their part."""
        with self._using():
            rows = self._rows.select("request_id = ? ORDER BY part DESC", (request_id,))
            return {row.part: self._opened(row) for row in rows}

    def places(
        self, client_id: str, *, subject: str | None = None, before_us: int | None = None
    ) -> Sequence[Place]:
        """Return where payloads of a client lie."""
        sql = f"{_PLACES} AND (? IS NULL OR subject = ?) AND (? IS NULL OR taken_at_us < ?) ORDER BY 1"
        with self._using():
            found = self._rows.ask(sql, (client_id, subject, subject, before_us, before_us))
        return [Place._make(row) for row in found]

    def shred(self, subjects: Sequence[str]) -> None:
        """Destroy the data keys of subjects."""
        with self._using():
            self._keys.shred(subjects)

    def delete(self, key_fingerprints: Sequence[str]) -> None:
        """Delete every body that was sealed under these keys."""
        with self._using():
            self._rows.delete_sealed_under(key_fingerprints)

    def key_fingerprints(self) -> set[str]:
        """Return the fingerprints of the data keys that open."""
        with self._using():
            return self._keys.fingerprints()

    def parts(self) -> Iterator[FoundPart]:
        """Yield every sealed body, some at a time, so that whoever writes gets in between."""
        after = ""
        while True:
            inner = (
                "SELECT DISTINCT request_id FROM payloads WHERE request_id > ? ORDER BY request_id LIMIT ?"
            )
            with self._using():
                rows = self._rows.select(
                    f"request_id IN ({inner}) ORDER BY request_id, part", (after, PAGE_REQUESTS)
                )
            if not rows:
                return
            yield from map(_found, rows)
            after = rows[-1].request_id

    def close(self) -> None:
        """Give the files back."""
        with self._one_at_a_time:
            self._rows.close()
            self._keys.close()

    @contextlib.contextmanager
    def _using(self) -> Iterator[None]:
        with self._one_at_a_time:
            try:
                yield
            except PayloadStoreError:
                raise
            except RouterError as error:  # the file of keys speaks as the vault does
                raise PayloadStoreError(error.message) from None

    def _sealed(self, bodies: Bodies) -> list[Row] | Loss:
        subject = self.pseudonym(bodies.client_id, subject_named_in(bodies.request))
        try:
            key = self._keys.made(subject)
        except SealBrokenError:
            return Loss.StoreFailed
        named = self._keys.fingerprint(key)
        parts = [(Part.Request, bodies.request, bodies.request_truncated)]
        if bodies.answer is not None:
            parts.append((Part.Answer, bodies.answer, bodies.answer_truncated))
        rows = []
        for part, body, truncated in parts:
            sealed = seal_body(key, (bodies.request_id, part, subject, named), body)
            row = Row(
                request_id=bodies.request_id,
                part=part,
                client_id=bodies.client_id,
                subject=subject,
                key_fingerprint=named,
                taken_at_us=bodies.taken_at_us,
                plain_bytes=len(body),
                truncated=int(truncated),
                sealed=sealed,
                sealed_bytes=len(sealed),
                sealed_sha256=sha256(sealed).hexdigest(),
            )
            rows.append(row)
        return rows

    def _opened(self, row: Row) -> bytes:
        try:
            key = self._keys.get(row.subject)
            if key is not None:
                return unseal_body(
                    key, (row.request_id, row.part, row.subject, row.key_fingerprint), row.sealed
                )
        except SealBrokenError:
            pass
        raise PayloadStoreError(
            f"the {row.part} of request {row.request_id} does not open: it was changed, or its key is gone;"
            " look closer with `apikeyrouter payloads verify`"
        )


def _payloads(rows: Sequence[Row]) -> list[Payload]:
    return [_payload(list(group)) for _, group in groupby(rows, key=lambda row: row.request_id)]


def _payload(rows: list[Row]) -> Payload:
    first = rows[0]
    return Payload(
        request_id=first.request_id,
        client_id=first.client_id,
        subject=first.subject,
        key_fingerprint=first.key_fingerprint,
        taken_at_us=first.taken_at_us,
        parts=tuple(
            SealedPart(
                part=row.part,
                plain_bytes=row.plain_bytes,
                sealed_bytes=row.sealed_bytes,
                sealed_sha256=row.sealed_sha256,
                truncated=bool(row.truncated),
            )
            for row in sorted(rows, key=lambda row: row.part, reverse=True)
        ),
    )


def _found(row: Row) -> FoundPart:
    return FoundPart(
        row.request_id, row.part, row.key_fingerprint, sha256(row.sealed).hexdigest(), bool(row.settled)
    )
