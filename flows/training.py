"""The flow ``training``: every stage of ``dvc.yaml`` as a task, and the results as artifacts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from prefect import flow, get_run_logger
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from components.registry.model_card import comparison_section
from components.settings import load_settings
from flows.clone import in_use
from flows.monitoring import export_feedback, share_histories
from flows.operations import ended
from flows.remote import RemoteError, pull, push
from flows.stages import only_one, run_stages


@flow(
    name="training",
    log_prints=True,
    on_completion=[ended],
    on_failure=[ended],
)
def training() -> dict[str, Any]:
    """Bring the model up to date; return the registration (version, alias, comparison).

    Stages whose inputs did not change are skipped, so the next run continues a killed one, and a
    run without changes ends at once.
    """
    with in_use():
        if load_settings().flows.remote:
            export_feedback()  # a clone has none
        return train()


def train() -> dict[str, Any]:
    """Run all stages in the current flow run.

    With ``flows.remote``, the folder is a clone on a worker: outputs come from DVC's remote, also
    those of a training that failed in a later stage.
    """
    with only_one():
        if not load_settings().flows.remote:
            return trained()
        pull(Path(), force=True)
        with pushed_at_the_end():
            return trained()


def trained() -> dict[str, Any]:
    """Run the stages; return what was registered, its histories shared with other replicas."""
    registration = publish(run_stages())
    if load_settings().serve.histories == "store":
        share_histories()
    return registration


@contextmanager
def pushed_at_the_end(root: Path = Path()) -> Iterator[None]:
    """Push the outputs in ``root`` after a block, also if it fails.

    Raises:
        RemoteError: only the push failed. If both fail, the block's error has a note about it.
    """
    try:
        yield
    except Exception as error:
        try:
            push(root)
        except RemoteError as second:
            error.add_note(f"What was made before it is not in the remote: {second}")
        raise
    push(root)


def publish(seconds: dict[str, float]) -> dict[str, Any]:
    """Publish the run's results as artifacts; return the registration."""
    reports = Path("reports")
    create_table_artifact(
        [{"stage": stage, "seconds": value} for stage, value in seconds.items()],
        key="stages",
        description="Duration of each stage; 0 if it was up to date.",
    )
    validation = json.loads((reports / "validation.json").read_text())
    validation["interactions: feedback"] = validation["interactions"]["feedback"]
    create_table_artifact(
        [
            {"table": name, **{key: counts[key] for key in ("rows", "kept", "quarantined")}}
            for name, counts in validation.items()
        ],
        key="validation",
        description="Input rows = valid rows + quarantined rows (data/quarantine has the reasons).",
    )
    table = pd.read_csv(reports / "evaluation.csv").sort_values("ndcg@10", ascending=False)
    shown = ["model", "ndcg@10", "low", "high", "recall@10", "mrr@10", "coverage@10"]
    create_table_artifact(
        table[shown].round(4).to_dict("records"),
        key="evaluation",
        description="All models on the held-out newest weeks, with all items ranked.",
    )
    create_link_artifact(
        (reports / "evaluation/report.html").resolve().as_uri(), "the report", key="evaluation-page"
    )
    registration: dict[str, Any] = json.loads((reports / "registration.json").read_text())
    create_markdown_artifact(describe(registration), key="registration")
    get_run_logger().info(
        "version %s is %s", registration["version"], registration["alias"] or "not used"
    )
    return registration


def describe(registration: dict[str, Any]) -> str:
    """Return the registration as Markdown."""
    lines = [f"# Version {registration['version']}: {registration['alias'] or 'not used'}", ""]
    found = registration["comparison"]
    if registration["not_compared"] is not None:
        lines.append(f"The champion stays: {registration['not_compared']}.")
    elif found is None:
        lines.append("There was no champion to compare it with.")
    else:
        lines.append(comparison_section(found))
    return "\n".join([*lines, "", f"Data version `{registration['data_version']}`."])
