"""The categories of an item → its levels, most general first, or a set of them."""

from __future__ import annotations

from collections.abc import Sequence

import ibis
import ibis.expr.types as ir
from ibis import _

from components.data.sources.cells import Cells
from components.data.sources.column import Column, example, first_row, shown
from components.data.sources.files import ROW
from components.data.sources.markup import decoded, decoded_lists
from components.settings import Source

_LISTED = ","
"""Sign between the paths of an item of several: ``Kitchen > Mugs, Gifts > For her``."""
_FEW = 0.02
"""Share of the items below which a comma is part of a name."""


def categories(parts: list[Cells], source: Source, separator: str, as_set: bool) -> ir.Value:
    """Return the levels of a category, most general first: those of each column one after another.

    A list is taken as it is, a text is split at the separator, or is one level without one. The
    values of a set are in the order of the alphabet.
    """
    found = [_levels(cells, source, separator) for cells in parts]
    if len(found) > 1:
        none = ibis.literal([], "array<string>")
        found = [ibis.coalesce(one, none) for one in found]
    levels = found[0].concat(*found[1:]) if found[1:] else found[0]
    levels = levels.map(lambda level: level.strip()).filter(lambda level: level != "")
    return levels.unique().sort() if as_set else levels


def _levels(cells: Cells, source: Source, separator: str) -> ir.Value:
    text, lists = cells.text, cells.levels
    if source.html == "decode":
        text, lists = decoded(text), decoded_lists(lists)
    if separator:
        parts = text.split(separator)
    else:
        parts = ibis.ifelse(text.notnull(), ibis.array([text]), ibis.null("array<string>"))
    return ibis.coalesce(lists, parts)


def several_paths(rows: ir.Table, columns: Sequence[Column], source: Source) -> dict[str, str]:
    """Return a sentence, by column, if texts of categories hold several paths, which are read as
    one.

    A comma stands between paths where what follows it begins the path of another item, or what
    precedes it is a category of another.
    """
    found = [one for one in columns if one.name == "categories" and source.category_separator]
    if not found or source.categories == "set":
        return {}
    (column,) = found
    paths = rows.select(ROW, path=column.value, text=column.cells.text)
    paths = paths.filter(paths.path.length() > 0).group_by(["text", "path"])
    paths = paths.aggregate(n=_.count(), **{ROW: _[ROW].min()})  # lines repeat their item's
    tops = paths.select(name=_.path[0].split(_LISTED)[0].strip())
    levels = paths.select(ROW, "n", "text", level=_.path.unnest())
    alone = levels.filter(~_.level.contains(_LISTED)).select(name=_.level)
    parts = levels.filter(_.level.contains(_LISTED)).mutate(part=_.level.split(_LISTED))
    parts = parts.mutate(before=_.part[0].strip(), after=_.part[-1].strip())
    several = ibis.union(
        parts.semi_join(tops, parts.after == tops.name),
        parts.semi_join(alone, parts.before == alone.name),
    ).distinct(on=["text"], keep="first")
    first = example("first", several.text, several, several.text.notnull())
    counts = first_row(several.aggregate(n=several.n.sum(), **first))
    if counts["n"] <= _FEW * int(paths.n.sum().execute() or 0):
        return {}
    return {
        column.shop: (
            f"{column.shown}: {counts['n']:,} values hold several paths, for example "
            f"{shown(counts, 'first')}, and are read as one: a `query` keeps the first "
            f'(split_part("{column.shop}", \'{_LISTED}\', 1) AS "{column.shop}")'
        )
    }
