"""Shadow: the challenger makes lists that no shopper sees, for requests that were answered.

In: a sample of the lists that were computed. Out: how long the challenger takes for them, and how
many of the shown products it lists too, in the metrics.

It ranks in a process of its own at the lowest priority, so that neither the ranking process nor the
interpreter's lock of the endpoint waits for it. While it is busy, further lists are dropped and
counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from components.settings import Serve
from serving import metrics
from serving.canary.decision import Lists, seconds_of
from serving.health import Health
from serving.models.catalogue_refresh import CatalogueRefresh
from serving.models.loaded import LoadedModel
from serving.models.loader import ModelLoader
from serving.models.retry import Retry
from serving.models.versions import ModelVersion, find_challenger
from serving.recommend.ranking import Ranking
from serving.recommend.types import Request, Response

logger = logging.getLogger("bentoml.bowerbird")

MOST_WAITING = 4
"""Lists that may wait for the challenger; further ones are dropped."""
CHALLENGER, SERVED = "challenger", "served"


class Shadow:
    """The challenger of one worker, in the background.

    challenger: None while none is loaded.
    """

    def __init__(
        self,
        serve: Serve,
        root: Path,
        loader: ModelLoader,
        catalogue: CatalogueRefresh,
        ranking: Ranking,
        health: Health,
    ) -> None:
        self.challenger: LoadedModel | None = None
        self.share = serve.shadow.share
        self._root = root
        self._loader = loader
        self._catalogue = catalogue
        self._ranking = ranking
        self._health = health
        self._retry = Retry()
        self._random = np.random.default_rng()
        self._waiting: set[asyncio.Task[None]] = set()

    @property
    def models(self) -> list[LoadedModel]:
        """The models in memory: the challenger, or none."""
        return [] if self.challenger is None else [self.challenger]

    def refresh(self) -> None:
        """Load the challenger and the products where they changed."""
        if not self.share:
            return
        wanted: ModelVersion | None = None
        try:
            wanted = find_challenger(self._root)
            if wanted is None:
                self.challenger = None
                self._ranking.keep_only(set())
                self._health.report("shadow lists", None)
            elif self.challenger is None or self.challenger.source != wanted:
                if not self._retry.is_due(wanted):
                    return
                self._ranking.watch()
                self.challenger = self._loader.load(wanted)
                logger.info("version %s makes lists in the shadow", wanted.version)
            else:
                self._ranking.watch()
            if self.challenger is not None:
                self.challenger = one = self._catalogue.refreshed(self.challenger)
                self._ranking.keep_only({one.number, one.trained_number})
        except Exception as error:  # what is served goes on
            self._retry.failed(wanted)
            if "shadow" not in self._health.problems:
                logger.error("cannot load the challenger: %s: %s", type(error).__name__, error)
            self._health.report("shadow", "the challenger cannot be loaded: see the log")
            return
        self._health.report("shadow", None)

    def offer(self, request_for: Callable[[LoadedModel], Request], shown: Response) -> None:
        """Have the challenger make the list of a sampled request; for the event loop.

        request_for: returns the request in the codes of a model. shown: what was answered.
        """
        challenger = self.challenger
        if challenger is None or self._random.random() >= self.share:
            return
        if len(self._waiting) >= MOST_WAITING:
            metrics.SHADOW_LISTS.labels(challenger.version, "dropped").inc()
            return
        task = asyncio.ensure_future(self._make(challenger, request_for, shown))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _make(
        self,
        challenger: LoadedModel,
        request_for: Callable[[LoadedModel], Request],
        shown: Response,
    ) -> None:
        version = challenger.version
        try:
            request = request_for(challenger)
            found = await self._ranking.respond_in_process(challenger.number, request)
        except Exception as error:
            metrics.SHADOW_LISTS.labels(version, "failed").inc()
            if "shadow lists" not in self._health.problems:
                logger.error("the challenger failed: %s: %s", type(error).__name__, error)
            self._health.report("shadow lists", "the challenger fails to make lists: see the log")
            return
        self._health.report("shadow lists", None)
        ids = orjson.loads(shown.ids)
        common = len(set(ids) & set(orjson.loads(found.ids)))
        metrics.SHADOW_LISTS.labels(version, "made").inc()
        metrics.SHADOW_OVERLAP.labels(version).observe(common / max(len(ids), 1))
        metrics.SHADOW_SECONDS.labels(version, CHALLENGER).observe(found.seconds)
        metrics.SHADOW_SECONDS.labels(version, SERVED).observe(shown.seconds)

    def close(self) -> None:
        """End the process."""
        self._ranking.close()


def shadow_status(version: str) -> dict[str, Any]:
    """Return what a challenger's lists showed, of all workers of this endpoint.

    overlap: mean share of the shown products that the challenger lists too, None without a list.
    p95_seconds: of the challenger, and of what was served for the same requests.
    """
    shown: dict[str, Any] = {"version": version, "made": 0, "failed": 0, "dropped": 0}
    common = 0.0
    seconds: dict[str, dict[float, float]] = {CHALLENGER: {}, SERVED: {}}
    for metric in metrics.collected():
        for sample in metric.samples if metric.name.startswith("bowerbird_shadow") else ():
            labels = sample.labels
            if labels["version"] != version:
                continue
            if sample.name == "bowerbird_shadow_lists_total":
                shown[labels["result"]] = int(sample.value)
            elif sample.name == "bowerbird_shadow_overlap_sum":
                common = sample.value
            elif sample.name == "bowerbird_shadow_seconds_bucket":
                seconds[labels["of"]][float(labels["le"])] = sample.value
    shown["overlap"] = common / shown["made"] if shown["made"] else None
    shown["p95_seconds"] = {
        of: Lists(seconds=seconds_of(within)).quantile() for of, within in seconds.items()
    }
    return shown
