"""An alias: the settings live in `apikeyrouter.settings`."""

from apikeyrouter.settings import RouterSettings as RouterSettings  # noqa: PLC0414 - re-exported
