"""Access to the log: which process held it from when until when, and what befell it meanwhile."""

from apikeyrouter.application.projections.tables import Change, Column, ReadModel, Table
from apikeyrouter.domain.events import (
    ClockSteppedBack,
    LogRecovered,
    NodeStarted,
    NodeStopped,
    Recorded,
    StateRefolded,
)

NODES = Table(
    name="node_life",
    columns={
        "position": Column(int),
        "version": Column(int),
        "at_us": Column(int),
        "node_id": Column(str),
        "change": Column(str),
        "detail": Column(str),
    },
)

_NODE = NODES.writing()


def _started(place: Recorded, event: NodeStarted) -> list[Change]:
    return [_node(place, event.node_id, "started", event.version)]


def _stopped(place: Recorded, event: NodeStopped) -> list[Change]:
    return [_node(place, event.node_id, "stopped", None)]


def _recovered(place: Recorded, event: LogRecovered) -> list[Change]:
    return [_node(place, event.node_id, "log_recovered", f"after {event.outage_us} us")]


def _stepped_back(place: Recorded, event: ClockSteppedBack) -> list[Change]:
    return [_node(place, event.node_id, "clock_stepped_back", f"by {event.by_us} us")]


def _refolded(place: Recorded, event: StateRefolded) -> list[Change]:
    return [_node(place, event.node_id, "state_refolded", f"without {event.events} archived events")]


def _node(place: Recorded, node_id: str, change: str, detail: str | None) -> Change:
    return _NODE, (place.position, place.version, place.event.at_us, node_id, change, detail)


MODEL = ReadModel(
    name="access",
    about="When which process held the log. Which client reached which key is told from attempts.",
    tables=(NODES,),
    projections={
        NodeStarted: _started,
        NodeStopped: _stopped,
        LogRecovered: _recovered,
        ClockSteppedBack: _stepped_back,
        StateRefolded: _refolded,
    },
)
