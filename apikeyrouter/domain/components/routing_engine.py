"""Published import path of `NoEligibleKeysError`."""

from apikeyrouter.domain.models.system_error import NoEligibleKeysError

__all__ = ["NoEligibleKeysError"]
