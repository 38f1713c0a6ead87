"""``bowerbird init``: a shop's files → a folder in which every command works.

In: paths of files or folders by table. Out: the folder (see ``folder``), and in the output what the
files were taken for, what is doubtful and what is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import available_timezones

import numpy as np
import pandas as pd

from components.credentials import Credential, mask_credentials
from components.currencies import CODES
from components.data.sources.hints import did_you_mean
from components.data.sources.names import STATES, words
from components.data.sources.places import Place
from components.data.sources.stored import StoredFile
from components.language.languages import fits, fitting_encoder
from components.language.packaged import ENCODERS, install_command
from components.project.check import (
    ROWS_SHOWN,
    TABLES,
    Checked,
    NoSuccess,
    Unreadable,
    as_text,
    check,
)
from components.project.folder import refuse_taken, write_folder
from components.project.guessing import Guess, choose, currency_codes, guess
from components.project.inspection import Inspected, inspect
from components.project.joining import join_events, join_ids, no_common_ids
from components.project.params import of_train, params_text
from components.project.presets import load_preset
from components.settings import FileFormat, Settings, load_settings, url_of

TEXTS = (".txt", ".dat", ".tab", ".psv", ".asc")
"""Endings of files that may be delimited text, which params.yaml then says."""
WINDOWS = 8
"""Least number of test windows between the first and the last event."""


@dataclass(frozen=True)
class Defaults:
    """The currency of prices and the time zone of times for files that do not name theirs.

    None is EUR (or the currency that other files name) and UTC, and is said in the output.

    Raises:
        ValueError: there is no such currency or time zone.
    """

    currency: str | None = None
    timezone: str | None = None

    def __post_init__(self) -> None:
        if self.currency is not None and self.currency not in CODES:
            raise ValueError(
                f"--currency {self.currency} is no code of ISO 4217, such as EUR or USD"
            )
        if self.timezone is not None and self.timezone not in available_timezones():
            hint = did_you_mean(self.timezone, sorted(available_timezones()))
            raise ValueError(f"--timezone {self.timezone} is no zone of the IANA{hint}")


def init(folder: Path, paths: dict[str, list[Path]], defaults: Defaults) -> list[str]:
    """Write the shop's folder from its files, and return what is still to be done, [] for nothing.

    paths: files or folders by table; relative ones are relative to the working directory.

    Raises:
        FileNotFoundError: a path does not exist.
        ValueError: the folder is taken, or a file is empty, damaged or of an unknown kind.
    """
    refuse_taken(folder)
    _refuse_credentials([path for given in paths.values() for path in given])
    if not paths.get("interactions"):
        raise ValueError("name at least one file of events: --interactions orders.csv")
    guesses = _guesses(folder, paths)
    ingest = _ingest(guesses, defaults)
    write_folder(folder, params_text(ingest))
    todo = [_missing(one, name) for one in guesses if not one.todo for name in one.missing]
    todo += [f"{one.source['path']}: {what}" for one in guesses for what in one.todo]
    todo += [
        f"{one.source['path']}: its name says that its rows take purchases back: write them as "
        "lines with a negative quantity, or with a column for `status`, and name the file otherwise"
        for one in guesses
        if one.source.get("event") == "purchase"
        and frozenset.union(*STATES.values()) & set(words(Path(one.source["path"]).name))
    ]
    if not paths.get("items"):
        first, *others = [one for one in guesses if one.table == "interactions"]
        todo += filter(None, (no_common_ids(first, other, "item_id") for other in others))
    try:
        if not todo:
            _check(folder, ingest)
    except (ValueError, FileNotFoundError) as error:
        todo = [str(error)]
        if isinstance(error, Unreadable):
            _show_unread(guesses)
    _show(guesses, defaults)
    return todo


def _refuse_credentials(paths: Iterable[Path]) -> None:
    """Raise ValueError for a URL with a password or a token, before anything is read or written."""
    for path in paths:
        url = url_of(path)
        if url and Credential(url).secret:
            raise ValueError(
                f"{mask_credentials(url)} holds a credential, which params.yaml would keep: take "
                "it out of the URL; docs/bring-your-own-data.md says where it belongs"
            )


def _missing(guess: Guess, name: str) -> str:
    """Return that a file has no column for ``name``, and what to do."""
    columns = guess.inspected.values.columns
    text = (
        f"{guess.table}: {guess.source['path']}: no column for {name}: write it into `columns`; "
        f"columns are {', '.join(map(repr, columns[:40]))}{' …' if len(columns) > 40 else ''}"
    )
    if nested := sorted(guess.inspected.objects | guess.inspected.lists):
        listed = ", ".join(map(repr, nested[:10])) + (" …" if len(nested) > 10 else "")
        text += f". {listed} hold objects or lists, whose values a `query` takes out"
    return text


def init_preset(
    folder: Path, name: str, data: Path, given: dict[str, Path], defaults: Defaults
) -> list[str]:
    """Write the shop's folder with the settings of a preset; return what is still to be done.

    name: of the preset. data: the folder with its files. given: paths of files that are elsewhere
    or have other names, by their names in the preset.

    Raises:
        FileNotFoundError: a file of the preset is not there.
        ValueError: there is no such preset, or the folder is taken.
    """
    refuse_taken(folder)
    _refuse_credentials([data, *given.values()])
    preset = load_preset(name)
    paths = preset.find(data, given)
    ingest = preset.ingest({key: Path(_as_written(path, folder)) for key, path in paths.items()})
    own = {"currency": defaults.currency, "timezone": defaults.timezone}
    ingest |= {key: value for key, value in own.items() if value}
    changes = {"validate": preset.validation} if preset.validation else {}
    if preset.repeat_purchases or preset.without:
        changes["train"] = of_train(preset.repeat_purchases, preset.without)
    write_folder(folder, params_text(ingest, changes))
    print(f"{preset.title}\n{preset.notes}")
    print(
        f"Prices are in {ingest['currency']} (--currency), times without an offset in "
        f"{ingest['timezone']} (--timezone)."
    )
    try:
        _check(folder, ingest, changes)
    except (ValueError, FileNotFoundError) as error:
        other = (
            f"the preset reads the columns of {preset.title}: if your files have others, because "
            "they are in another language or of another program, export them so, or leave out "
            "--preset and name them by --interactions and --items, which looks at their columns"
        )
        return [str(error), *([other] if isinstance(error, Unreadable) else [])]
    return []


def _guesses(folder: Path, paths: dict[str, list[Path]]) -> list[Guess]:
    """Return what each file is taken for, with ids that are written the same way."""
    found: list[Guess] = []
    for table in TABLES:
        for path in paths.get(table, []):
            written = _as_written(path, folder)
            taken = [one.part for one in found if one.source["path"] == written]
            found.append(_guess(table, path, written, bool(paths.get("items")), taken))
    for table, name in (("items", "item_id"), ("users", "user_id")):
        rule = _rule(found, table, name)
        for one in found:
            if rule and name in one.columns:
                one.source[f"{name}s"] = rule
    return found


def _guess(table: str, path: Path, written: str, with_items: bool, taken: Collection[str]) -> Guess:
    """Return what a path is taken for, by its first file.

    written: the path as params.yaml names it. taken: sheets or tables of the file that other tables
    of the shop have.
    """
    place = Path(url_of(path) or path.absolute())
    form = FileFormat(format="csv" if path.suffix.lower() in TEXTS else "auto")
    with TemporaryDirectory(prefix="bowerbird-") as name:
        files = Place(place, form, Path.cwd(), Path(name)).files()
        first = files[0]
        if first.remote:
            first.path.parent.mkdir(parents=True)
            first.remote.fetch(first.path)
        inspected = inspect(first.path)
        for one in inspected:
            _add_partitions(one, files)
        guesses = [guess(table, one, written, with_items) for one in inspected]
        found = choose(guesses, taken)
    if len(files) > 1 and not files[-1].remote and not found.part:
        names = inspect(files[-1].path)[0].values.columns
        later = [one for one in names if one not in found.inspected.values.columns]
        if later:
            found.doubts.append(
                f"{', '.join(map(repr, later))}: only in later files, such as "
                f"{files[-1].path.name}, and not used: a `query` reads columns that some files lack"
            )
    return found


def _add_partitions(found: Inspected, files: list[StoredFile]) -> None:
    """Add the keys of the files' folders (``sku=7/part.csv``) as columns, with the values that all
    files have."""
    for key, _ in files[0].partitions:
        values = [dict(file.partitions).get(key) for file in files]
        found.values[key] = np.resize(np.array(values, dtype=object), len(found.values))


def _rule(guesses: list[Guess], table: str, name: str) -> dict[str, Any]:
    """Return the rule by which the ids of the events and of the files of ``table`` are the same."""
    events = [one for one in guesses if one.table == "interactions"]
    rules = [join_ids(events, listed, name) for listed in guesses if listed.table == table]
    if not rules:
        rules = [join_events(events[0], other, name) for other in events[1:]]
    return next((rule for rule in rules if rule), {})


def _as_written(path: Path, folder: Path) -> str:
    """Return the path as the folder's params.yaml names it."""
    if url := url_of(path):
        return url
    absolute, base = path.absolute(), folder.absolute()
    return str(absolute.relative_to(base)) if absolute.is_relative_to(base) else str(absolute)


def _ingest(guesses: list[Guess], defaults: Defaults) -> dict[str, Any]:
    """Return the section ``ingest``."""
    known = pd.concat(map(currency_codes, guesses)).value_counts().index
    return {
        "currency": defaults.currency or (str(known[0]) if len(known) else "EUR"),
        "timezone": defaults.timezone or "UTC",
        **{table: [one.source for one in guesses if one.table == table] for table in TABLES},
    }


def _check(
    folder: Path, ingest: dict[str, Any], changes: dict[str, dict[str, Any]] | None = None
) -> None:
    """Check the folder; shorten the windows if the events span too few days for the usual ones,
    name what counts as success if no event is of a usual kind, and choose the text encoder by the
    languages of the texts.

    Raises:
        FileNotFoundError, ValueError: as for ``check``.
    """
    settings = load_settings(folder / "params.yaml")
    more: dict[str, dict[str, Any]] = {}
    preprocess: dict[str, Any] = {}
    try:
        found = check(settings, folder)
    except NoSuccess as error:
        found = error.found
        weights = settings.preprocess.event_weights.model_dump()
        most = max(found.kinds, key=lambda kind: weights[kind])
        if weights[most] <= 0:
            raise
        preprocess = {"targets": [most]}
        print(
            f"no event is of the kinds {', '.join(settings.preprocess.targets)}, so each {most} "
            "counts as success (preprocess.targets)"
        )
    days = _window(found, settings)
    if days:
        preprocess |= {"validation_days": days, "test_days": days}
        print(
            f"the events span {found.days:.0f} days, so the windows of validation and test are "
            f"{days} days each (preprocess)"
        )
    if preprocess:
        more["preprocess"] = preprocess
    if not fits(settings.pretrain.encoder, found.languages):
        encoder = fitting_encoder(found.languages)
        more["pretrain"] = {"encoder": encoder}
        print(f"pretrain.encoder is set to {encoder}")
    wanted = settings.understanding.encoder
    if wanted in ENCODERS and (install := install_command(wanted)):
        more["understanding"] = {"encoder": ""}
        print(
            f"the conversation understands the languages of pretrain.encoder; for all languages: "
            f"{install}, and understanding.encoder: {wanted}"
        )
    if more:
        text = params_text(ingest, (changes or {}) | more)
        (folder / "params.yaml").write_text(text, encoding="utf-8")


def _window(found: Checked, settings: Settings) -> int:
    """Return the days of shorter windows, 0 if those of the settings fit or are not known to."""
    if found.cut or found.days >= WINDOWS * settings.preprocess.test_days:
        return 0
    return max(1, int(found.days / WINDOWS))


def _show_unread(guesses: list[Guess]) -> None:
    """Print the first rows as they stand in the files."""
    for one in guesses:
        rows = one.inspected.values.head(ROWS_SHOWN)
        print(f"\n{one.table}: {one.source['path']}")
        print(as_text(one.columns, {name: list(rows[shop]) for name, shop in one.columns.items()}))


def _show(guesses: list[Guess], defaults: Defaults) -> None:
    """Print what is doubtful and what is left out."""
    doubts = [f"{one.source['path']}: {doubt}" for one in guesses for doubt in one.doubts]
    if defaults.currency is None and not any(len(currency_codes(one)) for one in guesses):
        doubts.append("prices are taken to be in EUR (--currency)")
    if defaults.timezone is None:
        doubts.append("times without an offset are taken to be in UTC (--timezone)")
    print("\nHow the files are read; change params.yaml where it is wrong:")
    print("\n".join(f"  - {one}" for one in doubts))
    left_out = [(one.source["path"], one.left_out) for one in guesses if one.left_out]
    if left_out:
        print("\nColumns that are not used:")
        print("\n".join(f"  - {path}: {', '.join(names)}" for path, names in left_out))
    attributes = [(one.source["path"], one.attributes) for one in guesses if one.attributes]
    if attributes:
        print(
            "\nOf these, some may be attributes, which models use and responses show; write into a "
            "source what you may use for recommendations, and into serve.hidden_attributes what "
            "shoppers must not see:"
        )
        print("\n".join(f"  - {path}: attributes: {line}" for path, line in attributes))
