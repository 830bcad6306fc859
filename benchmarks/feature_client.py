"""A client of the feature server that costs little, in closed loop or paced.

`python -m benchmarks.feature_client URL BODIES REQUESTS CONNECTIONS RATE` prints one JSON object: the seconds, and p50,
p95 and p99 in milliseconds. BODIES is a file with one body a line. With RATE 0 each connection asks again as soon as it
is answered; else requests are due at RATE a second whatever the server does, and are timed from when they were due.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop

PATH = "/get-online-features"


class Connection(asyncio.Protocol):
    """One kept connection, one request at a time."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.due = 0.0
        self.answer = bytearray()
        self.length = -1
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def send(self, message: bytes, due: float) -> None:
        self.due = due
        self.transport.write(message)

    def data_received(self, data: bytes) -> None:
        self.answer += data
        if self.length < 0:
            end = self.answer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self.answer[:end]).lower()
            if head.split(b" ", 2)[1] != b"200":
                raise SystemExit(f"the server answered {bytes(self.answer)!r}")
            self.length = end + 4 + int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(self.answer) >= self.length:
            self.answer.clear()
            self.length = -1
            self.run.answered(self)


class Run:
    """All requests of one run."""

    def __init__(self, messages: list[bytes], requests: int, rate: float) -> None:
        self.messages = messages
        self.requests = requests
        self.rate = rate
        self.sent = 0
        self.times: list[float] = []
        self.idle: list[Connection] = []
        self.waiting: deque[float] = deque()
        self.done = asyncio.get_running_loop().create_future()

    def ask(self, connection: Connection, due: float) -> None:
        connection.send(self.messages[self.sent % len(self.messages)], due)
        self.sent += 1

    def answered(self, connection: Connection) -> None:
        now = time.perf_counter()
        self.times.append(now - connection.due)
        if len(self.times) == self.requests:
            self.done.set_result(None)
        elif self.rate:
            if self.waiting:
                self.ask(connection, self.waiting.popleft())
            else:
                self.idle.append(connection)
        elif self.sent < self.requests:
            self.ask(connection, now)

    async def pace(self, connections: list[Connection]) -> None:
        self.idle = connections
        begun = time.perf_counter()
        for number in range(self.requests):
            due = begun + number / self.rate
            delay = due - time.perf_counter()
            if delay > 0:
                await asyncio.sleep(delay)
            if self.idle:
                self.ask(self.idle.pop(), due)
            else:
                self.waiting.append(due)


async def main(url: str, bodies: Path, requests: int, connections: int, rate: float) -> dict[str, float]:
    """Send all requests; how long they took."""
    parts = urlsplit(url)
    head = f"POST {PATH} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
    messages = [
        f"{head}content-length: {len(body)}\r\n\r\n".encode() + body for body in bodies.read_bytes().splitlines()
    ]
    loop = asyncio.get_running_loop()
    opened = []
    warm = Run(messages, connections, 0)
    for _ in range(connections):  # the first request of a connection pays for its set-up
        _, connection = await loop.create_connection(lambda: Connection(warm), parts.hostname, parts.port)
        opened.append(connection)
        warm.ask(connection, time.perf_counter())
    await warm.done
    run = Run(messages, requests, rate)
    for connection in opened:
        connection.run = run
    started = time.perf_counter()
    if rate:
        await run.pace(opened)
    else:
        for connection in opened[:requests]:
            run.ask(connection, time.perf_counter())
    await run.done
    seconds = time.perf_counter() - started
    for connection in opened:
        connection.transport.close()
    times = sorted(run.times)
    quantiles = {f"p{part}": times[min(len(times) - 1, len(times) * part // 100)] * 1000 for part in (50, 95, 99)}
    return {"seconds": seconds, **quantiles}


if __name__ == "__main__":
    words = sys.argv
    print(json.dumps(uvloop.run(main(words[1], Path(words[2]), int(words[3]), int(words[4]), float(words[5])))))
