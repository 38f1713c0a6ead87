"""HTML becomes plain text, and nothing else is taken for HTML."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.sources.markup import MARKUP, plain_text

BLOCKS, INLINE = ("p", "div", "li", "h2", "td"), ("b", "i", "span", "a")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("<p>One</p>\n<p>Two</p>", "One\nTwo"),
        ("One<br>Two<br/>Three<BR />Four", "One\nTwo\nThree\nFour"),
        ("A <b>bold</b> c<i>u</i>p", "A bold cup"),
        ("broken\nlines <b>of</b>\r\nthe source", "broken lines of the source"),
        ("<img src=\"a>b.png\" alt='x'>Mug", "Mug"),
        ("<style>p {color: red}</style><p>Mug</p><script>if (a < b) {}</script>", "Mug"),
        ("Mug<script>never closed", "Mug"),
        ("Mug<!-- not <b>this</b> -->s", "Mugs"),
        ("5&nbsp;&euro; &#8364;&#x20AC; &quot;x&quot;", '5 € €€ "x"'),
        ("&lt;p&gt;written twice&lt;/p&gt;", "written twice"),
        ("Salt &amp;amp; pepper", "Salt & pepper"),
        ("<p>a &lt;b&gt; tag</p>", "a <b> tag"),
        ("a < b > c, R&D, <3, AT&T; <foo>", "a < b > c, R&D, <3, AT&T; <foo>"),
        ("", ""),
    ],
)
def test_a_text(text: str, plain: str) -> None:
    assert plain_text(text) == plain


@pytest.mark.parametrize("text", ["a < b > c", "R&D", "<3", "AT&T; x", "<foo>", "x <- y", "&& ;"])
def test_no_markup(text: str) -> None:
    assert not re.search(MARKUP, text)


class Parser(HTMLParser):
    """Python's own parser: texts, and line breaks for block tags."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.parts += ["\n"] if tag in BLOCKS else []

    def handle_endtag(self, tag: str) -> None:
        self.parts += ["\n"] if tag in BLOCKS else []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


WORDS = st.text("abc é", min_size=1, max_size=5) | st.sampled_from(["&amp;", "&uuml;", "&#39;"])


def element(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    attributes = st.sampled_from(["", ' class="x>y"', " id='a'", " hidden"])
    return st.builds(
        lambda tag, attribute, inside: f"<{tag}{attribute}>{''.join(inside)}</{tag}>",
        st.sampled_from(BLOCKS + INLINE),
        attributes,
        st.lists(children, max_size=4),
    )


@given(st.lists(st.recursive(WORDS, element, max_leaves=8), max_size=4).map("".join))
def test_the_same_as_pythons_parser(text: str) -> None:
    parser = Parser()
    parser.feed(text)
    parser.close()
    expected = ["".join(parser.parts).split("\n")]
    lines = [" ".join(line.split()) for line in expected[0]]
    assert plain_text(text) == "\n".join(line for line in lines if line)
