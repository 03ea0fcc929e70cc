"""The command line in a test: in this process, and as processes of their own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from typer.testing import CliRunner

from apikeyrouter.interfaces.cli.main import app

PROGRAM = str(Path(sys.executable).with_name("apikeyrouter"))
DEADLINE_S = 20.0


class Commands:
    """The command line on one log, in this process."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def run(self, *arguments: str, stdin: str | None = None, **environment: str):
        return CliRunner().invoke(
            app, [*arguments, "--database", str(self.log)], input=stdin, env=environment
        )

    def data(self, *arguments: str, stdin: str | None = None, **environment: str):
        """Run with --json and return the document."""
        result = self.run(*arguments, "--json", stdin=stdin, **environment)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


class Processes:
    """The command line as processes in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "apikeyrouter.db"

    def run(self, *arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *arguments],
            cwd=self.folder,
            env=_clean(environment),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    @contextlib.contextmanager
    def started(self, *arguments: str, **environment: str):
        """Keep a command running until the block ends; it is told to stop then if it has not yet."""
        process = subprocess.Popen(
            [PROGRAM, *arguments],
            cwd=self.folder,
            env=_clean(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                raise

    @contextlib.contextmanager
    def serving(self, *arguments: str, **environment: str):
        """Keep a server running on a free port; yields what it says of itself."""
        with self.started("serve", "--port", "0", "--json", *arguments, **environment) as process:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield Serving(process, json.loads(line))


class Serving:
    """A server that runs."""

    def __init__(self, process: subprocess.Popen[str], said: dict) -> None:
        self.process = process
        self.url = said["url"]
        self.said = said

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal, and return the exit code and what was written on standard error."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, errors


def _clean(environment: dict[str, str]) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("APIKEYROUTER_", "OPENAI_")) and name != "COLUMNS"
    }
    return {**kept, **environment}


def until(condition, what: str) -> None:
    """Wait for a condition of another process, or fail after a deadline."""
    end_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end_s, f"waited in vain until {what}"
        time.sleep(0.01)
