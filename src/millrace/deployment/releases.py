"""What each environment runs, has run, and runs again after a rollback.

A rollback is one more release, never a deletion: it is a "release" event whose `undoes` names the bad release.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from millrace.core.clock import to_text
from millrace.core.errors import ModelError
from millrace.core.records import Release
from millrace.deployment.quarantine import quarantine_entry, quarantined_digests, refuse_quarantined
from millrace.store.lease import Lease
from millrace.store.ledger import Event, Ledger, Transaction


@dataclass(frozen=True, slots=True)
class Standing:
    """What an environment runs of a model now. `generation` is what a compare-and-swap must name."""

    release: Release | None
    number: int
    generation: int


class Releases:
    """The releases of every environment and model, in the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def standing(self, environment: str, model: str) -> Standing:
        """The current release with its generation; generation 0 when nothing was ever released."""
        return _standing(self.ledger, environment, model)

    def current(self, environment: str, model: str) -> Release | None:
        """What the environment runs of the model, or None."""
        return self.standing(environment, model).release

    def history(self, environment: str, model: str) -> list[Release]:
        """All releases, oldest first, rollbacks among them."""
        return [_release(event) for event in self.ledger.events("release", f"{environment}/{model}")]

    def make(
        self,
        environment: str,
        model: str,
        version: int,
        digest: str,
        strategy: str,
        reason: str,
        key: str,
        expected_generation: int | None = None,
        *,
        lease: Lease | None = None,
    ) -> Release:
        """The release of `version` to `environment`, made now; the earlier one when `key` has made it before.

        Parameters
        ----------
        key : str
            Idempotency key: a deploy that is resumed does not release twice.
        expected_generation : int, optional
            Compare-and-swap against `standing(...).generation`.
        lease : Lease, optional
            Nothing is written unless this lease still holds.

        Raises
        ------
        ModelError
            DEPLOY-01 when the bundle is in quarantine.
        Conflict
            LEDGER-01 when the environment has moved on, LEASE-02 when the lease was lost.
        """
        with self.ledger.transaction(lease) as transaction:
            earlier = transaction.find(key)
            if earlier is not None:
                return _release(earlier)
            refuse_quarantined(transaction, digest)
            standing = _standing(transaction, environment, model)
            release = Release(
                environment=environment,
                model=model,
                number=standing.number + 1,
                version=version,
                digest=digest,
                strategy=strategy,
                at=to_text(self.ledger.clock.now()),
                reason=reason,
                previous=standing.release.version if standing.release else None,
            )
            return append_release(transaction, release, key=key, expected_generation=expected_generation)

    def rollback(
        self,
        environment: str,
        model: str,
        *,
        to: int | None = None,
        reason: str,
        key: str | None = None,
        expected_generation: int | None = None,
        lease: Lease | None = None,
    ) -> Release:
        """The release that puts a good earlier version back; the version it replaces goes into quarantine.

        Parameters
        ----------
        to : int, optional
            The version to go back to. Without it: the newest earlier release of another bundle that was not
            itself rolled back from.

        Raises
        ------
        ModelError
            DEPLOY-02 when the environment runs nothing, DEPLOY-03 when there is nothing good to go back to,
            DEPLOY-04 when `to` never ran there or its bundle runs now, DEPLOY-01 when `to` is in quarantine.
        """
        with self.ledger.transaction(lease) as transaction:
            earlier = transaction.find(key) if key is not None else None
            if earlier is not None:
                return _release(earlier)
            standing = _standing(transaction, environment, model)
            if standing.release is None:
                raise ModelError(
                    "DEPLOY-02",
                    f"{environment} runs no version of '{model}': there is nothing to roll back",
                    fix="`millrace deploy` releases a version",
                )
            if to is None:
                target = find_previous(transaction, standing.release)
            else:
                target = _chosen(transaction, standing.release, to)
                refuse_quarantined(transaction, target.digest)
            if target is None:
                raise ModelError(
                    "DEPLOY-03",
                    f"{environment} has no earlier good release of '{model}' to go back to",
                    why="every other version it ran was rolled back from, or there was none",
                    fix="`millrace run` trains a new version, or name one with --to",
                )
            return restore(
                self.ledger,
                transaction,
                bad=standing.release,
                target=target,
                reason=reason,
                quarantine=True,
                key=key,
                expected_generation=expected_generation,
            )


def find_previous(transaction: Transaction, bad: Release) -> Release | None:
    """The good release to go back to from `bad`, or None; see `choose_previous`."""
    name = f"{bad.environment}/{bad.model}"
    made = transaction.events("release", name)
    undone = {event.body["undoes"] for event in [*made, *transaction.events("withdrawal", name)]}
    return choose_previous(
        [_release(event) for event in made], bad=bad, undone=undone, quarantined=quarantined_digests(transaction)
    )


def choose_previous(
    history: Sequence[Release],
    *,
    bad: Release,
    undone: Collection[int | None] = (),
    quarantined: Collection[str] = (),
) -> Release | None:
    """The newest release before `bad`, of another bundle, that was not itself rolled back from. A pure function.

    Parameters
    ----------
    history : sequence of Release
        Oldest first.
    undone : collection of int
        Numbers of the releases that were rolled back from or withdrawn.
    quarantined : collection of str
        Digests that must not run.
    """
    for release in reversed(history):
        # Another version may hold the same bytes, when the same data was trained again: that would change nothing.
        is_candidate = release.number < bad.number and release.digest != bad.digest
        if is_candidate and release.number not in undone and release.digest not in quarantined:
            return release
    return None


def restore(
    ledger: Ledger,
    transaction: Transaction,
    *,
    bad: Release,
    target: Release,
    reason: str,
    quarantine: bool,
    key: str | None,
    expected_generation: int | None = None,
) -> Release:
    """Release `target` again in place of `bad`, inside an open transaction."""
    release = Release(
        environment=bad.environment,
        model=bad.model,
        number=_standing(transaction, bad.environment, bad.model).number + 1,
        version=target.version,
        digest=target.digest,
        strategy="rollback",
        at=to_text(ledger.clock.now()),
        reason=reason,
        previous=bad.version,
    )
    entry = [quarantine_entry(bad.model, bad.version, bad.digest, reason)] if quarantine else []
    return append_release(
        transaction, release, undoes=bad.number, extra=entry, key=key, expected_generation=expected_generation
    )


def withdraw(transaction: Transaction, *, bad: Release, reason: str, quarantine: bool, key: str | None) -> Event:
    """Leave the environment without a release, inside an open transaction: the first release proved bad."""
    name = f"{bad.environment}/{bad.model}"
    number = _standing(transaction, bad.environment, bad.model).number
    sets: list[tuple[str, str, Mapping[str, Any]]] = [("release", name, {"release": None, "number": number})]
    if quarantine:
        sets.append(quarantine_entry(bad.model, bad.version, bad.digest, reason))
    body = {"release": bad.to_dict(), "undoes": bad.number, "reason": reason}
    return transaction.append("withdrawal", name, body, key=key, sets=sets)


def append_release(
    transaction: Transaction,
    release: Release,
    *,
    undoes: int | None = None,
    extra: Sequence[tuple[str, str, Mapping[str, Any]]] = (),
    key: str | None = None,
    expected_generation: int | None = None,
) -> Release:
    """Record `release` as what its environment runs now, inside an open transaction."""
    name = f"{release.environment}/{release.model}"
    expected = None if expected_generation is None else {("release", name): expected_generation}
    event = transaction.append(
        "release",
        name,
        {"release": release.to_dict(), "undoes": undoes},
        key=key,
        sets=[("release", name, {"release": release.to_dict(), "number": release.number}), *extra],
        expected=expected,
    )
    return _release(event)


def _release(event: Event) -> Release:
    return Release.from_dict(event.body["release"])


def _standing(ledger: Ledger | Transaction, environment: str, model: str) -> Standing:
    state = ledger.state("release", f"{environment}/{model}")
    if state is None:
        return Standing(None, 0, 0)
    facts = state.value["release"]
    release = None if facts is None else Release.from_dict(facts)
    return Standing(release, state.value["number"], state.generation)


def _chosen(transaction: Transaction, current: Release, to: int) -> Release:
    ran = [_release(event) for event in transaction.events("release", f"{current.environment}/{current.model}")]
    found = [release for release in ran if release.version == to]
    if not found or found[-1].digest == current.digest:
        others = sorted({release.version for release in ran} - {current.version})
        shown = ", ".join(f"v{version}" for version in others) or "none"
        cause = "it never ran there" if not found else "it runs there now"
        if found and current.version != to:
            cause = f"its bundle is that of v{current.version}, which runs there now"
        raise ModelError(
            "DEPLOY-04",
            f"{current.environment} cannot go back to {current.model} v{to}: {cause}",
            why=f"other versions that ran there: {shown}",
            fix="name one of those, or deploy the version instead",
        )
    return found[-1]
