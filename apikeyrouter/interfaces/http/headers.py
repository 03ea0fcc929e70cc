"""Names and values of the headers that we read and write, each spelled once."""

from apikeyrouter.application.passage import Passage
from apikeyrouter.domain.pricing import NANO_PER_USD

OBJECTIVE = b"x-akr-objective"
CORRELATION_ID = b"x-correlation-id"

JSON = (b"content-type", b"application/json")
EVENT_STREAM = (b"content-type", b"text/event-stream; charset=utf-8")
NO_CACHE = (b"cache-control", b"no-cache")

Headers = list[tuple[bytes, bytes]]


def usd(nano_usd: int) -> str:
    """Write nano-USD as a decimal number of dollars, exactly."""
    return f"{nano_usd // NANO_PER_USD}.{nano_usd % NANO_PER_USD:09d}"


def routing(passage: Passage) -> Headers:
    """Tell how a request was routed; never the key, only its id."""
    decision = passage.chosen
    chosen = decision.chosen
    headers = [
        (b"x-request-id", passage.request_id.encode()),
        (b"x-akr-request-id", passage.request_id.encode()),
        (b"x-akr-decision", f"{passage.stream}/{passage.attempt}".encode()),
        (b"x-akr-provider", chosen.provider_id.encode()),
        (b"x-akr-model", decision.facts.model.encode("utf-8", "replace")),
        (b"x-akr-key-id", chosen.key_id.encode()),
        (b"x-akr-attempts", b"%d" % passage.attempt),
        (b"x-akr-fallbacks", b"%d" % (passage.attempt - 1)),
        (b"x-akr-log-position", b"%d" % (decision.as_of + 1)),
        (b"x-akr-policy", decision.policy.objective.encode()),
    ]
    if passage.cost_nano_usd is not None:
        headers.append((b"x-akr-cost-usd", usd(passage.cost_nano_usd).encode()))
    if passage.queued_us:
        headers.append((b"x-akr-queued-ms", b"%.3f" % (passage.queued_us / 1000)))
    if passage.elapsed_us:
        own_us = passage.elapsed_us - passage.upstream_us - passage.queued_us
        headers.append((b"x-akr-overhead-ms", b"%.3f" % (own_us / 1000)))
    return headers
