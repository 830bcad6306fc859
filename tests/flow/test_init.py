"""A new project runs at once, and what its README says can be typed."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from millrace.core.errors import ProjectError
from millrace.flow.new_project import TEMPLATES, create_project
from millrace.flow.project import load_project
from millrace.validation.engine import validate
from millrace.validation.suite import Suite

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
MODELS = {"tabular": "churn", "stream": "overheat"}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def millrace(*words, cwd, expect=0):
    result = subprocess.run(
        [sys.executable, "-m", "millrace", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        env=ENVIRONMENT,
    )
    assert result.returncode == expect, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module", params=TEMPLATES)
def made(request, tmp_path_factory):
    """A project made by the command, run once, as (template, folder)."""
    place = tmp_path_factory.mktemp(request.param)
    facts = json.loads(millrace("init", "shop-one", "--template", request.param, "--json", cwd=place))
    folder = place / "shop-one"
    assert facts["folder"] == str(folder)
    assert sorted(facts["files"]) == sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    )
    assert "shop-one" in (folder / "README.md").read_text()
    millrace("run", "--executor", "inline", cwd=folder)
    return request.param, folder


def test_the_first_run_brings_a_version_to_production(made):
    template, folder = made

    status = json.loads(millrace("status", "--json", cwd=folder))
    versions = json.loads(millrace("model", "list", "--json", cwd=folder))

    (model,) = status["models"]
    assert status["project"] == "shop-one"
    assert (model["model"], model["aliases"]["champion"]) == (MODELS[template], 1)
    assert [(r["environment"], r["version"]) for r in model["releases"] if r["environment"] == "production"] == [
        ("production", 1)
    ]
    assert [(version["model"], version["version"]) for version in versions] == [(MODELS[template], 1)]
    assert "champion" in versions[0]["aliases"]


def test_every_command_of_the_readme_works(made):
    _, folder = made
    blocks = re.findall(r"```sh\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    lines = [shlex.split(line) for block in blocks for line in block.splitlines()]
    assert len(lines) >= 13
    server = None
    try:
        for program, *words in lines:
            if words == ["serve"]:
                server = subprocess.Popen(
                    [sys.executable, "-m", "millrace", "serve"],
                    cwd=folder,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=ENVIRONMENT,
                )
                assert "http://127.0.0.1:" in server.stderr.readline()
            elif program == "curl":
                assert ask(words)
            else:
                assert program == "millrace"
                millrace(*words, cwd=folder)
    finally:
        if server is not None:
            server.terminate()
            server.communicate(timeout=30)


def ask(words):
    """What curl would do with these words."""
    url, body = words[1], words[words.index("-d") + 1].encode() if "-d" in words else None
    with urllib.request.urlopen(url, body, timeout=10) as answer:
        found = json.loads(answer.read())
    if body is None:
        return found["status"] == "alive"
    (prediction,) = found["predictions"]
    return prediction["output"] in (0, 1) and len(prediction["scores"]) == 2


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_data_is_the_same_for_the_same_end_and_meets_its_suites(tmp_path, template):
    first = create_project(tmp_path / "a", template=template, end=NOW)
    second = create_project(tmp_path / "b", template=template, end=NOW)

    tables = [name for name in first.files if name.startswith("data/")]
    assert tables
    for name in tables:
        table = pq.read_table(first.folder / name)
        assert table.equals(pq.read_table(second.folder / name))
        suite = Suite.load(first.folder / "suites" / Path(name).with_suffix(".json").name)
        assert suite.findings() == []
        assert (
            validate(table, suite).explain()
            == f"{suite.name}: usable. all {len(suite.expectations)} rules hold over {table.num_rows:,} rows"
        )


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_environment_loads_and_servers_are_loopback_on_different_ports(tmp_path, template):
    made = create_project(tmp_path / "shop", template=template, end=NOW)

    loaded = [load_project(made.folder, environment=name) for name in ("development", "staging", "production")]

    assert [project.settings.active.executor for project in loaded] == ["inline", "fork", "fork"]
    servers = loaded[0].settings.environments
    model = MODELS[template]
    assert {name: servers[name].server_of(model) for name in ("staging", "production")} == made.servers
    assert len(set(made.servers.values())) == 2
    assert not re.search(
        r"@\w+@", "".join((made.folder / name).read_text() for name in made.files if "data/" not in name)
    )


def test_a_port_somebody_listens_on_is_not_taken(tmp_path):
    first = create_project(tmp_path / "shop", template="tabular", end=NOW)
    (tmp_path / "shop").rename(tmp_path / "elsewhere")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(first.servers["staging"].rpartition(":")[2])))
        taken.listen()
        second = create_project(tmp_path / "shop", template="tabular", end=NOW)

    assert first.servers["staging"] not in second.servers.values()


def test_an_empty_folder_is_filled_and_a_full_one_is_left_alone(tmp_path):
    (tmp_path / "shop").mkdir()
    create_project(tmp_path / "shop", template="tabular", end=NOW)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    with pytest.raises(ProjectError) as caught:
        create_project(tmp_path / "shop", template="stream", end=NOW)

    assert caught.value.code == "PROJ-09"
    assert "README.md" in caught.value.why
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


@pytest.mark.parametrize(
    ("name", "fix"),
    [("my shop!", "my-shop"), ("7eleven", "eleven"), ("-x", "x"), ("...x", "x"), ("日本", "my-project")],
)
def test_a_name_that_cannot_be_one_is_refused_with_one_that_can(tmp_path, name, fix):
    with pytest.raises(ProjectError) as caught:
        create_project(tmp_path / name, template="tabular", end=NOW)

    assert (caught.value.code, caught.value.fix) == ("PROJ-09", f"millrace init {fix}")
    assert list(tmp_path.iterdir()) == []


def test_the_command_refuses_with_exit_code_2(tmp_path):
    (tmp_path / "shop").write_text("a file")

    told = json.loads(millrace("init", "shop", "--json", cwd=tmp_path, expect=2))
    millrace("init", "other", "--template", "tabluar", cwd=tmp_path, expect=2)

    assert told["error"]["code"] == "PROJ-09"
    assert (tmp_path / "shop").read_text() == "a file"
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]
