"""Rules on the rows of requests: they go out with the model, in its bundle, and the server judges by them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from millrace.core.bundle import Column
from millrace.core.errors import DataError
from millrace.core.row_rules import RowVerdict, RuleName
from millrace.flow.column_types import column_type

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.core.bundle import Manifest
    from millrace.flow.model import Model
    from millrace.flow.wiring import Wiring
    from millrace.store.blobs import BlobStore
    from millrace.validation.rows.checker import RowChecker
    from millrace.validation.suite import Suite

ROLE = "serving_data"
"""What the rules are called among the files of a bundle."""

logger = logging.getLogger("millrace.serving")


def keep_serving_rules(wiring: Wiring, model: Model, columns: Sequence[Column]) -> dict[str, str]:
    """Store the rules for requests of a model that takes `columns`; the file of its bundle, or none.

    Raises
    ------
    DataError
        VALID-01 to VALID-03 when the suite cannot be read, VALID-45 when a suite that was named for requests has no
        rule, or one that cannot be asked of a request.
    """
    facts = serving_facts(wiring, model, columns)
    return {} if facts is None else {ROLE: wiring.blobs.put(json.dumps(facts, sort_keys=True).encode())}


def check_serving_rules(wiring: Wiring, model: Model, table: pa.Table) -> None:
    """Raise what `keep_serving_rules` would, before anything is trained; `table` holds rows of the labels' source."""
    # What a feature's type will be is not known yet, and decides no rule's place here.
    inputs = [Column(name, column_type(table, name)) for name in model.inputs if name in table.column_names]
    features = [Column(each.partition(":")[2], "float", each) for each in wiring.feature_references(model)]
    serving_facts(wiring, model, [*inputs, *features])


def serving_facts(wiring: Wiring, model: Model, columns: Sequence[Column]) -> dict[str, Any] | None:
    """What requests of a model are judged by, JSON-ready; None when by nothing. Raises as `keep_serving_rules`."""
    from millrace.validation.rows.request_rules import request_rules

    asked = model.serving_data
    if asked is not None and asked.policy == "off":
        return None
    is_own = asked is not None and asked.suite is not None
    suite = _suite(wiring, asked.suite if is_own else model.labels.source.suite)
    if suite is None:
        if asked is None:
            return None
        raise _unfit(model, "there is no suite to judge requests by", asked.place)
    # A feature may be called as a column of the source, and be something else.
    taken = [column for column in columns if is_own or column.feature is None]
    kept, left = request_rules(suite.without(model.labels.column), _types(taken))
    if is_own and left:
        raise DataError(
            "VALID-45",
            f"{len(left)} rules of the suite '{suite.name}' cannot be asked of a request of '{model.name}'",
            where=asked.place,
            fix=f"leave them out; a request has the columns {', '.join(column.name for column in columns)}",
            findings=[DataError("VALID-45", f"{rule.text}: {rule.why}", where=f"rule {rule.number}") for rule in left],
        )
    if not kept.expectations:
        if asked is None:
            return None
        raise _unfit(model, f"no rule of the suite '{suite.name}' is about an input of the model", asked.place)
    policy = "flag" if asked is None else asked.policy
    return {
        "policy": policy,
        "suite": kept.to_dict(),
        "not_judged": [{"number": rule.number, "rule": rule.text, "why": rule.why} for rule in left],
    }


def open_serving_rules(manifest: Manifest, blobs: BlobStore) -> BundleRules | None:
    """The rules that came with a bundle, compiled; None when none did."""
    digest = manifest.files.get(ROLE)
    if digest is None:
        return None
    from millrace.validation.rows.checker import RowChecker
    from millrace.validation.rows.types import declared_types
    from millrace.validation.suite import Suite

    facts = json.loads(blobs.get(digest))
    suite = Suite.from_dict(facts["suite"])
    # The suite may ask for a narrower type than a request can say.
    types = {**_types(manifest.columns), **declared_types(suite.expectations)}
    # Values are read in another form before this: what is left to do is to reject.
    checker = RowChecker(suite, policy="flag" if facts["policy"] == "flag" else "reject", types=types)
    rules = BundleRules(checker, manifest.columns, may_coerce=facts["policy"] == "coerce")
    example = manifest.lineage.get("example")
    if example is not None:
        rules.judge(dict(zip(manifest.names, example, strict=True)), "")  # compiled before the first request
    return rules


class BundleRules:
    """A row checker as `millrace.core.row_rules.RowRules`."""

    def __init__(self, checker: RowChecker, columns: Sequence[Column], *, may_coerce: bool) -> None:
        self._checker = checker
        self._kinds = {column.name: column.type for column in columns} if may_coerce else {}
        self._names = {rule.number: RuleName(rule.text, rule.severity, rule.action) for rule in checker.rules}
        self.names: Sequence[RuleName] = list(self._names.values())

    def coerce(self, column: str, value: Any) -> Any:
        """See `RowRules`."""
        from millrace.validation.rows.coercion import NOT_COERCED, Target, coerce

        kind = self._kinds.get(column)
        if kind is None:
            return value
        target: Target = "text" if kind == "string" else kind
        found = coerce(value, target)
        return value if found is NOT_COERCED else found

    def judge(self, row: Mapping[str, Any], where: str) -> RowVerdict | None:
        """See `RowRules`."""
        if self._checker.is_clean(row):
            return None
        found = self._checker.check(row)
        broken = found.findings()
        # Values were read as the model's kinds before this: rules alone can reject.
        errors = [each.error(_place(where, each.rule.column)) for each in broken if each.rule.action == "reject"]
        flags = [f"{each.rule.text}; {each.observed}" for each in broken if each.rule.action == "flag"]
        return RowVerdict([self._names[rule.number] for rule in found.broken], errors, flags)


def _place(where: str, column: str | None) -> str:
    return where if column is None else f"{where}.{column}"


def _suite(wiring: Wiring, given: Any) -> Suite | None:
    from millrace.validation.suite import Suite

    return given if given is None or isinstance(given, Suite) else Suite.load(wiring.project.root / given)


def _types(columns: Sequence[Column]) -> dict[str, pa.DataType]:
    import pyarrow as pa

    kinds = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "string": pa.string()}
    return {column.name: kinds[column.type] for column in columns}


def _unfit(model: Model, what: str, place: str | None) -> DataError:
    return DataError(
        "VALID-45",
        f"requests of '{model.name}': {what}",
        where=place,
        fix='name one: mr.ServingData(suite="suites/requests.json"), or set policy="off"',
    )
