"""Blobs are whole or absent, and checked on every read."""

import resource
import signal
from contextlib import contextmanager

import pytest

from millrace.core.errors import StoreError
from millrace.store.blobs import FileBlobs, digest_file, open_blobs


@pytest.fixture
def blobs(tmp_path):
    return FileBlobs(tmp_path / "blobs")


def test_bytes_come_back_under_their_digest(blobs, tmp_path):
    digest = blobs.put(b"rows")
    (tmp_path / "file").write_bytes(b"rows")

    assert digest == blobs.put_file(tmp_path / "file")
    assert blobs.get(digest) == b"rows"
    assert blobs.get_file(digest).read_bytes() == b"rows"
    assert blobs.has(digest)


def test_one_changed_byte_is_refused(blobs):
    digest = blobs.put(b"a model of some weight")
    path = blobs.get_file(digest)
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)

    with pytest.raises(StoreError, match="BLOB-02"):
        blobs.get(digest)
    with pytest.raises(StoreError, match="BLOB-02"):
        blobs.get_file(digest)


def test_a_missing_blob_says_so(blobs):
    with pytest.raises(StoreError, match="BLOB-01"):
        blobs.get("0" * 64)


@pytest.fixture
def small_disk():
    """``with small_disk(bytes):`` no file may grow beyond that."""

    @contextmanager
    def limited(size):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        earlier = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, earlier)

    return limited


def test_a_full_disk_leaves_nothing_half_written(blobs, small_disk):
    with small_disk(1000), pytest.raises(StoreError, match="STORE-01"):
        blobs.put(b"x" * 5000)

    assert [path for path in blobs.root.rglob("*") if path.is_file()] == []
    assert blobs.get(blobs.put(b"x" * 5000)) == b"x" * 5000


def test_a_file_that_changes_meanwhile_is_stored_under_what_was_copied(blobs, tmp_path, monkeypatch):
    def digest_then_change(path):
        digest = digest_file(path)
        with open(path, "ab") as file:
            file.write(b" and more")
        return digest

    monkeypatch.setattr("millrace.store.blobs.digest_file", digest_then_change)
    (tmp_path / "file").write_bytes(b"rows")
    digest = blobs.put_file(tmp_path / "file")
    monkeypatch.undo()

    assert blobs.get(digest) == b"rows and more"
    assert [path.name for path in blobs.root.rglob("*") if path.is_file()] == [digest]


def test_a_file_that_is_not_there_is_named(blobs, tmp_path):
    with pytest.raises(StoreError, match="STORE-04") as caught:
        blobs.put_file(tmp_path / "absent")

    assert caught.value.where == str(tmp_path / "absent")


def test_a_file_larger_than_the_disk_leaves_nothing_half_written(blobs, tmp_path, small_disk):
    (tmp_path / "file").write_bytes(b"x" * 5000)
    with small_disk(1000), pytest.raises(StoreError, match="STORE-01"):
        blobs.put_file(tmp_path / "file")

    assert [path for path in blobs.root.rglob("*") if path.is_file()] == []
    assert blobs.get(blobs.put_file(tmp_path / "file")) == b"x" * 5000


def test_blobs_open_by_path_or_url(tmp_path):
    digest = open_blobs(str(tmp_path / "b")).put(b"x")

    assert open_blobs(f"file://{tmp_path}/b").get(digest) == b"x"
