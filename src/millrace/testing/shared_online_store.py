"""What an online store that several processes open at once must do, beyond `OnlineStoreContract`.

class TestMyStore(SharedOnlineStoreContract):
    @pytest.fixture
    def open_again(self):
        handles = []

        def open_store():
            handles.append(open_my_store("my://address/of/this/test"))
            return handles[-1]

        yield open_store
        for handle in handles:
            handle.close()

    @pytest.fixture
    def store(self, open_again):
        return open_again()
"""

from __future__ import annotations

import os
import signal
import threading
import traceback
import warnings
from collections.abc import Callable
from typing import Any

from millrace.core.errors import StoreError
from millrace.testing.online_store import OnlineStoreContract, numbered

LONGEST_S = 60
"""A child that hangs is ended after this, and the test fails."""


def _append(old: bytes | None, new: bytes) -> bytes:
    return (old or b"") + new


def _replace(old: bytes | None, new: bytes) -> bytes:
    return new


def start_child(action: Callable[[], None]) -> int:
    """Fork; the child does `action` and ends: with 0, or with 1 and a traceback. Its process id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that other threads run at the fork is what is tested
        child = os.fork()
    if child:
        return child
    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LONGEST_S)
        action()
        code = 0
    except BaseException:  # noqa: BLE001 - the child must end here, whatever it was
        traceback.print_exc()
    finally:
        os._exit(code)


def end_of(child: int) -> int:
    """The exit code of a child."""
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


class SharedOnlineStoreContract(OnlineStoreContract):
    """Fixtures: `store`, fresh and empty; `open_again`, a function that opens the same store once more."""

    def test_another_handle_sees_what_was_merged(self, store: Any, open_again: Callable[[], Any]) -> None:
        other = open_again()
        assert other.read("view", [b"a"]) == [None]

        store.merge("view", [(b"a", b"1")], _append)
        other.merge("view", [(b"a", b"2")], _append)

        assert store.read("view", [b"a"]) == [b"12"]
        assert other.views() == ["view"]

    def test_what_was_synced_is_there_when_it_is_opened_again(self, store: Any, open_again: Callable[[], Any]) -> None:
        store.merge("view", numbered(1000), _replace)
        store.sync()
        store.close()

        again = open_again()

        assert again.read("view", [key for key, _ in numbered(1000)]) == [value for _, value in numbered(1000)]

    def test_a_closed_store_says_so(self, store: Any) -> None:
        store.close()

        codes = []
        actions: list[Callable[[], Any]] = [
            lambda: store.read("view", [b"a"]),
            lambda: store.merge("view", [(b"a", b"1")], _replace),
            lambda: store.views(),
            lambda: store.clear("view"),
            lambda: store.sync(),
        ]
        for action in actions:
            try:
                action()
            except StoreError as error:
                codes.append(error.code)
        assert codes == ["FEAT-20"] * 5

    def test_no_merge_is_lost_between_processes(self, store: Any, open_again: Callable[[], Any]) -> None:
        """Nor doubled: three processes append to the same keys, singly and in batches."""
        keys = [bytes([number]) for number in range(20)]

        def write() -> None:
            own = open_again()
            for _ in range(8):
                own.merge("view", [(key, b".") for key in keys], _append)
                own.merge("view", [(keys[0], b"!")], _append)
            own.close()

        children = [start_child(write) for _ in range(3)]

        assert [end_of(child) for child in children] == [0, 0, 0]
        found = store.read("view", keys)
        assert {value.count(b".") for value in found} == {24}
        assert found[0].count(b"!") == 24

    def test_a_reader_in_another_process_sees_whole_values(self, store: Any, open_again: Callable[[], Any]) -> None:
        store.merge("view", [(b"a", b"\x00" * 1000)], _replace)

        def read() -> None:
            own = open_again()
            while True:
                (value,) = own.read("view", [b"a"])
                assert len(set(value)) == 1
                assert len(value) == 1000 + 400 * value[0]
                if value[0] == 60:
                    own.close()
                    return

        child = start_child(read)
        for number in range(1, 61):
            store.merge("view", [(b"a", bytes([number]) * (1000 + 400 * number))], _replace)

        assert end_of(child) == 0

    def test_the_same_handle_works_on_in_a_fork(self, store: Any) -> None:
        store.merge("view", [(b"a", b"1")], _append)

        def work() -> None:
            assert store.read("view", [b"a"]) == [b"1"]
            store.merge("view", [(b"a", b"2")], _append)
            assert store.read("view", [b"a"]) == [b"12"]
            store.close()

        child = start_child(work)

        assert end_of(child) == 0
        store.merge("view", [(b"a", b"3")], _append)
        assert store.read("view", [b"a"]) == [b"123"]

    def test_parent_and_child_work_side_by_side(self, store: Any) -> None:
        store.merge("view", [(b"a", b"")], _append)

        def work() -> None:
            for _ in range(20):
                store.merge("view", [(b"a", b".")], _append)
                assert store.read("view", [b"a", b"b"])[1] is None

        children = [start_child(work), start_child(work)]
        work()

        assert [end_of(child) for child in children] == [0, 0]
        assert store.read("view", [b"a"]) == [b"." * 60]

    def test_a_fork_while_threads_read_and_write_is_not_stuck(self, store: Any) -> None:
        store.merge("view", numbered(50), _replace)
        is_done = threading.Event()
        problems: list[BaseException] = []

        def repeat(action: Callable[[], Any]) -> None:
            try:
                while not is_done.is_set():
                    action()
            except BaseException as error:  # noqa: BLE001 - told to the test's own thread
                problems.append(error)

        def read() -> None:
            assert store.read("view", [bytes(4)]) == [b"value 0"]

        def write() -> None:
            store.merge("busy", numbered(20), _replace)

        threads = [threading.Thread(target=repeat, args=(action,)) for action in (read, read, read, write)]
        for thread in threads:
            thread.start()

        def work() -> None:
            read()
            store.merge("child", [(b"a", b".")], _append)

        codes = [end_of(start_child(work)) for _ in range(5)]
        is_done.set()
        for thread in threads:
            thread.join()

        assert codes == [0] * 5
        assert problems == []
        assert store.read("child", [b"a"]) == [b"....."]
