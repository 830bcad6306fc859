"""Versions and aliases of models. The truth is in the ledger; a tracker such as MLflow is told of it.

A version is an event that never changes. An alias is a state that moves by compare-and-swap, and every move is an
event, so the question "what was champion then" always has an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from millrace.core.clock import to_text
from millrace.core.errors import Conflict, ModelError, did_you_mean
from millrace.core.records import ModelVersion
from millrace.registry.names import check_name, version_number
from millrace.store.ledger import Event, Ledger, Transaction

TRACKER = "tracker"


@dataclass(frozen=True, slots=True)
class Alias:
    """Where an alias points after one move. `generation` counts its moves, from 1."""

    model: str
    alias: str
    version: int
    previous: int | None
    generation: int
    reason: str
    at: str

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


class Registry:
    """Every version of every model, and the aliases that point at them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def register(
        self,
        model: str,
        *,
        digest: str,
        golden: str,
        run_id: str,
        metrics: Mapping[str, float],
        parameters: Mapping[str, Any],
        lineage: Mapping[str, Any],
        files: Mapping[str, str],
        key: str,
    ) -> ModelVersion:
        """The new version, numbered one above the last; the earlier one when `key` has registered before.

        Parameters
        ----------
        digest : str
            Of the bundle.
        golden : str
            Digest of the blob with the golden rows.
        files : mapping of str to str
            Role to SHA-256, as in the bundle's manifest.
        key : str
            Idempotency key, such as the run's id: a run that is resumed does not register twice.

        Raises
        ------
        ProjectError
            REG-05 when `model` cannot be a name.
        Conflict
            REG-04 when `key` has registered a bundle of another digest.
        """
        check_name(model, what="model")
        event_key = f"register:{model}:{key}"
        with self._ledger.transaction() as transaction:
            earlier = transaction.find(event_key)
            if earlier is not None:
                return _same_bundle(ModelVersion.from_dict(earlier.body), digest, key)
            state = transaction.state("model", model)
            record = ModelVersion(
                model=model,
                version=(state.value["versions"] if state else 0) + 1,
                digest=digest,
                golden=golden,
                run_id=run_id,
                created_at=to_text(self._ledger.clock.now()),
                metrics=dict(metrics),
                parameters=dict(parameters),
                lineage=dict(lineage),
                files=dict(files),
            )
            transaction.append(
                "version",
                model,
                record.to_dict(),
                key=event_key,
                sets=[("model", model, {"versions": record.version})],
                tells=[(TRACKER, f"version:{model}:{record.version}", {"kind": "version", **record.to_dict()})],
            )
        return record

    def models(self) -> list[str]:
        """Names of all models, sorted."""
        return [state.key for state in self._ledger.states("model")]

    def versions(self, model: str) -> list[ModelVersion]:
        """All versions of a model, oldest first. Raises ModelError REG-01 when there is no such model."""
        found = [ModelVersion.from_dict(event.body) for event in self._ledger.events("version", model)]
        if not found:
            raise _no_model(model, self.models())
        return found

    def get(self, model: str, ref: int | str) -> ModelVersion:
        """The version that `ref` names: a number (7, "7", "v7") or an alias.

        Raises
        ------
        ModelError
            REG-01 for an unknown model, REG-02 for an unknown version, REG-03 for an unknown alias.
        """
        found = self.versions(model)
        number = version_number(ref)
        if number is None:
            number = self._get_alias(model, str(ref)).version
        if not 1 <= number <= len(found):
            raise _no_version(model, number, len(found))
        return found[number - 1]

    def find(self, model: str, ref: int | str) -> ModelVersion | None:
        """Like `get`, but None when there is no such model, version or alias."""
        try:
            return self.get(model, ref)
        except ModelError:
            return None

    def aliases(self, model: str) -> list[Alias]:
        """Where each alias of a model points now, by name."""
        prefix = f"{model}@"
        return [
            Alias(**state.value, generation=state.generation)
            for state in self._ledger.states("alias")
            if state.key.startswith(prefix)
        ]

    def find_alias(self, model: str, alias: str) -> Alias | None:
        """Where an alias points now, or None when it was never set."""
        state = self._ledger.state("alias", f"{model}@{alias}")
        return Alias(**state.value, generation=state.generation) if state else None

    def move_alias(
        self,
        model: str,
        alias: str,
        version: int,
        *,
        reason: str,
        expected_generation: int | None = None,
        key: str | None = None,
    ) -> Alias:
        """The alias after it was pointed at `version`.

        Parameters
        ----------
        expected_generation : int, optional
            Compare-and-swap: the generation the alias must still have, 0 for one that was never set. Of several
            processes that move an alias from the same generation, exactly one wins.
        key : str, optional
            Idempotency key: a move with this key happens once, whoever repeats it gets the first one back.

        Raises
        ------
        Conflict
            LEDGER-01 when the alias has moved on from `expected_generation`; nothing is written.
        ModelError
            REG-01 or REG-02 when there is no such model or version.
        ProjectError
            REG-05 when `alias` cannot be a name.
        """
        check_name(alias, what="alias")
        name = f"{model}@{alias}"
        event_key = None if key is None else f"alias:{name}:{key}"
        with self._ledger.transaction() as transaction:
            earlier = transaction.find(event_key) if event_key is not None else None
            if earlier is not None:
                return _alias(earlier)
            _check_version(transaction, model, version)
            state = transaction.state("alias", name)
            value = {
                "model": model,
                "alias": alias,
                "version": version,
                "previous": state.value["version"] if state else None,
                "reason": reason,
                "at": to_text(self._ledger.clock.now()),
            }
            generation = (state.generation if state else 0) + 1
            expected = None if expected_generation is None else {("alias", name): expected_generation}
            event = transaction.append(
                "alias",
                model,
                value,
                key=event_key,
                sets=[("alias", name, value)],
                tells=[(TRACKER, f"alias:{name}:{generation}", {"kind": "alias", **value})],
                expected=expected,
            )
        return _alias(event)

    def alias_history(self, model: str, alias: str | None = None) -> list[Alias]:
        """Every move of a model's aliases, or of one of them, oldest first."""
        moves = [_alias(event) for event in self._ledger.events("alias", model)]
        return [move for move in moves if alias is None or move.alias == alias]

    def _get_alias(self, model: str, alias: str) -> Alias:
        found = self.find_alias(model, alias)
        if found is None:
            known = [entry.alias for entry in self.aliases(model)]
            raise ModelError(
                "REG-03",
                f"model '{model}' has no alias '{alias}'",
                fix=did_you_mean(alias, known) if known else "no alias was set yet: name a version by its number",
            )
        return found


def _alias(event: Event) -> Alias:
    return Alias(**event.body, generation=event.sets[0]["generation"])


def _same_bundle(record: ModelVersion, digest: str, key: str) -> ModelVersion:
    if record.digest != digest:
        raise Conflict(
            "REG-04",
            f"'{key}' registered {record.model} v{record.version} already, with another bundle",
            why=f"registered then: {record.digest[:12]}, now: {digest[:12]}; a version never changes",
            fix="start a new run to register the new bundle",
        )
    return record


def _check_version(transaction: Transaction, model: str, version: int) -> None:
    state = transaction.state("model", model)
    if state is None:
        raise _no_model(model, [known.key for known in transaction.states("model")])
    if not 1 <= version <= state.value["versions"]:
        raise _no_version(model, version, state.value["versions"])


def _no_model(model: str, known: list[str]) -> ModelError:
    return ModelError(
        "REG-01",
        f"no version of a model '{model}' is registered",
        fix=did_you_mean(model, known) if known else "`millrace run` trains, judges and registers the first one",
    )


def _no_version(model: str, version: int, last: int) -> ModelError:
    return ModelError(
        "REG-02",
        f"model '{model}' has no version {version}",
        why=f"its versions are 1 to {last}",
        fix=f"did you mean v{min(max(version, 1), last)}? `millrace model list` shows all",
    )
