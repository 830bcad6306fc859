"""millrace.toml: where things live, per environment. Unknown keys are errors that name the nearest known one."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from millrace.core.errors import ProjectError, did_you_mean, nearest

FILE_NAME = "millrace.toml"
ENVIRONMENTS = ("development", "staging", "production")

# What an environment may set, and what it is when nobody sets it. Paths are relative to the project's folder.
_DEFAULTS: dict[str, Any] = {
    "ledger": "sqlite:///.millrace/ledger.db",
    "blobs": ".millrace/blobs",
    "online": "lmdb:///.millrace/online",
    "offline": "embedded://",
    "predictions": ".millrace/predictions",
    "server": "",
    "servers": {},
    "channels": ["console"],
    "tracker": "",
    "executor": "fork",
    "workers": 2,
    "memory_mb": 0,
    "spill": ".millrace/spill",
    "allow_pickle": False,
    "features_token_variable": "MILLRACE_FEATURES_TOKEN",
}
_ROOT_KEYS = {"name", "definitions", "environment", "defaults", "environments", "channels", "trackers"}
_SHARED = ("ledger", "blobs", "online", "predictions")
_EXECUTORS = ("inline", "fork", "spawn")


@dataclass(frozen=True)
class Environment:
    """Where one environment's things live. URLs are resolved against the project's folder."""

    name: str
    ledger: str
    blobs: str
    online: str
    offline: str
    predictions: Path
    server: str
    servers: Mapping[str, str]
    channels: tuple[str, ...]
    tracker: str
    executor: str
    workers: int
    allow_pickle: bool
    features_token_variable: str
    memory_mb: int
    spill: Path

    def server_of(self, model: str) -> str:
        """URL of the server that answers for a model: its own of `servers`, else `server`; empty for none."""
        return self.servers.get(model, self.server)


@dataclass(frozen=True)
class Settings:
    """The whole of millrace.toml, checked."""

    name: str
    root: Path
    definitions: Path
    environment: str
    environments: Mapping[str, Environment]
    channels: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    trackers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def active(self) -> Environment:
        """The environment that commands use when none is named."""
        return self.environments[self.environment]


def find_root(start: Path) -> Path:
    """The nearest folder at or above `start` that holds millrace.toml.

    Raises
    ------
    ProjectError
        PROJ-01 when there is none.
    """
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return folder
    raise ProjectError(
        "PROJ-01",
        f"there is no {FILE_NAME} here or in any folder above",
        where=str(start),
        fix="go to a project's folder, pass --project FOLDER, or make one: millrace init NAME",
    )


def load_settings(
    root: Path, *, environment: str | None = None, variables: Mapping[str, str] | None = None
) -> Settings:
    """Read and check millrace.toml in `root`.

    Parameters
    ----------
    environment : str, optional
        Overrides both the file's ``environment`` and ``MILLRACE_ENVIRONMENT``.
    variables : mapping, optional
        The process environment; ``MILLRACE_<KEY>`` overrides a key of the active environment.

    Raises
    ------
    ProjectError
        PROJ-02 when the file is not TOML, PROJ-03 with every finding when keys or values are wrong.
    """
    path = root / FILE_NAME
    variables = os.environ if variables is None else variables
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProjectError(
            "PROJ-02", f"{FILE_NAME} cannot be read: {error}", where=str(path), fix="see https://toml.io"
        ) from error
    problems: list[ProjectError] = []
    settings = _build(raw, root, path, environment, variables, problems)
    if problems:
        if len(problems) == 1:
            raise problems[0]
        raise ProjectError("PROJ-03", f"{len(problems)} mistakes in {FILE_NAME}", where=str(path), findings=problems)
    return settings


def _build(
    raw: dict[str, Any],
    root: Path,
    path: Path,
    environment: str | None,
    variables: Mapping[str, str],
    problems: list[ProjectError],
) -> Settings:
    _check_keys(raw, _ROOT_KEYS, path, "", problems)
    defaults = _table(raw, "defaults", path, problems)
    _check_keys(defaults, _DEFAULTS, path, "[defaults] ", problems)
    given = _table(raw, "environments", path, problems)
    chosen = environment or variables.get("MILLRACE_ENVIRONMENT")
    active = chosen or str(raw.get("environment", ENVIRONMENTS[0]))
    names = list(dict.fromkeys([*ENVIRONMENTS, *given]))
    if active not in names:
        problems.append(
            ProjectError(
                "PROJ-04", f"there is no environment '{active}'", where=str(path), fix=did_you_mean(active, names)
            )
        )
    for name in given:
        meant = nearest(name, ENVIRONMENTS)
        if name not in ENVIRONMENTS and meant is not None:
            fix = f"did you mean '{meant}'?"
            problems.append(ProjectError("PROJ-08", f"unknown environment '{name}'", where=str(path), fix=fix))
    problems.extend(_misspelt_variables(variables))
    environments = {}
    for name in names:
        table = _table(given, name, path, problems)
        _check_keys(table, _DEFAULTS, path, f"[environments.{name}] ", problems)
        merged = {**_DEFAULTS, **defaults, **table}
        overrides = _overrides(variables)
        # Where the project's state lies is one answer for all environments; the rest is the active one's own.
        merged.update({key: value for key, value in overrides.items() if name == active or key in _SHARED})
        # A variable that another environment needs may well be missing here.
        needed = problems if name == active else []
        environments[name] = _environment(name, _resolve(merged, variables, path, needed), root, path, problems)
    title = raw.get("name")
    if not isinstance(title, str) or not title:
        problems.append(ProjectError("PROJ-05", "the project has no name", where=str(path), fix='add name = "..."'))
    return Settings(
        name=str(title),
        root=root,
        definitions=root / str(raw.get("definitions", "project.py")),
        environment=active,
        environments=environments,
        channels=_used(raw, "channels", environments, active, variables, path, problems),
        trackers=_used(raw, "trackers", environments, active, variables, path, problems),
    )


def _used(
    raw: Mapping[str, Any],
    key: str,
    environments: Mapping[str, Environment],
    active: str,
    variables: Mapping[str, str],
    path: Path,
    problems: list[ProjectError],
) -> dict[str, Any]:
    """The settings of channels or trackers; a missing variable matters only to those the active environment uses."""
    environment = environments.get(active)
    wanted: tuple[str, ...] = ()
    if environment is not None:
        wanted = environment.channels if key == "channels" else (environment.tracker,)
    tables = _table(raw, key, path, problems)
    return {
        name: _resolve(table, variables, path, problems if name in wanted else []) for name, table in tables.items()
    }


def _misspelt_variables(variables: Mapping[str, str]) -> Iterator[ProjectError]:
    """A variable that is nearly one of ours would be passed over in silence."""
    secret = str(_DEFAULTS["features_token_variable"])
    known = ["MILLRACE_ENVIRONMENT", secret, *(f"MILLRACE_{key.upper()}" for key in _DEFAULTS)]
    for name in variables:
        meant = nearest(name, known) if name.startswith("MILLRACE_") and name not in known else None
        if meant is not None:
            yield ProjectError("PROJ-08", f"unknown variable {name}", where="environment", fix=f"did you mean {meant}?")


def _overrides(variables: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, default in _DEFAULTS.items():
        text = variables.get(f"MILLRACE_{key.upper()}")
        if text is None:
            continue
        if isinstance(default, bool):
            words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
            found[key] = words.get(text.lower(), text)
        elif isinstance(default, int):
            found[key] = int(text) if text.isdigit() else text
        elif isinstance(default, list):
            found[key] = [part for part in text.split(",") if part]
        elif isinstance(default, dict):
            found[key] = dict(part.partition("=")[::2] for part in text.split(",") if part)
        else:
            found[key] = text
    return found


def _environment(
    name: str,
    values: dict[str, Any],
    root: Path,
    path: Path,
    problems: list[ProjectError],
) -> Environment:
    for key, default in _DEFAULTS.items():
        if type(values[key]) is not type(default):
            problems.append(
                ProjectError(
                    "PROJ-06",
                    f"[environments.{name}] {key} = {values[key]!r} is not of type {type(default).__name__}",
                    where=str(path),
                    fix=f"for example: {key} = {default!r}",
                )
            )
            values[key] = default
    problems.extend(
        ProjectError(
            "PROJ-06",
            f"[environments.{name}] {url!r} is not the address of a server",
            where=str(path),
            fix='for example: server = "http://127.0.0.1:8100"',
        )
        for url in filter(None, [values["server"], *values["servers"].values()])
        if not _is_address(url)
    )
    if values["executor"] not in _EXECUTORS:
        problems.append(
            ProjectError(
                "PROJ-06",
                f"[environments.{name}] executor = {values['executor']!r} is unknown",
                where=str(path),
                fix=did_you_mean(values["executor"], _EXECUTORS),
            )
        )
    return Environment(
        name=name,
        ledger=anchored(values["ledger"], root),
        blobs=anchored(values["blobs"], root),
        online=anchored(values["online"], root),
        offline=values["offline"],
        predictions=root / values["predictions"],
        server=values["server"],
        servers=values["servers"],
        channels=tuple(values["channels"]),
        tracker=values["tracker"],
        executor=values["executor"],
        workers=max(1, values["workers"]),
        allow_pickle=values["allow_pickle"],
        features_token_variable=values["features_token_variable"],
        memory_mb=max(0, values["memory_mb"]),
        spill=root / values["spill"],
    )


def _is_address(url: Any) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port >= 0)
    except (ValueError, AttributeError, TypeError):
        return False


def anchored(url: str, root: Path) -> str:
    """A file URL or path made absolute against the project; any other URL as it is."""
    for prefix in ("sqlite:///", "lmdb:///", "file://", "snapshot+sqlite:///", "snapshot+lmdb:///"):
        if url.startswith(prefix):
            return f"{prefix}{root / url.removeprefix(prefix)}"
    return url if "://" in url else str(root / url)


def _resolve(value: Any, variables: Mapping[str, str], path: Path, problems: list[ProjectError]) -> Any:
    """`value` with each ``{env = "NAME"}`` replaced by that variable: secrets never stand in the file."""
    if isinstance(value, dict):
        if set(value) == {"env"}:
            found = variables.get(str(value["env"]))
            if found is None:
                problems.append(
                    ProjectError(
                        "PROJ-07",
                        f"the environment variable {value['env']} is not set",
                        where=str(path),
                        fix=f"export {value['env']}=... before running",
                    )
                )
                return ""
            return found
        return {key: _resolve(part, variables, path, problems) for key, part in value.items()}
    return value


def _table(raw: Mapping[str, Any], key: str, path: Path, problems: list[ProjectError]) -> dict[str, Any]:
    value = raw.get(key, {})
    if isinstance(value, dict):
        return value
    problems.append(ProjectError("PROJ-06", f"{key} = {value!r} is not a table", where=str(path), fix=f"[{key}]"))
    return {}


def _check_keys(table: Mapping[str, Any], allowed: Any, path: Path, prefix: str, problems: list[ProjectError]) -> None:
    problems.extend(
        ProjectError("PROJ-08", f"{prefix}unknown key '{key}'", where=str(path), fix=did_you_mean(key, allowed))
        for key in table
        if key not in allowed
    )
