"""The models in service, with hot reload.

In: the pointer files of champion and challenger, and the rollout, which names the version that
serves all shoppers and the one in its canary. Out: the model that a request is answered by. A
changed file takes effect without a restart: the new model is loaded in parallel and replaces
the old one by one assignment, so every request is answered by one complete model. Where the
champion cannot be loaded, the model in service stays, else the previous champion is loaded.
"""

from __future__ import annotations

import gc
import logging
import threading
from contextlib import suppress
from pathlib import Path

from components.alerts import raise_alert, resolve_alerts
from components.rollout import read_rollout
from components.settings import Settings
from serving import metrics
from serving.arms import POPULAR, TREATMENT, Exposure, arm_of, draw, holdout_of
from serving.health import Health
from serving.models.assignment import Assignment
from serving.models.catalogue_refresh import CatalogueRefresh
from serving.models.loaded import LoadedModel, NotReady
from serving.models.loader import ModelLoader
from serving.models.retry import Retry
from serving.models.versions import (
    ModelVersion,
    find_challenger,
    find_champion,
    find_release,
    find_served,
    previous_champion,
)
from serving.recommend.ranking import Ranking

logger = logging.getLogger("bentoml.bowerbird")

BY = "endpoint"
"""In the timeline."""


class ModelStore:
    """The models of one worker; ``refresh`` loads what changed on disk.

    champion: serves all shoppers, during a canary those outside it. follows_rollout: the endpoint
    has canaries. has_holdout: some shoppers get popular products (``serve.uplift``). load_error:
    why the newest champion is not in service, None if it is.
    """

    def __init__(
        self,
        settings: Settings,
        root: Path,
        loader: ModelLoader,
        catalogue: CatalogueRefresh,
        ranking: Ranking,
        health: Health,
        follows_rollout: bool = False,
        has_holdout: bool = False,
    ) -> None:
        self.champion: LoadedModel | None = None
        self.challenger: LoadedModel | None = None
        self.canary: LoadedModel | None = None
        self.load_error: str | None = None
        self._canary_name = ""
        self._follows_rollout = follows_rollout
        self._has_holdout = has_holdout
        self._serve = settings.serve
        self._experiment = settings.serve.experiment
        self._may_be_open = {"champion": True, "canary": True}  # alerts, also of a worker before
        self._root = root
        self._loader = loader
        self._catalogue = catalogue
        self._ranking = ranking
        self._health = health
        self._champion_retry = Retry()
        self._challenger_retry = Retry()
        self._canary_retry = Retry()
        self._refreshing = threading.Lock()

    def current(self) -> LoadedModel:
        """Return the champion.

        Raises:
            NotReady: none is loaded yet.
        """
        if self.champion is None:
            raise NotReady(self.load_error or "the model is being loaded")
        return self.champion

    @property
    def is_randomised(self) -> bool:
        """Whether shoppers are drawn: for an A/B test, a canary or the holdout."""
        return bool(self._experiment.name) or self._has_holdout or self.canary is not None

    def assign(self, profile: str | None, canary: bool = False) -> Assignment:
        """Return the model that serves a shopper, and the arms; None: a shopper who is in none.

        canary: the caller can answer by the champion where the canary fails.

        Raises:
            NotReady: none is loaded yet.
        """
        champion, tried, name = self.current(), self.canary, self._canary_name
        if profile is None:
            return Assignment(champion)
        exposures: list[Exposure] = []
        if self._has_holdout:
            exposures.append(holdout_of(self._serve.uplift, profile))
            if exposures[0].arm == POPULAR:
                return Assignment(champion, popular=True, exposures=tuple(exposures))
        arm_name = None
        experiment, challenger = self._experiment, self.challenger
        if experiment.name and (experiment.model == "champion" or challenger is not None):
            arm_name = arm_of(experiment, profile)
            exposures.append(Exposure(experiment.name, arm_name))
            if experiment.model == "challenger" and arm_name == TREATMENT:
                assert challenger is not None
                return Assignment(challenger, arm_name, exposures=tuple(exposures))
        if tried is None or not canary:
            return Assignment(champion, arm_name, exposures=tuple(exposures))
        drawn = draw(name, self._serve.canary.share, profile)
        loaded = tried if drawn.arm == TREATMENT else champion
        return Assignment(loaded, arm_name, False, drawn, (*exposures, drawn))

    def is_in_canary(self, version: str) -> bool:
        """Return whether this worker serves a version as the canary."""
        return self.canary is not None and self.canary.version == version

    def in_service(self) -> list[LoadedModel]:
        """Return the models in service."""
        models = (self.champion, self.canary, self.challenger)
        return [one for one in models if one is not None]

    def refresh(self) -> None:
        """Load the models and the products where they changed."""
        with self._refreshing:
            self._refresh_champion()
            self._refresh_canary()
            self._refresh_challenger()
            if self.champion is not None:
                self.champion = self._catalogue.refreshed(self.champion)
            if self.canary is not None:
                self.canary = self._catalogue.refreshed(self.canary)
            if self.challenger is not None:
                self.challenger = self._catalogue.refreshed(self.challenger)
            used = {n for one in self.in_service() for n in (one.number, one.trained_number)}
            self._ranking.keep_only(used)

    def _refresh_champion(self) -> None:
        wanted: ModelVersion | None = None
        try:
            wanted = self._find_champion()
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
        self._resolve("champion", f"version {wanted.version} is in service")

    def _find_champion(self) -> ModelVersion:
        return find_served(self._root)[0] if self._follows_rollout else find_champion(self._root)

    def _replace_champion(self, source: ModelVersion) -> None:
        if self.canary is not None and self.canary.source == source:  # it takes over
            self._make_current(self.canary)
        else:
            self._make_current(self._catalogue.refreshed(self._loader.load(source)))
        gc.freeze()  # a collection over a million products' objects would stall all requests
        metrics.SWAPS.labels("done").inc()
        metrics.LOADED.set_to_current_time()
        logger.info("serving model version %s", source.version)

    def _make_current(self, loaded: LoadedModel) -> None:
        loaded.facets.read_columns()  # requests for facets are answered by the champion alone
        self.champion = loaded

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
                self._alert("champion", f"{serving}: {why}")
        self.load_error = why

    def _alert(self, which: str, reason: str) -> None:
        self._may_be_open[which] = True
        try:
            raise_alert(self._root, "model", {which: reason}, BY)
        except OSError as error:  # a full disk: the previous model is served nevertheless
            logger.error("the alert was not written: %s", error.strerror)

    def _resolve(self, which: str, why: str) -> None:
        """Resolve the alert of a model that this worker could not load, or a worker before it."""
        if not self._may_be_open[which]:
            return
        with suppress(OSError):  # a full disk: at the next look
            resolve_alerts(self._root, "model", why, BY, [which])
            self._may_be_open[which] = False

    def _refresh_canary(self) -> None:
        """Load the version in its canary; while it cannot be loaded, the champion serves all."""
        if not self._follows_rollout:
            return
        wanted: ModelVersion | None = None
        try:
            rollout = read_rollout(self._root)
            running = rollout.canary if rollout else None
            wanted = find_release(self._root, running.release) if running else None
            name = running.name if running else ""
            if name != self._canary_name:  # that one ended
                self.canary, self._canary_name = None, name
            if running is not None and wanted is None:
                raise FileNotFoundError(f"the folder of version {running.release.version} is gone")
            if wanted is not None and (self.canary is None or self.canary.source != wanted):
                if not self._canary_retry.is_due(wanted):
                    return
                self.canary = self._catalogue.refreshed(self._loader.load(wanted))
                gc.freeze()
        except Exception as error:  # whatever is wrong with it, the champion serves all
            self.canary = None
            self._canary_retry.failed(wanted)
            if "canary version" not in self._health.problems:
                reason = f"the canary cannot be loaded, the champion serves all: {error}"
                logger.error("%s", reason)
                self._alert("canary", reason)
            self._health.report("canary version", "it cannot be loaded: see the log")
            return
        self._health.report("canary version", None)
        serves = f"version {wanted.version} is in its canary" if wanted else "no canary runs"
        self._resolve("canary", serves)

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
