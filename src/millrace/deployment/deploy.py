"""Deploy: release to each environment in turn, prove it on the live endpoint, go back when it does not hold.

Every effect is one transaction under a key made of the run's, so a deploy that was killed anywhere is run again with
the same arguments: it takes up where it stopped and releases nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from millrace.core.clock import to_text
from millrace.core.records import Alert, ModelVersion, Release
from millrace.core.verdict import Verdict
from millrace.deployment.direct import Direct
from millrace.deployment.quarantine import find_quarantine
from millrace.deployment.releases import Releases, find_previous, restore, withdraw
from millrace.deployment.smoke import Golden, judge_smoke, replay_golden, silent_endpoint
from millrace.store.lease import Lease
from millrace.store.ledger import Event

Outcome = Literal["deployed", "refused", "rolled back", "superseded"]


@dataclass(frozen=True)
class Target:
    """One environment as deploy sees it.

    Parameters
    ----------
    environment : str
        Its name, such as ``staging``.
    await_digest : callable
        ``(digest, timeout_s) -> bool``: waits until the live endpoint says that it runs the bundle; False when it
        did not within the time.
    post : callable
        ``({"inputs": {...}}) -> {"output", "scores", "version", "digest", ...}``: one request to the live endpoint.
    timeout_s : float
        How long to wait for the endpoint.
    """

    environment: str
    await_digest: Callable[[str, float], bool]
    post: Callable[[dict[str, Any]], Mapping[str, Any]]
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class DeployResult:
    """How a deploy ended. `releases` are the ones it made that stand; `environment` is where it stopped, if it did."""

    outcome: Outcome
    model: str
    version: int
    releases: tuple[Release, ...]
    verdicts: tuple[Verdict, ...]
    reason: str
    environment: str | None = None

    @property
    def is_deployed(self) -> bool:
        return self.outcome == "deployed"

    def to_dict(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome,
            "model": self.model,
            "version": self.version,
            "releases": [release.to_dict() for release in self.releases],
            "verdicts": [verdict.to_dict() for verdict in self.verdicts],
            "reason": self.reason,
            "environment": self.environment,
        }


def deploy(
    version: ModelVersion,
    *,
    environments: Sequence[Target],
    golden: Golden,
    releases: Releases,
    strategy: Direct,
    run_key: str,
    alert: Callable[[Alert], None],
    reason: str = "",
    lease: Lease | None = None,
) -> DeployResult:
    """Bring `version` to each environment in order; stop at the first one where it does not hold.

    Parameters
    ----------
    environments : sequence of Target
        In order, staging before production.
    golden : Golden
        The rows recorded when the version was validated.
    run_key : str
        Makes every step's idempotency key; the same for a resumed deploy.
    alert : callable
        Told when an environment was rolled back. It may be told again after a crash, with the same key.
    lease : Lease, optional
        Nothing is written unless this lease still holds.

    Returns
    -------
    DeployResult
        ``deployed``; ``refused`` (the bundle is in quarantine, nothing was touched); ``rolled back`` (the smoke test
        did not pass, later environments are untouched); ``superseded`` (somebody else released meanwhile).
    """
    made: list[Release] = []
    verdicts: list[Verdict] = []

    def result(outcome: Outcome, text: str, environment: str | None = None) -> DeployResult:
        return DeployResult(outcome, version.model, version.version, tuple(made), tuple(verdicts), text, environment)

    for target in environments:
        step = _Step(version, target, releases, f"{run_key}:deploy:{target.environment}", lease)
        verdict = step.earlier_verdict()
        if verdict is None:
            kept_out = find_quarantine(releases.ledger, version.digest)
            if kept_out is not None:
                return result("refused", f"the bundle is in quarantine: {kept_out['reason']}", target.environment)
            release = step.release(strategy, reason or f"run {run_key}")
            if not step.is_current(release):
                return result("superseded", "another release was made meanwhile", target.environment)
            verdict = step.smoke(golden)
            if not step.decide(verdict, release):
                return result("superseded", "another release was made meanwhile", target.environment)
        verdicts.append(verdict)
        if not verdict.is_pass:
            alert(step.alert(verdict))
            step.await_restored()
            return result("rolled back", verdict.reason, target.environment)
        made.append(step.made())
    names = ", ".join(target.environment for target in environments)
    return result("deployed", f"{version.model} v{version.version} runs in {names}")


class _Step:
    """The deploy of one version to one environment; each method is idempotent."""

    def __init__(
        self, version: ModelVersion, target: Target, releases: Releases, key: str, lease: Lease | None
    ) -> None:
        self._version = version
        self._target = target
        self._releases = releases
        self._ledger = releases.ledger
        self._key = key
        self._lease = lease

    def release(self, strategy: Direct, reason: str) -> Release:
        version, environment = self._version, self._target.environment
        standing = self._releases.standing(environment, version.model)
        return self._releases.make(
            environment,
            version.model,
            version.version,
            version.digest,
            strategy.name,
            reason,
            self._key,
            standing.generation,
            lease=self._lease,
        )

    def made(self) -> Release:
        """The release this deploy made here."""
        event = self._ledger.find(self._key)
        assert event is not None
        return Release.from_dict(event.body["release"])

    def is_current(self, release: Release) -> bool:
        current = self._releases.current(release.environment, release.model)
        return current is not None and current.number == release.number

    def earlier_verdict(self) -> Verdict | None:
        """What an interrupted run of this deploy has already decided here."""
        event = self._decision()
        return None if event is None else Verdict.from_dict(event.body["verdict"])

    def smoke(self, golden: Golden) -> Verdict:
        version, target = self._version, self._target
        if not target.await_digest(version.digest, target.timeout_s):
            return judge_smoke(
                silent_endpoint(version=version.version, digest=version.digest, waited_s=target.timeout_s)
            )
        return judge_smoke(replay_golden(target.post, golden, version=version.version, digest=version.digest))

    def decide(self, verdict: Verdict, release: Release) -> bool:
        """Record the verdict and act on it in one transaction; False when `release` no longer stands."""
        with self._ledger.transaction(self._lease) as transaction:
            state = transaction.state("release", f"{release.environment}/{release.model}")
            standing = state.value["release"] if state is not None else None
            if standing is None or standing["number"] != release.number:
                return False
            previous = None if verdict.is_pass else find_previous(transaction, release)
            if verdict.is_pass:
                action = "kept"
            else:
                action = "withdrawn" if previous is None else f"rolled back to v{previous.version}"
            body = {
                "verdict": verdict.to_dict(),
                "environment": release.environment,
                "version": release.version,
                "action": action,
                "restored": None if previous is None else previous.digest,
            }
            transaction.append("decision", release.model, body, key=f"{self._key}:smoke")
            if not verdict.is_pass:
                text = f"smoke test of v{release.version} in {release.environment}: {verdict.reason}"
                # An endpoint that is silent, or falls silent, says nothing about the bundle: only wrong answers
                # put it in quarantine.
                quarantine, key = verdict.is_fail, f"{self._key}:rollback"
                if previous is None:
                    withdraw(transaction, bad=release, reason=text, quarantine=quarantine, key=key)
                else:
                    restore(
                        self._ledger,
                        transaction,
                        bad=release,
                        target=previous,
                        reason=text,
                        quarantine=quarantine,
                        key=key,
                    )
        return True

    def alert(self, verdict: Verdict) -> Alert:
        version, environment = self._version, self._target.environment
        decision = self._decision()
        assert decision is not None
        return Alert(
            key=f"{self._key}:alert",
            severity="critical",
            subject=version.model,
            title=f"{version.model} v{version.version} did not pass its smoke test in {environment}",
            text=f"{verdict.reason}; {environment}: {decision.body['action']}, later environments untouched",
            at=to_text(self._ledger.clock.now()),
            facts={"environment": environment, "version": version.version, "action": decision.body["action"]},
        )

    def await_restored(self) -> None:
        """Wait until the endpoint runs what was put back; a silent one is already told of in the alert."""
        decision = self._decision()
        assert decision is not None
        if decision.body["restored"] is not None:
            self._target.await_digest(decision.body["restored"], self._target.timeout_s)

    def _decision(self) -> Event | None:
        return self._ledger.find(f"{self._key}:smoke")
