"""Names and bounds of every metric, spelled once; scrapers and dashboards depend on them."""

from typing import NamedTuple


class MetricName(NamedTuple):
    """A metric as Prometheus shows it."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


DECISIONS = MetricName(
    "apikeyrouter_decisions_total",
    "Routing decisions by reason: chosen, or why no key was eligible.",
    ("reason", "objective"),
)
ATTEMPTS = MetricName(
    "apikeyrouter_attempts_total",
    "Upstream calls that ended, by provider and class of failure; none is a success.",
    ("provider", "failure_class"),
)
REQUESTS = MetricName("apikeyrouter_requests_total", "Requests that ended, by outcome.", ("outcome",))
TOKENS = MetricName(
    "apikeyrouter_tokens_total", "Tokens settled, by type.", ("provider", "model", "token_type")
)
SETTLED_NANO_USD = MetricName(
    "apikeyrouter_settled_nano_usd_total",
    "Cost settled in nano-USD, as far as prices are known.",
    ("provider", "model"),
)
LOG_HEAD_POSITION = MetricName("apikeyrouter_log_head_position", "Position of the last durable event.")
LOG_APPEND_SECONDS = MetricName(
    "apikeyrouter_log_append_seconds", "Seconds from handing events to the log until they were durable."
)
OPEN_REQUESTS = MetricName("apikeyrouter_open_requests", "Requests decided and not ended.")
KEYS = MetricName("apikeyrouter_keys", "Keys by state.", ("state",))
PROVIDER_HEALTH = MetricName(
    "apikeyrouter_provider_health",
    "1 for the health that a provider is in, 0 for the others.",
    ("provider", "health"),
)
QUOTA_LIMIT = MetricName(
    "apikeyrouter_quota_limit",
    "What an account allows in one window; account names the key or group that owns it.",
    ("account", "dimension", "window", "models"),
)
QUOTA_REMAINING = MetricName(
    "apikeyrouter_quota_remaining",
    "What is left of an account in its present window.",
    ("account", "dimension", "window", "models"),
)
QUOTA_ACCOUNTS = MetricName(
    "apikeyrouter_quota_accounts", "Accounts with a limit, those without a series of their own included."
)
_BUDGET = ("budget", "scope")
BUDGETS = MetricName("apikeyrouter_budgets", "Open budgets, those without series of their own included.")
BUDGET_LIMIT = MetricName(
    "apikeyrouter_budget_limit_nano_usd",
    "What a budget allows in its present window, top-ups included.",
    _BUDGET,
)
BUDGET_SPENT = MetricName(
    "apikeyrouter_budget_spent_nano_usd", "What is settled of a budget in its present window.", _BUDGET
)
BUDGET_RESERVED = MetricName(
    "apikeyrouter_budget_reserved_nano_usd", "What is held of a budget for calls under way.", _BUDGET
)
BUDGET_REMAINING = MetricName(
    "apikeyrouter_budget_remaining_nano_usd", "What still fits into a budget.", _BUDGET
)
BUDGET_REFUSALS = MetricName(
    "apikeyrouter_budget_refusals_total", "Requests that did not fit into a hard budget.", _BUDGET
)
WAITING_REQUESTS = MetricName("apikeyrouter_waiting_requests", "Requests that wait for a free key.")
WAIT_SECONDS = MetricName(
    "apikeyrouter_wait_seconds",
    "Seconds from being deferred to a key, or to the end of a request that got none.",
    ("outcome",),
)
LOG_SEALED = MetricName(
    "apikeyrouter_log_sealed_events",
    "Events that the latest checkpoint covers; the label names the key.",
    ("key",),
)
LOG_UNSEALED = MetricName("apikeyrouter_log_unsealed_events", "Events behind the latest checkpoint.")
CHECKPOINT_AGE = MetricName(
    "apikeyrouter_log_checkpoint_age_seconds", "Seconds since this process signed its latest checkpoint."
)
SEALING_FAILING = MetricName("apikeyrouter_log_sealing_failing", "1 while the log cannot be sealed.")
PATROL = MetricName(
    "apikeyrouter_log_patrol",
    "1 for what became of the comparison of all events with their seals after the start.",
    ("state",),
)
WITNESS_VISIT = MetricName(
    "apikeyrouter_witness_last_visit",
    "1 for what came of the last visit to the witness; all 0 before the first.",
    ("witness", "result"),
)
WITNESS_VISIT_AGE = MetricName(
    "apikeyrouter_witness_last_visit_age_seconds", "Seconds since the last visit to the witness."
)
WITNESS_COSIGNED = MetricName(
    "apikeyrouter_witness_cosigned_events", "Events that the last cosigned checkpoint covers."
)

_GEN_AI = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "provider")
TOKEN_USAGE = MetricName(
    "gen_ai_client_token_usage", "Tokens of one request, by type.", (*_GEN_AI, "gen_ai_token_type")
)
OPERATION_DURATION = MetricName(
    "gen_ai_client_operation_duration_seconds",
    "Seconds of one request from intent to settlement, and of each failed attempt under its error type.",
    (*_GEN_AI, "error_type"),
)

CHOSEN = "chosen"
NO_FAILURE = "none"
OTHER = "other"
OUTCOMES = ("completed", "failed", "refused", "cancelled", "released")
"""Every outcome is shown from the start: a rate over a series that begins at one misses its first event."""

SERVED, GAVE_UP = "served", "gave_up"
WAIT_OUTCOMES = (SERVED, GAVE_UP)

INPUT = "input"
OUTPUT = "output"

GEN_AI_PROVIDERS = {
    "anthropic": "anthropic",
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "grok": "x_ai",
    "mistral": "mistral_ai",
    "openai": "openai",
    "vertex": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
}
"""Our kinds of provider as OpenTelemetry's semantic conventions call them; other kinds keep their name."""

TOKEN_BOUNDS = tuple(4**exponent for exponent in range(14))
DURATION_BOUNDS_US = tuple(10_000 << doubling for doubling in range(14))
"""0.01 s to 81.92 s, as the semantic conventions advise."""
APPEND_BOUNDS_US = (
    *(100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000),
    *(100_000, 200_000, 500_000, 1_000_000, 5_000_000),
)
WAIT_BOUNDS_US = (
    *(1_000, 5_000, 20_000, 100_000, 250_000, 500_000),
    *(1_000_000, 2_000_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000, 300_000_000),
)
"""Milliseconds where another request had to end first, a minute where a window had to."""
