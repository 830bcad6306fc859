"""The rules of the house that no linter knows."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "millrace"
MODULES = sorted(SOURCE.rglob("*.py"))

LONGEST_MODULE = 400
LONGEST_FUNCTION = 60
NAMES_THAT_SAY_NOTHING = {"utils", "util", "common", "helpers", "helper", "manager", "base", "misc", "lib"}

# Written in two parts, so that this file does not hold what it looks for.
_HOSTS = (
    "py" + "pi.org",
    "python" + "hosted.org",
    "registry." + "npmjs",
    "conda." + "anaconda.org",
    "artifact" + "ory",
)
MACHINE = re.compile(r"/(?:home|root|Users|work|tmp/plan|mnt)/[\w.-]+")


def repository_files():
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    names = done.stdout.split("\0") if done.returncode == 0 else []
    paths = [ROOT / name for name in names if name] or [path for path in ROOT.rglob("*") if ".venv" not in path.parts]
    return [path for path in paths if path.is_file()]


def texts():
    for path in repository_files():
        try:
            yield path.relative_to(ROOT), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def length(function):
    """Lines of a function without its docstring."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is not None:
        lines -= function.body[0].end_lineno - function.body[0].lineno + 1
    return lines


def test_the_rules_look_at_the_whole_package():
    assert len(MODULES) > 150
    assert {"core", "store", "flow", "cli", "adapters", "testing"} <= {path.parent.name for path in MODULES}


def test_no_module_is_longer_than_a_person_reads():
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in MODULES}

    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_MODULE} == {}


def test_no_function_is_longer_than_a_screen():
    found = {
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}": length(function)
        for path in MODULES
        for function in functions(ast.parse(path.read_text()))
    }

    assert {name: lines for name, lines in found.items() if lines > LONGEST_FUNCTION} == {}


def test_every_module_has_a_name_that_says_what_it_is_about():
    assert [str(path) for path in MODULES if path.stem in NAMES_THAT_SAY_NOTHING] == []
    assert [str(path.parent) for path in MODULES if path.parent.name in NAMES_THAT_SAY_NOTHING] == []


def test_every_module_says_what_it_is():
    assert [str(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_a_rooms_init_imports_nothing():
    """Importing one definition must not pull in its room's engine."""
    inits = [path for path in MODULES if path.name == "__init__.py" and path.parent != SOURCE]
    imports = [path for path in inits if len(ast.parse(path.read_text()).body) > 1]

    assert [str(path) for path in imports] == []


def test_only_commands_print():
    printing = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in MODULES
        if path.parent.name != "cli"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]

    assert printing == []


@pytest.mark.parametrize("word", ["TODO", "FIXME", "XXX", "HACK"])
def test_nothing_is_left_for_later(word):
    assert [str(path) for path in MODULES if re.search(rf"\b{word}\b", path.read_text())] == []


def test_no_file_names_a_folder_of_somebodys_machine():
    found = {f"{name}: {match[0]}" for name, text in texts() for match in MACHINE.finditer(text)}

    assert found == set()


def test_no_file_names_a_host_of_packages():
    assert [(str(name), host) for name, text in texts() for host in _HOSTS if host in text] == []


def test_an_ignored_warning_of_a_checker_says_which():
    """`noqa` and `type: ignore` name what they ignore."""
    bare = re.compile(r"#\s*noqa(?!:)|#\s*type:\s*ignore(?!\[)")

    assert [str(path) for path in MODULES if bare.search(path.read_text())] == []
