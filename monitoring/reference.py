"""The reference that served traffic is compared with: the stage ``reference``.

In: ``data/prepared``, ``models/vectors``, ``models/hybrid``. Out: ``models/reference`` (the newest
weeks of the data, the principal components of the item vectors, the calibration) and
``reports/calibration.json``.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file
from sklearn.decomposition import PCA

from components.arrays import FloatArray
from components.data.attribute_codes import as_categories
from components.data.dataset import Prepared, load_prepared
from components.data.schema import EVENTS
from components.settings import Settings
from monitoring.broken import Baseline
from monitoring.calibration import (
    AttackScale,
    Calibration,
    Scale,
    TooFewWeeks,
    calibrate,
    interpolated,
)
from monitoring.features import (
    ITEM,
    USER,
    Vocabulary,
    attributes_of,
    by_shop_ids,
    cap_rows,
    clean_window,
    feature_table,
)
from monitoring.history import History
from monitoring.scores import load_model, score_users


@dataclass(frozen=True)
class Reference:
    """The loaded ``models/reference``.

    table: feature table of the newest weeks, of the rows ``frame``. scores: ``score_users`` of the
    test window, or None. weeks: the ordinary weeks with their scores, for plots. scales: by age of
    the reference and size of the window. attack, limits: see ``calibration``. visits: of each day
    of the training data. targets: kinds of events that are successes.
    """

    table: pd.DataFrame
    frame: pd.DataFrame
    vocabulary: Vocabulary
    scales: tuple[Scale, ...]
    attack: AttackScale
    limits: dict[str, float]
    visits: pd.Series
    weeks: list[dict[str, Any]]
    start: str
    end: str
    events: tuple[str, ...]
    window_days: int
    sample_rows: int
    false_alarm_rate: float
    scores: pd.DataFrame | None = None
    targets: tuple[str, ...] = EVENTS
    not_calibrated: str | None = None

    def scale(self, visits: int, age: float = 0.0) -> Scale:
        """Return the scale for a window of ``visits`` against a reference of ``age`` windows."""
        return interpolated(self.scales, visits, age)

    def age_of(self, last_event: pd.Timestamp) -> float:
        """Return the windows between the reference's end and the window with this last event."""
        window = pd.Timedelta(days=self.window_days)
        start = last_event.floor("D") + pd.Timedelta(days=1) - window
        return max(0.0, (start - pd.Timestamp(self.end)) / window)

    def known_users(self, earlier: Collection[str] = ()) -> pd.Index:
        """Return the users of the training data and ``earlier`` ones."""
        return self.vocabulary.countries.index.union(pd.Index(earlier, dtype=object))

    def baseline(self, users: pd.Index) -> Baseline:
        """Return what the days of a window are compared with; users: see ``known_users``."""
        return Baseline.of(self.frame, self.vocabulary.items, users, self.visits)


def vocabulary_of(
    prepared: Prepared, components: int, seed: int
) -> tuple[Vocabulary, dict[str, FloatArray]]:
    """Return the vocabulary with projected item vectors, and the projection's arrays.

    Arrays (empty without vectors): mean float32 (width,), components float32 (components,
    width), items float32 (n_items, components).
    """
    table = prepared.catalogue.table
    arrays: dict[str, FloatArray] = {}
    vectors = prepared.catalogue.vectors
    if vectors is not None:
        vectors = np.asarray(vectors, dtype=np.float32)  # (n_items, width)
        pca = PCA(min(components, *vectors.shape), svd_solver="full", random_state=seed)
        points = pca.fit_transform(vectors)  # (n_items, components)
        arrays = {
            "mean": pca.mean_.astype(np.float32),
            "components": np.ascontiguousarray(pca.components_, dtype=np.float32),
            "items": np.ascontiguousarray(points, dtype=np.float32),
        }
    users = prepared.users
    country = users["country"] if "country" in users else pd.Series(None, users.index, object)
    vocabulary = Vocabulary(
        pd.Index(table["item_id"].astype(str)),
        table["main_category"].to_numpy(dtype=object),
        arrays.get("items"),
        pd.Series(country.to_numpy(), index=users["user_id"].astype(str)),
        as_categories(table),
        as_categories(users).set_index(users["user_id"].astype(str)),
    )
    return vocabulary, arrays


def run(settings: Settings, root: Path) -> None:
    """The stage ``reference``: → models/reference and reports/calibration.json.

    With too few weeks to calibrate the alarm, the reference says so and nothing is judged by it.
    """
    monitor = settings.monitor
    prepared = load_prepared(root / "data/prepared", root / "models/vectors")
    vocabulary, arrays = vocabulary_of(prepared, monitor.embedding_components, settings.seed)
    frame = clean_window(by_shop_ids(prepared))
    history = History.of(frame, vocabulary, prepared.end, monitor, settings.seed)
    not_calibrated = None
    try:
        found = calibrate(history, frame)
    except TooFewWeeks as error:
        found, not_calibrated = Calibration.none(), str(error)
        print(f"no drift alarm yet: {error}")
    length = pd.Timedelta(days=monitor.window_days)
    end = pd.Timestamp(prepared.end, unit="s", tz="UTC")
    start = end - monitor.reference_weeks * length
    newest = frame[frame["timestamp"] >= start]
    visits = history.visits_by_day()
    calibration = {
        **found.figures,
        "not_calibrated": not_calibrated,
        "target_false_alarm_rate": monitor.false_alarm_rate,
        "window_days": monitor.window_days,
        "reference_weeks": monitor.reference_weeks,
        "reference_age": monitor.reference_age,
        "reference_start": start.isoformat(),
        "reference_end": end.isoformat(),
        "sample_rows": monitor.sample_rows,
        "events": sorted(newest["event"].unique()),
        "targets": settings.preprocess.targets,
        "scales": [asdict(scale) for scale in found.scales],
        "attack": asdict(found.attack),
        "limits": found.limits,
        "visits": {str(day.date()): int(n) for day, n in visits.items()},
        "ordinary_weeks": _ordinary_weeks(found, end, monitor.window_days),
    }

    partial = root / "models/.reference"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    newest.to_parquet(partial / "reference.parquet", index=False)
    write_vocabulary(vocabulary, arrays, partial)
    model = root / "models/hybrid"
    if (model / "model.json").exists():
        test_start = pd.Timestamp(prepared.test_start, unit="s", tz="UTC")
        held_out = frame[frame["timestamp"] >= test_start]
        targets = settings.preprocess.targets
        reference_scores(model, held_out, end, length, settings.seed, targets).to_parquet(
            partial / "scores.parquet", index=False
        )
    (partial / "calibration.json").write_text(json.dumps(calibration, indent=1, allow_nan=False))
    out = root / "models/reference"
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)

    report = root / "reports/calibration.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    temporary = report.with_suffix(".partial")
    figures = found.figures if not_calibrated is None else {"not_calibrated": not_calibrated}
    temporary.write_text(json.dumps(figures, indent=1, allow_nan=False))
    temporary.rename(report)


def _ordinary_weeks(
    found: Calibration, end: pd.Timestamp, window_days: int
) -> list[dict[str, Any]]:
    """Return the ordinary weeks, each compared with the weeks just before it, for plots.

    end: of the data. window_days: length of a window.
    """
    windows = found.windows
    weekly = windows[(windows["age"] == 0) & (windows["end"] % window_days == 0)]
    length = pd.Timedelta(days=window_days)
    ends = [end + pd.Timedelta(days=int(day)) for day in weekly["end"]]
    return [
        {
            "start": (last - length).isoformat(),
            "end": last.isoformat(),
            **{name: _number(value) for name, value in row.items() if name != "end"},
        }
        for last, row in zip(ends, weekly.to_dict("records"), strict=True)
    ]


def write_vocabulary(vocabulary: Vocabulary, arrays: dict[str, FloatArray], folder: Path) -> None:
    """Write the vocabulary as items.parquet, users.parquet and pca.safetensors."""
    items = pd.DataFrame({"item_id": vocabulary.items, "category": vocabulary.categories})
    items = items.join(vocabulary.item_attributes.add_prefix(ITEM))
    items.to_parquet(folder / "items.parquet", index=False)
    users = vocabulary.countries.rename_axis("user_id").rename("country").reset_index()
    of_users = vocabulary.user_attributes.add_prefix(USER).reset_index(drop=True)
    users.join(of_users).to_parquet(folder / "users.parquet", index=False)
    save_file(arrays, folder / "pca.safetensors")


def read_vocabulary(folder: Path) -> Vocabulary:
    """Return the vocabulary that ``write_vocabulary`` wrote to ``folder``."""
    items = pd.read_parquet(folder / "items.parquet")
    users = pd.read_parquet(folder / "users.parquet")
    return Vocabulary(
        pd.Index(items["item_id"]),
        items["category"].to_numpy(dtype=object),
        load_file(folder / "pca.safetensors").get("items"),
        users.set_index("user_id")["country"],
        _attributes(items, ITEM),
        _attributes(users.set_index("user_id"), USER),
    )


def reference_scores(
    model: Path,
    held_out: pd.DataFrame,
    end: pd.Timestamp,
    length: pd.Timedelta,
    seed: int,
    targets: Sequence[str],
) -> pd.DataFrame:
    """Return ``score_users`` of each whole window of the test window, newest first."""
    loaded, items, past = load_model(model)
    parts = []
    while (held_out["timestamp"] < end).any():
        window = held_out[(held_out["timestamp"] >= end - length) & (held_out["timestamp"] < end)]
        if len(window):
            parts.append(score_users(loaded, items, past, window, seed, targets))
        end -= length
    return pd.concat(parts, ignore_index=True)


def load_reference(folder: str | Path) -> Reference:
    """Load the reference that the stage ``reference`` wrote to ``folder``.

    Raises:
        FileNotFoundError: the folder or one of its files is missing.
        ValueError: an earlier version wrote it.
    """
    folder = Path(folder)
    file = folder / "calibration.json"
    if not file.exists():
        raise FileNotFoundError(f"{file} is missing: run `bowerbird reference` first")
    calibration = json.loads(file.read_text())
    if "attack" not in calibration:
        raise ValueError(f"{file} is of an earlier version: run `bowerbird reference`")
    vocabulary = read_vocabulary(folder)
    frame = clean_window(pd.read_parquet(folder / "reference.parquet"))
    table = cap_rows(feature_table(frame, vocabulary), calibration["sample_rows"], seed=0)
    scores = folder / "scores.parquet"
    visits = pd.Series(calibration["visits"], dtype=float)
    visits.index = pd.to_datetime(visits.index, utc=True)
    return Reference(
        table,
        frame,
        vocabulary,
        tuple(Scale(**scale) for scale in calibration["scales"]),
        AttackScale(**calibration["attack"]),
        calibration["limits"],
        visits,
        calibration["ordinary_weeks"],
        calibration["reference_start"],
        calibration["reference_end"],
        tuple(calibration["events"]),
        calibration["window_days"],
        calibration["sample_rows"],
        calibration["target_false_alarm_rate"],
        pd.read_parquet(scores) if scores.exists() else None,
        tuple(calibration.get("targets", EVENTS)),  # those of earlier versions name none
        calibration.get("not_calibrated"),
    )


def _attributes(table: pd.DataFrame, prefix: str) -> pd.DataFrame:
    """Return the attributes of a vocabulary's table, by their names."""
    found = table[attributes_of(table.columns, prefix)]
    return found.rename(columns=lambda name: name.removeprefix(prefix))


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
