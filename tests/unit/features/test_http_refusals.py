"""Bad requests, stores that fail, and who may change what."""

import asyncio
import json
import threading

import pytest
from http_scene import BEARER, NOW, ask, ask_async, features, make_shop

from millrace.core.clock import to_text
from millrace.core.errors import ServiceError, StoreError
from millrace.features.http.lookup import Limits

DOWN = StoreError("FEAT-20", "the online store does not answer", fix="start it")
ONE = {"customer_id": [1]}


@pytest.fixture
def shop():
    return make_shop()


def problem(reply):
    return reply.json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "code", "what", "fix"),
    [
        (b"not json", 400, "FEAT-50", "the body is not JSON", "send {"),
        (b"", 400, "FEAT-50", "the body is not JSON", "send {"),
        (b"[" * 100_000, 400, "FEAT-50", "the body is not JSON", "send {"),
        (b'{"entities": {"customer_id": ["\xff"]}}', 400, "FEAT-50", "the body is not JSON", "send {"),
        ([1], 400, "FEAT-50", "the body is not a request", "send {"),
        ({"features": ["orders:items"]}, 400, "FEAT-50", "missing required field `entities`", "send {"),
        ({"features": ["a"], "entitis": ONE}, 400, "FEAT-50", "`entities`", "did you mean 'entities'?"),
        ({"features": ["orders:items"], "entities": {"customer_id": 1}}, 400, "FEAT-50", "$.entities", "send {"),
        ({"features": ["order:items"], "entities": ONE}, 404, "FEAT-01", "'order'", "did you mean 'orders'?"),
        ({"features": ["orders:item"], "entities": ONE}, 404, "FEAT-02", "'item'", "did you mean 'items'?"),
        ({"feature_service": "vectr", "entities": ONE}, 404, "FEAT-58", "'vectr'", "did you mean 'vector'?"),
        ({"entities": ONE}, 400, "FEAT-03", "no features", "view:feature"),
        ({"features": ["orders", "fresh"], "entities": ONE}, 400, "FEAT-04", "'amount'", "full_feature_names"),
        ({"features": ["orders:items"], "entities": {"custmer_id": [1]}}, 400, "FEAT-05", "'customer_id'", "custmer"),
        ({"features": ["orders:items"], "entities": {"customer_id": ["x"]}}, 400, "FEAT-07", "not int", "type"),
        ({"features": ["orders:items"], "entities": {"customer_id": [1.5]}}, 400, "FEAT-07", "not int", "type"),
        ({"features": ["orders:items"], "entities": {"customer_id": [[1]]}}, 400, "FEAT-07", "not int", "type"),
        ({"features": ["orders:items"], "entities": {"customer_id": [2**70]}}, 400, "FEAT-07", "not int", "type"),
        (
            {"features": ["orders:items"], "entities": {"customer_id": [1, 2], "note": [1]}},
            400,
            "FEAT-51",
            "customer_id 2, note 1",
            "one value per row",
        ),
    ],
)
def test_a_bad_request_is_told_what_where_and_how_to_mend_it(shop, body, status, code, what, fix):
    reply = ask(shop.app, "/get-online-features", body)

    told = problem(reply)
    assert (reply.status, told["code"]) == (status, code)
    assert what in told["what"]
    assert fix in told["fix"]
    assert shop.app.metrics.errors == {code: 1}
    assert features(shop.app, ["orders:items"], ONE).status == 200


def test_several_unknown_features_are_told_at_once(shop):
    told = problem(features(shop.app, ["orders:itms", "nope:x", "orders:items"], ONE))

    assert [finding["code"] for finding in told["findings"]] == ["FEAT-02", "FEAT-01"]


def test_too_many_rows_and_too_large_bodies_are_refused():
    shop = make_shop(limits=Limits(rows=3, body_bytes=200))

    rows = features(shop.app, ["orders:items"], {"customer_id": [1, 2, 3, 4]})
    declared = ask(shop.app, "/get-online-features", b"{}", headers=[(b"content-length", b"201")])
    streamed = ask(shop.app, "/get-online-features", chunks=[b" " * 150, b" " * 150])

    assert [problem(reply)["code"] for reply in (rows, declared, streamed)] == ["FEAT-52"] * 3
    assert {reply.status for reply in (rows, declared, streamed)} == {413}
    assert declared.headers["connection"] == "close"
    assert features(shop.app, ["orders:items"], {"customer_id": [1, 2, 3]}).status == 200


def test_a_client_that_goes_away_is_not_answered_and_not_counted(shop):
    assert ask(shop.app, "/get-online-features", chunks=[b'{"fea', None]) is None
    assert shop.app.metrics.requests == {}


def test_unknown_paths_and_methods_are_told(shop):
    unknown, wrong = ask(shop.app, "/get-online-feature"), ask(shop.app, "/push")

    assert (unknown.status, problem(unknown)["fix"]) == (404, "did you mean '/get-online-features'?")
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")
    assert ask(shop.app, "/health", method="HEAD").body == b""


def test_what_a_function_needs_and_does_not_get_is_told(shop):
    missing = features(shop.app, ["summed:total"], ONE)
    wrong = features(shop.app, ["summed:total"], {**ONE, "extra": ["a"]})
    failed = features(shop.app, ["summed:total"], {**ONE, "extra": [-1.0]})

    assert [(reply.status, problem(reply)["code"]) for reply in (missing, wrong, failed)] == [
        (400, "FEAT-30"),
        (400, "FEAT-31"),
        (500, "FEAT-32"),
    ]


# --- a store that does not answer


def test_a_store_that_does_not_answer_is_a_status_and_not_a_failure(shop):
    features(shop.app, ["orders:items", "recent:mean_items"], ONE)
    shop.online.failure = DOWN

    reply = features(shop.app, ["orders:items", "recent:mean_items"], {"customer_id": [1, 2]})

    assert reply.status == 200
    assert reply.json()["unavailable"]["code"] == "FEAT-20"
    results = reply.results()
    assert results["customer_id"]["values"] == [1, 2]
    for name in ("items", "mean_items"):
        assert (results[name]["values"], results[name]["statuses"]) == ([None, None], ["INVALID", "INVALID"])
    assert shop.app.metrics.values["unavailable"] == 4
    assert shop.app.metrics.errors["FEAT-20"] == 1


def test_it_is_answered_also_when_the_first_request_meets_a_dead_store(shop):
    shop.online.failure = DOWN

    reply = features(shop.app, ["orders", "fresh:amount"], ONE, full_feature_names=True)

    assert reply.status == 200
    names = [f"orders__{name}" for name in ("amount", "items", "city", "is_vip", "since")]
    assert list(reply.results()) == ["customer_id", *names, "fresh__amount"]
    assert problem(features(shop.app, ["orders:itms"], ONE))["code"] == "FEAT-02"
    shop.online.failure = None
    assert features(shop.app, ["orders:items"], ONE).results()["items"]["statuses"] == ["PRESENT"]


def test_readiness_follows_the_store(shop):
    assert ask(shop.app, "/ready").json() == {"ready": True, "why": []}
    shop.online.failure = DOWN
    down = ask(shop.app, "/ready")
    shop.online.failure = OSError("connection refused")
    strange = ask(shop.app, "/ready")
    shop.online.failure = None

    assert (down.status, down.json()["why"][0]["code"]) == (503, "FEAT-20")
    assert (strange.status, strange.json()["why"][0]["code"]) == (503, "FEAT-55")
    assert "connection refused" in strange.json()["why"][0]["what"]
    assert ask(shop.app, "/health").status == 200
    assert ask(shop.app, "/ready").status == 200


def test_a_store_that_hangs_is_not_waited_for():
    shop = make_shop(is_local=False, limits=Limits(wait_seconds=0.05, threads=1, waiting=1))
    features(shop.app, ["orders:items"], ONE)
    shop.online.gate = threading.Event()

    async def burst():
        body = {"features": ["orders:items"], "entities": ONE}
        asked = [ask_async(shop.app, "/get-online-features", body) for _ in range(4)]
        return await asyncio.gather(*asked), await ask_async(shop.app, "/ready")

    replies, ready = asyncio.run(burst())
    told = sorted(reply.json()["unavailable"]["what"] for reply in replies)
    shop.online.gate.set()

    assert {reply.status for reply in replies} == {200}
    assert told[0].startswith("2 lookups already wait")
    assert told[-1] == "the online store did not answer within 0.05 s"
    assert ready.status == 503


def test_a_damaged_value_hurts_its_own_row_alone(shop):
    view = shop.store.views["orders"].storage_id()
    (key,) = [key for key in shop.online.inner._values[view] if key.endswith(b"\x02")]
    shop.online.inner._values[view][key] = shop.online.inner._values[view][key][:40]

    reply = features(shop.app, ["orders:items", "recent:mean_items"], {"customer_id": [1, 2, 3]})

    assert reply.json()["unavailable"]["code"] == "FEAT-22"
    assert reply.results()["items"]["values"] == [2**53 + 1, None, 8]
    assert reply.results()["items"]["statuses"] == ["PRESENT", "INVALID", "PRESENT"]
    assert shop.app.metrics.values["unavailable"] == 2
    assert ask(shop.app, "/ready").status == 200


def test_an_error_nobody_foresaw_is_an_answer(shop, caplog):
    features(shop.app, ["orders:items"], ONE)
    shop.online.failure = ZeroDivisionError("driver")

    reply = features(shop.app, ["orders:items"], ONE)

    assert (reply.status, problem(reply)["code"]) == (500, "FEAT-59")
    (logged,) = [record.exc_info for record in caplog.records if record.exc_info]
    assert repr(logged[1]) == "ZeroDivisionError('driver')"


# --- what changes the store


CHANGES = [
    ("/push", {"push_source_name": "orders", "df": {"ts": [to_text(NOW)], "customer_id": [7], "items": [3]}}),
    ("/materialize", {"start_ts": "2024-01-01", "end_ts": "2024-02-01T00:00:00Z"}),
    ("/materialize-incremental", {"end_ts": "2024-02-01T00:00:00Z"}),
]


@pytest.mark.parametrize(("path", "body"), CHANGES)
def test_without_a_token_nothing_can_be_changed_and_the_answer_says_how_to_enable_it(path, body):
    shop = make_shop(token="", is_filled=False)

    for headers in ((), BEARER, ((b"authorization", b"Bearer "),)):
        reply = ask(shop.app, path, body, headers=headers)

        assert (reply.status, problem(reply)["code"]) == (403, "FEAT-56")
        assert "set SHOP_TOKEN to a secret" in problem(reply)["fix"]
    assert shop.online.inner.views() == []


@pytest.mark.parametrize(("path", "body"), CHANGES)
@pytest.mark.parametrize("given", [None, b"Bearer", b"Bearer s3cre", b"Bearer s3cret2", b"Basic s3cret", b"s3cret"])
def test_another_token_is_refused(path, body, given):
    shop = make_shop(is_filled=False)
    headers = () if given is None else ((b"authorization", given),)

    reply = ask(shop.app, path, body, headers=headers)

    assert (reply.status, problem(reply)["code"], reply.headers["www-authenticate"]) == (401, "FEAT-57", "Bearer")
    assert shop.online.inner.views() == []


def test_pushed_rows_are_served_at_once(shop):
    table = {"ts": ["2024-04-09 12:00:00"], "customer_id": [1], "amount": [4.0], "items": [5], "city": ["x"]}
    table |= {"is_vip": [None], "since": [None]}

    reply = ask(shop.app, "/push", {"push_source_name": "orders", "df": table, "to": "online"}, headers=BEARER)

    assert (reply.status, reply.json()) == (200, {"rows": 1})
    results = features(shop.app, ["orders:items", "orders:amount"], ONE).results()
    assert (results["items"]["values"], results["amount"]["values"]) == ([5], [4.0])
    assert shop.app.metrics.pushed_rows == 1


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"push_source_name": "order"}, 404, "FEAT-11"),
        ({"df": {"ts": ["2024-04-09"], "customer_id": [1, 2]}}, 400, "FEAT-51"),
        ({"df": {"ts": ["yesterday"], "customer_id": [1], "items": [1]}}, 400, "FEAT-06"),
        ({"df": {"ts": ["2024-04-09"], "customer_id": ["x"], "items": [1]}}, 400, "FEAT-07"),
        ({"to": "nowhere"}, 400, "FEAT-50"),
        ({"to": "offline"}, 400, "FEAT-35"),
        ({"to": "online_and_offline"}, 400, "FEAT-35"),
    ],
)
def test_a_bad_push_changes_nothing(shop, change, status, code):
    body = {"push_source_name": "recent", "df": {"ts": ["2024-04-09"], "customer_id": [1], "items": [77]}} | change
    before = json.dumps({view: sorted(map(str, keys)) for view, keys in shop.online.inner._values.items()})

    reply = ask(shop.app, "/push", body, headers=BEARER)

    assert (reply.status, problem(reply)["code"]) == (status, code)
    assert json.dumps({view: sorted(map(str, keys)) for view, keys in shop.online.inner._values.items()}) == before


def test_an_interval_and_the_rest_are_materialized():
    shop = make_shop(is_filled=False)

    first = ask(
        shop.app,
        "/materialize",
        {"start_ts": "2024-01-01", "end_ts": "2024-02-01T00:00:00Z", "feature_views": ["orders"]},
        headers=BEARER,
    )
    rest = ask(shop.app, "/materialize-incremental", {"end_ts": "2024-06-01T00:00:00+02:00"}, headers=BEARER)
    everything = ask(shop.app, "/materialize", {"disable_event_timestamp": True}, headers=BEARER)

    assert first.json() == {"rows": {"orders": 1}}
    assert rest.json() == {"rows": {"orders": 3, "fresh": 4, "recent": 4, "world": 4}}
    assert everything.json() == {"rows": dict.fromkeys(["orders", "fresh", "recent", "world"], 4)}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"start_ts": "2024-01-01"}, 400, "FEAT-50"),
        ({"start_ts": "soon", "end_ts": "2024-01-01"}, 400, "FEAT-50"),
        ({"start_ts": "2024-02-01", "end_ts": "2024-01-01"}, 400, "FEAT-13"),
        ({"start_ts": "2024-01-01", "end_ts": "2024-02-01", "feature_views": ["order"]}, 404, "FEAT-01"),
    ],
)
def test_a_bad_interval_is_told(shop, body, status, code):
    reply = ask(shop.app, "/materialize", body, headers=BEARER)

    assert (reply.status, problem(reply)["code"]) == (status, code)


def test_one_materialization_at_a_time_and_lookups_go_on_meanwhile(shop):
    began, go_on = threading.Event(), threading.Event()

    def slow(*arguments, **options):
        began.set()
        assert go_on.wait(20)
        return {"orders": 0}

    shop.store.materialize = slow

    async def scene():
        body = {"start_ts": "2024-01-01", "end_ts": "2024-02-01"}
        running = asyncio.ensure_future(ask_async(shop.app, "/materialize", body, headers=BEARER))
        await asyncio.to_thread(began.wait, 20)
        second = await ask_async(shop.app, "/materialize", body, headers=BEARER)
        lookup = await ask_async(
            shop.app, "/get-online-features", {"features": ["orders:items"], "entities": {"customer_id": [1]}}
        )
        go_on.set()
        return await running, second, lookup

    first, second, lookup = asyncio.run(scene())

    assert (first.status, lookup.status) == (200, 200)
    assert (second.status, problem(second)["code"]) == (409, "FEAT-54")


def test_a_server_that_ends_stops_between_two_intervals(shop):
    told = []

    def materialize(start, end, *, views, progress):
        for place in range(3):
            progress(place + 1, 3)
            told.append(place)
            shop.app.stop()

    shop.store.materialize = materialize

    reply = ask(shop.app, "/materialize", {"start_ts": "2024-01-01", "end_ts": "2024-02-01"}, headers=BEARER)

    assert (reply.status, problem(reply)["what"]) == (409, "the server ends; 2 of 3 intervals are done")
    assert told == [0]


# --- what is told


def test_features_lists_what_can_be_asked_for(shop):
    listed = ask(shop.app, "/features").json()

    views = {view["name"]: view for view in listed["views"]}
    assert list(views) == ["orders", "fresh", "recent", "world", "summed"]
    assert views["summed"]["description"] == "Items and what the request brings along."
    assert views["summed"]["features"] == [{"reference": "summed:total"}]
    assert views["fresh"]["keys"] == ["customer_id"]
    assert views["fresh"]["ttl_s"] == 20 * 86400
    assert views["fresh"]["materialized_until"] == to_text(NOW)
    assert [one["reference"] for one in views["recent"]["features"]] == ["recent:mean_items"]
    assert listed["services"] == [{"name": "vector", "features": ["orders:amount", "recent"]}]


def test_metrics_count_requests_values_and_how_fresh_views_are(shop):
    features(shop.app, ["orders:items", "orders:city"], {"customer_id": [2, 9]})
    features(shop.app, ["orders:nope"], ONE)

    text = ask(shop.app, "/metrics").body.decode()

    assert 'millrace_feature_requests_total{path="/get-online-features",status="200"} 1' in text
    assert 'millrace_feature_values_total{status="missing"} 2' in text
    assert 'millrace_feature_values_total{status="null"} 1' in text
    assert 'millrace_feature_errors_total{code="FEAT-02"} 1' in text
    assert "millrace_feature_request_seconds_count 2" in text
    assert "millrace_feature_store_available 1" in text
    assert f'millrace_feature_materialized_until_seconds{{view="orders"}} {NOW.timestamp()}' in text


def test_a_record_that_cannot_be_read_hides_freshness_alone(shop):
    def fail(view):
        raise ServiceError("STORE-01", "gone")

    shop.store.materialized_until = fail

    assert ask(shop.app, "/metrics").status == 200
    assert ask(shop.app, "/features").json()["views"][0]["materialized_until"] is None
