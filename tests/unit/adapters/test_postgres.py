"""Postgres: what its errors mean, and what lies in the table."""

import psycopg
import pytest

from millrace.adapters.postgres import open_postgres
from millrace.core.errors import ProjectError, StoreError
from millrace.features.online.port import open_online
from servers import free_port


def put(old, new):
    return new


def append(old, new):
    return (old or b"") + new


@pytest.fixture
def store(postgres_server, place, handles):
    return handles(open_postgres, f"{postgres_server.url}?table={place}")


def test_it_is_found_by_both_its_schemes(postgres_server, place, handles):
    one = handles(open_online, f"{postgres_server.url}?table={place}")
    other = handles(open_online, f"{postgres_server.url}?table={place}".replace("postgresql:", "postgres:"))

    one.merge("view", [(b"a", b"1")], put)

    assert other.read("view", [b"a"]) == [b"1"]


def test_a_server_that_is_not_there_is_told_without_its_password(handles):
    store = handles(open_postgres, f"postgresql://me:s3cret@127.0.0.1:{free_port()}/shop?attempts=2")

    for action in (lambda: store.read("v", [b"a"]), lambda: store.merge("v", [(b"a", b"1")], put), store.views):
        with pytest.raises(StoreError, match="cannot be reached") as refused:
            action()
        assert refused.value.code == "FEAT-20"
        assert refused.value.where.startswith("postgresql://127.0.0.1:")
        assert "it did not answer 2 times" in refused.value.why
        assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "said"), [(("/postgres", "/nosuch"), "does not exist"), (("postgres@", "nobody@"), "does not exist")]
)
def test_a_database_or_user_that_is_not_there_is_told_at_once(postgres_server, change, said, handles):
    store = handles(open_postgres, postgres_server.url.replace(*change) + "?attempts=1000")

    with pytest.raises(StoreError, match=said) as refused:
        store.read("v", [b"a"])

    assert refused.value.code == "FEAT-42"


def test_a_user_who_may_not_write_is_told(postgres_server, store, place, handles):
    store.merge("view", [(b"a", b"1")], put)
    with psycopg.connect(postgres_server.url, autocommit=True) as owner:
        owner.execute(f"CREATE USER reader_{place}")
        owner.execute(f"GRANT SELECT ON {place} TO reader_{place}")
    reader = handles(open_postgres, postgres_server.url.replace("postgres@", f"reader_{place}@") + f"?table={place}")

    assert reader.read("view", [b"a"]) == [b"1"]
    with pytest.raises(StoreError, match="permission denied") as refused:
        reader.merge("view", [(b"a", b"2")], put)
    assert refused.value.code == "FEAT-42"
    assert store.read("view", [b"a"]) == [b"1"]


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("postgresql://db/shop?table=a;b", "is not a name"),
        ("postgresql://db/shop?table=Online", "is not a name"),
        ("postgresql://db/shop?sslmod=require", "sslmod"),
        ("postgresql://db/shop?lanes=some", "the option lanes"),
    ],
)
def test_a_url_that_is_none_is_told_at_once(url, what):
    with pytest.raises(ProjectError, match=what) as refused:
        open_postgres(url)

    assert refused.value.code == "FEAT-40"


def test_reading_makes_no_table(store, postgres_server, place):
    assert store.read("view", [b"a"]) == [None]
    assert store.views() == []
    assert list(store.items("view")) == []
    store.clear("view")

    with psycopg.connect(postgres_server.url) as connection:
        assert connection.execute("SELECT to_regclass(%s)", (place,)).fetchone() == (None,)


def test_a_statement_that_takes_too_long_is_given_up(store, postgres_server, place, handles):
    store.merge("view", [(b"a", b"1")], put)
    hasty = handles(open_postgres, f"{postgres_server.url}?table={place}&timeout_s=0.1&attempts=2")

    with psycopg.connect(postgres_server.url) as blocker:
        blocker.execute(f"LOCK TABLE {place} IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreError, match="statement timeout") as refused:
            hasty.read("view", [b"a"])

    assert refused.value.code == "FEAT-20"
    assert hasty.read("view", [b"a"]) == [b"1"]


def test_connections_that_the_server_closed_are_not_noticed(store, postgres_server, place):
    store.merge("view", [(b"a", b"1")], append)
    with psycopg.connect(postgres_server.url, autocommit=True) as owner:
        owner.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'millrace'")

    store.merge("view", [(b"a", b"2")], append)

    assert store.read("view", [b"a"]) == [b"12"]
