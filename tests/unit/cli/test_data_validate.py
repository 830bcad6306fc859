"""What `millrace data validate` writes, and how it exits: reports for people, JUnit for machines."""

import errno
import io
import json
import threading
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.cli import data_reports
from millrace.cli.main import main
from millrace.validation.suite import Expectation, Suite

NASTY = "</td><script>alert(1)</script>\x07\x1b[31m & é"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.table({"age": [17, 40, 200], "plan": ["a", NASTY, None]}), "people.parquet")
    suite = Suite("people")
    suite.expect_column_values_to_be_in_set("plan", ["b"], severity="warning")
    suite.expect_column_values_to_be_between("age", 18, 100)
    suite.expect_column_values_to_not_be_null("age")
    suite.save("suite.json")
    return tmp_path


@pytest.fixture
def run(capsys):
    def run(*words):
        code = main(["data", "validate", *words])
        return code, capsys.readouterr()

    return run


class Page(HTMLParser):
    """What of a page a browser would fetch or run, and whether its tags close."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.outside = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.outside += [value for name, value in attrs if name in ("src", "href", "srcset", "action")]
        self.outside += [name for name, _ in attrs if name.startswith("on")]
        if tag not in ("meta", "br", "rect", "link", "img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("rect", "br"):
            assert self.open.pop() == tag


def test_the_page_stands_alone_and_shows_what_the_batch_holds_as_text(folder, run):
    code, told = run("people.parquet", "--suite", "suite.json", "--report", "html", "out/page.html")

    text = (folder / "out" / "page.html").read_text(encoding="utf-8")
    page = Page(text)
    assert (code, told.err) == (1, "written: out/page.html\n")
    assert page.open == []
    assert page.outside == []
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert "svg" in page.tags
    assert "&lt;script&gt;" in text
    assert "\\x07" in text
    assert "\x07" not in text
    assert "prefers-color-scheme: dark" in text
    assert text.index("values between 18 and 100") < text.index("values one of b")


def test_reports_are_named_after_the_batch_unless_a_file_is_given(folder, run):
    code, _ = run("people.parquet", "--suite", "suite.json", "--report", "html", "json", "--junit", "junit.xml")

    written = json.loads((folder / "people.report.json").read_text())
    assert code == 1
    assert (folder / "people.report.html").exists()
    assert written["statistics"]["evaluated_expectations"] == 3
    assert run("people.parquet", "--suite", "suite.json", "--report", "other.json")[0] == 1
    assert (folder / "other.json").exists()


@pytest.mark.parametrize("words", [["htm"], ["out.pdf"], ["html", "page.txt"]])
def test_a_report_that_is_none_is_refused_before_anything_is_read(folder, run, words):
    code, told = run("nothing.parquet", "--suite", "suite.json", "--report", *words)

    assert (code, told.err.split()[0]) == (2, "VALID-60")


def test_junit_has_a_case_for_each_rule_and_holds_only_what_xml_can(folder, run):
    run("people.parquet", "--suite", "suite.json", "--junit", "junit.xml")

    suite = ElementTree.parse(folder / "junit.xml").getroot().find("testsuite")
    cases = suite.findall("testcase")
    assert [case.find("*").tag if len(case) else "ok" for case in cases] == ["skipped", "failure", "ok"]
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "3",
        "failures": "1",
        "errors": "0",
        "skipped": "1",
    }
    assert "row 0: 17" in cases[1].find("failure").text
    assert "row 2: 200" in cases[1].find("failure").text
    assert "\\x07" in cases[0].find("skipped").get("message")
    assert "</td><script>" in cases[0].find("skipped").get("message")


def test_an_empty_batch_and_a_suite_without_rules_are_no_green_build(folder, run):
    pq.write_table(pa.table({"age": pa.array([], pa.int64()), "plan": pa.array([], pa.string())}), "none.parquet")
    Suite("nothing").save("nothing.json")

    codes = [
        run("none.parquet", "--suite", "suite.json", "--junit", "empty.xml")[0],
        run("people.parquet", "--suite", "nothing.json", "--junit", "ruleless.xml")[0],
    ]

    empty, ruleless = (ElementTree.parse(folder / f"{name}.xml").getroot()[0] for name in ("empty", "ruleless"))
    assert codes == [1, 2]
    assert int(empty.get("failures")) >= 1
    assert (ruleless.get("errors"), ruleless.get("tests")) == ("1", "1")


def test_a_suite_without_rules_is_no_success_to_who_reads_the_json_alone(folder, run):
    Suite("nothing").save("nothing.json")

    code, told = run("people.parquet", "--suite", "nothing.json", "--json", "--report", "facts.json")

    found = json.loads(told.out)
    assert (code, found["success"], found["meta"]["verdict"]) == (2, False, "inconclusive")
    assert found["meta"]["reason"] == "the suite 'nothing' has no rule"
    assert json.loads((folder / "facts.json").read_text()) == found


@pytest.mark.parametrize("severity", ["info", "warning"])
def test_a_suite_that_can_block_nothing_says_so(folder, run, severity):
    Suite("mild").expect_column_values_to_be_between("age", 18, 100, severity=severity).save("mild.json")

    code, told = run("people.parquet", "--suite", "mild.json", "--json")
    _, usual = run("people.parquet", "--suite", "suite.json", "--json")

    note = "no rule of the suite 'mild' is critical: it blocks no batch with rows"
    assert (code, told.err, json.loads(told.out)["meta"]["notes"]) == (0, f"note: {note}\n", [note])
    assert (usual.err, json.loads(usual.out)["meta"]["notes"]) == ("", [])


def test_what_only_cannot_be_run_exits_2_and_a_found_fault_beside_it_exits_1(folder, run):
    unknown = Expectation("expect_the_unheard_of", {"column": "age"})
    Suite("unknown", [unknown]).save("unknown.json")
    found = Suite("both", [unknown]).expect_column_values_to_be_between("age", 18, 100)
    found.save("both.json")

    assert run("people.parquet", "--suite", "unknown.json")[0] == 2
    assert run("people.parquet", "--suite", "both.json")[0] == 1
    assert run("people.parquet", "--suite", "unknown.json", "--junit", "junit.xml")[0] == 2
    assert ElementTree.parse(folder / "junit.xml").getroot()[0].get("errors") == "1"


def test_the_terminal_shows_the_grave_before_the_light_with_counts_and_examples(folder, run):
    lines = run("people.parquet", "--suite", "suite.json")[1].out.splitlines()

    assert lines[0].startswith("people: blocked. 1 of 3 rules failed")
    assert lines[1] == "  critical  age: values between 18 and 100"
    assert lines[2] == "            2 of 3 (66.7 %) are not: 17, 200"
    assert lines[3] == "  warning   plan: values one of b"
    assert lines[-1] == "  1 of 3 rules hold"


def test_less_is_told_when_asked(folder, run):
    words = ["people.parquet", "--suite", "suite.json", "--json", "--result-format"]

    bare = json.loads(run(*words, "BOOLEAN_ONLY")[1].out)
    full = json.loads(run(*words, "COMPLETE")[1].out)

    assert [one["result"] for one in bare["results"]] == [{}, {}, {}]
    assert full["results"][1]["result"]["unexpected_list"] == [17, 200]


def test_a_parameter_that_is_not_name_and_value_is_refused(folder, run):
    with pytest.raises(SystemExit) as end:
        run("people.parquet", "--suite", "suite.json", "--parameter", "limit")

    assert end.value.code == 2


def test_a_profile_is_told_as_text_json_and_page(folder, capsys):
    assert main(["data", "profile", "people.parquet", "--report", "page.html", "facts.json"]) == 0
    text = capsys.readouterr().out
    assert main(["data", "profile", "people.parquet", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)

    assert text.startswith("3 rows, 2 columns\n")
    assert "\x07" not in text
    assert "\x1b" not in text
    assert facts == json.loads((folder / "facts.json").read_text())
    assert [column["missing"] for column in facts["columns"]] == [0, 1]
    page = Page((folder / "page.html").read_text(encoding="utf-8"))
    assert (page.open, page.outside) == ([], [])
    assert "script" not in page.tags


@pytest.mark.parametrize(
    ("words", "where"),
    [(["--label", "age"], None), (["--against", "people.parquet", "--label", "agee"], "people.parquet")],
)
def test_labels_are_compared_with_a_references(folder, run, words, where):
    code, told = run("people.parquet", "--suite", "suite.json", *words, "--json")

    error = json.loads(told.out)["error"]
    assert (code, error["code"], error.get("where")) == (2, "VALID-67", where)


def test_what_left_the_reference_stands_in_every_report(folder, run):
    pq.write_table(pa.table({"plan": ["a"] * 200}), "before.parquet")
    pq.write_table(pa.table({"plan": ["x"] * 200}), "now.parquet")
    Suite("plans").expect_column_to_exist("plan").save("plans.json")

    words = ["--suite", "plans.json", "--report", "page.html", "facts.json", "--junit", "junit.xml"]
    alone = run("now.parquet", *words)[0]
    code, told = run("now.parquet", "--against", "before.parquet", *words)

    assert (alone, code) == (0, 1)
    assert told.out.startswith("plans: blocked. data incident: plan: 100.0% of the rows are of groups")
    (incident,) = json.loads((folder / "facts.json").read_text())["incidents"]
    assert (incident["rule"], incident["outcome"]) == ("validation.population_incident", "fail")
    assert "another population" in (folder / "page.html").read_text()
    assert ElementTree.parse(folder / "junit.xml").getroot()[0].get("failures") == "1"


def test_a_long_scan_says_on_a_terminal_that_it_goes_on(monkeypatch):
    class Terminal(io.StringIO):
        shown = threading.Event()

        def isatty(self):
            return True

        def write(self, text):
            if "judging it" in text:
                self.shown.set()
            return super().write(text)

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(data_reports, "_PATIENCE_S", 0)
    monkeypatch.setattr(data_reports, "_REDRAW_S", 0.001)

    with data_reports.waiting("judging it"):
        assert terminal.shown.wait(30)

    assert terminal.getvalue().endswith("\r\x1b[K")  # and leaves nothing behind


def test_where_nobody_watches_nothing_is_drawn(capsys):
    with data_reports.waiting("judging it"):
        pass

    assert capsys.readouterr().err == ""


def test_junit_of_an_earlier_batch_does_not_stand_for_one_that_cannot_be_read(folder, run):
    run("people.parquet", "--suite", "suite.json", "--junit", "junit.xml")
    whole = (folder / "people.parquet").read_bytes()
    (folder / "people.parquet").write_bytes(whole[:-100])

    code, told = run("people.parquet", "--suite", "suite.json", "--junit", "junit.xml")

    suite = ElementTree.parse(folder / "junit.xml").getroot()[0]
    assert (code, told.err.split()[0]) == (2, "written:")
    assert (suite.get("tests"), suite.get("errors")) == ("1", "1")
    assert suite.find("testcase/error").get("message").startswith("VALID-10  'people.parquet' cannot be read")


@pytest.mark.parametrize("place", [".", "/"])
def test_a_folder_is_no_report(folder, run, place):
    _, told = run("people.parquet", "--suite", "suite.json", "--junit", place)

    assert "STORE-04" in told.err
    assert "Traceback" not in told.err


@pytest.mark.parametrize(
    ("batch", "code", "words"),
    [
        ("", "DATA-43", "is empty"),
        ("peeple", "DATA-43", "did you mean 'people'?"),
        ("suite.json", "VALID-14", "neither Parquet nor CSV"),
        ("a" * 300, "VALID-72", "name too long"),
        ("/dev/null", "VALID-72", "neither a file nor a folder"),
        ("link.parquet", "VALID-72", "a link to a file that is not there"),
    ],
)
@pytest.mark.parametrize("verb", ["validate", "profile", "suggest"])
def test_what_is_no_batch_is_told_by_what_it_is(folder, capsys, verb, batch, code, words):
    (folder / "people").mkdir()
    (folder / "link.parquet").symlink_to("nowhere.parquet")

    exit_code = main(["data", verb, batch, *(["--suite", "suite.json"] if verb == "validate" else [])])

    told = capsys.readouterr().err
    assert (exit_code, told.split()[0]) == (2, code if verb == "validate" else code.replace("VALID-14", "DATA-03"))
    assert words in told


def test_the_folder_one_stands_in_is_a_batch(folder, run):
    assert run(".", "--suite", "suite.json")[0] == 1
    assert run(".", "--suite", "suite.json")[1].out == run("people.parquet", "--suite", "suite.json")[1].out


def test_a_batch_that_may_not_be_read_is_told_apart_from_a_damaged_one(folder, run, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, needed: False)
    closed = run("people.parquet", "--suite", "suite.json")
    (folder / "rows").mkdir()
    folder_closed = run("rows", "--suite", "suite.json")

    whole = Path.stat

    def refuse(self, **options):
        if self.parent.name == "rows":
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return whole(self, **options)

    monkeypatch.setattr(Path, "stat", refuse)
    hidden = run("rows/people.parquet", "--suite", "suite.json")
    suite_hidden = run("people.parquet", "--suite", "rows/suite.json")

    batches = {"people.parquet": closed, "rows": folder_closed, "rows/people.parquet": hidden}
    for name, (code, told) in batches.items():
        assert (code, told.err.splitlines()[0]) == (2, f"VALID-72  '{name}' cannot be read: Permission denied")
    assert (suite_hidden[0], suite_hidden[1].err.splitlines()[-1]) == (2, "  fix    check the path and its permissions")


def test_columns_that_were_not_told_apart_are_pointed_out(folder, capsys):
    (folder / "rows.csv").write_text("id;age\n1;20\n2;30\n")

    for verb in ("profile", "suggest"):
        assert main(["data", verb, "rows.csv"]) == 0
        assert "the only column is 'id;age'; if ';' separates values" in capsys.readouterr().err
    assert main(["data", "profile", "people.parquet"]) == 0
    assert capsys.readouterr().err == ""


def test_a_rule_without_bounds_is_not_told_with_none(folder, run):
    misspelt = Expectation("expect_column_values_to_be_between", {"column": "age", "min_valeu": 1})
    Suite("misspelt", [misspelt]).save("misspelt.json")

    code, told = run("people.parquet", "--suite", "misspelt.json")

    assert (code, "None" in told.out, "did you mean 'min_value'?" in told.out) == (1, False, True)
