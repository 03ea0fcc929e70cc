"""Whole gateways side by side: CPU, throughput, latency before the same upstream, in interleaved rounds."""

from dataclasses import dataclass
from typing import Any

from benchmarks import report
from benchmarks.gateways import GATEWAYS, Gateway
from benchmarks.processes import Child
from benchmarks.stage import Actor, Stage, Weighed
from benchmarks.suites import Options, gateway_tables

STREAM_GAP_MS = 5.0
RATE_PER_S = 100.0
DIRECT = "direct"


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One kind of load, and how it is put on."""

    name: str
    terms: dict[str, Any]
    open_loop: bool = False


def phases(options: Options) -> tuple[Phase, ...]:
    """Return the phases of a round, shorter when in a hurry."""
    seconds = 1.0 if options.quick else 5.0
    return (
        Phase(name="closed-64", terms={"mode": "closed", "connections": 64, "seconds": seconds}),
        Phase(name="closed-1", terms={"mode": "closed", "connections": 1, "seconds": seconds}),
        Phase(
            name="streams",
            terms={"mode": "closed", "connections": 64, "seconds": 1.5 * seconds, "stream": True},
        ),
        Phase(
            name="open-100",
            terms={"mode": "open", "rate_per_s": RATE_PER_S, "seconds": 2 * seconds},
            open_loop=True,
        ),
    )


def run(options: Options) -> None:
    """Measure every gateway that can be started, print tables, write the rounds."""
    with Stage(STREAM_GAP_MS) as stage:
        actors = [stage.direct(_direct()), *_cast(stage, options)]
        rounds = [
            measured
            for number in range(options.rounds)
            for phase in phases(options)
            for measured in _round(stage, actors, phase, number)
        ]
        soaks = [_soak(stage, actor, options) for actor in _soakable(actors, options)]
        versions = {actor.gateway.name: actor.gateway.version() for actor in actors}
    result = {"versions": versions, "absent": stage.absent, "rounds": rounds, "soaks": soaks}
    gateway_tables.show(result)
    report.save("gateway", {"quick": options.quick, "rounds": options.rounds}, result)


def _direct() -> Gateway:
    def never(_: object) -> Child:
        raise AssertionError

    return Gateway(name=DIRECT, told="the mock upstream itself", start=never, version=lambda: report.ABSENT)


def _cast(stage: Stage, options: Options) -> list[Actor]:
    """Start the chosen gateways one after the other; each is warmed up, tried, and paused."""
    chosen = [gateway for gateway in GATEWAYS if not options.gateways or gateway.name in options.gateways]
    for gateway in chosen:
        report.note(f"starting {gateway.name}: {gateway.told}")
        actor = stage.bring_in(gateway)
        if actor is not None:
            _warm_up(stage, actor)
    for name, reason in stage.absent.items():
        report.note(f"absent: {name}: {reason}")
    return stage.actors


def _warm_up(stage: Stage, actor: Actor) -> None:
    for stream in (False, True):
        tried = stage.load(actor, stream=stream, mode="closed", connections=1, seconds=5, requests=1)
        if tried.completed != 1:
            stage.dismiss(actor, f"stream={stream}: {tried.first_failure or 'no answer'}")
            return
        stage.load(actor, stream=stream, mode="closed", connections=16, seconds=actor.gateway.warm_up_s / 2)
    actor.child.pause()


def _round(stage: Stage, actors: list[Actor], phase: Phase, number: int) -> list[dict[str, Any]]:
    """One phase for every actor in turn; every second round goes backwards, so that drift cancels."""
    ordered = actors if number % 2 == 0 else actors[::-1]
    measured = []
    for actor in ordered:
        if actor.gateway.open_loop_only and not phase.open_loop:
            continue
        weighed = _turn(stage, actor, phase, number)
        report.note(_line(number, phase, actor, weighed))
        measured.append(_record(number, phase, actor, weighed))
    return measured


def _turn(stage: Stage, actor: Actor, phase: Phase, number: int) -> Weighed:
    awake = actor.gateway.name != DIRECT
    if awake:
        actor.child.resume()
    stage.load(actor, mode="closed", connections=8, seconds=0.3, stream=phase.terms.get("stream", False))
    weighed = stage.weigh(actor, seed=number + 1, **phase.terms)
    if awake:
        actor.child.pause()
    return weighed


def _record(number: int, phase: Phase, actor: Actor, weighed: Weighed) -> dict[str, Any]:
    seen = weighed.report
    return {
        "round": number,
        "phase": phase.name,
        "gateway": actor.gateway.name,
        "completed": seen.completed,
        "failed": seen.failed,
        "first_failure": seen.first_failure,
        "unfinished": seen.unfinished,
        "upstream_calls": weighed.upstream_calls,
        "elapsed_s": seen.elapsed_s,
        "per_second": seen.per_second,
        "cpu_ms": weighed.cpu_ms_per_request,
        "gateway_core_busy": weighed.gateway_cpu_ms / (seen.elapsed_s * 1000),
        "load_core_busy": weighed.load_core_busy,
        "strangers_busy": weighed.strangers_busy,
        "p50_ms": seen.p50_ms,
        "p90_ms": seen.p90_ms,
        "p99_ms": seen.p99_ms,
        "first_byte_p50_ms": seen.first_byte_p50_ms,
    }


def _line(number: int, phase: Phase, actor: Actor, weighed: Weighed) -> str:
    seen = weighed.report
    trouble = f"  FAILED {seen.failed}: {seen.first_failure}" if seen.failed else ""
    return (
        f"round {number + 1} {phase.name:9} {actor.gateway.name:28} {seen.per_second:8,.0f}/s"
        f"  cpu {weighed.cpu_ms_per_request:7.3f} ms  p50 {seen.p50_ms:8.2f}  p99 {seen.p99_ms:8.2f}{trouble}"
    )


def _soakable(actors: list[Actor], options: Options) -> list[Actor]:
    if options.quick or not options.soak_requests:
        return []
    return [actor for actor in actors if actor.gateway.name != DIRECT and not actor.gateway.open_loop_only]


def _soak(stage: Stage, actor: Actor, options: Options) -> dict[str, Any]:
    """Many requests in a row, and what the gateway's memory has become."""
    actor.child.resume()
    before = actor.child.rss_mib()
    seen = stage.load(
        actor,
        mode="closed",
        connections=64,
        seconds=options.soak_within_s,
        requests=options.soak_requests,
    )
    after = actor.child.rss_mib()
    actor.child.pause()
    report.note(f"soak {actor.gateway.name}: {seen.completed:,} requests, RSS {before:.0f} → {after:.0f} MiB")
    return {
        "gateway": actor.gateway.name,
        "completed": seen.completed,
        "failed": seen.failed,
        "rss_before_mib": before,
        "rss_after_mib": after,
        "p99_ms": seen.p99_ms,
    }
