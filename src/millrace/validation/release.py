"""Letting a refused batch through on the record: that batch alone, for the findings it was refused for. Standard
library only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from millrace.core.errors import DataError, did_you_mean
from millrace.core.ids import digest_json
from millrace.core.verdict import Verdict
from millrace.store.ledger import Event, Ledger, Transaction
from millrace.validation.json_form import json_ready
from millrace.validation.suite import Expectation

RULE = "validation.release"
KIND = "quarantine"
"""The state of a refused batch: ``kept``, ``released``, ``used`` or ``passed over``."""

_SHOWN_DIGEST = 12


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A batch that was refused, and what became of it.

    Attributes
    ----------
    status : {"kept", "released", "used", "passed over"}
        ``used``: a run took it after its release; ``passed over``: a batch that was released later was taken.
    findings : mapping of identity to text
        What it was refused for.
    covered : sequence of str
        Identities that a release covers.
    """

    source: str
    batch: str
    event: int
    at: str
    rows: int
    reason: str
    status: str
    findings: Mapping[str, str]
    covered: Sequence[str]
    facts: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "source": self.source,
            "batch": self.batch,
            "event": self.event,
            "at": self.at,
            "rows": self.rows,
            "reason": self.reason,
            "status": self.status,
            "findings": dict(self.findings),
            "covered": list(self.covered),
            **{name: self.facts[name] for name in ("released", "run", "model") if self.facts.get(name) is not None},
        }


def identity_of(rule: Expectation) -> str:
    """What tells a rule from every other: its type and its arguments. A changed limit is another rule.

    >>> identity_of(Expectation("expect_table_row_count_to_equal", {"value": 3}))[:40]
    'expect_table_row_count_to_equal:d428e15b'
    """
    return f"{rule.type}:{digest_json(json_ready(dict(rule.kwargs)))[:12]}"


def judge_release(evidence: Mapping[str, Any]) -> Verdict:
    """Pass when a release of this very batch covers everything it is refused for now; else fail, and say what is new.

    Parameters
    ----------
    evidence : mapping
        ``batch``; ``findings``, identity to text; ``covered``, identities; ``released``, who, why and when, or None.
    """
    released, findings = evidence["released"], evidence["findings"]
    if released is None:
        return Verdict(RULE, "fail", "the batch was not released", dict(evidence))
    new = {name: text for name, text in findings.items() if name not in evidence["covered"]}
    if new:
        text = f"the release of {released['at'][:16]} does not cover: {'; '.join(new.values())}"
        return Verdict(RULE, "fail", text, dict(evidence))
    text = f"released by {released['by']} at {released['at'][:16]}: {released['reason']}"
    return Verdict(RULE, "pass", f"{text}; it covers all {len(findings)} findings", dict(evidence))


def release_evidence(
    ledger: Ledger | Transaction, source: str, batch: str, findings: Mapping[str, str]
) -> dict[str, Any]:
    """Evidence for `judge_release` on a batch that is refused now."""
    state = ledger.state(KIND, state_key(source, batch))
    value = state.value if state is not None else {}
    return {
        "batch": batch,
        "findings": dict(findings),
        "covered": list(value.get("covered", [])),
        "released": value.get("released"),
    }


def release_batch(transaction: Transaction, found: Quarantined, *, reason: str, by: str, at: str) -> Event:
    """Release a batch for everything it was refused for so far; the earlier event when that was done before.

    Parameters
    ----------
    at : str
        ISO 8601.
    """
    key = state_key(found.source, found.batch)
    state = transaction.state(KIND, key)
    value = dict(state.value) if state is not None else {**found.facts}
    covered = sorted({*value.get("covered", []), *value["findings"]})
    released = {"reason": reason, "by": by, "at": at}
    body = {"batch": found.batch, "quarantine": found.event, "covered": covered, **released}
    changed = {**value, "status": "released", "covered": covered, "released": released}
    return transaction.append(
        "batch_release",
        found.source,
        body,
        key=f"batch_release:{key}:{digest_json(covered)}",
        sets=[(KIND, key, changed)],
    )


def take_released(transaction: Transaction, source: str, model: str, run: str) -> dict[str, Any] | None:
    """The batch of `source` that the run is to learn from: the one released last for its model, once; else None.

    A run asks again after it was interrupted, and gets the same.
    """
    waiting = []
    for state in transaction.states(KIND):
        value = state.value
        if value.get("source") != source or value.get("model") != model or value.get("snapshot") is None:
            continue
        if value["status"] == "used" and value.get("run") == run:
            return dict(value)
        if value["status"] == "released":
            waiting.append(state)
    if not waiting:
        return None
    waiting.sort(key=lambda state: state.seq)
    chosen = {**waiting[-1].value, "status": "used", "run": run}
    passed = [(KIND, state.key, {**state.value, "status": "passed over"}) for state in waiting[:-1]]
    body = {"batch": chosen["batch"], "run": run, "passed_over": [entry[2]["batch"] for entry in passed]}
    transaction.append(
        "batch_use",
        source,
        body,
        key=f"batch_use:{run}:{source}:{chosen['batch']}",
        sets=[(KIND, waiting[-1].key, chosen), *passed],
    )
    return chosen


def list_quarantined(ledger: Ledger) -> list[Quarantined]:
    """Every refused batch, the oldest first; one line a batch, however often it was refused."""
    states = {state.key: state.value for state in ledger.states(KIND)}
    found: dict[str, Quarantined] = {}
    for event in ledger.events("quarantine"):
        key = state_key(event.subject, event.body["batch"])
        value = states.get(key) or {"status": "kept", "findings": {}, "covered": [], **event.body}
        found[key] = Quarantined(
            source=event.subject,
            batch=event.body["batch"],
            event=event.seq,
            at=event.at,
            rows=event.body["rows"],
            reason=event.body["reason"],
            status=value["status"],
            findings=value["findings"],
            covered=value["covered"],
            facts=value,
        )
    return list(found.values())


def find_quarantined(entries: Iterable[Quarantined], name: str) -> Quarantined:
    """The batch that a digest, its first characters or the number of its event name.

    Raises
    ------
    DataError
        VALID-63 when none is meant, VALID-64 when several are.
    """
    known = list(entries)
    meant = [entry for entry in known if name == str(entry.event) or (len(name) >= 4 and entry.batch.startswith(name))]
    if not meant:
        digests = [entry.batch[:_SHOWN_DIGEST] for entry in known]
        fix = did_you_mean(name, digests) if digests else "nothing was refused: millrace data quarantine lists batches"
        raise DataError("VALID-63", f"no refused batch is called '{name}'", fix=fix)
    if len(meant) > 1:
        names = ", ".join(f"{entry.batch[:_SHOWN_DIGEST]} of '{entry.source}'" for entry in meant)
        raise DataError(
            "VALID-64", f"'{name}' names {len(meant)} refused batches", why=names, fix="give the event's number"
        )
    return meant[0]


def state_key(source: str, batch: str) -> str:
    """Key of a refused batch's state."""
    return f"{source}/{batch}"


DECISIONS: dict[str, Callable[[Mapping[str, Any]], Verdict]] = {RULE: judge_release}
