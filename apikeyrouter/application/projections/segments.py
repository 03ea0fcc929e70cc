"""Segments: what was archived and dropped from the log, and when its rows were gone."""

from apikeyrouter.application.projections.tables import Change, Column, ReadModel, Table
from apikeyrouter.domain.events import Recorded, SegmentDropped, SegmentRemoved

SEGMENTS = Table(
    name="segment_changes",
    columns={
        "position": Column(int),
        "version": Column(int),
        "at_us": Column(int),
        "change": Column(str),
        "actor": Column(str),
        "segment": Column(str),
        "sha256": Column(str),
        "first": Column(int),
        "last": Column(int),
        "events": Column(int),
        "requests": Column(int),
        "since_us": Column(int),
        "until_us": Column(int),
    },
)
_CHANGE = SEGMENTS.writing()


def _dropped(place: Recorded, event: SegmentDropped) -> list[Change]:
    told = (event.sha256, event.first, event.last, event.events, event.requests, event.from_us, event.to_us)
    return [(_CHANGE, (*_where(place), "dropped", event.actor, event.segment, *told))]


def _removed(place: Recorded, event: SegmentRemoved) -> list[Change]:
    return [(_CHANGE, (*_where(place), "removed", None, event.segment, *(None,) * 7))]


def _where(place: Recorded) -> tuple[int, int, int]:
    return place.position, place.version, place.event.at_us


MODEL = ReadModel(
    name="segments",
    about="What was archived and dropped from the log, by whom, and when its rows were gone.",
    tables=(SEGMENTS,),
    projections={SegmentDropped: _dropped, SegmentRemoved: _removed},
)
