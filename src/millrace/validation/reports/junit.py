"""A validation as JUnit XML, which every continuous integration reads: one test case a rule. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from millrace.core.errors import MillraceError
from millrace.core.verdict import Verdict
from millrace.validation.describe import demand
from millrace.validation.result import BLOCKING, ExpectationResult, ValidationResult

# What XML 1.0 cannot hold, escaped or not: control characters, halves of surrogate pairs, two non-characters.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(result: ValidationResult, *, batch: str, incidents: Sequence[Verdict] = ()) -> bytes:
    """The result as a JUnit test suite in UTF-8.

    A failed rule of a blocking severity is a ``failure`` with its examples, one that could not be evaluated an
    ``error``. One that does not block is ``skipped`` with what it found, so that the build goes on and still shows it.
    A batch of no rows, and a suite of no rules, each add a case of their own.

    Parameters
    ----------
    batch : str
        How the batch is called.
    incidents : sequence of Verdict, optional
        Each becomes a case too: a failed one is a failure, an inconclusive one is skipped.
    """
    cases = [_case(result.suite_name, item) for item in result.results]
    if result.rows == 0:
        cases.append(_added(result.suite_name, "the batch has rows", "failure", "it has 0 rows"))
    if not result.results:
        cases.append(_added(result.suite_name, "the suite has rules", "error", "it has none: nothing was judged"))
    cases += [_incident(result.suite_name, verdict) for verdict in incidents]
    facts = {"batch": batch, "rows": str(result.rows), "verdict": result.verdict().outcome}
    return _document(f"{result.suite_name}: {batch}", cases, facts, result.validated_at)


def junit_of_refusal(error: MillraceError, *, batch: str) -> bytes:
    """A test suite with one ``error``: the batch or its suite cannot be read, so that no rule was asked."""
    case = _added(batch, "the batch can be judged", "error", str(error))
    return _document(batch, [case], {"batch": batch, "verdict": "inconclusive"}, None)


def _document(name: str, cases: Sequence[ElementTree.Element], facts: Mapping[str, str], at: str | None) -> bytes:
    suite = ElementTree.Element(
        "testsuite",
        {
            "name": _xml(name),
            "tests": str(len(cases)),
            "failures": str(sum(case.find("failure") is not None for case in cases)),
            "errors": str(sum(case.find("error") is not None for case in cases)),
            "skipped": str(sum(case.find("skipped") is not None for case in cases)),
            "time": "0",
            **({"timestamp": at.split(".")[0].rstrip("Z")} if at else {}),
        },
    )
    properties = ElementTree.SubElement(suite, "properties")
    for fact, value in facts.items():
        ElementTree.SubElement(properties, "property", {"name": fact, "value": _xml(value)})
    suite.extend(cases)
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _case(suite: str, item: ExpectationResult) -> ElementTree.Element:
    rule = item.expectation
    case = _element(suite, demand(rule.type, rule.kwargs))
    if item.success:
        return case
    if item.problem is not None and rule.severity in BLOCKING:
        kind = "error"
    else:
        kind = "failure" if rule.severity in BLOCKING else "skipped"
    note = "" if rule.severity in BLOCKING else f"{rule.severity}, does not block: "
    found = ElementTree.SubElement(case, kind, {"message": _xml(f"{note}{item.observed}")})
    if kind != "skipped":
        found.set("type", rule.type)
    found.text = _xml("\n".join(_details(item)))
    return case


def _details(item: ExpectationResult) -> list[str]:
    lines = [f"{item.expectation.type} {dict(item.expectation.kwargs)}", item.observed]
    if item.expectation.suggestion:
        lines.append(item.expectation.suggestion)
    shown = item.result.get("partial_unexpected_list") or []
    rows = item.result.get("partial_unexpected_index_list") or []
    if rows and len(rows) == len(shown):
        lines += [f"row {row}: {value!r}" for row, value in zip(rows, shown, strict=True)]
    else:
        lines += [repr(value) for value in shown]
    return lines


def _incident(suite: str, verdict: Verdict) -> ElementTree.Element:
    case = _element(suite, f"{verdict.rule}: {verdict.evidence.get('column', 'labels')}")
    if not verdict.is_pass:
        kind = "failure" if verdict.is_fail else "skipped"
        ElementTree.SubElement(case, kind, {"message": _xml(verdict.reason)})
    return case


def _added(suite: str, name: str, kind: str, message: str) -> ElementTree.Element:
    case = _element(suite, name)
    ElementTree.SubElement(case, kind, {"message": _xml(message), "type": "batch"})
    return case


def _element(suite: str, name: str) -> ElementTree.Element:
    return ElementTree.Element("testcase", {"classname": _xml(suite), "name": _xml(name), "time": "0"})


def _xml(text: str) -> str:
    """`text` with what XML cannot hold written out: a bell becomes ``\\x07``."""
    return _NOT_XML.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
