"""What may befall a key with calls under way, step by step, and the states that steps lead to."""

from small_node import SmallNode
from worlds import SECOND_US

from apikeyrouter.domain import keys
from apikeyrouter.domain.failures import FailureClass
from apikeyrouter.domain.models.api_key import KeyState

HOUR_US = 3600 * SECOND_US


def rate_limited(node: SmallNode, seconds: int = 10) -> None:
    """A call that was under way meets a limit."""
    node.fail(min(node.out), FailureClass.RateLimited, retry_after_us=seconds * SECOND_US)


def rate_limited_longer(node: SmallNode) -> None:
    rate_limited(node, 11)


def quota_gone(node: SmallNode, hours: int = 1) -> None:
    """A call that was under way meets the end of the quota."""
    node.fail(min(node.out), FailureClass.QuotaExhausted, retry_after_us=hours * HOUR_US)


def quota_gone_longer(node: SmallNode) -> None:
    quota_gone(node, 2)


def rejected(node: SmallNode) -> None:
    node.fail(min(node.out), FailureClass.KeyRejected)


def time_comes(node: SmallNode) -> None:
    node.time_us = node.state.keys["k"].until_us
    node.upkeep.wake(node.time_us)


def served(node: SmallNode) -> None:
    node.serve(min(node.out))


def calls_end(node: SmallNode) -> None:
    while node.out:
        node.leave(min(node.out))


def rotated(node: SmallNode) -> None:
    node.manage(keys.rotate, "k", fingerprint=f"print-{node.state.position}")


def revoked(node: SmallNode) -> None:
    node.manage(keys.revoke, "k", reason="leaked")


def by_hand(decider):
    def act(node: SmallNode) -> None:
        node.manage(decider, "k")

    act.__name__ = decider.__name__
    return act


disabled, drained, enabled = by_hand(keys.disable), by_hand(keys.drain), by_hand(keys.enable)

A, T, E, R = KeyState.Available, KeyState.Throttled, KeyState.Exhausted, KeyState.Recovering
DR, DI, INV, REV = KeyState.Draining, KeyState.Disabled, KeyState.Invalid, KeyState.Revoked
TO_RECOVERING = (quota_gone, time_comes)


REACHED = {A: (), T: (rate_limited,), E: (quota_gone,), R: TO_RECOVERING}
REACHED |= {DR: (drained,), DI: (disabled,), INV: (rejected,), REV: (revoked,)}


def lived(history) -> SmallNode:
    """Let a key with four calls under way live through a history."""
    node = SmallNode()
    node.provider()
    node.key("k")
    for _ in range(4):
        node.call("k")
    for step in history:
        step(node)
    return node
