"""Connections of redis-py whose timeouts the kernel keeps, so that a busy process answers sooner."""

from __future__ import annotations

import math
import socket
import struct
import sys
from typing import Any

import redis
from redis.exceptions import RedisError

from millrace.adapters.store_address import StoreAddress

_HAS_TIMEVAL = sys.platform.startswith(("linux", "darwin"))


class _KernelTimeouts:
    """A mixin for the driver's connections.

    Python keeps a timeout by polling before each call, and takes the interpreter lock again after every one of the two.
    With a hundred threads at work each time costs a wait of up to 5 ms. The kernel keeps it for nothing.
    """

    socket_timeout: float

    def _connect(self) -> Any:
        opened = super()._connect()  # type: ignore[misc]
        if _HAS_TIMEVAL:
            rest, seconds = math.modf(self.socket_timeout)
            span = struct.pack("@ll", int(seconds), max(1, int(rest * 1_000_000)))
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, span)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, span)
            opened.settimeout(None)
        return opened


# The driver is read without its types.
class _Connection(_KernelTimeouts, redis.Connection):  # type: ignore[misc]
    """By TCP."""


class _SocketConnection(_KernelTimeouts, redis.UnixDomainSocketConnection):  # type: ignore[misc]
    """By a socket in the file system."""


# TLS reads in several steps, and waits for ever between two of them unless Python itself keeps the timeout.
_CLASSES = {redis.Connection: _Connection, redis.UnixDomainSocketConnection: _SocketConnection}


def connection_maker(address: StoreAddress) -> redis.ConnectionPool:
    """The driver's own reading of the URL, to make connections with; its pool and its retries are not used.

    Raises
    ------
    ProjectError
        FEAT-40 when the driver does not understand the URL.
    """
    try:
        maker = redis.ConnectionPool.from_url(
            address.url,
            socket_timeout=address.get("timeout_s", 2.0),
            socket_connect_timeout=address.get("connect_timeout_s", 2.0),
            retry=None,
            health_check_interval=0,
        )
    except (ValueError, TypeError, RedisError) as error:
        raise address.refuse(
            address.hide(str(error)), fix="redis://host:6379/0, rediss://... or unix:///path"
        ) from None
    maker.connection_class = _CLASSES.get(maker.connection_class, maker.connection_class)
    return maker
