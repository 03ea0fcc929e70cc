"""Log lines as they leave the process."""

import io
import json
import logging
import os
import subprocess
import sys
import warnings

import pytest
import structlog
from canaries import ALL, runs_left

from apikeyrouter.adapters.telemetry.logging import configure_logging

pytestmark = pytest.mark.usefixtures("_logging_put_back")


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def raise_with(text):
    """Return an error that was really raised, so that it has a traceback, with a cause of its own."""
    try:
        fail_after_another(text)
    except RuntimeError as error:
        return error


def fail_after_another(text):
    try:
        fail(ValueError(text))
    except ValueError as cause:
        raise RuntimeError(f"while handling {text}") from cause


def fail(error):
    raise error


class TestLines:
    def test_a_line_is_one_json_object_with_event_level_and_time(self, redactor, stream):
        """Fields stand beside the event's name."""
        configure_logging("info", "json", redactor=redactor, stream=stream)
        structlog.get_logger().info("key_throttled", key_id="k1", wait_ms=5)
        (line,) = lines(stream)
        assert line.pop("timestamp").endswith("Z")
        assert line == {"event": "key_throttled", "level": "info", "key_id": "k1", "wait_ms": 5}

    def test_what_is_below_the_level_is_not_written(self, redactor, stream):
        """From structlog and from the standard library alike."""
        configure_logging("warning", "json", redactor=redactor, stream=stream)
        structlog.get_logger().info("unheard")
        logging.getLogger("library").info("unheard")
        structlog.get_logger().warning("heard")
        assert [line["event"] for line in lines(stream)] == ["heard"]

    def test_what_is_bound_once_stands_in_every_line(self, redactor, stream):
        """A request id bound at the door is in all lines of that request."""
        configure_logging("info", "json", redactor=redactor, stream=stream)
        with structlog.contextvars.bound_contextvars(request_id="r1"):
            structlog.get_logger().info("request_entered")
        assert lines(stream)[0]["request_id"] == "r1"

    def test_the_standard_library_takes_the_same_way(self, redactor, stream):
        """Its records become lines with the logger's name, its warnings too."""
        configure_logging("info", "json", redactor=redactor, stream=stream)
        logging.getLogger("some.library").error("bad %s", "thing")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old thing", stacklevel=1)
        first, second = lines(stream)
        assert (first["event"], first["logger"], first["level"]) == ("bad thing", "some.library", "error")
        assert "old thing" in second["event"]

    @pytest.mark.parametrize(
        ("level", "shown"), [(1, "debug"), (15, "debug"), (25, "info"), (45, "error"), (99, "critical")]
    )
    def test_levels_of_other_libraries_are_rounded_down(self, redactor, stream, level, shown):
        """Some define their own, such as trace and notice."""
        configure_logging("debug", "json", redactor=redactor, stream=stream)
        logger = logging.getLogger("library.with.levels")
        logger.setLevel(1)
        logger.log(level, "said")
        assert lines(stream)[0]["level"] == shown

    def test_a_record_whose_arguments_do_not_fit_is_written_all_the_same(self, redactor, stream):
        """A mistake in a library's log call is not our crash."""
        configure_logging("info", "json", redactor=redactor, stream=stream)
        logging.getLogger("library").info("%s and %s", *["one"])
        assert lines(stream)[0]["event"] == "%s and %s"

    def test_the_console_shows_a_line_for_people(self, redactor, stream):
        """Without colours where nobody watches."""
        configure_logging("info", "console", redactor=redactor, stream=stream)
        structlog.get_logger().info("key_throttled", key_id="k1")
        shown = stream.getvalue().decode()
        assert "key_throttled" in shown
        assert "k1" in shown
        assert "\x1b" not in shown

    @pytest.mark.parametrize("log_format", ["json", "console"])
    def test_no_value_can_fake_a_line(self, redactor, stream, log_format):
        """Line ends and escape sequences from outside are written as text."""
        configure_logging("info", log_format, redactor=redactor, stream=stream)
        structlog.get_logger().info(
            "model_unknown\nfake", model="x\nfake", more="\x1b[2J", **{"odd\nname": 1}
        )
        assert stream.getvalue().count(b"\n") == 1
        assert b"\x1b" not in stream.getvalue()

    def test_a_stream_that_fails_does_not_fail_the_caller(self, redactor):
        """A full disk under the log lines is no reason to drop a request."""

        class Full(io.BytesIO):
            def write(self, _line):
                raise OSError(28, "No space left on device")

            def flush(self):
                raise OSError(28, "No space left on device")

        configure_logging("info", "json", redactor=redactor, stream=Full())
        structlog.get_logger().error("log_append_failed")
        closed = io.BytesIO()
        configure_logging("info", "json", redactor=redactor, stream=closed)
        closed.close()
        structlog.get_logger().error("log_append_failed")


class TestSecrets:
    @pytest.mark.parametrize("log_format", ["json", "console"])
    @pytest.mark.parametrize("canary", ALL.values(), ids=ALL)
    def test_no_way_into_a_line_lets_a_key_through(self, redactor, stream, log_format, canary):
        """Event, field, name, nested value, object, exception and its cause, context, foreign logger."""
        redactor.remember(canary)
        configure_logging("debug", log_format, redactor=redactor, stream=stream)
        log, said = structlog.get_logger(), f"said {canary}"
        with structlog.contextvars.bound_contextvars(context=canary):
            log.info(said, field=canary, nested={"a": [canary]}, blob=canary.encode(), **{canary: 1})
        error = raise_with(canary)
        log.error("call_failed", exc_info=error)
        log.error("call_failed", error=error, text=repr(error))
        logging.getLogger("library").error("%r", {"key": canary}, exc_info=error)
        shown = stream.getvalue().decode()
        assert shown.count("[redacted]") >= 10
        assert "raise_with" in shown
        assert not runs_left(canary, shown)

    def test_locals_are_never_shown(self, redactor, stream):
        """Tracebacks show where, not with what."""
        configure_logging("info", "console", redactor=redactor, stream=stream)
        held = "Opaque0Local0Value0Of0A0Key"
        try:
            fail(RuntimeError(len(held)))
        except RuntimeError:
            structlog.get_logger().exception("call_failed")
        assert held not in stream.getvalue().decode()


class TestProcess:
    CRASH = """
import sys, threading
from apikeyrouter.adapters.telemetry.logging import configure_logging
from apikeyrouter.adapters.telemetry.redaction import Redactor
key = "-".join(["Opaque", "Crash", "Canary", "0123456789"])
redactor = Redactor()
redactor.remember(key)
configure_logging("info", "json", redactor=redactor)
def fall(): raise RuntimeError(key)
thread = threading.Thread(target=fall)
thread.start()
thread.join()
fall()
"""

    def test_a_crash_is_a_line_without_the_key(self):
        """Uncaught exceptions of main and other threads pass the redactor on their way to stderr."""
        ran = subprocess.run([sys.executable, "-c", self.CRASH], capture_output=True, text=True, check=False)
        told = [json.loads(line) for line in ran.stderr.splitlines()]
        assert [line["event"] for line in told] == ["thread_crashed", "process_crashed"]
        assert all("RuntimeError: [redacted]" in line["exception"] for line in told)
        assert "Canary-0123456789" not in ran.stderr
        assert ran.returncode == 1

    def test_importing_the_library_configures_nothing(self):
        """A program that embeds the router keeps its own logging."""
        code = (
            "import logging, sys, structlog, apikeyrouter, apikeyrouter.adapters.telemetry.logging;"
            "print(structlog.is_configured(), logging.getLogger().handlers,"
            " sys.excepthook is sys.__excepthook__)"
        )
        ran = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
        )
        assert ran.stdout.split() == ["False", "[]", "True"]
