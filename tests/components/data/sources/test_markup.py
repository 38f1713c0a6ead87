"""HTML becomes plain text, and nothing else is taken for HTML."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.sources.files import connect
from components.data.sources.markup import MARKUP, decoded, decoded_lists, plain_text

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
        ("?a=1&amp;copy=2 <b>now</b>", "?a=1&copy=2 now"),
        ("&amp;eacute; &amp;#233; &amp;notit; &amp;foo;", "é é &notit; &foo;"),
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
    lines = [" ".join(line.split()) for line in "".join(parser.parts).split("\n")]
    assert plain_text(text) == "\n".join(line for line in lines if line)


def test_columns_of_several_vectors_are_decoded_row_by_row() -> None:
    n = 5000  # the database hands over 2,048 rows at a time
    texts = [f"<b>{row}</b> &amp; more" if row % 3 else None for row in range(n)]
    frame = pd.DataFrame({"row": range(n), "text": texts})
    frame["lists"] = [[f"{row} &lt; {row + 1}", "plain"] for row in range(n)]
    table = connect("UTC").create_table("texts", frame)
    found = table.select("row", text=decoded(table.text), lists=decoded_lists(table.lists))
    rows = found.order_by("row").execute()
    wanted = [f"{row} & more" if row % 3 else None for row in range(n)]
    assert rows["text"].where(rows["text"].notna(), None).tolist() == wanted
    assert rows["lists"].map(list).tolist() == [[f"{row} < {row + 1}", "plain"] for row in range(n)]
