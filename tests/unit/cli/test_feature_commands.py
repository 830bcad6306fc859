"""`millrace features materialize|get|verify|serve`: what they say to who reads them, and what they refuse."""

import json
from pathlib import Path

import pytest

from millrace.cli.main import main

PROJECT = """
import millrace as mr
orders = mr.Source("orders", "orders.csv", event_time="at")
customer = mr.Entity("customer", key="customer_id")
habits = mr.FeatureView(
    "habits", entity=customer, source=orders, ttl="30d", features={"spend": mr.sum("amount"), "city": mr.last("city")}
)
vector = mr.FeatureService("vector", features=[habits])

@mr.model(features=["habits:spend"], labels=mr.Labels(orders, "city"))
def past_the_service(X, y):
    raise NotImplementedError
"""
LOG = "at,customer_id,amount,city\n2024-05-01 10:00:00,7,0.1,Turin\n2024-05-03 08:30:00,7,0.2,Turin\n"


@pytest.fixture
def ask(tmp_path, monkeypatch, capsys):
    """Runs a command in a project; answers its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    Path("millrace.toml").write_text('name = "shop"\n[defaults]\nonline = "sqlite:///online.db"\n')
    Path("project.py").write_text(PROJECT)
    Path("orders.csv").write_text(LOG)

    def run(*words):
        try:
            code = main(["features", *words])
        except SystemExit as stop:
            code = stop.code
        return code, "".join(capsys.readouterr())

    return run


def test_a_store_in_memory_says_that_it_ends_with_the_command(ask, monkeypatch):
    monkeypatch.setenv("MILLRACE_ONLINE", "memory://")

    assert "it ends with this command" in ask("materialize")[1]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("orders", ["path     orders.csv", "time     at", "views    habits"]),
        ("customer", ["keys     customer_id", "views    habits"]),
    ],
)
def test_a_source_and_an_entity_say_what_they_are_and_what_stands_on_them(ask, name, told):
    code, said = ask("show", name)

    assert code == 0
    assert [line for line in told if line not in said] == []


def test_a_model_is_shown_the_way_to_its_lineage(ask):
    assert "millrace features lineage past_the_service" in ask("show", "past_the_service")[1]


def test_materialize_tells_events_by_view(ask):
    code, said = ask("materialize", "--end", "2024-06-01")

    assert (code, said) == (
        0, "the online store is filled up to 2024-06-01 00:00\nview    events\nhabits  2\n"
    )  # fmt: skip


def test_get_prints_floats_to_the_last_bit_with_the_time_behind_them(ask):
    ask("materialize")

    code, said = ask("get", "habits", "--key", "customer_id=7", "--at", "2024-05-04")
    _, facts = ask("get", "habits:spend", "--key", "customer_id=7", "--at", "2024-05-04", "--json")

    assert code == 0
    assert said.splitlines() == [
        "feature  value                status   newest event",
        "spend    0.30000000000000004  present  2024-05-03 08:30:00",
        "city     Turin                present  2024-05-03 08:30:00",
    ]
    assert json.loads(facts) == [
        {"feature": "spend", "value": 0.1 + 0.2, "status": "present", "event_time": "2024-05-03T08:30:00.000000Z"}
    ]


@pytest.mark.parametrize(
    ("key", "at", "said"),
    [
        ("8", "2024-05-04", "missing: the online store holds no event of this key"),
        ("7", "2024-07-04", "expired: the newest event is older than the view's ttl"),
    ],
)
def test_get_says_what_a_status_means(ask, key, at, said):
    ask("materialize")

    assert said in ask("get", "habits", "--key", f"customer_id={key}", "--at", at)[1]


@pytest.mark.parametrize("pair", ["customer_id", "=7", "7"])
def test_a_key_without_a_value_is_refused(ask, pair):
    code, said = ask("get", "habits", "--key", pair)

    assert code == 2
    assert f"'{pair}' is no key with its value: write customer_id=7" in said


def test_verify_says_what_to_do_when_nothing_is_online(ask):
    code, said = ask("verify")

    assert code == 1
    assert "habits: nothing was materialized, nothing is compared: millrace features materialize\n" in said


@pytest.mark.parametrize("port", ["99999", "-1", "http", ""])
def test_a_port_that_is_none_is_refused_rather_than_wrapped(ask, port):
    code, said = ask("serve", "--port", port)

    assert code == 2
    assert "is not a port: write a number from 0 to 65535" in said


def test_a_service_is_not_used_by_a_model_that_takes_its_views_without_it(ask):
    of = {name: json.loads(ask("show", name, "--json")[1])["used_by"] for name in ("vector", "habits")}

    assert (of["vector"]["models"], of["habits"]["models"]) == ([], ["past_the_service"])


def test_a_model_without_its_version_is_refused_with_how_to_write_one(ask):
    code, said = ask("materialize", "--version", "past_the_service")

    assert code == 2
    assert said == (
        "REG-03  'past_the_service' is a model, and names no version of it\n"
        "  fix    past_the_service:1, or past_the_service@champion\n"
    )


def test_a_missing_key_is_told_as_such(ask):
    ask("materialize")

    assert "why    no column is given at all\n" in ask("get", "habits")[1]
