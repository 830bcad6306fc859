"""One row against a suite of 14 rules: beside a function written by hand, pydantic, and the same suite on a batch."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, in_turns

CALLS = 1000
REQUESTS = 100
ROUNDS = 41
GOOD = {"user_id": 7, "age": 40, "income": 52_000.0, "purchase_history": 3, "target": 1}
BAD = {"user_id": 7, "age": 12, "income": None, "purchase_history": 3, "target": 2}


def run() -> list[Row]:
    """The checker alone, then a request with and without it."""
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        return [*_alone(), *_requests(Path(folder))]


def _alone() -> list[Row]:
    import millrace as mr
    from millrace.validation.engine import validate

    suite = seed_suite()
    checker = mr.RowChecker(suite)
    person = _pydantic()
    assert checker.check(GOOD).is_clean
    assert _by_hand(GOOD) == []
    assert [rule.number for rule in checker.check(BAD).broken] == _by_hand(BAD) == [5, 10, 14]
    times = in_turns(
        {
            "good": _often(lambda: checker.check(GOOD)),
            "hand": _often(lambda: _by_hand(GOOD)),
            "pydantic": _often(lambda: person(GOOD)),
            "bad": _often(lambda: checker.check(BAD)),
            "hand bad": _often(lambda: _by_hand(BAD)),
        },
        rounds=ROUNDS,
        per=CALLS,
    )
    batch = {name: [value] for name, value in GOOD.items()}
    slow = in_turns(
        {
            "told": lambda: [checker.check(BAD).errors() for _ in range(20)],
            "batch": lambda: [validate(batch, suite) for _ in range(20)],
        },
        rounds=ROUNDS,
        per=20,
    )
    return [
        Row("good row, 14 rules", times["good"], "a function written by hand", times["hand"], limit_ms=0.05),
        Row("good row, 14 rules", times["good"], "pydantic model of the same fields", times["pydantic"]),
        Row("row that breaks 3 rules", times["bad"], "a function written by hand", times["hand bad"], limit_ms=0.05),
        Row("row that breaks 3 rules, told in words", slow["told"], "validate, a batch of one row", slow["batch"]),
    ]


def seed_suite() -> Any:
    """14 rules on five columns: what one row can be asked, and three that are about a batch."""
    import millrace as mr

    return (
        mr.Suite("people")
        .expect_table_columns_to_match_ordered_list(column_list=list(GOOD))
        .expect_column_values_to_be_of_type("user_id", "int")
        .expect_column_values_to_be_of_type("age", "int")
        .expect_column_values_to_be_of_type("income", "float")
        .expect_column_values_to_be_between("age", 18, 100)
        .expect_column_values_to_be_between("income", 0, 1_000_000)
        .expect_column_values_to_be_between("purchase_history", 0, 1000)
        .expect_column_values_to_not_be_null("user_id")
        .expect_column_values_to_not_be_null("age")
        .expect_column_values_to_not_be_null("income", mostly=0.9)
        .expect_column_values_to_be_unique("user_id")
        .expect_column_mean_to_be_between("age", 25, 65)
        .expect_column_stdev_to_be_between("income", 1000, 100_000)
        .expect_column_values_to_be_in_set("target", [0, 1])
    )


def _by_hand(row: dict[str, Any]) -> list[int]:
    broken = []
    if list(row) != ["user_id", "age", "income", "purchase_history", "target"]:
        return [1]
    user_id, age, income, history, target = row.values()
    if user_id is not None and type(user_id) is not int:
        broken.append(2)
    if age is not None and type(age) is not int:
        broken.append(3)
    if income is not None and type(income) is not float:
        broken.append(4)
    if age is not None and not 18 <= age <= 100:
        broken.append(5)
    if income is not None and not 0 <= income <= 1_000_000:
        broken.append(6)
    if history is not None and not 0 <= history <= 1000:
        broken.append(7)
    if user_id is None:
        broken.append(8)
    if age is None:
        broken.append(9)
    if income is None or income != income:
        broken.append(10)
    if target is not None and target not in (0, 1):
        broken.append(14)
    return broken


def _pydantic() -> Callable[[dict[str, Any]], Any]:
    from pydantic import BaseModel, ConfigDict, Field

    class Person(BaseModel):
        model_config = ConfigDict(strict=True, extra="forbid")
        user_id: int
        age: int = Field(ge=18, le=100)
        income: float | None = Field(ge=0, le=1_000_000)
        purchase_history: int = Field(ge=0, le=1000)
        target: int = Field(ge=0, le=1)

    return Person.model_validate


def _often(function: Callable[[], Any]) -> Callable[[], None]:
    def run() -> None:
        for _ in range(CALLS):
            function()

    return run


def _requests(folder: Path) -> list[Row]:
    """The application without its socket: the bytes of a request to the bytes of its answer."""
    plain, checked = _app(folder / "plain", None), _app(folder / "checked", seed_suite().without("target"))
    one = json.dumps({"inputs": {name: value for name, value in GOOD.items() if name != "target"}}).encode()
    many = json.dumps({"inputs": [json.loads(one)["inputs"]] * 100}).encode()
    rows = []
    for body, repeats, what in ((one, REQUESTS, "request of one row"), (many, 20, "request of 100 rows")):
        subjects = {name: _posts(app, body, repeats) for name, app in (("plain", plain), ("checked", checked))}
        times = in_turns(subjects, rounds=ROUNDS, per=repeats)
        rows.append(Row(f"{what}, judged by 10 rules", times["checked"], "the same, judged by none", times["plain"]))
    return rows


def _app(folder: Path, suite: Any) -> Any:
    """A server's application over a packaged logistic regression, with the rules as a release brings them."""
    import numpy as np
    import pandas as pd
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from millrace.core.bundle import Column
    from millrace.core.records import Release
    from millrace.flow.serving_rules import ROLE, open_serving_rules
    from millrace.serving.app import App
    from millrace.serving.inputs import InputReader
    from millrace.serving.predictor import load_predictor
    from millrace.serving.slot import Served, Slot
    from millrace.store.blobs import FileBlobs
    from millrace.training.package import installed_exporters, package, store_manifest

    rng = np.random.default_rng(0)
    names = [name for name in GOOD if name != "target"]
    X = pd.DataFrame(rng.uniform(20, 90, size=(500, len(names))), columns=names)
    X = X.round().astype(dict.fromkeys([name for name in names if name != "income"], "int64"))
    blobs = FileBlobs(folder)
    files = {}
    if suite is not None:
        files[ROLE] = blobs.put(json.dumps({"policy": "reject", "suite": suite.to_dict()}).encode())
    manifest = package(
        make_pipeline(StandardScaler(), LogisticRegression()).fit(X, (X["age"] > 50).astype(int)),
        X.head(50),
        model="bench",
        task="binary",
        columns=[Column(name, "float" if name == "income" else "int") for name in names],
        classes=[0, 1],
        lineage={},
        blobs=blobs,
        exporters=installed_exporters(),
        load=load_predictor,
        files=files,
    )
    release = Release("production", "bench", 1, 1, store_manifest(manifest, blobs), "direct", "2024-05-01", "bench")
    slot = Slot()
    rules = open_serving_rules(manifest, blobs)
    slot.swap(Served(release, load_predictor(manifest, blobs), InputReader(manifest, None, rules)))
    return App(slot)


def _posts(app: Any, body: bytes, repeats: int) -> Callable[[], None]:
    scope = {"type": "http", "path": "/predict", "method": "POST", "headers": []}
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def post() -> None:
        for _ in range(repeats):
            await app(scope, receive, send)

    def run() -> None:
        statuses.clear()
        asyncio.run(post())
        assert statuses == [200] * repeats, statuses[:3]

    return run
