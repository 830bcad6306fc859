"""`millrace features verify|audit`: is what is served what the past says?"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from millrace.cli.options import a_time, command, open_wiring
from millrace.cli.output import outcome, print_json, print_table, progress

_VERIFY_EPILOG = (
    "A row that came late to the log, after its time was materialized, shows up as a difference: "
    "`millrace features materialize --start TIME` brings it online. Exit code 1 on any difference, and when there was "
    "nothing to compare."
)
_AUDIT_EPILOG = (
    "Stale values were known but not online yet when they were served; late ones were not known, and are no skew. "
    "Exit code 1 when the share of differing values of a feature is above the limit. Without --env the predictions of "
    "production are compared."
)


def add_checks(verbs: Any) -> None:
    """The grammar of these commands, under `millrace features`."""
    verify = command(verbs, "verify", "compare the online store with the log, bit for bit", run_verify)
    verify.epilog = _VERIFY_EPILOG
    verify.add_argument("view", nargs="*", help="only these views, features or services (default: all views)")
    verify.add_argument("--keys", type=int, default=1000, metavar="N", help="keys of each view (default: 1000)")
    verify.add_argument(
        "--seed", type=int, default=0, metavar="N", help="which keys: same seed, same keys (default: 0)"
    )
    verify.add_argument("--at", type=a_time, metavar="TIME", help="as of this time (default: the last materialization)")
    audit = command(verbs, "audit", "compare what was served in predictions with what was known then", run_audit)
    audit.epilog = _AUDIT_EPILOG
    audit.add_argument("model", help="MODEL for all of its versions, MODEL:VERSION or MODEL@ALIAS for one")
    audit.add_argument("--since", type=a_time, metavar="TIME", help="predictions about moments from here on")
    audit.add_argument("--until", type=a_time, metavar="TIME", help="predictions about moments before this")
    audit.add_argument(
        "--sample", type=int, default=100_000, metavar="N", help="at most so many predictions (default: 100000)"
    )
    audit.add_argument("--seed", type=int, default=0, metavar="N", help="which predictions are drawn (default: 0)")
    audit.add_argument(
        "--limit",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of a feature's values that may differ (default: 0)",
    )


def run_verify(options: argparse.Namespace) -> int:
    """Print the comparison."""
    from millrace.flow.feature_verification import verify_features

    wiring = open_wiring(options)
    try:
        report = verify_features(
            wiring,
            options.view,
            keys=options.keys,
            at=options.at,
            seed=options.seed,
            progress=progress("verify", "values"),
        ).to_dict()
    finally:
        wiring.close()
    if options.json:
        print_json(report)
    else:
        _print_verification(report)
    return 0 if report["outcome"] == "same" else 1


def run_audit(options: argparse.Namespace) -> int:
    """Print the skew report."""
    from millrace.flow.feature_audit import audit_model

    wiring = open_wiring(options)
    try:
        report = audit_model(
            wiring,
            options.model,
            since=options.since,
            until=options.until,
            sample=options.sample,
            seed=options.seed,
            limit=options.limit,
            environment=options.env or "production",
            progress=progress("audit", "versions"),
        ).to_dict()
    finally:
        wiring.close()
    if options.json:
        print_json(report)
    else:
        _print_audit(report)
    return 1 if report["outcome"] == "different" else 0


def _print_verification(report: Mapping[str, Any]) -> None:
    for view in report["views"]:
        if view["at"] is None:
            print(f"{view['view']}: nothing was materialized, nothing is compared: millrace features materialize")
        else:
            print(f"{view['view']}: {view['keys']:,} keys as of {view['at']}")
    rows = [one for view in report["views"] if view["at"] for one in view["features"]]
    if rows:
        print_table(rows, ["feature", "compared", "equal", "different", "trimmed"])
    for one in rows:
        _print_examples(one, ("offline", "online", "status"))
    if any(one["trimmed"] for one in rows):
        print("trimmed: the online store keeps too little of the past for that moment; these are not compared")
    print(f"{outcome(report['outcome'])}: {report['different']:,} of {report['compared']:,} values differ")


def _print_audit(report: Mapping[str, Any]) -> None:
    rows = [
        {
            **one,
            "differ": f"{one['different']:,} ({one['share']:.2%})",
            "largest": one["largest_absolute"],
            "largest %": None if one["largest_relative"] is None else f"{one['largest_relative']:.2%}",
        }
        for one in report["features"]
    ]
    print_table(rows, ["feature", "compared", "equal", "late", "differ", "stale", "largest", "largest %", "supplied"])
    for one in rows:
        _print_examples(one, ("served", "known", "request_id", "event_time"))
    for feature, why in report["not_audited"].items():
        print(f"not audited: {feature}: {why}")
    for note in report["notes"]:
        print(f"note: {note}")
    print(f"{outcome(report['outcome'])}: {report['compared']:,} values of {report['predictions']:,} predictions")


def _print_examples(check: Mapping[str, Any], facts: Sequence[str]) -> None:
    for example in check["examples"]:
        said = ", ".join(f"{fact} {json.dumps(example[fact], ensure_ascii=False)}" for fact in facts)
        stale = ", not online yet" if example.get("is_stale") else ""
        print(f"  {check['feature']} of {json.dumps(example['key'], ensure_ascii=False)}: {said}{stale}")
