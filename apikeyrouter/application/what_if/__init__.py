"""What would have been: a stretch of the log run again through the same decisions under a change."""

from apikeyrouter.application.what_if.changes import AddedKey, Change
from apikeyrouter.application.what_if.run import Comparison, Stretch, seeds_of, together, what_if

__all__ = ["AddedKey", "Change", "Comparison", "Stretch", "seeds_of", "together", "what_if"]
