"""What the tests of evidence share: bundles, and the verifier as a process of its own."""

import subprocess
import sys

from sealed_logs import all_rows, evidence, settings_of

from apikeyrouter.adapters.proof.evidence_bundle import bundle_of
from apikeyrouter.adapters.proof.opening import signer_of


def bundle(log, subject):
    """Return the files of evidence by name."""
    opened = evidence(log)
    return bundle_of(opened.rows, opened.seals, signer_of(settings_of(log), log), subject)


def completed_request(log):
    """Return the stream of a request that was served."""
    return next(row.stream for row in all_rows(log) if row.name.startswith("request.completed"))


def by_itself(path, *arguments, script=None):
    """Run the verifier as its reader will: isolated, in a folder where there is no package of ours."""
    command = [sys.executable, "-I", str(script or "verify.py"), *arguments]
    return subprocess.run(command, cwd=path, capture_output=True, text=True, timeout=60, check=False)
