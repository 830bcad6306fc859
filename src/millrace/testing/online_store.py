"""What every online store must do. Subclass, give a `store` fixture, and pytest runs it all.

class TestMyStore(OnlineStoreContract):
    @pytest.fixture
    def store(self):
        store = open_my_store("my://")
        yield store
        store.close()

A store that several processes or hosts open at once has more to prove: `millrace.testing.shared_online_store`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any


def _append(old: bytes | None, new: bytes) -> bytes:
    return (old or b"") + new


def _replace(old: bytes | None, new: bytes) -> bytes:
    return new


def run_threads(*actions: Callable[[], None]) -> list[BaseException]:
    """Run each action in a thread of its own; what they raised."""
    problems: list[BaseException] = []

    def run(action: Callable[[], None]) -> None:
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            problems.append(error)

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return problems


def numbered(count: int) -> Iterator[tuple[bytes, bytes]]:
    """Items whose values follow from their keys."""
    return ((number.to_bytes(4, "big"), b"value %d" % number) for number in range(count))


class OnlineStoreContract:
    """The behaviour that features rely on. `store` is a fixture: a fresh, empty store.

    `many` items are merged where size matters; less for a store that takes a request per item. `large` is the size of
    a value that must stay whole.
    """

    many = 50_000
    large = 1 << 20

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
        value = (bytes(range(256)) * 4096)[: self.large]

        store.merge("view", [(b"a", value), (b"b", b"small")], _replace)

        assert len(value) == self.large
        assert store.read("view", [b"a", b"b"]) == [value, b"small"]

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
        def write() -> None:
            for _ in range(50):
                store.merge("view", [(b"a", b".")], _append)

        assert run_threads(write, write, write, write) == []
        assert store.read("view", [b"a"]) == [b"." * 200]

    def test_readers_see_whole_values_while_a_writer_works(self, store: Any) -> None:
        is_done = threading.Event()
        torn: list[bytes] = []

        def read() -> None:
            while not is_done.is_set():
                (value,) = store.read("view", [b"a"])
                if value is not None and len(set(value)) != 1:
                    torn.append(value)

        def write() -> None:
            try:
                for number in range(100):
                    store.merge("view", [(b"a", bytes([number]) * (1000 + number * 500))], _replace)
            finally:
                is_done.set()

        assert run_threads(read, read, read, write) == []
        assert torn == []

    def test_each_of_many_threads_gets_its_own_answer(self, store: Any) -> None:
        store.merge("view", numbered(200), _replace)
        store.merge("other", ((key, b"other " + value) for key, value in numbered(200)), _replace)

        def read(first: int) -> None:
            for place in range(40):
                number = (first * 7 + place) % 200
                key, value = number.to_bytes(4, "big"), b"value %d" % number
                assert store.read("view", [key, b"none", key]) == [value, None, value]
                assert store.read("other", [key]) == [b"other " + value]

        assert run_threads(*(lambda first=first: read(first) for first in range(30))) == []

    def test_an_empty_value_is_a_value(self, store: Any) -> None:
        store.merge("view", [(b"a", b"")], _replace)

        assert store.read("view", [b"a", b"b"]) == [b"", None]
        assert store.views() == ["view"]

    def test_views_may_have_any_name(self, store: Any) -> None:
        names = ["käufer@1", "注文@2", "a:b", "a*", "a?b[c]", "50%_", "with space", "x" * 100, "schema"]

        for place, name in enumerate(names):
            store.merge(name, [(b"key", str(place).encode())], _replace)

        assert store.views() == sorted(names)
        assert [store.read(name, [b"key"]) for name in names] == [[str(place).encode()] for place in range(len(names))]
        store.clear("a*")
        assert store.views() == sorted(set(names) - {"a*"})

    def test_a_large_batch_arrives_whole(self, store: Any) -> None:
        store.merge("view", numbered(self.many), _replace)
        store.merge("view", ((key, b"!") for key, _ in numbered(self.many)), _append)

        keys = [key for key, _ in numbered(self.many)]
        assert store.read("view", keys) == [value + b"!" for _, value in numbered(self.many)]

    def test_ten_thousand_keys_are_read_at_once(self, store: Any) -> None:
        store.merge("view", numbered(500), _replace)
        keys = [(number % 1000).to_bytes(4, "big") for number in range(10_000)]

        found = store.read("view", keys)

        assert found == [b"value %d" % (n % 1000) if n % 1000 < 500 else None for n in range(10_000)]

    def test_values_of_one_key_are_merged_in_their_order(self, store: Any) -> None:
        """However many they are, and whatever lies between them."""
        items = [(b"%d" % (number % 3), b"%d," % number) for number in range(9_000)]

        store.merge("view", items, _append)

        wanted = [b"".join(b"%d," % number for number in range(first, 9_000, 3)) for first in range(3)]
        assert store.read("view", [b"0", b"1", b"2"]) == wanted

    def test_a_combine_that_keeps_the_old_value_changes_nothing(self, store: Any) -> None:
        store.merge("view", [(b"a", b"1"), (b"b", b"1")], _replace)

        store.merge("view", [(b"a", b"2"), (b"b", b"2"), (b"c", b"2")], lambda old, new: new if old is None else old)

        assert store.read("view", [b"a", b"b", b"c"]) == [b"1", b"1", b"2"]

    def test_items_that_fail_halfway_leave_whole_values(self, store: Any) -> None:
        def items() -> Iterator[tuple[bytes, bytes]]:
            yield from numbered(self.many // 2)
            raise ConnectionAbortedError("the source is gone")

        told = ""
        try:
            store.merge("view", items(), _replace)
        except ConnectionAbortedError as error:
            told = str(error)

        assert told == "the source is gone"
        found = store.read("view", [key for key, _ in numbered(self.many // 2)])
        wanted = [value for _, value in numbered(self.many // 2)]
        assert all(value in (None, want) for value, want in zip(found, wanted, strict=True))
        store.merge("view", numbered(3), _replace)
        assert store.read("view", [bytes(4)]) == [b"value 0"]

    def test_items_may_be_made_from_what_the_store_holds(self, store: Any) -> None:
        store.merge("view", numbered(10), _replace)

        store.merge("copy", ((key, store.read("view", [key])[0]) for key, _ in numbered(10)), _replace)

        assert store.read("copy", [bytes(4)]) == [b"value 0"]

    def test_a_large_view_is_cleared_and_starts_again_from_nothing(self, store: Any) -> None:
        store.merge("view", numbered(self.many), _replace)
        store.merge("kept", numbered(10), _replace)

        store.clear("view")

        assert store.views() == ["kept"]
        assert set(store.read("view", [key for key, _ in numbered(self.many)])) == {None}
        store.merge("view", [(bytes(4), b"new")], _append)
        assert store.read("view", [bytes(4)]) == [b"new"]
        assert store.views() == ["kept", "view"]

    def test_a_view_is_handed_out_whole(self, store: Any) -> None:
        long_keys = [(b"", b"empty"), (b"k" * 2000, b"long"), (b"k" * 2001, b"longer"), (b"\xff" * 600, b"high")]
        count = min(self.many, 2_500)
        store.merge("view", numbered(count), _replace)
        store.merge("view", long_keys, _replace)
        store.merge("view2", [(b"x", b"another")], _replace)

        assert dict(store.items("view")) == {**dict(numbered(count)), **dict(long_keys)}
        assert list(store.items("never there")) == []

    def test_closing_twice_is_closing(self, store: Any) -> None:
        store.merge("view", [(b"a", b"1")], _replace)

        store.close()
        store.close()
