"""Checkpoints as answers, on the command line as over HTTP."""

import base64
from typing import Any

from apikeyrouter.adapters.proof.signing import cosigned_at
from apikeyrouter.application.proof.proving import Sealed
from apikeyrouter.domain.proof.notes import COSIGNATURE, VerifierKey


def checkpoint_view(sealed: Sealed, key: VerifierKey) -> dict[str, Any]:
    """Return a checkpoint read, and as it was signed; its time is when the log last vouched for it."""
    return {
        "origin": sealed.checkpoint.origin,
        "size": sealed.checkpoint.size,
        "root": base64.b64encode(sealed.checkpoint.root).decode(),
        "time_s": cosigned_at(sealed.note, key._replace(algorithm=COSIGNATURE)),
        "key": key.render(),
        "note": sealed.note.render(),
    }
