"""A regular expression written for other engines finds what Python finds."""

import re

from hypothesis import given
from hypothesis import strategies as st

from millrace.validation.portable_regex import like_pattern, like_regex, portable_regex

ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "^", "$", "\\.", "\n", "(ab|c)", "é", "[a-c]", "(a|)", r"\Z"])
REPEATS = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{1,3}", "+?"])
TEXTS = st.text(alphabet="abc.é\n", max_size=8)


@st.composite
def patterns(draw):
    parts = [
        atom + (draw(REPEATS) if atom not in ("^", "$", r"\Z") else "")
        for atom in draw(st.lists(ATOMS, min_size=1, max_size=6))
    ]
    return "".join(parts)


@given(patterns(), st.lists(TEXTS, min_size=1, max_size=20))
def test_the_same_texts_match(pattern, texts):
    written = portable_regex(pattern, end=r"\Z")

    if written is None:  # the line feed before the end can be looked at only there
        assert "$" in pattern[:-1]
        return
    assert [bool(re.search(written, text)) for text in texts] == [bool(re.search(pattern, text)) for text in texts]


@given(st.text(alphabet="ab%_!#", max_size=8), st.lists(st.text(alphabet="ab%_!#\n", max_size=8), max_size=20))
def test_a_pattern_of_like_means_the_same_with_another_escape(pattern, texts):
    ours, theirs = like_regex(pattern, "#"), like_regex(like_pattern(pattern, "#"), "!")

    assert [bool(re.match(ours, text)) for text in texts] == [bool(re.match(theirs, text)) for text in texts]
