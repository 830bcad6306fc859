"""Commands that are expected to complain, run as a person runs them."""

import json

from small_project import millrace


def read_record(folder):
    """What `ledger verify` and `status` say; neither runs the definitions, which may be what is wrong."""
    answers = []
    for words in (("ledger", "verify"), ("status",)):
        found = millrace(folder, *words, "--json")
        assert found.returncode == 0, found.stdout + found.stderr
        answers.append(json.loads(found.stdout))
    return answers


def run(shop, *words, **options):
    """`millrace run`: exit code and answer."""
    ended = millrace(shop, "run", *words, "--json", **options)
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def failure(answer):
    """The error of the step that failed, after exactly one attempt: what cannot be mended is not tried again."""
    (failed,) = [step for step in answer["steps"].values() if step["status"] == "failed"]
    assert failed["attempt"] == 1
    return failed["step"], failed["error"]


def complain(shop, *words):
    """A command that must fail at once: exit code and error."""
    ended = millrace(shop, *words, "--json")
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.returncode, json.loads(ended.stdout)["error"]
