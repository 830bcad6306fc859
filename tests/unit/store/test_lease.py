"""One process at a time, and a lost lease cannot write."""

import multiprocessing
import os
import signal

import pytest

from millrace.core.errors import Conflict
from millrace.store.lease import acquire, holding, release, renew
from millrace.store.ledger import Ledger


@pytest.fixture
def ledger(tmp_path):
    return Ledger.open(f"sqlite:///{tmp_path}/ledger.db")


def test_a_second_holder_is_refused_until_release(ledger):
    lease = acquire(ledger.database, "loop")
    with pytest.raises(Conflict, match="LEASE-01"):
        acquire(ledger.database, "loop")
    release(ledger.database, lease)

    assert lease.fence + 1 == acquire(ledger.database, "loop").fence


def test_an_expired_lease_goes_to_the_next_and_the_old_holder_cannot_write(ledger):
    old = acquire(ledger.database, "loop", seconds=-1)
    new = acquire(ledger.database, "loop")

    with pytest.raises(Conflict, match="LEASE-02"), ledger.transaction(old) as transaction:
        transaction.append("run", "churn", {})
    with ledger.transaction(new) as transaction:
        transaction.append("run", "churn", {})
    with pytest.raises(Conflict, match="LEASE-02"):
        renew(ledger.database, old)

    assert len(ledger.events()) == 1


def _hold(url, ready):
    acquire(Ledger.open(url).database, "loop", seconds=3600)
    ready.set()
    signal.pause()


def test_a_killed_holder_blocks_nobody(ledger, tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(f"sqlite:///{tmp_path}/ledger.db", ready))
    process.start()
    assert ready.wait(60)
    with pytest.raises(Conflict, match="LEASE-01"):
        acquire(ledger.database, "loop")
    os.kill(process.pid, signal.SIGKILL)
    process.join()

    with holding(ledger.database, "loop") as lease:
        assert lease.fence == 2


def test_renewing_never_shortens(ledger):
    lease = acquire(ledger.database, "loop", seconds=3600)
    (before,) = ledger.database.read("SELECT until FROM lease")

    renew(ledger.database, lease, seconds=60)
    assert ledger.database.read("SELECT until FROM lease") == [before]

    renew(ledger.database, lease, seconds=7200)
    assert ledger.database.read("SELECT until FROM lease")[0][0] > before[0] + 3000
