"""Write docs/shapes.md: the shapes of files that the tests read, and what becomes of each.

    python -m docs.shapes

The shapes are those of tests/components/data/test_shapes.py, which compares every value.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from components.progress import progress
from tests.components.data.test_shapes import SHAPES, Shape, outcome

PAGE = Path(__file__).with_name("shapes.md")
HEAD = """\
# Shapes of files and their outcome

Written by `python -m docs.shapes` from the {n} shapes in
`tests/components/data/test_shapes.py`, which compares every value and word: {right} are read,
{refused} are refused with the remedy. Settings are those of the source, "by init" those that
`bowerbird init` finds; [how files are written](bring-your-own-data.md#how-files-are-written)
explains them. "Said" is what `ingest` and `check` print.

| shape | settings | outcome |
|---|---|---|
"""
_LONGEST = 400  # characters of a cell


def row(name: str, shape: Shape) -> str:
    """Return the row of the table for a shape, whose file is written and read."""
    settings = ", ".join(f"{key}: {value}" for key, value in shape.settings.items())
    settings = "by init" if shape.init else settings
    return f"| {cell(name)} | {cell(settings)} | {cell(_outcome(shape))} |"


def _outcome(shape: Shape) -> str:
    said = io.StringIO()
    with TemporaryDirectory() as folder, contextlib.redirect_stdout(said):
        try:
            found = outcome(shape, Path(folder))
        except ValueError as error:
            return f"refused: {error}"
    values = [
        f"{column} {', '.join(map(_text, found[column].head(3)))}" for column in shape.wanted or ()
    ]
    printed = "; said: " + "; ".join(filter(None, said.getvalue().splitlines()))
    return "read: " + "; ".join(values) + (printed if shape.printed else "")


def _text(value: object) -> str:
    if isinstance(value, pd.Timestamp):
        return value.isoformat(sep=" ")
    if hasattr(value, "__len__") and not isinstance(value, str):
        return " > ".join(map(str, value))
    if value is None or value != value:
        return "none"
    return f"{value:g}" if isinstance(value, float) else repr(value)


def cell(text: str) -> str:
    """Return a text as a cell of a table in Markdown."""
    short = text if len(text) <= _LONGEST else text[: _LONGEST - 2] + " …"
    plain = short.replace("\n", " ").replace("`", "'")
    return "".join(f"&#{ord(one)};" if one in "<>*[]|\\" else one for one in plain)


def main() -> None:
    """Write the page."""
    rows = [
        row(name, shape) for name, shape in progress(SHAPES.items(), desc="shapes", unit="shape")
    ]
    refused = sum(bool(shape.refused) for shape in SHAPES.values())
    head = HEAD.format(n=len(rows), right=len(rows) - refused, refused=refused)
    PAGE.write_text(head + "\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
