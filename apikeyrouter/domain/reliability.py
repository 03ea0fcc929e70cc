"""How well probabilities were told: the Brier score, and the reliability of each tenth of the scale."""

import msgspec

BINS = 10


class Bin(msgspec.Struct):
    """What was told in one tenth of the scale, and how often it came true."""

    told: int = 0
    probability_sum: float = 0.0
    came_true: int = 0


class Scored(msgspec.Struct):
    """A growing score of (probability, outcome) pairs."""

    squared_error: float = 0.0
    bins: list[Bin] = msgspec.field(default_factory=lambda: [Bin() for _ in range(BINS)])

    def add(self, probability: float, *, came_true: bool) -> None:
        """Count what was told and whether it came true."""
        told = self.bins[min(int(probability * BINS), BINS - 1)]
        told.told += 1
        told.probability_sum += probability
        told.came_true += came_true
        self.squared_error += (probability - came_true) * (probability - came_true)

    @property
    def told(self) -> int:
        """How many there were."""
        return sum(each.told for each in self.bins)

    @property
    def came_true(self) -> int:
        """How many came true."""
        return sum(each.came_true for each in self.bins)

    @property
    def brier(self) -> float | None:
        """Return the mean squared error of the probabilities; None before the first."""
        return self.squared_error / self.told if self.told else None

    @property
    def calibration_error(self) -> float | None:
        """Return by how much probability and frequency differ, each tenth by how often it was told."""
        off = sum(abs(each.probability_sum - each.came_true) for each in self.bins)
        return off / self.told if self.told else None
