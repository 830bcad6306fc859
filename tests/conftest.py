"""What many tests need: a project folder with a pipeline of plain steps."""

import json
import os
import textwrap

import pytest

from millrace.cli.main import main
from servers import aws, dynamo_server, handles, place, postgres_server, redis_server  # noqa: F401 - fixtures
from small_project import copy_project, millrace, write_small_project

os.environ.setdefault("OMP_NUM_THREADS", "1")

STEPS = '''
"""A pipeline of plain functions: two branches that join."""
import os
import pathlib

import millrace as mr

HERE = pathlib.Path(__file__).parent


def note(name):
    with open(HERE / "notes.txt", "a") as file:
        file.write(name + "\\n")


def kill_once(name):
    """SIGKILL this process, or its coordinator, the first time the step named in kill.txt gets here."""
    wanted = HERE / "kill.txt"
    if not wanted.exists():
        return
    step, _, whom = wanted.read_text().partition(" ")
    if step == name:
        wanted.unlink()
        os.kill(os.getppid() if whom == "coordinator" else os.getpid(), 9)


def first():
    kill_once("first")
    note("first")
    return {"n": 1}


def left(number):
    kill_once("left")
    note("left")
    return number["n"] + 10


def right(number):
    kill_once("right")
    note("right")
    return number["n"] + 100


def join(a, b, context):
    kill_once("join")
    context.wiring.ledger.append("effect", "join", {"sum": a + b}, key=context.key)
    note("join")
    return a + b


pipeline = mr.Pipeline(
    "sums",
    [
        mr.Step("first", first, outputs=["number"], retry_delay="0s"),
        mr.Step("left", left, {"number": "first.number"}, ["a"], retry_delay="0s"),
        mr.Step("right", right, {"number": "first.number"}, ["b"], retry_delay="0s"),
        mr.Step("join", join, {"a": "left.a", "b": "right.b"}, ["sum"], retry_delay="0s"),
    ],
)
'''


@pytest.fixture
def write_project(tmp_path):
    """A function that writes a project folder and returns it."""

    def write(definitions=STEPS, settings=""):
        (tmp_path / "millrace.toml").write_text(f'name = "sums"\n{settings}')
        (tmp_path / "project.py").write_text(textwrap.dedent(definitions))
        return tmp_path

    return write


@pytest.fixture(scope="session")
def trained_project(tmp_path_factory):
    """The small project after its first run: version 1 is in production. Copy it, do not change it."""
    folder = write_small_project(tmp_path_factory.mktemp("trained") / "orders")
    first = millrace(folder, "run")
    assert first.returncode == 0, first.stdout + first.stderr
    return folder


@pytest.fixture
def shop(trained_project, tmp_path):
    """A copy of the small project with version 1 in production."""
    return copy_project(trained_project, tmp_path / "orders")


@pytest.fixture
def ask(capsys):
    """A function that runs one command in this process with --json; its exit code and its answer."""

    def run(folder, *words):
        capsys.readouterr()
        code = main([*words, "--json", "--project", str(folder)])
        return code, json.loads(capsys.readouterr().out)

    return run
