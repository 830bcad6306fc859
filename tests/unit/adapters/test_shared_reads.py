"""Threads that read at once share a question; each gets its own answer, or its own error."""

import threading

import pytest

from millrace.adapters.shared_reads import SharedReads
from millrace.core.errors import StoreError


class Server:
    """Answers with the keys; holds its first question until it is let go, so that others must gather."""

    def __init__(self, is_held=True):
        self.rounds = []
        self.begun = threading.Event()
        self.is_open = threading.Event()
        if not is_held:
            self.is_open.set()
        self.error = None

    def ask(self, questions):
        self.rounds.append([(view, list(keys)) for view, keys in questions])
        self.begun.set()
        assert self.is_open.wait(30)
        if self.error is not None:
            raise self.error
        return [[view.encode() + key for key in keys] for view, keys in questions]


def gathered(server, reads, count):
    """The first reader is held at the server; `count` more come meanwhile; all answers, or errors."""
    found = {}

    def read(number):
        try:
            found[number] = reads.read("v", [bytes([number])])
        except BaseException as error:
            found[number] = error

    threads = [threading.Thread(target=read, args=(number,)) for number in range(count + 1)]
    threads[0].start()
    assert server.begun.wait(30)
    for thread in threads[1:]:
        thread.start()
    while len(reads._waiting) < count:
        threading.Event().wait(0.001)
    server.is_open.set()
    for thread in threads:
        thread.join(30)
    return found


def test_a_lone_reader_asks_at_once():
    server = Server(is_held=False)

    assert SharedReads(server.ask, lanes=1, most_keys=10).read("v", [b"a", b"b"]) == [b"va", b"vb"]
    assert server.rounds == [[("v", [b"a", b"b"])]]


def test_readers_that_come_while_one_asks_share_the_next_round():
    server = Server()

    found = gathered(server, SharedReads(server.ask, lanes=1, most_keys=100), 20)

    assert found == {number: [b"v" + bytes([number])] for number in range(21)}
    assert [len(round_) for round_ in server.rounds] == [1, 20]


def test_a_round_has_no_more_keys_than_it_may():
    server = Server()

    found = gathered(server, SharedReads(server.ask, lanes=1, most_keys=8), 20)

    assert len(found) == 21
    assert max(len(round_) for round_ in server.rounds) == 8


def test_an_error_reaches_everybody_of_its_round_and_nobody_else():
    server = Server()
    server.error = StoreError("FEAT-20", "gone", fix="wait")
    reads = SharedReads(server.ask, lanes=1, most_keys=100)

    found = gathered(server, reads, 5)

    assert [(type(error), error.code) for error in found.values()] == [(StoreError, "FEAT-20")] * 6
    assert len({id(error) for error in found.values()}) >= 5  # those who asked raise the server's own
    server.error = None
    assert reads.read("v", [b"a"]) == [b"va"]


def test_a_reader_that_is_stopped_leaves_the_others_their_question():
    """KeyboardInterrupt in the thread that asks for all is that thread's alone."""
    server = Server(is_held=False)
    reads = SharedReads(server.ask, lanes=1, most_keys=100)
    begun, go_on = threading.Event(), threading.Event()
    asked = []

    def ask(questions):
        asked.append(len(questions))
        if len(asked) == 1:
            begun.set()
            assert go_on.wait(30)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return [list(keys) for _, keys in questions]

    reads._ask = ask
    found = []

    def read(number):
        try:
            found.append(reads.read("v", [bytes([number])]))
        except KeyboardInterrupt:
            found.append("stopped")

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    threads[0].start()
    assert begun.wait(30)
    for thread in threads[1:]:
        thread.start()
    while len(reads._waiting) < 3:
        threading.Event().wait(0.001)
    go_on.set()
    for thread in threads:
        thread.join(30)

    assert found.count("stopped") == 1
    assert len(found) == 4
    assert reads.read("v", [b"a"]) == [b"a"]


@pytest.mark.parametrize("lanes", [1, 3])
def test_no_more_questions_are_under_way_than_there_are_lanes(lanes):
    running, most, lock = 0, 0, threading.Lock()

    def ask(questions):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.001)
        with lock:
            running -= 1
        return [list(keys) for _, keys in questions]

    reads = SharedReads(ask, lanes=lanes, most_keys=3)
    wrong = []

    def read(number):
        for place in range(20):
            key = b"%d %d" % (number, place)
            if reads.read("v", [key]) != [key]:
                wrong.append(key)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert 1 <= most <= lanes
