"""Content-addressed bytes: a blob's name is the SHA-256 of what it holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from millrace.core.errors import StoreError
from millrace.core.ids import digest_bytes
from millrace.core.plugins import load_plugin, scheme_of
from millrace.store.disk import disk_error, write_atomic, write_atomic_as

_CHUNK = 1 << 20


class BlobStore(Protocol):
    """Immutable bytes by digest. Putting the same bytes twice is one blob."""

    def put(self, data: bytes | memoryview) -> str:
        """Store `data` durably; returns its digest."""
        ...

    def put_file(self, path: Path) -> str:
        """Store the bytes of a file durably; returns their digest."""
        ...

    def get(self, digest: str) -> bytes:
        """The bytes, checked against `digest`. Raises StoreError BLOB-01 (missing) or BLOB-02 (changed)."""
        ...

    def get_file(self, digest: str) -> Path:
        """A local file with those bytes, checked; the caller must not change it."""
        ...

    def has(self, digest: str) -> bool:
        """Whether the blob is there (its bytes are not checked)."""
        ...


class FileBlobs:
    """Blobs in a folder, two hexadecimal digits a level."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, data: bytes | memoryview) -> str:
        digest = digest_bytes(data)
        path = self._path(digest)
        if not self._is_whole(digest):
            write_atomic(path, data)
        return digest

    def put_file(self, path: Path) -> str:
        digest = digest_file(path)
        target = self._path(digest)
        if self._is_whole(digest):
            return digest

        def copy(file: BinaryIO) -> Path:
            seal = hashlib.sha256()  # again: the file may have changed since, and a blob is named by what it holds
            for chunk in _read_chunks(path):
                seal.update(chunk)
                file.write(chunk)
            return self._path(seal.hexdigest())

        return write_atomic_as(target, copy).name

    def get(self, digest: str) -> bytes:
        try:
            data = self._path(digest).read_bytes()
        except FileNotFoundError as error:
            raise self._missing(digest) from error
        if digest_bytes(data) != digest:
            raise self._changed(digest)
        return data

    def get_file(self, digest: str) -> Path:
        path = self._path(digest)
        if not path.exists():
            raise self._missing(digest)
        if digest_file(path) != digest:
            raise self._changed(digest)
        return path

    def has(self, digest: str) -> bool:
        return self._path(digest).exists()

    def _is_whole(self, digest: str) -> bool:
        """Whether the blob is there with its own bytes; a damaged one is written again by whoever has them."""
        path = self._path(digest)
        return path.exists() and digest_file(path) == digest

    def _path(self, digest: str) -> Path:
        return self.root / digest[:2] / digest[2:4] / digest

    def _missing(self, digest: str) -> StoreError:
        return StoreError(
            "BLOB-01",
            f"the blob {digest[:12]} is not in the store",
            where=str(self._path(digest)),
            why="it was deleted, or the project points at another store than the one that wrote it",
            fix="restore the folder from a backup, or run the step that made it again",
        )

    def _changed(self, digest: str) -> StoreError:
        return StoreError(
            "BLOB-02",
            f"the blob {digest[:12]} does not hold the bytes it was stored with",
            where=str(self._path(digest)),
            why="the file was changed on disk; nothing was loaded from it",
            fix="delete that file and restore it from a backup, or run the step that made it again",
        )


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes. Raises StoreError when it cannot be read."""
    seal = hashlib.sha256()
    for chunk in _read_chunks(path):
        seal.update(chunk)
    return seal.hexdigest()


def _read_chunks(path: Path) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        raise disk_error(error, path) from error


def open_file_blobs(url: str) -> FileBlobs:
    """Blobs in the folder `url` (a path, or ``file://`` and a path)."""
    return FileBlobs(Path(url.removeprefix("file://")))


def open_blobs(url: str) -> BlobStore:
    """The blob store behind `url`."""
    store: BlobStore = load_plugin("blobs", scheme_of(url))(url)
    return store
