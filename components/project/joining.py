"""Which column of one file holds the ids of another, and how both are written.

In: the guesses of a shop's files. Out: the rule for ids of both sources; the column of the item or
user file is changed where another one has the ids of the events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from components.data.sources.columns import MAPPABLE
from components.data.sources.names import likeness
from components.project.facts import MOST
from components.project.guessing import Guess

FOUND = 0.5
"""Share of the events' ids that another file must have for the ids to be those of the file."""
_ENOUGH = 20  # different ids
_NAMED = 0.5
"""Weight of a column's name against the share of the ids that are found in it."""

Spelling = tuple[dict[str, Any], Callable[[pd.Series], pd.Series]]


def _spellings(listed: pd.Series) -> dict[str, Spelling]:
    """Return rules for ids by what they do, those of the listed ids' own spelling first."""
    lengths = listed.str.len()
    width = int(lengths.max())
    padded = listed.str.startswith("0").any() and lengths.nunique() == 1
    lower = bool((listed == listed.str.lower()).mean() > MOST)
    found: dict[str, Spelling] = {"": ({}, lambda ids: ids)}
    if padded:
        found[f"with zeros on the left up to {width} digits"] = (
            {"width": width},
            lambda ids: ids.where(~ids.str.isdigit(), ids.str.zfill(width)),
        )
    found["without .0"] = (
        {"integral": True},
        lambda ids: ids.str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True),
    )
    found["without zeros on the left"] = (
        {"leading_zeros": "strip"},
        lambda ids: ids.str.replace(r"^0+(?=.)", "", regex=True),
    )
    if lower:
        found["in small letters"] = ({"case": "lower"}, lambda ids: ids.str.lower())
    else:
        found["in capitals"] = ({"case": "upper"}, lambda ids: ids.str.upper())
    return found


def join_ids(of_events: list[Guess], listed: Guess, name: str) -> dict[str, Any]:
    """Choose the column of ``listed`` in which the ids of the events are found, and return the rule
    for ids by which they are, {} if they are written the same way.

    name: item_id or user_id. Only the beginnings of the files are compared.
    """
    own = [one.values(name).drop_duplicates() for one in of_events if name in one.columns]
    if not own:
        return {}
    scores: dict[tuple[str, str], float] = {}
    for column in listed.inspected.values.columns:
        theirs = listed.inspected.values[column].dropna()
        if column in listed.inspected.objects or theirs.empty:
            continue
        for what, (_, spelled) in _spellings(theirs).items():
            known = set(spelled(theirs))
            if len(known) < theirs.nunique():
                continue  # two ids would become one
            share = min(float(spelled(ids).isin(known).mean()) for ids in own)
            if share > FOUND:
                scores[column, what] = share + _NAMED * likeness(name, column)
    if not scores:
        return {}
    column, what = max(scores, key=lambda one: scores[one])
    _choose(column, listed, name)
    others = {other for other, _ in scores} - {column}
    if others:
        listed.doubts.append(
            f"{name} is column {column!r}; ids of the events are also in "
            f"{', '.join(map(repr, sorted(others)))}"
        )
    rule, spelled = _spellings(listed.values(name))[what]
    if what:
        known = set(spelled(listed.values(name)))
        changed = own[0][(spelled(own[0]) != own[0]) & spelled(own[0]).isin(known)]
        example = f": {changed.iloc[0]!r} is {spelled(changed).iloc[0]!r}" if len(changed) else ""
        listed.doubts.append(f"{name}: all ids are written {what}{example}, also in requests")
    return rule


def join_events(first: Guess, other: Guess, name: str) -> dict[str, Any]:
    """Return the rule by which two files of events write the same ids, {} if none is needed."""
    if name not in first.columns or name not in other.columns:
        return {}
    one, two = (guess.values(name).drop_duplicates() for guess in (first, other))
    for what, (rule, spelled) in _spellings(one).items():
        if spelled(two).isin(set(spelled(one))).mean() > FOUND:
            if what:
                other.doubts.append(f"{name}: all ids are written {what}, also in requests")
            return rule
    return {}


def no_common_ids(first: Guess, other: Guess, name: str) -> str:
    """Return that two files of events have no id in common, "" if they have or are short.

    Only the beginnings of the files are compared.
    """
    if name not in first.columns or name not in other.columns:
        return ""
    one, two = (guess.values(name).drop_duplicates() for guess in (first, other))
    rule = other.source.get(f"{name}s", {})
    if rule or min(len(one), len(two)) < _ENOUGH or two.isin(set(one)).any():
        return ""
    return (
        f"{other.source['path']}: no {name} of it, such as {two.iloc[0]!r}, is in "
        f"{first.source['path']}, which has {one.iloc[0]!r}: name the same kind of id in "
        "`columns`, or give the file that has both as --items"
    )


def _choose(column: str, listed: Guess, name: str) -> None:
    """Take ``column`` for ``name``."""
    now = listed.columns.get(name)
    if now == column:
        return
    for other in [one for one, known in listed.columns.items() if known == column]:
        del listed.columns[other]
        if other in MAPPABLE[listed.table].required:
            listed.missing.append(other)
    listed.columns[name] = column
    listed.missing = [one for one in listed.missing if one != name]
    listed.left_out = [one for one in listed.left_out if one != column] + ([now] if now else [])
    settled = f"{name} is "  # by the names of columns, before the values were compared
    listed.doubts = [one for one in listed.doubts if not one.startswith(settled)]
    listed.doubts.append(f"{name} is column {column!r}, whose values the events have")
