"""A provider as a process: `python -m apikeyrouter.interfaces.scripted_provider --script FILE.json`."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import msgspec
import uvloop

from apikeyrouter.errors import ConfigurationError
from apikeyrouter.interfaces.scripted_provider.behaviour import Script, parse_script, read_script
from apikeyrouter.interfaces.scripted_provider.serve import ScriptedProvider

WRONG_USAGE = 2


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="scripted_provider", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="a loopback port; 0 takes a free one")
    parser.add_argument(
        "--script", help="a JSON file, or - for standard input; without it every key is served"
    )
    return parser.parse_args()


def script_at(place: str | None) -> Script | None:
    """Read the script from where the command line says."""
    if place is None:
        return None
    return parse_script(sys.stdin.buffer.read()) if place == "-" else read_script(Path(place))


async def serve(script: Script | None, port: int) -> None:
    """Serve until SIGTERM or SIGINT; say where in one line of JSON."""
    leave = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, leave.set)
    async with ScriptedProvider(script, port=port) as provider:
        place = {"url": provider.url, "base_url": provider.base_url}
        sys.stdout.write(msgspec.json.encode(place).decode() + "\n")
        sys.stdout.flush()
        await leave.wait()


def main() -> int:
    """Run as a process; a wrong script or a taken port ends it with a message."""
    given = arguments()
    try:
        script = script_at(given.script)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(script, given.port))
    except (ConfigurationError, OSError) as error:
        sys.stderr.write(f"scripted_provider: {error}\n")
        return WRONG_USAGE
    return 0


if __name__ == "__main__":
    sys.exit(main())
