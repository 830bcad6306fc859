"""A batch as a whole: columns, classifier, scores and estimated performance in one report."""

import json
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest

from millrace.core.errors import DataError
from millrace.drift.batch import Answers, assess
from millrace.drift.batch_decisions import DECISIONS
from millrace.drift.html import picture
from millrace.drift.profile import ReferenceProfile
from millrace.drift.report import DriftReport


def batch(seed, rows=1500, *, shift=0.0, correlation=0.7):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    return pa.table(
        {
            "price": np.exp(x + shift),
            "amount": correlation * x + np.sqrt(1 - correlation**2) * rng.normal(size=rows),
            "plan <b>&": rng.choice(["free", "pro", "team & <i>co</i>"], rows),
            "order": np.arange(rows),
        }
    )


def answers(seed, rows, centre=0.0):
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-2 * rng.normal(centre, 1, rows)))
    return Answers((p >= 0.5).astype(int).tolist(), np.column_stack([1 - p, p]), (rng.random(rows) < p).astype(int))


def healthy():
    return assess(
        batch(1),
        batch(2),
        types={"order": "identifier"},
        before=answers(1, 1500),
        after=answers(2, 800),
        classes=[0, 1],
    )


def moved():
    return assess(batch(1), batch(2, shift=0.5), before=answers(1, 1500), after=answers(2, 800, 1.0), classes=[0, 1])


class Checked(HTMLParser):
    """Every tag is closed in its turn; what is seen is kept."""

    VOID = ("meta", "rect", "line", "path", "br")

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_a_healthy_batch_passes_every_part():
    report = healthy()

    assert {name: part.outcome for name, part in report.parts.items()} == {
        "classifier": "pass",
        "scores": "pass",
        "estimated_performance": "pass",
    }
    assert report.verdict().is_pass
    assert 0.02 <= report.false_alarm_chance <= 0.07 + 1e-12


def test_a_turned_correlation_fails_the_batch_though_no_column_drifted():
    report = assess(batch(1, correlation=0.7), batch(2, correlation=-0.7), types={"order": "identifier"})

    assert report.drifted == []
    assert report.verdict().is_fail
    assert report.parts["classifier"].evidence["contributors"][0]["columns"] == ["amount", "price"]


def test_identifiers_tell_batches_apart_and_are_therefore_not_asked():
    report = assess(batch(1), batch(2).set_column(3, "order", pa.array(np.arange(1500) + 9000)))

    assert report["order"].kind == "identifier"
    assert "order" not in report.parts["classifier"].evidence["columns"]
    assert report.parts["classifier"].is_pass


def test_a_part_that_cannot_be_judged_makes_the_batch_inconclusive():
    report = assess(
        batch(1), batch(2), types={"order": "identifier"}, before=answers(1, 1500), after=answers(2, 50), classes=[0, 1]
    )

    assert report.parts["scores"].outcome == "inconclusive"
    assert report.verdict().outcome == "inconclusive"


def test_against_a_profile_the_classifier_needs_a_sample():
    profile = ReferenceProfile.of(batch(1), types={"order": "identifier"})

    assert assess(profile, batch(2)).parts == {}
    assert assess(profile, batch(2), sample=batch(1).slice(0, 500)).parts["classifier"].is_pass


def test_a_regression_has_answers_and_no_estimate():
    rng = np.random.default_rng(0)
    before, after = Answers(rng.normal(size=500)), Answers(rng.normal(1, 1, 500))

    report = assess(batch(1), batch(2), types={"order": "identifier"}, before=before, after=after)

    assert set(report.parts) == {"classifier", "scores"}
    assert report.parts["scores"].is_fail


@pytest.mark.parametrize(
    ("change", "classes", "lacking"),
    [
        ({"before": None}, [0, 1], "the model's answers on the holdout"),
        ({"after": None}, [0, 1], "the model's answers on the current rows"),
        ({"before": Answers([0, 1] * 300, [[0.5, 0.5]] * 600)}, [0, 1], "the labels of the holdout"),
        ({"before": Answers([0, 1] * 300, None, [0, 1] * 300)}, [0, 1], "scores on the holdout"),
        ({"after": Answers([0, 1] * 300)}, [0, 1], "scores on the current rows"),
        ({}, [], "two classes"),
    ],
)
def test_a_limit_on_what_cannot_be_estimated_is_said_to_be_unjudged(change, classes, lacking):
    asked = {"before": answers(1, 1500), "after": answers(2, 800)} | change

    def report(limits):
        return assess(
            batch(1), batch(2), types={"order": "identifier"}, classes=classes, performance_limits=limits, **asked
        )

    told = report({"accuracy": 0.5}).parts["estimated_performance"]
    assert (told.outcome, told.reason) == (
        "inconclusive",
        f"a limit is set, and nothing can be estimated without {lacking}",
    )
    assert report({"accuracy": 0.5}).verdict().outcome != "pass"
    assert Checked(report({"accuracy": 0.5}).to_html())
    assert "estimated_performance" not in report(None).parts


@pytest.mark.parametrize(
    ("side", "one"),
    [
        ("before", Answers([0, 1] * 300, [[0.5, 0.5]] * 600, [0, 1] * 200)),
        ("before", Answers([0, 1] * 300, [[0.5, 0.5]] * 300, [0, 1] * 300)),
        ("after", Answers([0, 1] * 300, [[0.5, 0.5]] * 601)),
    ],
)
def test_answers_without_one_score_and_label_each_are_refused(side, one):
    asked = {"before": answers(1, 600), "after": answers(2, 600)} | {side: one}

    with pytest.raises(DataError, match="DRIFT-20"):
        assess(batch(1), batch(2), classes=[0, 1], **asked)


def test_a_limit_without_an_estimate_is_in_text_and_page():
    report = assess(
        batch(1),
        batch(2),
        types={"order": "identifier"},
        before=answers(1, 1500),
        after=answers(2, 800),
        classes=[0, 1],
        performance_limits={"accuracy": 0.5, "recall": 0.5},
    )

    assert report.parts["estimated_performance"].outcome == "inconclusive"
    for text in (report.explain(), report.to_html()):
        assert "recall has a limit and no estimate: it cannot be estimated without labels" in text
    assert "it cannot be estimated without labels" in Checked(report.to_html()).words
    assert DriftReport.from_dict(json.loads(json.dumps(report.to_dict()))).verdict().reason == report.verdict().reason


def test_columns_new_gone_and_of_a_type_in_vain_are_told():
    now = batch(2)
    report = assess(
        batch(1),
        now.drop(["amount"]).append_column("<new>", now["price"]),
        columns=["price"],
        types={"prise": "numeric"},
        with_classifier=False,
    )

    assert report.verdict().is_pass  # what is new does not drift
    assert (report.columns_added, report.columns_removed) == (["<new>"], ["amount"])
    assert [line[2:] for line in report.explain().splitlines()[2:5]] == [
        "new           <new>: not in the reference, so not compared",
        "gone          amount: in the reference, and was not to be compared",
        "no column     prise: a type is declared, nothing has it",
    ]
    words = " ".join(Checked(report.to_html()).words)
    assert "<new>: not in the reference" in words
    assert "amount: in the reference" in words
    again = DriftReport.from_dict(report.to_dict())
    assert again.told_of_columns() == report.told_of_columns()
    old = {name: value for name, value in report.evidence.items() if name not in ("columns_removed", "types_unused")}
    assert [word for word, _ in DriftReport(old).told_of_columns()] == ["new"]


def test_a_missing_column_with_no_near_name_gets_no_list_of_all():
    table = batch(1)
    assert assess(table, table.drop(["price"]))["price"].reason == "the column is missing from the current data"
    assert assess(table, table.select([]))["price"].reason == "the column is missing from the current data"


def test_answers_of_no_known_class_are_told_and_do_not_stop_the_estimate():
    before, after = answers(1, 1500), answers(2, 800)
    odd = Answers(
        [7 if i < 100 else output for i, output in enumerate(after.outputs)],
        [
            [0.5, float("nan")] if 100 <= i < 110 else [0.5] if i == 110 else list(row)
            for i, row in enumerate(after.scores)
        ],
    )
    truth = Answers(before.outputs, before.scores, ["?" if i < 5 else int(y) for i, y in enumerate(before.labels)])

    report = assess(batch(1), batch(2), types={"order": "identifier"}, before=truth, after=odd, classes=[0, 1])

    assert "111 of 800 answers are no number or of no known class" in report.parts["scores"].reason
    assert report.evidence["estimated_performance"]["n_current"] == 689
    assert report.evidence["estimated_performance"]["n_holdout"] == 1495


def test_the_report_and_its_verdicts_are_recomputed_from_json():
    report = moved()
    again = DriftReport.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False)))

    assert again.verdict() == report.verdict()
    assert again.parts == report.parts
    assert again.explain() == report.explain()
    assert [verdict.rule for verdict in report.verdicts()] == [
        "drift.columns",
        "drift.classifier",
        "drift.scores",
        "drift.estimated_performance",
    ]
    for verdict in (report.verdict(), *report.verdicts()[1:]):
        assert DECISIONS[verdict.rule](verdict.evidence) == verdict


def test_the_text_says_what_moved_and_what_the_estimate_cannot_see():
    text = moved().explain()

    assert "price" in text
    assert "major: the distribution moved" in text
    assert "classifier    fail: current rows are told from reference rows" in text
    assert "scores        fail: the model's answers moved" in text
    assert "concept drift is invisible to it" in text
    assert "false alarms  at most" in text


@pytest.mark.parametrize("make", [healthy, moved])
def test_the_page_stands_alone_and_is_well_formed(make):
    page = make().to_html(title="orders <script>", note="kept & sent")
    checked = Checked(page)
    tags = {tag for tag, _ in checked.tags}

    assert not tags & {"script", "link", "img", "iframe", "object", "i", "b"}
    assert not any(name in attributes for _, attributes in checked.tags for name in ("src", "href", "onload"))
    assert "url(" not in page
    assert "http" not in page
    assert "prefers-color-scheme: dark" in page
    assert "orders <script>: " in " ".join(checked.words)
    assert any("concept drift is invisible" in word for word in checked.words)


def test_the_page_draws_every_tested_column_and_begins_with_the_worst():
    page = moved().to_html()

    assert page.count('role="img" aria-label="distribution of ') == 3
    assert page.index("<code>price</code>") < page.index("<code>amount</code>")
    assert "plan &lt;b&gt;&amp;" in page
    assert "team &amp; &lt;i&gt;co&lt;/i&gt;: " in page


@pytest.mark.parametrize(
    "bars",
    [
        None,
        {},
        {"edges": [0.0, 1.0], "reference": [1.0], "current": [1.0]},
        {"edges": [0.0, 1.0, 2.0], "reference": [1e-9, 1.0], "current": [0.0, 0.0]},
        {"levels": ["only"], "reference": [0.0], "current": [1.0]},
        {"levels": ["a"], "reference": [0.0], "current": [0.0]},
    ],
)
def test_a_picture_of_anything_is_well_formed(bars):
    Checked(picture(bars, 'a "label"'))


def test_columns_that_could_not_be_tested_are_on_the_page():
    empty = assess(batch(1), batch(2).slice(0, 0))

    page = empty.to_html()

    Checked(page)
    assert "the current data is empty" in page
    assert "drifted" not in page.split("</h1>")[0]
