"""Names and values of the headers that we read and write, each spelled once."""

from apikeyrouter.application.passage import Passage
from apikeyrouter.domain.pricing import NANO_PER_USD

OBJECTIVE = b"x-akr-objective"
DOWNGRADE = b"x-akr-downgrade"
CLIENT, TEAM, TAGS = b"x-akr-client", b"x-akr-team", b"x-akr-tags"
CORRELATION_ID = b"x-correlation-id"

JSON = (b"content-type", b"application/json")
JSON_LINE = "content-type: application/json"
EVENT_STREAM_LINES = ("content-type: text/event-stream; charset=utf-8", "cache-control: no-cache")

Headers = list[tuple[bytes, bytes]]

ARCHIVED_HEADER = "x-archived-in"
"""Names the segments with requests that an answer leaves out, for they have left the log."""


def usd(nano_usd: int) -> str:
    """Write nano-USD as a decimal number of dollars, exactly."""
    return f"{nano_usd // NANO_PER_USD}.{nano_usd % NANO_PER_USD:09d}"


def routing(passage: Passage) -> list[str]:
    """Tell how a request was routed, a line a header; never the key, only its id."""
    decision = passage.chosen
    chosen = decision.chosen
    lines = [
        f"x-request-id: {passage.request_id}",
        f"x-akr-request-id: {passage.request_id}",
        f"x-akr-decision: {passage.stream}/{passage.attempt}",
        f"x-akr-provider: {chosen.provider_id}",
        f"x-akr-model: {decision.model}",
        f"x-akr-key-id: {chosen.key_id}",
        f"x-akr-attempts: {passage.attempt}",
        f"x-akr-fallbacks: {passage.attempt - 1}",
        f"x-akr-log-position: {decision.as_of + 1}",
        f"x-akr-policy: {decision.policy.objective}",
    ]
    if decision.over_budget:
        lines.append(f"x-akr-over-budget: {','.join(decision.over_budget)}")
    if decision.output_tokens_capped is not None:
        lines.append(f"x-akr-output-tokens-capped: {decision.output_tokens_capped}")
    if passage.cost_nano_usd is not None:
        lines.append(f"x-akr-cost-usd: {usd(passage.cost_nano_usd)}")
    if passage.queued_us:
        lines.append(f"x-akr-queued-ms: {passage.queued_us / 1000:.3f}")
    if passage.elapsed_us:
        own_us = passage.elapsed_us - passage.upstream_us - passage.queued_us
        lines.append(f"x-akr-overhead-ms: {own_us / 1000:.3f}")
    return lines
