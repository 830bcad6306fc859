"""The docs say what is true: each page is held against the code in both directions."""

import ast
import doctest
import importlib
import importlib.util
import inspect
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest

import millrace
from millrace.cli.main import build_parser
from millrace.flow import settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
CODE = re.compile(r"[A-Z]+-\d\d")


def load_generator():
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


generate = load_generator()


def page(name):
    return (DOCS / name).read_text(encoding="utf-8")


def test_the_pages_that_are_promised_are_there():
    promised = {
        "index.md",
        "concepts.md",
        "dependencies.md",
        "errors.md",
        "cli.md",
        "ledger.md",
        "configuration.md",
        "extending.md",
        "features.md",
        "performance.md",
    }

    assert promised <= {path.name for path in PAGES}


def test_the_map_names_every_page():
    index = page("index.md")

    assert [path.name for path in DOCS.glob("*.md") if path.name != "index.md" and f"({path.name})" not in index] == []


# --- commands


@pytest.mark.parametrize(
    ("name", "write"), [("cli.md", generate.cli_page), ("errors.md", generate.errors_page)], ids=["cli", "errors"]
)
def test_a_generated_page_is_what_make_docs_would_write(name, write):
    assert page(name) == write(), f"docs/{name} is old: make docs"


def test_every_command_is_documented_and_no_other():
    documented = set(re.findall(r"^## (millrace .+)$", page("cli.md"), re.MULTILINE))

    assert documented == {name for name, _, _ in generate.walk_commands(build_parser())}


def test_every_command_and_argument_says_what_it_does():
    silent = [name for name, about, _ in generate.walk_commands(build_parser()) if not about]
    silent += [
        f"{name} {action.dest}"
        for name, _, parser in generate.walk_commands(build_parser())
        for action in parser._actions
        if not action.help
    ]

    assert silent == []


# --- errors


def codes_in_source():
    """Codes passed to a call as one of its first two texts."""
    found = {}
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                for part in node.args[:2]:
                    if isinstance(part, ast.Constant) and CODE.fullmatch(str(part.value)):
                        found.setdefault(part.value, []).append(f"{path.name}:{node.lineno}")
    return found


def codes_in_docs():
    return set(re.findall(r"^\| `([A-Z]+-\d\d)` \|", page("errors.md"), re.MULTILINE))


def test_every_error_code_is_documented():
    source = codes_in_source()

    assert len(source) > 100
    assert {code: places for code, places in source.items() if code not in codes_in_docs()} == {}


def test_every_documented_error_code_is_raised():
    assert codes_in_docs() - set(codes_in_source()) == set()


def test_every_error_code_says_what_it_means():
    rows = re.findall(r"^\| `([A-Z]+-\d\d)` \| [^|]*\| ([^|]*) \|", page("errors.md"), re.MULTILINE)

    assert [code for code, meaning in rows if not re.search(r"\w", meaning)] == []


def test_a_code_named_in_a_docstring_or_page_exists():
    known = set(codes_in_source())
    texts = {path: path.read_text(encoding="utf-8") for path in [*PAGES, *sorted((ROOT / "src").rglob("*.py"))]}
    prefixes = "|".join(sorted({code.partition("-")[0] for code in known}))
    mark = re.compile(rf"\b(?:{prefixes})-\d\d\b")

    assert {(path.name, code) for path, text in texts.items() for code in mark.findall(text)} == {
        (path.name, code) for path, text in texts.items() for code in mark.findall(text) if code in known
    }


def test_one_code_has_one_exit_code():
    """A script that reads the exit code must be able to trust the error code."""
    import millrace.core.errors as errors

    exits = {}
    for finding in generate.find_errors():
        kind = getattr(errors, finding.kind, None)
        if kind is not None:
            exits.setdefault(finding.code, set()).add(kind.exit_code)

    assert {code: found for code, found in exits.items() if len(found) > 1} == {}


# --- names


@pytest.mark.parametrize("name", [name for name in millrace.__all__ if not name.startswith("__")])
def test_every_public_name_resolves_and_says_what_it_is(name):
    thing = getattr(millrace, name)

    text = inspect.getdoc(thing) or ""
    assert text
    assert not text.startswith(f"{name}("), "a dataclass without a docstring of its own"


def test_the_public_names_are_sorted_and_listed_once():
    names = [name for name in millrace.__all__ if not name.startswith("__")]

    assert names == sorted(set(names))


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Sorce'"):
        _ = millrace.Sorce


# --- dependencies and settings


def declared_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    names = {re.match(r"[\w.-]+", line)[0] for line in [*project["dependencies"], *extras]}
    return names - {project["name"]}, set(project["optional-dependencies"])


def test_every_dependency_has_its_line_and_no_other():
    documented = set(re.findall(r"^\| `([\w-]+)` \|", page("dependencies.md"), re.MULTILINE))
    dependencies, extras = declared_dependencies()

    assert documented == dependencies | extras


def test_every_setting_is_documented_with_its_default():
    text = page("configuration.md")

    rows = dict(re.findall(r"^\| `(\w+)` \| `([^|]*)` \|", text, re.MULTILINE))
    spelled = {key: _as_toml(value) for key, value in settings._DEFAULTS.items()}
    assert {key: value for key, value in rows.items() if key in spelled} == spelled
    assert [key for key in settings._ROOT_KEYS if f"`{key}" not in text and f"[{key}" not in text] == []
    assert [key for key in spelled if f"MILLRACE_{key.upper()}" not in text] == []


def _as_toml(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return "[" + ", ".join(f'"{part}"' for part in value) + "]"
    return str(value)


# --- ports and events


def test_every_group_of_implementations_is_documented():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]

    assert [group for group in groups if f"`{group}`" not in page("extending.md")] == []


def test_every_conformance_suite_is_documented():
    suites = [
        name
        for path in (ROOT / "src" / "millrace" / "testing").glob("*.py")
        for name in re.findall(r"^class (\w+Contract)", path.read_text(), re.MULTILINE)
    ]

    assert suites
    assert [name for name in suites if f"`{name}`" not in page("extending.md")] == []


def event_kinds():
    """First arguments of `append(kind, subject, body)`; a name is looked up among the module's constants."""
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            node.targets[0].id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "append" and len(node.args) == 3):
                continue
            kind = node.args[0]
            if isinstance(kind, ast.Constant):
                found.add(kind.value)
            elif kind.id in constants:
                found.add(constants[kind.id])
            else:
                assert path.name == "ledger.py", f"{path.name}:{node.lineno} appends an event of a computed kind"
    return found


def test_every_event_kind_is_documented_and_no_other():
    section = page("ledger.md").partition("## Events")[2].partition("\n## ")[0]

    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == event_kinds()


def test_every_rule_that_decides_is_documented_and_no_other():
    from millrace.flow.decisions import all_rules

    section = page("ledger.md").partition("## Decisions")[2].partition("\n## ")[0]

    assert set(re.findall(r"^\| `([\w.]+)` \|", section, re.MULTILINE)) == set(all_rules())


# --- examples and links


def needs_feast(name):
    """Whether a module imports Feast, which has an environment of its own: tests/with_feast runs its examples."""
    source = Path(importlib.util.find_spec(name).origin).read_text(encoding="utf-8")
    return re.search(r"^ *(from|import) feast\b", source, re.MULTILINE) is not None


def modules():
    names = [info.name for info in pkgutil.walk_packages(millrace.__path__, "millrace.")]
    return ["millrace", *(name for name in names if not name.endswith("__main__") and not needs_feast(name))]


@pytest.mark.parametrize("name", modules())
def test_the_examples_in_docstrings_run(name):
    module = importlib.import_module(name)

    assert doctest.testmod(module, raise_on_error=False).failed == 0


def test_there_are_examples_in_docstrings():
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for name in modules() for test in finder.find(importlib.import_module(name)) if test.examples]

    assert len(found) >= 10


def anchors(text):
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        other = (path.parent / name).resolve() if name else path
        is_lost = not other.exists()
        if not is_lost and anchor and other.suffix == ".md":
            is_lost = anchor not in anchors(other.read_text(encoding="utf-8"))
        if is_lost:
            lost.append(target)

    assert lost == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_python_and_toml_in_the_pages_can_be_read(path):
    blocks = re.findall(r"```(python|toml)\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL)

    for language, text in blocks:
        if language == "python":
            compile(text, str(path), "exec")
        else:
            tomllib.loads(text)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_in_the_pages_exist(path):
    """Each `millrace ...` line of a shell block parses as a command of today's grammar."""
    known = {name for name, _, _ in generate.walk_commands(build_parser())}
    blocks = re.findall(r"```(?:sh|console)\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line.removeprefix("$ ").split() for block in blocks for line in block.splitlines()]
    called = [words for words in lines if words[:1] == ["millrace"] and len(words) > 1 and words[1][0] != "-"]

    lost = [words for words in called if " ".join(words[:2]) not in known and " ".join(words[:3]) not in known]
    assert lost == []
