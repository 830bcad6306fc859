"""What every online store must do. Subclass, give a `store` fixture, and pytest runs it all.

class TestMyStore(OnlineStoreContract):
    @pytest.fixture
    def store(self):
        store = open_my_store("my://")
        yield store
        store.close()
"""

from __future__ import annotations

import threading
from typing import Any


def _append(old: bytes | None, new: bytes) -> bytes:
    return (old or b"") + new


def _replace(old: bytes | None, new: bytes) -> bytes:
    return new


class OnlineStoreContract:
    """The behaviour that features rely on. `store` is a fixture: a fresh, empty store."""

    def test_a_key_that_was_never_written_is_none(self, store: Any) -> None:
        assert store.read("view", [b"a"]) == [None]

    def test_reading_no_keys_answers_nothing(self, store: Any) -> None:
        assert store.read("view", []) == []

    def test_values_come_in_the_order_of_the_keys_and_as_often(self, store: Any) -> None:
        store.merge("view", [(b"a", b"1"), (b"b", b"2")], _replace)

        assert store.read("view", [b"b", b"x", b"a", b"b"]) == [b"2", None, b"1", b"2"]

    def test_merge_combines_with_what_is_there(self, store: Any) -> None:
        store.merge("view", [(b"a", b"1")], _append)
        store.merge("view", [(b"a", b"2"), (b"a", b"3")], _append)

        assert store.read("view", [b"a"]) == [b"123"]

    def test_combine_is_told_none_for_a_new_key(self, store: Any) -> None:
        told: list[bytes | None] = []

        def combine(old: bytes | None, new: bytes) -> bytes:
            told.append(old)
            return new

        store.merge("view", [(b"a", b"1")], combine)
        store.merge("view", [(b"a", b"2")], combine)

        assert told[0] is None
        assert told[-1] == b"1"

    def test_items_may_be_a_generator(self, store: Any) -> None:
        store.merge("view", ((bytes([number]), b"v") for number in range(3)), _replace)

        assert store.read("view", [b"\x00", b"\x02"]) == [b"v", b"v"]

    def test_views_are_apart(self, store: Any) -> None:
        store.merge("view", [(b"a", b"1")], _replace)
        store.merge("view2", [(b"a", b"2")], _replace)
        store.merge("vie", [(b"wa", b"3")], _replace)

        assert store.read("view", [b"a"]) == [b"1"]
        assert store.read("view2", [b"a"]) == [b"2"]
        assert store.read("vie", [b"a", b"wa"]) == [None, b"3"]

    def test_views_lists_what_holds_keys(self, store: Any) -> None:
        assert store.views() == []

        store.merge("b@1", [(b"a", b"1")], _replace)
        store.merge("a@1", [(b"a", b"1"), (b"b", b"1")], _replace)
        store.merge("empty", [], _replace)

        assert store.views() == ["a@1", "b@1"]

    def test_clear_forgets_one_view(self, store: Any) -> None:
        store.merge("a", [(bytes([number]), b"1") for number in range(200)], _replace)
        store.merge("ab", [(b"k", b"2")], _replace)

        store.clear("a")
        store.clear("never there")

        assert store.views() == ["ab"]
        assert store.read("a", [b"\x00", b"\xc7"]) == [None, None]
        assert store.read("ab", [b"k"]) == [b"2"]

    def test_the_empty_key_is_a_key(self, store: Any) -> None:
        store.merge("view", [(b"", b"global")], _replace)

        assert store.read("view", [b""]) == [b"global"]
        assert store.views() == ["view"]

    def test_keys_are_any_bytes_of_any_length(self, store: Any) -> None:
        keys = [b"\x00", b"\x00\x00", b"\xff" * 10, b"k" * 600, b"k" * 601, b"a\x00b"]

        store.merge("view", [(key, str(place).encode()) for place, key in enumerate(keys)], _replace)

        assert store.read("view", keys) == [str(place).encode() for place in range(len(keys))]

    def test_large_values_stay_whole(self, store: Any) -> None:
        value = bytes(range(256)) * 4096

        store.merge("view", [(b"a", value)], _replace)

        assert store.read("view", [b"a"]) == [value]

    def test_an_error_in_combine_leaves_its_key_as_it_was(self, store: Any) -> None:
        def refuse(old: bytes | None, new: bytes) -> bytes:
            raise ValueError("refused")

        store.merge("view", [(b"a", b"1")], _replace)
        told = ""
        try:
            store.merge("view", [(b"a", b"2")], refuse)
        except ValueError as error:
            told = str(error)

        assert told == "refused"
        assert store.read("view", [b"a"]) == [b"1"]
        store.merge("view", [(b"a", b"3")], _replace)
        assert store.read("view", [b"a"]) == [b"3"]

    def test_sync_keeps_everything(self, store: Any) -> None:
        store.merge("view", [(b"a", b"1")], _replace)
        store.sync()

        assert store.read("view", [b"a"]) == [b"1"]

    def test_no_merge_is_lost_between_threads(self, store: Any) -> None:
        problems: list[BaseException] = []

        def write() -> None:
            try:
                for _ in range(50):
                    store.merge("view", [(b"a", b".")], _append)
            except BaseException as error:  # noqa: BLE001 - told to the test's own thread
                problems.append(error)

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert problems == []
        assert store.read("view", [b"a"]) == [b"." * 200]

    def test_readers_see_whole_values_while_a_writer_works(self, store: Any) -> None:
        is_done = threading.Event()
        torn: list[Any] = []

        def read() -> None:
            while not is_done.is_set():
                try:
                    (value,) = store.read("view", [b"a"])
                except BaseException as error:  # noqa: BLE001 - told to the test's own thread
                    torn.append(error)
                    return
                if value is not None and len(set(value)) != 1:
                    torn.append(value)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(100):
            store.merge("view", [(b"a", bytes([number]) * (1000 + number * 500))], _replace)
        is_done.set()
        for thread in threads:
            thread.join()

        assert torn == []
