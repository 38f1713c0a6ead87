"""Whether the ids of different files belong together.

In: the ids of the shop's own events, and those of its item or user files. Out: the share of events
whose id the files have, samples of both sides, and the spelling that keeps them apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from components.data.schema import LINES
from components.settings import Validate

SAMPLE = 5
_PREFIX_SAMPLE = 50  # ids of the events that are looked for at the end of the files' ids

_SPELLINGS: dict[str, Callable[[pd.Series], pd.Series]] = {
    "zeros on the left; set `leading_zeros: strip` (or `width`) in {rules} of both sources": (
        lambda ids: ids.str.replace(r"^0+(?=.)", "", regex=True)
    ),
    "capitals; set `case: upper` in {rules} of both sources": lambda ids: ids.str.upper(),
    "`.0` after whole numbers; set `integral: true` in {rules} of that source": (
        lambda ids: ids.str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True)
    ),
    "the form of letters with accents; set `unicode: NFC` in {rules} of both sources": (
        lambda ids: ids.str.normalize("NFC")
    ),
    "signs or spaces in them; write the ids the same way in both files": (
        lambda ids: ids.str.replace(r"[\W_]+", "", regex=True)
    ),
    "capitals, zeros on the left and signs; write the ids the same way in both files": (
        lambda ids: (
            ids.str.lower()
            .str.replace(r"[\W_]+", "", regex=True)
            .str.replace(r"^0+(?=.)", "", regex=True)
        )
    ),
}
"""Rules that give two spellings of an id the same form, by the difference that they remove."""


@dataclass(frozen=True)
class Join:
    """The events' ids against the files'.

    what: product or customer. known: events whose id the files have. cause: the likely one, or "".
    not_found, listed: samples of both sides.
    """

    what: str
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
            f"{self.share:.1%} of {self.events:,} events find their {self.what} in the {files} "
            "files"
        )
        if self.not_found:
            text += (
                f"; not found: {_listed(self.not_found)}; the files have: {_listed(self.listed)}"
            )
        return text + (f"; likely cause: {self.cause}" if self.cause else "")

    def report(self) -> dict[str, Any]:
        """Return the join for reports/validation.json."""
        return {
            "events": self.events,
            "known": self.known,
            "share": round(self.share, 4),
            "not_found": self.not_found,
            "listed": self.listed,
            "likely_cause": self.cause,
        }


def _listed(ids: list[str]) -> str:
    return ", ".join(repr(one) for one in ids)


def join(what: str, events: pd.Series, listed: pd.Series) -> Join:
    """Return how the ids of events match the ids that files list.

    events: one id for each event, none null.
    """
    times = events.value_counts()
    ids = times.index.to_series()
    known = ids.isin(listed)
    missing = ids[~known].sort_values()
    n, found = int(times.sum()), int(times[known.to_numpy()].sum())
    return Join(
        what=what,
        events=n,
        known=found,
        not_found=missing.head(SAMPLE).tolist(),
        listed=listed.dropna().sort_values().head(SAMPLE).tolist(),
        cause=_cause(what, missing, times, listed.dropna()) if len(missing) else "",
    )


def _cause(what: str, missing: pd.Series, times: pd.Series, listed: pd.Series) -> str:
    """Return the spelling that lets the most of the missing ids match, "" if none does."""
    rules = "item_ids" if what == "product" else "user_ids"
    gains = {}
    for cause, spelled in _SPELLINGS.items():
        match = spelled(missing).isin(set(spelled(listed))).to_numpy()
        gains[cause.format(rules=rules)] = int(times[missing[match]].sum())
    for cause, match in _prefixes(missing, listed):
        gains[cause] = int(times[missing[match.to_numpy()]].sum())
    best = max(gains, key=lambda cause: gains[cause])
    # A few ids match by chance.
    if gains[best] < max(2, 0.1 * times[missing].sum()):
        return ""
    return f"ids differ by {best}"


def _prefixes(missing: pd.Series, listed: pd.Series) -> list[tuple[str, pd.Series]]:
    """Return the most frequent text before the ids on each side, and which ids it explains."""
    sample = missing.head(_PREFIX_SAMPLE)
    found = []
    for longer, shorter, side in ((listed, sample, "files"), (sample, listed, "events")):
        ends = Counter(
            one[: -len(other)]
            for other in shorter.head(_PREFIX_SAMPLE)
            for one in longer[longer.str.endswith(other) & (longer.str.len() > len(other))]
        )
        if not ends:
            continue
        prefix, _ = ends.most_common(1)[0]
        if side == "files":
            match = (prefix + missing).isin(set(listed))
            advice = f"set `item_prefix: {prefix!r}` of the events' source"
        else:
            match = missing.str.startswith(prefix) & missing.str[len(prefix) :].isin(set(listed))
            advice = f"set `item_prefix: {prefix!r}` of the files' source"
        found.append((f"{prefix!r} before the ids of the {side}; {advice}", match))
    return found


def joins_of(events: pd.DataFrame, items: pd.DataFrame, users: pd.DataFrame) -> dict[str, Join]:
    """Return how the shop's own events join with its item and user files, as far as it has any.

    items, users: ids and ``source`` of the raw tables.
    """
    found = {}
    if (items["source"] != LINES).any():
        found["known_items"] = join("product", events["item_id"].dropna(), items["item_id"])
    of_files = users.loc[users["source"] != LINES, "user_id"]
    if len(of_files):
        found["known_users"] = join("customer", events["user_id"].dropna(), of_files)
    return {name: one for name, one in found.items() if one.events}


def too_few_known(joins: dict[str, Join], settings: Validate) -> list[str]:
    """Return a sentence for each join below its limit."""
    limits = {"known_items": settings.min_known_items, "known_users": settings.min_known_users}
    return [
        f"{found.line()} (validate.min_{name} is {limits[name]:.0%})"
        for name, found in joins.items()
        if found.share < limits[name]
    ]
