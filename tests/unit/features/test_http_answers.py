"""POST /get-online-features: Feast's request and answer, value by value."""

import pytest
from http_scene import BEARER, NOW, ask, features, make_shop
from orders_shop import day

NO_TIME = "1970-01-01T00:00:00Z"


@pytest.fixture
def shop():
    return make_shop()


def test_keys_come_first_then_features_in_the_order_asked(shop):
    reply = features(shop.app, ["orders:items", "orders:amount"], {"customer_id": [1, 9]})

    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json() == {
        "metadata": {"feature_names": ["customer_id", "items", "amount"]},
        "results": [
            {"values": [1, 9], "statuses": ["PRESENT", "PRESENT"], "event_timestamps": [NO_TIME, NO_TIME]},
            {
                "values": [2**53 + 1, None],
                "statuses": ["PRESENT", "NOT_FOUND"],
                "event_timestamps": ["2024-01-02T00:00:00Z", NO_TIME],
            },
            {
                "values": [1.5, None],
                "statuses": ["PRESENT", "NOT_FOUND"],
                "event_timestamps": ["2024-01-02T00:00:00Z", NO_TIME],
            },
        ],
    }


def test_every_status_has_feasts_word(shop):
    reply = features(
        shop.app,
        ["orders:city", "fresh:amount", "recent:mean_items"],
        {"customer_id": [1, 2, 3, None, 9]},
    )

    statuses = {name: result["statuses"] for name, result in reply.results().items()}
    assert statuses == {
        "customer_id": ["PRESENT", "PRESENT", "PRESENT", "NULL_VALUE", "PRESENT"],
        "city": ["PRESENT", "NULL_VALUE", "PRESENT", "NOT_FOUND", "NOT_FOUND"],
        "amount": ["OUTSIDE_MAX_AGE", "NULL_VALUE", "PRESENT", "NOT_FOUND", "NOT_FOUND"],
        "mean_items": ["NULL_VALUE", "PRESENT", "PRESENT", "NOT_FOUND", "NOT_FOUND"],
    }
    assert reply.results()["amount"]["values"][0] is None


def test_a_moment_the_store_no_longer_knows_is_invalid():
    shop = make_shop()
    rows = [{"ts": day(number), "customer_id": 3, "items": 1} for number in (10, 40, 99)]
    shop.store.push("recent", rows)
    shop.clock.set(day(50))

    reply = features(shop.app, ["recent:mean_items"], {"customer_id": [3]})

    assert reply.results()["mean_items"] == {"values": [None], "statuses": ["INVALID"], "event_timestamps": [NO_TIME]}
    assert "unavailable" not in reply.json()


def test_what_json_has_no_number_for_is_written_as_feast_does(shop):
    results = features(shop.app, ["orders:amount", "orders:since"], {"customer_id": [3, 4, 1]}).results()

    assert results["amount"]["values"] == ["Infinity", "-Infinity", 1.5]
    assert results["amount"]["statuses"] == ["PRESENT"] * 3
    # times are whole seconds, as Feast's UnixTimestamp is
    assert results["since"]["values"] == [int(day(0).timestamp()), int(day(0).timestamp()), int(day(0.5).timestamp())]


def test_event_times_keep_their_fractions(shop):
    results = features(shop.app, ["orders:items"], {"customer_id": [3]}).results()

    assert results["items"]["event_timestamps"] == ["2024-04-09T00:00:01.500000Z"]


def test_texts_and_bools_come_back_as_they_are(shop):
    results = features(shop.app, ["orders:city", "orders:is_vip"], {"customer_id": [1, 4]}).results()

    assert results["city"]["values"] == ["Łódź", '"']
    assert results["is_vip"]["values"] == [True, None]


def test_full_names_and_view_metadata_on_request(shop):
    reply = features(
        shop.app,
        ["orders:amount", "fresh:amount"],
        {"customer_id": [3]},
        full_feature_names=True,
        include_feature_view_version_metadata=True,
    )

    assert reply.json()["metadata"] == {
        "feature_names": ["customer_id", "orders__amount", "fresh__amount"],
        "feature_view_metadata": [{"name": "orders"}, {"name": "fresh"}],
    }


def test_a_service_is_its_features(shop):
    reply = ask(shop.app, "/get-online-features", {"feature_service": "vector", "entities": {"customer_id": [2]}})

    results = reply.results()
    assert list(results) == ["customer_id", "amount", "mean_items"]
    assert results["mean_items"]["values"] == [7.0]


def test_columns_that_are_no_key_are_not_given_back(shop):
    reply = features(shop.app, ["orders:items"], {"note": ["a", "b"], "customer_id": [2, 3]})

    assert list(reply.results()) == ["customer_id", "items"]


@pytest.mark.parametrize(
    ("entities", "names", "rows"),
    [
        ({}, ["newest_items"], 1),
        ({"__dummy_id": [""]}, ["newest_items"], 1),  # how Feast's client asks for a view without entities
        ({"customer_id": [1, 2]}, ["customer_id", "newest_items"], 2),
    ],
)
def test_features_without_a_key_need_none(shop, entities, names, rows):
    reply = features(shop.app, ["world:newest_items"], entities)

    assert list(reply.results()) == names
    assert reply.results()["newest_items"]["values"] == [8] * rows


def test_no_entities_have_empty_columns(shop):
    assert features(shop.app, ["orders:items"], {"customer_id": []}).results()["items"] == {
        "values": [],
        "statuses": [],
        "event_timestamps": [],
    }


@pytest.mark.parametrize("is_local", [True, False])
def test_many_rows_and_a_store_elsewhere_are_answered_from_threads_the_same(is_local):
    shop = make_shop(is_local=is_local)
    ids = [1, 2, 3, 4, 9] * 100

    results = features(shop.app, ["orders:items"], {"customer_id": ids}).results()

    assert results["customer_id"]["values"] == ids
    assert results["items"]["values"] == [2**53 + 1, 7, 8, 9, None] * 100


def test_a_view_that_is_filled_later_is_found_by_the_same_request():
    shop = make_shop(is_filled=False)
    assert features(shop.app, ["orders:items"], {"customer_id": [1]}).results()["items"]["statuses"] == ["NOT_FOUND"]

    body = {"end_ts": NOW.isoformat()}
    assert ask(shop.app, "/materialize-incremental", body, headers=BEARER).status == 200

    assert features(shop.app, ["orders:items"], {"customer_id": [1]}).results()["items"]["statuses"] == ["PRESENT"]


def test_fields_that_newer_clients_send_are_passed_over(shop):
    assert features(shop.app, ["orders:items"], {"customer_id": [1]}, something_new=[1]).status == 200


def test_features_on_demand_take_their_inputs_from_the_entities(shop):
    reply = features(shop.app, ["summed:total", "orders:items"], {"extra": [0.5, 1], "customer_id": [2, 9]})

    results = reply.results()
    assert list(results) == ["customer_id", "total", "items"]
    assert results["total"] == {
        "values": [7.5, None],
        "statuses": ["PRESENT", "NULL_VALUE"],
        "event_timestamps": [NO_TIME, NO_TIME],
    }
    assert results["items"]["values"] == [7, None]
