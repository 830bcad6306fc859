"""docs/feature-server.md is run: its project is served, and every request gets the answer that the page shows."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from millrace.core.clock import SystemClock
from millrace.flow.project import load_project
from millrace.flow.serve_features import FeatureServer
from millrace.flow.wiring import Wiring

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "feature-server.md").read_text(encoding="utf-8")
TOKEN = "only-of-this-test"

# The options of curl that the page uses, for a machine without it.
CURL = """
import argparse, urllib.error, urllib.request
parser = argparse.ArgumentParser()
parser.add_argument("url")
parser.add_argument("-s", action="store_true")
parser.add_argument("-d")
parser.add_argument("-H", action="append", default=[])
asked = parser.parse_args()
headers = dict(line.split(": ", 1) for line in asked.H)
request = urllib.request.Request(asked.url, asked.d.encode() if asked.d else None, headers)
try:
    answer = urllib.request.urlopen(request)
except urllib.error.HTTPError as refused:
    answer = refused
print(answer.read().decode())
"""


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def url(tmp_path):
    (tmp_path / "millrace.toml").write_text('name = "shop"\n')
    (tmp_path / "project.py").write_text(blocks("python")[0])
    (tmp_path / "orders.csv").write_text(blocks("csv")[0])
    wiring = Wiring(load_project(tmp_path), SystemClock())
    wiring.features.materialize_incremental(wiring.clock.now())
    server = FeatureServer(wiring, port=0, variables={"MILLRACE_FEATURES_TOKEN": TOKEN})
    yield server.start()
    server.stop()
    wiring.close()


def test_every_request_is_answered_as_the_page_shows(url, tmp_path):
    path = os.environ["PATH"]
    if shutil.which("curl") is None:
        stand_in = tmp_path / "bin" / "curl"
        stand_in.parent.mkdir()
        stand_in.write_text(f"#!{sys.executable}\n{CURL}")
        stand_in.chmod(0o755)
        path = f"{stand_in.parent}:{path}"
    requests, answers = blocks("sh"), blocks("json")
    assert len(requests) == len(answers) >= 5

    for request, answer in zip(requests, answers, strict=True):
        assert "http://127.0.0.1:6566" in request
        done = subprocess.run(
            ["bash", "-c", request.replace("http://127.0.0.1:6566", url)],
            env={**os.environ, "MILLRACE_FEATURES_TOKEN": TOKEN, "no_proxy": "127.0.0.1", "PATH": path},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert json.loads(done.stdout.replace(f"{tmp_path}/", "")) == json.loads(answer), request


def test_the_commands_of_the_page_are_there():
    from millrace.cli.main import build_parser

    (commands,) = blocks("console")
    for line in commands.splitlines():
        assert build_parser().parse_args(line.split()[1:]).command is not None


def test_the_setting_that_the_page_names_is_one(tmp_path):
    from millrace.flow import settings

    assert re.search(r"`features_token_variable`", PAGE)
    text = 'name = "shop"\n[defaults]\nfeatures_token_variable = "TEAM_TOKEN"\n'
    assert tomllib.loads(text)
    (tmp_path / "millrace.toml").write_text(text)
    assert settings.load_settings(tmp_path, variables={}).active.features_token_variable == "TEAM_TOKEN"
    (tmp_path / "millrace.toml").write_text('name = "shop"\n')
    default = settings.load_settings(tmp_path, variables={"MILLRACE_FEATURES_TOKEN": "x"}).active
    assert default.features_token_variable == "MILLRACE_FEATURES_TOKEN"
