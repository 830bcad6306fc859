"""An ASGI application on a socket of our own: taken first, announced when ready, ended by a signal."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import uvicorn

from millrace.core.asgi import Application
from millrace.core.errors import ServiceError
from millrace.store.disk import write_atomic

logger = logging.getLogger("millrace.serving")

_BACKLOG = 2048


class AsgiServer:
    """One address and what is served there.

    Parameters
    ----------
    host : str
        Loopback unless told otherwise: a server asks nobody who they are.
    port : int
        0 takes a free one; `url` and `ready_file` say which.
    ready_file : Path, optional
        Written when requests are taken: ``{"url", "host", "port", "pid"}``. Removed at the end.
    drain_seconds : int
        How long requests that are being answered may take after SIGTERM.
    on_ready : callable, optional
        Called with the URL when requests are taken.
    on_stop : callable, optional
        Called when the server is told to end, before the last requests are answered; also by a signal, so it only
        sets a flag.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        ready_file: Path | None = None,
        drain_seconds: int = 10,
        on_ready: Callable[[str], None] | None = None,
        on_stop: Callable[[], None] | None = None,
    ) -> None:
        self.url = ""
        self._host = host
        self._port = port
        self._ready_file = ready_file
        self._drain_seconds = drain_seconds
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._socket: socket.socket | None = None
        self._uvicorn: Any = None
        self._thread: threading.Thread | None = None

    def bind(self) -> str:
        """Take the port; returns the URL. From here on connections wait instead of being refused.

        Raises
        ------
        ServiceError
            SERVE-01 when the address cannot be taken.
        """
        if self._socket is None:
            self._socket = _listen(self._host, self._port)
            host = f"[{self._host}]" if ":" in self._host else self._host
            self.url = f"http://{host}:{self._socket.getsockname()[1]}"
        return self.url

    def run(self, app: Application, while_serving: AbstractContextManager[Any] | None = None) -> None:
        """Serve until SIGTERM or SIGINT (or `stop`), then finish what is being answered.

        Parameters
        ----------
        while_serving : context manager, optional
            Entered before the server is announced, left after its last answer.

        Raises
        ------
        ServiceError
            SERVE-01 when the address cannot be taken.
        """
        self._prepare(app)
        with self._signals_caught():
            self._serve(while_serving)

    def start(self, app: Application, while_serving: AbstractContextManager[Any] | None = None) -> str:
        """Serve in a thread of this process; returns the URL."""
        self._prepare(app)
        self._thread = threading.Thread(target=self._serve, args=(while_serving,), name="millrace-server", daemon=True)
        self._thread.start()
        return self.url

    def stop(self) -> None:
        """End `run` or `start` as SIGTERM would."""
        if self._uvicorn is not None:
            self._tell_to_exit()
        if self._thread is not None:
            self._thread.join()

    def _prepare(self, app: Application) -> None:
        self.bind()
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                app,
                interface="asgi3",
                lifespan="off",
                ws="none",
                log_config=None,  # logging belongs to whoever started the process
                access_log=False,
                server_header=False,
                proxy_headers=False,  # nobody here asks who the client is
                backlog=_BACKLOG,
                timeout_keep_alive=75,  # longer than proxies keep theirs: they close, not we
                timeout_graceful_shutdown=self._drain_seconds,
            )
        )
        handle_exit = self._uvicorn.handle_exit  # while it serves, signals are uvicorn's

        def tell_and_exit(number: int, frame: object) -> None:
            if self._on_stop is not None:
                self._on_stop()
            handle_exit(number, frame)

        self._uvicorn.handle_exit = tell_and_exit

    def _serve(self, while_serving: AbstractContextManager[Any] | None) -> None:
        try:
            with while_serving or nullcontext():
                self._announce()
                self._uvicorn.run(sockets=[self._socket])
        finally:
            if self._ready_file is not None:
                self._ready_file.unlink(missing_ok=True)
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def _announce(self) -> None:
        if self._socket is None:
            return
        host, port = self._socket.getsockname()[:2]
        facts = {"url": self.url, "host": host, "port": port, "pid": os.getpid()}
        if self._ready_file is not None:
            write_atomic(self._ready_file, json.dumps(facts).encode())
        if self._on_ready is not None:
            self._on_ready(self.url)
        logger.info("serving on %s", self.url)

    @contextmanager
    def _signals_caught(self) -> Iterator[None]:
        """SIGTERM and SIGINT end the server, also while it makes itself ready, and nothing more.

        uvicorn hands a signal on after its own shutdown; the default action would kill us before all is written.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {name: signal.signal(name, self._ask_to_exit) for name in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)

    def _ask_to_exit(self, number: int, frame: object) -> None:
        self._tell_to_exit()

    def _tell_to_exit(self) -> None:
        if self._on_stop is not None:
            self._on_stop()
        self._uvicorn.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, OverflowError) as error:
        raise _refused(host, port, error) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart need not wait for TIME_WAIT
        listener.bind(address)
        listener.listen(_BACKLOG)  # now, so that the next one to try this port is refused
    except (OSError, OverflowError) as error:
        listener.close()
        raise _refused(host, port, error) from error
    listener.setblocking(False)
    return listener


def _refused(host: str, port: int, error: Exception) -> ServiceError:
    number = getattr(error, "errno", None)
    fix = f"choose another port, or 0 for a free one; 'ss -ltnp sport = :{port}' shows who listens there"
    if number == errno.EACCES:
        fix = "choose a port above 1023"
    elif number != errno.EADDRINUSE:
        fix = "choose a host of this machine (127.0.0.1, or 0.0.0.0 for all) and a port from 0 to 65535"
    what = "is already in use" if number == errno.EADDRINUSE else f"cannot be taken: {error}"
    return ServiceError("SERVE-01", f"the address {host}:{port} {what}", why="no server was started", fix=fix)
