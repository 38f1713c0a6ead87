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

import ibis
import ibis.expr.types as ir
import pandas as pd

from components.data.sources.booleans import availability
from components.data.sources.cells import Cells, of_text
from components.data.sources.columns import LINE_CATALOGUE, MAPPABLE
from components.data.sources.events import events
from components.data.sources.files import connect
from components.data.sources.ids import NULL_WORDS
from components.data.sources.numbers import SIGNS
from components.data.sources.numbers import of_text as number_of
from components.data.sources.statuses import statuses
from components.data.sources.times import FORMATS, UNITS, numeric, plausible, times
from components.project.doubts import doubts
from components.project.inspection import LIST_SIGN, Inspected
from components.project.names import EXACT, TABLES, likeness, words
from components.settings import Source

MOST = 0.9
"""Share of a column's values that must be of a type for the column to be of it."""
LEAST_TIMES = 0.5
"""Share of a column's values that must be times for its name to make it one of times."""
OWN_ID = {"id", "code", "handle", "reference", "row", "number", "no", "nr", "key", "uuid"}
"""Words of a name that may be of the row and not of a product."""
LEAST = 0.1
"""Score below which a column is not used."""
_SEPARATORS = (" > ", ">", " › ", " » ", " / ", "|")
_GUESTS = ("0", "-1", "guest", "anonymous", "anon", "unknown", "visitor", "gast", "invité")
_GUEST_SHARE = 0.02
"""Share of the rows above which such a customer is no customer …"""
_GUEST_TIMES = 3
"""… if they also are so many times those of the median customer."""
_MOVED = 0.3
"""Share of the categories that stand at several places, above which they are a set."""
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
    at. left_out: columns that are not used. missing: required names without a column. score: how
    well the columns fit the table, their likeness summed.
    """

    table: str
    inspected: Inspected
    source: dict[str, Any]
    doubts: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
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


class Facts:
    """Shares of a column's values that are of a type, by column; counted once for the file."""

    def __init__(self, found: Inspected) -> None:
        self._values = found.values
        self._typed = found.typed
        self._counts = _count(found.values)

    def share(self, column: str, what: str) -> float:
        """Return the share of the values that are ``what``: a number, a time …"""
        own = self._counts[column]
        if what == "time":
            return 1.0 if column in self._typed else max(self.formats(column).values(), default=0.0)
        if what == "number":
            return max(self.signs(column).values())
        return own[what] / max(own["given"], 1)

    def signs(self, column: str) -> dict[tuple[str, str], float]:
        """Return the share that are numbers, by decimal and thousands sign."""
        own = self._counts[column]
        return {signs: own[f"signs{n}"] / max(own["given"], 1) for n, signs in enumerate(SIGNS)}

    def formats(self, column: str) -> dict[str, float]:
        """Return the share that are times, by format; "" is ISO 8601 or a number in one unit."""
        own = self._counts[column]
        given = max(own["given"], 1)
        plain = max(own["iso"] / given, *(own[unit] / given for unit in UNITS))
        return {"": plain} | {form: own[f"form{n}"] / given for n, form in enumerate(FORMATS)}

    def given(self, column: str) -> int:
        return int(self._counts[column]["given"])

    def few(self, column: str) -> bool:
        """Return whether many rows have at most three different values."""
        return self.given(column) >= 100 and self._values[column].nunique() <= 3

    def distinct(self, column: str) -> float:
        """Return the share of the values that are different."""
        values = self._values[column].dropna()
        return values.nunique() / max(len(values), 1)


def _count(values: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return the number of values of each type, by column."""
    con = connect("UTC")
    # One long table: compiling a query takes longer than running it on so few rows.
    long = values.set_axis(range(values.shape[1]), axis=1).melt(var_name="place", value_name="v")
    long = pd.DataFrame({"place": long["place"].astype(int), "v": long["v"].astype("string")})
    rows = con.create_table("head", long, temp=True)
    cells = of_text(rows["v"])
    plain = Source(path=Path(), columns={})
    counts = {
        "given": cells.text.count(),
        "iso": times(cells, [], None).count(),
        "event": ibis.ifelse(cells.text.isnull(), None, events(cells, plain)).count(),
        "available": availability(cells, plain).count(),
        "status": statuses(cells, plain).count(),
        "long": (cells.text.length() > 40).sum(),
        **{unit: plausible(numeric(cells), unit).sum() for unit in UNITS},
        **{f"signs{n}": number_of(cells, *signs).count() for n, signs in enumerate(SIGNS)},
        **{f"form{n}": times(cells, [form], None).count() for n, form in enumerate(FORMATS)},
    }
    found = rows.group_by("place").aggregate(**counts).execute().set_index("place")
    con.disconnect()
    found = found.reindex(range(values.shape[1]), fill_value=0)
    found = found.astype("float64").fillna(0).astype(int)
    return dict(zip(values.columns, found.to_dict(orient="records"), strict=True))


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
    _set_times(result, facts)
    _set_signs(result, facts)
    _set_nulls(result)
    _set_event(result, facts, path)
    _set_categories(result)
    _set_titles(result)
    result.missing = [name for name in MAPPABLE[table].required if name not in columns]
    used = set(columns.values())
    result.left_out = [name for name in found.values.columns if name and name not in used]
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
    if name == "quantity":  # 12.50 is money
        whole = found.values[column].dropna().str.fullmatch(r"[+-]?\d+(?:[.,]0+)?").mean() >= MOST
        return float(whole and facts.share(column, "number") >= 0.5)
    if name in ("price", "rating"):
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
    if name in ("title", "description", "text", "brand", "categories", "category", "country"):
        fits = 0.0 if _only_time(column, facts, found) else 1.0
        if name == "title" and facts.few(column):
            fits *= 0.1  # one text for all
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
        return 0.0 if _only_time(column, facts, found) or facts.share(column, "long") > 0.5 else 1.0
    return 1.0


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


def _set_titles(result: Guess) -> None:
    """Call products by their ids where those are names, by the column or as texts of words."""
    column = result.columns.get("item_id", "")
    if not column or result.table != "interactions" or "title" in result.columns:
        return
    named = likeness("title", column) > LEAST and not set(words(column)) & OWN_ID
    if named or result.values("item_id").str.contains(r"[^\W\d_]\s+\S").mean() > 0.5:
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
    read = pd.to_datetime(values.dropna(), format=form, errors="coerce", utc=True).dropna()
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


def _example(result: Guess, column: str, sign: str) -> str:
    values = result.inspected.values[column].dropna()
    found = values[values.str.contains(sign, regex=False)]
    return str((found if len(found) else values).iloc[0])


def _set_nulls(result: Guess) -> None:
    """Set the words for no value that stand among the ids."""
    found: set[str] = set()
    for name in ("user_id", "item_id", "order_id"):
        if name in result.columns:
            values = result.values(name)
            found |= set(values[values.str.lower().isin(NULL_WORDS)])
    if "user_id" in result.columns:
        users = result.values("user_id")
        rows = users.value_counts()
        many = rows[(rows > _GUEST_SHARE * len(users)) & (rows > _GUEST_TIMES * rows.median())]
        found |= set(many.index[many.index.str.lower().isin(_GUESTS)])
    numbers: set[str] = set()  # `nulls` is for all columns of the source
    for name in ("quantity", "price", "rating"):
        if name in result.columns:
            numbers |= found & set(result.values(name))
    found -= numbers
    if found:
        result.source["nulls"] = sorted(found)
        result.doubts.append(
            f"{', '.join(map(repr, sorted(found)))} among the ids means no id (nulls)"
        )
    if numbers:
        result.doubts.append(
            f"{', '.join(map(repr, sorted(numbers)))} among the ids may mean no id, but is also a "
            "number of another column: a `query` with `nullif` takes it out of the ids"
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
                "view, click, cart, purchase, rating or ignore"
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
    con = connect("UTC")
    table = con.create_table("w", pd.DataFrame({"w": values.value_counts().index}), temp=True)
    found = table.filter(typed(of_text(table.w)).isnull()).w.execute().tolist()
    con.disconnect()
    return [str(one) for one in found]


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
            slashed = values[values.str.contains("/", regex=False)]
            if len(slashed) > 0.2 * len(values):
                result.doubts.append(
                    f"categories such as {slashed.iloc[0]!r} are not split (category_separator)"
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
        result.doubts.append(
            f"categories such as {example.iloc[0]!r} are a path, from left to right"
        )


def _is_set(values: pd.Series, sign: str) -> bool:
    """Return whether the categories have no order: many of them stand at several places."""
    parts = values.str.split(sign, regex=False).explode().str.strip()
    places = parts.groupby(level=0).cumcount()
    of_each = places.groupby(parts).nunique()
    often = parts.value_counts() > 1
    return bool((of_each[often.index[often]] > 1).mean() > _MOVED)


FOUND = 0.5
"""Share of the events' ids that another file must have for the ids to be those of the file."""
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
