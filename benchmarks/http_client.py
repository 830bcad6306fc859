"""A client that costs little: python -m benchmarks.http_client URL BODY REQUESTS CONNECTIONS prints the seconds."""

from __future__ import annotations

import asyncio
import sys
import time
from urllib.parse import urlsplit


async def main(url: str, body: str, requests: int, connections: int) -> float:
    """Send `requests` over kept connections; the seconds from the first byte to the last."""
    parts = urlsplit(url)
    data = body.encode()
    head = f"POST /predict HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
    message = f"{head}content-length: {len(data)}\r\n\r\n".encode() + data
    streams = [await asyncio.open_connection(parts.hostname, parts.port) for _ in range(connections)]
    for reader, writer in streams:  # the first request of a connection pays for its set-up
        await _ask(reader, writer, message)
    share = [requests // connections + (number < requests % connections) for number in range(connections)]
    started = time.perf_counter()
    await asyncio.gather(*(_repeat(*stream, message, count) for stream, count in zip(streams, share, strict=True)))
    seconds = time.perf_counter() - started
    for _, writer in streams:
        writer.close()
    return seconds


async def _repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes, count: int) -> None:
    for _ in range(count):
        await _ask(reader, writer, message)


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes) -> None:
    writer.write(message)
    head = await reader.readuntil(b"\r\n\r\n")
    status = head.split(b" ", 2)[1]
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    answer = await reader.readexactly(length)
    if status != b"200":
        raise SystemExit(f"the server answered {status.decode()}: {answer.decode()}")


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
