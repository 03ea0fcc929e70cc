"""What an operator can set: typed, read from the environment or given, refused where unknown or unusable."""

import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PrivateAttr, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from apikeyrouter.database_url import at_home, database_file
from apikeyrouter.domain.models.system_error import ConfigurationError
from apikeyrouter.limits import (
    DEFAULT_BODY_BYTES,
    DEFAULT_CAPTURE_BYTES,
    LEAST_LOG_BYTES,
    LONGEST_TIMEOUT_S,
    MOST_ATTEMPTS,
    MOST_BODY_BYTES,
)

PREFIX = "APIKEYROUTER_"
SERVER_DATABASE = "apikeyrouter.db"
_SECRET = frozenset({"management_api_key", "encryption_key", "alert_webhook_url"})
_NEVER_SHOWN = _SECRET | {"database_url"}  # other databases' addresses hold passwords
_SHOWN_CHARS = 80
_INJECTED = (f"{PREFIX}SERVICE_", f"{PREFIX}PORT_")
_KUBERNETES = "; Kubernetes sets it for a service named apikeyrouter: set enableServiceLinks: false"


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


Seconds = Annotated[float, Field(gt=0, le=LONGEST_TIMEOUT_S, allow_inf_nan=False)]
Durability = Literal["strict", "before_dispatch", "before_response", "async"]
Objective = Literal["cost", "reliability", "fairness", "latency", "quality"]
LogLevel = Literal["debug", "info", "warning", "error", "critical"]


class DescribedSetting(NamedTuple):
    """A setting as it may be shown, and where its value came from: default, env or argument."""

    name: str
    variable: str
    value: object
    source: str


class RouterSettings(BaseSettings):
    """All settings: an argument wins over `APIKEYROUTER_<NAME>` in the environment, that over the default."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    database_url: str | None = None
    durability: Annotated[Durability, BeforeValidator(_lower)] = "strict"
    synchronous: Annotated[Literal["FULL", "NORMAL"], BeforeValidator(_upper)] = "FULL"
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    management_api_key: SecretStr | None = None
    encryption_key: SecretStr | None = None
    master_key_file: Path | None = None
    request_timeout_s: Seconds = 600.0
    connect_timeout_s: Seconds = 5.0
    first_byte_timeout_s: Seconds = 120.0
    idle_timeout_s: Seconds = 60.0
    queue_timeout_s: Annotated[float, Field(ge=0, le=LONGEST_TIMEOUT_S, allow_inf_nan=False)] = 0.0
    max_attempts: int = Field(default=10, ge=1, le=MOST_ATTEMPTS)
    max_body_bytes: int = Field(default=DEFAULT_BODY_BYTES, ge=1, le=MOST_BODY_BYTES)
    capture_bytes: int = Field(default=DEFAULT_CAPTURE_BYTES, ge=1, le=MOST_BODY_BYTES)
    max_log_bytes: int | None = Field(default=None, ge=LEAST_LOG_BYTES)
    seal_folder: Path | None = None
    seal_interval_s: Seconds = 1.0
    seal_idle_s: Seconds = 3600.0
    witness_url: str | None = Field(default=None, pattern="^https?://")
    witness_key: str | None = None
    witness_interval_s: Seconds = 60.0
    alert_webhook_url: SecretStr | None = None
    log_level: Annotated[LogLevel, BeforeValidator(_lower)] = "info"
    log_format: Annotated[Literal["json", "console"], BeforeValidator(_lower)] = "json"
    objective: Annotated[Objective, BeforeValidator(_lower)] = "fairness"

    _arguments: frozenset[str] = PrivateAttr(default=frozenset())

    def __init__(self, **values: Any) -> None:
        _refuse_unknown_arguments(values)
        _refuse_unknown_variables(os.environ)
        _refuse_empty_variables(os.environ)
        try:
            super().__init__(**values)
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=False)
            raise _unusable(problems, values) from None
        self._arguments = frozenset(values)

    @classmethod
    def for_server(cls, **values: Any) -> "RouterSettings":
        """Return the settings of a server: unlike a library's, its log lasts unless memory is asked for."""
        return ServerSettings(**values)

    @property
    def database_path(self) -> Path | None:
        """The log's file, None where the log lives in memory."""
        return database_file(self.database_url)

    def check_exposure(self) -> None:
        """Refuse to listen where others can connect while management is open to all."""
        if self.management_api_key is None and not _is_loopback(self.host):
            raise ConfigurationError(
                f"host {self.host} can be reached from other machines, and management has no key: set"
                " APIKEYROUTER_MANAGEMENT_API_KEY to a long random text, or keep host at 127.0.0.1",
                param="management_api_key",
            )

    def describe(self) -> list[DescribedSetting]:
        """List every setting as it may be shown; of secrets only whether they are set."""
        return [
            DescribedSetting(name, _variable(name), self._shown(name), self._source(name))
            for name in type(self).model_fields
        ]

    def _shown(self, name: str) -> object:
        value = getattr(self, name)
        if name in _SECRET:
            return "not set" if value is None else "set"
        return str(value) if isinstance(value, Path) else value

    def _source(self, name: str) -> str:
        if name in self._arguments:
            return "argument"
        return "env" if name in self.model_fields_set else "default"

    @field_validator("database_url")
    @classmethod
    def _names_a_log(cls, value: str | None) -> str | None:
        database_file(value)
        return value

    @field_validator("host")
    @classmethod
    def _is_a_host(cls, value: str) -> str:
        if not value or not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError("should be a host name or an address")
        return value

    @field_validator("management_api_key")
    @classmethod
    def _fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        text = "x" if value is None else value.get_secret_value()
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("should be visible ASCII characters without spaces, as it travels in a header")
        return value

    @field_validator("alert_webhook_url")
    @classmethod
    def _may_be_posted_to(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _is_safe_url(value.get_secret_value()):
            raise ValueError("should be an https URL, or an http URL of this machine, without a fragment")
        return value

    @field_validator("master_key_file")
    @classmethod
    def _expanded(cls, value: Path | None) -> Path | None:
        return None if value is None else at_home(value, "master_key_file")

    @field_validator("seal_folder")
    @classmethod
    def _a_folder(cls, value: Path | None) -> Path | None:
        return None if value is None else at_home(value, "seal_folder")


class ServerSettings(RouterSettings):
    """The settings of a server."""

    database_url: str | None = SERVER_DATABASE


def _variable(name: str) -> str:
    return f"{PREFIX}{name.upper()}"


def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback


def _is_safe_url(text: str) -> bool:
    """Tell whether what is posted there stays secret on its way: by TLS, or within this machine."""
    if not text.isascii() or not text.isprintable() or set(' \\#"<>^`{|}') & set(text):
        return False
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port  # a port that is none is told by asking for it
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(str(host))))


def _refuse_unknown_arguments(values: Mapping[str, object]) -> None:
    for name in values:
        if name not in RouterSettings.model_fields:
            raise ConfigurationError(f"there is no setting {name!r}{_nearest(name, shown=str)}", param=name)


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    known = {_variable(name) for name in RouterSettings.model_fields}
    for name in sorted(environment):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            hint = (
                _KUBERNETES if name.startswith(_INJECTED) else _nearest(name[len(PREFIX) :], shown=_variable)
            )
            raise ConfigurationError(f"the environment variable {name} is not known{hint}", param=name)


def _refuse_empty_variables(environment: Mapping[str, str]) -> None:
    """Refuse a variable that looks set and is not: the log would silently live in memory, say."""
    for name in sorted(environment):
        if name.upper().startswith(PREFIX) and not environment[name].strip():
            raise ConfigurationError(
                f"the environment variable {name} is empty: give it a value or unset it", param=name
            )


def _nearest(name: str, *, shown: Callable[[str], str]) -> str:
    known = list(RouterSettings.model_fields)
    close = get_close_matches(name.lower(), known, n=1)
    if close:
        return f"; did you mean {shown(close[0])}?"
    return f"; known are {', '.join(shown(one) for one in known)}"


def _unusable(problems: list[ErrorDetails], arguments: Mapping[str, object]) -> ConfigurationError:
    told = [_told(problem, arguments) for problem in problems]
    return ConfigurationError("; ".join(told), param=str(problems[0]["loc"][0]))


def _told(problem: ErrorDetails, arguments: Mapping[str, object]) -> str:
    name = str(problem["loc"][0])
    label = name if name in arguments else _variable(name)
    allowed = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if name in _NEVER_SHOWN:
        return f"{label} is not usable: it {allowed}"
    return f"{label}={problem['input']!r:.{_SHOWN_CHARS}} is not usable: it {allowed}"
