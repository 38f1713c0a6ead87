"""Cells of a workbook that are formulas whose values were never computed.

A program that writes formulas leaves their values to the spreadsheet program; until one has saved
the file, such cells read as empty. In: an .xlsx file. Out: the columns that have such cells.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from defusedxml import DefusedXmlException, ElementTree

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element  # nosec B405

ENDINGS = (".xlsx", ".xlsm")
_PIECE = 1 << 22  # bytes
_LARGEST = 1 << 24  # bytes of the list of sheets
_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}sheet"
_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
# An empty text that was computed has t="str".
_CELL = re.compile(
    rb'<(\w+:)?c\b(?![^<>]*\bt="str")[^<>]*?\br="(?P<column>[A-Z]{1,3})(?P<row>\d+)"[^<>]*>\s*'
    rb"<\1?f\b(?:[^<>]*/>|[^<>]*>[^<]*</\1?f>)\s*(?:<\1?v\s*/>|<\1?v>\s*</\1?v>)?\s*</\1?c>"
)
_LONGEST_CELL = 20_000
"""Bytes of a cell with a formula, at most: a formula has 8,192 characters."""


def without_values(path: Path, sheet: str) -> dict[int, int]:
    """Return the first row, from 1, of such cells by the number of their column, from 0.

    {} also if the workbook is not built as usual, which its reader says.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _first_rows(archive, _part(archive, sheet))
    except (zipfile.BadZipFile, KeyError, ElementTree.ParseError, DefusedXmlException, OSError):
        return {}


def _part(archive: zipfile.ZipFile, sheet: str) -> str:
    """Return the name of the sheet's file in the archive."""
    ids = {one.get("name"): one.get(_ID) for one in _tree(archive, "xl/workbook.xml").iter(_MAIN)}
    targets = {
        one.get("Id"): one.get("Target", "") for one in _tree(archive, "xl/_rels/workbook.xml.rels")
    }
    target = targets[ids[sheet]]
    return target.lstrip("/") if target.startswith("/") else f"xl/{target}"


def _tree(archive: zipfile.ZipFile, name: str) -> Element:
    with archive.open(name) as stream:
        return ElementTree.fromstring(stream.read(_LARGEST))


def _first_rows(archive: zipfile.ZipFile, part: str) -> dict[int, int]:
    found: dict[int, int] = {}
    with archive.open(part) as stream:
        before = b""
        while piece := stream.read(_PIECE):
            text = before + piece
            for cell in _CELL.finditer(text):
                found.setdefault(_number(cell["column"]), int(cell["row"]))
            before = text[-_LONGEST_CELL:]  # a cell may be cut
    return found


def _number(letters: bytes) -> int:
    """Return the number of a column, from 0.

    >>> _number(b"A"), _number(b"AB")
    (0, 27)
    """
    number = 0
    for letter in letters:
        number = number * 26 + letter - ord("A") + 1
    return number - 1
