"""The room's decisions by rule name: each recomputes a verdict from its recorded evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from millrace.core.verdict import Verdict
from millrace.deployment import smoke

DECISIONS: dict[str, Callable[[Mapping[str, Any]], Verdict]] = {smoke.RULE: smoke.judge_smoke}
