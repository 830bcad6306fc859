"""Values as JSON can hold them. Standard library only."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any


def json_ready(value: Any) -> Any:
    """`value` as JSON can hold it: NaN is None, an infinity and a time are text, a decimal is a number."""
    if isinstance(value, Decimal):
        return json_ready(float(value))
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
