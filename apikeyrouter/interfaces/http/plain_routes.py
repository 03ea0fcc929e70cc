"""What is served by plain ASGI: the hot path, and what clients and monitors ask for again and again."""

from collections.abc import Awaitable, Callable

from apikeyrouter.bootstrap import Node
from apikeyrouter.interfaces.http.asgi import Receive, Scope, Send
from apikeyrouter.interfaces.http.health_api import live, metrics, ready
from apikeyrouter.interfaces.http.models_api import MODELS, get_model, list_models
from apikeyrouter.interfaces.http.openai_api import chat_completions, embeddings

Handler = Callable[[Node, Scope, Receive, Send], Awaitable[None]]

_POSTS: dict[str, Handler] = {
    "/v1/chat/completions": chat_completions,
    "/v1/embeddings": embeddings,
}
_GETS: dict[str, Handler] = {
    MODELS: list_models,
    "/health": ready,
    "/health/ready": ready,
    "/health/live": live,
    "/metrics": metrics,
}


def plain_route(method: str, path: str) -> Handler | None:
    """Return who serves a request; None if that is for the application behind."""
    if method == "POST":
        return _POSTS.get(path)
    if method in {"GET", "HEAD"}:
        return _GETS.get(path) or (get_model if path.startswith(f"{MODELS}/") else None)
    return None


def openai_route(path: str) -> tuple[str, str] | None:
    """Return the method and path of OpenAI's API that a path beside it ends like, if there is one."""
    routes = [("POST", known) for known in _POSTS] + [("GET", MODELS)]
    alike = (route for route in routes if path.rstrip("/").endswith(route[1].removeprefix("/v1")))
    return next(alike, None)
