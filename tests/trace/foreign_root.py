"""The Merkle root over a log's rows, by nothing but the standard library: a stranger's second opinion.

Takes the log's file and prints how many rows there are, and the root of RFC 6962 over them in hexadecimal.
"""

import hashlib
import sqlite3
import struct
import sys

ROWS = "SELECT notification_id, originator_version, originator_id, topic, state FROM stored_events ORDER BY 1"


def leaf(position: int, version: int, *parts: bytes) -> bytes:
    head = struct.pack(">BQQIII", 1, position, version, *map(len, parts))
    return hashlib.sha256(b"\0" + head + b"".join(parts)).digest()


def root(leaves: list[bytes]) -> bytes:
    """Join neighbours until one is left; who has no neighbour goes up as it is."""
    while len(leaves) > 1:
        pairs = [leaves[place : place + 2] for place in range(0, len(leaves), 2)]
        leaves = [hashlib.sha256(b"\1" + b"".join(pair)).digest() if pair[1:] else pair[0] for pair in pairs]
    return leaves[0]


rows = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro&immutable=1", uri=True).execute(ROWS)
found = [
    leaf(position, version, stream.encode(), name.encode(), state)
    for position, version, stream, name, state in rows
]
print(len(found), root(found).hex())
