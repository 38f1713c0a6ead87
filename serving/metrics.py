"""Prometheus metrics of the endpoint, over all workers.

BentoML sets PROMETHEUS_MULTIPROC_DIR before it imports a service, which is when this is imported.
BentoML's own request series are switched off: they are labelled with the raw path, which would
put user ids into them and grow without bound. Here the label is the route.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)
from prometheus_client.metrics_core import Metric

__all__ = ["CONTENT_TYPE_LATEST", "exposition"]

LIST_SECONDS = tuple(500e-6 * 1.25**n for n in range(45))
"""Upper edges of the histogram of a canary's lists, 0.5 ms to 9 s."""

_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)

REQUESTS = Histogram(
    "bowerbird_request_seconds",
    "seconds from a request to its response",
    ["route", "status"],
    buckets=_BUCKETS,
)
STAGES = Histogram(
    "bowerbird_stage_seconds",
    "seconds of one stage: page, a recommendation after a cache miss; rank and rules, of a batch",
    ["stage"],
    buckets=_BUCKETS,
)
STAGE = {name: STAGES.labels(name) for name in ("page", "rank", "rules")}
CACHED = Counter("bowerbird_cached_recommendations", "recommendations served from the cache")
FALLBACKS = Counter(
    "bowerbird_fallback_pages",
    "recommendations with items of a fallback, by its source",
    ["source"],
)
CANDIDATES = Counter(
    "bowerbird_candidates", "candidates proposed to the ranker, by model", ["model"]
)
COVERAGE = Gauge(
    "bowerbird_catalogue_coverage",
    "share of the catalogue recommended since the model was loaded; the highest of the workers",
    multiprocess_mode="max",
)
BATCH = Histogram(
    "bowerbird_batch_size", "requests computed in one batch", buckets=(1, 2, 4, 8, 16, 32, 64)
)
RECOMMENDATIONS = Counter(
    "bowerbird_recommendations",
    "responses of /recommend, by the source of the first item",
    ["source"],
)
ITEMS = Counter("bowerbird_recommended_items", "items recommended", ["source"])
COLD = Counter("bowerbird_cold_recommendations", "recommendations for an empty history")
CANARY_LISTS = Counter(
    "bowerbird_canary_lists",
    "lists computed during a canary, by arm; failed: without an item of the model",
    ["canary", "arm", "result"],
)
CANARY_SECONDS = Histogram(
    "bowerbird_canary_list_seconds",
    "seconds in which a list was ranked, by arm of a canary",
    ["canary", "arm"],
    buckets=LIST_SECONDS,
)
SHADOW_LISTS = Counter(
    "bowerbird_shadow_lists",
    "lists of the challenger that no shopper sees; dropped: it was busy",
    ["version", "result"],
)
SHADOW_OVERLAP = Histogram(
    "bowerbird_shadow_overlap",
    "share of the shown products that the challenger lists too",
    ["version"],
    buckets=tuple(n / 10 for n in range(11)),
)
SHADOW_SECONDS = Histogram(
    "bowerbird_shadow_seconds",
    "seconds in which a list was ranked by the challenger in the shadow, and by what was served",
    ["version", "of"],
    buckets=LIST_SECONDS,
)
CONVERSATION = Counter("bowerbird_conversation", "replies of the conversation", ["kind"])
WORDED = Counter(
    "bowerbird_worded", "sentences of the language model that words replies", ["result"]
)
EVENTS = Counter("bowerbird_events", "feedback events", ["event", "result"])
UNKNOWN_ITEMS = Counter(
    "bowerbird_unknown_item_events", "feedback events of an id that is no product, which are kept"
)
REFUSED = Counter("bowerbird_refused", "requests and connections refused", ["why"])
CONNECTIONS = Gauge("bowerbird_connections", "open connections", multiprocess_mode="livesum")
IMPRESSIONS_DROPPED = Counter(
    "bowerbird_impressions_dropped", "impressions shown but not logged", ["why"]
)
WITHOUT_STORE = Counter(
    "bowerbird_answers_without_store",
    "recommendations from profiles in memory while the event store is down",
)
STORE_DOWN = Gauge(
    "bowerbird_store_down",
    "1 while a worker cannot reach the event store",
    multiprocess_mode="livemax",
)
STORE_BYTES = Gauge("bowerbird_store_bytes", "size of the event store", multiprocess_mode="livemax")
SWAPS = Counter("bowerbird_model_loads", "model versions loaded into service", ["result"])
LOADED = Gauge(
    "bowerbird_model_loaded_timestamp_seconds",
    "when the served model was loaded",
    multiprocess_mode="mostrecent",
)
PENDING = Gauge(
    "bowerbird_events_pending", "rows queued for the event store", multiprocess_mode="livesum"
)


DEGRADED = Gauge(
    "bowerbird_degraded",
    "1 while a part is damaged or cannot be loaded, so that an older one or none is served",
    ["part"],
    multiprocess_mode="livemax",
)


@cache
def _answer_counters(source: str, sources: tuple[tuple[str, int], ...]) -> tuple[Any, ...]:
    return (
        RECOMMENDATIONS.labels(source),
        tuple((ITEMS.labels(name), count) for name, count in sources),
    )


def count_answer(source: str, sources: tuple[tuple[str, int], ...], cold: bool) -> None:
    """Count one recommendation. sources: how many of its items came from each."""
    answers, items = _answer_counters(source, sources)
    answers.inc()
    for counter, count in items:
        counter.inc(count)
    if cold:
        COLD.inc()


def forget_dead_workers() -> None:
    """Remove the gauges of workers that crashed; their counters stay."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return
    for file in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            multiprocess.mark_process_dead(pid)


def collected() -> Iterable[Metric]:
    """Return all metrics, summed over the workers."""
    return _registry().collect()


def exposition() -> bytes:
    """Return all metrics in the Prometheus text format, summed over the workers."""
    return generate_latest(_registry())


def _registry() -> CollectorRegistry:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return registry
