"""The bounds of what an upstream may make this process hold or wait for."""

KIB = 1024
MIB = 1024 * KIB

MAX_HEAD_BYTES = 64 * KIB
MAX_ANSWER_BYTES = 32 * MIB
MAX_ERROR_BODY_BYTES = 64 * KIB
ERROR_BODY_S = 2.0
"""The status is known by then; failing over must not wait for a body that only says why."""
MAX_EVENT_BYTES = 4 * MIB
MAX_TOKENS_OF_ONE_ANSWER = 2**40

STREAM_BUFFER_BYTES = 256 * KIB
DECODED_PIECE_BYTES = 64 * KIB

DRAIN_BYTES = 64 * KIB
DRAIN_S = 1.0

MAX_IDLE_CONNECTIONS_PER_ORIGIN = 256
IDLE_CONNECTION_S = 15.0
"""Shorter than the keep-alive of hosted providers and their load balancers (60 s and more)."""

MAX_LABEL_CHARS = 200
"""Model names, request ids and error codes go into the log; longer ones are not names."""
