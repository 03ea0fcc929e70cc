"""What a request will probably consume, learned from what others did: of the same client, else of the model.

A mean of few requests is drawn towards that of the wider circle, client to model to prior, which weighs as
much as `PRIOR_REQUESTS`. Older requests count less and less (see `decay`). Requests with pictures or sound
are learned apart, since the bytes of these say little of their tokens.
"""

from math import ldexp
from typing import Final, NamedTuple, TypeVar

from apikeyrouter.domain.decay import STEPS, half_power
from apikeyrouter.domain.events import RequestCompleted, RequestFacts
from apikeyrouter.domain.input_bounds import body_bound
from apikeyrouter.domain.output_bounds import is_unbounded
from apikeyrouter.domain.pricing import MEDIA
from apikeyrouter.domain.windows import HOUR_US

HALF_LIFE_US: Final = 6 * HOUR_US
STEP_US: Final = HALF_LIFE_US // STEPS
REBASE_HALF_LIVES: Final = 256
MOST_STEPS: Final = 2 * REBASE_HALF_LIVES * STEPS

PRIOR_REQUESTS: Final = 4.0
PRIOR_OUTPUT_TOKENS: Final = 256.0
PRIOR_BYTES: Final = 500.0
PRIOR_TOKENS_PER_BYTE: Final = 0.25
"""Four bytes a token is usual for English; the JSON around it makes up for what needs more."""
PRIOR_TOKENS: Final = PRIOR_BYTES * PRIOR_TOKENS_PER_BYTE

MOST_MODELS: Final = 1_000
MOST_CLIENTS: Final = 10_000
"""Clients choose the names of models and their own, so what is remembered by them is bounded.

Whoever was not heard of for longest is forgotten.
"""

ANSWERS, OUTPUT, BYTES, INPUT, CACHED = range(5)
"""The sums: answers, tokens of output, bytes of bodies, tokens of input, and of these the cached ones."""

Sums = list[float]
_NOTHING: Final = (0.0,)
Name = TypeVar("Name", tuple[str, bool], tuple[str, bool, str])


class Expectation(NamedTuple):
    """Expected tokens; cached ones are within the input."""

    input_tokens: int
    cached_tokens: int
    output_tokens: int


class Learned(NamedTuple):
    """From how many answers an expectation was learned, of the client and of all; older ones count less."""

    of_client: float
    of_model: float


class Expectations:
    """Decayed sums by model, and by model and client. Only the fold writes here."""

    def __init__(self) -> None:
        self._landmark_us = 0
        self._weighed = (0, 1.0)
        self._models: dict[tuple[str, bool], Sums] = {}
        self._clients: dict[tuple[str, bool, str], Sums] = {}

    def observe(self, model: str, facts: RequestFacts, completed: RequestCompleted) -> None:
        """Learn from a request whose consumption the provider measured."""
        if completed.at_us - self._landmark_us > REBASE_HALF_LIVES * HALF_LIFE_US:
            self._rebase(completed.at_us)
        weight = self._weight(completed.at_us)
        tokens, cached = completed.input_tokens, completed.cached_input_tokens
        seen = [
            weight * facts.choices,
            weight * completed.output_tokens,
            weight * body_bound(facts),
            weight * tokens,
            weight * min(cached, tokens),
        ]
        with_media = _has_media(facts) if facts.needs else False
        _add(self._models, (model, with_media), seen, MOST_MODELS)
        if facts.client_id is not None:
            _add(self._clients, (model, with_media, facts.client_id), seen, MOST_CLIENTS)

    def of(self, model: str, facts: RequestFacts, now_us: int) -> Expectation:
        """Say what a request will probably consume, never more than its bounds; this leaves no trace."""
        requests = PRIOR_REQUESTS * self._weight(now_us)
        with_media = _has_media(facts) if facts.needs else False
        means = (PRIOR_OUTPUT_TOKENS, PRIOR_TOKENS_PER_BYTE, 0.0)
        sums = self._models.get((model, with_media))
        if sums is not None:
            means = _drawn(sums, requests, *means)
        if facts.client_id is not None:
            sums = self._clients.get((model, with_media, facts.client_id))
            if sums is not None:
                means = _drawn(sums, requests, *means)
        output, ratio, cached = means
        output_tokens = int(output * facts.choices + 0.5)
        input_tokens = min(int(ratio * body_bound(facts) + 0.5), facts.input_tokens_bound)
        if output_tokens > facts.output_tokens_bound and not is_unbounded(facts):
            output_tokens = facts.output_tokens_bound
        return Expectation(input_tokens, int(cached * input_tokens), output_tokens)

    def learned(self, model: str, facts: RequestFacts, now_us: int) -> Learned:
        """Tell how much an expectation rests on."""
        weight, circle = self._weight(now_us), (model, _has_media(facts))
        of_client = self._clients.get((*circle, facts.client_id or ""), _NOTHING)[ANSWERS]
        return Learned(of_client / weight, self._models.get(circle, _NOTHING)[ANSWERS] / weight)

    def _weight(self, at_us: int) -> float:
        """Return what an observation of this instant weighs; one answer holds for minutes, so it is kept."""
        steps = (at_us - self._landmark_us) // STEP_US
        if steps == self._weighed[0]:
            return self._weighed[1]
        weight = half_power(-min(steps, MOST_STEPS))
        self._weighed = steps, weight
        return weight

    def _rebase(self, at_us: int) -> None:
        """Move the landmark before numbers grow large."""
        half_lives = (at_us - self._landmark_us) // HALF_LIFE_US
        self._landmark_us += half_lives * HALF_LIFE_US
        self._weighed = 0, 1.0
        for sums in (*self._models.values(), *self._clients.values()):
            sums[:] = [ldexp(each, -half_lives) for each in sums]


def _add(circles: dict[Name, Sums], name: Name, seen: Sums, most: int) -> None:
    """Add to the sums of a name and make it the latest; forget the first where there are too many."""
    sums = circles.pop(name, None)
    if sums is None:
        if len(circles) >= most:
            del circles[next(iter(circles))]
        circles[name] = seen.copy()
        return
    circles[name] = sums
    answers, output, sent, tokens, cached = seen
    sums[ANSWERS] += answers
    sums[OUTPUT] += output
    sums[BYTES] += sent
    sums[INPUT] += tokens
    sums[CACHED] += cached


def _drawn(
    sums: Sums, requests: float, output: float, ratio: float, cached: float
) -> tuple[float, float, float]:
    """Return the means of sums, drawn towards those of a wider circle that weigh as so many requests."""
    answers, made, sent, tokens, from_cache = sums
    prior_bytes, prior_tokens = requests * PRIOR_BYTES, requests * PRIOR_TOKENS
    return (
        (requests * output + made) / (requests + answers),
        (prior_bytes * ratio + tokens) / (prior_bytes + sent),
        (prior_tokens * cached + from_cache) / (prior_tokens + tokens),
    )


def _has_media(facts: RequestFacts) -> bool:
    return any(medium in facts.needs for medium in MEDIA)
