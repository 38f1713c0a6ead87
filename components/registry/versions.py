"""Model versions: logged and registered in MLflow, one of them the champion.

In: ``models/served``, ``models/hybrid``, ``models/language/finetuned``, ``models/reference``, the
reports. Out: an MLflow run and model version, its folder ``var/serving/models/<version>``, its
judged twin ``var/serving/judged/<version>``, the pointer ``var/serving/champion.json`` that serving
follows, and ``reports/registration.json``.

A version has two twins (see ``recommenders.refit``): the served one was fitted on all data, the
judged one on what lies before the test window. Versions are compared by their judged twins, because
the served ones have seen the events that they would be judged on.

The alias ``champion`` is what is served, ``challenger`` the newest version that was judged against
it, ``previous`` the champion before: ``rollback`` goes back to it. The first version becomes
champion; a later one only if it is better on the newest held-out time, beyond chance and on enough
users (``evaluation.compare``).

A version is complete before any alias names it, and the pointer is replaced in one step: whatever
is killed in between, the last good model goes on serving and the same command finishes the work.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import jinja2
import mlflow
import pandas as pd
import pyarrow.parquet as pq
import yaml
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array
from sqlalchemy.exc import SQLAlchemyError

from components.credentials import mask_credentials
from components.data.dataset import Prepared, load_prepared
from components.data.profiles import PROFILES
from components.erasure import locked, write_table
from components.evaluation.compare import Comparison, SeenEvents, compare
from components.lockfile import exact_requirements
from components.manifest import MANIFEST, ManifestError, sync, verify_manifest, write_manifest
from components.permissions import close_tree
from components.settings import Settings

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
SERVING = Path("var/serving")
POINTER = SERVING / "champion.json"
PERSONAL = ("reference.parquet", "users.parquet", "scores.parquet")
"""Tables of the drift reference with people's ids: they are not part of a version."""
JUDGED = "judged"
"""Where judged twins lie, in MLflow's artifacts and below SERVING."""
NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""MLflow's codes for a model and for an alias that it does not have."""
_HERE = Path(__file__).parent
_SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(Array(DataType.string), "recent_items")]),
    outputs=Schema(
        [ColSpec(Array(DataType.string), "item_ids"), ColSpec(Array(DataType.double), "scores")]
    ),
    params=ParamSchema([ParamSpec("k", DataType.long, 10)]),
)


class RegistryError(ValueError):
    """There is no such version, nothing to go back to, or no answer from MLflow; the message says
    what to do."""


@contextmanager
def reachable() -> Iterator[None]:
    """Turn errors of MLflow and of its database into one line.

    Raises:
        RegistryError: MLflow cannot be reached or refused what was asked.
    """
    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        reason = mask_credentials(str(error).strip().splitlines()[0])
        raise RegistryError(
            f"MLflow cannot be used (see register.tracking_uri): {reason:.300}"
        ) from error


@dataclass(frozen=True)
class Version:
    """One registered version. aliases: of champion, challenger, previous. created: UTC."""

    version: str
    aliases: tuple[str, ...]
    created: datetime
    run_id: str
    data_version: str
    ndcg: float | None


class Registry:
    """The shop's versions in MLflow and the folders they are served from."""

    def __init__(self, settings: Settings, root: Path) -> None:
        self.settings = settings
        self.root = Path(root)
        self.name = settings.register_.model_name
        uri = settings.register_.tracking_uri.get_secret_value()
        prefix = "sqlite:///"
        if uri.startswith(prefix) and not uri.startswith(prefix + "/"):
            file = (self.root / uri.removeprefix(prefix)).resolve()
            uri = f"{prefix}{file}"
            if not file.exists():
                with self.lock():
                    self._make_database(file)
        self.uri = uri = _without_login(uri)
        mlflow.set_tracking_uri(uri)
        self.client = MlflowClient(uri)

    def _make_database(self, file: Path) -> None:
        """Have MLflow make its database elsewhere and put it in its place whole: one that was left
        in the middle of its many migrations can never be opened again."""
        if file.exists():  # another process was first
            return
        partial = file.parent / ".new" / file.name
        shutil.rmtree(partial.parent, ignore_errors=True)
        partial.parent.mkdir(parents=True)
        artifacts = (self.root / self.settings.register_.artifacts).resolve()
        SqlAlchemyStore(f"sqlite:///{partial}", artifacts.as_uri()).engine.dispose()
        partial.rename(file)
        partial.parent.rmdir()

    def folder(self, version: str) -> Path:
        """Return where a version's files lie."""
        return self.root / SERVING / "models" / version

    def judged_folder(self, version: str) -> Path:
        """Return where the twin lies by which a version is judged.

        Versions of before there were twins serve what was judged.
        """
        folder = self.root / SERVING / JUDGED / version
        return folder if folder.exists() else self.folder(version)

    def experiment(self) -> str:
        """Return the id of the shop's experiment, made if it is not there."""
        found = self.client.get_experiment_by_name(self.name)
        if found is not None:
            return str(found.experiment_id)
        artifacts = (self.root / self.settings.register_.artifacts).resolve()
        return str(self.client.create_experiment(self.name, artifacts.as_uri()))

    def alias(self, alias: str) -> str | None:
        """Return the version that an alias names, or None."""
        try:
            return str(self.client.get_model_version_by_alias(self.name, alias).version)
        except MlflowException as error:
            if error.error_code in NOT_THERE:
                return None
            raise  # without an answer nobody knows whether there is a champion

    def find(self, digest: str) -> str | None:
        """Return the version whose model folder has this digest, or None."""
        for found in self._all():
            if found.tags.get("digest") == digest:
                return str(found.version)
        return None

    def versions(self) -> list[Version]:
        """Return all versions, newest first."""
        aliases = {name: self.alias(name) for name in (CHAMPION, CHALLENGER, PREVIOUS)}
        return [
            Version(
                str(found.version),
                tuple(name for name, version in aliases.items() if version == str(found.version)),
                datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
                found.run_id or "",
                found.tags.get("data_version", ""),
                float(found.tags["ndcg_at_10"]) if "ndcg_at_10" in found.tags else None,
            )
            for found in self._all()
        ]

    def _all(self) -> list[ModelVersion]:
        found = self.client.search_model_versions(f'name = "{self.name}"')  # it holds no "
        return sorted(found, key=lambda version: -int(version.version))

    def promote(self, version: str) -> None:
        """Make ``version`` the champion; the one before becomes ``previous``.

        Raises:
            RegistryError: there is no such version.
        """
        with self.lock():
            self._promote(version)

    def _promote(self, version: str) -> None:
        known = [found.version for found in self.versions()]
        if version not in known:
            there = ", ".join(known) or "none yet: run `make run`"
            raise RegistryError(f"there is no version {version}; there are: {there}")
        self.restore(version)
        if not (self.root / SERVING / "profiles" / f"{version}.parquet").exists():
            place_profiles(self.root, version)
        before = self.alias(CHAMPION)
        if before is not None and before != version:
            self.client.set_registered_model_alias(self.name, PREVIOUS, before)
        self.client.set_registered_model_alias(self.name, CHAMPION, version)
        if self.alias(CHALLENGER) == version:
            self.client.delete_registered_model_alias(self.name, CHALLENGER)
        self.point()

    def restore(self, version: str) -> None:
        """Bring a version's folder back from MLflow's artifacts if it is not there or damaged.

        Raises:
            RegistryError: what MLflow keeps of it is damaged too.
        """
        folder = self.folder(version)
        if is_whole(folder):
            return
        with tempfile.TemporaryDirectory(prefix="bowerbird-") as name:
            downloaded = mlflow.artifacts.download_artifacts(
                f"models:/{self.name}/{version}", dst_path=name
            )
            (model,) = Path(downloaded).glob("artifacts/*/model.json")
            self._take_over(version, model.parent, folder)

    def restore_judged(self, version: str) -> None:
        """Bring a version's judged twin back from MLflow's artifacts if it is not there or damaged.

        Raises:
            RegistryError: what MLflow keeps of it is damaged too.
        """
        folder = self.root / SERVING / JUDGED / version
        if is_whole(folder):
            return
        run_id = self.client.get_model_version(self.name, version).run_id
        if not run_id or not self.client.list_artifacts(run_id, JUDGED):
            self.restore(version)  # a version of before there were twins
            return
        with tempfile.TemporaryDirectory(prefix="bowerbird-") as name:
            downloaded = mlflow.artifacts.download_artifacts(
                run_id=run_id, artifact_path=JUDGED, dst_path=name
            )
            self._take_over(version, Path(downloaded), folder)

    def _take_over(self, version: str, downloaded: Path, folder: Path) -> None:
        """Copy what MLflow keeps of a version to ``folder``, verified before it is there."""
        partial = folder.with_name(f".{version}")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(downloaded, partial)
        if not (partial / MANIFEST).exists():  # logged before model folders had one
            write_manifest(partial)
        try:
            verify_manifest(partial)
        except ManifestError as error:
            raise RegistryError(f"MLflow's files of version {version}: {error}") from error
        write_manifest(partial)  # makes the copied files durable
        put_in_place(partial, folder)

    def prune(self) -> None:
        """Remove the served folders of versions without an alias; MLflow still has them."""
        kept = {one.version for one in self.versions() if one.aliases}
        for place in ("models", JUDGED):
            for folder in (self.root / SERVING / place).glob("*"):
                if is_version_folder(folder) and folder.name not in kept:
                    shutil.rmtree(folder)
        for file in (self.root / SERVING / "profiles").glob("*.parquet"):
            if file.stem not in kept:
                file.unlink()

    def rollback(self) -> str:
        """Make the champion before the present one champion again; return its version.

        Raises:
            RegistryError: there was none.
        """
        with self.lock():
            version, champion = self.alias(PREVIOUS), self.alias(CHAMPION)
            if version is None:
                raise RegistryError("there is no earlier champion to go back to")
            pointed = self._pointed()
            if champion is not None and pointed not in (None, champion):
                # A command was killed before serving was told: that one is finished first.
                self.point()
                return champion
            if version == champion:  # killed between the two aliases
                raise RegistryError(
                    f"an earlier command was killed, and which champion was before {champion} is "
                    "not known: name it, bowerbird promote VERSION (bowerbird models lists them)"
                )
            self._promote(version)
            return version

    def _pointed(self) -> str | None:
        """Return the version that serving follows, None where none is written down."""
        file = self.root / SERVING / f"{CHAMPION}.json"
        try:
            return str(json.loads(file.read_text(encoding="utf-8"))["version"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def point(self) -> None:
        """Write down what serving follows: champion, challenger, and the list of versions.

        Each file is durable and changes in one step.
        """
        for alias in (CHAMPION, CHALLENGER):
            version = self.alias(alias)
            pointer = self.root / SERVING / f"{alias}.json"
            if version is not None:
                folder = SERVING / "models" / version
                _write(pointer, {"version": version, "folder": str(folder)})
            elif alias == CHALLENGER:
                pointer.unlink(missing_ok=True)
        shown = [
            {
                "version": one.version,
                "aliases": list(one.aliases),
                "created": one.created.isoformat(),
                "ndcg": one.ndcg,
            }
            for one in self.versions()
        ]
        _write(self.root / SERVING / "versions.json", shown)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the registry for this process: two runs must not both change the champion."""
        place = self.root / SERVING / ".lock"
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _without_login(uri: str) -> str:
    """Return the URI of an MLflow server without user and password, which MLflow then has from the
    environment: it prints the URI after each run and in its errors."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return uri
    os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username or "")
    os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password or "")
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _write(file: Path, content: Any) -> None:
    """Write JSON to a file, durable and in one step, unless it is there already."""
    text = json.dumps(content)
    if file.exists() and file.read_bytes() == text.encode():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}")
    with partial.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(file)
    sync(file.parent)


def is_whole(folder: Path) -> bool:
    """Return whether a model folder is there and as its manifest says."""
    try:
        verify_manifest(folder)
    except (ManifestError, FileNotFoundError):
        return False
    return True


def is_version_folder(path: Path) -> bool:
    """Return whether a path among the served models is a version's folder, half written or not."""
    name = path.name.removeprefix(".")
    return path.is_dir() and not path.is_symlink() and (name.isdecimal() or path.name == ".new")


def put_in_place(new: Path, folder: Path) -> None:
    """Rename a complete folder to ``folder``, which it replaces; durable on return."""
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)
    sync(folder.parent)


def folder_digest(folder: Path) -> str:
    """Return a digest of the names and the content of all files in ``folder``."""
    total = hashlib.blake2b(digest_size=16)
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(str(file.relative_to(folder)).encode() + b"\0")
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def commit(root: Path) -> str:
    """Return the git commit of ``root``, "+" after it where files were changed, "" without git."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        head = git("rev-parse", "HEAD")
        return f"{head}+" if head and git("status", "--porcelain", "-uno") else head
    except OSError:
        return ""


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one level: {"train.linear.decay": 0.99, …}."""
    out: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            out |= flat(value, f"{prefix}{name}.")
        else:
            out[prefix + name] = value
    return out


def model_card(settings: Settings, prepared: Prepared, table: pd.DataFrame, facts: dict) -> str:
    """Return the card of the model (Mitchell et al., Model cards for model reporting, 2019)."""
    template = jinja2.Environment(trim_blocks=False, autoescape=True).from_string(
        (_HERE / "model_card.md.jinja").read_text(encoding="utf-8")
    )
    return template.render(
        name=settings.register_.model_name,
        candidates=settings.train.candidates,
        encoder=settings.pretrain.encoder,
        interactions=f"{len(prepared.interactions.users):,}",
        users=f"{len(prepared.users):,}",
        items=f"{len(prepared.catalogue):,}",
        judged_from=pd.Timestamp(prepared.test_start, unit="s").date(),
        end=pd.Timestamp(prepared.end, unit="s").date(),
        table=table.sort_values("ndcg@10", ascending=False).to_dict("records"),
        **facts,
    )


def assemble(settings: Settings, root: Path, card: str, out: Path) -> None:
    """Write a version's folder: the served twin, encoder, drift reference, settings and card."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(root / "models/served", out)
    verify_manifest(out)
    for source, name in (
        ("models/language/finetuned", "encoder"),
        ("models/reference", "reference"),
    ):
        if (root / source).is_dir():
            shutil.copytree(root / source, out / name, ignore=shutil.ignore_patterns(*PERSONAL))
    shutil.copy(root / "reports/evaluation.json", out / "metrics.json")
    settled = settings.model_dump(mode="json", by_alias=True)
    (out / "params.yaml").write_text(yaml.safe_dump(settled, sort_keys=False), encoding="utf-8")
    (out / "model_card.md").write_text(card, encoding="utf-8")
    write_manifest(out)


def place_profiles(root: Path, version: str) -> None:
    """Put the users' histories where serving looks for those of a version, outside its folder."""
    source, file = root / PROFILES, root / SERVING / "profiles" / f"{version}.parquet"
    if not source.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked(file.parent):
        write_table(file, pq.read_table(source))


def copy_judged(root: Path, folder: Path) -> None:
    """Copy the judged twin to ``folder``."""
    verify_manifest(root / "models/hybrid")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(root / "models/hybrid", folder)
    write_manifest(folder)


def log_version(registry: Registry, root: Path, folder: Path, card: str, facts: dict) -> str:
    """Log a run with parameters, metrics, reports and the model; return its new version."""
    settings = registry.settings
    evaluation = json.loads((root / "reports/evaluation.json").read_text())
    tags = {
        "data_version": facts["data_version"],
        "digest": facts["digest"],
        "ndcg_at_10": f"{evaluation['hybrid']['ndcg@10']:.6f}",
    }
    with mlflow.start_run(experiment_id=registry.experiment()):
        parameters = flat(settings.model_dump(mode="json", by_alias=True))
        mlflow.log_params({name: str(value)[:6000] for name, value in parameters.items()})
        mlflow.log_metrics(
            {
                name.replace("@", "_at_"): value
                for name, value in flat(evaluation).items()
                if isinstance(value, int | float)
            }
        )
        mlflow.set_tags({**tags, "mlflow.source.git.commit": facts["commit"].rstrip("+")})
        mlflow.set_tag("mlflow.note.content", card)
        for name in ("evaluation", "evaluation.csv", "validation.json", "calibration.json"):
            place = root / "reports" / name
            if place.is_dir():
                mlflow.log_artifacts(str(place), f"reports/{name}")
            elif place.exists():
                mlflow.log_artifact(str(place), "reports")
        with tempfile.TemporaryDirectory(prefix="bowerbird-") as name:
            copy_judged(root, Path(name) / JUDGED)
            mlflow.log_artifacts(name)
        with warnings.catch_warnings():
            # MLflow would load the model to run the example; the signature is given.
            warnings.filterwarnings(
                "ignore", ".*An input example was not provided", UserWarning, r"mlflow\.pyfunc"
            )
            logged = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(_HERE / "pyfunc_model.py"),
                artifacts={"model": str(folder)},
                code_paths=[str(_HERE.parent)],
                signature=_SIGNATURE,
                # Named, so that MLflow does not load the model in another process to find them.
                pip_requirements=exact_requirements(root) or ["bowerbird"],
            )
        version = mlflow.register_model(logged.model_uri, registry.name, tags=tags)
        registry.client.update_model_version(registry.name, version.version, card)
        mlflow.set_tag("model_version", version.version)
    return str(version.version)


def run(settings: Settings, root: Path) -> None:
    """The stage ``register``. A model that is registered already is not registered again.

    Raises:
        RegistryError: MLflow cannot be reached.
    """
    with reachable():
        register(settings, root)


def register(settings: Settings, root: Path) -> None:
    """Register the models below ``root``, compare them with the champion and promote if better."""
    registry = Registry(settings, root)
    prepared = load_prepared(root / "data/prepared")
    evaluation = json.loads((root / "reports/evaluation.json").read_text())
    facts = {
        "data_version": folder_digest(root / "data/prepared"),
        "digest": folder_digest(root / "models/served"),
        "commit": commit(root),
        "ratio": evaluation["hybrid_to_best_single"],
    }
    table = pd.read_csv(root / "reports/evaluation.csv")
    card = model_card(settings, prepared, table, facts)
    with registry.lock():
        version = registry.find(facts["digest"])
        if version is None or not is_whole(registry.folder(version)):
            new = root / SERVING / "models/.new"
            assemble(settings, root, card, new)
            version = version or log_version(registry, root, new, card, facts)
            judged = registry.root / SERVING / JUDGED / version
            copy_judged(root, judged.with_name(f".{version}"))
            put_in_place(judged.with_name(f".{version}"), judged)
            put_in_place(new, registry.folder(version))
        place_profiles(root, version)
        comparison, not_compared = None, None
        try:
            comparison = judge(registry, version, prepared)
        except SeenEvents as error:
            registry.client.set_registered_model_alias(registry.name, CHALLENGER, version)
            not_compared = f"not compared, so not promoted: {error}"
            print(not_compared)
        if reason := not_compared if comparison is None else comparison.reason:
            description = f"{card}\n\n## Compared with the champion\n\n{reason}\n"
            registry.client.update_model_version(registry.name, version, description)
        registry.point()
        registry.prune()
        for folder in (root / SERVING, root / settings.register_.artifacts):
            if folder.is_dir():
                close_tree(folder)
    alias = next((a for a in (CHAMPION, CHALLENGER) if registry.alias(a) == version), "")
    found = next(one for one in registry.versions() if one.version == version)
    registration = {
        "version": version,
        "alias": alias,
        "run_id": found.run_id,
        "data_version": facts["data_version"],
        "comparison": comparison and comparison.as_dict(),
        "not_compared": not_compared,
    }
    (root / "reports/registration.json").write_text(json.dumps(registration, indent=2))
    print(f"version {version}: {alias or 'neither champion nor challenger'}")


def judge(registry: Registry, version: str, prepared: Prepared) -> Comparison | None:
    """Make ``version`` champion or challenger; return how it did against the champion, if any.

    Raises:
        SeenEvents: one of the two has learned from events of the test window.
    """
    champion = registry.alias(CHAMPION)
    if champion == version:
        return None
    if champion is None:
        registry._promote(version)
        return None
    for one in (champion, version):
        registry.restore_judged(one)
    found = compare(
        registry.judged_folder(champion),
        registry.judged_folder(version),
        prepared,
        registry.settings,
    )
    registry.client.set_registered_model_alias(registry.name, CHALLENGER, version)
    for name, value in found.as_dict().items():
        registry.client.set_model_version_tag(
            registry.name, version, f"against_{champion}.{name}", str(value)
        )
    print(
        f"on {found.users:,} users NDCG@10 {found.challenger:.4f} against the champion's "
        f"{found.champion:.4f}: {found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
        f"; {found.reason}"
    )
    if found.better:
        registry._promote(version)
    return found
