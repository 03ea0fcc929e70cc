"""Who a request is from, as far as budgets and reports ask: client, team and tags."""

from collections.abc import Iterable
from typing import Final

import msgspec

from apikeyrouter.domain.models.system_error import InvalidRequestError

LONGEST_NAME: Final = 128
MOST_TAGS: Final = 16


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Names that were checked; tags in order, each once."""

    client_id: str | None = None
    team: str | None = None
    tags: tuple[str, ...] = ()


NOBODY: Final = Origin()


def origin_of(client_id: object = None, team: object = None, tags: Iterable[object] = ()) -> Origin:
    """Check the names of a caller, or raise `InvalidRequestError` that says which is unusable."""
    named = tuple(sorted({_name(tag, "tags") for tag in tags}))
    if len(named) > MOST_TAGS:
        raise InvalidRequestError(f"a request may have {MOST_TAGS} tags at most", param="tags")
    return Origin(
        client_id=None if client_id is None else _name(client_id, "client_id"),
        team=None if team is None else _name(team, "team"),
        tags=named,
    )


def _name(given: object, param: str) -> str:
    if isinstance(given, str) and 0 < len(given) <= LONGEST_NAME and given.isprintable():
        return given
    raise InvalidRequestError(f"{param} must be 1 to {LONGEST_NAME} printable characters", param=param)
