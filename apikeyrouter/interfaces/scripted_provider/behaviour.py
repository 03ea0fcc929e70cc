"""What a scripted provider is told: keys with limits, latencies and faults, and models with prices."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from apikeyrouter.domain.events import ModelOffer
from apikeyrouter.errors import ConfigurationError

ANY_KEY = "*"
"""The name under which every key that the script does not list is served and counted."""

Milliseconds = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
AbsurdUsage = Literal["negative", "infinite", "overflow", "text", "null"]


class FaultKind(StrEnum):
    """What can go wrong. The first family comes instead of an answer, the second alters one."""

    Status = "status"
    Html = "html"
    Empty = "empty"
    HangBeforeHeaders = "hang_before_headers"
    HangAfterHeaders = "hang_after_headers"
    CutBeforeHeaders = "cut_before_headers"
    EndlessHeaders = "endless_headers"
    EndlessBody = "endless_body"
    GzipBomb = "gzip_bomb"

    TruncatedJson = "truncated_json"
    WrongContentType = "wrong_content_type"
    Trickle = "trickle"
    CutMidBody = "cut_mid_body"
    CutMidStream = "cut_mid_stream"
    CutMidEvent = "cut_mid_event"
    CutMidCharacter = "cut_mid_character"
    CloseAfterAnswer = "close_after_answer"
    ErrorEvent = "error_event"
    MissingDone = "missing_done"
    UsageMissing = "usage_missing"
    UsageAbsurd = "usage_absurd"
    EchoKey = "echo_key"


class Told(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a script: a field that nobody knows is an error, not a silence."""


class Fault(Told, frozen=True, kw_only=True):
    """One failure and when it strikes.

    Calls and times count from when the key was told its faults. `after` spares that many calls, `first`
    then limits how many are struck. `{key}` in `message` stands for the key that was sent.
    """

    kind: FaultKind
    status: Annotated[int, msgspec.Meta(ge=300, le=599)] | None = None
    code: str | None = None
    message: str | None = None
    retry_after: str | int | None = None
    headers: dict[str, str] = {}
    after: Count = 0
    first: Positive | None = None
    from_ms: Milliseconds = 0
    until_ms: Milliseconds | None = None
    probability: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    every_ms: Milliseconds = 1000
    usage: AbsurdUsage = "negative"

    def __post_init__(self) -> None:
        if (self.kind is FaultKind.Status) != (self.status is not None):
            raise ValueError("`status` belongs to a fault of kind `status`, and to no other")

    def strikes(self, calls_before: int, elapsed_ms: float) -> bool:
        """Tell whether this call is in the fault's window of calls and of time."""
        in_calls = self.after <= calls_before and (
            self.first is None or calls_before < self.after + self.first
        )
        in_time = self.from_ms <= elapsed_ms and (self.until_ms is None or elapsed_ms < self.until_ms)
        return in_calls and in_time


class KeyScript(Told, frozen=True, kw_only=True):
    """How one key behaves. No limit named means none. The first fault that strikes is the one that acts.

    `fill` is how full the buckets of `rpm` and `tpm` are when these limits are told.
    """

    key: str = ""
    rpm: Positive | None = None
    tpm: Positive | None = None
    requests_per_day: Count | None = None
    fill: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    # Bounds are checked below: msgspec 0.22 crashes on constraints beside and inside a tuple of fixed size.
    latency_ms: float | tuple[float, float] = 0
    token_ms: Milliseconds = 0
    tokens_per_event: Positive = 1
    output_tokens: Positive | None = None
    faults: tuple[Fault, ...] = ()
    hold: bool = False

    def __post_init__(self) -> None:
        low, high = self.latency_range_ms
        if not 0 <= low <= high:
            raise ValueError("`latency_ms` is not negative, and runs from the smaller to the larger")
        if not (self.key.isascii() and self.key.isprintable()) or " " in self.key:
            raise ValueError("`key` must be printable ASCII without spaces, as a header can carry it")

    @property
    def latency_range_ms(self) -> tuple[float, float]:
        """The shortest and the longest time to think."""
        latency_ms = self.latency_ms
        return latency_ms if isinstance(latency_ms, tuple) else (latency_ms, latency_ms)

    def __repr__(self) -> str:
        """Describe the behaviour without the key."""
        told = {name: value for name, value in self.shown().items() if name != "faults"}
        return f"KeyScript({told}, faults={[fault.kind.value for fault in self.faults]})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Describe the behaviour without the key, in rich's tracebacks too."""
        return list(self.shown().items())

    def shown(self) -> dict[str, object]:
        """Return the script as plain values, without the key."""
        plain: dict[str, object] = msgspec.to_builtins(self)
        plain.pop("key", None)
        return plain


class ScriptedModel(Told, frozen=True, kw_only=True):
    """A model that is served, at a price in nano-USD per million tokens."""

    input_nano_usd_per_mtok: Count | None = None
    output_nano_usd_per_mtok: Count | None = None

    def offer(self, model: str) -> ModelOffer:
        """Return the model as the domain prices it."""
        return ModelOffer(
            model=model,
            input_nano_usd_per_mtok=self.input_nano_usd_per_mtok,
            output_nano_usd_per_mtok=self.output_nano_usd_per_mtok,
        )


class Script(Told, frozen=True, kw_only=True):
    """A whole provider. No models named means that every model is served, unpriced."""

    keys: dict[str, KeyScript] = {}
    models: dict[str, ScriptedModel] = {}
    accept_any_key: bool = False
    output_tokens: Positive = 32
    embedding_dimensions: Positive = 64
    seed: int = 0
    remembered_calls: Positive = 10_000

    def __post_init__(self) -> None:
        check_keys(self.keys, accept_any_key=self.accept_any_key)


def check_keys(keys: dict[str, KeyScript], *, accept_any_key: bool) -> None:
    """Raise ValueError unless every key can be told from every other."""
    if ANY_KEY in keys and not accept_any_key:
        raise ValueError(f"keys.{ANY_KEY} is for keys not listed, and wants `accept_any_key`")
    listed = {name: script.key for name, script in keys.items() if name != ANY_KEY}
    for name, material in listed.items():
        if not material:
            raise ValueError(f"keys.{name} has no `key`")
    if len(set(listed.values())) != len(listed):
        raise ValueError("two names in `keys` have the same `key`")


def parse_script(text: str | bytes) -> Script:
    """Read a script from JSON; raise `ConfigurationError` that names the place of what is wrong."""
    try:
        plain = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the script is not JSON: {error}") from None
    return script_from(plain)


def script_from(plain: object) -> Script:
    """Check plain values, as JSON gives them, into a script; raise `ConfigurationError`."""
    if isinstance(plain, dict) and isinstance(plain.get("keys"), dict):
        for name, told in plain["keys"].items():
            key_script_from(name, told)
    try:
        return msgspec.convert(plain, Script)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"the script is wrong: {error}") from None


def key_script_from(name: str, plain: object) -> KeyScript:
    """Check the plain values of one key; raise `ConfigurationError` that names the key's label."""
    try:
        return msgspec.convert(plain, KeyScript)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"the script is wrong at keys.{name}: {error}") from None


def read_script(path: Path) -> Script:
    """Read a script from a JSON file."""
    try:
        return parse_script(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"cannot read the script {path}: {error.strerror}") from None
