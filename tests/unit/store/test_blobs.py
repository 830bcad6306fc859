"""Blobs are whole or absent, and checked on every read."""

import pytest

from millrace.core.errors import StoreError
from millrace.store.blobs import FileBlobs, open_blobs


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


def test_a_full_disk_leaves_nothing_half_written(blobs):
    import resource
    import signal

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    earlier = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StoreError, match="STORE-01"):
            blobs.put(b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, earlier)

    assert [path for path in blobs.root.rglob("*") if path.is_file()] == []
    assert blobs.get(blobs.put(b"x" * 5000)) == b"x" * 5000


def test_blobs_open_by_path_or_url(tmp_path):
    digest = open_blobs(str(tmp_path / "b")).put(b"x")

    assert open_blobs(f"file://{tmp_path}/b").get(digest) == b"x"
