"""Texts of filter expressions: what is read, what is refused, and where it says so."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.filters.syntax import (
    DEEPEST,
    LONGEST,
    MOST_COMPARISONS,
    MOST_VALUES,
    Comparison,
    FilterError,
    Group,
    IsTrue,
    Name,
    Negation,
    Values,
    parse,
)


def test_not_binds_closer_than_and_and_that_closer_than_or() -> None:
    tree = parse("new or not available and brand = 'A'")
    assert isinstance(tree, Group)
    assert tree.operator == "or"
    (_, both) = tree.nodes
    assert isinstance(both, Group)
    assert both.operator == "and"
    assert isinstance(both.nodes[0], Negation)


def test_keywords_are_whole_words_in_any_case() -> None:
    tree = parse("order = 1 AND island = 2 And nothing = 3")
    assert isinstance(tree, Group)
    names = [one.left for one in tree.nodes if isinstance(one, Comparison)]
    assert [one.name for one in names if isinstance(one, Name)] == ["order", "island", "nothing"]
    quoted = parse('attributes.in = "or"')
    assert isinstance(quoted, Comparison)
    assert quoted.left == Name("attributes", "in", 1)


def test_quotation_marks_can_be_in_texts() -> None:
    for text, value in (
        (r'brand = "say \"x\" \\ y"', r'say "x" \ y'),
        (r"brand = 'it\'s'", "it's"),
        ('brand = "a\nb"', "a\nb"),
    ):
        tree = parse(text)
        assert isinstance(tree, Comparison)
        assert isinstance(tree.right, Values)
        assert tree.right.values == (value,)


def test_a_list_has_its_values_and_their_places() -> None:
    tree = parse("""a in [ "x, ]" , 'it\\'s',\n-2.5e1]""")
    assert isinstance(tree, Comparison)
    assert tree.right == Values(("x, ]", "it's", -25.0), 8, listed=True)
    flags = parse("a in [true, 'b']")
    assert isinstance(flags, Comparison)
    assert flags.right == Values((True, "b"), 7, listed=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at character 1: the expression ends too early"),
        ("price <", "at character 8: the expression ends too early; expected a number"),
        ("price < < 3", "at character 9: '<' is not expected here"),
        ("price = 3)", r"at character 10: '\)' is not expected here"),
        ("(price = 3", "at character 11: the expression ends too early"),
        ('brand = "Acme', "at character 9: the text has no closing quote"),
        ("brand = ''", "at character 9: a text must not be empty"),
        ("a in ['b', '']", "at character 12: a text must not be empty"),
        ("a in ['b', 1e999]", "at character 12: the number is too large"),
        ("a in ['b', 'c]", "at character 12: the text has no closing quote"),
        ("a in ['b' 'c']", "at character 11: \"'c'\" is not expected here; expected"),
        ("a in []", "at character 7: ']' is not expected here"),
        ("a in (1, 2)", r"at character 6: '\(' is not expected here; expected a list"),
        ("shop.a = 1", "at character 1: shop.a is no attribute: before the dot stands user"),
        ("a = 1e999", "at character 5: the number is too large"),
        ("a = " + "9" * 400, "at character 5: the number is too large"),
        ("a > days_ago(1.5)", "at character 14: days_ago needs a whole number"),
        ("a > days_ago(1e9)", "at character 14: days_ago needs a whole number"),
        ("a in [days_ago(1)]", "at character 7: days_ago cannot be in a list"),
        ("a in [" + ",".join("1" * (MOST_VALUES + 1)) + "]", "a list has at most 100 values"),
        ("new or " * MOST_COMPARISONS + "new", "a filter has at most 40 comparisons"),
        ("not " * DEEPEST + "new", "a filter is nested at most 16 deep"),
        ("new" + " " * LONGEST, "a filter has at most 2000 characters"),
        ("__import__('os').system('x')", r"at character 11: '\(' is not expected here"),
        ("a = (1).__class__", "is not expected here"),
        ("lambda: 1", "at character 7: ':' is not expected here"),
        ("a = 1; drop table events", "at character 6: ';' is not expected here"),
        ("a = f'{1}'", "is not expected here"),
        ("a = 1 \0", "is not expected here"),
    ],
)
def test_what_is_no_filter_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        parse(text)


def test_parentheses_are_no_depth_and_the_deepest_tree_is_read() -> None:
    assert isinstance(parse("(" * 900 + "new" + ")" * 900), IsTrue)
    parse("not " * (DEEPEST - 1) + "new")


PIECES = [
    *("and", "or", "not", "in", "is", "null", "true", "[", "]", "(", ")", ",", "=", "<", "!="),
    *("price", "user.age", "'x'", '"y', "12", "-", ".", "\\", "days_ago(3)", "é", "\0"),
]


@given(st.one_of(st.text(max_size=80), st.lists(st.sampled_from(PIECES)).map(" ".join)))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(FilterError):
        parse(text)


@pytest.mark.parametrize("start", ["", "a in ["])
@pytest.mark.parametrize(
    "piece", ["(", "not ", "a=1 and ", "'", "\\", "[", "111,", "'x',", "a.", "-"]
)
def test_the_longest_texts_take_little_time(start: str, piece: str) -> None:
    text = (start + piece * LONGEST)[:LONGEST]
    started = time.process_time()
    with pytest.raises(FilterError):
        parse(text)
    assert time.process_time() - started < 0.5
