"""What a finished run learned, in a screenful: read from the reports, printed by the CLI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from components.settings import Settings

NEXT = """\
What to do next
  {serve:<34} the endpoint and its pages on http://{host}:{port}
  {ui:<34} Prefect :{prefect}, MLflow :{mlflow} and the scheduled flows
  open reports/evaluation/report.html   every model, with plots
  open reports/data_docs/index.html     what was expected of the data, and what came
  bowerbird init FOLDER …            the same for your own shop (docs/bring-your-own-data.md)"""


def _read(file: Path) -> dict[str, Any]:
    if not file.exists():
        raise FileNotFoundError(f"{file} is missing: the run has not finished; type `dvc repro`")
    return json.loads(file.read_text())


def _note(file: Path, key: str) -> list[str]:
    """Return the sentence that a stage left in a file for the reader, [] without one."""
    found = json.loads(file.read_text()).get(key) if file.exists() else None
    return [] if found is None else [found]


def summary(root: Path, settings: Settings) -> str:
    """Return the text that ends ``make run``.

    Raises:
        FileNotFoundError: a report is missing because the run has not finished.
    """
    reports = root / "reports"
    validation = _read(reports / "validation.json")
    pretrain, finetune = _read(reports / "pretrain.json"), _read(reports / "finetune.json")
    registration = _read(reports / "registration.json")
    comparison = registration["comparison"]
    decision = registration["not_compared"] if comparison is None else comparison["reason"]
    alias = registration["alias"] or "none"
    table = pd.read_csv(reports / "evaluation.csv")
    # In a clone of the product, make finds the environment.
    command = "make" if (root / "Makefile").exists() else "bowerbird"
    lines = ["", "What was learned", ""]
    for name, counts in validation.items():
        lines.append(
            f"  {name:<13}{counts['rows']:>9,} rows = {counts['kept']:>9,} kept"
            f" + {counts['quarantined']:>9,} quarantined"
        )
    notes = [
        f"    {name}: {note}"
        for name, counts in validation.items()
        for note in counts.get("notes", [])  # reports of earlier releases have none
    ]
    notes += [f"    {one}" for one in _note(reports / "preprocess.json", "note")]
    no_alarm = _note(reports / "calibration.json", "not_calibrated")
    lines += [
        *(["", "  to look at in the data", *notes] if notes else []),
        "",
        f"  pre-training   loss {pretrain['loss_start']:.2f} → {pretrain['loss_end']:.2f}",
        f"  fine-tuning    loss {finetune['loss_start']:.2f} → {finetune['loss_end']:.2f}",
        "",
        "  held-out newest weeks, all items ranked (95 % interval)",
    ]
    for row in table.sort_values("ndcg@10", ascending=False).itertuples(index=False):
        record = dict(zip(table.columns, row, strict=True))
        lines.append(
            f"    {record['model']:<22} NDCG@10 {record['ndcg@10']:.4f}"
            f"  [{record['low']:.4f}, {record['high']:.4f}]   recall@10 {record['recall@10']:.4f}"
            f"   coverage {record['coverage@10']:.2f}"
        )
    lines += [
        "",
        f"  registered as version {registration['version']}, alias {alias}",
        *([f"  {one}" for one in decision.split("; ")] if decision else []),
        *[f"  no drift alarm yet: {one}" for one in no_alarm],
        "",
        NEXT.format(
            host=settings.serve.host,
            port=settings.serve.port,
            prefect=settings.flows.prefect_port,
            mlflow=settings.flows.mlflow_port,
            serve=f"{command} serve",
            ui=f"{command} ui",
        ),
        "",
    ]
    return "\n".join(lines)
