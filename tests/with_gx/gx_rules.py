"""Rules that hypothesis makes: for every type of expectation, frames it is about and arguments of every variant."""

import json
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

import pandas as pd
from gx_frames import KINDS, NUMBERS, TEXTUAL, alike, frames
from hypothesis import strategies as st

MOSTLY = st.sampled_from([None, 0, 0.25, 1 / 3, 0.5, 0.75, 0.9, 1])
ANY = tuple(KINDS)
COMPARABLE = (*NUMBERS[:-2], "truth", "time", "zoned", "date")


def plain(value):
    """A value of a frame as a suite's JSON holds it; None for what it cannot hold."""
    if pd.isna(value) or isinstance(value, bytes):
        return None
    if hasattr(value, "item") and not hasattr(value, "isoformat"):
        value = value.item()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return value if isinstance(value, (bool, int, float, str)) else None


def present(frame, name="a"):
    """What a column holds, as JSON."""
    if name not in frame.columns:
        return []
    return [each for value in frame[name].tolist() if (each := plain(value)) is not None]


def bounds(frame, own=(), name="a"):
    """min_value and max_value near what is there, one or both, sometimes strict."""
    values = [value for value in present(frame, name) if not isinstance(value, (str, bool))]
    pool = st.sampled_from([*values, *own, 0, 1, 2.5, -3, 10])
    times = [value for value in present(frame, name) if isinstance(value, str)]
    if times:
        pool = st.sampled_from([*times, "2024-01-31", "2024-01-31T12:30:15", "1970-01-01", "2024-07-01T00:00:00+02:00"])
    return st.fixed_dictionaries(
        {}, optional={"min_value": pool, "max_value": pool, "strict_min": st.booleans(), "strict_max": st.booleans()}
    ).filter(lambda kwargs: kwargs.keys() & {"min_value", "max_value"})


def numbers_of(frame, own):
    """min_value and max_value of a figure that is a number whatever the column holds."""
    return bounds(frame, own, "none")


def counts_of(frame, *, is_strict=True):
    """Bounds of a count: whole numbers, for GX cuts fractions off."""
    pool = st.integers(-1, 5)
    optional = {"min_value": pool, "max_value": pool}
    if is_strict:
        optional |= {"strict_min": st.booleans(), "strict_max": st.booleans()}
    return st.fixed_dictionaries({}, optional=optional).filter(
        lambda kwargs: kwargs.keys() & {"min_value", "max_value"}
    )


def members(frame, name="a"):
    """Sets of values: some there, some not."""
    pool = [*present(frame, name), 1, 2.0, "a", "b", True, "2024-01-31", "12"]
    return st.lists(st.sampled_from(pool), min_size=0, max_size=4)


def sure(**given):
    """Arguments that are always the same."""
    return lambda frame: st.fixed_dictionaries(
        {key: value if isinstance(value, st.SearchStrategy) else st.just(value) for key, value in given.items()}
    )


def merged(*parts):
    return st.tuples(*parts).map(
        lambda found: {key: value for part in found for key, value in part.items() if value is not None}
    )


@dataclass(frozen=True)
class Case:
    """The frames and the arguments one type of expectation is tried with."""

    frame: st.SearchStrategy
    arguments: object

    @property
    def batches(self):
        """A frame, its kinds, and a few sets of arguments."""
        return self.frame.flatmap(
            lambda made: st.tuples(st.just(made), st.lists(self.arguments(made[0]), min_size=1, max_size=4))
        )


def _map(arguments, frame=None, *, column="a"):
    """A rule on each value."""
    return Case(
        frame if frame is not None else frames(),
        lambda made: merged(st.just({"column": column}), arguments(made), st.fixed_dictionaries({"mostly": MOSTLY})),
    )


def _figure(own=(), frame=None):
    """A rule on one number of a column."""
    return Case(
        frame if frame is not None else frames(COMPARABLE),
        lambda made: merged(st.just({"column": "a"}), bounds(made, own)),
    )


def _share():
    """A rule on a share of a column's values."""
    return Case(frames(), lambda made: merged(st.just({"column": "a"}), numbers_of(made, (0.5, 0.25, 1))))


REGEXES = [
    "a",
    "^a",
    "b$",
    "^$",
    "[0-9]+",
    "^\\d+$",
    "a|b",
    ".",
    "é",
    "\\s",
    "(?i)A",
    "^a.b$",
    "\\w{3}",
    "(?=a)a",
    "(a)\\1",
]
LIKES = ["a%", "%b", "_", "%", "a_c", "", "%1%", "é"]
texts = frames(TEXTUAL)
numbers = frames(NUMBERS)
pairs = st.one_of(
    alike(
        ("whole", "real", "text", "nullable", "time", "zoned", "truth", "real_or_infinite", "object_text", "mixed"), 2
    ),
    frames(NUMBERS, 2),
)
records = st.one_of(
    alike(("whole", "real", "text", "nullable", "truth", "time", "object_text"), 3), frames(NUMBERS, 3), frames(ANY, 3)
)
PAIR = {
    "column_A": "a",
    "column_B": "b",
    "mostly": MOSTLY,
    "ignore_row_if": st.sampled_from([None, "both_values_are_missing", "either_value_is_missing", "neither"]),
}
RECORD = {
    "mostly": MOSTLY,
    "ignore_row_if": st.sampled_from([None, "all_values_are_missing", "any_value_is_missing", "never"]),
}
COLUMN_LIST = st.sampled_from([["a", "b"], ["a", "b", "c"], ["c", "a"]])
NAMES = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=4, unique=True)
TYPES = [
    "int",
    "int64",
    "int8",
    "Int64",
    "uint64",
    "float",
    "float64",
    "float32",
    "double",
    "str",
    "string",
    "object",
    "bool",
    "bool_",
    "boolean",
    "datetime64",
    "datetime64[us]",
    "Timestamp",
    "datetime",
    "date",
    "Decimal",
    "category",
    "bytes",
    "nonsense",
    "NoneType",
    "timedelta64",
    "INTEGER",
    "StringType",
    "number",
]


def _quantiles(frame):
    shares = st.lists(st.sampled_from([0, 0.05, 0.25, 1 / 3, 0.5, 0.75, 0.9, 1]), min_size=1, max_size=3, unique=True)
    pool = st.sampled_from([None, *(value for value in present(frame) if not isinstance(value, (str, bool))), 0, 1, 5])

    def ranges(found):
        one = st.tuples(pool, pool).filter(lambda pair: None in pair or pair[0] <= pair[1]).map(list)
        return st.lists(one, min_size=len(found), max_size=len(found)).map(
            lambda limits: {"column": "a", "quantile_ranges": {"quantiles": sorted(found), "value_ranges": limits}}
        )

    return merged(
        shares.flatmap(ranges),
        st.fixed_dictionaries(
            {"allow_relative_error": st.sampled_from([None, False, "linear", "lower", "higher", "nearest", "midpoint"])}
        ),
    )


def _divergence(frame):
    weights = st.sampled_from([[0.5, 0.5], [0.25, 0.75], [1 / 3, 1 / 3, 1 / 3], [0.2, 0.3, 0.5]])
    levels = [*dict.fromkeys(present(frame)), "a", "b", "c", 1, 2]

    def partition(found):
        discrete = st.permutations(levels).map(lambda order: {"values": order[: len(found)], "weights": found})
        bins = st.sampled_from([[-3, 0, 2, 9], [0, 1, 2, 3], [0.0, 1.5, 4, 10]]).map(
            lambda edges: {"bins": edges[: len(found) + 1], "weights": found}
        )
        tails = bins.map(
            lambda given: {**given, "tail_weights": [0.05, 0.05], "weights": [0.9 * weight for weight in found]}
        )
        return st.one_of(discrete, bins, tails)

    return merged(
        weights.flatmap(partition).map(lambda made: {"column": "a", "partition_object": made}),
        st.fixed_dictionaries(
            {
                "threshold": st.sampled_from([0.01, 0.1, 1, 10]),
                "internal_weight_holdout": st.sampled_from([None, 0, 0.01]),
                "tail_weight_holdout": st.sampled_from([None, 0, 0.01]),
                "bucketize_data": st.sampled_from([None, True, False]),
            }
        ),
    )


CASES = {
    "expect_column_distinct_values_to_be_in_set": Case(
        frames(), lambda made: merged(st.just({"column": "a"}), members(made).map(lambda found: {"value_set": found}))
    ),
    "expect_column_distinct_values_to_contain_set": Case(
        frames(), lambda made: merged(st.just({"column": "a"}), members(made).map(lambda found: {"value_set": found}))
    ),
    "expect_column_distinct_values_to_equal_set": Case(
        frames(),
        lambda made: merged(
            st.just({"column": "a"}),
            st.one_of(members(made), st.just(list(dict.fromkeys(present(made))))).map(
                lambda found: {"value_set": found}
            ),
        ),
    ),
    "expect_column_kl_divergence_to_be_less_than": Case(
        frames(("whole", "real", "whole_or_missing", "text", "category", "truth"), min_rows=1), _divergence
    ),
    "expect_column_max_to_be_between": _figure(),
    "expect_column_mean_to_be_between": _figure(frame=frames((*NUMBERS, "truth", "text"))),
    "expect_column_median_to_be_between": _figure(frame=frames((*NUMBERS, "truth", "text"))),
    "expect_column_min_to_be_between": _figure(),
    "expect_column_most_common_value_to_be_in_set": Case(
        frames(),
        lambda made: merged(
            st.just({"column": "a"}),
            members(made).map(lambda found: {"value_set": found}),
            st.fixed_dictionaries({"ties_okay": st.sampled_from([None, True, False])}),
        ),
    ),
    "expect_column_pair_values_a_to_be_greater_than_b": Case(
        pairs, sure(**PAIR, or_equal=st.sampled_from([None, True, False]))
    ),
    "expect_column_pair_values_to_be_equal": Case(pairs, sure(**PAIR)),
    "expect_column_pair_values_to_be_in_set": Case(
        pairs,
        lambda made: merged(
            sure(**PAIR)(made),
            st.lists(
                st.tuples(st.sampled_from([*present(made), 1]), st.sampled_from([*present(made, "b"), 1])).map(list),
                max_size=3,
            ).map(lambda found: {"value_pairs_set": found}),
        ),
    ),
    "expect_column_proportion_of_non_null_values_to_be_between": _share(),
    "expect_column_proportion_of_unique_values_to_be_between": _share(),
    "expect_column_quantile_values_to_be_between": Case(frames((*NUMBERS, "truth")), _quantiles),
    "expect_column_stdev_to_be_between": _figure(frame=frames((*NUMBERS, "truth", "text"))),
    "expect_column_sum_to_be_between": _figure(frame=frames((*NUMBERS, "truth", "text"))),
    "expect_column_to_exist": Case(
        frames(ANY, 2), sure(column=st.sampled_from(["a", "b", "c"]), column_index=st.sampled_from([None, 0, 1, 2]))
    ),
    "expect_column_type_to_be": Case(frames(), sure(column="a", type_=st.sampled_from(TYPES))),
    "expect_column_unique_value_count_to_be_between": Case(
        frames(), lambda made: merged(st.just({"column": "a"}), counts_of(made))
    ),
    "expect_column_value_lengths_to_be_between": _map(counts_of, frames((*TEXTUAL, "mixed", "whole", "none"))),
    "expect_column_value_lengths_to_equal": _map(
        sure(value=st.sampled_from([0, 1, 2])), frames((*TEXTUAL, "mixed", "whole", "none", "bytes"))
    ),
    "expect_column_value_z_scores_to_be_less_than": _map(
        sure(threshold=st.sampled_from([0.5, 1, 1.5, 3, -0.5]), double_sided=st.booleans()),
        frames((*NUMBERS, "truth", "text")),
    ),
    "expect_column_values_to_be_between": _map(bounds, frames()),
    "expect_column_values_to_be_dateutil_parseable": _map(sure(), frames((*TEXTUAL, "whole", "mixed", "time"))),
    "expect_column_values_to_be_decreasing": _map(
        sure(strictly=st.sampled_from([None, True, False])), frames((*NUMBERS, "text", "time", "truth"))
    ),
    "expect_column_values_to_be_in_set": _map(lambda made: members(made).map(lambda found: {"value_set": found})),
    "expect_column_values_to_be_in_type_list": _map(
        sure(type_list=st.lists(st.sampled_from(TYPES), min_size=0, max_size=3))
    ),
    "expect_column_values_to_be_increasing": _map(
        sure(strictly=st.sampled_from([None, True, False])), frames((*NUMBERS, "text", "time", "truth"))
    ),
    "expect_column_values_to_be_json_parseable": _map(sure(), frames((*TEXTUAL, "whole", "mixed"))),
    "expect_column_values_to_be_null": _map(sure()),
    "expect_column_values_to_be_of_type": _map(sure(type_=st.sampled_from(TYPES))),
    "expect_column_values_to_be_unique": _map(sure()),
    "expect_column_values_to_match_json_schema": _map(
        sure(json_schema=st.sampled_from([{"type": "object"}, {"type": "array"}, {"type": "integer"}, {}])),
        frames((*TEXTUAL, "whole")),
    ),
    "expect_column_values_to_match_regex": _map(
        sure(regex=st.sampled_from(REGEXES)), frames((*TEXTUAL, "whole", "mixed", "real"))
    ),
    "expect_column_values_to_match_regex_list": _map(
        sure(
            regex_list=st.lists(st.sampled_from(REGEXES), min_size=0, max_size=3),
            match_on=st.sampled_from([None, "any", "all"]),
        ),
        frames((*TEXTUAL, "whole", "mixed")),
    ),
    "expect_column_values_to_match_strftime_format": _map(
        sure(strftime_format=st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%H", "nonsense"])),
        frames((*TEXTUAL, "whole", "time")),
    ),
    "expect_column_values_to_not_be_in_set": _map(lambda made: members(made).map(lambda found: {"value_set": found})),
    "expect_column_values_to_not_be_null": _map(sure()),
    "expect_column_values_to_not_be_outliers": _map(
        sure(method=st.sampled_from([None, "iqr", "std"]), multiplier=st.sampled_from([None, 0.5, 1.5, 3])), numbers
    ),
    "expect_column_values_to_not_match_regex": _map(
        sure(regex=st.sampled_from(REGEXES)), frames((*TEXTUAL, "whole", "mixed", "real"))
    ),
    "expect_column_values_to_not_match_regex_list": _map(
        sure(regex_list=st.lists(st.sampled_from(REGEXES), min_size=0, max_size=3)),
        frames((*TEXTUAL, "whole", "mixed")),
    ),
    "expect_compound_columns_to_be_unique": Case(records, sure(column_list=COLUMN_LIST, **RECORD)),
    "expect_multicolumn_sum_to_equal": Case(
        st.one_of(frames(("whole", "whole_or_missing", "small", "nullable"), 3), frames(NUMBERS, 3), frames(ANY, 3)),
        sure(column_list=COLUMN_LIST, sum_total=st.sampled_from([0, 1, 3, 5, 2.5]), **RECORD),
    ),
    "expect_multicolumn_values_to_be_equal": Case(records, sure(column_list=COLUMN_LIST, **RECORD)),
    "expect_select_column_values_to_be_unique_within_record": Case(records, sure(column_list=COLUMN_LIST, **RECORD)),
    "expect_table_column_count_to_be_between": Case(frames(ANY, 2), lambda made: counts_of(made, is_strict=False)),
    "expect_table_column_count_to_equal": Case(frames(ANY, 2), sure(value=st.integers(0, 3))),
    "expect_table_columns_to_match_ordered_list": Case(frames(ANY, 2), sure(column_list=NAMES)),
    "expect_table_columns_to_match_set": Case(
        frames(ANY, 2), sure(column_set=NAMES, exact_match=st.sampled_from([None, True, False]))
    ),
    "expect_table_row_count_to_be_between": Case(frames(ANY, 1), counts_of),
    "expect_table_row_count_to_equal": Case(frames(ANY, 1), sure(value=st.integers(0, 5))),
}


def cleaned(arguments):
    """Arguments without those that are None, as a suite writes them."""
    return json.loads(json.dumps({key: value for key, value in arguments.items() if value is not None}))
