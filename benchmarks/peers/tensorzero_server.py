"""Run TensorZero's gateway out of its wheel; started with that environment's own Python."""

import signal
import sys

from tensorzero.tensorzero import _start_http_gateway


def main() -> None:
    """Serve the configuration file that the command line names, until a signal."""
    gateway = _start_http_gateway(
        config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False
    )
    print(gateway.base_url, flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.pause()


if __name__ == "__main__":
    main()
