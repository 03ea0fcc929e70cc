"""How requests are decided: stream request-<id>."""

import msgspec

from apikeyrouter.domain.vocabulary.shape import Event, EventRef


class RequestFacts(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What a request asked for, as far as routing may know it: sizes and hashes, never contents."""

    operation: str
    model: str
    provider_id: str | None = None
    stream: bool = False
    needs: tuple[str, ...] = ()
    input_tokens_bound: int = 0
    output_tokens_bound: int = 0
    body_bytes: int = 0
    body_sha256: str = ""
    client_id: str | None = None
    correlation_id: str | None = None
    team: str | None = None
    tags: tuple[str, ...] = ()
    choices: int = 1


class Policy(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """An objective made explicit: weights of the criteria, and constraints that exclude."""

    objective: str
    cost: float = 0.0
    reliability: float = 0.0
    fairness: float = 0.0
    latency: float = 0.0
    quality: float = 0.0
    headroom: float = 0.0
    max_cost_nano_usd: int | None = None
    max_latency_us: int | None = None
    min_reliability: float | None = None
    min_quality: float | None = None
    providers: tuple[str, ...] | None = None
    excluded_providers: tuple[str, ...] = ()
    downgrade: bool = False


ALL_ROOM, NO_DANGER = 1.0, 0.0
"""What a candidate without quotas has. Not written: msgspec leaves a default out if it is the very object."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One key as the decision saw it: the scores, each in [0, 1], and the events they came from.

    `exhaustion` is the probability that its tightest quota runs out before it is given back. `model` is what
    the provider is asked for, where that is another model than the request named.
    """

    key_id: str
    provider_id: str
    total: float
    cost: float
    reliability: float
    fairness: float
    latency: float
    quality: float
    headroom: float = ALL_ROOM
    exhaustion: float = NO_DANGER
    in_flight: int
    cost_bound_nano_usd: int | None = None
    state_ref: EventRef
    offer_ref: EventRef
    load_ref: EventRef | None = None
    outcome_ref: EventRef | None = None
    quota_ref: EventRef | None = None
    model: str | None = None
    expected_cost_nano_usd: int | None = None
    budget_ref: EventRef | None = None


class Exclusion(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A key that was not eligible: the first rule that refused it, and the event behind the refusal."""

    key_id: str
    rule: str
    evidence: EventRef


class Reserved(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A share of an account that is held for a request until its consumption is known."""

    account: str
    amount: int


class Shortfall(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """The budget that a request does not fit into, and when it would by time alone; None: never."""

    budget_id: str
    scope: str
    scope_id: str | None = None
    limit_nano_usd: int
    remaining_nano_usd: int
    needed_nano_usd: int
    fits_at_us: int | None = None


class RouteDecided(Event, frozen=True, kw_only=True, gc=False):
    """A key was chosen, and its share of load, quotas and budgets reserved, before any call was made.

    `as_of` is the log position that the state stood at; `excluded` counts refused keys by rule, those
    spared in favour of others included. `rules` is the version of the rules that decided. `over_budget` are
    the soft budgets that this may run over, `output_tokens_capped` the bound that the call is given since
    neither its caller nor its model has one, and a hard budget needs one.
    """

    rules: int
    as_of: int
    seed: int
    attempt: int
    facts: RequestFacts
    policy: Policy
    chosen: Candidate
    others: tuple[Candidate, ...] = ()
    eligible: int
    excluded: dict[str, int] = msgspec.field(default_factory=dict)
    exclusions: tuple[Exclusion, ...] = ()
    tried: tuple[str, ...] = ()
    avoided: tuple[str, ...] = ()
    reserved: tuple[Reserved, ...] = ()
    over_budget: tuple[str, ...] = ()
    output_tokens_capped: int | None = None

    @property
    def model(self) -> str:
        """The model that the provider is asked for."""
        return self.chosen.model or self.facts.model


class RouteRefused(Event, frozen=True, kw_only=True, gc=False):
    """No key was eligible: the same record as a decision, without a choice.

    `retry_at_us` is when, as far as is known, the request could be served; `shortfall` the budget that
    refuses it, where that is the reason.
    """

    rules: int
    as_of: int
    seed: int
    attempt: int
    facts: RequestFacts
    policy: Policy
    reason: str
    retry_at_us: int | None = None
    excluded: dict[str, int] = msgspec.field(default_factory=dict)
    exclusions: tuple[Exclusion, ...] = ()
    tried: tuple[str, ...] = ()
    avoided: tuple[str, ...] = ()
    shortfall: Shortfall | None = None


class RouteDeferred(Event, frozen=True, kw_only=True, gc=False):
    """No key was free, and the request waits for one until `wait_until_us`, at most.

    `retry_at_us` is when one is expected; with `reason` "behind_others" it only keeps its place in the queue.
    """

    attempt: int
    facts: RequestFacts
    reason: str
    retry_at_us: int | None = None
    wait_until_us: int
    excluded: dict[str, int] = msgspec.field(default_factory=dict)
    exclusions: tuple[Exclusion, ...] = ()


class AttemptFailed(Event, frozen=True, kw_only=True, gc=False):
    """One upstream call did not succeed. `sent` is false when nothing can have reached the provider.

    `effect` is what the failure meant for the key when it happened, and `blames_provider` whether it
    counts against the provider, so that folds never consult a table that may have changed since. A call that
    was sent and never answered may be charged for: `charged_nano_usd` is the bound of that.
    """

    attempt: int
    key_id: str
    provider_id: str
    failure: str
    effect: str
    blames_provider: bool = False
    status: int | None = None
    code: str | None = None
    retry_after_us: int | None = None
    elapsed_us: int
    sent: bool = True
    charged_nano_usd: int = 0
