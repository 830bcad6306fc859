"""Millrace: the whole life of a production model from one project.

    >>> import millrace as mr

The public names below are imported on first use; importing the package does no work.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_FEATURES = "millrace.features.aggregation"
_NAMES = {
    # where rows come from, and what is learned from them
    "Source": "millrace.data.source",
    "PushSource": "millrace.data.source",
    "Labels": "millrace.data.source",
    "Incidents": "millrace.validation.incidents.limits",
    "Entity": "millrace.features.entity",
    "Field": "millrace.features.field",
    "FeatureView": "millrace.features.view",
    "FeatureService": "millrace.features.service",
    "on_demand": "millrace.features.on_demand",
    "col": "millrace.features.expression",
    "last": _FEATURES,
    "first": _FEATURES,
    "lag": _FEATURES,
    "last_k": _FEATURES,
    "mean": _FEATURES,
    "sum": _FEATURES,
    "min": _FEATURES,
    "max": _FEATURES,
    "std": _FEATURES,
    "count": _FEATURES,
    "count_distinct": _FEATURES,
    "days_since_last": _FEATURES,
    "days_since_first": _FEATURES,
    "lifetime_days": _FEATURES,
    "ratio": _FEATURES,
    "model": "millrace.flow.model",
    "Model": "millrace.flow.model",
    # what a candidate must pass
    "Threshold": "millrace.gates.threshold",
    "NoRegression": "millrace.gates.no_regression",
    "BeatsBaseline": "millrace.gates.beats_baseline",
    "Latency": "millrace.gates.latency",
    "Robustness": "millrace.gates.robustness",
    # how it reaches production, and when it is trained again
    "Direct": "millrace.deployment.direct",
    "OnDegradation": "millrace.monitoring.definitions",
    "OnDrift": "millrace.monitoring.definitions",
    "Every": "millrace.monitoring.definitions",
    # pipelines of one's own
    "Step": "millrace.flow.pipeline",
    "Pipeline": "millrace.flow.pipeline",
    "Refused": "millrace.core.refusal",
    "Project": "millrace.flow.project",
    "load_project": "millrace.flow.project",
    "Runner": "millrace.flow.runner",
    # the same parts alone, in a notebook
    "Suite": "millrace.validation.suite",
    "Expectation": "millrace.validation.suite",
    "DataValidator": "millrace.validation.validator",
    "ServingData": "millrace.validation.rows.serving_data",
    "RowChecker": "millrace.validation.rows.checker",
    "StreamValidator": "millrace.validation.rows.stream",
    "DriftDetector": "millrace.drift.detector",
    "ReferenceProfile": "millrace.drift.profile",
    "ModelValidator": "millrace.gates.validator",
    "FeatureStore": "millrace.features.store",
    "open_features": "millrace.flow.wiring",
    "features_of": "millrace.flow.wiring",
    "Verdict": "millrace.core.verdict",
    "MillraceError": "millrace.core.errors",
}

__all__ = ["__version__", *sorted(_NAMES)]


def __getattr__(name: str) -> Any:
    module = _NAMES.get(name)
    if not module:
        raise AttributeError(f"module 'millrace' has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_NAMES])
