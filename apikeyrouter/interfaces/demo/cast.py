"""Who plays in the demo: two providers with prices, and eight keys that behave in the usual ways."""

import secrets
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from apikeyrouter.domain.events import ModelOffer
from apikeyrouter.domain.offers import parse_offers
from apikeyrouter.interfaces.scripted_provider import Fault, FaultKind, KeyScript, Script, ScriptedModel

PRICES_USD_PER_MTOK: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "north": {"swift-1": ("0.15", "0.60"), "deep-1": ("2.50", "10.00")},
    "south": {"swift-1": ("0.12", "0.48"), "deep-1": ("3.00", "12.00")},
}
TOKENS_PER_REQUEST = 1400  # what a request of the traffic model takes on average, input and output
LONGEST_OUTPUT_TOKENS = 4096
SMALL_MINUTE = 60.0

Range = tuple[float, float]


class Role(NamedTuple):
    """How one key behaves. Limits are in shares: 1 is what each key would get if all got the same."""

    label: str
    provider_id: str
    note: str
    rpm_shares: float | None = None
    tpm_shares: float | None = None
    latency_ms: Range = (60, 160)
    faults: tuple[Fault, ...] = ()


ROLES = (
    Role("north-main", "north", "healthy", rpm_shares=3.0),
    Role("north-spare", "north", "fewer requests a minute", rpm_shares=1.0),
    Role("north-tokens", "north", "few tokens a minute", tpm_shares=0.7),
    Role(
        "north-dead",
        "north",
        "rejected, 401",
        faults=(Fault(kind=FaultKind.Status, status=401),),
    ),
    Role(
        "north-flaky",
        "north",
        "500, one time in three",
        faults=(Fault(kind=FaultKind.Status, status=500, probability=1 / 3),),
    ),
    Role("south-main", "south", "healthy", rpm_shares=2.0),
    Role("south-small", "south", "few requests a minute", rpm_shares=0.5),
    Role("south-slow", "south", "slow", latency_ms=(600, 1100)),
)


class Cast(NamedTuple):
    """The roles with their secrets, made anew for every run, and one key's even share a minute."""

    materials: Mapping[str, str]
    share_per_minute: float

    def script(self, provider_id: str, seed: int) -> Script:
        """Tell a provider what to do."""
        return Script(
            keys={role.label: self._key_script(role) for role in ROLES if role.provider_id == provider_id},
            models={offer.model: _scripted(offer) for offer in offers(provider_id)},
            output_tokens=LONGEST_OUTPUT_TOKENS,
            seed=seed,
        )

    def metadata(self, role: Role) -> dict[str, object]:
        """Return what is declared about a key: not its limits, so that the router finds them out."""
        return {"label": role.label, "note": role.note}

    def _key_script(self, role: Role) -> KeyScript:
        return KeyScript(
            key=self.materials[role.label],
            rpm=_limit(role.rpm_shares, self.share_per_minute),
            tpm=_limit(role.tpm_shares, self.share_per_minute * TOKENS_PER_REQUEST),
            latency_ms=role.latency_ms,
            token_ms=1.0,
            tokens_per_event=8,
            faults=role.faults,
        )


def cast_for(requests: int, seconds: float) -> Cast:
    """Scale the limits to the traffic, so that they are met in a short run as in a long one."""
    share = requests / len(ROLES) / max(1.0, seconds / SMALL_MINUTE)
    return Cast({role.label: f"demo-{role.label}-{secrets.token_hex(12)}" for role in ROLES}, share)


def offers(provider_id: str) -> Sequence[ModelOffer]:
    """Return the models of a provider with their prices."""
    return parse_offers(
        {"model": model, "input_usd_per_mtok": input_usd, "output_usd_per_mtok": output_usd}
        for model, (input_usd, output_usd) in PRICES_USD_PER_MTOK[provider_id].items()
    )


def _scripted(offer: ModelOffer) -> ScriptedModel:
    return ScriptedModel(
        input_nano_usd_per_mtok=offer.input_nano_usd_per_mtok,
        output_nano_usd_per_mtok=offer.output_nano_usd_per_mtok,
    )


def _limit(shares: float | None, share: float) -> int | None:
    return None if shares is None else max(1, round(shares * share))
