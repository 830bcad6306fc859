"""Errors that say what, where, why and how to fix.

    MillraceError
    ├── ProjectError     the definitions file or millrace.toml is wrong            exit 2
    ├── DataError        the data cannot be read or is not what was declared       exit 2
    ├── StoreError       durable state cannot be read or written, or is damaged    exit 4
    ├── ModelError       a model cannot be fitted, packaged, loaded or asked       exit 2
    ├── Conflict         somebody else decided first or holds the lease            exit 3
    ├── ServiceError     a server or vendor did not answer as agreed               exit 5
    └── MissingExtra     an optional package is not installed                      exit 2

A refusal by a gate or a validation is not an error: it is a `Verdict`, and a command that prints one exits 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any


class MillraceError(Exception):
    """Base of all errors. `code` is stable and documented in docs/errors.md.

    Parameters
    ----------
    code : str
        Short stable code such as ``DATA-02``.
    what : str
        One line: what happened, with the values.
    where, why, fix : str, optional
        The place, the cause, and the command or edit that mends it.
    findings : sequence of MillraceError
        Every problem found in the same input; the text lists them all.
    """

    exit_code = 2

    def __init__(
        self,
        code: str,
        what: str,
        *,
        where: str | None = None,
        why: str | None = None,
        fix: str | None = None,
        findings: Sequence[MillraceError] = (),
    ) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.where = where
        self.why = why
        self.fix = fix
        self.findings = tuple(findings)

    def to_dict(self) -> dict[str, Any]:
        """The error as a JSON-ready mapping, the same facts as the text."""
        facts: dict[str, Any] = {"code": self.code, "what": self.what}
        for name in ("where", "why", "fix"):
            value = getattr(self, name)
            if value is not None:
                facts[name] = value
        if self.findings:
            facts["findings"] = [finding.to_dict() for finding in self.findings]
        return facts

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> MillraceError:
        """The error that `to_dict` described, as one of this class."""
        return _rebuild(cls, facts)

    def render(self, *, color: bool = False) -> str:
        """The error as the text a terminal shows."""
        bold, dim, off = ("\x1b[1;31m", "\x1b[2m", "\x1b[0m") if color else ("", "", "")
        lines = [f"{bold}{self.code}{off}  {self.what}"]
        for name in ("where", "why", "fix"):
            value = getattr(self, name)
            if value is not None:
                first, *rest = str(value).splitlines() or [""]
                lines.append(f"  {dim}{name:<6}{off} {first}")
                lines.extend(f"         {line}" for line in rest)
        for finding in self.findings:
            lines.extend(f"  {line}" for line in finding.render(color=color).splitlines())
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.render()

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process borders (a worker reports to its coordinator) with every field.
        return (_rebuild, (type(self), self.to_dict()))


def _rebuild(kind: type[MillraceError], facts: dict[str, Any]) -> MillraceError:
    findings = [_rebuild(MillraceError, finding) for finding in facts.get("findings", ())]
    return kind(
        facts["code"],
        facts["what"],
        where=facts.get("where"),
        why=facts.get("why"),
        fix=facts.get("fix"),
        findings=findings,
    )


class ProjectError(MillraceError):
    """The definitions file or millrace.toml is wrong."""


class DataError(MillraceError):
    """The data cannot be read or is not what was declared."""


class StoreError(MillraceError):
    """Durable state cannot be read or written, or is damaged."""

    exit_code = 4


class ModelError(MillraceError):
    """A model cannot be fitted, packaged, loaded or asked."""


class Conflict(MillraceError):
    """Somebody else decided first, or holds the lease."""

    exit_code = 3


class ServiceError(MillraceError):
    """A server or vendor did not answer as agreed."""

    exit_code = 5


class MissingExtra(MillraceError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            "EXTRA-01",
            f"{purpose} needs the package '{package}', which is not installed",
            fix=f"pip install 'millrace[{extra}]'",
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (MillraceError, self.to_dict()))


_MOST_NAMES = 20


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """The allowed name closest to `name`, or None when nothing is close."""
    options = list(allowed)
    lowered = {option.lower(): option for option in options}
    if name.lower() in lowered:
        return lowered[name.lower()]
    found = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.6)
    return lowered[found[0]] if found else None


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """A fix line: the nearest allowed name, else all of them, or the first of many."""
    options = sorted(allowed)
    close = nearest(name, options)
    if close is not None:
        return f"did you mean '{close}'?"
    more = f" and {len(options) - _MOST_NAMES} more" if len(options) > _MOST_NAMES else ""
    return f"one of: {', '.join(options[:_MOST_NAMES])}{more}" if options else "nothing is defined here"
