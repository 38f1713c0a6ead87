"""The models in service, with hot reload.

In: the pointer files of champion and challenger. Out: the model that a request is answered by. A
changed pointer takes effect without a restart: the new model is loaded in parallel and replaces
the old one by one assignment, so every request is answered by one complete model. Where the
champion cannot be loaded, the model in service stays, else the previous champion is loaded.
"""

from __future__ import annotations

import gc
import logging
import threading
from pathlib import Path

from components.alerts import ALERTS, raise_once
from components.settings import Settings
from serving import metrics
from serving.arms import TREATMENT, arm_of
from serving.health import Health
from serving.models.catalogue_refresh import CatalogueRefresh
from serving.models.loaded import LoadedModel, NotReady
from serving.models.loader import ModelLoader
from serving.models.retry import Retry
from serving.models.versions import (
    ModelVersion,
    find_challenger,
    find_champion,
    previous_champion,
)
from serving.recommend.ranking import Ranking

logger = logging.getLogger("bentoml.bowerbird")


class ModelStore:
    """Champion and challenger of one worker; ``refresh`` loads what changed on disk.

    load_error: why the newest champion is not in service, None if it is.
    """

    def __init__(
        self,
        settings: Settings,
        root: Path,
        loader: ModelLoader,
        catalogue: CatalogueRefresh,
        ranking: Ranking,
        health: Health,
    ) -> None:
        self.champion: LoadedModel | None = None
        self.challenger: LoadedModel | None = None
        self.load_error: str | None = None
        self._experiment = settings.serve.experiment
        self._webhook = settings.monitor.webhook
        self._root = root
        self._loader = loader
        self._catalogue = catalogue
        self._ranking = ranking
        self._health = health
        self._champion_retry = Retry()
        self._challenger_retry = Retry()
        self._refreshing = threading.Lock()

    def current(self) -> LoadedModel:
        """Return the champion.

        Raises:
            NotReady: none is loaded yet.
        """
        if self.champion is None:
            raise NotReady(self.load_error or "the model is being loaded")
        return self.champion

    def assign(self, profile: str | None) -> tuple[LoadedModel, str | None]:
        """Return the model that serves a shopper, and the arm; None outside an experiment.

        Raises:
            NotReady: none is loaded yet.
        """
        champion, experiment = self.current(), self._experiment
        if not experiment.name or profile is None:
            return champion, None
        treatment = self.challenger if experiment.model == "challenger" else champion
        if treatment is None:
            return champion, None
        arm = arm_of(experiment, profile)
        return (treatment if arm == TREATMENT else champion), arm

    def in_service(self) -> list[LoadedModel]:
        """Return the models in service."""
        return [one for one in (self.champion, self.challenger) if one is not None]

    def refresh(self) -> None:
        """Load the champion, the challenger and the products where they changed."""
        with self._refreshing:
            self._refresh_champion()
            self._refresh_challenger()
            if self.champion is not None:
                self.champion = self._catalogue.refreshed(self.champion)
            if self.challenger is not None:
                self.challenger = self._catalogue.refreshed(self.challenger)
            used = {n for one in self.in_service() for n in (one.number, one.trained_number)}
            self._ranking.keep_only(used)

    def _refresh_champion(self) -> None:
        wanted: ModelVersion | None = None
        try:
            wanted = find_champion(self._root)
            if self.champion is None or wanted != self.champion.source:
                if not self._champion_retry.is_due(wanted):
                    return
                self._replace_champion(wanted)
        except Exception as error:  # whatever is wrong with it, the old one goes on serving
            self._champion_retry.failed(wanted)
            self._keep_serving(wanted, f"{type(error).__name__}: {error}")
            return
        self.load_error = None
        self._champion_retry.succeeded()
        self._health.report("model", None)

    def _replace_champion(self, source: ModelVersion) -> None:
        self.champion = self._catalogue.refreshed(self._loader.load(source))
        gc.freeze()  # a collection over a million products' objects would stall all requests
        metrics.SWAPS.labels("done").inc()
        metrics.LOADED.set_to_current_time()
        logger.info("serving model version %s", source.version)

    def _keep_serving(self, wanted: ModelVersion | None, why: str) -> None:
        """Serve the model in service, else the previous champion, and raise an alert."""
        if why != self.load_error:
            logger.error("cannot load the model: %s", why)
            metrics.SWAPS.labels("failed").inc()
        if self.champion is None and (previous := previous_champion(self._root)) is not None:
            try:
                self._replace_champion(previous)
            except Exception as error:
                why += f"; the champion before, version {previous.version}: {error}"
        if self.champion is not None:
            failed = "the champion" if wanted is None else f"version {wanted.version}"
            serving = f"serving version {self.champion.version}"
            self._health.report("model", f"{failed} cannot be loaded, {serving}: see the log")
            if why != self.load_error:
                self._alert(f"{serving}: {why}")
        self.load_error = why

    def _alert(self, reason: str) -> None:
        alert = {"kind": "model", "reasons": [reason]}
        try:
            raise_once(alert, self._root / ALERTS, self._webhook)
        except OSError as error:  # a full disk: the previous model is served nevertheless
            logger.error("the alert was not written: %s", error.strerror)

    def _refresh_challenger(self) -> None:
        if not self._experiment.name or self._experiment.model != "challenger":
            return
        wanted: ModelVersion | None = None
        try:
            wanted = find_challenger(self._root)
            if wanted is None or (self.champion and wanted.version == self.champion.version):
                self.challenger = None
            elif self.challenger is None or self.challenger.source != wanted:
                if not self._challenger_retry.is_due(wanted):
                    return
                self.challenger = self._catalogue.refreshed(self._loader.load(wanted))
                logger.info("version %s is served to the treatment arm", wanted.version)
        except Exception as error:  # the champion or the challenger in service goes on
            self._challenger_retry.failed(wanted)
            if "challenger" not in self._health.problems:
                logger.error("cannot load the challenger: %s: %s", type(error).__name__, error)
            self._health.report("challenger", "it cannot be loaded: see the log")
            return
        self._health.report("challenger", None)
