"""The reference that served traffic is compared with: the stage ``reference``.

In: ``data/prepared``, ``models/vectors``, ``models/hybrid``. Out: ``models/reference`` (the newest
weeks of the data, the principal components of the item vectors, the calibration) and
``reports/calibration.json``.
"""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file
from sklearn.decomposition import PCA

from components.arrays import FloatArray
from components.data.dataset import Prepared, load_prepared
from components.settings import Settings
from monitoring.calibration import Scale, calibrate, weekly_tables
from monitoring.features import Vocabulary, by_shop_ids, cap_rows, clean_window, feature_table
from monitoring.scores import load_model, score_users
from monitoring.statistics import STATISTICS


@dataclass(frozen=True)
class Reference:
    """The loaded ``models/reference``.

    table: feature table of the newest weeks. scores: ``score_users`` of the test window, or None.
    weeks: the ordinary weeks with their scores, for plots. scales: by size, smallest first.
    """

    table: pd.DataFrame
    vocabulary: Vocabulary
    scales: tuple[Scale, ...]
    weeks: list[dict[str, Any]]
    start: str
    end: str
    events: tuple[str, ...]
    window_days: int
    sample_rows: int
    false_alarm_rate: float
    scores: pd.DataFrame | None = None

    def scale(self, visits: int) -> Scale:
        """Return the scale for a window of ``visits``, interpolated in log(size)."""
        sizes = [scale.visits for scale in self.scales]
        at = np.log(np.clip(visits, sizes[0], sizes[-1]))
        logs = np.log(sizes)

        def between(values: list[float]) -> float:
            return float(np.interp(at, logs, values))

        names = set.intersection(*(set(scale.median) for scale in self.scales))
        ordered = [name for name in STATISTICS if name in names]
        return Scale(
            visits,
            min(scale.draws for scale in self.scales),
            between([scale.threshold for scale in self.scales]),
            {name: between([scale.median[name] for scale in self.scales]) for name in ordered},
            {name: between([scale.spread[name] for scale in self.scales]) for name in ordered},
        )


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
    )
    return vocabulary, arrays


def run(settings: Settings, root: Path) -> None:
    """The stage ``reference``: → models/reference and reports/calibration.json.

    Raises:
        ValueError: the data has too few weeks to calibrate the alert.
    """
    monitor = settings.monitor
    prepared = load_prepared(root / "data/prepared", root / "models/vectors")
    vocabulary, arrays = vocabulary_of(prepared, monitor.embedding_components, settings.seed)
    tables = weekly_tables(prepared, vocabulary, monitor)
    scales, whole, figures = calibrate(tables, monitor, settings.seed)

    frame = clean_window(by_shop_ids(prepared))
    length = pd.Timedelta(days=monitor.window_days)
    end = pd.Timestamp(prepared.end, unit="s", tz="UTC")
    start = end - monitor.reference_weeks * length
    newest = frame[frame["timestamp"] >= start]
    calibration = {
        **figures,
        "target_false_alarm_rate": monitor.false_alarm_rate,
        "window_days": monitor.window_days,
        "reference_weeks": monitor.reference_weeks,
        "reference_age": monitor.reference_age,
        "reference_start": start.isoformat(),
        "reference_end": end.isoformat(),
        "sample_rows": monitor.sample_rows,
        "events": sorted(newest["event"].unique()),
        "scales": [asdict(scale) for scale in scales],
        "ordinary_weeks": _ordinary_weeks(whole, tables, end, length),
    }

    partial = root / "models/.reference"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    newest.to_parquet(partial / "reference.parquet", index=False)
    _write_vocabulary(vocabulary, arrays, partial)
    model = root / "models/hybrid"
    if (model / "model.json").exists():
        test_start = pd.Timestamp(prepared.test_start, unit="s", tz="UTC")
        held_out = frame[frame["timestamp"] >= test_start]
        reference_scores(model, held_out, end, length, settings.seed).to_parquet(
            partial / "scores.parquet", index=False
        )
    (partial / "calibration.json").write_text(json.dumps(calibration, indent=1, allow_nan=False))
    out = root / "models/reference"
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)

    report = root / "reports/calibration.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    temporary = report.with_suffix(".partial")
    temporary.write_text(json.dumps(figures, indent=1, allow_nan=False))
    temporary.rename(report)


def _ordinary_weeks(
    whole: pd.DataFrame, tables: dict[int, pd.DataFrame], end: pd.Timestamp, length: pd.Timedelta
) -> list[dict[str, Any]]:
    """Return the ordinary weeks, each compared with the weeks just before it, for plots.

    whole, tables: of ``calibrate`` and ``weekly_tables``. end: of the data. length: of a window.
    """
    newest = whole[whole["age"] == 0].set_index("week")
    return [
        {
            "start": (end + week * length).isoformat(),
            "end": (end + (week + 1) * length).isoformat(),
            "rows": len(tables[week]),
            **{name: _number(value) for name, value in row.items()},
        }
        for week, row in newest.to_dict("index").items()
    ]


def _write_vocabulary(vocabulary: Vocabulary, arrays: dict[str, FloatArray], folder: Path) -> None:
    """Write the vocabulary as items.parquet, users.parquet and pca.safetensors."""
    pd.DataFrame(
        {"item_id": vocabulary.items, "category": vocabulary.categories},
    ).to_parquet(folder / "items.parquet", index=False)
    vocabulary.countries.rename_axis("user_id").rename("country").reset_index().to_parquet(
        folder / "users.parquet", index=False
    )
    save_file(arrays, folder / "pca.safetensors")


def reference_scores(
    model: Path, held_out: pd.DataFrame, end: pd.Timestamp, length: pd.Timedelta, seed: int
) -> pd.DataFrame:
    """Return ``score_users`` of each whole window of the test window, newest first."""
    loaded, items, past = load_model(model)
    parts = []
    while (held_out["timestamp"] < end).any():
        window = held_out[(held_out["timestamp"] >= end - length) & (held_out["timestamp"] < end)]
        if len(window):
            parts.append(score_users(loaded, items, past, window, seed))
        end -= length
    return pd.concat(parts, ignore_index=True)


def load_reference(folder: str | Path) -> Reference:
    """Load the reference that the stage ``reference`` wrote to ``folder``.

    Raises:
        FileNotFoundError: the folder or one of its files is missing.
    """
    folder = Path(folder)
    file = folder / "calibration.json"
    if not file.exists():
        raise FileNotFoundError(f"{file} is missing: run `bowerbird reference` first")
    calibration = json.loads(file.read_text())
    items = pd.read_parquet(folder / "items.parquet")
    users = pd.read_parquet(folder / "users.parquet")
    vocabulary = Vocabulary(
        pd.Index(items["item_id"]),
        items["category"].to_numpy(dtype=object),
        load_file(folder / "pca.safetensors").get("items"),
        users.set_index("user_id")["country"],
    )
    frame = clean_window(pd.read_parquet(folder / "reference.parquet"))
    table = cap_rows(feature_table(frame, vocabulary), calibration["sample_rows"], seed=0)
    scores = folder / "scores.parquet"
    return Reference(
        table,
        vocabulary,
        tuple(Scale(**scale) for scale in calibration["scales"]),
        calibration["ordinary_weeks"],
        calibration["reference_start"],
        calibration["reference_end"],
        tuple(calibration["events"]),
        calibration["window_days"],
        calibration["sample_rows"],
        calibration["target_false_alarm_rate"],
        pd.read_parquet(scores) if scores.exists() else None,
    )


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
