"""The smoke test: what was validated is what is served.

Golden requests recorded at validation are replayed on the live endpoint; every answer must be the recorded one.
"""

from __future__ import annotations

import errno
import json
import math
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from millrace.core.errors import MillraceError, ModelError
from millrace.core.verdict import Outcome, Verdict

RULE = "deploy.smoke"
TOLERANCE = 1e-6
_SILENT = "SERVE-32"  # the code of "the server does not answer"
_NO_WAY_THERE = {errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH}
SMALLEST = 1e-9  # below this a difference of two probabilities is noise, however large the ratio


@dataclass(frozen=True, slots=True)
class Golden:
    """Requests and the answers they had at validation.

    `requests` are ``{"inputs": {column: value}}``; `answers` are ``{"output": value, "scores": [number]}``.
    """

    requests: Sequence[Mapping[str, Any]]
    answers: Sequence[Mapping[str, Any]]

    def to_json(self) -> bytes:
        facts = {"requests": list(self.requests), "answers": list(self.answers)}
        return json.dumps(facts, allow_nan=False, sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Golden:
        """Read what `to_json` wrote.

        Raises
        ------
        ModelError
            DEPLOY-06 when it holds no rows, or not an answer for each request.
        """
        facts = json.loads(data)
        requests, answers = facts["requests"], facts["answers"]
        if not requests or len(requests) != len(answers):
            raise ModelError(
                "DEPLOY-06",
                f"the golden rows hold {len(requests)} requests and {len(answers)} answers",
                why="a smoke test without rows, or with unanswered ones, proves nothing",
                fix="validate the model again: `millrace run --from validate_model`",
            )
        return cls(requests, answers)


def replay_golden(
    post: Callable[[dict[str, Any]], Mapping[str, Any]],
    golden: Golden,
    *,
    version: int,
    digest: str,
    tolerance: float = TOLERANCE,
    timer: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Evidence for `judge_smoke`: each golden request asked once, one at a time.

    Parameters
    ----------
    post : callable
        Sends one request to the live endpoint; returns its answer with at least ``output``, ``scores``,
        ``version`` and ``digest``. What it raises is recorded as that row's error, with ``answered``
        false when no answer came at all: ServiceError SERVE-32, or an exception of the connection.
    version, digest
        What the endpoint should answer with.
    tolerance : float
        Largest relative difference of a score.
    timer : callable
        Seconds, for the latency of each call.
    """
    rows = []
    for request, expected in zip(golden.requests, golden.answers, strict=True):
        started = timer()
        answer, error, answered = _ask(post, request)
        rows.append(
            {
                "expected_output": expected["output"],
                "expected_scores": list(expected.get("scores", ())),
                "output": _json_ready(answer.get("output")),
                "scores": [_json_ready(score) for score in answer.get("scores") or ()],
                "version": answer.get("version"),
                "digest": answer.get("digest"),
                "answered": answered,
                "error": error,
                "latency_ms": round((timer() - started) * 1000, 3),
            }
        )
    return {
        "acknowledged": True,
        "expected_version": version,
        "expected_digest": digest,
        "tolerance": tolerance,
        "smallest": SMALLEST,
        "rows": rows,
    }


def silent_endpoint(*, version: int, digest: str, waited_s: float) -> dict[str, Any]:
    """Evidence for `judge_smoke` when the endpoint did not acknowledge the digest within `waited_s`."""
    return {
        "acknowledged": False,
        "expected_version": version,
        "expected_digest": digest,
        "waited_s": waited_s,
        "rows": [],
    }


def judge_smoke(evidence: Mapping[str, Any]) -> Verdict:
    """Pass when every row was answered by the expected bundle with the recorded output and scores.

    Fail on any wrong or foreign answer, an error that the server answered with included. Inconclusive when all that
    came was right but some answers did not come, or the endpoint never acknowledged the bundle: a server that is down
    says nothing about the model. Rows recorded before ``answered`` was count as answered.
    """
    rows = evidence["rows"]
    if not evidence["acknowledged"]:
        text = f"the endpoint did not acknowledge the bundle within {evidence['waited_s']:g} s"
        return Verdict(RULE, "inconclusive", text, evidence)
    if not rows:
        return Verdict(RULE, "inconclusive", "there are no golden rows to replay", evidence)
    answered = [(number, row) for number, row in enumerate(rows, start=1) if row.get("answered", True)]
    problems = [(number, _problem(row, evidence)) for number, row in answered]
    wrong = [(number, problem) for number, problem in problems if problem is not None]
    if len(answered) < len(rows) and not wrong:
        number, row = next((number, row) for number, row in enumerate(rows, start=1) if not row.get("answered", True))
        text = f"{len(rows) - len(answered)} of {len(rows)} golden rows got no answer; row {number}: {row['error']}"
        return Verdict(RULE, "inconclusive", text, evidence)
    latencies = sorted(row["latency_ms"] for row in rows)
    timing = f"median {latencies[len(latencies) // 2]:.1f} ms, slowest {latencies[-1]:.1f} ms"
    outcome: Outcome = "fail" if wrong else "pass"
    if wrong:
        text = f"{len(wrong)} of {len(rows)} golden rows differ; row {wrong[0][0]}: {wrong[0][1]}"
    else:
        text = f"all {len(rows)} golden rows answered as validated ({timing})"
    return Verdict(RULE, outcome, text, evidence)


def _ask(
    post: Callable[[dict[str, Any]], Mapping[str, Any]], request: Mapping[str, Any]
) -> tuple[Mapping[str, Any], str | None, bool]:
    """The answer, the error, and whether an answer came."""
    try:
        return post(dict(request)), None, True
    except MillraceError as error:
        return {}, f"{error.code} {error.what}", error.code != _SILENT
    except Exception as error:  # noqa: BLE001 - an endpoint may fail in any way; the failure is the evidence
        return {}, f"{type(error).__name__}: {error}", not _is_silence(error)


def _is_silence(error: Exception) -> bool:
    if isinstance(error, (ConnectionError, TimeoutError, socket.gaierror)):
        return True
    return isinstance(error, OSError) and error.errno in _NO_WAY_THERE


def _problem(row: Mapping[str, Any], evidence: Mapping[str, Any]) -> str | None:
    if row["error"] is not None:
        return str(row["error"])
    for name in ("version", "digest"):
        if row[name] != evidence[f"expected_{name}"]:
            return f"answered by {name} {row[name]}, not {evidence[f'expected_{name}']}"
    if not _equal(row["output"], row["expected_output"], evidence):
        return f"output {row['output']!r} instead of {row['expected_output']!r}"
    scores, expected = row["scores"], row["expected_scores"]
    if len(scores) != len(expected):
        return f"{len(scores)} scores instead of {len(expected)}"
    for score, wanted in zip(scores, expected, strict=True):
        if not _equal(score, wanted, evidence):
            return f"score {score!r} instead of {wanted!r}"
    return None


def _equal(value: Any, wanted: Any, evidence: Mapping[str, Any]) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, (int, float)) and isinstance(wanted, float):
        return math.isclose(value, wanted, rel_tol=evidence["tolerance"], abs_tol=evidence["smallest"])
    return bool(value == wanted)


def _json_ready(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
