"""Traffic like that of a real service: generated from a small fitted model, or read from a trace."""

from collections.abc import Iterator
from itertools import islice

from apikeyrouter.interfaces.traffic.arrivals import Arrival, read_trace
from apikeyrouter.interfaces.traffic.azure_conversation import AZURE_CONVERSATION
from apikeyrouter.interfaces.traffic.fit import fit
from apikeyrouter.interfaces.traffic.model import TrafficModel, arrivals

__all__ = ["AZURE_CONVERSATION", "Arrival", "TrafficModel", "fit", "generate", "read_trace"]


def generate(
    seed: int, count: int, *, model: TrafficModel = AZURE_CONVERSATION, start_us: int = 0
) -> Iterator[Arrival]:
    """Yield that many arrivals in order of time; the same seed yields the same ones."""
    return islice(arrivals(model, seed, start_us), count)
