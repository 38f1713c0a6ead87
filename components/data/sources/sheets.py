"""A sheet of a workbook (xlsx, xls, ods …) → a Parquet file of its values.

The first row that is not empty names the columns. Cells have the types that the workbook gives
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, PasswordError

from components.data.sources import formulas
from components.data.sources.delimited import places
from components.data.sources.hints import Also, did_you_mean, with_others
from components.data.sources.values import Values, stage_values
from components.settings import FileFormat

ENDINGS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
_LOOKED_AT = 20  # rows in which the header is looked for
_BATCH = 10_000  # rows

Row = tuple[int, Sequence[Any]]
"""Number of a row in its sheet, from 0, and its cells; an empty cell is ""."""


def stage_sheet(
    path: Path,
    shown: str,
    form: FileFormat,
    wanted: Sequence[str] | None,
    out: Path,
    also: Also | None = None,
) -> Values:
    """Write the wanted columns (None: all) of the workbook's sheet to the Parquet file ``out``.

    also: which other columns are written after them, where there is a header.

    The rows are numbered from the one after the header. Empty rows are left out.

    Raises:
        ValueError: the workbook cannot be read or has several sheets, the sheet is empty, its first
            row is a title, or a column is missing, there twice, or has formulas that were never
            computed.
    """
    sheet = _sheet(path, shown, form)
    shown = f"{shown}, sheet {sheet.name!r}"
    start = list(islice(_rows(sheet), _LOOKED_AT))
    if not start:
        raise ValueError(f"{shown} is empty: name another in `sheet`, or take it out of the source")
    top, first = start[0][0], _texts(start[0][1])
    if form.header:
        _refuse_title(start, shown, wanted)
    if wanted is None:
        chosen: Sequence[int] = range(len(first))
        names = first if form.header else [f"c{n + 1}" for n in chosen]
    else:
        names = with_others(wanted, first, also if form.header else None)
        chosen = places(first, shown, form, names)
    _refuse_formulas(path, shown, sheet, dict(zip(chosen, names, strict=True)))
    numbered = (
        (row - top - form.header, [cells[place] for place in chosen])
        for row, cells in _rows(sheet)
        if row > top or not form.header
    )
    return stage_values(names, iter(lambda: list(islice(numbered, _BATCH)), []), out)


def sheet_names(path: Path, shown: str) -> list[str]:
    """Return the names of the workbook's sheets.

    Raises:
        ValueError: the workbook cannot be read.
    """
    with _opened(path, shown) as book:
        return list(book.sheet_names)


def _sheet(path: Path, shown: str, form: FileFormat) -> CalamineSheet:
    with _opened(path, shown) as book:
        names = book.sheet_names
        if form.sheet and form.sheet not in names:
            hint = did_you_mean(form.sheet, names)
            raise ValueError(
                f"{shown} has no sheet {form.sheet!r}{hint}; it has {', '.join(names)}"
            )
        if not form.sheet and len(names) != 1:
            raise ValueError(
                f"{shown} has {len(names)} sheets: set `sheet` to one of {', '.join(names)}"
            )
        return book.get_sheet_by_name(form.sheet or names[0])


@contextmanager
def _opened(path: Path, shown: str) -> Iterator[CalamineWorkbook]:
    try:
        yield CalamineWorkbook.from_path(path)
    except PasswordError as error:
        raise ValueError(f"{shown} has a password: save it without one") from error
    except (CalamineError, OSError) as error:
        raise ValueError(
            f"{shown} is no workbook that can be read ({_reason(path, error)}"
        ) from error


def _reason(path: Path, error: Exception) -> str:
    """Return why a file is no workbook, and what to do: many programs call other files so."""
    with path.open("rb") as file:
        start = file.read(1000).lstrip(b"\xef\xbb\xbf \r\n\t")
    if start.startswith(b"<"):
        return "it is an HTML or XML page): open it in a spreadsheet program and save it as xlsx"
    if start and not start.count(0) and b"\n" in start:
        return "it is text): give it the ending .csv"
    return f"{error}): save it again"


def _rows(sheet: CalamineSheet) -> Iterator[Row]:
    """Yield the rows that are not empty."""
    for number, cells in enumerate(sheet.iter_rows()):
        if any(cell != "" for cell in cells):
            yield number, cells


def _texts(cells: Sequence[Any]) -> list[str]:
    return [
        str(int(cell) if isinstance(cell, float) and cell % 1 == 0 else cell).strip()
        for cell in cells
    ]


def _refuse_formulas(path: Path, shown: str, sheet: CalamineSheet, names: dict[int, str]) -> None:
    """Raise if a column, by its place in the rows, has formulas without values."""
    if path.suffix.lower() not in formulas.ENDINGS or sheet.start is None:
        return
    for column, row in formulas.without_values(path, sheet.name).items():
        if (name := names.get(column - sheet.start[1])) is not None:
            raise ValueError(
                f"{shown}: column {name!r} has formulas whose values were never computed, first "
                f"in row {row}: they would be read as empty; open the file in a spreadsheet "
                "program and save it, or export it as CSV"
            )


def _refuse_title(start: list[Row], shown: str, wanted: Sequence[str] | None) -> None:
    """Raise if the first row is a title, or a later one has the names of the columns."""
    first = _texts(start[0][1])
    given = [name for name in first if name]
    later = [number for number, cells in start[1:] if wanted and set(wanted) <= set(_texts(cells))]
    if later and not set(wanted or ()) <= set(first):
        where = f"its columns are named in row {later[0] + 1}"
    elif len(given) == 1 and len(start) > 1 and len([one for one in start[1][1] if one != ""]) > 1:
        where = "its columns are named in a later row"
    else:
        return
    raise ValueError(
        f"{shown}: row {start[0][0] + 1} ({', '.join(given)!r:.80}) is a title and names no "
        f"columns; {where}: delete the rows above the names"
    )
