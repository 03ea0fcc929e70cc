"""What the examples of leases begin with, and what they do again and again."""

from lease_nodes import opened
from lease_world import LeaseWorld


def told(world, kind):
    return [event for event in world.events if isinstance(event, kind)]


def shared(*nodes, limit=100, kind="fixed", unit="day"):
    """A budget and nodes, each of which has been served a request of that size and waits for its answer."""
    world = LeaseWorld(opened(limit, kind, unit))
    joined = [world.join() for _ in nodes]
    for node, need in zip(joined, nodes, strict=True):
        if need:
            world.arrive(node, need)
            world.round()
            world.round()
    return world, *joined


def served(world, node, need):
    """Tell whether a request is served when all messages arrive."""
    name = world.arrive(node, need)
    assert world.rounds_until(lambda: name not in node.waiting)
    return name in world.requests


def answer(world, node):
    """A node sees what it is asked, and its answer arrives."""
    world.catch_up(node)
    world.answer_recalls(node)
    world.flush(node)
    while world.network:
        world.deliver()
