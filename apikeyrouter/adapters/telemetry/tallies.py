"""Plain counters, cheap enough for the hot path, with a bound on what they tell apart."""

from bisect import bisect_left

from apikeyrouter.adapters.telemetry.names import DURATION_BOUNDS_US, OTHER, TOKEN_BOUNDS


class CappedLabels:
    """The first so many values of a label keep their name; what comes later is "other"."""

    __slots__ = ("_most", "_seen")

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: set[str] = set()

    def admit(self, value: str) -> str:
        """Return the label for a value, giving it a place if there is one left."""
        if value in self._seen:
            return value
        if len(self._seen) >= self._most:
            return OTHER
        self._seen.add(value)
        return value

    def known(self, value: str) -> str:
        """Return the label for a value without giving it a place."""
        return value if value in self._seen else OTHER


class Histogram:
    """Observed integers, counted by upper bound."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[int, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0

    def observe(self, value: int) -> None:
        """Count a value under the first bound that is not below it."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Consumption:
    """What one model of one provider consumed."""

    __slots__ = ("cost_nano_usd", "durations_us", "input_tokens", "output_tokens")

    def __init__(self) -> None:
        self.cost_nano_usd = 0
        self.input_tokens = Histogram(TOKEN_BOUNDS)
        self.output_tokens = Histogram(TOKEN_BOUNDS)
        self.durations_us = Histogram(DURATION_BOUNDS_US)

    def settle(self, input_tokens: int, output_tokens: int, cost_nano_usd: int | None) -> None:
        """Add one settlement."""
        self.input_tokens.observe(input_tokens)
        self.output_tokens.observe(output_tokens)
        if cost_nano_usd is not None:
            self.cost_nano_usd += cost_nano_usd
