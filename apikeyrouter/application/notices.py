"""Log lines for operators: through structlog where it is configured, else through the library's own logger.

An embedded library must not print: until the host configures structlog, notices go to `logging`'s
"apikeyrouter", which shows warnings on standard error and can be silenced like any other.
"""

import logging
from typing import Any

import structlog

_LIBRARY = logging.getLogger("apikeyrouter")


def notices() -> Any:
    """Return the logger for operators."""
    if structlog.is_configured():
        return structlog.get_logger()
    return structlog.wrap_logger(
        _LIBRARY,
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
