"""Rules under a condition on rows, in every form that GX reads: the same rows are judged."""

import pandas as pd
import pytest
from gx_differences import Meeting, difference
from gx_frames import columns
from gx_oracle import disagreements, shown
from gx_rules import plain
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

SIGNS = ["==", "!=", "<", "<=", ">", ">="]
RULES = [
    {"type": "expect_column_values_to_be_between", "kwargs": {"column": "a", "min_value": 1, "mostly": 0.5}},
    {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "a", "mostly": 0.5}},
    {"type": "expect_column_values_to_be_null", "kwargs": {"column": "a"}},
    {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "a"}},
    {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "a", "value_set": [1, 2, 3]}},
    {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "a", "min_value": 0}},
    {"type": "expect_column_max_to_be_between", "kwargs": {"column": "a", "max_value": 5}},
    {"type": "expect_column_unique_value_count_to_be_between", "kwargs": {"column": "a", "max_value": 2}},
    {"type": "expect_column_proportion_of_non_null_values_to_be_between", "kwargs": {"column": "a", "min_value": 0.5}},
    {"type": "expect_column_median_to_be_between", "kwargs": {"column": "a", "max_value": 3}},
    {"type": "expect_column_values_to_be_increasing", "kwargs": {"column": "a"}},
    {
        "type": "expect_column_value_z_scores_to_be_less_than",
        "kwargs": {"column": "a", "threshold": 1, "double_sided": True},
    },
    {"type": "expect_column_pair_values_to_be_equal", "kwargs": {"column_A": "a", "column_B": "b"}},
    {"type": "expect_compound_columns_to_be_unique", "kwargs": {"column_list": ["a", "b"]}},
    {"type": "expect_multicolumn_sum_to_equal", "kwargs": {"column_list": ["a", "b"], "sum_total": 3}},
    {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 2}},
]


def compared(sign, value):
    """One comparison of column b in the forms of every parser."""
    name = {"==": "==", "!=": "!="}.get(sign, sign)
    document = {"type": "comparison", "column": {"name": "b"}, "operator": name, "parameter": value}
    return [
        (f"b {sign} {value!r}", "pandas"),
        (f"`b` {sign} {value!r}", "pandas"),
        (
            f'col("b") {sign} {value if not isinstance(value, str) else f"{chr(34)}{value}{chr(34)}"}',
            "great_expectations",
        ),
        (f"b {sign} {value!r}", None),
        (document, None),
    ]


@st.composite
def conditions(draw, values):
    one = st.sampled_from(SIGNS).flatmap(
        lambda sign: st.sampled_from(values).flatmap(lambda value: st.sampled_from(compared(sign, value)))
    )
    simple = draw(one)
    if not isinstance(simple[0], str) or simple[1] != "pandas":
        return simple
    other = draw(st.sampled_from(SIGNS)), draw(st.sampled_from(values))
    second = f"b {other[0]} {other[1]!r}"
    return draw(
        st.sampled_from(
            [
                simple,
                (f"{simple[0]} and {second}", "pandas"),
                (f"{simple[0]} or {second}", "pandas"),
                (f"({simple[0]}) & ({second})", "pandas"),
                (f"({simple[0]}) | ({second})", "pandas"),
                (f"not ({simple[0]})", "pandas"),
                (f"b in [{other[1]!r}, {other[1]!r}]", "pandas"),
                ("b.notnull()", "pandas"),
                ("b.isnull()", "pandas"),
                ('col("b").notNull()', "great_expectations"),
            ]
        )
    )


@st.composite
def batches(draw):
    rows = draw(st.integers(0, 7))
    own, first = draw(columns(("whole", "whole_or_missing", "real"), rows))
    kind, second = draw(columns(("whole", "whole_or_missing", "text"), rows))
    frame = pd.DataFrame({"a": first, "b": second})
    there = [value for value in map(plain, second.tolist()) if value is not None]
    # A quote within a text is said in another way by every parser.
    values = [value for value in there if "\n" not in str(value)] + (["a"] if kind == "text" else [1, 2.5])
    return (
        frame,
        {"a": own, "b": kind},
        draw(st.lists(conditions(values), min_size=1, max_size=2)),
        draw(st.lists(st.sampled_from(RULES), min_size=1, max_size=4)),
    )


def compare(made):
    frame, kinds, wheres, rules = made
    asked = [
        {
            **rule,
            "kwargs": {
                **rule["kwargs"],
                "row_condition": where,
                **({"condition_parser": parser} if parser is not None else {}),
            },
        }
        for where, parser in wheres
        for rule in rules
    ]
    for rule, theirs, ours, found in disagreements(frame, asked):
        met = Meeting(rule, kinds, theirs, ours)
        assert difference(met) is not None, "\n".join([str(rule), str(shown(frame)), *found])


def trying(examples):
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(batches())
    def run(made):
        compare(made)

    return run


def test_the_same_rows_are_judged():
    trying(30)()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_same_rows_are_judged_in_many_more_frames():
    trying(1500)()
