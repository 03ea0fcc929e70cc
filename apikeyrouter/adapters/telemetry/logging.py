"""Log lines: structlog for this process, each line redacted. Only programs call this, never the library."""

import logging
import sys
import threading
from types import TracebackType
from typing import Any, BinaryIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from apikeyrouter.adapters.telemetry.redaction import Redactor


def configure_logging(
    level: str, log_format: str, *, redactor: Redactor, stream: BinaryIO | None = None
) -> None:
    """Send every line of this process to one stream (stderr), as JSON or for a console.

    The standard library's loggers and uncaught exceptions take the same way, so nothing passes the redactor.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    sink = _Sink(stream if stream is not None else sys.stderr.buffer)
    structlog.configure(
        processors=_processors(log_format, redactor, colors=sink.isatty()),
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.BytesLoggerFactory(sink),  # type: ignore[arg-type]  # it calls write and flush
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Forward()], level=threshold, force=True)
    logging.captureWarnings(True)
    sys.excepthook = _report_crash
    threading.excepthook = _report_thread_crash


def _processors(log_format: str, redactor: Redactor, *, colors: bool) -> list[Processor]:
    def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return redactor.clean_fields(event)

    render = _json_line if log_format == "json" else _console_line(colors=colors)
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.format_exc_info,
        redact,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        render,
    ]


def _json_line(_logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
    return msgspec.json.encode(event)


def _console_line(*, colors: bool) -> Processor:
    # Locals are never shown: they hold keys. Texts are quoted, so that a line end in one cannot fake a line.
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors, repr_native_str=True, exception_formatter=structlog.dev.plain_traceback
    )

    def render(logger: WrappedLogger, method: str, event: EventDict) -> bytes:
        shown = {_on_one_line(name): value for name, value in event.items()}
        shown["event"] = _on_one_line(str(event.get("event")))
        return str(renderer(logger, method, shown)).encode()

    return render


def _on_one_line(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode()


class _Sink:
    """A stream that cannot fail: a full disk under the log lines must not fail the request they report."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def isatty(self) -> bool:
        """Tell whether a person watches."""
        return self._stream.isatty()

    def write(self, line: bytes) -> None:
        """Write a line, or lose it."""
        try:
            self._stream.write(line)
        except (OSError, ValueError):  # ValueError: closed
            return

    def flush(self) -> None:
        """Flush, or lose what was buffered."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            return


class _Forward(logging.Handler):
    """Hands the standard library's records to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record as a line; the logger's name stays as a field."""
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info:
            fields["exc_info"] = record.exc_info
        structlog.get_logger().log(_known_level(record.levelno), _message(record), **fields)


def _known_level(level: int) -> int:
    """Round a level of somebody's own down to one that has a name."""
    return min(max(level // 10 * 10, logging.DEBUG), logging.CRITICAL)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):  # the arguments do not fit the text
        return str(record.msg)


def _report_crash(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    structlog.get_logger().critical("process_crashed", exc_info=(kind, error, traceback))


def _report_thread_crash(crash: threading.ExceptHookArgs) -> None:
    if crash.exc_value is not None:
        structlog.get_logger().critical(
            "thread_crashed", exc_info=(crash.exc_type, crash.exc_value, crash.exc_traceback)
        )
