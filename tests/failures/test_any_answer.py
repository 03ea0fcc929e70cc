"""Whatever an upstream answers is classified, and nothing of it but a name goes into the log."""

import json
import re

from hypothesis import example, given, settings
from hypothesis import strategies as st
from raw_server import KEY

from apikeyrouter.adapters.providers.error_shapes import complaint_in
from apikeyrouter.adapters.providers.redaction import Mask
from apikeyrouter.domain.failures import LONGEST_WAIT_US, FailureClass, failure_of

STATUSES = st.integers(100, 999)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.just(KEY)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
NAMES = ("code", "type", "message", "status", "details", "innererror", "reason", "retryDelay", "violations")
DETAILS = st.lists(
    st.dictionaries(st.sampled_from(("reason", "retryDelay", "violations", "quotaId", "@type")), VALUES),
    max_size=3,
)
ERRORS = st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, VALUES) | {"details": DETAILS | VALUES})
ENVELOPES = st.fixed_dictionaries(
    {}, optional={"error": ERRORS | VALUES, "type": VALUES, "object": VALUES, "code": VALUES}
)


def check(status, body):
    mask = Mask(KEY)
    for refused in (False, True):
        complaint = complaint_in(mask.hide(body), mask, refused=refused, model="m")
        failure = failure_of(status, complaint)
        assert isinstance(failure.failure_class, FailureClass)
        assert failure.retry_after_us is None or 0 <= failure.retry_after_us <= LONGEST_WAIT_US
        assert 0 <= failure.wait_us <= LONGEST_WAIT_US
        assert failure.code is None or re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}", failure.code)
        assert KEY not in repr(failure)
        assert KEY not in repr(complaint)


@settings(deadline=None)
@given(STATUSES, st.binary(max_size=200))
@example(400, b"[" * 100_000)
@example(400, b'{"error": ' * 50_000)
@example(400, b'{"error": {"code": 1e999}}')
@example(400, b'{"error": {"code": "\\ud800"}}')
@example(400, b'{"error": {"code": "\xff"}}')
@example(400, b'\xef\xbb\xbf{"error": {}}')
def test_any_bytes_are_classified(status, body):
    """No body crashes the reader, whatever the status."""
    check(status, body)


@settings(deadline=None)
@given(STATUSES, ENVELOPES, st.booleans())
def test_any_json_in_an_errors_shape_is_classified(status, envelope, listed):
    """No value in the place of another crashes the reader, and none but a name is kept."""
    check(status, json.dumps([envelope] if listed else envelope).encode())


@settings(deadline=None)
@given(st.text(max_size=100))
def test_only_a_name_becomes_the_code(text):
    """Sentences, secrets and control characters are not logged as codes."""
    body = json.dumps({"error": {"code": text, "type": text}}).encode()
    code = failure_of(400, complaint_in(body, Mask(KEY))).code
    assert code in {None, text}
    if " " in text or "\n" in text or sum(c.isdecimal() for c in text) > 6 or not text.isascii():
        assert code is None


def test_secrets_are_no_names():
    """A key that is not the one that was sent does not get into the log as a code either."""
    for secret in ("sk-proj-Zq8_Wm3-Tn5vXc7bRk2yLp9hGd4fJs6a", "3f1c9e0b7a6d4c2e8f5a1b3c", KEY, "y" * 65):
        body = json.dumps({"error": {"code": secret, "type": secret}}).encode()
        assert failure_of(400, complaint_in(body, Mask(KEY))).code is None
