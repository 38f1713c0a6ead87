r"""Regular expressions as RE2 (DuckDB) reads them, in signs that mean the same to Java (Spark).

The two share most of their signs. To Java ``$`` is also before a last line end, ``\s`` has the
vertical tab, ``.`` stops at more kinds of line ends, ``(?i)`` is of ASCII letters, and a ``[``
within a set opens another one. So one pattern would find other rows on the other engine.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"(?P<literal>\\Q.*?(?:\\E|\Z))"
    r"|(?P<property>\\[pP](?:\{\^?\w+\}|\w))"
    r"|(?P<code>\\x(?:\{[0-9A-Fa-f]+\}|[0-9A-Fa-f]{2}))"
    r"|(?P<escape>\\.)"
    r"|(?P<posix>\[:\^?\w+:\])"
    r"|(?P<set>\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\])"
    r"|(?P<group>\(\?P?<\w+>)"
    r"|(?P<flags>\(\?[a-zA-Z-]*[:)])"
    r"|(?P<repeat>\{\d+(?:,\d*)?\})"
    r"|(?P<sign>.)",
    re.DOTALL,
)
_SPACE = r"\t\n\f\r "
_WORD = r"\w"  # a set of letters would have others, too, where case is ignored
_EVERYWHERE = {r"\v": r"\x0B"}
_OUTSIDE = {
    r"\s": f"[{_SPACE}]",
    r"\S": f"[^{_SPACE}]",
    r"\b": rf"(?:(?<={_WORD})(?!{_WORD})|(?<!{_WORD})(?={_WORD}))",
    r"\B": rf"(?:(?<={_WORD})(?={_WORD})|(?<!{_WORD})(?!{_WORD}))",
    "$": r"\z",
    "{": r"\{",
}
_IN_SETS = {r"\s": _SPACE, "[": r"\[", "]": r"\]", "&": r"\&", "^": r"\^"}
_POSIX = {
    **{name.lower(): rf"\p{{{name}}}" for name in ("Alpha", "Alnum", "Upper", "Lower", "Digit")},
    **{name.lower(): rf"\p{{{name}}}" for name in ("Punct", "Graph", "Print", "Blank", "XDigit")},
    **{"cntrl": r"\p{Cntrl}", "ascii": r"\p{ASCII}", "word": r"\w", "space": rf"{_SPACE}\x0B"},
}


def java(pattern: str) -> str:
    r"""Return a pattern of RE2 as one of Java that is found in the same texts.

    One difference is left: where case is ignored, ``ı`` and ``İ`` are an ``i`` to Java.

    Raises:
        ValueError: the pattern has a sign that Java has no equal of.

    >>> java(r"(?i)a\s*$")
    '(?d)(?iu)a[\\t\\n\\f\\r ]*\\z'
    >>> java("[[:digit:]a[]")
    '(?d)[\\p{Digit}a\\[]'
    """
    return "(?d)" + "".join(_outside(one, pattern) for one in _TOKEN.finditer(pattern))


def java_replacement(text: str) -> str:
    r"""Return what takes the place of a match, in Java's signs.

    >>> java_replacement(r"\1 for $2")
    '$1 for \\$2'
    """
    return re.sub(r"\\(\d)", r"$\1", text.replace("$", r"\$"))


def _outside(token: re.Match[str], pattern: str) -> str:
    """Return a token that is in no set of characters."""
    text, kind = token.group(), token.lastgroup
    if kind in ("set", "posix"):  # a class of POSIX is one within brackets only
        start = "[^" if text.startswith("[^") else "["
        inside = _TOKEN.finditer(text[len(start) : -1])
        return start + "".join(_in_set(one, pattern) for one in inside) + "]"
    if kind == "group":
        return "("  # Java's names have no underscore, and no pattern here is used by name
    if kind == "flags":
        return _flags(text, pattern)
    if kind in ("escape", "sign"):
        return _OUTSIDE.get(text, _common(text, pattern))
    return _property(text, pattern) if kind == "property" else text


def _in_set(token: re.Match[str], pattern: str) -> str:
    """Return a token within a set of characters."""
    text, kind = token.group(), token.lastgroup
    if kind == "posix":
        name = text[2:-2]
        if name not in _POSIX:
            raise _unknown(text, pattern)
        return _POSIX[name]
    if kind == "property":
        return _property(text, pattern)
    if kind == "code":
        return text
    if kind == "escape":
        if text in (r"\S", r"\b", r"\B"):
            raise _unknown(f"{text} in brackets", pattern)
        return _IN_SETS.get(text, _common(text, pattern))
    return "".join(_IN_SETS.get(sign, sign) for sign in text)


def _common(text: str, pattern: str) -> str:
    """Return an escape or a sign that means the same within brackets and outside."""
    if re.fullmatch(r"\\[0-9C]", text):  # octal numbers, and bytes
        raise _unknown(text, pattern)
    return _EVERYWHERE.get(text, text)


def _property(text: str, pattern: str) -> str:
    r"""Return a class of Unicode: ``\p{Greek}`` is ``\p{IsGreek}`` to Java."""
    name = text[2:].strip("{}")
    if name.startswith("^") or name == "Any":
        raise _unknown(text, pattern)
    return text if len(name) <= 2 else f"{text[:2]}{{Is{name}}}"


def _flags(text: str, pattern: str) -> str:
    """Return flags: case is ignored of all letters, not of those of ASCII alone."""
    on, dash, off = text[2:-1].partition("-")
    if set(on + off) - set("is"):
        raise _unknown(text, pattern)
    return f"(?{on.replace('i', 'iu')}{dash}{off.replace('i', 'iu')}{text[-1]}"


def _unknown(sign: str, pattern: str) -> ValueError:
    return ValueError(
        f"the pattern {pattern!r:.80} has {sign}, which Spark does not read as DuckDB does: write "
        "it with other signs, or set tables.engine to duckdb"
    )
