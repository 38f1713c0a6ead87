"""Which parts of a worker are degraded, for /readyz, /status and /metrics."""

from __future__ import annotations

import logging

from serving import metrics

logger = logging.getLogger("bentoml.bowerbird")


class Health:
    """problems: part → what is wrong with it; the worker serves without it or with an older one."""

    def __init__(self) -> None:
        self.problems: dict[str, str] = {}

    def report(self, part: str, problem: str | None) -> None:
        """Set what is wrong with a part; None: nothing.

        problem: one sentence without paths or ids, as /readyz needs no key.
        """
        if problem is None:
            self.problems.pop(part, None)
        elif self.problems.get(part) != problem:
            self.problems[part] = problem
            logger.error("%s: %s", part, problem)
        metrics.DEGRADED.labels(part).set(problem is not None)
