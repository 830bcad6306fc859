"""URLs of online stores: options, secrets, and what a message may show."""

import pytest

from millrace.adapters.store_address import read_address
from millrace.core.errors import ProjectError


def address(url, rest=("db",)):
    return read_address(url, options=("timeout_s", "attempts", "prefix", "create"), rest=rest)


def test_options_are_taken_out_and_the_drivers_own_stay():
    found = address("redis://cache:6379/0?timeout_s=1.5&db=3&prefix=shop")

    assert found.url == "redis://cache:6379/0?db=3"
    assert found.get("timeout_s", 2.0) == 1.5
    assert found.get("attempts", 5) == 5
    assert found.get("prefix", "millrace") == "shop"
    assert found.where == "redis://cache:6379/0"


@pytest.mark.parametrize(
    "url", ["redis://cache", "rediss://user@cache:6380/1", "unix:///run/redis.sock?db=1", "redis://[::1]:6379/0"]
)
def test_a_url_without_options_or_secret_is_kept(url):
    assert address(url).url == url


def test_an_address_shows_neither_user_nor_password():
    found = address("redis://reader:p%40ss%2Fw0rd@cache:6379/0")

    assert found.where == "redis://cache:6379/0"
    assert "p%40ss" not in repr(found)
    assert "p@ss" not in repr(found)
    assert found.url == "redis://reader:p%40ss%2Fw0rd@cache:6379/0"
    assert found.hide("bad password p@ss/w0rd, sent as p%40ss%2Fw0rd\nand a line") == (
        "bad password ***, sent as *** and a line"
    )


def test_a_password_may_be_in_the_environment(monkeypatch):
    monkeypatch.setenv("CACHE_PASSWORD", "a/b@c")

    found = address("redis://:env:CACHE_PASSWORD@cache:6379/0")

    assert found.url == "redis://:a%2Fb%40c@cache:6379/0"
    assert found.hide("a/b@c") == "***"


@pytest.mark.parametrize(
    ("url", "what", "fix"),
    [
        ("redis://c/0?timout_s=1", "there is no option 'timout_s'", "did you mean 'timeout_s'?"),
        ("redis://:env:NOT_SET@c/0", "environment variable NOT_SET, which is not set", "export NOT_SET"),
        ("redis://user:secret@c:port/0", "is not one", "%40"),
    ],
)
def test_a_url_that_says_something_else_is_explained(url, what, fix):
    with pytest.raises(ProjectError) as refused:
        address(url)

    assert refused.value.code == "FEAT-40"
    assert what in refused.value.what
    assert fix in refused.value.fix
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("query", "name", "default"),
    [
        ("timeout_s=soon", "timeout_s", 2.0),
        ("timeout_s=0", "timeout_s", 2.0),
        ("timeout_s=nan", "timeout_s", 2.0),
        ("attempts=2.5", "attempts", 5),
        ("attempts=-1", "attempts", 5),
        ("create=perhaps", "create", False),
    ],
)
def test_an_option_of_the_wrong_kind_is_explained(query, name, default):
    with pytest.raises(ProjectError, match=f"the option {name} is") as refused:
        address(f"redis://c/0?{query}").get(name, default)

    assert refused.value.code == "FEAT-40"


def test_yes_and_no_are_read():
    assert address("dynamodb://r/t?create=yes").get("create", False) is True
    assert address("dynamodb://r/t?create=no").get("create", True) is False
