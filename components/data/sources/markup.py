"""HTML in texts → plain text.

Only tags and entities that HTML has are taken for markup: ``a < b``, ``<3`` and ``R&D`` stay.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from html.entities import html5

import ibis
import ibis.expr.types as ir
import pyarrow as pa

_BLOCKS = (
    "address article aside blockquote br caption center dd details dialog div dl dt fieldset "
    "figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr li main nav ol optgroup option p "
    "pre section summary table tbody td tfoot th thead tr ul"
)
_INLINE = (
    "a abbr acronym area audio b base bdi bdo big body button canvas cite code col colgroup "
    "data del dfn em embed font head html i iframe img input ins kbd label legend link map mark "
    "meta meter noscript object output param picture progress q s samp script select small source "
    "span strike strong style sub sup svg template textarea time title track tt u var video wbr"
)
_BLOCK = frozenset(_BLOCKS.split())
_KNOWN = _BLOCK | frozenset(_INLINE.split())
MARKUP = (
    rf"(?i)</?(?:{'|'.join(sorted(_KNOWN))})(?:\s[^<>]*)?/?>|<!--"
    r"|&(?:#[0-9]{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,30});"
)
"""A regular expression, for Python and for DuckDB: the text has a tag or an entity."""

_HIDDEN = re.compile(
    r"<!--.*?(?:-->|$)|<(script|style|template)(?=[\s/>])[^>]*>.*?(?:</\1\s*>|$)",
    re.IGNORECASE | re.DOTALL,
)
_TAG = re.compile(
    r"""</?([a-zA-Z][a-zA-Z0-9]*)(?=[\s/>])[^<>"']*(?:(?:"[^"]*"|'[^']*')[^<>"']*)*>"""
)
_ENTITY = re.compile(r"&(#?)([a-zA-Z0-9]{1,31});")
_BREAK = "\x00"  # of a block tag, while line breaks of the source are there


def plain_text(text: str) -> str:
    """Return the text of HTML: block tags as line breaks, without scripts and styles.

    A text whose tags are written as entities, as in feeds, is decoded twice.

    >>> plain_text("<p>Salt &amp; pepper</p><ul><li>2 mills<li>Steel</ul>")
    'Salt & pepper\\n2 mills\\nSteel'
    >>> plain_text("&lt;b&gt;New&lt;/b&gt; 3 < 4")
    'New 3 < 4'
    """
    plain = _without_tags(text)
    # Twice, as programs that write HTML into HTML leave &amp;amp;.
    found = _ENTITY.sub(_character, html.unescape(plain))
    if plain == text and found != text:
        again = _without_tags(found)
        found = _ENTITY.sub(_character, again) if again != found else found
    lines = (" ".join(line.split()) for line in found.split("\n"))
    return "\n".join(line for line in lines if line)


def _character(entity: re.Match[str]) -> str:
    """Return what an entity with its semicolon stands for.

    Without one it is a part of a text that was decoded before, such as the URL ``?a=1&copy=2``.
    """
    known = entity[1] == "#" or f"{entity[2]};" in html5
    return html.unescape(entity[0]) if known else entity[0]


def _without_tags(text: str) -> str:
    """Return the text without known tags; itself if it has none."""
    if "<" not in text:
        return text
    found = _TAG.sub(_in_place_of, _HIDDEN.sub("", text))
    if found == text:
        return text
    # A line break in the source of HTML is a space.
    return found.replace("\n", " ").replace("\r", " ").replace(_BREAK, "\n")


def _in_place_of(tag: re.Match[str]) -> str:
    name = tag[1].lower()
    if name in _BLOCK:
        return _BREAK
    return "" if name in _KNOWN else tag[0]


def _decoded(texts: pa.Array) -> pa.Array:
    """Return the plain texts; each text is decoded once."""
    unique = texts.dictionary_encode()
    plain = [None if text is None else plain_text(text) for text in unique.dictionary.to_pylist()]
    return pa.array(plain, pa.string()).take(unique.indices)


def _decoded_lists(lists: pa.Array) -> pa.Array:
    offsets, values = lists.offsets, lists.values
    return pa.ListArray.from_arrays(offsets, _decoded(values), mask=lists.is_null())


def register(con: ibis.BaseBackend) -> None:
    """Add the functions that ``decoded`` and ``decoded_lists`` call to a DuckDB."""
    for function, kind, of in (
        (_plain_texts, "VARCHAR", _decoded),
        (_plain_lists, "VARCHAR[]", _decoded_lists),
    ):
        name = function.__name__
        con.con.create_function(name, _whole(of), [kind], kind, type="arrow")


def _whole(of: Callable[[pa.Array], pa.Array]) -> Callable[[pa.ChunkedArray], pa.Array]:
    """Return the function for the columns that DuckDB hands over, in one or several arrays."""
    return lambda column: of(pa.concat_arrays(column.chunks))


@ibis.udf.scalar.builtin
def _plain_texts(text: str) -> str:  # type: ignore[empty-body]
    """Of ``register``."""


@ibis.udf.scalar.builtin
def _plain_lists(lists: list[str]) -> list[str]:  # type: ignore[empty-body]
    """Of ``register``."""


def has_markup(text: ir.StringValue) -> ir.BooleanValue:
    """Return whether a text has a tag or an entity."""
    # The first two are much faster than the regular expression.
    return (text.contains("<") | text.contains("&")) & text.re_search(MARKUP)


def decoded(text: ir.StringValue) -> ir.StringValue:
    """Return the texts as plain text."""
    return ibis.ifelse(has_markup(text), _plain_texts(text).nullif(""), text)


def decoded_lists(lists: ir.Value) -> ir.Value:
    """Return the lists with their texts as plain text."""
    return ibis.ifelse(has_markup(lists.join(" ")), _plain_lists(lists), lists)
