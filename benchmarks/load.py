"""A small HTTP load generator: keep-alive, closed loop or paced.

    python -m benchmarks.load URL_PORT SECONDS CONNECTIONS RATE < requests.jsonl

In: one line of JSON per request, ``[method, path, body]``, repeated in order until the time is
over. Out: one line of JSON: requests, failures (any status except 200), requests per second, p50
and p99 in milliseconds of the most frequent path, and of all others together. RATE 0: each
connection sends the next request after the response. Otherwise RATE requests per second over all
connections, each at its scheduled time, from which its latency is measured (no coordinated
omission).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
import uvloop


class Connection(asyncio.Protocol):
    """One keep-alive connection; ``send`` sends raw bytes and waits for the whole response."""

    def __init__(self) -> None:
        self.buffer = b""
        self.waiter: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].lower()
        at = head.find(b"content-length: ")
        length = int(head[at + 16 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self.buffer) < end + 4 + length:
            return
        status = int(self.buffer[9:12])
        self.buffer = b""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(status)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(0)

    async def send(self, request: bytes) -> int:
        self.waiter = asyncio.get_running_loop().create_future()
        self.transport.write(request)  # type: ignore[attr-defined]
        return await self.waiter


def raw(line: str, port: int) -> tuple[str, bytes]:
    """Return the path and the bytes of one request."""
    method, path, body = json.loads(line)
    content = b"" if body is None else json.dumps(body).encode()
    return path, (
        f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    ).encode() + content


async def load(
    port: int, requests: Iterator[tuple[str, bytes]], seconds: float, connections: int, rate: float
) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    opened = [
        (await loop.create_connection(Connection, "127.0.0.1", port))[1] for _ in range(connections)
    ]
    latencies: dict[str, list[float]] = {}
    failures = 0
    start = time.perf_counter()
    count = 0

    async def work(connection: Connection) -> None:
        nonlocal failures, count
        while True:
            due = time.perf_counter()
            if rate:
                due = start + count / rate
                count += 1
                if due - start > seconds:
                    return
                if (wait := due - time.perf_counter()) > 0:
                    await asyncio.sleep(wait)
            elif due - start > seconds:
                return
            path, request = next(requests)
            status = await connection.send(request)
            latencies.setdefault(path, []).append(time.perf_counter() - due)
            failures += status != 200
            if status == 0:
                return

    await asyncio.gather(*(work(connection) for connection in opened))
    taken = time.perf_counter() - start
    for connection in opened:
        connection.transport.close()
    most, *others = sorted(latencies.values(), key=len, reverse=True)
    requests_made = sum(map(len, latencies.values()))
    found = {"requests": requests_made, "failures": failures, "rps": requests_made / taken}
    found |= dict(zip(("p50", "p99"), _milliseconds(most), strict=True))
    if others:
        rest = [latency for other in others for latency in other]
        found |= dict(zip(("others_p50", "others_p99"), _milliseconds(rest), strict=True))
    return found


def _milliseconds(latencies: list[float]) -> list[float]:
    """Return the median and the 99th percentile."""
    return (np.percentile(latencies, [50, 99]) * 1e3).tolist()


if __name__ == "__main__":
    port, seconds, connections, rate = (float(argument) for argument in sys.argv[1:5])
    source = Path(sys.argv[5]) if len(sys.argv) > 5 else Path("/dev/stdin")
    prepared = [raw(line, int(port)) for line in source.read_text().splitlines()]
    found = uvloop.run(load(int(port), cycle(prepared), seconds, int(connections), rate))
    print(json.dumps(found))
