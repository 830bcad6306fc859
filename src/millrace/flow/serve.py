"""A prediction server of one model in one environment, joined to the ledger, the bundles and the feature store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from millrace.core.records import Release
from millrace.flow.pinned_features import pinned_views, store_of
from millrace.flow.serving_rules import open_serving_rules

if TYPE_CHECKING:
    from millrace.core.bundle import Manifest
    from millrace.flow.wiring import Wiring
    from millrace.serving.server import Server

DEFAULT_PORT = 8000


def make_server(
    wiring: Wiring,
    model: str,
    *,
    host: str | None = None,
    port: int | None = None,
    ready_file: Path | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> Server:
    """The server of the active environment. Host and port come from its URL for the model unless given."""
    from millrace.serving.server import Server, Settings

    environment = wiring.environment
    address = urlsplit(environment.server_of(model))
    # A public address (https) stands before the server; what the server binds is then said on the command line.
    is_own = address.scheme == "http"
    settings = Settings(
        host=host or (address.hostname if is_own else None) or "127.0.0.1",
        port=port if port is not None else (address.port if is_own else None) or DEFAULT_PORT,
        log_folder=prediction_folder(wiring, environment.name, model),
        ready_file=ready_file,
        allow_pickle=environment.allow_pickle,
    )

    def current() -> Release | None:
        return wiring.releases.current(environment.name, model)

    return Server(
        current,
        wiring.blobs,
        lookup=lambda manifest: make_lookup(wiring, manifest),
        rules=lambda manifest: open_serving_rules(manifest, wiring.blobs),
        settings=settings,
        clock=wiring.clock,
        on_ready=on_ready,
    )


def make_lookup(
    wiring: Wiring, manifest: Manifest
) -> Callable[[list[str], Mapping[str, Any], datetime], Sequence[Any]]:
    """Feature values by entity key, by the definitions that the bundle's model was trained on.

    A list of features is compiled into a plan once.

    Raises
    ------
    ModelError, StoreError
        FEAT-60 to FEAT-62 when these definitions cannot be had any more.
    """
    pins = manifest.lineage.get("feature_pins") or {}
    views = pinned_views(wiring, pins, who=f"this version of {manifest.model}")
    plans: dict[tuple[str, ...], Any] = {}

    def lookup(features: list[str], key: Mapping[str, Any], at: datetime) -> Sequence[Any]:
        name = tuple(features)
        plan = plans.get(name)
        if plan is None:
            plan = plans[name] = store_of(wiring, views).plan(features)
        values: Sequence[Any] = plan.read(key, at)
        return values

    return lookup


def prediction_folder(wiring: Wiring, environment: str, model: str) -> Path:
    """Where an environment's predictions of a model are logged."""
    return wiring.project.settings.environments[environment].predictions / environment / model
