"""The page on online stores: its code runs and prints what it says, its options and codes are the ones there are."""

import re
from pathlib import Path

import pytest

from millrace.adapters import dynamodb_client, postgres, redis
from millrace.core.plugins import plugin_names
from millrace.flow.settings import load_settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "online-stores.md"
TEXT = PAGE.read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def section(title):
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_its_code_prints_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CACHE_PASSWORD", "")  # so that what the page sets is taken back
    facts = {}
    for code, printed in zip(blocks("python"), blocks("text"), strict=True):
        exec(code, facts)
        assert capsys.readouterr().out == printed


def test_its_settings_are_accepted(tmp_path):
    (text,) = blocks("toml")
    (tmp_path / "millrace.toml").write_text(text)
    variables = {"ONLINE_URL": "redis://cache:6379/0"}

    settings = load_settings(tmp_path, variables=variables, environment="production")

    assert settings.active.online == "redis://cache:6379/0"


def test_every_store_that_is_installed_is_on_the_page():
    schemes = set(re.findall(r"`(\w+)(?:://|\+)", section("Which one, when")))

    assert set(plugin_names("online_stores")) - {"postgres"} == schemes


@pytest.mark.parametrize(
    ("title", "options"),
    [("Redis", redis.OPTIONS), ("Postgres", postgres.OPTIONS), ("DynamoDB", dynamodb_client.OPTIONS)],
)
def test_every_option_is_in_the_table_of_its_store(title, options):
    rows = re.findall(r"^\| (`[^|]*) \|", section(title), flags=re.MULTILINE)

    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(options)


def test_its_codes_are_raised_somewhere():
    sources = (PAGE.parents[1] / "src" / "millrace").rglob("*.py")
    raised = {code for source in sources for code in re.findall(r"FEAT-\d\d", source.read_text(encoding="utf-8"))}

    assert set(re.findall(r"FEAT-\d\d", TEXT)) <= raised
