"""The flow ``refresh``: takes the newest data into the champion, between trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

from components.settings import load_settings
from flows.clone import in_use
from flows.monitoring import export_feedback, share_histories
from flows.operations import ended
from flows.stages import only_one, run_stages

TABLES = ("ingest", "validate", "preprocess")
"""The stages that read the shop's newest data."""


@task
def refresh_champion() -> dict[str, Any]:
    """Refresh the champion with the prepared tables and publish it; return the report."""
    from components.registry.refresh import run  # takes seconds to import: not for other flows

    return run(load_settings(), Path())


@flow(
    name="refresh",
    log_prints=True,
    on_completion=[ended],
    on_failure=[ended],
)
def refresh() -> dict[str, Any]:
    """Publish the champion with the newest data, without a training; return the report."""
    with in_use(), only_one():
        export_feedback()
        # Not into DVC's cache, which would grow with each refresh: the next training does.
        seconds = run_stages(TABLES, commit=False)
        report = refresh_champion()
        if load_settings().serve.histories == "store":
            share_histories()
    lines = [
        f"# Version {report['version'] or report['source']}",
        "",
        f"The champion stays: {report['reason']}."
        if report["version"] is None
        else f"Refreshed from version {report['source']} with all data until {report['until']}: "
        f"{report['interactions']:,} interactions, {report['new_items']:,} new products.",
        "",
        *(f"- {part}: {value:.1f} s" for part, value in (seconds | report["seconds"]).items()),
    ]
    create_markdown_artifact("\n".join(lines), key="refresh")
    return report
