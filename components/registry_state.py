"""What the process that follows the registry last found, for the endpoint's workers.

In: looks at the registry (``components.registry.follow``). Out: ``var/serving/registry.json``,
replaced atomically. Apart from ``components.registry``, which imports MLflow.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from components.json_files import write_json

STATE = Path("var/serving/registry.json")
LOCK = Path("var/serving/.follow.lock")
"""Held by the one process that follows for a folder."""


@dataclass(frozen=True)
class State:
    """looked: seconds since 1970 of the last look that ended.

    problem: one sentence without paths or hosts, "" if the champion is followed. since: seconds
    since 1970 of the first look with a problem, 0 without one.
    """

    looked: float
    problem: str = ""
    since: float = 0.0

    def after(self, problem: str, now: float) -> State:
        """Return the state after another look.

        >>> State(1.0).after("", 2.0)
        State(looked=2.0, problem='', since=0.0)
        >>> State(1.0).after("down", 2.0).after("down", 3.0)
        State(looked=3.0, problem='down', since=2.0)
        """
        if not problem:
            return State(now)
        return State(now, problem, self.since or now)


def write_state(root: Path, state: State) -> None:
    """Write the state for the endpoint's workers."""
    write_json(root / STATE, asdict(state))


def read_state(root: Path) -> State | None:
    """Return the state, None where no process has written a whole one."""
    try:
        return State(**json.loads((root / STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
