"""Suites in the folder of a Great Expectations project."""

import json

import pytest

import millrace as mr
from millrace.cli.main import main
from millrace.core.errors import DataError

DOCUMENT = {
    "name": "orders",
    "id": "a1",
    "expectations": [{"type": "expect_table_row_count_to_equal", "kwargs": {"value": 2}, "meta": {}, "id": "b2"}],
    "meta": {"great_expectations_version": "1.24.1"},
    "notes": None,
}


@pytest.fixture
def folder(tmp_path):
    suites = tmp_path / "gx" / "expectations"
    (suites / "shop").mkdir(parents=True)
    (suites / ".ge_store_backend_id").write_text("store")
    (suites / "orders.json").write_text(json.dumps(DOCUMENT))
    return tmp_path / "gx"


def test_the_only_suite_of_a_folder_is_meant(folder):
    assert mr.Suite.load(folder).to_dict() == DOCUMENT
    assert mr.Suite.load(folder / "expectations").to_dict() == DOCUMENT


def test_a_suite_of_a_folder_has_a_name(folder):
    (folder / "expectations" / "shop" / "stock.json").write_text(json.dumps({**DOCUMENT, "name": "shop.stock"}))

    assert mr.Suite.load(folder / "orders").name == "orders"
    assert mr.Suite.load(str(folder / "shop.stock")).name == "shop.stock"
    assert mr.DataValidator(folder / "orders").validate({"a": [1, 2]}).success


def test_a_folder_with_several_suites_names_them(folder):
    (folder / "expectations" / "stock.json").write_text(json.dumps(DOCUMENT))

    with pytest.raises(DataError, match="VALID-51") as caught:
        mr.Suite.load(folder)
    assert "orders, stock" in str(caught.value)
    assert "gx/orders" in caught.value.fix


def test_a_folder_without_suites_is_none(tmp_path):
    with pytest.raises(DataError, match="VALID-51"):
        mr.Suite.load(tmp_path)


def test_a_name_that_is_not_there_is_told_with_the_nearest(folder):
    with pytest.raises(DataError, match="VALID-01") as caught:
        mr.Suite.load(folder / "order")
    assert "orders.json" in caught.value.fix


def test_a_suite_is_written_back_to_where_it_was(folder):
    suite = mr.Suite.load(folder / "orders").expect_column_to_exist("id")
    suite.save(folder / "orders")

    written = json.loads((folder / "expectations" / "orders.json").read_text())
    assert written["expectations"][0] == DOCUMENT["expectations"][0]
    assert written["expectations"][1]["type"] == "expect_column_to_exist"
    assert {key: written[key] for key in ("name", "id", "meta", "notes")} == {
        key: DOCUMENT[key] for key in ("name", "id", "meta", "notes")
    }


def test_a_suite_is_saved_as_a_file_outside_of_a_project(tmp_path):
    mr.Suite("one").save(tmp_path / "one")
    assert mr.Suite.load(tmp_path / "one").name == "one"


def test_the_command_takes_a_project_folder(folder, tmp_path, capsys):
    (tmp_path / "rows.csv").write_text("a\n1\n2\n")

    assert main(["data", "validate", str(tmp_path / "rows.csv"), "--suite", str(folder)]) == 0
    assert main(["data", "validate", str(tmp_path / "rows.csv"), "--suite", str(folder / "orders")]) == 0
    assert "orders: usable" in capsys.readouterr().out


class Theirs:
    def __init__(self, document):
        self.document = document

    def to_json_dict(self):
        return self.document


def test_an_object_of_gx_is_a_suite():
    assert mr.Suite.from_gx(Theirs(DOCUMENT)).to_dict() == DOCUMENT
    for validator in (mr.DataValidator(Theirs(DOCUMENT)), mr.DataValidator.from_gx(Theirs(DOCUMENT))):
        assert validator.validate_training_data({"a": [1, 2]})


@pytest.mark.parametrize("other", [3, Theirs({"name": "x"})])
def test_what_is_no_suite_of_gx_is_refused(other):
    with pytest.raises(DataError, match="VALID-03"):
        mr.DataValidator.from_gx(other)


def test_a_plain_folder_of_suites_names_files_that_can_be_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(20):
        (tmp_path / f"s{number:02}.json").write_text(json.dumps(DOCUMENT))

    with pytest.raises(DataError, match=f"the folder '{tmp_path.name}' holds 20 suites") as caught:
        mr.Suite.load(".")

    assert caught.value.why == f"one of: {', '.join(f's{number:02}.json' for number in range(12))}, ..."
    assert caught.value.fix == "name one: s00.json"
