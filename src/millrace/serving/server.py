"""Run the application on a socket of our own, following the releases of one environment."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from millrace.core.clock import Clock, SystemClock
from millrace.core.errors import ServiceError
from millrace.core.records import Release
from millrace.serving.app import App
from millrace.serving.inputs import Lookup
from millrace.serving.prediction_log import PredictionLog, Sync
from millrace.serving.predictor import Loader, Predictor, load_predictor, read_manifest
from millrace.serving.slot import Slot
from millrace.serving.watcher import ReleaseWatcher
from millrace.store.blobs import BlobStore
from millrace.store.disk import write_atomic

logger = logging.getLogger("millrace.serving")

_BACKLOG = 2048


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server runs.

    Parameters
    ----------
    host : str
        Loopback unless told otherwise: a server asks nobody who they are.
    port : int
        0 takes a free one; `Server.url` and `ready_file` say which.
    log_folder : Path, optional
        Where predictions are logged; without one they are not.
    sync : {"interval", "each"}
        See `PredictionLog`.
    ready_file : Path, optional
        Written when requests are taken: ``{"url", "host", "port", "pid"}``. Removed at the end.
    allow_pickle : bool
        Whether bundles in pickle form are loaded.
    body_bytes : int
        Largest body taken.
    poll_ms : float
        How often the current release is looked up.
    drain_seconds : int
        How long requests that are being answered may take after SIGTERM.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    log_folder: Path | None = None
    sync: Sync = "interval"
    ready_file: Path | None = None
    allow_pickle: bool = False
    body_bytes: int = 1 << 20
    poll_ms: float = 50.0
    drain_seconds: int = 10


class Server:
    """A prediction server of one model in one environment.

    Parameters
    ----------
    current : callable
        The release to serve, or None before the first. Asked from a thread of the server's.
    blobs : BlobStore
    lookup : Lookup, optional
        Values of features by key; without it requests bring every input.
    settings : Settings
    clock : Clock
    on_ready : callable, optional
        Called with the URL when requests are taken.
    loaders : mapping of format to Loader, optional
        Used before the installed ones.
    """

    def __init__(
        self,
        current: Callable[[], Release | None],
        blobs: BlobStore,
        *,
        lookup: Lookup | None = None,
        settings: Settings | None = None,
        clock: Clock | None = None,
        on_ready: Callable[[str], None] | None = None,
        loaders: Mapping[str, Loader] | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.slot = Slot()
        self.url = ""
        self._blobs = blobs
        self._loaders = loaders
        self._clock = clock or SystemClock()
        self._on_ready = on_ready
        self._socket: socket.socket | None = None
        self._uvicorn: Any = None
        self._thread: threading.Thread | None = None
        self._log: PredictionLog | None = None
        self._watcher = ReleaseWatcher(self.slot, current, self._load, lookup, self.settings.poll_ms)

    def bind(self) -> str:
        """Take the port; returns the URL. From here on connections wait instead of being refused.

        Raises
        ------
        ServiceError
            SERVE-01 when the address cannot be taken.
        """
        if self._socket is None:
            self._socket = _listen(self.settings.host, self.settings.port)
            host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
            self.url = f"http://{host}:{self._socket.getsockname()[1]}"
        return self.url

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT (or `stop`): then finish what is being answered, and write the log.

        Raises
        ------
        ServiceError
            SERVE-01 when the address cannot be taken. Everything later is a matter of /health.
        """
        self._prepare()
        with self._signals_caught():
            self._serve()

    def start(self) -> str:
        """Serve in a thread of this process; returns the URL once the first release was looked for."""
        self._prepare()
        self._watcher.poll()
        self._thread = threading.Thread(target=self._serve, name="millrace-server", daemon=True)
        self._thread.start()
        return self.url

    def stop(self) -> None:
        """End `run` or `start` as SIGTERM would."""
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True
        if self._thread is not None:
            self._thread.join()

    def _prepare(self) -> None:
        self.bind()
        settings = self.settings
        if settings.log_folder is not None:
            self._log = PredictionLog(settings.log_folder, sync=settings.sync, clock=self._clock)
        app = App(self.slot, log=self._log, clock=self._clock, body_bytes=settings.body_bytes)
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                app,
                interface="asgi3",
                lifespan="off",
                ws="none",
                log_config=None,  # logging belongs to whoever started the process
                access_log=False,
                server_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=75,  # longer than proxies keep theirs: they close, not we
                timeout_graceful_shutdown=settings.drain_seconds,
            )
        )

    def _serve(self) -> None:
        try:
            self._watcher.poll()
            self._watcher.start()
            self._announce()
            self._uvicorn.run(sockets=[self._socket])
        finally:
            self._watcher.stop()
            if self._log is not None:
                self._log.close()
            if self.settings.ready_file is not None:
                self.settings.ready_file.unlink(missing_ok=True)
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def _announce(self) -> None:
        if self._socket is None:
            return
        host, port = self._socket.getsockname()[:2]
        facts = {"url": self.url, "host": host, "port": port, "pid": os.getpid()}
        if self.settings.ready_file is not None:
            write_atomic(self.settings.ready_file, json.dumps(facts).encode())
        if self._on_ready is not None:
            self._on_ready(self.url)
        logger.info("serving on %s", self.url)

    def _load(self, digest: str) -> Predictor:
        return load_predictor(
            read_manifest(digest, self._blobs),
            self._blobs,
            allow_pickle=self.settings.allow_pickle,
            loaders=self._loaders,
        )

    @contextmanager
    def _signals_caught(self) -> Iterator[None]:
        """SIGTERM and SIGINT end the server, also while it loads its first model, and nothing more.

        uvicorn hands a signal on after its own shutdown; the default action would kill us before the log is written.
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
