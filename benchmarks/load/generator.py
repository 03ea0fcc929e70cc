"""Send the load of a plan and say what came of it."""

import asyncio
import math
import random
import time
from array import array

from benchmarks.load.alarm import Alarm
from benchmarks.load.connection import ClientConnection, Exchange, connect, request_bytes
from benchmarks.load.plan import Plan, Report

NS_PER_S = 1_000_000_000


class Tally:
    """Latencies and failures of one phase, in nanoseconds until the report."""

    def __init__(self) -> None:
        self.latencies_ns = array("q")
        self.first_bytes_ns = array("q")
        self.failed = 0
        self.first_failure: str | None = None

    def add(self, since_ns: int, exchange: Exchange) -> None:
        """Count one exchange as lasting from `since_ns`."""
        if exchange.failure is not None:
            self.failed += 1
            self.first_failure = self.first_failure or exchange.failure
            return
        self.latencies_ns.append(exchange.end_ns - since_ns)
        self.first_bytes_ns.append(exchange.first_byte_ns - since_ns)

    def report(self, elapsed_ns: int, unfinished: int) -> Report:
        """Sum up."""
        latencies, first_bytes = sorted(self.latencies_ns), sorted(self.first_bytes_ns)
        completed = len(latencies)
        return Report(
            completed=completed,
            failed=self.failed,
            unfinished=unfinished,
            elapsed_s=elapsed_ns / NS_PER_S,
            per_second=completed * NS_PER_S / max(elapsed_ns, 1),
            p50_ms=_quantile_ms(latencies, 0.5),
            p90_ms=_quantile_ms(latencies, 0.9),
            p99_ms=_quantile_ms(latencies, 0.99),
            first_byte_p50_ms=_quantile_ms(first_bytes, 0.5),
            first_failure=self.first_failure,
        )


async def run(plan: Plan) -> Report:
    """Carry out a plan."""
    return await (_closed_loop(plan) if plan.mode == "closed" else _open_loop(plan))


async def _closed_loop(plan: Plan) -> Report:
    tally = Tally()
    request = request_bytes(plan)
    begin_ns = time.monotonic_ns()
    end_ns = begin_ns + int(plan.seconds * NS_PER_S)
    left = plan.requests if plan.requests is not None else 1 << 60

    async def client() -> None:
        nonlocal left
        connection: ClientConnection | None = None
        while time.monotonic_ns() < end_ns and left > 0:
            left -= 1
            if connection is None or not connection.usable:
                connection = await connect(plan, request)
            sent_ns = time.monotonic_ns()
            tally.add(sent_ns, await connection.exchange())
        if connection is not None:
            connection.transport.close()

    unfinished = await _finish([asyncio.create_task(client()) for _ in range(plan.connections)], plan)
    return tally.report(time.monotonic_ns() - begin_ns, unfinished)


async def _open_loop(plan: Plan) -> Report:
    tally = Tally()
    request = request_bytes(plan)
    idle = [await connect(plan, request) for _ in range(8)]

    async def call(due_ns: int) -> None:
        tally.add(due_ns, await _exchange(plan, request, idle))

    begin_ns = time.monotonic_ns()
    calls = []
    alarm = Alarm()
    for offset_ns in arrivals_ns(plan):
        due_ns = begin_ns + offset_ns
        if time.monotonic_ns() < due_ns:
            await alarm.until(due_ns)
        calls.append(asyncio.create_task(call(due_ns)))
    alarm.close()
    unfinished = await _finish(calls, plan)
    for connection in idle:
        connection.transport.close()
    return tally.report(time.monotonic_ns() - begin_ns, unfinished)


async def _exchange(plan: Plan, request: bytes, idle: list[ClientConnection]) -> Exchange:
    """Use an idle connection, or a new one where there is none or the server has just closed it."""
    while idle:
        connection = idle.pop()
        if connection.usable and not connection.transport.is_closing():
            break
    else:
        connection = await connect(plan, request)
    exchange = await connection.exchange()
    if exchange.failure is not None and not exchange.first_byte_ns:
        connection = await connect(plan, request)
        exchange = await connection.exchange()
    if connection.usable:
        idle.append(connection)
    return exchange


def arrivals_ns(plan: Plan) -> list[int]:
    """Draw Poisson arrivals: the same for the same seed, rate and length."""
    chance = random.Random(plan.seed)
    offset_s, offsets = 0.0, []
    while (offset_s := offset_s + chance.expovariate(plan.rate_per_s)) < plan.seconds:
        offsets.append(int(offset_s * NS_PER_S))
    return offsets


async def _finish(tasks: list[asyncio.Task[None]], plan: Plan) -> int:
    """Wait for the tasks within the phase and its grace; cancel the rest and return their number."""
    done, pending = await asyncio.wait(tasks, timeout=plan.seconds + plan.grace_s)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()
    return len(pending)


def _quantile_ms(ordered_ns: list[int], share: float) -> float:
    if not ordered_ns:
        return math.nan
    return ordered_ns[max(0, math.ceil(share * len(ordered_ns)) - 1)] / 1e6
