"""The feature server of one environment: the HTTP answers of `features` on the socket of `serving`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.core.plugins import scheme_of

if TYPE_CHECKING:
    from millrace.features.http.app import FeatureApp
    from millrace.flow.wiring import Wiring

DEFAULT_PORT = 6566
"""Feast's own."""

_LOCAL = ("lmdb", "memory", "snapshot", "sqlite")
"""Online stores that answer from this machine, in microseconds."""


class FeatureServer:
    """Answers features of the wiring's environment over HTTP.

    Parameters
    ----------
    wiring : Wiring
        Its online store is opened at once: better no server than one that never had a store.
    host, port
        See `AsgiServer`.
    ready_file, on_ready
        See `AsgiServer`.
    variables : mapping, optional
        The process environment, for the token.
    """

    def __init__(
        self,
        wiring: Wiring,
        *,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        ready_file: Path | None = None,
        on_ready: Callable[[str], None] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        from millrace.serving.asgi_server import AsgiServer

        self._http = AsgiServer(host, port, ready_file=ready_file, on_ready=on_ready, on_stop=self._stopping)
        self._wiring = wiring
        self._variables = os.environ if variables is None else variables
        self._app: FeatureApp | None = None

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then finish what is being answered.

        Raises
        ------
        ServiceError
            SERVE-01 when the address cannot be taken.
        """
        app = self._prepare()
        self._http.run(app, app.working())

    def start(self) -> str:
        """Serve in a thread of this process; returns the URL."""
        app = self._prepare()
        return self._http.start(app, app.working())

    def stop(self) -> None:
        """End `run` or `start` as SIGTERM would."""
        self._http.stop()

    def _prepare(self) -> FeatureApp:
        self._http.bind()  # first: who cannot have the address opens nothing
        self._app = make_app(self._wiring, self._variables)
        return self._app

    def _stopping(self) -> None:
        if self._app is not None:
            self._app.stop()


def make_app(wiring: Wiring, variables: Mapping[str, str]) -> FeatureApp:
    """The application over the wiring's feature store."""
    from millrace.features.http.access import Access
    from millrace.features.http.app import FeatureApp

    environment = wiring.environment
    online, store = wiring.online, wiring.features
    variable = environment.features_token_variable

    # A model's own features are a service by its name, unless there is one that is called so.
    services: dict[str, Sequence[str]] = {
        name: wiring.feature_references(model) for name, model in wiring.project.models.items()
    }
    services.update({name: service.references for name, service in store.services.items()})
    return FeatureApp(
        store,
        services=services,
        probe=lambda: online.read("ready", [b"ready"]),
        access=Access(variables.get(variable, ""), variable),
        is_local=scheme_of(environment.online) in _LOCAL,
        clock=wiring.clock,
    )
