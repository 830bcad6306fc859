"""A search whose time is bounded finds what Python's own finds."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.validation.rows import bounded_search as module
from millrace.validation.rows.bounded_search import bounded_search, longest_text
from millrace.validation.rows.code import like_pattern

SIGNS = "ab-1 é\n_"
LEAVES = st.sampled_from(
    ["a", "b", "-", "1", ".", r"\d", r"\w", r"\s", r"\W", "[ab]", "[^a-]", "[\\w-]", "é", "(a|ab)", r"\n"]
)
REPEATS = st.sampled_from(["", "*", "+", "?", "*?", "+?", "{2}", "{1,3}", "{,40}", "{2,}"])
PIECES = st.recursive(
    st.builds("{}{}".format, LEAVES, REPEATS),
    lambda inner: st.builds("(?:{}){}".format, st.lists(inner, min_size=1, max_size=3).map("".join), REPEATS),
    max_leaves=6,
)
PATTERNS = st.builds("{}{}{}".format, st.sampled_from(["", "^", r"\A"]), PIECES, st.sampled_from(["", "$", r"\Z"]))
TEXTS = st.text(alphabet=SIGNS + "\ud800", max_size=8)


@settings(deadline=None)  # the first example loads Polars
@given(PATTERNS, st.lists(TEXTS, min_size=1, max_size=10))
def test_both_engines_find_the_same(pattern, texts):
    right = [bool(re.search(pattern, text)) for text in texts]

    assert [bool(bounded_search(pattern)(text)) for text in texts] == right
    linear = module._linear_search(module.portable_regex(pattern, end=r"\z", unicode_classes=True))
    if linear is not None:
        assert [bool(linear(text)) for text in texts] == right


@settings(deadline=None)
@given(st.text(alphabet="ab%_!# -&\n.", max_size=8), st.lists(st.text(alphabet="ab%_!# -&\n.", max_size=8), min_size=1))
def test_patterns_of_like_are_the_same_in_both_engines(like, texts):
    pattern = like_pattern(like, "!")

    linear = module._linear_search(pattern.removesuffix(r"\Z") + r"\z")

    assert linear is not None
    assert [bool(linear(text)) for text in texts] == [bool(re.search(pattern, text)) for text in texts]


class Steps:
    """Counts what a backtracking matcher tries, in the plainest way there is."""

    def __init__(self, pattern, text):
        self.text, self.count = text, 0
        tree = module.sre_parser.parse(pattern)
        any(self.match(list(tree), place, lambda _: True) for place in range(len(text) + 1))

    def match(self, nodes, place, then):
        self.count += 1
        if not nodes:
            return then(place)
        (op, value), *rest = nodes
        name = str(op)
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            return self.repeat(value, 0, rest, place, then)
        if name == "SUBPATTERN":
            return self.match(list(value[3]), place, lambda end: self.match(rest, end, then))
        if name == "BRANCH":
            return any(self.match([*branch, *rest], place, then) for branch in value[1])
        if name == "AT":
            fits = place == 0 if "BEGINNING" in str(value) else place == len(self.text)
            return fits and self.match(rest, place, then)
        fits = place < len(self.text) and module._takes((op, value), self.text[place])
        return fits and self.match(rest, place + 1, then)

    def repeat(self, value, done, rest, place, then):
        self.count += 1
        low, high, inner = value
        if high is module.sre.MAXREPEAT or done < high:
            again = lambda end: end > place and self.repeat(value, done + 1, rest, end, then)  # noqa: E731
            if self.match(list(inner), place, again):
                return True
        return done >= low and self.match(rest, place, then)


@settings(max_examples=60, deadline=None)
@given(PATTERNS, st.sampled_from(["a", "ab", "a-", "1-", "b1", "é"]), st.sampled_from(["!", ""]))
def test_what_is_left_to_python_is_no_long_search(pattern, unit, end):
    text = (unit * 40)[: int(min(longest_text(pattern), 40))] + end

    # Each try of the plain matcher is of one node: there are no more of them than ways, times the pattern's length.
    assert Steps(pattern, text).count <= module._MOST_STEPS * len(pattern)


def test_the_plain_matcher_sees_a_long_search():
    assert Steps(r"(a+)+$", "a" * 14 + "!").count > 2**14
