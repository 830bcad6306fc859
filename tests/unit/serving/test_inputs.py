from datetime import UTC, datetime

import pytest

from millrace.core.bundle import Column, Manifest
from millrace.core.errors import DataError, ModelError
from millrace.serving.inputs import InputReader, Request

NOW = datetime(2024, 5, 1, tzinfo=UTC)
COLUMNS = [
    Column("amount", "float"),
    Column("orders", "int", feature="customer:orders"),
    Column("is_new", "bool"),
    Column("plan", "string"),
    Column("spend", "float", feature="customer:spend"),
]
GIVEN = {"amount": 1.5, "is_new": True, "plan": "free"}


class Store:
    def __init__(self):
        self.asked = []

    def __call__(self, features, key, at):
        self.asked.append((features, dict(key), at))
        return [f"{feature}@{key['id']}" for feature in features]


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def reader(store):
    return InputReader(Manifest("churn", "binary", COLUMNS, [0, 1], "onnx", {}), store)


def _codes(reader, **request):
    with pytest.raises(ModelError) as caught:
        reader.read(Request(**request), NOW)
    assert caught.value.code == "SERVE-10"
    return [(finding.code, finding.where) for finding in caught.value.findings]


def test_values_come_in_the_models_order_and_the_rest_is_looked_up(reader, store):
    rows = reader.read(Request(GIVEN, key={"id": 7}), NOW)

    assert rows.values == [[1.5, "customer:orders@7", True, "free", "customer:spend@7"]]
    given = {"amount": 1.5, "is_new": True, "plan": "free"}
    assert store.asked == [(["customer:orders", "customer:spend"], {**given, "id": 7}, NOW)]
    assert rows.is_batch is False


def test_what_is_given_is_not_looked_up(reader, store):
    rows = reader.read(Request({**GIVEN, "orders": 3}, key={"id": 7}), NOW)
    assert rows.values[0][1] == 3
    given = {"amount": 1.5, "orders": 3, "is_new": True, "plan": "free"}
    assert store.asked == [(["customer:spend"], {**given, "id": 7}, NOW)]

    store.asked.clear()
    reader.read(Request({**GIVEN, "orders": None, "spend": 1}), NOW)
    assert store.asked == []


def test_lists_go_row_by_row(reader, store):
    times = ["2024-01-01T00:00:00Z", "2024-01-02T02:00:00+02:00"]
    rows = reader.read(Request([GIVEN, {**GIVEN, "amount": 2}], key=[{"id": 1}, {"id": 2}], event_time=times), NOW)

    assert [row[0] for row in rows.values] == [1.5, 2]
    assert rows.times == [datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)]
    assert [(key["id"], at) for _, key, at in store.asked] == [(1, rows.times[0]), (2, rows.times[1])]
    assert rows.is_batch is True


def test_one_key_and_time_may_hold_for_all_rows(reader):
    rows = reader.read(Request([GIVEN, GIVEN], key={"id": 1}, event_time="2024-01-01"), NOW)

    assert rows.keys == [{"id": 1}] * 2
    assert rows.times == [datetime(2024, 1, 1, tzinfo=UTC)] * 2


def test_one_input_may_hold_for_several_keys(reader):
    rows = reader.read(Request(GIVEN, key=[{"id": 1}, {"id": 2}]), NOW)

    assert [row[1] for row in rows.values] == ["customer:orders@1", "customer:orders@2"]


@pytest.mark.parametrize(
    ("name", "value", "is_taken"),
    [
        ("amount", 3, True),
        ("amount", None, True),
        ("amount", True, False),
        ("amount", "3", False),
        ("amount", 1e39, False),
        ("amount", 10**400, False),
        ("orders", 3.0, True),
        ("orders", 3.5, False),
        ("orders", "25 years", False),
        ("orders", False, False),
        ("orders", 1e300, False),
        ("is_new", 1, False),
        ("is_new", None, True),
        ("plan", 3, False),
        ("plan", "", True),
        ("plan", ["free"], False),
    ],
)
def test_types_are_the_manifests(reader, name, value, is_taken):
    inputs = {**GIVEN, "orders": 1, "spend": 1.0, name: value}
    if is_taken:
        assert reader.read(Request(inputs), NOW).values[0][reader._names.index(name)] == value
    else:
        assert _codes(reader, inputs=inputs) == [("SERVE-13", f"inputs.{name}")]


def test_every_problem_of_every_row_is_told_at_once(reader):
    problems = _codes(
        reader,
        inputs=[{"amuont": 1, "is_new": "yes", "plan": "free"}, {**GIVEN, "amount": "25 years"}],
        event_time="yesterday",
    )

    assert problems == [
        ("SERVE-16", "event_time"),
        ("SERVE-12", "inputs[0]"),
        ("SERVE-13", "inputs[0].is_new"),
        ("SERVE-11", "inputs[0].amuont"),
        ("SERVE-14", "inputs[0]"),
        ("SERVE-13", "inputs[1].amount"),
        ("SERVE-14", "inputs[1]"),
    ]


def test_the_nearest_name_is_offered(reader):
    with pytest.raises(ModelError) as caught:
        reader.read(Request({**GIVEN, "amuont": 1}, key={"id": 1}), NOW)

    assert [finding.fix for finding in caught.value.findings] == ["did you mean 'amount'?"]


def test_a_thousand_problems_are_counted_and_twenty_shown(reader):
    with pytest.raises(ModelError) as caught:
        reader.read(Request([{**GIVEN, "amount": "x"}] * 1000, key={"id": 1}), NOW)

    assert "1000 problems" in caught.value.what
    assert len(caught.value.findings) == 20


@pytest.mark.parametrize(
    "request_facts",
    [
        {"inputs": []},
        {"inputs": GIVEN, "key": []},
        {"inputs": [GIVEN], "key": [{"id": 1}, {"id": 2}]},
        {"inputs": [GIVEN], "key": {"id": 1}, "event_time": ["2024-01-01", "2024-01-02"]},
        {"inputs": GIVEN, "key": {"id": 1}, "event_time": ["2024-01-01", "2024-01-02"]},
    ],
)
def test_lists_must_agree(reader, request_facts):
    assert [code for code, _ in _codes(reader, **request_facts)] == ["SERVE-15"]


def test_without_a_feature_store_every_input_is_needed():
    reader = InputReader(Manifest("churn", "binary", COLUMNS, [0, 1], "onnx", {}), None)

    assert _codes(reader, inputs=GIVEN, key={"id": 1}) == [("SERVE-12", "inputs"), ("SERVE-12", "inputs")]


def test_the_stores_own_refusal_passes_through():
    def refuse(features, key, at):
        raise DataError("FEAT-03", "the key has no 'customer_id'")

    reader = InputReader(Manifest("churn", "binary", COLUMNS, [0, 1], "onnx", {}), refuse)
    with pytest.raises(DataError):
        reader.read(Request(GIVEN, key={"id": 1}), NOW)
