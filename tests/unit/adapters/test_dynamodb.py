"""DynamoDB: what its errors mean, what a busy table leaves undone, and whose write it was."""

import pytest

from millrace.adapters.dynamodb import open_dynamodb
from millrace.core.errors import ProjectError, StoreError
from millrace.features.online.port import open_online
from servers import free_port


def put(old, new):
    return new


def append(old, new):
    return (old or b"") + new


@pytest.fixture
def url(dynamo_server, aws, place):
    return dynamo_server.url(place, create="yes", timeout_s=30)


@pytest.fixture
def store(url, handles):
    return handles(open_dynamodb, url)


def test_it_is_found_by_its_scheme(url, handles):
    store = handles(open_online, url)
    store.merge("view", [(b"a", b"1")], put)

    assert store.read("view", [b"a"]) == [b"1"]


def test_a_value_too_large_is_told_and_the_old_one_stays(store):
    store.merge("view", [(b"a", b"old")], put)

    with pytest.raises(StoreError, match="488 KB is more than DynamoDB takes") as refused:
        store.merge("view", [(b"a", b"x" * 500_000)], put)

    assert refused.value.code == "FEAT-41"
    assert "view 'view', key b'a'" in refused.value.where
    assert "shorter windows" in refused.value.fix
    assert store.read("view", [b"a"]) == [b"old"]


def test_a_table_that_is_not_there_is_told(dynamo_server, aws, place, handles):
    store = handles(open_dynamodb, dynamo_server.url(place))

    with pytest.raises(StoreError, match=f"no table '{place}'") as refused:
        store.read("view", [b"a"])

    assert refused.value.code == "FEAT-42"
    assert "create=yes" in refused.value.fix


def test_an_endpoint_that_is_not_there_is_told(aws, handles):
    store = handles(open_dynamodb, f"dynamodb://eu-west-1/t?endpoint=http://127.0.0.1:{free_port()}&attempts=2")

    with pytest.raises(StoreError, match="cannot be reached") as refused:
        store.read("view", [b"a"])

    assert refused.value.code == "FEAT-20"
    assert refused.value.where == "dynamodb://eu-west-1/t"


def test_credentials_that_are_not_there_are_told(aws, dynamo_server, place, monkeypatch, handles):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    store = handles(open_dynamodb, dynamo_server.url(place))

    with pytest.raises(StoreError, match="refuses this user") as refused:
        store.read("view", [b"a"])

    assert refused.value.code == "FEAT-42"


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("dynamodb://eu-west-1/", "names no table"),
        ("dynamodb://eu-west-1/t?consistent=sometimes", "not yes or no"),
        ("dynamodb://eu-west-1/t?endpont=http://x", "no option 'endpont'"),
    ],
)
def test_a_url_that_is_none_is_told_at_once(url, what):
    with pytest.raises(ProjectError, match=what) as refused:
        open_dynamodb(url)

    assert refused.value.code == "FEAT-40"


def test_a_region_that_is_none_is_told(aws, handles):
    store = handles(open_dynamodb, "dynamodb://not_a_region/t")

    with pytest.raises(ProjectError) as refused:
        store.read("view", [b"a"])

    assert refused.value.code == "FEAT-40"


class Halving:
    """A client in front of the real one that does half of each batch, as a busy table may."""

    def __init__(self, client):
        self._client = client
        self.batches = 0

    def __getattr__(self, name):
        return getattr(self._client, name)

    def batch_get_item(self, RequestItems):
        self.batches += 1
        ((table, wanted),) = RequestItems.items()
        half = max(1, len(wanted["Keys"]) // 2)
        answer = self._client.batch_get_item(RequestItems={table: {**wanted, "Keys": wanted["Keys"][:half]}})
        if wanted["Keys"][half:]:
            answer["UnprocessedKeys"] = {table: {**wanted, "Keys": wanted["Keys"][half:]}}
        return answer


def test_what_a_busy_table_left_undone_is_asked_again(store):
    store.merge("view", ((b"%d" % number, b"v%d" % number) for number in range(50)), put)
    store._client = busy = Halving(store._client)

    found = store.read("view", [b"%d" % number for number in range(50)])

    assert found == [b"v%d" % number for number in range(50)]
    assert busy.batches > 4


def test_a_table_that_stays_busy_is_told(store, monkeypatch):
    store.merge("view", [(b"a", b"1")], put)

    def undone(RequestItems):
        return {"Responses": {}, "UnprocessedKeys": RequestItems}

    monkeypatch.setattr(store._client, "batch_get_item", undone)
    monkeypatch.setattr("millrace.adapters.retries.Retries.wait", lambda self, attempt: None)
    with pytest.raises(StoreError, match="stayed undone") as refused:
        store.read("view", [b"a"])

    assert refused.value.code == "FEAT-20"


class Repeating:
    """A client whose first write is sent twice, as the SDK does when the first answer was lost."""

    def __init__(self, client):
        self._client = client
        self.repeated = False

    def __getattr__(self, name):
        return getattr(self._client, name)

    def put_item(self, **request):
        answer = self._client.put_item(**request)
        if not self.repeated and "ConditionExpression" in request:
            self.repeated = True
            return self._client.put_item(**request)
        return answer


def test_a_write_whose_answer_was_lost_is_not_made_twice(store):
    store.merge("view", [(b"a", b"1")], append)
    store._client = client = Repeating(store._client)

    store.merge("view", [(b"a", b"2")], append)

    assert client.repeated
    assert store.read("view", [b"a"]) == [b"12"]


def test_what_another_writer_merged_between_read_and_write_stays(store, url, handles):
    other = handles(open_dynamodb, url)
    told = []

    def combine(old, new):
        told.append(old)
        if len(told) == 1:
            other.merge("view", [(b"a", b"theirs ")], append)
        return append(old, new)

    store.merge("view", [(b"a", b"ours"), (b"b", b"1")], combine)

    assert told[0] is None
    assert told[-1] == b"theirs "
    assert store.read("view", [b"a", b"b"]) == [b"theirs ours", b"1"]
