"""What the columns of a file mean: the contract's name of each, and the settings that read it.

In: an ``Inspected`` file and the table that it is for. Out: a ``Guess``, whose ``source`` is an
entry of ``ingest`` in params.yaml. A name alone decides nothing: a column for times must hold
times, one for prices numbers. The values are typed by the code that reads the whole file later.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ibis.expr.types as ir
import pandas as pd

from components.data.sources.addresses import ADDRESSES
from components.data.sources.booleans import FALSE, TRUE
from components.data.sources.cells import Cells, of_text
from components.data.sources.columns import LINE_CATALOGUE, MAPPABLE
from components.data.sources.currencies import NO_PART_OF_AMOUNTS, currencies, without_currency
from components.data.sources.events import events
from components.data.sources.files import connect
from components.data.sources.marks import NOT_AVAILABLE
from components.data.sources.names import (
    EXACT,
    FILLERS,
    GENERIC,
    PART,
    STATES,
    TABLES,
    currency_of,
    likeness,
    words,
)
from components.data.sources.numbers import SIGNS
from components.data.sources.spelling import NULL_WORDS
from components.data.sources.times import times
from components.project.attributes import proposed
from components.project.doubts import doubts
from components.project.facts import MOST, Facts
from components.project.inspection import LIST_SIGN, Inspected
from components.project.refusals import refusals
from components.settings import Source
from components.web_addresses import is_web_address

LEAST_TIMES = 0.5
"""Share of a column's values that must be times for its name to make it one of times."""
OWN_ID = {"id", "code", "handle", "reference", "row", "number", "no", "nr", "key", "uuid"}
"""Words of a name that may be of the row and not of a product."""
LEAST = 0.1
"""Score below which a column is not used."""
_SEPARATORS = (" > ", ">", " › ", " » ", " / ", "|")
_GUESTS = "0 -1 guest anonymous anon unknown visitor gast invité laufkunde barverkauf walk-in 散客"
_GUEST_SHARE = 0.02
"""Share of the rows above which such a customer is no customer …"""
_GUEST_TIMES = 3
"""… if they also are so many times those of the median customer."""
_SEVERAL_PATHS = 0.1
"""Share of the paths with a comma, above which it may stand between two."""
_MOVED = 0.3
"""Share of the categories that stand at several places, above which they are a set."""
_KINDS = {
    "simple",
    "configurable",
    "variable",
    "variation",
    "variant",
    "grouped",
    "bundle",
    "parent",
}
_KINDS |= {"child", "virtual", "downloadable"}
_FLAGS: dict[str, tuple[str, dict[Any, frozenset[str]]]] = {
    "interactions": ("status", STATES),
    "items": ("available", {False: NOT_AVAILABLE | {"stock"}}),
}
"""Names of columns of yes and no, by what yes means for the contract's name."""
_DEFAULT_EVENTS = {
    "purchase": "order purchase purchased buy bought sale sold invoice transaction bestellung",
    "cart": "cart basket wishlist favourite favorite",
    "click": "click",
    "rating": "rating review",
    "view": "view viewed visit visited browse pageview",
}
_FIELDS_OF_PURCHASES = {"order_id", "quantity", "price"}


@dataclass
class Guess:
    """What a file is taken for.

    source: path, columns and settings, as params.yaml has them. doubts: what a reader should look
    at. left_out: columns that are not used. missing: required names without a column. todo: what
    must be changed in the file or by a query. attributes: what ``attributes`` of the source may
    declare. score: how well the columns fit the table, their likeness summed.
    """

    table: str
    inspected: Inspected
    source: dict[str, Any]
    doubts: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    todo: list[str] = field(default_factory=list)
    attributes: str = ""
    score: float = 0.0

    @property
    def part(self) -> str:
        """Return the sheet or table of the file that was chosen, "" for a file of one table."""
        found: str = self.source.get("sheet") or self.source.get("table") or ""
        return found

    @property
    def columns(self) -> dict[str, str]:
        found: dict[str, str] = self.source["columns"]
        return found

    def values(self, name: str) -> pd.Series:
        """Return the values of the column for ``name``, without empty ones."""
        return self.inspected.values[self.columns[name]].dropna()


def guess(table: str, found: Inspected, path: str, with_items: bool = False) -> Guess:
    """Return what the file's columns mean.

    path: of the file or folder, as params.yaml names it. with_items: the shop has an item file, so
    that titles in its lines are not needed.
    """
    facts = Facts(found)
    scores = _scores(table, found, facts, with_items)
    columns = _assign(table, scores)
    result = Guess(table, found, {"path": path, **found.reading, "columns": columns})
    result.score = sum(scores[name, column] for name, column in columns.items())
    result.doubts += found.doubts
    _explain(result, scores)
    _take_flags(result)
    _take_by_name(result, facts)
    _set_times(result, facts)
    _set_signs(result, facts)
    _set_currency(result)
    _set_nulls(result)
    _doubt_ids(result)
    _set_event(result, facts, path)
    _set_categories(result)
    if not with_items:
        _set_titles(result)
    result.missing = [name for name in MAPPABLE[table].required if name not in columns]
    used = set(columns.values())
    result.left_out = [name for name in found.values.columns if name and name not in used]
    if table in ("items", "users"):
        result.attributes = proposed(facts, result.left_out)
    _doubt_named(result, facts)
    result.todo += refusals(result.table, found.values, result.columns, result.left_out, facts)
    result.doubts += doubts(result.table, found.values, result.columns, result.left_out)
    return result


def choose(guesses: list[Guess], taken: Collection[str]) -> Guess:
    """Return the sheet or table of one file that fits best, with a doubt that names the others.

    guesses: one for each, of the same table. taken: those that other tables of the shop have.
    """
    if len(guesses) == 1:
        return guesses[0]

    def fit(one: Guess) -> tuple[int, bool, bool, float]:
        own = set(words(one.part))
        named = any(own & set(words(name)) for name in TABLES[one.table])
        return -len(one.missing), one.part not in taken, named, one.score

    best = max(guesses, key=fit)
    others = ", ".join(repr(one.part) for one in guesses if one is not best)
    kind = "sheet" if "sheet" in best.source else "table"
    best.doubts.insert(0, f"{kind} {best.part!r} has the {best.table}; not read for them: {others}")
    return best


def _scores(
    table: str, found: Inspected, facts: Facts, with_items: bool
) -> dict[tuple[str, str], float]:
    """Return how well each column fits each name, 0 left out."""
    names = [*MAPPABLE[table].known]
    if table == "interactions" and with_items:
        names = [name for name in names if name not in LINE_CATALOGUE]
    scores = {}
    for column in found.values.columns:
        if column in found.objects or not facts.given(column):
            continue
        for name in names:
            score = likeness(name, column) * _fits(table, name, column, found, facts)
            if name == "timestamp" and not score and _only_time(column, facts, found):
                score = 0.3
            if score:
                scores[name, column] = score
    return scores


def _only_time(column: str, facts: Facts, found: Inspected) -> bool:
    """Return whether a column holds times that are no mere numbers."""
    is_number = facts.share(column, "number") > MOST
    return column in found.typed or (facts.share(column, "time") >= MOST and not is_number)


def _fits(table: str, name: str, column: str, found: Inspected, facts: Facts) -> float:
    """Return 1 if the values can be what ``name`` says, less if it is doubtful, 0 if not."""
    is_number = facts.share(column, "number") >= MOST
    if column in found.lists:
        return float(name in ("categories", "category", "description"))
    if name == "timestamp":  # others are better, but a few bad times are quarantined
        share = facts.share(column, "time")
        return 1.0 if share >= MOST else share if share >= LEAST_TIMES else 0.0
    if name == "quantity":  # 12.50 is money, unless the column says that it is a quantity
        whole = found.values[column].dropna().str.fullmatch(r"[+-]?\d+(?:[.,]0+)?").mean() >= MOST
        clear = likeness(name, column) > PART and not set(words(column)) & GENERIC
        return float((whole or clear) and facts.share(column, "number") >= 0.5)
    if name == "price":  # of a price and a price that is there for a few, the first
        filled = facts.given(column) / len(found.values)
        return min(1.0, 2 * filled) if facts.share(column, "number") >= 0.5 else 0.0
    if name == "rating":
        return float(facts.share(column, "number") >= 0.5)
    if name == "event":
        return facts.share(column, "event") if not is_number else 0.0
    if name == "status":
        return float(facts.share(column, "status") >= MOST)
    if name == "language":
        values = found.values[column].dropna()
        return float(values.str.fullmatch(r"[A-Za-z]{2}([-_][A-Za-z]{2})?").mean() > MOST)
    if name == "available":
        return float(facts.share(column, "available") >= 0.5)
    if name == "currency":
        return float(found.values[column].dropna().str.fullmatch(r"[A-Za-z]{3}").mean() > MOST)
    if name in ADDRESSES:
        return float(found.values[column].dropna().map(is_web_address).mean() >= MOST)
    if name in ("title", "description", "text", "brand", "categories", "category", "country"):
        fits = 0.0 if _only_time(column, facts, found) else 1.0
        if name == "title" and facts.few(column):
            fits *= 0.1  # one text for all
        if name in ("categories", "category") and _kinds_of_rows(found.values[column]):
            return 0.0
        if table == "interactions" and (facts.takes_back(column) or facts.says(table, column)):
            return 0.0
        if name in ("categories", "category") and facts.distinct(column) > MOST:
            fits *= 0.5 if facts.given(column) > 50 else 1.0
        return fits * (0.3 if is_number else 1.0)
    if name == "item_id" and table == "items":
        # An id is there once a row; variants and languages make it a little less.
        return 1.0 if facts.distinct(column) > 0.5 else 0.2
    if table == "interactions" and name in ("item_id", "user_id"):
        if set(words(column)) <= OWN_ID and facts.distinct(column) > MOST:
            return 0.0  # the id of the row
        if name == "user_id" and facts.few(column):
            return 0.1  # a kind of customer
    if name in ("item_id", "user_id", "order_id"):
        if _only_time(column, facts, found) or facts.share(column, "long") > 0.5:
            return 0.0
        return 0.3 if _of_words(found.values[column]) else 1.0  # a name, where there is no id
    return 1.0


def _of_words(values: pd.Series) -> bool:
    """Return whether most values are several words."""
    return bool(values.dropna().str.contains(r"[^\W\d_]\s+\S").mean() > 0.5)


def _kinds_of_rows(values: pd.Series) -> bool:
    """Return whether the values say which rows are variants of others."""
    kinds = set(values.dropna().str.lower().unique())
    return bool(kinds) and kinds <= _KINDS


def _assign(table: str, scores: dict[tuple[str, str], float]) -> dict[str, str]:
    """Return a column for each name, the best scores first; each column is used once.

    Names that the table must have choose before the others.
    """
    columns: dict[str, str] = {}
    used: set[str] = set()
    required = MAPPABLE[table].required
    ordered = sorted(scores.items(), key=lambda one: (one[0][0] not in required, -one[1]))
    for (name, column), score in ordered:
        if name not in columns and column not in used and score > LEAST:
            columns[name] = column
            used.add(column)
    order = MAPPABLE[table].known
    return dict(sorted(columns.items(), key=lambda one: order.index(one[0])))


def _explain(result: Guess, scores: dict[tuple[str, str], float]) -> None:
    """Add a doubt for each name that another column fits nearly as well, or that fits weakly."""
    used = set(result.columns.values())
    for name, column in result.columns.items():
        own = scores[name, column]
        others = [
            other
            for (one, other), score in scores.items()
            if one == name and other not in used and score > own - 0.2
        ]
        if others:
            named = ", ".join(repr(one) for one in others[:3])
            result.doubts.append(f"{name} is column {column!r}; it could also be {named}")
        elif own <= EXACT / 2:
            result.doubts.append(f"{name} is taken to be column {column!r}")


def _take_by_name(result: Guess, facts: Facts) -> None:
    """Take columns for time, event, status and availability by their names where the values are not
    understood.

    Without them every row would mean another thing, so the stages are to refuse them.
    """
    for name in ("timestamp", "event", "status", "available"):
        if name in result.columns or name not in MAPPABLE[result.table].known:
            continue
        column = named(name, result, facts)
        if column and name == "available" and not facts.words(column):
            continue
        if column and (name in ("timestamp", "available") or result.table == "interactions"):
            result.columns[name] = column
            example = result.values(name).iloc[0]
            result.doubts.append(
                f"{name} is column {column!r} by its name alone; values such as {example!r} are "
                "not understood: where it is something else, take it out of `columns`"
            )


def _take_flags(result: Guess) -> None:
    """Take a column that says yes to what a name of the contract says no to: ``is_cancelled``."""
    name, meanings = _FLAGS.get(result.table, ("", {}))
    if not name or name in result.columns:
        return
    for column in result.inspected.values.columns:
        own = set(words(column)) - FILLERS
        meaning = next((one for one, known in meanings.items() if own and own <= known), None)
        values = result.inspected.values[column].dropna()
        yes = {one for one in values.unique() if one.lower() in (*TRUE, "1", "x")}
        no = {one for one in values.unique() if one.lower() in (*FALSE, "0")}
        if meaning is None or not yes or len(yes | no) < values.nunique():
            continue
        result.columns[name] = column
        negation: str | bool = True if meaning is False else "kept"
        setting = "available" if name == "available" else "statuses"
        result.source[setting] = dict.fromkeys(yes, meaning) | dict.fromkeys(no, negation)
        result.doubts.append(f"{name} is column {column!r}; its words are in `{setting}`")
        return


def named(name: str, result: Guess, facts: Facts) -> str:
    """Return the unused column that has a name of ``name``, "" without one."""
    used = set(result.columns.values())
    own = {
        column: likeness(name, column)
        for column in result.inspected.values.columns
        if column not in used
        and column not in result.inspected.objects
        and facts.given(column)
        and (name in ("timestamp", "status") or not set(words(column)) <= GENERIC)
    }
    best = max(own, key=lambda column: own[column], default="")
    return best if best and own[best] > PART else ""


def _doubt_named(result: Guess, facts: Facts) -> None:
    """Add a doubt for each column that has the name of a number and holds none."""
    for name in ("price", "quantity", "rating", "available"):
        if name in result.columns or name not in MAPPABLE[result.table].known:
            continue
        for column in sorted(result.inspected.objects):
            if likeness(name, column) > PART:
                result.doubts.append(
                    f"{column!r} is not used: it holds objects, of which a `query` takes the {name}"
                )
        if column := named(name, result, facts):
            example = result.inspected.values[column].dropna().iloc[0]
            result.doubts.append(
                f"{column!r} is not used: values such as {example!r} are not understood as {name}: "
                "a `query` can write them as numbers"
            )


def _set_titles(result: Guess) -> None:
    """Call products by their ids where those are names, by the column or as texts of words."""
    column = result.columns.get("item_id", "")
    if not column or result.table != "interactions" or "title" in result.columns:
        return
    named = likeness("title", column) > LEAST and not set(words(column)) & OWN_ID
    if named or _of_words(result.values("item_id")):
        result.columns["title"] = column
        result.doubts.append(f"title is column {column!r}, too: its values are names")


def _set_times(result: Guess, facts: Facts) -> None:
    column = result.columns.get("timestamp")
    if column is None or column in result.inspected.typed:
        return
    shares = facts.formats(column)
    best = max(shares.values())
    if shares[""] >= MOST or shares[""] == best:
        _doubt_times(result, [], shares[""])
        return
    fitting = [form for form, share in shares.items() if share == best]
    form = max(fitting, key=lambda one: _order(result.inspected.values[column], one))
    result.source["timestamp_format"] = form
    _doubt_times(result, [form], best)
    if len(fitting) > 1:
        example = result.values("timestamp").iloc[0]
        others = " or ".join(one for one in fitting if one != form)
        result.doubts.append(f"timestamp: {example!r} is read as {form}; it could be {others}")


def _doubt_times(result: Guess, formats: list[str], share: float) -> None:
    """Add a doubt if some values are no times."""
    if share == 1.0:
        return
    values = result.values("timestamp")
    unread = _unread(values, lambda cells: times(cells, formats, None))
    if unread:
        result.doubts.append(
            f"timestamp: {1 - share:.1%} of the values, such as {unread[0]!r}, are no times"
            + (f" of the form {formats[0]}" if formats else "")
        )


def _order(values: pd.Series, form: str) -> float:
    """Return how well the times are in order when read by a format: files mostly are."""
    read = _typed(values.dropna(), lambda cells: times(cells, [form], None)).dropna()
    steps = read.diff().dropna()
    late = (read > pd.Timestamp.now(tz="UTC") + pd.Timedelta(days=1)).mean()
    return float(max((steps >= pd.Timedelta(0)).mean(), (steps <= pd.Timedelta(0)).mean()) - late)


def _set_signs(result: Guess, facts: Facts) -> None:
    """Set the decimal and thousands signs that read the most numbers of the file."""
    named = [
        result.columns[name] for name in ("price", "quantity", "rating") if name in result.columns
    ]
    totals = {signs: sum(facts.signs(column)[signs] for column in named) for signs in SIGNS}
    highest = max(totals.values())
    best, *others = [signs for signs in SIGNS if totals[signs] > highest - 1e-9]
    if not named or best == SIGNS[0]:
        return
    price = result.columns.get("price", named[0])
    if any(other[0] != best[0] for other in others):
        result.doubts.append(
            f"numbers such as {_example(result, price, ',')!r}: the comma may be the decimal sign "
            "or stand between thousands: set `decimal` or `thousands`"
        )
        return
    result.source["decimal"] = best[0]
    if best[1]:
        result.source["thousands"] = best[1]
    groups = f" and {best[1]!r} between thousands" if best[1] else ""
    result.doubts.append(
        f"numbers such as {_example(result, price, best[0])!r}: {best[0]!r} is the decimal sign"
        f"{groups}"
    )


def _set_currency(result: Guess) -> None:
    """Set the currency that the name of the column of prices has: ``Price (USD)``."""
    code = currency_of(result.columns.get("price", ""))
    if code and "currency" not in result.columns and currency_codes(result).empty:
        result.source["currency"] = code
        result.doubts.append(
            f"prices are in {code}, by the name of column {result.columns['price']!r} (currency)"
        )


def _example(result: Guess, column: str, sign: str) -> str:
    values = result.inspected.values[column].dropna()
    found = values[values.str.contains(sign, regex=False)]
    return str((found if len(found) else values).iloc[0])


def _set_nulls(result: Guess) -> None:
    """Set the words for no value that stand among the ids, numbers and times."""
    found: set[str] = set()
    for name in ("user_id", "item_id", "order_id", "quantity", "price", "rating", "timestamp"):
        if name in result.columns:
            values = result.values(name)
            found |= set(values[values.str.lower().isin(NULL_WORDS)])
    guests: set[str] = set()
    if "user_id" in result.columns:
        users = result.values("user_id")
        rows = users.value_counts()
        many = rows[(rows > _GUEST_SHARE * len(users)) & (rows > _GUEST_TIMES * rows.median())]
        guests = set(many.index[many.index.str.lower().isin(_GUESTS.split())])
    numbers: set[str] = set()  # `nulls` is for all columns of the source
    for name in ("quantity", "price", "rating"):
        if name in result.columns:
            numbers |= guests & set(result.values(name))
    found |= guests - numbers
    if found:
        result.source["nulls"] = sorted(found)
        result.doubts.append(
            f"{', '.join(map(repr, sorted(found)))} means that there is no value (nulls)"
        )
    if numbers:
        result.doubts.append(
            f"{', '.join(map(repr, sorted(numbers)))} among the ids may mean no id, but is also a "
            "number of another column: a `query` with `nullif` takes it out of the ids"
        )


def _doubt_ids(result: Guess) -> None:
    """Set that e-mail addresses have no capitals; add doubts about ids that a program changed."""
    for name in ("user_id", "item_id"):
        if name not in result.columns:
            continue
        ids = result.values(name).drop_duplicates()
        is_mail = ids.str.fullmatch(r"[^@\s]+@[^@\s]+").mean() > MOST
        if name == "user_id" and is_mail and ids.str.lower().nunique() < len(ids):
            result.source["user_ids"] = {"case": "lower"}
            result.doubts.append("user_id: e-mail addresses are written in small letters")
        elif ids.str.startswith("'").mean() > 0.5:
            result.doubts.append(
                f"{name}: ids such as {ids.iloc[0]!r} have the apostrophe that Excel puts before "
                "texts: export them without it, or take it off in a `query`"
            )


def _set_event(result: Guess, facts: Facts, path: str) -> None:
    """Set the event of rows, and name the words that are not known."""
    if result.table != "interactions":
        return
    column = result.columns.get("event")
    if column is None:
        event, certain = _event_by_names(result, path)
        result.source["event"] = event
        if not certain:
            result.doubts.append(f"every row is taken for a {event} (event)")
        return
    unknown = _unknown_events(result.values("event"))
    if unknown:
        result.source["events"] = {
            word: "ignore"
            for word in unknown
            if re.search("remove|refund|return|cancel", word.lower())
        }
        rest = [word for word in unknown if word not in result.source["events"]]
        for word in result.source["events"]:
            result.doubts.append(f"rows of the event {word!r} are ignored (events)")
        if rest:
            result.doubts.append(
                f"unknown events {', '.join(map(repr, rest[:8]))}: say in `events` what they are: "
                "view, click, cart, purchase, rating, dislike or ignore"
            )
        if not result.source["events"]:
            del result.source["events"]


def _event_by_names(result: Guess, path: str) -> tuple[str, bool]:
    """Return what the rows are by the names of file and columns, and whether that is certain."""

    def named(name: str) -> list[str]:
        own = {word.removesuffix("s") for word in words(name)}
        return [event for event, known in _DEFAULT_EVENTS.items() if own & set(known.split())]

    by_file, by_time = named(Path(path).name), named(result.columns.get("timestamp", ""))
    rated = "rating" in result.columns
    if by_file and by_time and by_file[0] != by_time[0]:
        return by_time[0], False
    if found := by_file or by_time:
        if rated and "rating" in found:
            return "rating", len(found) == 1
        return found[0], len(found) == 1 and not rated
    if rated:
        return "rating", True
    return "purchase", bool(_FIELDS_OF_PURCHASES & result.columns.keys())


def _unknown_events(values: pd.Series) -> list[str]:
    return _unread(values, lambda cells: events(cells, Source(path=Path(), columns={})))


def _unread(values: pd.Series, typed: Callable[[Cells], ir.Value]) -> list[str]:
    """Return the different values that cannot be read, the most frequent first."""
    read = _typed(pd.Series(values.value_counts().index, dtype=str), typed)
    return [str(one) for one in read.index[read.isna()]]


def currency_codes(guess: Guess) -> pd.Series:
    """Return the code of the currency of each row that names one that is known."""
    plain = Source(path=Path(), columns={})
    if "currency" in guess.columns:
        named = guess.values("currency")
    elif "price" in guess.columns:
        prices = guess.values("price")
        words = prices[prices.str.contains(NO_PART_OF_AMOUNTS)].drop_duplicates()
        named = prices.map(_typed(words, lambda cells: without_currency(cells, plain)[1].text))
        if code := guess.source.get("currency"):
            named = named.fillna(code)
    else:
        return pd.Series(dtype=object)
    words = pd.Series(named.dropna().unique(), dtype=str)  # few: the vocabulary is long
    return named.map(_typed(words, lambda cells: currencies(cells, plain))).dropna()


def _typed(values: pd.Series, typed: Callable[[Cells], ir.Value]) -> pd.Series:
    """Return the typed value of each text, by the text, in their order."""
    if values.empty:  # a connection takes longer than a column
        return pd.Series(dtype=object)
    con = connect("UTC")
    frame = pd.DataFrame({"w": values.to_numpy(), "n": range(len(values))})
    table = con.create_table("w", frame, schema={"w": "string", "n": "int64"}, temp=True)
    found = table.select("w", "n", value=typed(of_text(table.w))).order_by("n").execute()
    con.disconnect()
    return found.set_index("w")["value"]


def _set_categories(result: Guess) -> None:
    """Set the sign between the categories of an item, and whether they are a path or a set."""
    column = result.columns.get("categories" if result.table != "reviews" else "category")
    if column is None:
        return
    values = result.inspected.values[column].dropna()
    if column in result.inspected.lists:
        sign = LIST_SIGN
    else:
        shares = {one: values.str.contains(one, regex=False).mean() for one in _SEPARATORS}
        sign = max(shares, key=lambda one: shares[one])
        if shares[sign] <= 0.2:
            for sign in ("/", ";", ", "):
                parted = values[values.str.contains(sign, regex=False)]
                if len(parted) > 0.2 * len(values):
                    result.doubts.append(
                        f"categories such as {parted.iloc[0]!r} are not split (category_separator)"
                    )
            return
        plain = sign.strip()  # unless it also stands within a name: A/V
        same = (values.str.count(re.escape(plain)) == values.str.count(re.escape(sign))).all()
        result.source["category_separator"] = plain if same else sign
    example = values[values.str.contains(sign, regex=False)]
    if example.empty:
        return
    if result.table != "reviews" and _is_set(values, sign):
        result.source["categories"] = "set"
        result.doubts.append(f"categories such as {example.iloc[0]!r} are a set without an order")
    else:
        several = example[example.str.contains(", ", regex=False)]
        text = f"categories such as {example.iloc[0]!r} are a path, from left to right"
        if sign != LIST_SIGN and len(several) > _SEVERAL_PATHS * len(example):
            text += (
                f"; if {several.iloc[0]!r} is several, a `query` keeps the first "
                f"(split_part(\"{column}\", ', ', 1))"
            )
        result.doubts.append(text)


def _is_set(values: pd.Series, sign: str) -> bool:
    """Return whether the categories have no order: many of them stand at several places."""
    parts = values.str.split(sign, regex=False).explode().str.strip()
    places = parts.groupby(level=0).cumcount()
    of_each = places.groupby(parts).nunique()
    often = parts.value_counts() > 1
    return bool((of_each[often.index[often]] > 1).mean() > _MOVED)
