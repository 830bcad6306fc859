"""Writes the generated pages of this folder: cli.md from the command line's grammar, errors.md from the source.

Run by `make docs`; tests/docs fails when a page is not what this file would write.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parent
SOURCE = DOCS.parent / "src" / "millrace"

CODE = re.compile(r"[A-Z]+-\d\d")
NEAREST = "The message names the nearest allowed name."

PREFIXES = {
    "BLOB": "Files stored by their digest",
    "DATA": "Reading and splitting data",
    "DEMO": "The demonstration",
    "DEPLOY": "Releases and rollback",
    "DRIFT": "Comparing distributions",
    "EXTRA": "Optional packages",
    "FEAST": "Feast repositories",
    "FEAT": "The feature store",
    "GATE": "Gates",
    "LEASE": "One process at a time",
    "LEDGER": "The record",
    "MON": "Monitoring and triggers",
    "PIPE": "Pipelines and their steps",
    "PROJ": "The project: millrace.toml and the definitions",
    "REG": "Versions, aliases and their mirror",
    "RUN": "Runs",
    "SERVE": "The prediction server",
    "STORE": "The disk and the database",
    "TRAIN": "Fitting, scoring and packaging",
    "VALID": "Suites",
}

# For errors whose text is made while the program runs.
MEANINGS = {
    "DATA-01": "There is no such file or folder.",
    "DEPLOY-04": "Production cannot go back to that version; the message says why.",
    "PROJ-30": "The engine does not run that expectation, or that argument of it.",
    "PROJ-32": "A rule can be checked, but is probably not what is meant; the message says what is.",
    "RUN-20": "The first model of a replay did not reach production.",
    "SERVE-05": "A released bundle could not be loaded. The server goes on with the one before.",
    "SERVE-10": "The request has problems; all of them are listed, the first with its place.",
    "SERVE-13": "A value is not of the type that the model's column has.",
    "VALID-04": "No suite is named for that file or source.",
    "VALID-40": "A row breaks a rule on data; the message says which, and what its value is.",
    "VALID-42": "A value was sent in another form than its column has, and has no equal of that form.",
    "VALID-45": "The rules named for requests cannot be asked of a request; each is listed with the reason.",
    "TRAIN-11": "The model has no form in one of the formats; the next format is tried, and the reason is kept.",
}
FIXES = {
    "DATA-01": "Correct the path; the message names the nearest file.",
    "DATA-02": NEAREST,
    "SERVE-01": "Pass another `--port`, or stop the process that has it.",
    "SERVE-10": "Mend every line that is listed; nothing was predicted.",
    "SERVE-21": "Send what the message asks for.",
    "SERVE-31": "See the server's log.",
}
PARTS = "Mend each of the findings listed below it."

ERRORS_INTRO = """\
# Errors

Every error has a code that does not change, and says what happened, where, why and how to mend it. `--json` prints
the same facts as one object. All mistakes of one input are shown at once, as findings of one error.

The exit code of a command follows from the kind of error:

| exit code | kind | meaning |
|---|---|---|
| 0 | | done |
| 1 | | a verdict said no: a result, not an error; a run that fails exits as its error does |
| 2 | `ProjectError`, `DataError`, `ModelError`, `MissingExtra` | what you gave is wrong; mend it and run again |
| 3 | `Conflict` | somebody else decided first or holds the lease; nothing was written |
| 4 | `StoreError` | durable state cannot be read or written, or is damaged |
| 5 | `ServiceError` | a server or vendor did not answer as agreed |
| 70 | | a defect of Millrace: please report it |
| 130 | | you stopped it; `millrace run` goes on from the last finished step |

In the tables `…` stands for a value of your own. A code that has several lines is one kind of mistake seen in several
places. This page is written by `make docs` from the source.
"""

CLI_INTRO = """\
# Commands

One noun or one verb each. `millrace COMMAND --help` prints the same. This page is written by `make docs` from the
program's grammar.

Every command that prints takes `--json` and then prints one JSON object or list on standard output; progress and
errors go to standard error. Exit codes: 0 done, 1 a verdict said no or a run failed, 2 wrong input, 3 somebody else was
first, 4 durable state is damaged or full, 5 a server or vendor did not answer, 70 a defect of Millrace.
"""


@dataclass(frozen=True, order=True)
class Finding:
    """One place in the source that makes an error. Empty texts are unknown until the program runs."""

    code: str
    meaning: str
    fix: str
    kind: str


def find_errors(source: Path = SOURCE) -> list[Finding]:
    """Every error the package can raise: each call whose first text is a code, in the order of the codes."""
    found = []
    for path in sorted(source.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for call, scope in _calls(tree, None):
            place = next((i for i, part in enumerate(call.args) if _is_code(part)), None)
            if place is not None:
                found.append(_finding(call, place, scope))
    return sorted(set(found))


def errors_page() -> str:
    """The text of errors.md."""
    by_prefix: dict[str, dict[str, list[Finding]]] = defaultdict(lambda: defaultdict(list))
    for finding in find_errors():
        by_prefix[finding.code.partition("-")[0]][finding.code].append(finding)
    lines = [ERRORS_INTRO]
    for prefix in sorted(by_prefix):
        if prefix not in PREFIXES:
            raise SystemExit(f"docs/generate.py: say in PREFIXES what the errors {prefix}-.. are about")
        lines += [
            f"## {prefix}: {PREFIXES[prefix]}\n",
            "| code | kind | what it means | how to fix it |",
            "|---|---|---|---|",
        ]
        for code, findings in sorted(by_prefix[prefix].items()):
            lines += _error_rows(code, findings)
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def cli_page() -> str:
    """The text of cli.md."""
    from millrace.cli.main import build_parser

    commands = list(walk_commands(build_parser()))
    lines = [CLI_INTRO, "| command | does |", "|---|---|"]
    lines += [f"| [`{name}`](#{name.replace(' ', '-')}) | {_cell(about)} |" for name, about, _ in commands]
    for name, about, parser in commands:
        lines += [f"\n## {name}\n", f"{about[0].upper()}{about[1:]}.\n", f"```\n{_usage(name, parser)}\n```\n"]
        lines += _argument_table(parser)
    return "\n".join(lines).rstrip() + "\n"


def walk_commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Each command that does something: its full name, its line of help, its parser."""
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        about = {choice.dest: choice.help or "" for choice in action._choices_actions}
        for name, sub in action.choices.items():
            if any(isinstance(part, argparse._SubParsersAction) for part in sub._actions):
                yield from walk_commands(sub)
            else:
                yield sub.prog, about.get(name, ""), sub


def _usage(name: str, parser: argparse.ArgumentParser) -> str:
    words = [name]
    for action in _arguments(parser):
        text = _spelling(action)
        is_needed = action.required if action.option_strings else action.nargs not in ("?", "*")
        words.append(text if is_needed else f"[{text}]")
    return " ".join(words)


def _argument_table(parser: argparse.ArgumentParser) -> list[str]:
    rows = [f"| `{_spelling(action)}` | {_cell(action.help or '')} |" for action in _arguments(parser)]
    return ["| argument | meaning |", "|---|---|", *rows] if rows else []


def _arguments(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    found = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    return sorted(found, key=lambda action: bool(action.option_strings))


def _spelling(action: argparse.Action) -> str:
    if action.choices is not None:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    else:
        value = str(action.metavar or (action.dest.upper() if action.option_strings else action.dest))
    if action.nargs in ("*", "+"):
        value += " ..."
    if not action.option_strings:
        return value
    option = action.option_strings[-1]
    return option if action.nargs == 0 else f"{option} {value}"


def _error_rows(code: str, findings: Iterable[Finding]) -> list[str]:
    kinds = sorted({finding.kind for finding in findings if finding.kind})
    texts: dict[str, list[str]] = defaultdict(list)
    for finding in findings:
        meaning = finding.meaning or MEANINGS.get(code, "")
        fix = finding.fix or FIXES.get(code, "")
        if meaning and fix not in texts[meaning]:
            texts[meaning].append(fix)
    if not texts:
        texts[MEANINGS.get(code, "")].append(FIXES.get(code, ""))
    rows = []
    for number, (meaning, fixes) in enumerate(texts.items()):
        fix = " Or: ".join(fix for fix in fixes if fix)
        first = f"`{code}`" if number == 0 else ""
        kind = ", ".join(f"`{kind}`" for kind in kinds) if number == 0 else ""
        rows.append(f"| {first} | {kind} | {_cell(meaning)} | {_cell(fix)} |")
    return rows


def _cell(text: str) -> str:
    return " ".join(text.replace("|", r"\|").replace("<", "&lt;").split())


def _calls(node: ast.AST, scope: ast.AST | None) -> Iterator[tuple[ast.Call, ast.AST | None]]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        scope = node
    if isinstance(node, ast.Call):
        yield node, scope
    for child in ast.iter_child_nodes(node):
        yield from _calls(child, scope)


def _is_code(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value) is not None


def _finding(call: ast.Call, place: int, scope: ast.AST | None) -> Finding:
    code = call.args[place]
    assert isinstance(code, ast.Constant)
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    if name and not name[0].isupper():
        name = ""
    if str(code.value) == "EXTRA-01":
        name = "MissingExtra"
    options = {keyword.arg: keyword.value for keyword in call.keywords}
    meaning = _text(call.args[place + 1], scope) if len(call.args) > place + 1 and name else ""
    fix = _text(options["fix"], scope) if "fix" in options else PARTS if "findings" in options else ""
    return Finding(str(code.value), _sentence(meaning), _sentence(fix), name)


def _text(node: ast.expr, scope: ast.AST | None) -> str:
    """What an expression says, as far as it is known before the program runs; empty when nothing is."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            text = "".join(_text(part, scope) if isinstance(part, ast.Constant) else "…" for part in parts)
            return text if re.search(r"\w", text) else ""
        case ast.IfExp(body=first, orelse=second):
            return "; or: ".join(filter(None, (_text(first, scope), _text(second, scope))))
        case ast.BinOp(left=first, op=ast.Add()):
            return _text(first, scope)
        case ast.Call(func=ast.Name(id="did_you_mean")):
            return NEAREST
        case ast.Name(id=name) if scope is not None:
            return "; or: ".join(dict.fromkeys(filter(None, (_text(value, None) for value in _values(name, scope)))))
    return ""


def _values(name: str, scope: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            yield node.value


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    if not text or text == "…":
        return ""
    word = text.split()[0]
    # A code, a call, a setting or a command keeps its case; so does what begins with a value.
    is_code = re.search(r"[`'\"…{_=(]|\w\.\w", word) or word in ("pip", "millrace", "iconv")
    first = text if is_code else text[0].upper() + text[1:]
    return first if first[-1] in ".?!…'\"`)}]" or word in ("pip", "millrace") else f"{first}."


def main() -> int:
    """Write the pages that changed."""
    for name, page in (("cli.md", cli_page()), ("errors.md", errors_page())):
        path = DOCS / name
        state = "as it was"
        if not path.exists() or path.read_text(encoding="utf-8") != page:
            path.write_text(page, encoding="utf-8")
            state = "written"
        sys.stdout.write(f"docs/{name}: {state}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
