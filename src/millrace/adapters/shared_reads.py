"""Threads that read at the same time share one question to a server.

A hundred threads with a connection each queue behind one interpreter lock and one server: every one of them pays for
its own round trip. Here the first thread to come asks for all that are waiting, hands out the answers, and leaves the
next round to one of those that came meanwhile. Nobody waits for company: a lone thread asks at once.
"""

from __future__ import annotations

import copy
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence

Question = tuple[str, Sequence[bytes]]
Answer = list[bytes | None]


class _Asked:
    """One thread's question. Its lock opens when there is an answer, an error, or the lead to take over."""

    __slots__ = ("answer", "error", "lock", "question")

    def __init__(self, question: Question) -> None:
        self.question = question
        self.answer: Answer | None = None
        self.error: Exception | None = None
        self.lock = threading.Lock()
        self.lock.acquire()


class SharedReads:
    """Reads of many threads, gathered.

    Parameters
    ----------
    ask : callable
        Answers several questions (view, keys) in one go, in their order. Called by one thread per lane at a time.
    lanes : int
        Questions under way at once.
    most_keys : int
        Keys of one round, unless a single question has more.
    """

    def __init__(self, ask: Callable[[list[Question]], list[Answer]], *, lanes: int, most_keys: int) -> None:
        self._ask = ask
        self._lanes = lanes
        self._most_keys = most_keys
        self.start_anew()
        _all.add(self)

    def read(self, view: str, keys: Sequence[bytes]) -> Answer:
        """The answer to one question; raises what asking raised."""
        mine = _Asked((view, keys))
        with self._lock:
            is_leader = self._leaders < self._lanes
            if is_leader:
                self._leaders += 1
            else:
                self._waiting.append(mine)
        if not is_leader:
            mine.lock.acquire()
        if mine.answer is None and mine.error is None:
            self._lead(mine)
        if mine.error is not None:
            raise copy.copy(mine.error) from mine.error  # one exception object cannot rise in many threads
        assert mine.answer is not None
        return mine.answer

    def start_anew(self) -> None:
        """Nobody asks and nobody waits: so it is at first, and in a forked child, where those who did do not run."""
        self._lock = threading.Lock()
        self._waiting: deque[_Asked] = deque()
        self._leaders = 0

    def _lead(self, mine: _Asked) -> None:
        """One round for this thread and those that wait; the next one is another's."""
        with self._lock:
            round_ = self._gather(mine)
        others = round_[1:]
        try:
            for asked, answer in zip(round_, self._ask([asked.question for asked in round_]), strict=True):
                asked.answer = answer
        except Exception as error:
            for asked in others:
                asked.answer, asked.error = None, error
            raise
        except BaseException:  # this thread is stopped; the others ask again
            with self._lock:
                self._waiting.extendleft(reversed(others))
            others = []
            raise
        finally:
            self._hand_over()
            for asked in others:
                asked.lock.release()

    def _gather(self, mine: _Asked) -> list[_Asked]:
        round_, keys = [mine], len(mine.question[1])
        while self._waiting:
            keys += len(self._waiting[0].question[1])
            if keys > self._most_keys:
                break
            round_.append(self._waiting.popleft())
        return round_

    def _hand_over(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().lock.release()
            else:
                self._leaders -= 1


_all: weakref.WeakSet[SharedReads] = weakref.WeakSet()


def _start_all_anew() -> None:
    for reads in list(_all):
        reads.start_anew()


os.register_at_fork(after_in_child=_start_all_anew)
