"""Whether the ids of different files belong together.

In: the ids of the shop's own events or reviews, and those of its item or user files. Out: the share
of rows whose id the files have, samples of both sides, and the spelling that keeps them apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow.compute as pc
from ibis import _

from components.data.schema import LINES
from components.data.sources.ids import integral, without_leading_zeros
from components.settings import Validate

SAMPLE = 5
_PREFIX_SAMPLE = 50  # ids of the events that are looked for at the end of the files' ids

_ENOUGH = 20
"""Products of two files of which some would be the same."""

_SIGNS = r"[^\p{L}\p{N}]+"


@ibis.udf.scalar.pyarrow  # type: ignore[untyped-decorator]  # of Ibis
def composed(text: str) -> str:
    """Letters with accents in their composed form, in all engines; DuckDB's own function is
    ``ids.nfc``."""
    return pc.utf8_normalize(text, form="NFC")


_SPELLINGS: dict[str, Callable[[ir.StringValue], ir.StringValue]] = {
    "zeros on the left; set `leading_zeros: strip` (or `width`) in {rules} of both sources": (
        without_leading_zeros
    ),
    "capitals; set `case: upper` in {rules} of both sources": lambda ids: ids.upper(),
    "`.0` after whole numbers; set `integral: true` in {rules} of that source": (integral),
    "the form of letters with accents; set `unicode: NFC` in {rules} of both sources": composed,
    "signs or spaces in them; write the ids the same way in both files": (
        lambda ids: ids.re_replace(_SIGNS, "")
    ),
    "capitals, zeros on the left and signs; write the ids the same way in both files": (
        lambda ids: without_leading_zeros(ids.lower().re_replace(_SIGNS, ""))
    ),
}
"""Rules that give two spellings of an id the same form, by the difference that they remove."""


@dataclass(frozen=True)
class Join:
    """The ids of events or reviews (``rows``) against the files'.

    what: product or customer. known: rows whose id the files have. cause: the likely one, or "".
    not_found, listed: samples of both sides.
    """

    what: str
    rows: str
    events: int
    known: int
    not_found: list[str]
    listed: list[str]
    cause: str

    @property
    def share(self) -> float:
        return self.known / self.events if self.events else 1.0

    def line(self) -> str:
        """Return the share in words, with samples if ids are missing."""
        files = "item" if self.what == "product" else "user"
        text = (
            f"{self.share:.1%} of {self.events:,} {self.rows} find their {self.what} in the "
            f"{files} files"
        )
        if self.not_found:
            text += (
                f"; not found: {_listed(self.not_found)}; the files have: {_listed(self.listed)}"
            )
        return text + (f"; likely cause: {self.cause}" if self.cause else "")

    def report(self) -> dict[str, Any]:
        """Return the join for reports/validation.json."""
        return {
            self.rows: self.events,
            "known": self.known,
            "share": round(self.share, 4),
            "not_found": self.not_found,
            "listed": self.listed,
            "likely_cause": self.cause,
        }


def _listed(ids: list[str]) -> str:
    return ", ".join(repr(one) for one in ids)


def join(what: str, events: ir.Table, files: ir.Table, rows: str = "events") -> Join:
    """Return how the ids of events match the ids that files list.

    events: (id), one row for each event, none null. files: (id). rows: what the events are.
    """
    times = events.group_by("id").aggregate(n=_.count()).cache()
    listed = files.filter(files.id.notnull()).distinct().cache()
    missing = times.anti_join(listed, "id").cache()
    total, lost = (int(table.n.sum().fill_null(0).execute()) for table in (times, missing))
    return Join(
        what=what,
        rows=rows,
        events=total,
        known=total - lost,
        not_found=_first_ids(missing, SAMPLE),
        listed=_first_ids(listed, SAMPLE),
        cause=_cause(what, missing, listed, lost) if lost else "",
    )


def _first_ids(table: ir.Table, n: int) -> list[str]:
    return table.order_by("id").limit(n).id.execute().tolist()


def _cause(what: str, missing: ir.Table, listed: ir.Table, lost: int) -> str:
    """Return the spelling that lets the most of the missing ids match, "" if none does."""
    rules = "item_ids" if what == "product" else "user_ids"
    gains = {}
    for cause, spelled in _SPELLINGS.items():
        match = missing.mutate(id=spelled(missing.id)).semi_join(
            listed.select(id=spelled(listed.id)), "id"
        )
        gains[cause.format(rules=rules)] = _events(match)
    for cause, match in _prefixes(what, missing, listed):
        gains[cause] = _events(match)
    best = max(gains, key=lambda cause: gains[cause])
    # A few ids match by chance.
    if gains[best] < max(2, 0.1 * lost):
        return ""
    return f"ids differ by {best}"


def _events(match: ir.Table) -> int:
    return int(match.n.sum().fill_null(0).execute())


def _prefixes(what: str, missing: ir.Table, listed: ir.Table) -> list[tuple[str, ir.Table]]:
    """Return the most frequent text before the ids on each side, and which ids it explains.

    Digits do not count: some numbers end in other numbers by chance.
    """
    setting = "set `item_prefix: {!r}` of the {} source"
    advice = setting if what == "product" else "write the ids the same way in both files"
    found = []
    for longer, shorter, side in ((listed, missing, "files"), (missing, listed, "events")):
        prefix = _most_frequent_prefix(longer, _first_ids(shorter, _PREFIX_SAMPLE))
        if not prefix or prefix.isdigit():
            continue
        if side == "files":
            match = missing.mutate(id=ibis.literal(prefix) + missing.id).semi_join(listed, "id")
            source = "events'"
        else:
            own = missing.filter(missing.id.startswith(prefix))
            match = own.mutate(id=own.id.substr(len(prefix))).semi_join(listed, "id")
            source = "files'"
        remedy = advice.format(prefix, source)
        found.append((f"{prefix!r} before the ids of the {side}; {remedy}", match))
    return found


def _most_frequent_prefix(longer: ir.Table, ends: list[str]) -> str:
    """Return the most frequent text before one of ``ends`` in the ids of ``longer``, or ""."""
    if not ends:
        return ""
    sample = ibis.memtable({"end": ends}, schema={"end": "string"})
    pairs = longer.select("id").cross_join(sample)
    pairs = pairs.filter(pairs.id.endswith(pairs.end), pairs.id.length() > pairs.end.length())
    prefix = pairs.id.substr(0, pairs.id.length() - pairs.end.length())
    most = pairs.select(prefix=prefix).group_by("prefix").aggregate(n=_.count())
    first = most.order_by([ibis.desc("n"), "prefix"]).limit(1).execute()
    return "" if first.empty else str(first["prefix"][0])


def joins_of(events: ir.Table, items: ir.Table, users: ir.Table) -> dict[str, Join]:
    """Return how the shop's own events join with its item and user files, as far as it has any.

    items, users: the raw tables.
    """
    found = {}
    if _has_files(items):
        found["known_items"] = _join("product", events.item_id, items.item_id)
    of_files = users.filter(users.source != LINES)
    if _has_files(users):
        found["known_users"] = _join("customer", events.user_id, of_files.user_id)
    return {name: one for name, one in found.items() if one.events}


def join_of_reviews(reviews: ir.Table, items: ir.Table) -> Join | None:
    """Return how reviews join with the item files, None without files or reviews.

    Reviews of other products are of use too: the language model learns from them.
    """
    if not _has_files(items):
        return None
    found = _join("product", reviews.item_id, items.item_id, "reviews")
    return found if found.events else None


def _has_files(table: ir.Table) -> bool:
    """Return whether rows of the raw table are of the shop's files, not of its lines alone."""
    return bool(table.filter(table.source != LINES).count().execute())


def _join(
    what: str, events: ir.StringColumn, listed: ir.StringColumn, rows: str = "events"
) -> Join:
    ids = events.name("id").as_table()
    return join(what, ids.filter(ids.id.notnull()), listed.name("id").as_table(), rows)


def without_common_ids(events: ir.Table, name: str) -> list[str]:
    """Return a sentence for each file of which no product or customer is in another one.

    events: the shop's own valid events. name: item_id or user_id.
    """
    listed = events.select("source", id=name).distinct()
    files = listed.group_by("id").aggregate(files=_.count())
    of_file = listed.join(files, "id").group_by("source")
    counts = of_file.aggregate(n=_.count(), shared=(_.files > 1).sum(), example=_.id.min())
    large = counts.filter(_.n >= _ENOUGH).order_by("source").execute()
    if len(large) < 2:
        return []
    return [
        f"no {name} of {own.source}, such as {own.example!r}, is in another file: name the column "
        "that has the same kind of id as there, or give a file that has both"
        for own in large[large["shared"] == 0].itertuples()
    ]


def too_few_known(joins: dict[str, Join], settings: Validate) -> list[str]:
    """Return a sentence for each join below its limit."""
    limits = {"known_items": settings.min_known_items, "known_users": settings.min_known_users}
    return [
        f"{found.line()} (validate.min_{name} is {limits[name]:.0%})"
        for name, found in joins.items()
        if found.share < limits[name]
    ]
