"""The error tree of the library.

SystemError                     everything that this package raises on purpose
├── InvalidRequestError         the caller's input cannot be served as it is
├── ConfigurationError          a setting is unknown or unusable; names the setting
├── NotFoundError               no such key, provider or request
├── ConflictError               duplicate, or an impossible transition
├── NoEligibleKeysError         no key may be chosen now; tells which rules refused
├── ProviderError               the upstream refused or broke; the last failure tells how
├── LogUnavailableError         the audit log cannot be written, so nothing is called
├── ShuttingDownError           the router closes while a request waits for a key
├── LogLockedError              another process writes this file
└── KeyMaterialMissingError     the vault has no material for a key

The classes live in `domain.models.system_error`; this module is where to look for them.
"""

from apikeyrouter.domain.models.system_error import (
    ConfigurationError,
    ConflictError,
    ErrorCategory,
    InvalidRequestError,
    KeyMaterialMissingError,
    LogLockedError,
    LogUnavailableError,
    NoEligibleKeysError,
    NotFoundError,
    ProviderError,
    ShuttingDownError,
    SystemError,  # noqa: A004 - the published name
)

__all__ = [
    "ConfigurationError",
    "ConflictError",
    "ErrorCategory",
    "InvalidRequestError",
    "KeyMaterialMissingError",
    "LogLockedError",
    "LogUnavailableError",
    "NoEligibleKeysError",
    "NotFoundError",
    "ProviderError",
    "ShuttingDownError",
    "SystemError",
]
