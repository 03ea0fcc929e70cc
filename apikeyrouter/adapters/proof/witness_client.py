"""Ask a witness to cosign the latest checkpoint of a log."""

import httpx

from apikeyrouter.adapters.proof.signing import signed_by
from apikeyrouter.application.proof.ports import Seals
from apikeyrouter.application.proof.proving import Sealed, latest
from apikeyrouter.domain.models.system_error import ErrorCategory
from apikeyrouter.domain.models.system_error import SystemError as RouterError
from apikeyrouter.domain.proof.merkle import consistency_proof
from apikeyrouter.domain.proof.notes import Note, NoteError, VerifierKey, parse_signature
from apikeyrouter.domain.proof.witnessing import Submission

TIMEOUT_S = 10.0
_MOST_SHOWN = 200
_MOST_DIGITS = 19


class WitnessRefusedError(RouterError):
    """A witness did not cosign. If it is right, the log is not what it was."""

    category = ErrorCategory.Conflict
    code = "witness_refused"
    http_status = 409


class WitnessUnreachableError(WitnessRefusedError):
    """A witness does not answer, or has trouble of its own, which says nothing of the log."""

    code = "witness_unreachable"


def ask_witness(seals: Seals, client: httpx.Client, url: str, key: VerifierKey) -> Note:
    """Return the latest checkpoint with the cosignature of the witness whose key is given."""
    sealed = latest(seals)
    answer = _submit(client, url, _submission(seals, sealed, 0))
    if answer.status_code == httpx.codes.CONFLICT:
        answer = _submit(client, url, _submission(seals, sealed, _known_size(answer, sealed, url)))
    if answer.status_code != httpx.codes.OK:
        ill = answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR
        raise (WitnessUnreachableError if ill else WitnessRefusedError)(
            f"the witness at {url} does not cosign ({answer.status_code}):"
            f" {answer.text[:_MOST_SHOWN].strip()}"
        )
    return _cosigned(sealed.note, answer.text, url, key)


def _submission(seals: Seals, sealed: Sealed, old_size: int) -> Submission:
    proof = consistency_proof(seals.subtree, old_size, sealed.checkpoint.size)
    return Submission(old_size, tuple(proof), sealed.note, sealed.checkpoint)


def _submit(client: httpx.Client, url: str, submission: Submission) -> httpx.Response:
    try:
        return client.post(f"{url.rstrip('/')}/add-checkpoint", content=submission.render().encode())
    except httpx.HTTPError as error:
        raise WitnessUnreachableError(
            f"the witness at {url} does not answer ({type(error).__name__})"
        ) from None


def _known_size(answer: httpx.Response, sealed: Sealed, url: str) -> int:
    """Read the size of the last checkpoint that the witness cosigned."""
    text = answer.text.strip()
    if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
        raise WitnessRefusedError(f"the witness at {url} answers what is no size")
    if int(text) > sealed.checkpoint.size:
        raise WitnessRefusedError(
            f"the witness at {url} has cosigned {text} events, but here are only {sealed.checkpoint.size}:"
            " the log was rolled back"
        )
    return int(text)


def _cosigned(note: Note, answer: str, url: str, key: VerifierKey) -> Note:
    try:
        signatures = tuple(parse_signature(line) for line in answer.splitlines())
    except NoteError:
        signatures = ()
    ours = tuple(one for one in signatures if (one.name, one.key_id) == (key.name, key.key_id))
    cosigned = Note(note.text, (*note.signatures, *ours))
    if not ours or not signed_by(cosigned, key):
        raise WitnessRefusedError(f"the witness at {url} answers without a valid signature of {key.name}")
    return cosigned
