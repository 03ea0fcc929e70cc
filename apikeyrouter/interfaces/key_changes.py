"""Changes of what is declared of a key, as every interface takes them: entry by entry."""

from collections.abc import Mapping

from apikeyrouter.domain.events import Metadata
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.quota_limits import flattened


def merged_metadata(known: Metadata, changes: object) -> dict[str, object]:
    """Return the metadata with entries replaced or added; None removes an entry, others stay."""
    if not isinstance(changes, Mapping) or not changes:
        raise InvalidRequestError("metadata must map at least one name to a value", param="metadata")
    changed = flattened(changes)
    kept = {name: value for name, value in known.items() if name not in changed}
    return {**kept, **{name: value for name, value in changed.items() if value is not None}}
