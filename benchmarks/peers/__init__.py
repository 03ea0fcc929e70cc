"""Other gateways, each installed from its wheel into a virtual environment of its own."""

import subprocess
import sys
from pathlib import Path

from benchmarks.processes import NotStartedError

HOME = Path(__file__).parent.parent / ".peers"
INSTALL_WITHIN_S = 900


def environment(name: str, requirement: str) -> Path:
    """Return the peer's virtual environment, made and filled when it is missing."""
    home = HOME / name
    if not (home / "installed").exists():
        HOME.mkdir(exist_ok=True)
        _run([sys.executable, "-m", "venv", "--clear", str(home)])
        _run([str(home / "bin" / "pip"), "install", "--quiet", requirement])
        (home / "installed").write_text(requirement)
    return home


def version(name: str, distribution: str) -> str:
    """Return the version of a peer that is installed."""
    asked = f"import importlib.metadata as m; print(m.version('{distribution}'))"
    return _run([str(HOME / name / "bin" / "python"), "-c", asked]).strip()


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_WITHIN_S)
    except subprocess.CalledProcessError as error:
        raise NotStartedError(f"{command[-1]}: {error.stderr.strip()[-300:]}") from error
    except subprocess.TimeoutExpired as error:
        raise NotStartedError(f"{command[-1]}: not done within {INSTALL_WITHIN_S} s") from error
    return done.stdout
