"""What every blob store must do. Subclass `BlobStoreContract`, give a `blobs` fixture, and pytest runs it all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from millrace.core.errors import StoreError
from millrace.core.ids import digest_bytes


class BlobStoreContract:
    """The behaviour that artifacts and bundles rely on. `blobs` is a fixture: a fresh, empty store."""

    def test_bytes_come_back_under_their_digest(self, blobs: Any) -> None:
        for data in (b"", b"rows", b"\x00" * 100_000):
            assert blobs.put(data) == digest_bytes(data)
            assert blobs.get(digest_bytes(data)) == data

    def test_the_same_bytes_are_one_blob(self, blobs: Any) -> None:
        assert blobs.put(b"once") == blobs.put(memoryview(b"once"))

    def test_a_file_is_stored_by_what_it_holds(self, blobs: Any, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"in a file")

        digest = blobs.put_file(tmp_path / "file")

        assert digest == blobs.put(b"in a file")
        assert blobs.get_file(digest).read_bytes() == b"in a file"

    def test_has_tells_what_is_there(self, blobs: Any) -> None:
        assert not blobs.has(digest_bytes(b"absent"))
        assert blobs.has(blobs.put(b"present"))

    def test_what_is_missing_says_so(self, blobs: Any) -> None:
        for ask in (blobs.get, blobs.get_file):
            try:
                ask(digest_bytes(b"absent"))
            except StoreError as error:
                assert error.code == "BLOB-01"  # noqa: PT017 - pytest is not needed to ship the contract
            else:
                raise AssertionError("a missing blob was given")
