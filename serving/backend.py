"""What the routes of one worker share: event store, profiles, models, recommendations, health."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from components.data.event_kinds import EventKinds
from components.data.sources.spelling import ItemSpelling
from components.language.writer import FillsSchema, open_writer
from components.notifications import deliver
from components.settings import Settings
from serving import PACKAGED, metrics
from serving.canary.control import CanaryControl
from serving.events.errors import StoreError
from serving.events.exposures import ExposureLog
from serving.events.last_known import LastKnown
from serving.events.quotas import ImpressionQuotas, ShopperQuotas
from serving.events.retention import Retention
from serving.events.store import EventStore
from serving.filters.expression import schema_of
from serving.health import Health
from serving.languages import check_setting
from serving.merchandising.exposure_control import ExposureControl
from serving.merchandising.rulebook import RulebookReader
from serving.models.catalogue_refresh import CatalogueRefresh
from serving.models.loader import ModelLoader
from serving.models.registry_watch import RegistryWatch
from serving.models.store import ModelStore
from serving.models.versions import IN_BENTO
from serving.periodic import Periodic
from serving.profiles.profiles import LiveProfiles
from serving.profiles.shared import SharedHistories
from serving.recommend.impressions import ImpressionLog
from serving.recommend.ranking import Ranking
from serving.recommend.service import RecommendationService
from serving.shadow import Shadow
from serving.uplift import UpliftMeasurement

SHADOW_NICENESS = 19
EXPOSURES_OF_PROFILE = 3
"""Arms that a shopper may be in at once: of an A/B test, a canary and the holdout."""


class Backend:
    """One worker's parts, put together.

    sign: makes an impression's id, see ``ImpressionLog``. has_api_key: an API key is set.
    single_process: the endpoint has no other worker. roll_back: tells the registry, in the
    background, that its champion was rolled back in its canary.
    """

    def __init__(
        self,
        settings: Settings,
        root: Path,
        sign: Callable[[str, str | None, str], str],
        has_api_key: bool = False,
        single_process: bool = False,
        roll_back: Callable[[str], None] = lambda version: None,
    ) -> None:
        serve = settings.serve
        check_setting(serve.language)
        self.settings = settings
        self.root = root
        self._spelling = ItemSpelling.of(settings.ingest)
        self.health = Health()
        self.store = EventStore(
            serve.events_url.get_secret_value(),
            root,
            single_process=single_process,
            retention=Retention(serve.retention),
            start_without_database=True,
            on_dropped=lambda reason, n: metrics.IMPRESSIONS_DROPPED.labels(reason).inc(n),
        )
        by_customer = serve.histories == "store"
        self.shared = SharedHistories(self.store) if by_customer else None
        self.live = LiveProfiles(
            self.store,
            serve.max_history,
            EventKinds.of(settings.preprocess),
            past=self.shared,
        )
        self.last_known = LastKnown()
        self.impressions = ImpressionLog(self.store, sign)
        self.exposures = ExposureLog(
            self.store.database, EXPOSURES_OF_PROFILE * self.live.max_profiles
        )
        self.impression_quotas = ImpressionQuotas(
            serve.max_impressions,
            serve.max_anonymous_impressions,
            has_key=has_api_key,
        )
        self.exposure_quotas = ShopperQuotas(serve.experiment.max_client_shoppers)
        self.writer = open_writer(serve, PACKAGED if IN_BENTO else root)
        reads = self.writer if serve.writer_reads and isinstance(self.writer, FillsSchema) else None
        self.ranking = Ranking(serve)
        self.uplift = UpliftMeasurement(serve.uplift, root, self.store.database, has_api_key)
        self.canary = CanaryControl(
            settings,
            root,
            self.store.database,
            self.health,
            has_api_key,
            lambda release: self.models.is_in_canary(release.version),
            roll_back,
        )
        # Apart from the ranking process, and always a process: the shadow must slow no answer.
        apart = serve.model_copy(update={"ranking": "process"})
        shadow_ranking = Ranking(apart, niceness=SHADOW_NICENESS)
        self.shadow = Shadow(
            serve,
            root,
            ModelLoader(settings, root, self.live, shadow_ranking, self.health, shared=self.shared),
            CatalogueRefresh(serve, self.store.database, shadow_ranking, self.health),
            shadow_ranking,
            self.health,
        )
        self.models = ModelStore(
            settings,
            root,
            ModelLoader(settings, root, self.live, self.ranking, self.health, reads, self.shared),
            CatalogueRefresh(serve, self.store.database, self.ranking, self.health),
            self.ranking,
            self.health,
            follows_rollout=self.canary.enabled,
            has_holdout=self.uplift.enabled,
        )
        schema = schema_of(settings)
        self.exposure = ExposureControl(self.store.database, schema)
        self.rulebook = RulebookReader(
            self.store.database, schema, self.health, self.exposure.offsets
        )
        self.recommendations = RecommendationService(
            *(settings, self.models, self.live, self.ranking, self.exposures),
            *(self.impressions, self.shadow, self.rulebook),
        )
        self.registry = RegistryWatch(serve, root, self.health)
        self._periodic = Periodic("looking for changes", self._look)
        # Apart: reading a canary's outcomes must not delay a new model or an erasure.
        self._judging = Periodic("judging canary and uplift", self._judge)
        # Apart, too: a service that does not answer must not delay a decision.
        self._alerting = Periodic("sending alerts", self._send_alerts)

    def load(self) -> None:
        """Load the champion, or the previous one where it is damaged.

        Raises:
            NotReady: there is no model that can be served.
        """
        self.ranking.watch()
        self.registry.wait_for_champion()
        self.rulebook.refresh()
        self.follow()
        self.models.current()

    def follow(self) -> None:
        """Follow the registry's pointers and the rollout, and load what changed."""
        self.canary.step()
        self.models.refresh()

    def start(self) -> None:
        """Begin to look for another champion, for erasures and for changed products."""
        self._periodic.start()
        self._judging.start()
        self._alerting.start()

    def close(self) -> None:
        """Stop looking, and write what is queued."""
        self._periodic.stop()
        self._judging.stop()
        self._alerting.stop()
        self.registry.close()
        self.recommendations.close()
        self.ranking.close()
        self.shadow.close()
        self.store.close()

    def item_id(self, item_id: str) -> str:
        """Return the id as the model in service has it, else as ingest would spell it."""
        champion = self.models.champion
        if champion is not None:
            return champion.profiles.item_id(item_id)
        return self._spelling.spellings(item_id)[0]

    def report_writer(self, problem: str | None) -> None:
        """Set what is wrong with the language model that words answers; None: nothing."""
        self.health.report("writer", problem)

    def problems(self) -> dict[str, str]:
        """Return which parts are degraded, the event store as of now: part → what is wrong."""
        # The thread that looks each second may be waiting for the store to answer.
        self.health.report("event store", self.store.problem())
        return self.health.problems

    def forget_erased(self) -> None:
        """Remove from memory the profiles that any worker erased since the last call."""
        if self.live.refresh_erasures():
            self.exposures.forget()
            for loaded in (*self.models.in_service(), *self.shadow.models):
                loaded.profiles.base.forget(self.live.erased_at)

    def _look(self) -> None:
        try:
            self.registry.step()
            self._watch_histories()
            self.ranking.watch()
            self.rulebook.refresh()
            self.models.refresh()
            if self.models.champion is not None:
                self.exposure.step(self.rulebook.book.rules, self.models.champion.engine)
            self.shadow.refresh()
            self.forget_erased()
            self._measure_store()
            if self.models.champion is not None:
                metrics.COVERAGE.set(self.models.champion.covered.mean())
        except StoreError:
            self._measure_store()  # the error was logged where it was raised

    def _watch_histories(self) -> None:
        """Take in versions whose histories came into the store, and report one that is missing."""
        champion = self.models.champion
        if self.shared is None or champion is None:
            return
        self.shared.watch()
        missing = champion.version not in self.shared.versions
        if missing and not len(champion.profiles.base):
            problem = (
                f"users' histories of version {champion.version} are not in the event store: "
                "bowerbird share-histories writes them where it was trained"
            )
            self.health.report("profiles", problem)
        elif not missing:
            self.health.report("profiles", None)

    def _judge(self) -> None:
        self.canary.step()
        self.uplift.step()

    def _send_alerts(self) -> None:
        deliver(self.root, self.settings)

    def _measure_store(self) -> None:
        metrics.PENDING.set(self.store.pending)
        metrics.STORE_DOWN.set(self.store.database.is_down)
        if self.store.retention is not None:
            metrics.STORE_BYTES.set(self.store.retention.used)
        self.health.report("event store", self.store.problem())
