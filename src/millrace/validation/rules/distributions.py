"""The rule on a distribution: how far a column's shares are from those expected, as relative entropy.

The divergence of Kullback and Leibler, sum of p log(p / q) in nats, over both distributions scaled to 1, and every
detail as in GX 1.24 (class ExpectColumnKLDivergenceToBeLessThan).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from millrace.validation.batch import Batch, CannotCheck, as_moment
from millrace.validation.check import Check, Finding, Values
from millrace.validation.expression import (
    Expr,
    all_of,
    compare,
    count_if,
    is_present,
    levels,
    literal,
    quantile,
)

Kwargs = Mapping[str, Any]
_MOST_BINS = 10_000
_FLAT = 1e-10  # a middle half narrower than this is none


def kl_divergence(batch: Batch, kwargs: Kwargs) -> Check:
    """Compile the rule for a categorical partition (values, weights), a continuous one (bins, weights) or none.

    Raises
    ------
    CannotCheck
        For a partition or a holdout that GX refuses too, and for a column the partition does not fit.
    """
    partition = kwargs.get("partition_object")
    is_bucketed = kwargs.get("bucketize_data", True)
    if partition is None:
        return _against_own_bins(batch, kwargs) if is_bucketed else _against_levels(batch, kwargs, None)
    if _is_categorical(partition):
        return _against_levels(batch, kwargs, partition)
    _check_continuous(partition)
    if not is_bucketed:
        raise CannotCheck("bucketize_data=False does not go with a partition_object of bins")
    _check_holdouts(kwargs, partition)
    return _against_bins(batch, kwargs, partition)


def _against_levels(batch: Batch, kwargs: Kwargs, partition: Mapping[str, Any] | None) -> Check:
    if kwargs.get("internal_weight_holdout"):
        raise CannotCheck("internal_weight_holdout does not go with a partition_object of values")
    _check_holdouts(kwargs, partition or {})
    if partition is not None and len(set(map(_key, partition["values"]))) < len(partition["values"]):
        raise CannotCheck("partition_object names a value twice")
    column = kwargs["column"]
    if batch.kind(column) in ("mixed", "other"):
        raise CannotCheck(f"unsupported: {batch.describe(column)}, whose values are no levels of one kind")
    values = batch.values(column)
    counted, present = levels(values), count_if(is_present(values))
    is_time = batch.kind(column) in ("time", "date")

    def finish(found: Values) -> Finding:
        counts = {_key(value, is_time=is_time): (value, count) for value, count in found[counted] or ()}
        total = found[present]
        if partition is None and not total:
            raise CannotCheck(f"the column '{column}' has no value to compare with itself")
        weights = dict(zip(partition["values"], partition["weights"], strict=True)) if partition else None
        if weights is None:
            ordered = sorted((value for value, _ in counts.values()), key=_order)
            weights = {value: counts[_key(value, is_time=is_time)][1] / total for value in ordered}
        expected = {_key(value, is_time=is_time): (value, weight) for value, weight in weights.items()}
        others = sorted((value for key, (value, _) in counts.items() if key not in expected), key=_order)
        return _judged_levels(kwargs, expected, others, {key: count / total for key, (_, count) in counts.items()})

    return Check(finish, (counted, present))


def _judged_levels(
    kwargs: Kwargs, expected: Mapping[Any, tuple[Any, float]], others: Sequence[Any], shares: Mapping[Any, float]
) -> Finding:
    # A level that is not expected gets its part of the holdout, taken evenly from those that are.
    holdout = kwargs.get("tail_weight_holdout") or 0
    keep = 1 - holdout if others else 1
    names = [value for value, _ in expected.values()] + list(others)
    observed = [shares.get(key, 0.0) for key in expected] + [shares[_key(v, is_time=_is_time(v))] for v in others]
    wanted = [weight * keep for _, weight in expected.values()] + [holdout / len(others) for _ in others]
    details = {
        "observed_partition": {"values": names, "weights": observed},
        "expected_partition": {"values": names, "weights": wanted},
    }
    return _judged(kwargs, observed, wanted, details)


def _against_bins(batch: Batch, kwargs: Kwargs, partition: Mapping[str, Any]) -> Check:
    figures = _bin_figures(batch, kwargs["column"], partition["bins"])
    return Check(
        lambda found: _judged_bins(kwargs, partition, [found[figure] for figure in figures]),
        figures,
    )


def _against_own_bins(batch: Batch, kwargs: Kwargs) -> Check:
    """Bins as numpy's "auto" sets them, from a first pass; the column is compared with itself (GX, for profiling)."""
    column = kwargs["column"]
    values = batch.numbers(column, "a partition of its own")
    present = count_if(is_present(values))
    quarters = [(quantile(values, share, "lower"), quantile(values, share, "higher")) for share in (0, 0.25, 0.75, 1)]

    def bins_of(found: Values) -> list[float]:
        if not found[present]:
            raise CannotCheck(f"the column '{column}' has no value to make bins of")
        count = found[present]
        low, lower, upper, high = (
            _nearest(float(found[below]), float(found[above]), share, count)
            for (below, above), share in zip(quarters, (0, 0.25, 0.75, 1), strict=True)
        )
        if not math.isfinite(high - low):
            raise CannotCheck(f"the column '{column}' has infinite values: bins need a partition_object")
        number = math.ceil(math.log2(count + 1))
        if upper - lower >= _FLAT:
            width = 2 * (upper - lower) / count ** (1 / 3)
            number = max(number, math.ceil((high - low) / width))
        if number > _MOST_BINS:
            raise CannotCheck(f"unsupported: {number:,} bins for the column '{column}'; give a partition_object")
        import numpy as np

        return [float(edge) for edge in np.linspace(low, high, number + 1)]

    def finish(found: Values) -> Finding:
        bins = bins_of(found)
        counts = [found[figure] for figure in _bin_figures(batch, column, bins)]
        shares = [count / counts[-1] for count in counts[1:-2]]
        tail = (1 - sum(shares)) / 2
        partition = {"bins": bins, "weights": shares, "tail_weights": [tail, tail]}
        _check_continuous(partition)
        _check_holdouts(kwargs, partition)
        return _judged_bins(kwargs, partition, counts)

    first = (present, *(figure for pair in quarters for figure in pair))
    return Check(finish, first, lambda found: _bin_figures(batch, column, bins_of(found)) if found[present] else ())


def _nearest(below: float, above: float, share: float, count: int) -> float:
    """Of two neighbours the one pandas calls nearest; at the very middle the even place."""
    place = share * (count - 1)
    part = place - math.floor(place)
    if part == 0.5:
        return below if math.floor(place) % 2 == 0 else above
    return below if part < 0.5 else above


def _bin_figures(batch: Batch, column: str, bins: Sequence[float]) -> list[Expr]:
    """Counts below the bins, in each, above them, and of all present values. The last bin holds its upper edge."""
    if batch.kind(column) not in ("number", "bool", "nothing"):
        raise CannotCheck(f"{batch.describe(column)}: bins need numbers")
    values = batch.numbers(column, "a distribution over bins")

    def is_(op: Any, edge: float) -> Expr:
        return compare(op, values, literal(edge))

    inner = [
        count_if(all_of(is_("ge", low), is_("le" if number == len(bins) - 2 else "lt", high)))
        for number, (low, high) in enumerate(pairwise(bins))
    ]
    return [count_if(is_("lt", bins[0])), *inner, count_if(is_("gt", bins[-1])), count_if(is_present(values))]


def _judged_bins(kwargs: Kwargs, partition: Mapping[str, Any], counts: Sequence[int]) -> Finding:
    below, *inner, above, present = counts
    # Over no value every share is 0 / 0: there is no divergence, and the rule fails.
    shares = [count / present if present else math.nan for count in (below, *inner, above)]
    observed, tails = shares[1:-1], [shares[0], shares[-1]]
    bins = list(partition["bins"])
    tail, inside = (kwargs.get(f"{name}_weight_holdout") or 0 for name in ("tail", "internal"))
    expected = [weight * (1 - tail - inside) for weight in partition["weights"]]
    zeros = expected.count(0)
    if inside > 0 and zeros:
        expected = [inside / zeros if weight == 0 else weight for weight in expected]
    open_left, open_right = bins[0] == -math.inf, bins[-1] == math.inf
    expected_tails = list(partition.get("tail_weights") or (tail / 2, tail / 2))
    if open_left or open_right:
        # An open bin is itself the tail on its side; the other side alone gets the holdout.
        expected_tails = [expected[0] if open_left else tail, expected[-1] if open_right else tail]
        tails = [observed[0] if open_left else tails[0], observed[-1] if open_right else tails[1]]
        inner_part = slice(1 if open_left else 0, len(expected) - 1 if open_right else len(expected))
        observed, expected = observed[inner_part], expected[inner_part]
        bins = bins[1 if open_left else 0 : len(bins) - 1 if open_right else len(bins)]
    details = {
        "observed_partition": {"bins": bins, "weights": observed, "tail_weights": tails},
        "expected_partition": {"bins": bins, "weights": expected, "tail_weights": expected_tails},
    }
    return _judged(kwargs, [tails[0], *observed, tails[1]], [expected_tails[0], *expected, expected_tails[1]], details)


def _judged(kwargs: Kwargs, observed: Sequence[float], expected: Sequence[float], details: Any) -> Finding:
    divergence = relative_entropy(observed, expected)
    threshold = kwargs.get("threshold")
    # Without a threshold the rule demands nothing: it shows the distribution, as in GX.
    success = threshold is None or divergence <= threshold
    return Finding(
        bool(success), {"observed_value": divergence if math.isfinite(divergence) else None, "details": details}
    )


def relative_entropy(observed: Sequence[float], expected: Sequence[float]) -> float:
    """sum p log(p / q) in nats, over weights that need not add up to 1; infinite, or NaN where there are none.

    >>> relative_entropy([1, 1], [3, 3])
    0.0
    """
    import numpy as np
    from scipy.special import rel_entr

    p, q = np.asarray(observed, dtype=float), np.asarray(expected, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.sum(rel_entr(p / np.sum(p), q / np.sum(q))))


def _is_categorical(partition: Any) -> bool:
    if not isinstance(partition, Mapping) or not {"weights", "values"} <= set(partition):
        return False
    weights = partition["weights"]
    return len(partition["values"]) == len(weights) and _is_whole(weights)


def _is_whole(weights: Sequence[Any]) -> bool:
    """Whether shares add up to 1, as nearly as NumPy's `isclose` asks."""
    return bool(abs(math.fsum(weights) - 1) <= 1e-8 + 1e-5)


def _check_continuous(partition: Any) -> None:
    wrong = CannotCheck(
        "partition_object is no distribution: it needs 'weights' that add up to 1 with as many 'values', "
        "or with rising 'bins', one more than weights"
    )
    if not isinstance(partition, Mapping) or not {"weights", "bins"} <= set(partition):
        raise wrong
    bins, weights = list(partition["bins"]), list(partition["weights"])
    tails = list(partition.get("tail_weights") or ())
    numbers = [*bins, *weights, *tails]
    if not all(isinstance(number, (int, float)) and number == number for number in numbers):
        raise wrong
    is_rising = all(low < high for low, high in pairwise(bins))
    is_whole = _is_whole([*weights, *tails])
    if len(bins) != len(weights) + 1 or len(tails) not in (0, 2) or not is_rising or not is_whole:
        raise wrong


def _check_holdouts(kwargs: Kwargs, partition: Mapping[str, Any]) -> None:
    threshold = kwargs.get("threshold")
    if threshold is not None and threshold < 0:
        raise CannotCheck(f"threshold={threshold!r} is less than 0, which no divergence is")
    tail = kwargs.get("tail_weight_holdout") or 0
    if "tail_weights" in partition and tail:
        raise CannotCheck("tail_weight_holdout does not go with tail_weights in the partition_object")
    bins = partition.get("bins") or (0, 0)
    open_ends = (bins[0] == -math.inf) + (bins[-1] == math.inf)
    if open_ends == 2 and tail:
        raise CannotCheck("tail_weight_holdout does not go with bins that are open on both sides")
    if open_ends and "tail_weights" in partition:
        raise CannotCheck("tail_weights do not go with bins that are open")


def _key(value: Any, *, is_time: bool = False) -> Any:
    """Equal for values that are the same level: 1 and 1.0; a time and its text."""
    if is_time or _is_time(value):
        return as_moment(value) or value
    return value


def _is_time(value: Any) -> bool:
    return hasattr(value, "isoformat")


def _order(value: Any) -> tuple[str, Any]:
    return (type(value).__name__ if isinstance(value, str) else "", value)


DISTRIBUTION_RULES: dict[str, Callable[[Batch, Kwargs], Check]] = {
    "expect_column_kl_divergence_to_be_less_than": kl_divergence,
}
