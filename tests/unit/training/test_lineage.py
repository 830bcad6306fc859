import subprocess

import pytest

from millrace.training import lineage


@pytest.fixture
def repository(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    git("init", "--quiet")
    return tmp_path, git


def test_a_commit_and_whether_it_is_what_runs(repository):
    root, git = repository
    (root / "project.py").write_text("x = 1\n")
    assert lineage.read_commit(root) == {"commit": None, "is_dirty": True}

    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    clean = lineage.read_commit(root)
    assert len(clean["commit"]) == 40
    assert clean["is_dirty"] is False

    (root / "project.py").write_text("x = 2\n")
    assert lineage.read_commit(root) == {"commit": clean["commit"], "is_dirty": True}


def test_changes_beside_the_project_do_not_make_it_dirty(repository):
    root, git = repository
    (root / "project").mkdir()
    (root / "project" / "project.py").write_text("x = 1\n")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    (root / "elsewhere.txt").write_text("")

    assert lineage.read_commit(root / "project")["is_dirty"] is False
    assert lineage.read_commit(root)["is_dirty"] is True


def test_without_a_repository_or_git_nothing_is_claimed(tmp_path, monkeypatch):
    unknown = {"commit": None, "is_dirty": None}
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert lineage.read_commit(tmp_path) == unknown
    assert lineage.read_commit(tmp_path / "missing") == unknown

    monkeypatch.setenv("PATH", str(tmp_path))
    assert lineage.read_commit(tmp_path) == unknown


def test_the_environment_is_its_distributions():
    names = lineage.installed()

    assert names == sorted(names)
    assert any(name.startswith("numpy==") for name in names)
    assert lineage.environment_digest() == lineage.environment_digest()
    assert len(lineage.environment_digest()) == 64


def test_the_function_digest_follows_its_source(tmp_path):
    digests = set()
    for number in (1, 2):
        path = tmp_path / f"definitions{number}.py"
        path.write_text(f"def churn(X, y):\n    return {number}\n")
        scope = {}
        exec(compile(path.read_text(), str(path), "exec"), scope)
        digests.add(lineage.function_digest(scope["churn"]))

    assert len(digests) == 2
    assert lineage.function_digest(len) is None


def test_lineage_holds_what_the_caller_knows(tmp_path):
    facts = lineage.trace_lineage(_refused, root=tmp_path, seed=4, data_digest="ab", parameters={"depth": 3})

    assert facts["seed"] == 4
    assert facts["data_digest"] == "ab"
    assert facts["parameters"] == {"depth": 3}
    assert {"code", "environment_digest", "function_digest", "python"} <= facts.keys()


def _refused(X, y):
    return None
