"""Letting a refused batch through on the record: that batch alone, for the findings it was refused for. Standard
library only.

A refusal is of one model: two models that read one source judge its batches by their own champions and windows, and
each is to learn from a released batch. So what is on the record of a batch is kept per source, batch and model; a
person releases the batch, and that is a release for every model that refused it, each for its own findings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from millrace.core.errors import DataError, did_you_mean
from millrace.core.ids import digest_json
from millrace.core.verdict import Verdict
from millrace.store.ledger import Event, Ledger, State, Transaction
from millrace.validation.json_form import json_ready
from millrace.validation.suite import Expectation

RULE = "validation.release"
KIND = "quarantine"
"""The state of a refused batch: ``kept``, ``released``, ``used``, ``passed over`` or ``given up``."""

SHOWN_DIGEST = 12
_LEAST_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A batch that a model refused, and what became of it.

    Attributes
    ----------
    key : str
        Of its state.
    events : sequence of int
        Numbers of its refusals, the oldest first; `event` is the newest.
    status : {"kept", "released", "used", "passed over", "given up"}
        ``used``: a run took it after its release; ``passed over``: a batch that was released later was taken;
        ``given up``: run after run failed on it, and it waits for another release.
    findings : mapping of identity to text
        What it was refused for.
    covered : sequence of str
        Identities that a release covers.
    """

    key: str
    source: str
    batch: str
    events: Sequence[int]
    at: str
    rows: int
    reason: str
    status: str
    findings: Mapping[str, str]
    covered: Sequence[str]
    facts: Mapping[str, Any]

    @property
    def event(self) -> int:
        """Number of the newest refusal."""
        return self.events[-1]

    @property
    def model(self) -> str | None:
        """The model that refused it; None when it was refused outside of a run."""
        return self.facts.get("model")

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
            **{
                name: self.facts[name]
                for name in ("released", "run", "failures", "model")
                if self.facts.get(name) is not None
            },
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
    ledger: Ledger | Transaction, source: str, batch: str, findings: Mapping[str, str], model: str | None = None
) -> dict[str, Any]:
    """Evidence for `judge_release` on a batch that `model` refuses now."""
    state = find_state(ledger, source, batch, model)
    value = state.value if state is not None else {}
    return {
        "batch": batch,
        "findings": dict(findings),
        "covered": list(value.get("covered", [])),
        "released": value.get("released"),
    }


def release_batch(transaction: Transaction, found: Quarantined, *, reason: str, by: str, at: str) -> Event:
    """Release a batch for everything `found` says it was refused for; the earlier event when that was done before.

    A batch that was given up may be released once more for the same findings.

    Parameters
    ----------
    at : str
        ISO 8601.

    Raises
    ------
    DataError
        VALID-69 when nothing is on record that it was refused for: such a release would let nothing through.
    """
    state = transaction.state(KIND, found.key)
    value = dict(state.value) if state is not None else {}
    covered = sorted({*value.get("covered", []), *found.findings})
    if not covered:
        raise DataError(
            "VALID-69",
            f"nothing is on record that batch {found.batch[:SHOWN_DIGEST]} of '{found.source}' was refused for",
            why="it was refused by an earlier Millrace, which kept only the report",
            fix="meet it again (millrace run), and release what is found then",
        )
    again = value.get("again", 0) + (value["status"] == "given up")
    released = {"reason": reason, "by": by, "at": at}
    body = {"batch": found.batch, "model": found.model, "quarantine": found.event, "covered": covered, **released}
    changed = {**value, "status": "released", "covered": covered, "released": released, "failures": 0, "again": again}
    return transaction.append(
        "batch_release",
        found.source,
        body,
        key=f"batch_release:{found.key}:{digest_json(covered)}" + (f":{again}" if again else ""),
        sets=[(KIND, found.key, changed)],
    )


def list_quarantined(ledger: Ledger) -> list[Quarantined]:
    """Every refused batch, the oldest first: one for each model that refused it, however often it did."""
    states = {state.key: state.value for state in ledger.states(KIND)}
    found: dict[str, Quarantined] = {}
    for event in ledger.events("quarantine"):
        batch = event.body["batch"]
        key = state_key(event.subject, batch, event.body.get("model"))
        if key not in states:
            key = state_key(event.subject, batch)
        value = states.get(key) or {"status": "kept", "findings": {}, "covered": [], **event.body}
        found[key] = Quarantined(
            key=key,
            source=event.subject,
            batch=batch,
            events=[*(found[key].events if key in found else []), event.seq],
            at=event.at,
            rows=event.body["rows"],
            reason=event.body["reason"],
            status=value["status"],
            findings=value["findings"],
            covered=value["covered"],
            facts=value,
        )
    return list(found.values())


def find_quarantined(entries: Iterable[Quarantined], name: str, model: str | None = None) -> Quarantined:
    """The refusal that a digest, its first characters or the number of an event name; of `model`, when it is given.

    Raises
    ------
    DataError
        VALID-63 when none is meant, VALID-64 when several are, VALID-68 when that model did not refuse it.
    """
    known = list(entries)
    meant = _of_model(_meant(known, name), name, model)
    if len(meant) > 1:
        raise _ambiguous(meant, name)
    return meant[0]


def find_refusals(entries: Iterable[Quarantined], name: str, model: str | None = None) -> list[Quarantined]:
    """What every model, or `model` alone, has against the one batch that `name` means; raises as `find_quarantined`."""
    known = list(entries)
    meant = _meant(known, name)
    if len({(entry.source, entry.batch) for entry in meant}) > 1:
        raise _ambiguous(meant, name)
    same = [entry for entry in known if (entry.source, entry.batch) == (meant[0].source, meant[0].batch)]
    return _of_model(same, name, model)


def find_state(record: Ledger | Transaction, source: str, batch: str, model: str | None) -> State | None:
    """What is on the record of a batch that `model` refused; None when it did not.

    Ledgers written before a refusal was of one model have one state a batch: it is the model's that refused it last.
    """
    state = record.state(KIND, state_key(source, batch, model))
    if state is not None or model is None:
        return state
    early = record.state(KIND, state_key(source, batch))
    return early if early is not None and early.value.get("model") == model else None


def state_key(source: str, batch: str, model: str | None = None) -> str:
    """Key of a refused batch's state; without a model, that of a batch refused outside of a run."""
    return f"{source}/{batch}" if model is None else f"{source}/{batch}/{model}"


def _meant(known: Sequence[Quarantined], name: str) -> list[Quarantined]:
    # An event's number is exact, and wins over digests that happen to begin with it.
    meant = [entry for entry in known if name in map(str, entry.events)]
    meant = meant or [entry for entry in known if len(name) >= _LEAST_DIGITS and entry.batch.startswith(name)]
    if not meant:
        digests = [entry.batch[:SHOWN_DIGEST] for entry in known]
        fix = did_you_mean(name, digests) if digests else "nothing was refused: millrace data quarantine lists batches"
        raise DataError("VALID-63", f"no refused batch is called '{name}'", fix=fix)
    return meant


def _of_model(meant: list[Quarantined], name: str, model: str | None) -> list[Quarantined]:
    if model is None:
        return meant
    found = [entry for entry in meant if entry.model == model]
    if not found:
        names = [entry.model for entry in meant if entry.model is not None]
        raise DataError("VALID-68", f"model '{model}' did not refuse batch '{name}'", fix=did_you_mean(model, names))
    return found


def _ambiguous(meant: Sequence[Quarantined], name: str) -> DataError:
    names = ", ".join(
        f"{entry.batch[:SHOWN_DIGEST]} of '{entry.source}'"
        + (f" for '{entry.model}'" if entry.model else "")
        + f" (event {entry.event})"
        for entry in meant
    )
    return DataError(
        "VALID-64", f"'{name}' names {len(meant)} refused batches", why=names, fix="give the event's number"
    )


DECISIONS: dict[str, Callable[[Mapping[str, Any]], Verdict]] = {RULE: judge_release}
