"""What callers are told to do about a failure that ended their request."""

import pytest

from apikeyrouter.application.passage import Order, Passage
from apikeyrouter.application.refusals import provider_error
from apikeyrouter.domain.events import RequestFacts
from apikeyrouter.domain.failures import Failure, FailureClass
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.interfaces.http.openai_errors import body_of, headers_of

MAY_PASS = {
    FailureClass.RateLimited,
    FailureClass.Conflict,
    FailureClass.Overloaded,
    FailureClass.ServerError,
    FailureClass.ConnectFailed,
    FailureClass.FirstByteTimeout,
    FailureClass.IdleTimeout,
    FailureClass.TotalTimeout,
    FailureClass.BrokenAnswer,
    FailureClass.MalformedAnswer,
}


@pytest.mark.parametrize("failure_class", FailureClass)
def test_a_retry_is_advised_only_where_it_may_help(failure_class):
    """What time mends may be tried again; gone quota, rejected keys and faulty requests may not."""
    facts = RequestFacts(operation="chat", model="m")
    passage = Passage(
        request_id="r",
        stream="request-r",
        order=Order(facts=facts, policy=policy_of(None), body=b""),
        started_us=0,
    )
    error = provider_error(passage, Failure(failure_class=failure_class))
    assert error.retryable is (failure_class in MAY_PASS)
    told = dict(headers_of(error, body_of(error))).get(b"x-should-retry")
    assert (told == b"false") is not error.retryable
