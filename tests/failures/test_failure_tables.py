"""The tables of upstream failures: every row has an example that it alone recognises, and a reason."""

import pytest
from raw_server import KEY, response
from upstream_errors import (
    BUSY,
    DAILY,
    EXAMPLES,
    ROWS,
    Example,
    anthropic,
    azure,
    gemini,
    named,
    openai,
    quota,
    reason,
    retry,
)

from apikeyrouter.adapters.providers.error_shapes import complaint_in
from apikeyrouter.adapters.providers.redaction import Mask
from apikeyrouter.domain.failure_tables import HANDLING, PAGES, SIGNS
from apikeyrouter.domain.failures import (
    Complaint,
    Dialect,
    Failure,
    FailureClass,
    KeyEffect,
    NextTry,
    classify,
    failure_of,
)
from apikeyrouter.domain.rate_limits import RateLimitReport

SECOND = 1_000_000
IDS = [f"{dialect}: {named(sign)}" for dialect, sign in ROWS]
NOT_IN_ANSWERS = {
    FailureClass.ConnectFailed,
    FailureClass.FirstByteTimeout,
    FailureClass.IdleTimeout,
    FailureClass.TotalTimeout,
    FailureClass.BrokenAnswer,
    FailureClass.MalformedAnswer,
}


def read(example: Example, **options):
    return complaint_in(example.data, Mask(KEY), refused=example.status >= 400, **options)


def judged(example: Example, **options) -> Failure:
    return failure_of(example.status, read(example), **options)


class TestEveryRow:
    @pytest.mark.parametrize("dialect", Dialect)
    def test_has_an_example(self, dialect):
        """A row without an example, and an example without a row, are mistakes; so is a row told twice."""
        rows = [named(sign) for sign in SIGNS[dialect]]
        assert sorted(rows) == sorted(EXAMPLES[dialect])

    @pytest.mark.parametrize(("dialect", "sign"), ROWS, ids=IDS)
    def test_recognises_its_example(self, dialect, sign):
        """The example is known by this row, not by some other that means the same."""
        example = EXAMPLES[dialect][named(sign)]
        complaint = read(example) or Complaint()
        assert classify(example.status, complaint) is sign
        assert sign.reason

    @pytest.mark.parametrize(("dialect", "sign"), ROWS, ids=IDS)
    async def test_decides_what_a_real_answer_means(self, adapter_for, call, failed, dialect, sign):
        """Over a socket the example ends in the row's class, whole and as an opened stream."""
        example = EXAMPLES[dialect][named(sign)]
        head = ("Content-Type: application/json",)
        adapter = await adapter_for(response(example.data, status=f"{example.status} No", headers=head))
        whole = await failed(adapter.execute(call()))
        assert (whole.failure_class, whole.status) == (sign.failure_class, example.status)
        assert await failed(adapter.open_stream(call())) == whole
        assert (whole.body is not None) == whole.handling.quotes_provider

    def test_stands_for_a_class_and_every_class_for_something(self):
        """What upstreams say, and what happens to connections, are all the classes there are."""
        said = {sign.failure_class for _, sign in ROWS}
        assert said | NOT_IN_ANSWERS == set(FailureClass) == set(HANDLING)
        assert not said & NOT_IN_ANSWERS
        assert set(PAGES) == set(SIGNS) == set(Dialect)
        assert all(PAGES.values())


class TestHandling:
    @pytest.mark.parametrize("failure_class", FailureClass)
    def test_is_consistent(self, failure_class):
        """Who is not asked again is told as such, and a wait is only given where a key rests."""
        row = HANDLING[failure_class]
        assert row.reason
        assert row.code
        assert 400 <= row.status < 600
        assert row.another_key == (row.next_try is not NextTry.Nobody)
        assert bool(row.default_wait_us) == (row.effect in {KeyEffect.Throttle, KeyEffect.Exhaust})

    def test_blames_the_provider_for_what_no_key_can_help(self):
        """Server errors, silence and garbage are the provider's; what is refused to a key is not."""
        blamed = {name for name, row in HANDLING.items() if row.blames_provider}
        assert blamed == NOT_IN_ANSWERS | {FailureClass.ServerError, FailureClass.Overloaded}
        elsewhere = {name for name, row in HANDLING.items() if row.next_try is NextTry.AnotherProvider}
        own = {FailureClass.ModelNotFound, FailureClass.RegionRefused}
        assert elsewhere == (blamed | own) - {FailureClass.TotalTimeout}

    @pytest.mark.parametrize(
        "failure_class",
        [
            FailureClass.InvalidRequest,
            FailureClass.ContentRefused,
            FailureClass.ModelNotFound,
            FailureClass.ModelNotAllowed,
            FailureClass.RegionRefused,
            FailureClass.TooLargeForKey,
            FailureClass.Conflict,
        ],
    )
    def test_spares_a_key_that_is_sound_for_other_requests(self, failure_class):
        """One model, one content, one place or one size refused says nothing about the key."""
        assert HANDLING[failure_class].effect in {KeyEffect.Nothing, KeyEffect.DenyModel}

    def test_asks_nobody_where_everybody_would_refuse(self):
        """A bad request, refused content and a used-up deadline end the request; nothing else does."""
        ends = {name for name, row in HANDLING.items() if not row.another_key}
        assert ends == {
            FailureClass.InvalidRequest,
            FailureClass.ContentRefused,
            FailureClass.TotalTimeout,
        }
        again = {name for name, row in HANDLING.items() if row.next_try is NextTry.SameKey}
        assert again == {FailureClass.Conflict}


class TestWhatOutranksWhat:
    @pytest.mark.parametrize(
        ("example", "expected"),
        [
            (openai(401, None, "invalid_request_error"), FailureClass.KeyRejected),
            (openai(403, None, "invalid_request_error"), FailureClass.PermissionDenied),
            (openai(429, None, "invalid_request_error"), FailureClass.RateLimited),
            (openai(500, None, "invalid_request_error"), FailureClass.ServerError),
            (openai(503, None, "authentication_error"), FailureClass.Overloaded),
            (anthropic(529, "api_error"), FailureClass.Overloaded),
            (anthropic(400, "authentication_error"), FailureClass.InvalidRequest),
            (gemini(404, "PERMISSION_DENIED"), FailureClass.ModelNotFound),
        ],
    )
    def test_a_type_never_outranks_the_status(self, example, expected):
        """Types are coarse: `invalid_request_error` stands beside rejected keys as well."""
        assert judged(example).failure_class is expected

    @pytest.mark.parametrize(
        ("example", "expected"),
        [
            (openai(400, "insufficient_quota"), FailureClass.QuotaExhausted),
            (openai(500, "invalid_api_key"), FailureClass.KeyRejected),
            (openai(418, "rate_limit_exceeded"), FailureClass.RateLimited),
            (azure(500, "DeploymentNotFound"), FailureClass.ModelNotFound),
            (anthropic(400, "x", "model: y"), FailureClass.InvalidRequest),
        ],
    )
    def test_a_code_outranks_the_status(self, example, expected):
        """A code is exact, whatever a gateway made of the status."""
        assert judged(example).failure_class is expected

    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            (418, FailureClass.InvalidRequest),
            (499, FailureClass.InvalidRequest),
            (521, FailureClass.ServerError),
            (999, FailureClass.ServerError),
            (302, FailureClass.ServerError),
            (200, FailureClass.ServerError),
            (None, FailureClass.ServerError),
        ],
    )
    def test_an_unknown_status_falls_to_its_family(self, status, expected):
        """What nobody knows is the request's fault if it is a 4xx, and the provider's if not."""
        assert classify(status, Complaint()).failure_class is expected

    @pytest.mark.parametrize("code", [429, "429"])
    def test_a_status_in_the_body_stands_in_for_a_success(self, code):
        """Under 200 the body's own status counts; under an error the answer's does."""
        body = {"error": {"code": code, "message": "No."}}
        assert judged(Example(200, body)).failure_class is FailureClass.RateLimited
        assert judged(Example(500, body)).failure_class is FailureClass.ServerError

    @pytest.mark.parametrize("dialect", Dialect)
    def test_what_all_share_is_known_in_every_dialect(self, dialect):
        """A wrong guess of the dialect costs only what that provider alone says."""
        assert classify(400, Complaint(dialect=dialect, code="invalid_api_key")).failure_class is (
            FailureClass.KeyRejected
        )
        assert classify(200, Complaint(dialect=dialect, kind="overloaded_error")).failure_class is (
            FailureClass.Overloaded
        )


class TestAnOpening:
    LOW = "Your credit balance is too low to access the API."

    def test_counts_only_at_the_beginning(self):
        """A text that a caller can bring into a message must not take a key out of service."""
        quoted = anthropic(400, "invalid_request_error", f"messages.0: unexpected value {self.LOW!r}")
        assert judged(quoted).failure_class is FailureClass.InvalidRequest

    def test_counts_only_in_its_dialect_and_under_its_status(self):
        """The same words from somebody else mean nothing."""
        assert judged(openai(400, None, "x", self.LOW)).failure_class is FailureClass.InvalidRequest
        assert judged(anthropic(404, "x", self.LOW)).failure_class is FailureClass.ModelNotFound

    async def test_of_the_callers_own_making_is_not_believed(self, adapter_for, call, failed):
        """A gateway that begins its message with the model's name must not let a caller write it."""
        example = anthropic(400, "invalid_request_error", f"{self.LOW} is not a model.")
        adapter = await adapter_for(response(example.data, status="400 No"))
        fooled = await failed(adapter.execute(call()))
        assert fooled.failure_class is FailureClass.QuotaExhausted
        for model in (self.LOW, f" {self.LOW} ", self.LOW[:9]):
            told = await failed(adapter.execute(call(model=model)))
            assert told.failure_class is FailureClass.InvalidRequest


class TestTheWait:
    LIMITS = (
        RateLimitReport("requests", 10, 3, 5 * SECOND),
        RateLimitReport("tokens", 100, 0, 60 * SECOND),
    )
    SLOW = gemini(429, "RESOURCE_EXHAUSTED", details=[quota(BUSY), retry("12.5s")])

    def test_headers_outrank_the_body_and_the_body_the_limits(self):
        """The most exact statement is taken."""
        assert judged(self.SLOW, asked_us=7 * SECOND, limits=self.LIMITS).wait_us == 7 * SECOND
        assert judged(self.SLOW, limits=self.LIMITS).wait_us == 12_500_000
        assert judged(openai(429), limits=self.LIMITS).wait_us == 60 * SECOND
        assert judged(openai(429)).wait_us == HANDLING[FailureClass.RateLimited].default_wait_us

    def test_limits_say_nothing_about_other_failures(self):
        """That the next window opens in a minute does not heal a server."""
        assert judged(openai(500), limits=self.LIMITS).retry_after_us is None

    @pytest.mark.parametrize(
        ("delay", "expected"),
        [
            ("12s", 12 * SECOND),
            ("0s", 0),
            ("999999999s", 24 * 3600 * SECOND),
            ("-1s", None),
            ("soon", None),
            ("", None),
        ],
    )
    def test_of_a_body_is_bounded_and_may_be_nonsense(self, delay, expected):
        """Google's RetryInfo is read as a duration or not at all."""
        assert judged(gemini(429, "RESOURCE_EXHAUSTED", details=[retry(delay)])).retry_after_us == expected

    def test_for_a_days_quota_is_not_the_seconds_named_beside_it(self):
        """Google names seconds even where the day's quota is gone."""
        failure = judged(gemini(429, "RESOURCE_EXHAUSTED", details=[quota(BUSY, DAILY), retry("12s")]))
        assert (failure.failure_class, failure.code) == (FailureClass.QuotaExhausted, DAILY)
        assert failure.wait_us == 3600 * SECOND

    def test_is_bounded_even_for_limits_that_reset_next_month(self):
        """A report may look far ahead, a rest does not."""
        limits = (RateLimitReport("tokens", 1, 0, 31 * 24 * 3600 * SECOND),)
        assert judged(openai(429), limits=limits).retry_after_us == 24 * 3600 * SECOND


class TestShapes:
    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (openai(400).body, Dialect.OpenAI),
            (azure(400, "BadRequest").body, Dialect.Azure),
            (azure(401, "401").body, Dialect.Azure),
            (azure(400, None, innererror={}).body, Dialect.Azure),
            (anthropic(400, "x").body, Dialect.Anthropic),
            (gemini(400, "INVALID_ARGUMENT").body, Dialect.Gemini),
            (gemini(400, "INVALID_ARGUMENT").body[0], Dialect.Gemini),
            ({"code": "a sentence", "error": "another"}, Dialect.Xai),
            ({"error": "a bare text"}, Dialect.Generic),
            ({"error": ["what is this"]}, Dialect.Generic),
            ({"object": "error", "message": "No.", "type": "rate_limited", "code": "1300"}, Dialect.Azure),
        ],
    )
    def test_each_dialect_is_known_by_its_shape(self, body, expected):
        """Nobody says which provider stands behind a base URL; the error's shape does."""
        assert read(Example(400, body)).dialect is expected

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({"object": "error", "message": "No.", "type": "rate_limited", "code": "1300"}, "1300"),
            ({"object": "error", "message": "No.", "type": "NotFoundError", "code": 404}, "NotFoundError"),
            ({"type": "error", "code": "slow_down", "message": "No."}, "slow_down"),
            ({"type": "error", "message": "No."}, None),
            ({"message": "Unauthorized"}, None),
            ({"detail": [{"loc": ["body"]}]}, None),
            (gemini(403, "PERMISSION_DENIED", details=[reason("SERVICE_DISABLED")]).body, "SERVICE_DISABLED"),
            (gemini(403, "PERMISSION_DENIED", details=["?"]).body, "PERMISSION_DENIED"),
        ],
    )
    def test_the_name_for_the_log_is_found(self, body, code):
        """The code, or where there is none the type, in the envelope or without one."""
        assert judged(Example(400, body)).code == code

    @pytest.mark.parametrize("body", [b"", b"[]", b"null", b"7", b"<html>", b'{"error": null}', b"{}"])
    def test_a_success_that_is_no_error_is_none(self, body):
        """What does not say that it is an error is not read as one."""
        assert complaint_in(body, Mask(KEY)) is None

    def test_a_message_is_not_shown(self):
        """An error's message may repeat what was asked, so nothing prints it."""
        complaint = read(openai(400, message="you asked about my secret"))
        assert complaint.message
        assert "secret" not in repr(complaint)

    def test_too_large_an_error_is_an_error_unread(self):
        """A body of megabytes is not unfolded to learn why it failed."""
        huge = openai(200, "insufficient_quota", message="x" * 100_000)
        assert read(huge) == Complaint()
        listed = openai(200, "insufficient_quota").data
        assert complaint_in(b"[" + listed + b"]", Mask(KEY)).code == "insufficient_quota"
        assert complaint_in(b"[" + listed + b",1" * 100_000 + b"]", Mask(KEY)) is None

    async def test_too_large_an_answer_is_not_quoted(self, adapter_for, call, failed):
        """The client gets the provider's words about its request, not megabytes around them."""
        error = openai(200, "context_length_exceeded").body
        for padding, quoted in ((1_000, True), (100_000, False)):
            body = Example(200, error | {"padding": "x" * padding}).data
            failure = await failed((await adapter_for(response(body))).execute(call()))
            assert (failure.failure_class, failure.body is not None) == (FailureClass.InvalidRequest, quoted)
