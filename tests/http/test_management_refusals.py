"""What the management API tells a caller who came close: the fault, and what would be right."""

import pytest
from loopback import RUN_KEY, running_proxy

from apikeyrouter.settings import RouterSettings

OPEN = {"x-api-key": RUN_KEY}
FORM = {"content-type": "application/x-www-form-urlencoded"}
PROVIDER = b'{"provider_id": "somebody", "base_url": "http://127.0.0.1:1/v1"}'
MANAGEMENT_KEY = "management-key-of-the-tests"


@pytest.fixture
async def proxy():
    async with running_proxy() as proxy:
        yield proxy


async def _error(proxy, method, path, status, **options):
    answer = await proxy.client.request(method, path, **options)
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


@pytest.mark.parametrize("declared", [FORM, {}, {"content-type": "text/plain"}])
async def test_a_body_is_read_as_json_whatever_it_is_called(proxy, declared):
    """`curl -d` calls it a form, and other clients call it nothing at all."""
    answer = await proxy.client.post("/api/v1/providers", content=PROVIDER, headers=OPEN | declared)
    assert answer.status_code == 201, answer.text


async def test_what_a_web_page_can_send_unasked_is_refused(proxy):
    """A form or plain text without the key in a header; and a browser that asks first is not let through."""
    position = proxy.node.state.position
    page = {"origin": "https://elsewhere.example"}
    for declared in (FORM, {"content-type": "text/plain"}):
        await _error(proxy, "POST", "/api/v1/providers", 401, content=PROVIDER, headers=page | declared)
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
    answer = await proxy.client.options("/api/v1/providers", headers=page | asked)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert proxy.node.state.position == position


@pytest.mark.parametrize(("body", "place"), [(b'{"name": }', 9), (b"name=value", 0)])
async def test_a_body_that_is_not_json_is_called_that(proxy, body, place):
    """With the place of the first fault, which is no parameter."""
    error = await _error(proxy, "POST", "/api/v1/providers", 400, content=body, headers=OPEN)
    assert error["message"] == f"the body is not valid JSON at character {place}: Expecting value"
    assert error["param"] is None


async def test_a_method_that_is_not_allowed_is_the_callers_fault(proxy):
    """All methods that are allowed are named, though each is a route of its own."""
    answer = await proxy.client.delete("/api/v1/keys", headers=OPEN)
    error = answer.json()["error"]
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, POST"
    assert (error["type"], error["code"]) == ("invalid_request_error", "method_not_allowed")
    assert error["message"] == "DELETE is not allowed at /api/v1/keys, only GET, POST"


async def test_a_wrong_key_and_a_missing_one_are_told_apart():
    """A wrong one is not told to be set, a missing one is told its header, and no key is ever shown."""
    async with running_proxy(RouterSettings(management_api_key=MANAGEMENT_KEY)) as proxy:
        guess = {"x-api-key": "guess-of-the-tests"}
        wrong = await _error(proxy, "GET", "/api/v1/keys", 401, headers=guess)
        missing = await _error(proxy, "GET", "/api/v1/keys", 401)
    assert wrong["message"] == "the key that was sent is not the management key of this server"
    assert "send it as X-API-Key" in missing["message"]


async def test_where_no_key_is_configured_that_is_told(proxy):
    """Whatever was sent cannot be right then."""
    for headers in ({}, {"x-api-key": "guess"}):
        error = await _error(proxy, "GET", "/api/v1/keys", 401, headers=headers)
        assert "set APIKEYROUTER_MANAGEMENT_API_KEY" in error["message"]


BESIDE = {
    ("POST", "/chat/completions"): "POST /v1/chat/completions",
    ("POST", "/v1/chat/completions/"): "POST /v1/chat/completions",
    ("POST", "/v1/v1/embeddings"): "POST /v1/embeddings",
    ("POST", "/api/v1/chat/completions"): "POST /v1/chat/completions",
    ("GET", "/models"): "GET /v1/models",
}


@pytest.mark.parametrize(("method", "path"), BESIDE)
async def test_a_path_beside_openais_is_told_the_right_one(proxy, method, path):
    """Mostly the base URL lacks /v1, or has it twice."""
    error = await _error(proxy, method, path, 404)
    assert f"did you mean {BESIDE[method, path]}? A client's base_url must end in /v1" in error["message"]


async def test_a_right_path_by_a_wrong_method_is_told_the_method(proxy):
    """The base URL is right then, and any other unknown path gets no guess."""
    error = await _error(proxy, "GET", "/v1/chat/completions", 404)
    assert error["message"].endswith("did you mean POST /v1/chat/completions?")
    error = await _error(proxy, "POST", "/v1/responses", 404)
    assert error["message"] == "there is nothing at POST /v1/responses"
