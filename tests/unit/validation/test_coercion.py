"""Only what loses nothing is coerced."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from millrace.validation.rows.coercion import NOT_COERCED, coerce

NO = NOT_COERCED


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("25", "int", 25),
        (" -7 ", "int", -7),
        (25.0, "int", 25),
        (Decimal("25"), "int", 25),
        (float("nan"), "int", None),
        (None, "int", None),
        ("25.0", "int", NO),
        ("25 years", "int", NO),
        ("1_000", "int", NO),
        ("٢٥", "int", NO),
        ("", "int", NO),
        (25.5, "int", NO),
        (float(2**60), "int", NO),
        (float("inf"), "int", NO),
        (True, "int", NO),
        ("9" * 41, "int", NO),
        ("2.5", "float", 2.5),
        ("5e4", "float", 50000.0),
        (".5", "float", 0.5),
        (7, "float", 7),
        (Decimal("0.5"), "float", 0.5),
        (Decimal("0.12345678901234567890"), "float", NO),
        ("1,5", "float", NO),
        ("nan", "float", NO),
        ("inf", "float", NO),
        ("1e999", "float", NO),
        (True, "float", NO),
        ("25", "number", 25),
        ("25.5", "number", 25.5),
        ("true", "bool", True),
        ("FALSE", "bool", False),
        (1, "bool", True),
        (0.0, "bool", False),
        ("yes", "bool", NO),
        (2, "bool", NO),
        ("2024-05-01T12:00:00Z", "time", datetime(2024, 5, 1, 12, tzinfo=UTC)),
        (date(2024, 5, 1), "time", datetime(2024, 5, 1)),  # noqa: DTZ001
        ("01.05.2024", "time", NO),
        (1714521600, "time", NO),
        ("2024-05-01", "date", date(2024, 5, 1)),
        (datetime(2024, 5, 1), "date", date(2024, 5, 1)),  # noqa: DTZ001
        ("2024-05-01T12:00:00", "date", NO),
        ("2024-05-01T00:00:00Z", "date", NO),
        ("text", "text", "text"),
        (1234, "text", NO),
    ],
)
def test_values_are_coerced_or_left(value, kind, expected):
    found = coerce(value, kind)
    assert found is NO if expected is NO else (found, type(found)) == (expected, type(expected))
