"""Text files → UTF-8, decompressed.

DuckDB reads UTF-8. A plain file in UTF-8 is checked and read where it lies; of every other file a
copy is written. Both work in pieces, so the size of a file does not matter.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from components.data.sources.compression import chunks, compression_of, opened

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LIKELY = ("cp1252", "gb18030", "shift_jis", "cp1251", "euc_kr")
"""Encodings that a refusal tries on the line that is not UTF-8."""


_EMPTY = "{} is empty: export it again, or take it out of the source"


def as_utf8(path: Path, shown: str, encoding: str, copy: Path) -> Path:
    """Return a file with the text of ``path`` in UTF-8: ``path`` itself, or ``copy``, written here.

    A byte order mark is left out.

    Raises:
        ValueError: the file is empty, damaged, no text, or not in ``encoding``.
    """
    if path.stat().st_size == 0:
        raise ValueError(_EMPTY.format(shown))
    with opened(path, shown) as stream:
        start = next(chunks(stream, shown), b"")
    if not start:
        raise ValueError(_EMPTY.format(shown))
    mark, marked = next(
        ((mark, name) for mark, name in _MARKS if start.startswith(mark)), (b"", "utf-8")
    )
    chosen = marked if encoding == "auto" else encoding
    _refuse_contradiction(start, shown, chosen, marked if mark else None)
    texts = _texts(path, shown, chosen)
    if compression_of(path) is None and not mark and chosen == "utf-8":
        for _ in texts:  # the check is all
            pass
        return path
    with copy.open("w", encoding="utf-8", newline="") as out:
        out.writelines(texts)
    return copy


def with_plain_line_ends(path: Path, copy: Path) -> bool:
    """Write ``copy`` with \\n for each \\r\\n, and return whether ``path`` has both line ends."""
    crlf = lf = 0
    with copy.open("w", encoding="utf-8", newline="") as out:
        for text in _texts(path, path.name, "utf-8"):
            crlf, lf = crlf + text.count("\r\n"), lf + text.count("\n")
            out.write(text.replace("\r\n", "\n"))
    return 0 < crlf < lf


def _texts(path: Path, shown: str, encoding: str) -> Iterator[str]:
    """Yield the text in pieces that end with whole characters and never between \\r and \\n."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    lines, held, first = 1, "", True
    with opened(path, shown) as stream:
        pieces = chunks(stream, shown)
        while True:
            piece = next(pieces, b"")
            try:
                text = held + decoder.decode(piece, final=not piece)
            except UnicodeDecodeError as error:
                raise ValueError(_not_decoded(error, shown, encoding, lines)) from error
            if first:
                text, first = text.removeprefix("\ufeff"), False
            if "\0" in text:
                line = lines + text[: text.index("\0")].count("\n")
                raise ValueError(
                    f"{shown}, line {line}: a zero byte, which no text has: the file is damaged, "
                    "or in another encoding, for example `encoding: utf-16-le`"
                )
            held = "\r" if piece and text.endswith("\r") else ""
            text = text[: len(text) - len(held)]
            lines += text.count("\n")
            if text:
                yield text
            if not piece:
                return


def _refuse_contradiction(start: bytes, shown: str, encoding: str, marked: str | None) -> None:
    """Raise if the file's first bytes show that it is not in ``encoding``."""
    if marked and not encoding.startswith(marked):
        raise ValueError(
            f"{shown} begins with the byte order mark of {marked}, but the source says `encoding: "
            f"{encoding}`: take that setting out"
        )
    if encoding == "utf-8" and start.count(0) > len(start) / 4:
        order = "be" if start[:1] == b"\0" else "le"
        raise ValueError(
            f"{shown} looks like UTF-16 without a byte order mark: set `encoding: utf-16-{order}` "
            "of this source"
        )
    if encoding.startswith(("utf", "gb", "big5", "shift", "euc", "iso2022")):
        return
    try:
        text = start[: start.rfind(b"\n") + 1].decode("utf-8")
    except UnicodeDecodeError:
        return
    # Text of a single-byte encoding with such letters hardly ever is valid UTF-8.
    if not text.isascii():
        line = next(one for one in text.split("\n") if not one.isascii()).strip()
        raise ValueError(
            f"{shown} is in UTF-8 ({line!r:.80}), but the source says `encoding: {encoding}`: "
            "take that setting out"
        )


def _not_decoded(error: UnicodeDecodeError, shown: str, encoding: str, lines: int) -> str:
    """Return what is wrong with a byte, and which encodings would read its line."""
    data = error.object
    line = lines + data[: error.start].count(b"\n")
    start, end = data.rfind(b"\n", 0, error.start) + 1, data.find(b"\n", error.start)
    wrong = data[start : end if end >= 0 else error.start + 40].strip()
    byte = data[error.start]
    readings = []
    if encoding == "utf-8":
        for name in _LIKELY:
            try:
                readings.append(f"{name} reads {wrong.decode(name)!r:.60}")
            except UnicodeDecodeError:
                continue
    advice = f" ({'; '.join(readings)})" if readings else ""
    return (
        f"{shown}, line {line}: the byte 0x{byte:02X} is not {encoding}: set `encoding` of this "
        f"source{advice}"
    )
