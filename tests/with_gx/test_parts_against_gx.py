"""Row conditions, suite parameters and the rules of databases: what GX makes of them, and what Millrace does."""

import random
import sqlite3
import warnings
from contextlib import closing
from datetime import UTC, datetime

import pandas as pd
import pytest
from gx_oracle import differences, gx, gx_results, gx_suite, is_close, our_results, problem_of

from millrace.adapters.sql_validation import open_sql
from millrace.validation.engine import validate
from millrace.validation.parameters import NoValue, parameter_value
from millrace.validation.suite import Suite

# Through `gx_oracle`, which keeps the warnings of its import to itself.
Column = gx.expectations.row_conditions.Column
SuiteParameterError = gx.exceptions.SuiteParameterError
parse_suite_parameter = gx.core.suite_parameters.parse_suite_parameter
NAN, INF = float("nan"), float("inf")
# Where the two differ on purpose: pandas compares a time with a text for equality as if neither were a time, has its
# own logic for missing values of nullable types, and divides by zero. None of them is written here.
NUMBERS = ["x", "y", "`my col`", "0", "1", "2", "2.5", "-1", "3"]
SIGNS = ["==", "!=", "<", "<=", ">", ">="]
FIXED = [
    "b", "b == True", "not b", "b == 1", "b > 0", "x == 'a'", "x != 'a'", "s == 1", "s != 1", "x == [1, 2]",
    "s != ['a']", "-x > 1", "y == inf", "x == x", "y != y", "s != s", "s.str.contains('a')", "s.str.startswith('a')",
    "x.between(1, 2)", "x.isin([1, 3])", "s > 'a'", "s <= 'b'", "x in [1, 'a']",
    "(x > 0) & (y < 2)", "x > 0 & y < 2", "b in [True]", "0 < x <= 2", "x < y < 3", "s in ('a', 'b')",
    "s not in ('a', '')", "nope > 1", "x > 'a'", "s < 1", "x = 1",
]  # fmt: skip


def frame(rng):
    rows = 8
    pools = {
        "x": [0, 1, 2, 3, -5],
        "y": [0.5, 1.0, 2.0, NAN, 3.5, INF],
        "b": [True, False],
        "my col": [1, 2, 3],
        "z": [1],
    }
    made = {name: [rng.choice(pool) for _ in range(rows)] for name, pool in pools.items()}
    texts = pd.Series([rng.choice(["a", "b", "ab", "", "1", None]) for _ in range(rows)], dtype="str")
    times = pd.to_datetime([rng.choice(["2024-01-01", "2024-02-01 12:00", None]) for _ in range(rows)], format="mixed")
    return pd.DataFrame({**made, "s": texts, "t": times})


def number(rng, depth=0):
    if depth > 1 or rng.random() < 0.75:
        return rng.choice(NUMBERS)
    return f"({number(rng, depth + 1)} {rng.choice('+-*')} {number(rng, depth + 1)})"


def leaf(rng):
    kind = rng.randrange(6)
    if kind < 2:
        return f"{number(rng)} {rng.choice(SIGNS)} {rng.choice(NUMBERS[:3])}"
    if kind == 2:
        return f"{rng.choice(['x', 'y', 's', 't', '`my col`'])}.{rng.choice(['isnull', 'notnull', 'isna', 'notna'])}()"
    if kind == 3:
        return f"t {rng.choice(['<', '>='])} '2024-01-{rng.choice(['01', '15'])}'"
    return rng.choice(FIXED)


def condition(rng, depth=0):
    if depth > 2 or rng.random() < 0.45:
        return leaf(rng)
    if rng.random() < 0.2:
        return f"{rng.choice(['not', '~'])} ({condition(rng, depth + 1)})"
    return f"({condition(rng, depth + 1)}) {rng.choice(['and', 'or', '&', '|'])} ({condition(rng, depth + 1)})"


def compare(made, rules):
    found = zip(rules, gx_results(made, rules), our_results(made, rules), strict=True)
    return [(rule["kwargs"]["row_condition"], differs) for rule, gx, own in found if (differs := differences(gx, own))]


@pytest.mark.parametrize("seed", range(4))
def test_queries_choose_the_rows_that_pandas_chooses(seed):
    rng = random.Random(seed)
    made = frame(rng)
    rules = [
        {
            "type": "expect_column_values_to_not_be_null",
            "kwargs": {"column": "z", "row_condition": condition(rng), "condition_parser": "pandas"},
        }
        for _ in range(15)
    ]

    assert compare(made, rules) == []


CONDITIONS = [
    Column("x") > 1,
    Column("y") != 2,
    Column("s") == "a",
    Column("s") != "a",
    Column("x").is_in([1, 2]),
    Column("s").is_not_in(["a", "b"]),
    Column("y").is_null(),
    Column("my col").is_not_null(),
    (Column("x") >= 1) & (Column("y") < 3) & Column("s").is_not_null(),
    (Column("x") > 2) | ((Column("b") == True) & (Column("x") < 0)),  # noqa: E712
]
CLAUSES = ['col("x") > 1', 'col("y")<=2.0', 'col("s") == "a"', "col(\"s\") != 'a'", 'col("y").notNull()']


def test_conditions_of_great_expectations_choose_the_same_rows():
    made = frame(random.Random(11))
    asked = [{"row_condition": each.dict()} for each in CONDITIONS]
    asked += [{"row_condition": each, "condition_parser": "great_expectations"} for each in CLAUSES]
    rules = [{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "z", **each}} for each in asked]

    assert compare(made, rules) == []


def test_a_second_clause_is_read_where_gx_forgets_it():
    made = pd.DataFrame({"x": [1, 2, 3], "z": [1, 1, 1]})
    kwargs = {
        "column": "z",
        "row_condition": 'col("x") > 1 AND col("x") > 2',
        "condition_parser": "great_expectations",
    }
    rules = [{"type": "expect_column_values_to_not_be_null", "kwargs": kwargs}]

    assert gx_results(made, rules)[0]["result"]["element_count"] == 2
    assert our_results(made, rules)[0]["result"]["element_count"] == 1


def test_a_time_equals_its_text_where_pandas_finds_nothing():
    made = pd.DataFrame({"t": pd.to_datetime(["2024-01-01", "2024-01-02"]), "z": [1, 1]})
    kwargs = {"column": "z", "row_condition": "t == '2024-01-01'", "condition_parser": "pandas"}
    rules = [{"type": "expect_column_values_to_not_be_null", "kwargs": kwargs}]

    assert gx_results(made, rules)[0]["result"]["element_count"] == 0
    assert our_results(made, rules)[0]["result"]["element_count"] == 1


ZONED = pd.DataFrame({"t": pd.to_datetime(["2024-01-01", "2024-01-02"], utc=True), "z": [1, 1]})
NULLABLE = pd.DataFrame({"i": pd.Series([1, None], dtype="Int64"), "z": [1, 1]})
ZEROS = pd.DataFrame({"x": [0.0, 1.0], "z": [1, 1]})


@pytest.mark.parametrize(
    ("made", "condition", "theirs", "ours"),
    [
        (ZONED, "t >= '2024-01-02'", None, 1),
        (NULLABLE, "not i == 1", 0, 1),
        (NULLABLE, "i != 1", 0, 1),
        (ZEROS, "1 / x > 5", 1, 0),
    ],
)
def test_what_else_differs_in_conditions(made, condition, theirs, ours):
    kwargs = {"column": "z", "row_condition": condition, "condition_parser": "pandas"}
    rules = [{"type": "expect_column_values_to_not_be_null", "kwargs": kwargs}]

    found = gx_results(made, rules)[0]
    assert (problem_of(found) is not None) is (theirs is None)
    assert theirs is None or found["result"]["element_count"] == theirs
    assert our_results(made, rules)[0]["result"]["element_count"] == ours


def test_pairs_of_a_set_heed_the_condition_where_gx_has_no_answer():
    made = pd.DataFrame({"a": [1, 2, 3], "b": [1, 2, 4], "k": [1, 1, 2]})
    kwargs = {"column_A": "a", "column_B": "b", "value_pairs_set": [[3, 4]]}
    condition = {"row_condition": "k == 2", "condition_parser": "pandas"}
    rules = [{"type": "expect_column_pair_values_to_be_in_set", "kwargs": {**kwargs, **condition}}]

    assert problem_of(gx_results(made, rules)[0]) is not None
    assert our_results(made, rules)[0]["success"]


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("a", {"a": [1]}), ("a+1", {"a": 3}), ("2*a^2", {"a": 3}), ("2^3^2", {}), ("-2^2", {}), ("2*-a", {"a": 3}),
        ("1--1", {}), ("10-3-2", {}), ("8/4/2", {}), ("(1+2)*3", {}), ("1e3+1", {}), ("trunc(a/2)", {"a": 3}),
        ("round(2.567, 1)", {}), ("abs(-3)", {}), ("sgn(a)", {"a": -2.5}), ("sin(0)", {}), ("E+1", {}), ("PI*2", {}),
        ("datetime(2024,1,2)", {}), ("datetime(year=2024,month=1,day=2) + timedelta(hours=2)", {}),
        ("d - timedelta(days=1)", {"d": "2024-01-03"}), ("a - b", {"a": 5, "b": 2}), ("a1+2", {"a1": 2}),
        ("a_b+1", {"a_b": 3}), ("-a", {"a": 2}), ("a", {"a": None}), ("a/3", {"a": "7"}), ("1+2*3-4", {}),
        ("a", {}), ("a + 1", {}), ("a/0", {"a": 1}), ("a > 2", {"a": 3}), ("foo(1)", {}), ("a b", {"a": 1, "b": 2}),
        ("7//2", {}), ("abs()", {}), ("a-b", {"a": 1, "b": "x"}), ("2", {}), ("a.b", {"a": 1}), ("_a+1", {"_a": 3}),
    ],
)  # fmt: skip
def test_parameters_have_the_values_of_gx(text, parameters):
    try:
        wanted = parse_suite_parameter(text, parameters)
    except SuiteParameterError:
        wanted = NoValue
    try:
        found = parameter_value({"$PARAMETER": text}, parameters, datetime(2024, 1, 1, tzinfo=UTC))
    except NoValue:
        found = NoValue

    assert found == wanted


def distribution(rng):
    count = rng.randint(1, 4)
    drawn = [rng.choice([0, 1, 2, 3]) for _ in range(count)]
    weights = [weight / sum(drawn) for weight in drawn] if sum(drawn) else [1 / count] * count
    kind = rng.random()
    if kind < 0.25:
        return {"bucketize_data": rng.choice([True, False])}
    if kind < 0.5:
        values = rng.sample([0, 1, 1.5, 2, 3, "a", "b", "z"], count)
        return {"partition_object": {"values": values, "weights": weights}}
    bins = sorted(rng.sample([-2, -1, 0, 0.5, 1, 2, 3, 5], count + 1))
    bins[0] = rng.choice([bins[0], bins[0], -INF])
    bins[-1] = rng.choice([bins[-1], bins[-1], INF])
    if rng.random() < 0.2:
        tails = {"tail_weights": [0.1, 0.1], "weights": [0.8 * weight for weight in weights]}
        return {"partition_object": {"bins": bins, **tails}}
    return {"partition_object": {"bins": bins, "weights": weights}}


def partitions(result):
    """Both partitions as plain lists, None for what is no number."""
    details = result["result"].get("details", {})
    texts = {"Infinity": INF, "-Infinity": -INF}
    return {
        (part, key): [None if each != each else texts.get(each, each) for each in values]
        for part, lists in details.items()
        for key, values in lists.items()
    }


@pytest.mark.parametrize("seed", range(5))
def test_divergences_and_their_partitions_are_those_of_gx(seed):
    rng = random.Random(seed)
    rows = rng.randint(1, 30)
    pools = {
        "x": [0, 1, 1.5, 2, 3, 7, NAN, INF, -1],
        "i": [0, 1, 2, 3, 5],
        "s": ["a", "b", "c", None],
        "f": [True, False],
    }
    made = pd.DataFrame({name: [rng.choice(pool) for _ in range(rows)] for name, pool in pools.items()})
    made["y"] = [rng.gauss(0, 1) for _ in range(rows)]
    rules = []
    for _ in range(16):
        more = {"threshold": rng.choice([None, 0, 0.1, 0.5, 2]), **distribution(rng)}
        more |= {"tail_weight_holdout": rng.choice([0, 0.1, 0.5])} if rng.random() < 0.5 else {}
        more |= {"internal_weight_holdout": rng.choice([0, 0.1])} if rng.random() < 0.4 else {}
        kwargs = {"column": rng.choice(list(made.columns)), "partition_object": None, **more}
        rules.append({"type": "expect_column_kl_divergence_to_be_less_than", "kwargs": kwargs})

    for rule, theirs, ours in zip(rules, gx_results(made, rules), our_results(made, rules), strict=True):
        assert differences(theirs, ours) == [], rule
        if problem_of(theirs) is None:
            found = partitions(ours)
            for key, values in partitions(theirs).items():
                assert is_close(values, found[key]), (rule, key)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("gx") / "rows.db"
    rows = [(1, "ab", 1.5), (2, "xb", -1.0), (3, None, 2.0), (4, "a_b", None), (5, "", 0.0), (6, "é%", 9.0)]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (id INTEGER, s TEXT, x REAL)")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    source = context.data_sources.add_sqlite("rows", connection_string=f"sqlite:///{path}")
    whole = source.add_table_asset("t", table_name="t").add_batch_definition_whole_table("whole").get_batch()
    return whole, lambda: open_sql(f"sqlite:///{path}", table="t")


LIKE = "expect_column_values_to_{}match_like_pattern{}"
IN_DATABASES = [
    *(
        {"type": LIKE.format(word, ""), "kwargs": {"column": "s", "like_pattern": pattern, **more}}
        for word in ("", "not_")
        for pattern, more in (("a%", {}), ("%b", {}), ("_b", {}), ("%", {}), ("", {}), ("a!_b", {"escape": "!"}))
    ),
    *(
        {"type": LIKE.format(word, "_list"), "kwargs": {"column": "s", "like_pattern_list": ["a%", "%b"], **more}}
        for word, more in (("", {}), ("", {"match_on": "all"}), ("not_", {"mostly": 0.2}))
    ),
    {"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": "SELECT * FROM {batch} WHERE x < 0"}},
    {"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": "SELECT * FROM {batch} WHERE x < -9"}},
    {"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": "SELECT nope FROM {batch}"}},
]


@pytest.mark.parametrize("rule", IN_DATABASES, ids=lambda rule: rule["type"])
def test_rules_of_databases_are_those_of_gx_on_sqlite(database, rule):
    batch, opened = database
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = batch.validate(gx_suite([rule])).to_json_dict()["results"][0]

    ours = validate(opened(), Suite.from_dict({"name": "one", "expectations": [rule]})).to_json_dict()["results"][0]

    assert differences(theirs, ours) == []
