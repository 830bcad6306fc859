"""Run the application on a socket of our own, following the releases of one environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from millrace.core.bundle import Manifest
from millrace.core.clock import Clock, SystemClock
from millrace.core.records import Release
from millrace.core.row_rules import RowRules
from millrace.serving.app import App
from millrace.serving.asgi_server import AsgiServer
from millrace.serving.inputs import Lookup
from millrace.serving.prediction_log import PredictionLog, Sync
from millrace.serving.predictor import Loader, Predictor, load_predictor, read_manifest
from millrace.serving.slot import Slot
from millrace.serving.watcher import ReleaseWatcher
from millrace.store.blobs import BlobStore


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
    lookup : callable, optional
        Values of features by key, given the manifest of the bundle that asks; without it requests bring every input.
    rules : callable, optional
        What judges the rows of requests, given the manifest of the bundle that answers them; None where nothing does.
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
        lookup: Callable[[Manifest], Lookup] | None = None,
        rules: Callable[[Manifest], RowRules | None] | None = None,
        settings: Settings | None = None,
        clock: Clock | None = None,
        on_ready: Callable[[str], None] | None = None,
        loaders: Mapping[str, Loader] | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.slot = Slot()
        self._blobs = blobs
        self._loaders = loaders
        self._clock = clock or SystemClock()
        self._http = AsgiServer(
            self.settings.host,
            self.settings.port,
            ready_file=self.settings.ready_file,
            drain_seconds=self.settings.drain_seconds,
            on_ready=on_ready,
        )
        self._log: PredictionLog | None = None
        self._watcher = ReleaseWatcher(self.slot, current, self._load, lookup, self.settings.poll_ms, rules)

    @property
    def url(self) -> str:
        """Where it listens; empty before `bind`."""
        return self._http.url

    def bind(self) -> str:
        """Take the port; returns the URL. From here on connections wait instead of being refused.

        Raises
        ------
        ServiceError
            SERVE-01 when the address cannot be taken.
        """
        return self._http.bind()

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT (or `stop`): then finish what is being answered, and write the log.

        Raises
        ------
        ServiceError
            SERVE-01 when the address cannot be taken. Everything later is a matter of /health.
        """
        self._http.run(self._make_app(), self._following())

    def start(self) -> str:
        """Serve in a thread of this process; returns the URL once the first release was looked for."""
        app = self._make_app()
        self._watcher.poll()
        return self._http.start(app, self._following())

    def stop(self) -> None:
        """End `run` or `start` as SIGTERM would."""
        self._http.stop()

    def _make_app(self) -> App:
        self.bind()  # before anything is written: a second server on one address must not touch the first one's log
        settings = self.settings
        if settings.log_folder is not None:
            self._log = PredictionLog(settings.log_folder, sync=settings.sync, clock=self._clock)
        return App(self.slot, log=self._log, clock=self._clock, body_bytes=settings.body_bytes)

    @contextmanager
    def _following(self) -> Iterator[None]:
        try:
            self._watcher.poll()
            self._watcher.start()
            yield
        finally:
            self._watcher.stop()
            if self._log is not None:
                self._log.close()

    def _load(self, digest: str) -> Predictor:
        return load_predictor(
            read_manifest(digest, self._blobs),
            self._blobs,
            allow_pickle=self.settings.allow_pickle,
            loaders=self._loaders,
        )
