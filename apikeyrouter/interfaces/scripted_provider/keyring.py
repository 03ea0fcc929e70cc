"""The keys of a running provider, each with its script, limits, dice, and a gate that can hold calls."""

import asyncio
import random
from collections.abc import Mapping

import msgspec

from apikeyrouter.interfaces.scripted_provider.behaviour import ANY_KEY, Fault, KeyScript, Script, check_keys
from apikeyrouter.interfaces.scripted_provider.limits import KeyLimits


class ScriptedKey:
    """One key at work."""

    def __init__(self, name: str, script: KeyScript, seed: int, now_us: int) -> None:
        self.name = name
        self.script = script
        self.limits = limits_of(script, now_us)
        self._dice = random.Random(f"{seed}:{name}")  # noqa: S311 - repeatable chance, no secret
        self._calls = 0
        self._told_at_us = now_us
        self._gate: asyncio.Future[None] | None = None

    def follow(self, script: KeyScript, now_us: int) -> None:
        """Behave as the new script says, from now on."""
        before, self.script = self.script, script
        if limits_named(script) != limits_named(before):
            self.limits = limits_of(script, now_us)
        if script.faults != before.faults:
            self._calls, self._told_at_us = 0, now_us
        if not script.hold:
            self.release()

    def next_fault(self, now_us: int) -> Fault | None:
        """Count a call, and return the fault that strikes it."""
        calls_before, self._calls = self._calls, self._calls + 1
        elapsed_ms = (now_us - self._told_at_us) / 1000
        for fault in self.script.faults:
            if fault.strikes(calls_before, elapsed_ms) and self._falls(fault.probability):
                return fault
        return None

    def _falls(self, probability: float) -> bool:
        return probability >= 1 or self._dice.random() < probability

    def latency_s(self) -> float:
        """Return how long the next answer is thought over."""
        low, high = self.script.latency_range_ms
        return (self._dice.uniform(low, high) if low < high else low) / 1000

    def gate(self) -> asyncio.Future[None] | None:
        """Return what a call must wait for, or None when calls are not held."""
        if not self.script.hold:
            return None
        if self._gate is None:
            self._gate = asyncio.get_running_loop().create_future()
        return self._gate

    def release(self) -> None:
        """Let every held call go on."""
        if self._gate is not None and not self._gate.done():
            self._gate.set_result(None)
        self._gate = None


def limits_named(script: KeyScript) -> tuple[int | None, int | None, int | None]:
    """Return the limits that a script names."""
    return script.rpm, script.tpm, script.requests_per_day


def limits_of(script: KeyScript, now_us: int) -> KeyLimits:
    """Open the limits of a script, as full as it says."""
    return KeyLimits(*limits_named(script), now_us, fill=script.fill)


class Keyring:
    """All keys, found by what the client sent."""

    def __init__(self, script: Script, now_us: int) -> None:
        self._seed = script.seed
        self._accept_any_key = script.accept_any_key
        self.keys: dict[str, ScriptedKey] = {}
        self._by_material: dict[bytes, ScriptedKey] = {}
        scripts: Mapping[str, KeyScript] = script.keys
        if script.accept_any_key:
            scripts = {ANY_KEY: KeyScript(), **scripts}
        for name, told in scripts.items():
            self.put(name, told, now_us)

    def find(self, material: bytes) -> ScriptedKey | None:
        """Return the key with this material; where any is accepted, the one that stands for all others."""
        found = self._by_material.get(material)
        return self.keys[ANY_KEY] if found is None and self._accept_any_key else found

    def put(self, name: str, script: KeyScript, now_us: int) -> None:
        """Add a key, or tell one a new script; raise ValueError if it could not be told from another."""
        scripts = {one.name: one.script for one in self.keys.values()}
        check_keys({**scripts, name: script}, accept_any_key=self._accept_any_key)
        if name in self.keys:
            self.keys[name].follow(script, now_us)
        else:
            self.keys[name] = ScriptedKey(name, script, self._seed, now_us)
        listed = (one for one in self.keys.values() if one.name != ANY_KEY)
        self._by_material = {one.script.key.encode(): one for one in listed}

    def release(self) -> None:
        """Let every held call go on, and hold none of them again."""
        for key in self.keys.values():
            key.script = msgspec.structs.replace(key.script, hold=False)
            key.release()
