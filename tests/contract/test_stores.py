"""The shipped stores keep the contracts that every store must keep."""

import pytest

from millrace.store.blobs import open_blobs
from millrace.store.database import open_database
from millrace.testing.blob_store import BlobStoreContract
from millrace.testing.database import DatabaseContract


class TestFileBlobs(BlobStoreContract):
    @pytest.fixture
    def blobs(self, tmp_path):
        return open_blobs(str(tmp_path / "blobs"))


class TestSqlite(DatabaseContract):
    @pytest.fixture
    def database(self, tmp_path):
        database = open_database(f"sqlite:///{tmp_path}/ledger.db")
        yield database
        database.close()
