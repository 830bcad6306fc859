"""The last part of the training pipeline: bring a version to production, prove it there, or leave all as it was."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from millrace.core.errors import ModelError, ProjectError
from millrace.core.records import Alert, ModelVersion, Release
from millrace.core.refusal import Refused
from millrace.deployment.deploy import DeployResult, Target, deploy
from millrace.deployment.direct import Direct
from millrace.deployment.releases import withdraw
from millrace.deployment.smoke import RULE, Golden, judge_smoke, replay_golden, silent_endpoint
from millrace.flow.endpoint import Endpoint, live_endpoint
from millrace.flow.pinned_features import check_features
from millrace.flow.run_step import StepContext
from millrace.monitoring.alerts import raise_alert

if TYPE_CHECKING:
    from millrace.flow.wiring import Wiring

STAGES = ("staging", "production")
_ACKNOWLEDGE_S = 30.0


def deploy_version(context: StepContext, version: dict[str, Any]) -> Any:
    """Staging, smoke test, production, smoke test; the alias ``champion`` follows production."""
    wiring = context.wiring
    result = release(wiring, ModelVersion.from_dict(version), key=context.key, reason=context.run.reason, stages=STAGES)
    facts = {"release": result.to_dict()}
    return facts if result.is_deployed else Refused(result.reason, facts)


def monitor_deployment(context: StepContext, version: dict[str, Any], release: dict[str, Any]) -> Any:
    """Ask production once more: it runs the version, answers the golden rows, and has no failure to tell of."""
    wiring = context.wiring
    new = ModelVersion.from_dict(version)
    with live_endpoint(wiring.project, "production", new.model) as endpoint:
        if endpoint.await_digest(new.digest, _ACKNOWLEDGE_S, version=new.version):
            golden = Golden.from_json(wiring.blobs.get(new.golden))
            evidence = replay_golden(endpoint.replay, golden, version=new.version, digest=new.digest)
        else:
            evidence = silent_endpoint(version=new.version, digest=new.digest, waited_s=_ACKNOWLEDGE_S)
        health = endpoint.find_health()
    verdict = wiring.record_verdict(
        judge_smoke(evidence),
        subject=new.model,
        key=f"{context.key}:{RULE}",
        extra={"run": context.run.run_id, "step": context.step, "version": new.version},
    )
    facts = {"outcome": verdict.outcome, "reason": verdict.reason, "health": health}
    standing = wiring.releases.current("production", new.model)
    if not verdict.is_fail or standing is None or standing.version != new.version:
        return facts  # another release made meanwhile is not this run's to undo
    undo(wiring, standing, reason=f"after the deploy: {verdict.reason}", key=f"{context.key}:rollback")
    return Refused(f"v{new.version} was taken back: {verdict.reason}", {"health": facts})


def undo(wiring: Wiring, bad: Release, *, reason: str, key: str) -> None:
    """Production without `bad`: the last good version again, or nothing when there was none."""
    try:
        roll_back(wiring, bad.model, reason=reason, key=key)
    except ModelError as error:
        if error.code != "DEPLOY-03":
            raise
        with wiring.ledger.transaction() as transaction:
            withdraw(transaction, bad=bad, reason=reason, quarantine=True, key=key)
        title = f"'{bad.model}' v{bad.version} was withdrawn: production runs no version of it"
        wiring.alert(f"{key}:alert", "critical", bad.model, title, reason, bad.to_dict())


def release(
    wiring: Wiring, version: ModelVersion, *, key: str, reason: str, stages: tuple[str, ...] = STAGES
) -> DeployResult:
    """Deploy a version to the stages in order, each proved on its live endpoint. Same `key`, same deploy."""
    model = wiring.project.get_model(version.model)
    check_one_record(wiring, stages)
    check_bundle(wiring, version.digest)
    check_features(wiring, version, stages)
    golden = Golden.from_json(wiring.blobs.get(version.golden))

    def tell(alert: Alert) -> None:
        raise_alert(wiring.ledger, alert, wiring.environment.channels)

    with ExitStack() as open_endpoints:
        targets = [
            _target(stage, open_endpoints.enter_context(live_endpoint(wiring.project, stage, version.model)), version)
            for stage in stages
        ]
        result = deploy(
            version,
            environments=targets,
            golden=golden,
            releases=wiring.releases,
            strategy=model.deploy or Direct(),
            run_key=key,
            alert=tell,
            reason=reason,
        )
    if result.is_deployed and stages[-1] == "production":
        wiring.registry.move_alias(
            version.model, "champion", version.version, reason=f"in production: {reason}", key=f"{key}:champion"
        )
    return result


def check_one_record(wiring: Wiring, stages: tuple[str, ...]) -> None:
    """Raise ProjectError DEPLOY-21 unless the stages follow the ledger, and read the blobs, that a deploy writes."""
    here = wiring.environment
    for stage in stages:
        there = wiring.project.settings.environments[stage]
        differing = [key for key in ("ledger", "blobs") if getattr(here, key) != getattr(there, key)]
        if differing:
            raise ProjectError(
                "DEPLOY-21",
                f"'{here.name}' and '{stage}' have different {' and '.join(differing)}: its server would never hear",
                where=str(wiring.project.root / "millrace.toml"),
                fix=f"set {' and '.join(differing)} under [defaults], or run with --env {stage}",
            )


def check_bundle(wiring: Wiring, digest: str) -> None:
    """Raise StoreError BLOB-01 or BLOB-02 unless every byte of the bundle is there as it was packaged.

    The servers check it too, but by then the release would be made, and they would go on with the old one in silence.
    """
    for file in wiring.manifest(digest).files.values():
        wiring.blobs.get_file(file)


def roll_back(wiring: Wiring, model: str, *, reason: str, to: int | None = None, key: str | None = None) -> Release:
    """Production runs the last good version again, by one change of a pointer; ``champion`` follows.

    A rollback that was killed before ``champion`` followed is finished, not done a second time.
    """
    done = _interrupted_rollback(wiring, model) if key is None else None
    if done is None:
        done = wiring.releases.rollback("production", model, to=to, reason=reason, key=key)
    wiring.registry.move_alias(
        model, "champion", done.version, reason=f"rolled back: {reason}", key=f"{key}:champion" if key else None
    )
    wiring.alert(
        f"rollback:{model}:{done.number}",
        "critical",
        model,
        f"'{model}' was rolled back to v{done.version}",
        reason,
        done.to_dict(),
    )
    return done


def _interrupted_rollback(wiring: Wiring, model: str) -> Release | None:
    standing = wiring.releases.current("production", model)
    champion = wiring.registry.find(model, "champion")
    if standing is None or standing.strategy != "rollback" or champion is None:
        return None
    return standing if champion.version != standing.version else None


def _target(stage: str, endpoint: Endpoint, new: ModelVersion) -> Target:
    def await_digest(digest: str, timeout_s: float) -> bool:
        return endpoint.await_digest(digest, timeout_s, version=new.version if digest == new.digest else None)

    return Target(stage, await_digest, endpoint.replay, _ACKNOWLEDGE_S)


def await_rollback(wiring: Wiring, release: Release, *, timeout_s: float = 10.0) -> bool | None:
    """Whether the live server runs the release; None when no server answers."""
    url = wiring.project.settings.environments[release.environment].server_of(release.model)
    if not url:
        return None
    endpoint = Endpoint(url)
    try:
        return (
            None
            if endpoint.find_health() is None
            else endpoint.await_digest(release.digest, timeout_s, version=release.version)
        )
    finally:
        endpoint.close()
