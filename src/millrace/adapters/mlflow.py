"""The mirror in MLflow: every run, version and alias of the ledger, told through the outbox.

MLflow is never asked anything the loop depends on. Each message finds what an earlier, interrupted delivery left and
goes on from there, so a message may come any number of times. The client API is used throughout: the tracking URI
and the active run of the process stay the user's.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from millrace.core.bundle import Manifest
from millrace.core.clock import from_text, to_micros
from millrace.core.errors import MissingExtra, ProjectError, ServiceError, did_you_mean
from millrace.store.outbox import Message

KEY_TAG = "millrace.key"
VERSION_TAG = "millrace.version"
DIGEST_TAG = "millrace.digest"
KINDS = ("run", "version", "alias")
REQUIREMENTS = ("mlflow", "scikit-learn", "skops", "numpy", "pandas")

# Set before MLflow is imported; what the user has set stays. MLflow's own 7 retries with doubling delays would hold
# the loop for minutes: the outbox is the one that tries again.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
}
_TYPES = {"int": "long", "float": "double", "bool": "boolean", "string": "string"}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without MLflow's own warnings about its own dependencies: nobody here can act on them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Tracker:
    """A tracking server, or the SQLite file that takes its place."""

    def __init__(
        self,
        *,
        uri: str,
        artifacts: str | None,
        load_model: Callable[[str], Any],
        load_manifest: Callable[[str], Manifest] | None,
        serialization_format: str,
    ) -> None:
        self._uri = uri
        self._artifacts = artifacts
        self._load_model = load_model
        self._load_manifest = load_manifest
        self._format = serialization_format
        self._open_client: Any = None

    def deliver(self, message: Message) -> None:
        """Mirror one outbox message of the topic "tracker".

        `message.body` is one of

        - ``{"kind": "run", "run_id", "model", "parameters", "metrics", "tags", "start", "end", "status"}``
        - ``{"kind": "version", ...}``: a `ModelVersion` as a mapping
        - ``{"kind": "alias", "model", "alias", "version"}``

        Raises
        ------
        ServiceError
            REG-10 when MLflow cannot be reached or refuses; REG-11 when the version an alias names is not mirrored.
        ProjectError
            REG-12 when the message is of another kind.
        """
        body = message.body
        kind = body.get("kind")
        send = {"run": self._mirror_run, "version": self._mirror_version, "alias": self._mirror_alias}.get(str(kind))
        if send is None:
            raise ProjectError("REG-12", f"the tracker takes no '{kind}'", fix=did_you_mean(str(kind), KINDS))
        with self._explained():
            send(body)

    def _mirror_run(self, body: Mapping[str, Any]) -> None:
        from mlflow.entities import Metric, Param, RunTag

        client = self._client()
        run_id = self._run_id(body["model"], body["run_id"], start=body.get("start"))
        end = _millis(body.get("end") or body.get("start"))
        tags = {**_texts(body.get("tags")), "millrace.status": str(body.get("status", "done"))}
        # The same time and step at every repetition: MLflow then keeps one value, not one per delivery.
        client.log_batch(
            run_id,
            metrics=[
                Metric(name, float(value), end or 0, 0)
                for name, value in (body.get("metrics") or {}).items()
                if value is not None
            ],
            params=[Param(name, text[:6000]) for name, text in _texts(body.get("parameters")).items()],
            tags=[RunTag(name, text[:5000]) for name, text in tags.items()],
        )
        status = "FAILED" if body.get("status") == "failed" else "FINISHED"
        client.set_terminated(run_id, status=status, end_time=end)

    def _mirror_version(self, body: Mapping[str, Any]) -> None:
        from mlflow.exceptions import MlflowException

        client, model, number = self._client(), body["model"], body["version"]
        if self._find_version(model, number) is not None:
            return
        try:
            client.create_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        run_id = self._run_id(model, body["run_id"], start=body.get("created_at"))
        if client.get_run(run_id).info.status == "RUNNING":  # only finished things are mirrored
            client.set_terminated(run_id, end_time=_millis(body.get("created_at")))
        logged = self._logged_model(body, run_id)
        client.create_model_version(
            model,
            source=logged.artifact_location,  # "models:/ID" would be looked up in the process-wide store
            run_id=run_id,
            tags={
                VERSION_TAG: str(number),
                DIGEST_TAG: body["digest"],
                **{f"millrace.lineage.{name}": text[:5000] for name, text in _texts(body.get("lineage")).items()},
            },
            model_id=logged.model_id,
        )

    def _mirror_alias(self, body: Mapping[str, Any]) -> None:
        model, number = body["model"], body["version"]
        found = self._find_version(model, number)
        if found is None:
            raise ServiceError(
                "REG-11",
                f"MLflow has no {model} v{number} for the alias '{body['alias']}' to name",
                where=self._uri,
                why="the version was not mirrored, or was removed there",
                fix="the message stays queued: mirror the version again",
            )
        self._client().set_registered_model_alias(model, body["alias"], found)

    def _logged_model(self, body: Mapping[str, Any], run_id: str) -> Any:
        """The model's files in MLflow; what an interrupted delivery has finished is used, not logged again."""
        import mlflow.sklearn
        from mlflow.entities import LoggedModelStatus
        from mlflow.models import Model

        client, experiment = self._client(), self._experiment_id(body["model"])
        earlier = client.search_logged_models([experiment], filter_string=f"tags.`{DIGEST_TAG}` = '{body['digest']}'")
        for candidate in earlier:
            if candidate.status == LoggedModelStatus.READY:
                return candidate
            client.delete_logged_model(candidate.model_id)
        fitted = self._load_model(body["digest"])
        manifest = self._load_manifest(body["digest"]) if self._load_manifest is not None else None
        logged = client.create_logged_model(
            experiment, name=body["model"], source_run_id=run_id, tags={DIGEST_TAG: body["digest"]}
        )
        with tempfile.TemporaryDirectory(prefix="millrace-") as folder:
            path = Path(folder) / "model"
            mlflow.sklearn.save_model(
                fitted,
                path,
                mlflow_model=Model(artifact_path=logged.artifact_location, run_id=run_id, model_id=logged.model_id),
                serialization_format=self._format,
                skops_trusted_types=_types_of(fitted) if self._format == "skops" else None,
                signature=_signature(fitted, manifest),
                pip_requirements=_requirements(),
            )
            client.log_model_artifacts(logged.model_id, str(path))
        return client.finalize_logged_model(logged.model_id, "READY")

    def _run_id(self, model: str, run_id: str, *, start: str | None) -> str:
        """MLflow's id of our run, made when it is not there yet."""
        client, experiment = self._client(), self._experiment_id(model)
        key = f"run:{run_id}"
        found = client.search_runs([experiment], filter_string=f"tags.`{KEY_TAG}` = '{key}'", max_results=1)
        if found:
            return str(found[0].info.run_id)
        run = client.create_run(experiment, start_time=_millis(start), tags={KEY_TAG: key}, run_name=run_id)
        return str(run.info.run_id)

    def _experiment_id(self, name: str) -> str:
        client = self._client()
        found = client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        location = None if self._artifacts is None else str(Path(self._artifacts).resolve() / name)
        return str(client.create_experiment(name, artifact_location=location))

    def _find_version(self, model: str, number: int) -> str | None:
        """MLflow's number of our version: the same unless somebody registered there by hand."""
        found = self._client().search_model_versions(f"name = '{model}' and tags.`{VERSION_TAG}` = '{number}'")
        return str(found[0].version) if found else None

    def _client(self) -> Any:
        if self._open_client is None:
            from mlflow import MlflowClient

            if self._uri.startswith("sqlite:///"):
                Path(self._uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
            with _quiet():
                self._open_client = MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
        return self._open_client

    @contextmanager
    def _explained(self) -> Iterator[None]:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        with _quiet():
            from mlflow.exceptions import MlflowException

            try:
                yield
            except (MlflowException, OSError) as error:
                raise ServiceError(
                    "REG-10",
                    f"MLflow did not take the message: {str(error).splitlines()[0]}",
                    where=self._uri.split("@")[-1],
                    why="the registry itself is complete; the message stays queued and is sent again later",
                    fix="see that the tracking server runs, or change the tracker's uri",
                ) from error


def open_tracker(settings: Mapping[str, Any]) -> Tracker:
    """The mirror.

    Parameters
    ----------
    settings : mapping
        ``uri``: ``sqlite:///path/mlflow.db`` or a tracking server's URL. ``artifacts``: folder of the model files, for
        the SQLite store. ``load_model``: ``(digest) -> fitted estimator``. ``load_manifest`` (optional):
        ``(digest) -> Manifest``, for exact column types; without it every column is a double.
        ``serialization_format`` (optional): ``skops`` (default) or ``cloudpickle``.

    Raises
    ------
    ProjectError
        PROJ-67 when ``uri`` or ``load_model`` is missing.
    MissingExtra
        When MLflow is not installed.
    """
    missing = [name for name in ("uri", "load_model") if not settings.get(name)]
    if missing:
        raise ProjectError("PROJ-67", f"the mlflow tracker has no {' and no '.join(missing)}", fix="set it")
    if find_spec("mlflow") is None:  # asked, not imported: that takes seconds, and is due at the first delivery
        raise MissingExtra("mlflow", "mlflow", "the tracker 'mlflow'")
    artifacts = settings.get("artifacts")
    return Tracker(
        uri=str(settings["uri"]),
        artifacts=None if artifacts is None else str(artifacts),
        load_model=settings["load_model"],
        load_manifest=settings.get("load_manifest"),
        serialization_format=str(settings.get("serialization_format", "skops")),
    )


def _signature(fitted: Any, manifest: Manifest | None) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, Schema

    if manifest is not None:
        columns = [(column.name, _TYPES[column.type]) for column in manifest.columns]
    else:
        columns = [(str(name), "double") for name in getattr(fitted, "feature_names_in_", ())]
    if not columns:
        return None
    return ModelSignature(inputs=Schema([ColSpec(type=kind, name=name) for name, kind in columns]))


def _types_of(fitted: Any) -> list[str]:
    """The types skops must trust to load what was just dumped: the file is ours, from a verified bundle."""
    import skops.io

    return list(skops.io.get_untrusted_types(data=skops.io.dumps(fitted)))


def _requirements() -> list[str]:
    """What it takes to load the model, stated: MLflow would start a process and load the model to guess it."""
    found = []
    for name in REQUIREMENTS:
        try:
            found.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue
    return found


def _texts(values: Mapping[str, Any] | None) -> dict[str, str]:
    return {name: str(value) for name, value in (values or {}).items() if value is not None}


def _millis(text: str | None) -> int | None:
    return None if text is None else to_micros(from_text(text)) // 1000
