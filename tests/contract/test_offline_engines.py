"""Every offline engine passes the public conformance suite."""

import pytest

from millrace.features.offline.engine import EmbeddedEngine, open_offline
from millrace.testing.offline_engine import OfflineEngineContract
from spark_session import spark  # noqa: F401 - a fixture

pytestmark = pytest.mark.xdist_group("spark")


class TestEmbedded(OfflineEngineContract):
    @pytest.fixture
    def engine(self):
        return EmbeddedEngine()


class TestSpark(OfflineEngineContract):
    @pytest.fixture
    def engine(self, spark):  # noqa: F811
        from millrace.adapters.spark import SparkEngine

        return SparkEngine(spark, buckets=3)


class TestSparkOverFiles(TestSpark):
    in_files = True


def test_the_embedded_engine_is_found_by_its_name():
    assert isinstance(open_offline("embedded://"), EmbeddedEngine)
