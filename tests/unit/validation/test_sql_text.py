"""What rules become in SQL, and what a database is asked."""

import math
import sqlite3
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from millrace.validation.backend import CannotCheck
from millrace.validation.expression import (
    ROWS,
    Predicate,
    all_of,
    arithmetic,
    column,
    compare,
    count_if,
    distinct,
    figure,
    holds,
    is_in,
    is_missing,
    levels,
    like,
    literal,
    matches,
    negate,
    previous,
    quantile,
    repeated,
)
from millrace.validation.portable_regex import like_pattern, like_regex, portable_regex
from millrace.validation.sql.backend import MOST_COLUMNS, SqlBackend
from millrace.validation.sql.dialects import DUCKDB, POSTGRES, SPARK, SQLITE
from millrace.validation.sql.text import SqlColumn

TYPES = {
    "whole": pa.int64(),
    "real": pa.float64(),
    "price": pa.decimal128(10, 2),
    "text": pa.string(),
    "at": pa.timestamp("us"),
    "zoned": pa.timestamp("us", "UTC"),
    "day": pa.date32(),
}


class Recorder:
    """A database that keeps what it is asked and answers with given rows."""

    def __init__(self, *answers):
        self.asked, self._answers, self.is_closed = [], list(answers), False

    def run(self, text, values, *, is_long=False):
        self.asked.append((text, tuple(values)))
        return self._answers.pop(0) if self._answers else []

    def define(self, name, function):
        self.asked.append((name, function))

    def close(self):
        self.is_closed = True


def batch(database, dialect=POSTGRES, order=None, types=TYPES):
    columns = [SqlColumn(name, found, dialect.quoted(name)) for name, found in types.items()]
    return SqlBackend(database, dialect, dialect.quoted("orders"), columns, order=order)


def asked_of(dialect, *figures, where=None, order=None):
    database = Recorder([[0] * 50], [], [])
    batch(database, dialect, order).compute({where: figures})
    return database.asked


def test_all_figures_of_a_scope_are_one_select_that_reads_only_their_columns():
    wanted = [ROWS, count_if(is_missing(column("whole"))), figure("sum", column("whole")), distinct(column("text"))]

    asked = asked_of(POSTGRES, *wanted, *wanted)

    assert len(asked) == 1
    text, values = asked[0]
    assert text.startswith('WITH millrace_rows AS (SELECT "whole", "text" FROM "orders") SELECT count(*), count(CASE')
    assert values == ()


def test_a_scope_is_a_where_and_its_own_select():
    condition = compare("gt", column("whole"), literal(5))
    database = Recorder([[3]], [[1]])

    found = batch(database).compute({None: [ROWS], condition: [ROWS]})

    assert found == {None: {ROWS: 3}, condition: {ROWS: 1}}
    assert [text.count("WHERE") for text, _ in database.asked] == [0, 1]


def test_texts_floats_and_patterns_are_bound_and_never_written():
    evil = "'; DROP TABLE orders; --"
    truths = [
        compare("eq", column("text"), literal(evil)),
        is_in(column("text"), [evil]),
        like(column("text"), evil),
        matches(column("text"), "^'a"),
    ]
    for dialect in (POSTGRES, DUCKDB, SPARK):
        ((text, values),) = asked_of(dialect, *map(count_if, truths))

        assert "DROP" not in text
        assert values[:2] == (evil, evil)


def test_names_are_quoted_whatever_is_in_them():
    name = 'a"b`c%s?'
    for dialect, quoted in (
        (POSTGRES, '"a""b`c%%s?"'),
        (SQLITE, '"a""b`c%s?"'),
        (SPARK, '`a"b``c%s?`'),
    ):
        database = Recorder([[0]])
        batch(database, dialect, types={name: pa.int64()}).compute({None: [count_if(is_missing(column(name)))]})

        assert quoted in database.asked[0][0]


@pytest.mark.parametrize("dialect", [POSTGRES, DUCKDB, SPARK])
def test_nan_is_missing_before_anything_looks_at_a_float(dialect):
    ((text, _),) = asked_of(dialect, count_if(is_missing(column("real"))))

    assert dialect.null_if_nan.format(dialect.quoted("real")) in text


def test_sums_of_whole_numbers_leave_64_bit():
    assert "sum(CAST(" in asked_of(POSTGRES, figure("sum", column("whole")))[0][0]
    database = Recorder([[2**31, 5]])

    found = batch(database, SQLITE).compute({None: [figure("sum", column("whole"))]})

    assert found[None][figure("sum", column("whole"))] == 2**63 + 5


def test_the_mean_of_whole_numbers_is_of_the_exact_sum():
    mean = figure("mean", column("whole"))

    assert batch(Recorder([[Decimal(2**63), 2]])).compute({None: [mean]})[None][mean] == 2.0**62
    assert batch(Recorder([[None, 0]])).compute({None: [mean]})[None][mean] is None


def test_division_is_of_floats_and_by_zero_missing():
    half = arithmetic("div", column("whole"), literal(0))
    ((text, _),) = asked_of(POSTGRES, count_if(compare("gt", half, literal(1))))

    assert '(CAST("whole" AS double precision) / NULLIF(CAST(0 AS double precision), 0))' in text


def test_decimals_are_compared_with_the_exact_value_of_a_float():
    truths = [compare(op, column("price"), literal(0.15)) for op in ("lt", "le", "gt", "ge", "eq", "ne")]
    ((text, values),) = asked_of(DUCKDB, *map(count_if, truths))

    # 0.15 as a float is a little less than 0.15.
    for piece in ('"price" < (0.15)', '"price" <= (0.14)', '"price" > (0.14)', '"price" >= (0.15)'):
        assert piece in text
    assert text.count("THEN FALSE") == 1
    assert text.count("THEN TRUE") == 1
    assert values == ()


def test_literals_of_times_take_the_form_of_the_column():
    noon = datetime(2024, 1, 2, 12, 0, 0, 5, tzinfo=UTC)
    truths = [compare("lt", column(name), literal(noon)) for name in ("at", "zoned", "day")]

    ((text, _),) = asked_of(POSTGRES, *map(count_if, truths))
    assert "\"at\" < TIMESTAMP '2024-01-02 12:00:00.000005'" in text
    assert "\"zoned\" < TIMESTAMPTZ '2024-01-02 12:00:00.000005+00'" in text
    ((text, _),) = asked_of(SQLITE, *map(count_if, truths))
    assert '"at" < 1704196800000005' in text


def test_members_that_no_value_can_equal_are_left_out():
    ((text, _),) = asked_of(POSTGRES, count_if(is_in(column("whole"), [1, 1.5, "1", 2.0, math.inf, True])))
    assert '("whole" IN (1, 2, 1))' in text
    ((text, _),) = asked_of(
        POSTGRES, count_if(is_in(column("day"), [date(2024, 1, 1), datetime(2024, 1, 2, 1, tzinfo=UTC)]))
    )
    assert text.count("TIMESTAMP") == 1
    ((text, _),) = asked_of(POSTGRES, count_if(negate(is_in(column("whole"), ["a"]))))
    assert '(CASE WHEN "whole" IS NOT NULL THEN FALSE END)' in text


def test_a_long_list_of_texts_is_bound_as_one():
    members = [f"t{number}" for number in range(1000)]

    ((text, values),) = asked_of(POSTGRES, count_if(is_in(column("text"), members)))

    assert "= ANY(%s)" in text
    assert values == (members,)


def test_infinity_is_bound():
    ((_, values),) = asked_of(POSTGRES, count_if(compare("lt", column("real"), literal(math.inf))))

    assert values == (math.inf,)


def test_repeated_rows_are_marked_before_they_are_counted():
    ((text, _),) = asked_of(POSTGRES, count_if(repeated(column("whole"), column("text"))))

    assert 'count(*) OVER (PARTITION BY "whole", ("text" COLLATE "C")) > 1 AS "millrace_w0"' in text
    assert 'count(CASE WHEN "millrace_w0" THEN 1 END)' in text


def test_rows_without_order_have_no_row_before():
    assert batch(Recorder()).unsupported == {"previous"}
    assert batch(Recorder(), SQLITE, "rowid").unsupported == set()
    with pytest.raises(CannotCheck, match="no order"):
        asked_of(POSTGRES, count_if(compare("lt", column("whole"), previous(column("whole")))))
    ((text, _),) = asked_of(SQLITE, count_if(compare("lt", column("whole"), previous(column("whole")))), order="rowid")
    assert "row_number() OVER (ORDER BY rowid)" in text


def test_positions_are_numbered_only_where_they_are_asked_for():
    ((text, _),) = asked_of(SQLITE, ROWS, figure("max", column("whole")), order="rowid")

    assert "row_number" not in text


def test_quantiles_ask_only_for_the_values_beside_them():
    database = Recorder([[5]], [[1, 10.0], [2, 20.0]])
    wanted = [quantile(column("real"), 0.375), quantile(column("real"), 0.375, "lower")]

    found = batch(database).compute({None: wanted})[None]

    assert [found[each] for each in wanted] == [15.0, 10.0]
    assert "WHERE place IN (1, 2)" in database.asked[1][0]
    assert batch(Recorder([[0]])).compute({None: wanted})[None] == dict.fromkeys(wanted)


def test_levels_are_grouped_there():
    found = batch(Recorder([["b", 3], ["a", 1]])).compute({None: [levels(column("text"))]})

    assert found[None][levels(column("text"))] == [("b", 3), ("a", 1)]


def test_more_figures_than_a_select_takes_are_several():
    wanted = [count_if(compare("gt", column("whole"), literal(number))) for number in range(MOST_COLUMNS + 1)]
    database = Recorder([[1] * MOST_COLUMNS], [[2]])

    found = batch(database).compute({None: wanted})[None]

    assert (found[wanted[0]], found[wanted[-1]], len(database.asked)) == (1, 2, 2)


def test_python_judges_the_distinct_values_where_the_database_cannot():
    short = Predicate(("short",), lambda text: len(text) < 3)
    database = Recorder([["a"], ["abcd"], ["ab"]], [[7]])
    counted = count_if(all_of(holds(column("text"), short), holds(column("text"), short)))

    assert batch(database).compute({None: [counted]})[None][counted] == 7
    asked, counting = database.asked
    assert "SELECT DISTINCT v" in asked[0]
    # The fewer ones are named: those it refuses.
    assert counting[0].count("NOT") == 2
    assert counting[1] == ("abcd", "abcd")


def test_few_distinct_values_are_asked_for_once_for_all_tests():
    database = Recorder([["a"], ["bb"]], [[1, 1]])
    wanted = [count_if(matches(column("text"), rf"^\w{{{size}}}$")) for size in (1, 2)]

    batch(database).compute({None: wanted})

    assert [text.count("DISTINCT") for text, _ in database.asked] == [1, 0]
    assert database.asked[1][1] == ("a", "bb")


def test_sqlite_calls_python_itself():
    asked = asked_of(SQLITE, count_if(holds(column("text"), Predicate(("short",), lambda text: len(text) < 3))))

    name, test = asked[0]
    assert (name, test("ab"), test("abc"), test(None)) == ("millrace_test0", True, False, None)
    assert 'millrace_test0(("text" COLLATE BINARY))' in asked[1][0]


def test_too_many_distinct_values_are_refused_not_fetched(monkeypatch):
    monkeypatch.setattr("millrace.validation.sql.backend.MOST_DECIDED", 10)
    rows = iter([[f"{number}{'x' * (number % 2)}"] for number in range(1000)])
    even = Predicate(("even",), lambda text: not text.endswith("x"))

    with pytest.raises(CannotCheck, match=r"unsupported.*10 distinct values"):
        batch(Recorder(rows)).compute({None: [count_if(holds(column("text"), even))]})

    assert len(list(rows)) > 900


def test_examples_that_are_all_there_are_give_their_counts():
    database = Recorder([[None, "b"], [None, "a"], [None, "b"]])
    wrong = is_missing(column("whole"))
    backend = batch(database)

    found = backend.examples(wrong, [column("text")], where=None, limit=20)
    counts = backend.frequent(wrong, [column("text")], where=None, limit=20)

    assert found == [(None, ("b",)), (None, ("a",)), (None, ("b",))]
    assert counts == [(("b",), 2), (("a",), 1)]
    assert len(database.asked) == 1
    assert database.asked[0][0].endswith("LIMIT 20")


def test_a_closed_batch_closes_its_database():
    database = Recorder()
    batch(database).close()

    assert database.is_closed


@pytest.mark.parametrize(
    ("pattern", "written"),
    [
        ("^a.b$", "^a[^\n]b\n?END"),
        ("a|b+?", "(?:a|b+)"),
        ("[^0-9_]{2,3}", "[^0-9_]{2,3}"),
        ("(ab){2}", "(?:ab){2,2}"),
        (r"\.", r"\."),
        ("é?", "é?"),
    ],
)
def test_a_regular_expression_of_common_signs_is_written_for_any_engine(pattern, written):
    assert portable_regex(pattern, end="END") == written


@pytest.mark.parametrize(
    "pattern", [r"\d", r"\w+", r"\bword", "(?i)a", "a(?=b)", r"(a)\1", "a{300}", "(?m)^a", "\x01", "("]
)
def test_other_regular_expressions_are_left_to_python(pattern):
    assert portable_regex(pattern, end="END") is None


def test_patterns_of_like_say_the_same_with_another_escape():
    assert like_pattern("10!%_#%#_", "#") == "10!!%_!%!_"
    assert like_pattern("50%#", "#") == "50%#"
    assert like_regex("_%", None) == r"(?s:..*)\Z"


def test_a_thousand_truths_are_not_a_thousand_deep():
    from millrace.validation.expression import any_of

    truths = [compare("gt", column("whole"), literal(number)) for number in range(5000)]
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE orders (whole INTEGER)")
    connection.execute("INSERT INTO orders VALUES (4998)")
    ((text, values),) = asked_of(SQLITE, count_if(any_of(*truths)), count_if(all_of(*truths)))

    assert connection.execute(text, values).fetchall() == [(1, 0)]
    connection.close()


def test_half_a_surrogate_pair_equals_nothing_and_is_never_sent():
    broken = "\ud800"
    ((_, values),) = asked_of(POSTGRES, count_if(is_in(column("text"), [broken, "a"])))

    assert values == ("a",)
    with pytest.raises(CannotCheck, match="no Unicode text"):
        asked_of(POSTGRES, count_if(compare("eq", column("text"), literal(broken))))
    database = Recorder([["a"]], [[0]])
    batch(database).compute({None: [count_if(like(column("text"), broken))]})
    assert "DISTINCT" in database.asked[0][0]
    assert database.asked[1][1] == ()


def test_a_time_beyond_what_python_holds_is_told():
    latest = figure("max", column("at"))

    with pytest.raises(CannotCheck, match="years 1 to 9999"):
        batch(Recorder([[10**18]])).compute({None: [latest]})


def test_a_test_that_breaks_is_told_with_its_value():
    broken = Predicate(("broken",), lambda text: int(text) > 1)

    with pytest.raises(CannotCheck, match="'x' cannot be tested"):
        batch(Recorder([["2"], ["x"]])).compute({None: [count_if(holds(column("text"), broken))]})
