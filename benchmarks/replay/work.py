"""What a replay has computed, in its work folder: made once, also by several processes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.file_lock import file_lock

Record = dict[str, Any]


class NotComputed(LookupError):
    """A record is not there, and nothing is to be computed."""


@dataclass(frozen=True)
class Work:
    """The work folder. compute: false raises ``NotComputed`` instead of computing."""

    folder: Path
    compute: bool = True

    def once(self, name: str, make: Callable[[], Record]) -> Record:
        """Return the record ``name``, made by ``make`` if it is not there.

        A second process waits for the first one. A killed ``make`` leaves no record. cpu: processor
        seconds that ``make`` took, and those that it returns as ``cpu``.
        """
        file = self.folder / f"{name}.json"
        if not file.exists():
            if not self.compute:
                raise NotComputed(name)
            with file_lock(file.with_suffix(".lock")):
                if not file.exists():
                    began = time.process_time()
                    record = make()
                    record["cpu"] = record.get("cpu", 0.0) + time.process_time() - began
                    partial = file.with_suffix(".partial")
                    partial.write_text(json.dumps(record))
                    partial.rename(file)
        found: Record = json.loads(file.read_text())
        return found
