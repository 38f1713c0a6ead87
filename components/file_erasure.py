"""Erasure of a person from files, and the record of it.

In: folders below the project's root, and ``data/erasures/erasures.parquet`` with
``var/erasures/key`` as ``bowerbird export-feedback`` writes them. Out: Parquet files without the
person's rows, and a receipt that lists each place.

An erased person is recorded by a hash of the profile, never by the id. Ids can be enumerated
(customers are numbered), so the hash is keyed: without the key, nobody can tell whom a list or a
receipt names. The key is created with the event store and stored in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.file_lock import file_lock, folder_lock
from components.manifest import MANIFEST, sync, write_manifest
from components.settings import Settings, url_of

FOLDER = Path("data/erasures")
FILE = FOLDER / "erasures.parquet"
KEY = Path("var/erasures/key")
UTC = pa.timestamp("us", tz="UTC")  # as in data.schema, whose import would be a cycle
SCHEMA = pa.schema([("profile_hash", pa.string()), ("erased_at", UTC)])
SESSION = "session:"
"""Prefix of the user_id of a session without a user in exported feedback."""


def profiles_named(user_id: str) -> list[str]:
    """Return the profiles that a table's ``user_id`` can name.

    One that begins with "session:" can be a session's or a user's.
    """
    return [f"user:{user_id}", user_id] if user_id.startswith(SESSION) else [f"user:{user_id}"]


def plain_hash(profile: str) -> str:
    """Return the SHA-256 of a profile's key, as stored by earlier versions."""
    return hashlib.sha256(profile.encode()).hexdigest()


def keyed_hash(plain: str, key: str) -> str:
    """Return 48 hexadecimal digits for the 64 of ``plain_hash``.

    Computed from the plain hash, so that rows of earlier versions can be converted.
    """
    hasher = _hasher(key).copy()
    hasher.update(plain.encode())
    return hasher.hexdigest()


@cache
def _hasher(key: str) -> hashlib.blake2b:
    return hashlib.blake2b(key=bytes.fromhex(key), digest_size=24)


def profile_hash(profile: str, key: str) -> str:
    """Return the keyed hash of an erased profile ("user:…" or "session:…")."""
    return keyed_hash(plain_hash(profile), key)


@dataclass(frozen=True)
class ErasedPeople:
    """Looks up whether a table's user was erased, with the key of the hashes.

    times: hash of each erased profile → microseconds since 1970, UTC."""

    times: dict[str, int]
    key: str

    def erased_at(self, user_id: str) -> int | None:
        """Return when the person of a table's ``user_id`` was erased, None if never."""
        named = profiles_named(user_id)
        found = [self.times.get(profile_hash(profile, self.key)) for profile in named]
        return max((time for time in found if time is not None), default=None)

    def among(self, user_ids: Iterable[str]) -> dict[str, int]:
        """Return the erased users of ``user_ids`` with the time of their erasure."""
        found = ((user_id, self.erased_at(user_id)) for user_id in user_ids)
        return {user_id: time for user_id, time in found if time is not None}


def load_erasures(root: Path) -> ErasedPeople | None:
    """Return the erasures below ``root``; None if nobody was ever erased.

    Raises:
        ValueError: there is a list of erased people without its key.
    """
    file, key = root / FILE, root / KEY
    if not file.exists():
        return None
    if not key.exists():
        raise ValueError(
            f"{FILE} names erased people by a keyed hash and {KEY} is missing: type "
            "`bowerbird export-feedback` here, with the shop's event store in serve.events_url"
        )
    table = pq.read_table(file, schema=SCHEMA)
    times = table["erased_at"].cast(pa.int64()).to_pylist()
    return ErasedPeople(
        dict(zip(table["profile_hash"].to_pylist(), times, strict=True)),
        key.read_text(encoding="ascii").strip(),
    )


def write_erasures(root: Path, erasures: ErasedPeople) -> list[Path]:
    """Write the erasures below ``root`` for ``load_erasures``; return the changed files."""
    rows = sorted(erasures.times.items(), key=lambda row: (row[1], row[0]))
    columns = {
        "profile_hash": [row[0] for row in rows],
        "erased_at": pa.array([row[1] for row in rows], pa.int64()).cast(UTC),
    }
    table = pa.table(columns, schema=SCHEMA)
    file, key = root / FILE, root / KEY
    key.parent.mkdir(parents=True, exist_ok=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    with folder_lock(key.parent):
        if not key.exists() or key.read_text(encoding="ascii") != erasures.key:
            with replacing(key) as partial:
                partial.touch(mode=0o600)
                partial.write_text(erasures.key, encoding="ascii")
    if not rows and not file.exists():
        return []
    if file.exists() and pq.read_table(file).equals(table):
        return []
    replace_table(file, table)
    return [file]


State = Literal[
    "erased",
    "at the next training",
    "the shop's own files: remove it there",
    "nothing kept",
    "not erased",
]


@dataclass(frozen=True)
class Place:
    """Result of an erasure in one place.

    rows: number of rows erased or found, None if not counted. todo: remaining manual work, or when
    it is done; "" if none.
    """

    place: str
    state: State
    rows: int | None = None
    todo: str = ""


def erase_rows(file: Path, user_ids: Collection[str | int], column: str = "user_id") -> int:
    """Remove the rows of ``user_ids`` from a Parquet file atomically; return their number.

    A file without the column is not changed. The file's metadata are preserved: from their count of
    rows the next export detects that the file must be written again.
    """
    with folder_lock(file.parent):
        return _erase_rows(file, user_ids, column)


def _erase_rows(file: Path, user_ids: Collection[str | int], column: str) -> int:
    source = pq.ParquetFile(file, memory_map=True)
    if column not in source.schema_arrow.names:
        return 0
    wanted = pa.array([str(user_id) for user_id in user_ids], pa.string())

    def hits(batch: pa.RecordBatch) -> pa.Array:
        return pc.is_in(batch.column(column).cast(pa.string()), value_set=wanted)

    found = sum(pc.sum(hits(batch)).as_py() or 0 for batch in source.iter_batches(columns=[column]))
    if not found:
        return 0
    schema = source.schema_arrow
    with replacing(file) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as new:
        for batch in source.iter_batches():
            new.write_batch(batch.filter(pc.invert(hits(batch))))
    return found


def replace_table(file: Path, table: pa.Table) -> None:
    """Write a Parquet file atomically; durable on return."""
    with folder_lock(file.parent):
        write_table(file, table)


def change_table(file: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Apply ``change`` to the table of a Parquet file; durable on return."""
    with folder_lock(file.parent):
        write_table(file, change(pq.read_table(file)))


def write_table(file: Path, table: pa.Table) -> None:
    """As ``replace_table``, for a caller that holds the folder's lock."""
    with replacing(file) as partial:
        pq.write_table(table, partial, compression="zstd")


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces ``file`` atomically; durable after the block.

    The caller holds the folder's lock.
    """
    partial = file.with_name(f".{file.name}.partial")  # not matched by *.parquet
    yield partial
    with partial.open("rb") as stream:
        os.fsync(stream.fileno())
    partial.replace(file)
    sync(file.parent)
    for folder in file.parents:
        if (folder / MANIFEST).exists():  # a model folder of an earlier version
            write_manifest(folder)


def erase_files(name: str, files: Iterable[Path], user_ids: Collection[str]) -> Place:
    """Remove the rows of ``user_ids`` from Parquet files; return the place ``name``."""
    rows, there = 0, False
    for file in files:
        there = True
        try:
            rows += erase_rows(file, user_ids)
        except FileNotFoundError:
            continue  # an export or a registration replaced it; its output is checked next
        except (OSError, pa.ArrowException) as error:
            return Place(name, "not erased", rows, f"{file}: {error}; erase again")
    return Place(name, "erased" if rows else "nothing kept", rows if there else None)


def personal_rows(settings: Settings, root: Path, user_id: str) -> list[dict[str, Any]]:
    """Return a person's rows in the exported files, in the pipeline's tables and among the served
    attributes below ``root``.

    user_id: as tables name a person (a session is "session:<id>"). Each row has its file's name in
    "file"; for a file that cannot be read there is one row with "error".
    """
    exports = (str(settings.ingest.feedback), "data/impressions", str(USERS))
    folders = (*exports, *(name for name in TABLES if name != PREPARED), REFERENCE)
    found: list[dict[str, Any]] = []
    files = [file for name in folders for file in sorted((root / name).rglob("*.parquet"))]
    # The histories in the same folder are exported as such.
    files += [
        file
        for pattern in PROFILES
        for file in sorted(root.glob(pattern))
        if file.name.endswith(".attributes.parquet")
    ]
    for file in files:
        name = str(file.relative_to(root))
        try:
            if "user_id" not in pq.read_schema(file).names:
                continue
            mine = pc.field("user_id").cast(pa.string()) == user_id
            rows = pq.read_table(file, filters=mine).to_pylist()
        except FileNotFoundError:
            continue  # a stage replaced it
        except (OSError, pa.ArrowException) as error:
            rows = [{"error": f"cannot be read: {type(error).__name__}"}]
        found += [{"file": name, **row} for row in rows]
    return found


USERS = Path("data/users")
"""Folder of the exported attributes of users (``PUT /users``)."""
PREPARED = "data/prepared"
TABLES = ("data/raw", "data/valid", "data/quarantine", PREPARED)
COPIES = ("data/.raw", "data/.staging", "data/.sources")
"""Folders of copies: what a killed ``ingest`` leaves, and objects of a store, copied again by the
next run."""
REFERENCE = "models/reference"
PROFILES = (
    # Sources before their copies: rows copied from an older source are found in the copy.
    "models/profiles/*.parquet",
    "var/serving/profiles/*.parquet",
    # Model folders of earlier versions contain their users' profiles.
    "var/serving/models/*/profiles.parquet",
    "models/hybrid/profiles.parquet",
    "models/served/profiles.parquet",
    # Of a suspected attack.
    "var/monitoring/suspects.parquet",
)
"""Files of the users' histories that are served, and of profiles under suspicion."""


@contextmanager
def no_training(root: Path) -> Iterator[None]:
    """Block the scheduled trainings and refreshes of ``root``, which write the same tables.

    Raises:
        ValueError: one is running.
    """
    with file_lock(root / "var/flows/training.lock", wait=False) as mine:
        if not mine:
            raise ValueError("a training or a refresh is running here: try again when it has ended")
        yield


UNFINISHED_LISTS = Path("var/recommend_all")
"""Folders of runs of `bowerbird recommend-all`, each with a lock file next to it."""


def _remove_unfinished_lists(root: Path) -> Place:
    """Remove what killed runs left. One that is running leaves the person out of what it publishes,
    and then removes its folder."""
    removed = False
    for lock in sorted((root / UNFINISHED_LISTS).glob("*.lock")):
        folder = lock.with_suffix("")
        with file_lock(lock, wait=False) as mine:
            if mine and folder.exists():
                shutil.rmtree(folder)
                removed = True
    todo = "lists that recommend-all published: write them again, or delete the person's rows"
    return Place(str(UNFINISHED_LISTS), "erased" if removed else "nothing kept", None, todo)


def erase_exports(settings: Settings, root: Path, user_ids: Collection[str]) -> list[Place]:
    """Remove a person from the exported events, impressions and attributes and the served profiles
    below ``root``."""
    folders = (settings.ingest.feedback, Path("data/impressions"), USERS)
    return [
        *(
            erase_files(str(one), sorted((root / one).rglob("*.parquet")), user_ids)
            for one in folders
        ),
        erase_files(
            "served profiles",
            (file for pattern in PROFILES for file in sorted(root.glob(pattern))),
            user_ids,
        ),
        *([_remove_unfinished_lists(root)] if (root / UNFINISHED_LISTS).exists() else []),
    ]


TRAIN = "on the training machine: bowerbird export-feedback, then a training (the flows do both)"


def places_of_training(root: Path) -> list[Place]:
    """Return the places that the next training writes without the person."""
    names = [*TABLES, "models", REFERENCE, "registered model versions"]
    places = [Place(name, "at the next training", None, TRAIN) for name in names]
    if (root / ".dvc/cache").exists():
        todo = f"{TRAIN}; then: dvc gc --workspace (and --cloud for a remote)"
        places.append(Place(".dvc/cache", "at the next training", None, todo))
    return places


def shops_files(settings: Settings) -> list[Place]:
    """Return the files of the shop that ingest reads; this program never writes them."""
    ingest = settings.ingest
    paths = sorted(
        {
            place
            for sources in (ingest.interactions, ingest.users, ingest.reviews)
            for source in sources
            if "user_id" in source.columns
            for place in source.places
            if not Path(place).is_relative_to(USERS)  # exported, see ``erase_exports``
        }
    )
    todo = "until then ingest skips the person's rows"
    return [Place(path, "the shop's own files: remove it there", None, todo) for path in paths]


def erase_tables(settings: Settings, root: Path, user_ids: Collection[str]) -> list[Place]:
    """Remove a person at once from the pipeline's outputs below ``root``.

    This includes the files of registered versions, if MLflow's artifacts are below ``root``. Models
    are not changed: the next training replaces them. Copies of the shop's files are removed whole.
    """
    for name in COPIES:
        shutil.rmtree(root / name, ignore_errors=True)
    places = [
        erase_files(name, sorted((root / name).glob("*.parquet")), user_ids)
        for name in (*TABLES, REFERENCE)
        if name != PREPARED
    ]
    places.append(_erase_prepared(root / PREPARED, user_ids))
    artifacts = root / settings.register_.artifacts
    versions = [artifacts, root / "var/serving/models", root / "var/serving/judged"]
    files = sorted(file for folder in versions for file in folder.rglob("*.parquet"))
    places.append(erase_files("registered model versions: tables", files, user_ids))
    local = settings.register_.tracking_uri.get_secret_value().startswith("sqlite")
    if not local or url_of(settings.register_.artifacts):
        todo = "versions from before 0.1.0 have profiles.parquet: delete it from MLflow's artifacts"
        places.append(Place("MLflow's server", "not erased", None, todo))
    places.append(_models(root, [root / "models", *versions]))
    places.append(_erase_cached(root / ".dvc/cache", user_ids))
    return places


def _erase_prepared(folder: Path, user_ids: Collection[str]) -> Place:
    """Remove a person from the prepared tables. A user's code is the row's number, so the row is
    emptied and not removed."""
    file = folder / "users.parquet"
    if not file.exists():
        return Place(PREPARED, "nothing kept")
    newcomers = folder / "newcomers.parquet"  # as in data.schema
    rows = erase_rows(newcomers, user_ids) if newcomers.exists() else 0
    users = pq.read_table(file)
    mine = pc.is_in(users["user_id"], value_set=pa.array(sorted(user_ids), pa.string()))
    codes = pc.indices_nonzero(mine)
    if not len(codes):
        return Place(PREPARED, "erased" if rows else "nothing kept", rows)
    rows += erase_rows(folder / "interactions.parquet", codes.to_pylist(), "user") + len(codes)

    def without(users: pa.Table) -> pa.Table:
        for at, field in enumerate(users.schema):
            values = users.column(at).to_pylist()
            for code in codes.to_pylist():
                values[code] = None
                if field.name == "user_id":
                    values[code] = f"erased {time.time_ns()} {code}"  # unique among the rows
                elif pa.types.is_integer(field.type):
                    values[code] = 0
                elif pa.types.is_boolean(field.type):
                    values[code] = False
            users = users.set_column(at, field, pa.array(values, field.type))
        return users

    change_table(file, without)
    return Place(PREPARED, "erased", rows)


def _models(root: Path, folders: Iterable[Path]) -> Place:
    """Return the places of models and when the person's influence on them ends."""
    keeping = sorted(
        str(found.parent.relative_to(root))
        for folder in folders
        for found in folder.rglob("user_neighbours/model.safetensors")
        if found.is_relative_to(root)
    )
    if not keeping:
        name = "models: weights and counts over all people, no rows of persons"
        return Place(name, "at the next training", None, TRAIN)
    todo = f"{TRAIN}; then delete older versions in MLflow. In: {', '.join(keeping)}"
    name = "models: user_neighbours has each person's history, without an id"
    return Place(name, "at the next training", None, todo)


def _erase_cached(cache: Path, user_ids: Collection[str]) -> Place:
    """Delete the objects of DVC's cache with rows of the person: an object's name is the digest of
    its content, so it cannot be edited."""
    rows, name = 0, ".dvc/cache"
    wanted = pa.array(sorted(user_ids), pa.string())
    for file in sorted(path for path in cache.rglob("*") if path.is_file()):
        with file.open("rb") as stream:
            if stream.read(4) != b"PAR1":
                continue
        try:
            if "user_id" not in pq.read_schema(file).names:
                continue
            column = pq.read_table(file, columns=["user_id"])["user_id"].cast(pa.string())
        except (OSError, pa.ArrowException):
            continue  # an incomplete object: DVC writes it again
        found = pc.sum(pc.is_in(column, value_set=wanted)).as_py()
        if found:
            file.unlink()
            rows += found
    todo = f"{TRAIN}; then: dvc gc --workspace (and --cloud for a remote)"
    return Place(name, "erased" if rows else "nothing kept", rows, todo if rows else "")


def write_receipt(root: Path, digest: str, places: list[Place]) -> Path:
    """Write a receipt below ``root``, readable by this user only; return the file.

    digest: the profile's hash; the receipt does not contain the id.
    """
    folder = root / KEY.parent
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    now = time.time()
    moment = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime(now))
    file = folder / f"{moment}-{digest[:12]}.json"
    content = {"profile_hash": digest, "written_at": moment, "places": [asdict(p) for p in places]}
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    return file
