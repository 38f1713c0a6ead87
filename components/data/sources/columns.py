"""The shop's own files and the feedback → the contract's raw tables.

In: the files that ``ingest`` of params.yaml names (CSV, Parquet, JSON lines, one file or a folder
of them), ``data/feedback`` and ``data/erasures``: rows of erased people are left out. Out:
``data/raw/{interactions,items,users,reviews}.parquet`` in the shape of ``schema``. Nothing is
judged here: what cannot be read as its type becomes null and is quarantined, with its file and
row, by the next stage.

Products and what is known of them come from the shop's own files only. Feedback came over the
network, so an event in it makes no product, no title and no price.

Tables are Ibis expressions on an embedded DuckDB: nothing is held in memory as a whole.
"""

from __future__ import annotations

import difflib
import re
import shutil
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from ibis import _
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from components.data.erasures import without_erased
from components.data.feedback import authentication_of
from components.data.schema import INTERACTIONS, ITEMS, REVIEWS, TABLES, USERS
from components.erasure import Erasures, load_erasures
from components.settings import Ingest, Settings, Source

READERS: dict[str, Callable[[ibis.BaseBackend, str], ir.Table]] = {
    # Everything as text: a reader that guesses types drops the zeros that lead an id.
    ".csv": lambda con, file: con.read_csv(file, all_varchar=True),
    ".csv.gz": lambda con, file: con.read_csv(file, all_varchar=True),
    ".tsv": lambda con, file: con.read_csv(file, all_varchar=True, delim="\t"),
    ".parquet": lambda con, file: con.read_parquet(file),
    ".jsonl": lambda con, file: con.read_json(file, format="newline_delimited"),
    ".jsonl.gz": lambda con, file: con.read_json(file, format="newline_delimited"),
}

LINE_CATALOGUE = ("title", "description", "brand", "category")
"""What a line may say of its item, for shops that have no item file."""

NAMES = {
    "interactions": {
        "required": ("user_id", "item_id", "timestamp"),
        "optional": (
            *("event", "rating", "quantity", "price", "order_id", "impression_id"),
            *(*LINE_CATALOGUE, "country"),
        ),
    },
    "items": {
        "required": ("item_id", "title"),
        "optional": ("description", "brand", "category", "price", "currency", "available"),
    },
    "users": {"required": ("user_id",), "optional": ("country",)},
    "reviews": {
        "required": ("item_id", "text"),
        "optional": ("user_id", "rating", "title", "category", "timestamp"),
    },
}
"""The contract names ``columns:`` of a source may use, by table."""

NUMBERS = ("rating", "quantity", "price")
CATEGORY_SEPARATOR = r"\s*[>|/]\s*"
RARE_SINGULAR = 20
HEAD_WORD_ITEMS = 8
"""A word names an inferred category only if this many titles have it."""
_COLOURS = (
    "black white red blue green pink yellow orange purple grey gray brown cream ivory silver gold "
    "turquoise lilac mint natural clear assorted multicolour small medium large mini jumbo"
)
NO_HEAD_WORDS = ENGLISH_STOP_WORDS | set(_COLOURS.split())


@dataclass(frozen=True)
class File:
    """One file of a source, and how messages call it."""

    path: Path
    shown: str
    source: Source


def files_of(source: Source, root: Path) -> list[File]:
    """Return the files of ``source``, sorted by name.

    Raises:
        FileNotFoundError: there is no such file or folder, or the folder has no readable file.
    """
    path = root / source.path
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if _reader_name(file))
        if not found:
            raise FileNotFoundError(
                f"ingest: the folder {source.path} has no file that ends in {', '.join(READERS)}"
            )
        return [File(file, str(file.relative_to(root)), source) for file in found]
    if not path.exists():
        near = [str(file.name) for file in path.parent.glob("*")] if path.parent.is_dir() else []
        hint = _did_you_mean(path.name, near) or f" (looked in {path.parent.resolve()})"
        raise FileNotFoundError(f"ingest: there is no file {source.path}{hint}")
    if not _reader_name(path):
        raise ValueError(
            f"ingest: {source.path} is of no known kind; known are {', '.join(READERS)}"
        )
    return [File(path, str(source.path), source)]


def read(con: ibis.BaseBackend, file: File, table: str) -> ir.Table:
    """Return the file's rows with the contract's column names and types of ``table``.

    Columns ``source`` and ``source_row`` say where a row came from. Contract columns that the
    source does not name are absent.

    Raises:
        ValueError: a column that ``columns:`` names is not in the file, is unknown to the
            contract, is missing, or most of its values are not of its type.
    """
    names = NAMES[table]
    known = (*names["required"], *names["optional"])
    columns = file.source.columns
    for contract in columns:
        if contract not in known:
            raise ValueError(
                f"ingest.{table}: {file.source.path}: columns has {contract!r}, which the contract "
                f"does not know{_did_you_mean(contract, known)}; known are {', '.join(known)}"
            )
    for contract in names["required"]:
        if contract not in columns:
            raise ValueError(
                f"ingest.{table}: {file.source.path}: columns must name the shop's {contract}"
            )
    raw = READERS[_reader_name(file.path)](con, str(file.path))
    for contract, shop in columns.items():
        if shop not in raw.columns:
            raise ValueError(
                f"ingest.{table}: {file.shown} has no column {shop!r} (for {contract})"
                f"{_did_you_mean(shop, raw.columns)}; it has {', '.join(raw.columns)}"
            )
    chosen = raw.select(**{contract: raw[shop] for contract, shop in columns.items()})
    typed = chosen.mutate(**{name: _typed(chosen[name], name, file.source) for name in columns})
    _refuse_wrong_types(chosen, typed, file, table)
    return typed.mutate(source=ibis.literal(file.shown), source_row=ibis.row_number())


def _typed(column: ir.Column, name: str, source: Source) -> ir.Value:
    """Return ``column`` as the contract's type of ``name``; null where it cannot be."""
    if name == "timestamp":
        return _timestamp(column, source.timestamp_format)
    if name in NUMBERS:
        return column.try_cast("float32")
    if name == "available":
        return column.cast("string").lower().isin(["true", "1", "1.0", "yes", "y", "t"])
    if name == "category":
        if column.type().is_array():
            return column.cast("array<string>")
        return _text(column).re_split(CATEGORY_SEPARATOR)
    text = _text(column)
    if name in ("user_id", "item_id", "order_id"):
        # A number column with gaps comes as floats: 12345.0 is the shop's 12345.
        text = text.re_replace(r"^(-?\d+)\.0$", r"\1")
    if name == "item_id":
        text = text.upper() if source.item_id_case == "upper" else text
        text = ibis.literal(source.item_prefix) + text if source.item_prefix else text
    return text


def _text(column: ir.Column) -> ir.StringValue:
    return column.cast("string").strip().nullif("")


def _timestamp(column: ir.Column, form: str | None) -> ir.Value:
    """Return ``column`` as an instant; what has no offset is in the session's time zone."""
    kind = column.type()
    if kind.is_numeric():
        number = column.cast("float64")
        seconds = ibis.ifelse(number.abs() > 1e11, number / 1000, number)  # milliseconds
        return _to_timestamp(seconds)
    if kind.is_string() and form is not None:
        return _try_strptime(column, form).cast("timestamp('UTC')")
    return column.try_cast("timestamp('UTC')")


@ibis.udf.scalar.builtin(name="try_strptime")
def _try_strptime(text: str, form: str) -> ibis.dtype("timestamp"):  # type: ignore[valid-type]
    """DuckDB's own: null where the text does not follow the form."""


@ibis.udf.scalar.builtin(name="to_timestamp")
def _to_timestamp(seconds: float) -> ibis.dtype("timestamp('UTC')"):  # type: ignore[valid-type]
    """DuckDB's own: seconds since 1970 as an instant."""


def _refuse_wrong_types(chosen: ir.Table, typed: ir.Table, file: File, table: str) -> None:
    """Raise if most of a column's values are not of its type: then the column is the wrong one."""
    checked = [name for name in (*NUMBERS, "timestamp") if name in typed.columns]
    if not checked:
        return
    counts = chosen.select(
        **{f"{name}_given": _text(chosen[name]).notnull() for name in checked},
        **{f"{name}_read": _typed(chosen[name], name, file.source).notnull() for name in checked},
        **{f"{name}_text": _text(chosen[name]) for name in checked},
    )
    found = counts.aggregate(
        **{f"{name}_given": counts[f"{name}_given"].sum() for name in checked},
        **{f"{name}_read": counts[f"{name}_read"].sum() for name in checked},
        **{
            f"{name}_text": counts[f"{name}_text"].first(
                where=counts[f"{name}_given"] & ~counts[f"{name}_read"]
            )
            for name in checked
        },
    ).execute()
    for name in checked:
        given, ok = int(found[f"{name}_given"][0] or 0), int(found[f"{name}_read"][0] or 0)
        if given and ok < given / 2:
            expected = "a time" if name == "timestamp" else "a number"
            advice = "; set timestamp_format of this source" if name == "timestamp" else ""
            raise ValueError(
                f"ingest.{table}: {file.shown}: column {file.source.columns[name]!r} (for {name}) "
                f"should hold {expected}, but {given - ok:,} of {given:,} values do not, for "
                f"example {found[f'{name}_text'][0]!r}{advice}"
            )


def interactions_of(con: ibis.BaseBackend, file: File, settings: Ingest) -> ir.Table:
    """Return a file's interactions, with what its lines say of item and user beside them."""
    rows = read(con, file, "interactions")
    event = rows.event.lower() if "event" in rows.columns else ibis.literal(file.source.event)
    rows = rows.mutate(event=event)
    defaults = {
        **dict.fromkeys(("rating", "price"), ibis.null("float32")),
        **dict.fromkeys(("order_id", "impression_id", "country"), ibis.null("string")),
        **dict.fromkeys(("client", "authentication"), ibis.null("string")),
        **dict.fromkeys(("title", "description", "brand"), ibis.null("string")),
        "category": ibis.null("array<string>"),
        "quantity": ibis.literal(1.0, "float32"),
    }
    rows = rows.mutate(**{name: value for name, value in defaults.items() if name not in rows})
    return rows.select(*INTERACTIONS.names, *LINE_CATALOGUE, "country")


def feedback_of(con: ibis.BaseBackend, folder: Path, root: Path) -> list[ir.Table]:
    """Return the feedback's interactions, one table for each Parquet file below ``folder``.

    Their ``authentication`` is never null: null marks the shop's own lines.

    Raises:
        ValueError: a file lacks a column of the contract's interactions.
    """
    tables = []
    for path in sorted((root / folder).rglob("*.parquet")):
        shown = str(path.relative_to(root))
        found = con.read_parquet(str(path))
        # Files exported before these columns existed: nothing is known of who sent the events.
        added = {"client", "authentication"} - set(found.columns)
        found = found.mutate(**dict.fromkeys(added, ibis.null("string")))
        missing = set(INTERACTIONS.names) - set(found.columns) - {"source", "source_row"}
        if missing:
            raise ValueError(
                f"feedback file {shown} lacks {', '.join(sorted(missing))}: it must have the "
                "columns that `bowerbird export-feedback` writes"
            )
        tables.append(
            found.mutate(
                source=ibis.literal(shown),
                source_row=ibis.row_number(),
                timestamp=found.timestamp.cast("timestamp('UTC')"),
                **{
                    # A column that is empty throughout a file has no type of its own.
                    name: found[name].cast(ibis.dtype(INTERACTIONS.field(name).type))
                    for name in INTERACTIONS.names
                    if name not in ("source", "source_row", "timestamp", "authentication")
                },
                authentication=authentication_of(found.authentication.cast("string")),
                **dict.fromkeys(("title", "description", "brand"), ibis.null("string")),
                category=ibis.null("array<string>"),
                country=ibis.null("string"),
            ).select(*INTERACTIONS.names, *LINE_CATALOGUE, "country")
        )
    return tables


def catalogue_of(lines: ir.Table, currency: str) -> ir.Table:
    """Return one row for each item of the shop's own lines: most frequent texts, median price.

    Lines without a positive price or quantity (returns, stock corrections, gifts) say nothing.
    """
    sold = lines.filter(
        lines.item_id.notnull(),
        (lines.price > 0) | lines.price.isnull(),
        (lines.quantity > 0) | lines.quantity.isnull(),
    )
    items = sold.group_by("item_id").aggregate(price=sold.price.median().cast("float32"))
    for name in LINE_CATALOGUE:
        items = items.left_join(_most_frequent(sold, "item_id", name), "item_id").drop(
            "item_id_right"
        )
    return items.mutate(
        categories=items.category,
        currency=ibis.literal(currency),
        available=ibis.literal(True),
        source=ibis.literal("lines"),
    )


def _most_frequent(rows: ir.Table, key: str, name: str) -> ir.Table:
    """Return (key, name): each key's most frequent value; of two as frequent, the first."""
    counts = rows.filter(rows[name].notnull()).group_by([key, name]).aggregate(n=_.count())
    place = ibis.row_number().over(group_by=key, order_by=[ibis.desc("n"), name])
    return counts.mutate(place=place).filter(_.place == 0).select(key, name)


def infer_categories(titles: pd.Series) -> pd.Series:
    """Return a category name for each title, None where none is found.

    The head word: the last word of the title that many titles share, colours and sizes aside. In
    English, as in most Germanic languages, the head noun of such a phrase stands last. Rough, but
    readable, and every inferred category is marked as inferred.

    >>> titles = pd.Series(["PINK HEART MUG", "MUGS WITH DOTS RED"] * 8)
    >>> infer_categories(titles).head(2).tolist()
    ['Mug', 'Dot']
    """
    words = titles.fillna("").str.lower().str.findall(r"[^\W\d_]{3,}").explode()
    singular = words.str.removesuffix("s")
    often = words.value_counts()
    # A singular that hardly occurs is a slip of the pen: christmas is no plural.
    common = singular.map(often).fillna(0) * RARE_SINGULAR >= words.map(often)
    words = words.where(~common, singular)
    words = words[~words.isin(NO_HEAD_WORDS)].dropna()
    counts = words.groupby(words).transform(lambda column: column.index.nunique())
    heads = words[counts >= HEAD_WORD_ITEMS].groupby(level=0).last()
    return heads.str.capitalize().reindex(titles.index).astype(object).where(lambda x: x.notna())


def items_table(
    con: ibis.BaseBackend, lines: ir.Table, files: list[File], currency: str
) -> pa.Table:
    """Return the raw items: those of the shop's item files, then those only its lines know.

    lines: the shop's own, without the feedback.
    """
    defaults = {
        **dict.fromkeys(("description", "brand"), ibis.null("string")),
        "category": ibis.null("array<string>"),
        "price": ibis.null("float32"),
        "currency": ibis.literal(currency),
        "available": ibis.literal(True),
    }
    given = []
    for file in files:
        rows = read(con, file, "items")
        rows = rows.mutate(**{name: value for name, value in defaults.items() if name not in rows})
        given.append(
            rows.mutate(categories=rows.category).select(
                *(name for name in ITEMS.names if name != "categories_inferred")
            )
        )
    found = [table.to_pandas() for table in given]
    from_lines = (
        catalogue_of(lines, currency)
        .select(*(name for name in ITEMS.names if name != "categories_inferred"))
        .order_by("item_id")
        .to_pandas()
    )
    known = pd.concat([frame["item_id"] for frame in found]) if found else pd.Series(dtype=object)
    frame = pd.concat([*found, from_lines[~from_lines["item_id"].isin(known)]], ignore_index=True)
    bare = frame["categories"].map(lambda value: value is None or len(value) == 0)
    inferred = infer_categories(frame["title"]).where(bare)
    frame["categories_inferred"] = inferred.notna()
    frame["categories"] = [
        [name] if marked else (list(own) if own is not None else [])
        for name, own, marked in zip(
            inferred, frame["categories"], frame["categories_inferred"], strict=True
        )
    ]
    return pa.Table.from_pandas(frame, schema=ITEMS, preserve_index=False)


def users_table(
    con: ibis.BaseBackend, lines: ir.Table, files: list[File], erasures: Erasures | None = None
) -> ir.Table:
    """Return the raw users: those of the shop's user files, then those only the lines know.

    lines: all, the feedback among them; its lines have no country.
    """
    given = []
    for file in files:
        rows = read(con, file, "users")
        country = rows.country if "country" in rows.columns else ibis.null("string")
        users = rows.mutate(country=country).select(*USERS.names)
        given.append(without_erased(con, users, erasures, "users"))
    bought = lines.filter(lines.user_id.notnull())
    from_lines = (
        bought.select("user_id")
        .distinct()
        .left_join(_most_frequent(bought, "user_id", "country"), "user_id")
        .mutate(source=ibis.literal("lines"))
        .select(*USERS.names)
    )
    if not given:
        return from_lines.order_by("user_id")
    known = _union(given)
    return ibis.union(known, from_lines.anti_join(known, "user_id"))


def reviews_of(con: ibis.BaseBackend, file: File) -> ir.Table:
    """Return a file's reviews."""
    rows = read(con, file, "reviews")
    defaults = {
        **dict.fromkeys(("user_id", "title"), ibis.null("string")),
        "rating": ibis.null("float32"),
        "timestamp": ibis.null("timestamp('UTC')"),
    }
    rows = rows.mutate(**{name: value for name, value in defaults.items() if name not in rows})
    category = rows.category[-1] if "category" in rows.columns else ibis.null("string")
    return rows.mutate(category=category).select(*REVIEWS.names)


def write(table: ir.Table | pa.Table, schema: pa.Schema, file: Path) -> None:
    """Write ``table`` to the Parquet ``file`` as ``schema``, batch by batch."""
    reader = table.to_reader() if isinstance(table, pa.Table) else table.to_pyarrow_batches()
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_table(pa.Table.from_batches([batch]).select(schema.names).cast(schema))


def connect(settings: Ingest) -> ibis.BaseBackend:
    """Return an embedded DuckDB whose times without an offset are in ``ingest.timezone``.

    Raises:
        ValueError: no such time zone.
    """
    if settings.timezone not in zoneinfo.available_timezones():
        near = _did_you_mean(settings.timezone, zoneinfo.available_timezones())
        raise ValueError(f"ingest.timezone: there is no time zone {settings.timezone!r}{near}")
    con = ibis.duckdb.connect()
    con.raw_sql(f"SET TimeZone = '{settings.timezone}'")  # one of the names checked above
    return con


def run(settings: Settings, root: Path) -> None:
    """The stage ``ingest``: the shop's files and data/feedback → data/raw."""
    ingest = settings.ingest
    con = connect(ingest)

    def files(sources: list[Source]) -> list[File]:
        return [file for source in sources for file in files_of(source, root)]

    parts = [interactions_of(con, file, ingest) for file in files(ingest.interactions)]
    parts += feedback_of(con, ingest.feedback, root)
    # Materialised once: three of the tables are made from the lines.
    lines = con.create_table("lines", _union(parts), temp=True)
    shop_lines = lines.filter(lines.authentication.isnull())
    erasures = load_erasures(root)
    kept = without_erased(con, lines, erasures, "interactions")
    reviews = [
        without_erased(con, reviews_of(con, file), erasures, "reviews")
        for file in files(ingest.reviews)
    ]

    partial = root / "data/.raw"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write(kept.select(*INTERACTIONS.names), INTERACTIONS, partial / "interactions.parquet")
    items = items_table(con, shop_lines, files(ingest.items), ingest.currency)
    write(items, ITEMS, partial / "items.parquet")
    write(users_table(con, kept, files(ingest.users), erasures), USERS, partial / "users.parquet")
    if reviews:
        write(_union(reviews), REVIEWS, partial / "reviews.parquet")
    else:
        pq.write_table(REVIEWS.empty_table(), partial / "reviews.parquet")
    out = root / "data/raw"
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    for name in TABLES:
        rows = pq.read_metadata(out / f"{name}.parquet").num_rows
        print(f"{name:<13}{rows:>10,} rows")


def _union(tables: list[ir.Table]) -> ir.Table:
    """Return the rows of all tables, which are one or more."""
    return ibis.union(*tables) if len(tables) > 1 else tables[0]


def _reader_name(file: Path) -> str:
    """Return the key of READERS that fits the file's name, '' if none does."""
    match = re.search(r"(\.[a-z]+(\.gz)?)$", file.name.lower())
    return match[1] if match and match[1] in READERS else ""


def _did_you_mean(wrong: str, right: object) -> str:
    near = difflib.get_close_matches(wrong, list(right), n=1, cutoff=0.6)  # type: ignore[call-overload]
    return f": did you mean {near[0]!r}?" if near else ""
