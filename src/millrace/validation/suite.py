"""Suites of expectations in Great Expectations' JSON form. Standard library only.

A suite written by GX 1.x is read and written back unchanged, keys this engine does not know included. One of GX 0.x
is read too, and written in the 1.x form.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.core.definition import caller_place, report
from millrace.core.errors import DataError, MillraceError, ProjectError, did_you_mean
from millrace.store.disk import write_atomic
from millrace.validation.gx_names import is_old, type_of_class, upgraded
from millrace.validation.gx_project import suite_file
from millrace.validation.signatures import (
    SIGNATURES,
    argument_mistakes,
    is_supported,
    unsupported_parts,
)

if TYPE_CHECKING:
    from millrace.core.records import Severity

SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")


@dataclass(frozen=True)
class Expectation:
    """One rule on a batch.

    Parameters
    ----------
    type : str
        GX's name, such as ``expect_column_values_to_be_between``.
    kwargs : mapping
        Its arguments.
    meta : mapping, optional
    severity : {"critical", "warning", "info"}
        A failed critical rule blocks the batch.
    id : str, optional
    extra : mapping
        Keys of the JSON object that Millrace does not use; kept.
    keys : sequence of str
        The keys of that object in their order; kept.
    """

    type: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, Any] | None = field(default_factory=dict)
    severity: Severity = "critical"
    id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    keys: Sequence[str] = field(default=("type", "kwargs", "meta", "severity"), repr=False, compare=False)

    @property
    def column(self) -> str | None:
        """The one column the rule is about, None for a rule about several or none."""
        column = self.kwargs.get("column")
        return column if isinstance(column, str) else None

    @property
    def columns(self) -> set[str]:
        """Every column the rule is about, those of its row condition too; a query's are not known."""
        named = {self.kwargs.get(key) for key in ("column", "column_A", "column_B")}
        listed = [name for key in ("column_list", "column_set") for name in self.kwargs.get(key) or ()]
        found = {name for name in (*named, *listed) if isinstance(name, str)}
        return found | _names_in(self.kwargs.get("row_condition"))

    @property
    def suggestion(self) -> str | None:
        """What was probably meant, when the rule says the opposite of what people mean by it."""
        mostly = self.kwargs.get("mostly")
        if self.type != "expect_column_values_to_be_null" or not isinstance(mostly, (int, float)) or mostly == 1:
            return None
        return (
            f"this demands that at least {mostly:.0%} of the values ARE missing; if at most {1 - mostly:.0%} may be "
            f"missing, write expect_column_values_to_not_be_null(column={self.column!r}, mostly={mostly})"
        )

    def to_dict(self) -> dict[str, Any]:
        """GX 1.x JSON form."""
        own = {"type": self.type, "kwargs": self.kwargs, "meta": self.meta, "severity": self.severity, "id": self.id}
        facts = {**own, **self.extra}
        written = {key: facts[key] for key in self.keys}
        added = {key: value for key, value in own.items() if value and value != "critical" and key not in written}
        form: dict[str, Any] = _json_form({**written, **added})
        return form


@dataclass
class Suite:
    """A named list of expectations. Its methods are the expectations: each adds one and returns the suite.

    >>> suite = Suite("orders").expect_column_values_to_be_between("amount", min_value=0)
    >>> suite.expectations[0].kwargs
    {'column': 'amount', 'min_value': 0}
    """

    name: str
    expectations: list[Expectation] = field(default_factory=list)
    meta: Mapping[str, Any] | None = field(default_factory=dict)
    id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    keys: Sequence[str] = field(default=("name", "expectations", "meta"), repr=False, compare=False)
    place: str | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.place = self.place or caller_place()

    def __getattr__(self, name: str) -> Callable[..., Suite]:
        if not name.startswith("expect_") and not is_supported(name):
            kind = type_of_class(name)
            hint = f"; did you mean {kind!r}?" if kind is not None and is_supported(kind) else ""
            raise AttributeError(f"'Suite' has no attribute {name!r}{hint}")

        def add(*values: Any, severity: Severity = "critical", **arguments: Any) -> Suite:
            return self._expect(name, values, severity, arguments)

        add.__name__ = name
        return add

    def __dir__(self) -> list[str]:
        return sorted([*super().__dir__(), *SIGNATURES])

    @property
    def parameters(self) -> dict[str, Any]:
        """Values of its parameters that the suite carries itself; those given to a validation come before them."""
        own = self.extra.get("suite_parameters")
        return dict(own) if isinstance(own, Mapping) else {}

    def add(self, expectation: Expectation) -> Suite:
        """Append `expectation`; returns the suite."""
        self.expectations.append(expectation)
        return self

    def without(self, column: str) -> Suite:
        """The suite for rows that do not carry `column`, such as a label that is not known yet."""
        kept = []
        for rule in self.expectations:
            if column in rule.columns and not rule.type.startswith("expect_table_"):
                continue
            kwargs = dict(rule.kwargs)
            for key in ("column_list", "column_set"):
                if column in (kwargs.get(key) or ()):
                    kwargs[key] = [name for name in kwargs[key] if name != column]
            kept.append(Expectation(rule.type, kwargs, rule.meta, rule.severity, rule.id, rule.extra, rule.keys))
        return Suite(self.name, kept, self.meta, self.id, self.extra, self.keys, self.place)

    def findings(self) -> list[MillraceError]:
        """Every mistake in the suite that can be seen without data.

        PROJ-30 a rule the engine does not run, PROJ-31 wrong arguments, PROJ-32 a rule that says the opposite of
        what is meant, PROJ-33 no rule at all.
        """
        found: list[MillraceError] = []
        if not self.expectations:
            found.append(ProjectError("PROJ-33", f"the suite '{self.name}' has no rule: it can pass nothing"))
        for number, rule in enumerate(self.expectations, 1):
            where = f"suite '{self.name}', expectation {number}"
            found.extend(_mistakes(rule, where))
            if rule.suggestion:
                found.append(ProjectError("PROJ-32", f"{rule.type}: {rule.suggestion}", where=where))
        return found

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], *, where: str | None = None) -> Suite:
        """The suite in a GX JSON object. Raises DataError VALID-03 with everything that is not of that form."""
        findings: list[MillraceError] = []
        document = upgraded(document) if is_old(document) else document
        entries, name = document.get("expectations"), document.get("name")
        if not isinstance(name, str) or not isinstance(entries, list):
            findings.append(DataError("VALID-03", "a suite is an object with a 'name' and a list 'expectations'"))
        rules = (
            [_read_rule(n, entry, findings) for n, entry in enumerate(entries, 1)] if isinstance(entries, list) else []
        )
        if findings:
            raise DataError(
                "VALID-03",
                "this is not a suite of Great Expectations",
                where=where,
                fix='write {"name": "...", "expectations": [{"type": "expect_...", "kwargs": {...}}]}',
                findings=findings,
            )
        own = {"name", "expectations", "meta", "id"}
        facts = copy.deepcopy(dict(document))
        extra = {key: value for key, value in facts.items() if key not in own}
        return cls(str(name), [r for r in rules if r], facts.get("meta"), facts.get("id"), extra, list(document), where)

    def to_dict(self) -> dict[str, Any]:
        """GX 1.x JSON form; what was read comes out unchanged."""
        rules = [rule.to_dict() for rule in self.expectations]
        facts = {**self.extra, "name": self.name, "expectations": rules, "meta": self.meta, "id": self.id}
        return copy.deepcopy({key: facts[key] for key in self.keys})

    @classmethod
    def from_gx(cls, suite: Any) -> Suite:
        """The suite that an `ExpectationSuite` of Great Expectations holds; ``ExpectationSuite(**suite.to_dict())``
        is the way back.

        Raises
        ------
        DataError
            VALID-03 when it is none.
        """
        document = suite.to_json_dict() if hasattr(suite, "to_json_dict") else {}
        return cls.from_dict(document, where=caller_place())

    @classmethod
    def load(cls, path: str | Path) -> Suite:
        """The suite in a JSON file, or in the folder of a Great Expectations project; see `suite_file`.

        Raises
        ------
        DataError
            VALID-01 (no such file), VALID-02 (not JSON), VALID-03 (not a suite), VALID-51 (a folder with several).
        """
        file = Path(path)
        try:
            file = suite_file(path)
            document = json.loads(file.read_text(encoding="utf-8-sig"))  # Windows' editors put a mark before it
        except OSError as error:
            is_there = not isinstance(error, FileNotFoundError)
            names = [entry.name for entry in file.parent.glob("*.json")] if not is_there else []
            raise DataError(
                "VALID-01",
                f"the suite '{file.name}' cannot be read: {error.strerror}",
                where=str(file),
                fix="check the path and its permissions" if is_there else did_you_mean(file.name, names),
            ) from error
        except (ValueError, RecursionError) as error:
            raise DataError(
                "VALID-02",
                f"the suite '{file.name}' is not JSON: {error}",
                where=str(file),
                fix="save it as UTF-8 text" if isinstance(error, UnicodeError) else "mend that line",
            ) from error
        return cls.from_dict(document if isinstance(document, dict) else {}, where=str(file))

    def save(self, path: str | Path) -> None:
        """Write the suite as JSON to where `load` finds it, whole at every instant.

        Raises StoreError STORE-01 or STORE-04, and DataError VALID-51 as `load`.
        """
        write_atomic(suite_file(path), (json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n").encode())

    def _expect(self, name: str, values: Sequence[Any], severity: Severity, arguments: Mapping[str, Any]) -> Suite:
        names = SIGNATURES[name].names if is_supported(name) else ()
        given = {key: _plain(value) for key, value in {**dict(zip(names, values, strict=False)), **arguments}.items()}
        beside = {key: given.pop(key) for key in _BESIDE if key in given}
        meta, identity = beside.pop("meta", None) or {}, beside.pop("id", None)
        keys = ("type", "kwargs", "meta", "severity", *beside)
        rule = Expectation(name, given, meta, severity, identity, beside, keys)
        problems = _mistakes(rule, caller_place())
        if not problems and len(values) > len(names):
            what = f"{name} takes {len(names)} arguments, not {len(values)}"
            problems = [ProjectError("PROJ-31", what, where=caller_place())]
        for problem in problems:
            report(problem)
        return self if problems else self.add(rule)


# What a call may give that is about the rule and no argument of it.
_BESIDE = ("meta", "id", "notes", "description", "windows")


def _names_in(condition: Any) -> set[str]:
    """Names in a row condition that may be columns: every word of a text, every column of an object."""
    if isinstance(condition, str):
        quoted = {name for pair in re.findall(r"`([^`]+)`|col\(\"([^\"]+)\"\)", condition) for name in pair if name}
        return quoted | set(re.findall(r"[^\W\d]\w*", re.sub(r"(?<!col\()(['\"]).*?\1", " ", condition)))
    if not isinstance(condition, Mapping):
        return set()
    column = condition.get("column")
    found = {column["name"]} if isinstance(column, Mapping) and isinstance(column.get("name"), str) else set()
    parts = condition.get("conditions")
    nested = [_names_in(part) for part in parts] if isinstance(parts, list) else []
    return found.union(_names_in(condition.get("pass_through_filter")), *nested)


def _plain(value: Any) -> Any:
    """`value` in plain types: sets become sorted lists, times text, GX's conditions their JSON form, NumPy's values
    Python's. A decimal stays one: it is compared as it is."""
    if hasattr(value, "dict") and callable(value.dict):
        return value.dict()
    if hasattr(value, "dtype") and hasattr(value, "ndim"):
        return _plain(list(value)) if value.ndim else (str(value) if value.dtype.kind == "M" else value.item())
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(item) for item in value), key=repr)
    if isinstance(value, (list, tuple, range)):
        return [_plain(item) for item in value]
    return value.isoformat() if hasattr(value, "isoformat") else value


def _json_form(value: Any) -> Any:
    """A copy of `value` as JSON can hold it; a decimal is the float next to it."""
    if isinstance(value, Mapping):
        return {key: _json_form(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_json_form(item) for item in (value if isinstance(value, (list, tuple)) else _plain(value))]
    return float(value) if isinstance(value, Decimal) else _plain(value)


def _mistakes(rule: Expectation, where: str | None) -> list[MillraceError]:
    parts = unsupported_parts(rule.type, rule.kwargs)
    if parts:
        return [ProjectError("PROJ-30", part, where=where) for part in parts]
    found: list[MillraceError] = [
        ProjectError("PROJ-31", f"{rule.type} {mistake}", where=where)
        for mistake in argument_mistakes(rule.type, rule.kwargs)
    ]
    if rule.severity not in SEVERITIES:
        found.append(
            ProjectError(
                "PROJ-31",
                f"{rule.type} has the severity {rule.severity!r}",
                where=where,
                fix=did_you_mean(str(rule.severity), SEVERITIES),
            )
        )
    return found


def _read_rule(number: int, entry: Any, findings: list[MillraceError]) -> Expectation | None:
    entry = entry if isinstance(entry, Mapping) else {}
    kind = entry.get("type")
    kwargs = entry.get("kwargs", {})
    severity: Any = entry.get("severity") or "critical"
    problem = None
    if not isinstance(kind, str):
        problem = "has no 'type'"
    elif (named := type_of_class(kind)) is not None:
        problem = f"has the name of a class, {kind}, as its type: write {named!r}"
    elif not isinstance(kwargs, Mapping):
        problem = f"({kind}) has kwargs that are no object"
    elif severity not in SEVERITIES:
        problem = f"({kind}) has the severity {severity!r}; {did_you_mean(str(severity), SEVERITIES)}"
    if problem:
        findings.append(DataError("VALID-03", f"expectation {number} {problem}"))
        return None
    facts = copy.deepcopy(dict(entry))
    own = {"type", "kwargs", "meta", "id"}
    # A severity of null is kept as it was; everything that asks gets "critical".
    own |= {"severity"} if entry.get("severity") else set()
    extra = {key: value for key, value in facts.items() if key not in own}
    return Expectation(
        str(kind), facts.get("kwargs", {}), facts.get("meta"), severity, facts.get("id"), extra, list(entry)
    )
