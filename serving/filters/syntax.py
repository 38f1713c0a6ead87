"""The syntax of filter expressions: text in, a small tree of tuples out.

    category in ["Kitchen", "Garden"] and (price < 10 or not brand = "Acme") and size in user.sizes

The parser is Lark's LALR(1): it has no recursion, so its time is linear in the text's length, and
the tree holds names, values and operators only: there is nothing in it that could be executed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, VisitError

LONGEST, DEEPEST, MOST_COMPARISONS, MOST_VALUES = 2000, 16, 40, 100
"""Characters of an expression, its nesting, its comparisons, and values of one list."""
PARSED = 1024
"""Expressions that stay parsed."""

_STRING = r'"(?:[^"\\]|\\.)*"|' + r"'(?:[^'\\]|\\.)*'"
_NUMBER = r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?"
_LITERAL = rf"(?:{_STRING}|{_NUMBER})"
_SPACE = r"[ \t\r\n]*"
_LITERALS = re.compile(_LITERAL, re.DOTALL)

GRAMMAR = rf"""
?start: disjunction
?disjunction: conjunction (OR conjunction)*      -> any_of
?conjunction: negation (AND negation)*           -> all_of
?negation: NOT negation                          -> negated
    | predicate
?predicate: "(" disjunction ")"
    | operand COMPARISON operand                 -> comparison
    | operand IN (values | name)                 -> membership
    | operand NOT IN (values | name)             -> no_membership
    | name IS NULL                               -> is_null
    | name IS NOT NULL                           -> is_known
    | name                                       -> flag
?operand: name | literal
name: NAME                                       -> item_name
    | NAME "." NAME                              -> scoped_name
literal: STRING                                  -> string
    | NUMBER                                     -> number
    | TRUE                                       -> true
    | FALSE                                      -> false
    | DAYS_AGO "(" NUMBER ")"                    -> days_ago
values: "[" literal ("," literal)* "]"           -> values
    | LIST                                       -> listed

OR.2: /or\b/i
AND.2: /and\b/i
NOT.2: /not\b/i
IN.2: /in\b/i
IS.2: /is\b/i
NULL.2: /null\b/i
TRUE.2: /true\b/i
FALSE.2: /false\b/i
DAYS_AGO.2: /days_ago\b/i
COMPARISON: /<=|>=|!=|==|=|<|>/
NAME: /[A-Za-z_]\w{{0,49}}/
NUMBER: /{_NUMBER}/
STRING: /{_STRING}/s
// A list of texts and numbers at once: a token for each value would take ten times as long.
LIST.3: /\[{_SPACE}{_LITERAL}(?:{_SPACE},{_SPACE}{_LITERAL})*{_SPACE}\]/s
%ignore /[ \t\r\n]+/
"""

SAID = {
    "AND": "and",
    "COMMA": "a comma",
    "COMPARISON": "a comparison (=, !=, <, <=, >, >=)",
    "DAYS_AGO": "days_ago(number)",
    "DOT": "a dot",
    "IN": "in",
    "IS": "is null",
    "LPAR": "(",
    "LSQB": "a list in [ ]",
    "NAME": "an attribute",
    "NOT": "not",
    "NULL": "null",
    "NUMBER": "a number",
    "OR": "or",
    "RPAR": ")",
    "RSQB": "]",
    "STRING": "a text in quotes",
    "TRUE": "true or false",
    "$END": "the end",
}
"""What the parser's terminals are called in messages."""


class FilterError(ValueError):
    """An expression cannot be used. position: of the character, from 1; None: of the whole."""

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message if position is None else f"at character {position}: {message}")
        self.position = position


class Name(NamedTuple):
    """An attribute. scope: "item", "user", or "attributes": a declared one of an item."""

    scope: str
    name: str
    position: int


class Values(NamedTuple):
    """Literals. listed: they were in brackets."""

    values: tuple[str | float | bool, ...]
    position: int
    listed: bool = False


class DaysAgo(NamedTuple):
    """The beginning of the day, UTC, that many days before today."""

    days: float
    position: int


Operand = Name | Values | DaysAgo


class Comparison(NamedTuple):
    """operator: = != < <= > >= in."""

    left: Operand
    operator: str
    right: Operand
    position: int


class IsKnown(NamedTuple):
    name: Name


class IsTrue(NamedTuple):
    name: Name


class Negation(NamedTuple):
    node: Node


class Group(NamedTuple):
    """operator: and, or."""

    operator: str
    nodes: tuple[Node, ...]


Node = Comparison | IsKnown | IsTrue | Negation | Group


def _at(token: Token) -> int:
    return (token.start_pos or 0) + 1


@v_args(inline=True)
class _Builder(Transformer[Token, Node]):
    """Makes the tree while the text is parsed."""

    def item_name(self, name: Token) -> Name:
        return Name("item", str(name), _at(name))

    def scoped_name(self, scope: Token, name: Token) -> Name:
        if scope not in ("user", "attributes"):
            raise FilterError(
                f"{scope}.{name} is no attribute: before the dot stands user or attributes",
                _at(scope),
            )
        return Name(str(scope), str(name), _at(scope))

    def string(self, token: Token) -> Values:
        return Values((_text(token, _at(token)),), _at(token))

    def number(self, token: Token) -> Values:
        return Values((_number(token, _at(token)),), _at(token))

    def true(self, token: Token) -> Values:
        return Values((True,), _at(token))

    def false(self, token: Token) -> Values:
        return Values((False,), _at(token))

    def days_ago(self, word: Token, days: Token) -> DaysAgo:
        number = _number(days, _at(days))
        if not (number.is_integer() and abs(number) <= 36_500):
            raise FilterError("days_ago needs a whole number of at most 36500 days", _at(days))
        return DaysAgo(number, _at(word))

    def values(self, *literals: Values | DaysAgo) -> Values:
        given: list[str | float | bool] = []
        for one in literals:
            if isinstance(one, DaysAgo):
                raise FilterError("days_ago cannot be in a list", one.position)
            given += one.values
        return _listed(given, literals[0].position)

    def listed(self, token: Token) -> Values:
        found = [(one[0], _at(token) + one.start()) for one in _LITERALS.finditer(token)]
        values = [_text(*one) if one[0][0] in "\"'" else _number(*one) for one in found]
        return _listed(values, found[0][1])

    def comparison(self, left: Operand, operator: Token, right: Operand) -> Comparison:
        said = "=" if operator == "==" else str(operator)
        return Comparison(left, said, right, _at(operator))

    def membership(self, left: Operand, word: Token, right: Operand) -> Comparison:
        return Comparison(left, "in", right, _at(word))

    def no_membership(self, left: Operand, no: Token, word: Token, right: Operand) -> Negation:
        return Negation(self.membership(left, word, right))

    def is_null(self, name: Name, *_: Token) -> Negation:
        return Negation(IsKnown(name))

    def is_known(self, name: Name, *_: Token) -> IsKnown:
        return IsKnown(name)

    def flag(self, name: Name) -> IsTrue:
        return IsTrue(name)

    def negated(self, _: Token, node: Node) -> Negation:
        return Negation(node)

    def all_of(self, *parts: Node | Token) -> Node:
        return self._group("and", parts)

    def any_of(self, *parts: Node | Token) -> Node:
        return self._group("or", parts)

    @staticmethod
    def _group(operator: str, parts: tuple[Node | Token, ...]) -> Node:
        nodes = tuple(one for one in parts if not isinstance(one, Token))
        return nodes[0] if len(nodes) == 1 else Group(operator, nodes)


def _number(text: str, position: int) -> float:
    number = float(text)
    if not math.isfinite(number) or abs(number) > 1e30:
        raise FilterError("the number is too large", position)
    return number


def _text(quoted: str, position: int) -> str:
    text = re.sub(r"\\(.)", r"\1", quoted[1:-1], flags=re.DOTALL)
    if not text.strip():
        raise FilterError("a text must not be empty", position)
    return text


def _listed(values: Sequence[str | float | bool], position: int) -> Values:
    if len(values) > MOST_VALUES:
        raise FilterError(f"a list has at most {MOST_VALUES} values", position)
    return Values(tuple(values), position, listed=True)


_PARSER: Any = Lark(GRAMMAR, parser="lalr", lexer="contextual", transformer=_Builder())


@lru_cache(PARSED)
def parse(text: str) -> Node:
    """Return the tree of an expression.

    Raises:
        FilterError: it is not an expression, or too long, deep or wide.

    >>> parse("price < 10")
    Comparison(left=Name(scope='item', name='price', position=1), operator='<', \
right=Values(values=(10.0,), position=9, listed=False), position=7)
    """
    if len(text) > LONGEST:
        raise FilterError(f"a filter has at most {LONGEST} characters")
    try:
        tree: Node = _PARSER.parse(text)
    except VisitError as error:  # raised while the tree was made
        if isinstance(error.orig_exc, FilterError):
            raise error.orig_exc from None
        raise
    except UnexpectedInput as error:
        raise _unexpected(error, text) from None
    _check_size(tree)
    return tree


def _unexpected(error: UnexpectedInput, text: str) -> FilterError:
    expected = sorted(
        {SAID[one] for one in _accepted(error) if one in SAID}, key=lambda said: said.casefold()
    )
    wanted = f"; expected {', '.join(expected)}" if expected else ""
    if isinstance(error, UnexpectedEOF) or getattr(getattr(error, "token", None), "type", "") == (
        "$END"
    ):
        return FilterError(f"the expression ends too early{wanted}", len(text) + 1)
    position = (error.pos_in_stream or 0) + 1
    if isinstance(error, UnexpectedCharacters) and text[position - 1] in "\"'":
        return FilterError("the text has no closing quote", position)
    found = str(getattr(error, "token", None) or text[position - 1])[:20]
    return FilterError(f"{found!r} is not expected here{wanted}", position)


def _accepted(error: UnexpectedInput) -> set[str]:
    found = getattr(error, "accepts", None) or getattr(error, "allowed", None)
    return set(found or getattr(error, "expected", None) or ())


def _check_size(tree: Node) -> None:
    """Raise ``FilterError`` if the tree is too deep to walk by recursion, or too wide."""
    waiting: list[tuple[Node, int]] = [(tree, 1)]
    comparisons = 0
    while waiting:
        node, depth = waiting.pop()
        if depth > DEEPEST:
            raise FilterError(f"a filter is nested at most {DEEPEST} deep")
        if isinstance(node, Group):
            waiting += [(one, depth + 1) for one in node.nodes]
        elif isinstance(node, Negation):
            waiting.append((node.node, depth + 1))
        else:
            comparisons += 1
    if comparisons > MOST_COMPARISONS:
        raise FilterError(f"a filter has at most {MOST_COMPARISONS} comparisons")
