from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.canary_status import CanaryStatus
    from ..models.holds import Holds
    from ..models.status_response_activity_item import StatusResponseActivityItem
    from ..models.status_response_alerts_item import StatusResponseAlertsItem
    from ..models.status_response_drift_type_0 import StatusResponseDriftType0
    from ..models.status_response_events_today import StatusResponseEventsToday
    from ..models.status_response_problems import StatusResponseProblems
    from ..models.status_response_shadow_type_0 import StatusResponseShadowType0
    from ..models.status_response_surfaces_item import StatusResponseSurfacesItem
    from ..models.status_response_unknown_items_item import StatusResponseUnknownItemsItem
    from ..models.status_response_validation_type_0 import StatusResponseValidationType0
    from ..models.status_response_versions_item import StatusResponseVersionsItem
    from ..models.store_status import StoreStatus


T = TypeVar("T", bound="StatusResponse")


@_attrs_define
class StatusResponse:
    """The last 24 hours of the store, and what the pipeline last reported.

    Attributes:
        activity (list[StatusResponseActivityItem]): of each hour: start, impressions, events by kind, and followed: the
            events that named an impression
        alerts (list[StatusResponseAlertsItem]): the open alerts, newest first: kind, subject, reason, opened, last,
            count
        drift (None | StatusResponseDriftType0): the newest verdict; page: its report's path below /reports
        events_pending (int):
        events_today (StatusResponseEventsToday):
        holds (Holds): What the operator or the monitoring holds back.
        impressions_dropped (int):
        impressions_today (int):
        reports (str): prefix of links to reports, valid for a few minutes
        store (StoreStatus): State of the event store, as this worker sees it.
        surfaces (list[StatusResponseSurfacesItem]): what came of the lists by their place in the shop: surface,
            impressions, followed and bought (lists that an event, that a purchase named)
        unknown_item_events (int): events of ids that are no products of the model in service: they are kept, and count
            only once a product has the id
        unknown_items (list[StatusResponseUnknownItemsItem]): the ids of most of them: item_id, events
        validation (None | StatusResponseValidationType0): reports/validation.json
        canary (CanaryStatus | None | Unset): null: a promoted version serves all shoppers at once
        problems (StatusResponseProblems | Unset): degraded parts: damaged or not loaded; served without them or with
            older ones
        shadow (None | StatusResponseShadowType0 | Unset): the challenger in the background: version, lists made, failed
            and dropped, overlap with what was shown, p95_seconds of both; null: none runs
        versions (list[StatusResponseVersionsItem] | Unset): registered model versions, newest first, with their aliases
    """

    activity: list[StatusResponseActivityItem]
    alerts: list[StatusResponseAlertsItem]
    drift: StatusResponseDriftType0 | None
    events_pending: int
    events_today: StatusResponseEventsToday
    holds: Holds
    impressions_dropped: int
    impressions_today: int
    reports: str
    store: StoreStatus
    surfaces: list[StatusResponseSurfacesItem]
    unknown_item_events: int
    unknown_items: list[StatusResponseUnknownItemsItem]
    validation: StatusResponseValidationType0 | None
    canary: CanaryStatus | Unset | None = UNSET
    problems: StatusResponseProblems | Unset = UNSET
    shadow: StatusResponseShadowType0 | Unset | None = UNSET
    versions: list[StatusResponseVersionsItem] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.canary_status import CanaryStatus
        from ..models.status_response_drift_type_0 import StatusResponseDriftType0
        from ..models.status_response_shadow_type_0 import StatusResponseShadowType0
        from ..models.status_response_validation_type_0 import StatusResponseValidationType0

        activity = []
        for activity_item_data in self.activity:
            activity_item = activity_item_data.to_dict()
            activity.append(activity_item)

        alerts = []
        for alerts_item_data in self.alerts:
            alerts_item = alerts_item_data.to_dict()
            alerts.append(alerts_item)

        drift: dict[str, Any] | None
        if isinstance(self.drift, StatusResponseDriftType0):
            drift = self.drift.to_dict()
        else:
            drift = self.drift

        events_pending = self.events_pending

        events_today = self.events_today.to_dict()

        holds = self.holds.to_dict()

        impressions_dropped = self.impressions_dropped

        impressions_today = self.impressions_today

        reports = self.reports

        store = self.store.to_dict()

        surfaces = []
        for surfaces_item_data in self.surfaces:
            surfaces_item = surfaces_item_data.to_dict()
            surfaces.append(surfaces_item)

        unknown_item_events = self.unknown_item_events

        unknown_items = []
        for unknown_items_item_data in self.unknown_items:
            unknown_items_item = unknown_items_item_data.to_dict()
            unknown_items.append(unknown_items_item)

        validation: dict[str, Any] | None
        if isinstance(self.validation, StatusResponseValidationType0):
            validation = self.validation.to_dict()
        else:
            validation = self.validation

        canary: dict[str, Any] | Unset | None
        if isinstance(self.canary, Unset):
            canary = UNSET
        elif isinstance(self.canary, CanaryStatus):
            canary = self.canary.to_dict()
        else:
            canary = self.canary

        problems: dict[str, Any] | Unset = UNSET
        if not isinstance(self.problems, Unset):
            problems = self.problems.to_dict()

        shadow: dict[str, Any] | Unset | None
        if isinstance(self.shadow, Unset):
            shadow = UNSET
        elif isinstance(self.shadow, StatusResponseShadowType0):
            shadow = self.shadow.to_dict()
        else:
            shadow = self.shadow

        versions: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.versions, Unset):
            versions = []
            for versions_item_data in self.versions:
                versions_item = versions_item_data.to_dict()
                versions.append(versions_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "activity": activity,
                "alerts": alerts,
                "drift": drift,
                "events_pending": events_pending,
                "events_today": events_today,
                "holds": holds,
                "impressions_dropped": impressions_dropped,
                "impressions_today": impressions_today,
                "reports": reports,
                "store": store,
                "surfaces": surfaces,
                "unknown_item_events": unknown_item_events,
                "unknown_items": unknown_items,
                "validation": validation,
            }
        )
        if canary is not UNSET:
            field_dict["canary"] = canary
        if problems is not UNSET:
            field_dict["problems"] = problems
        if shadow is not UNSET:
            field_dict["shadow"] = shadow
        if versions is not UNSET:
            field_dict["versions"] = versions

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.canary_status import CanaryStatus
        from ..models.holds import Holds
        from ..models.status_response_activity_item import StatusResponseActivityItem
        from ..models.status_response_alerts_item import StatusResponseAlertsItem
        from ..models.status_response_drift_type_0 import StatusResponseDriftType0
        from ..models.status_response_events_today import StatusResponseEventsToday
        from ..models.status_response_problems import StatusResponseProblems
        from ..models.status_response_shadow_type_0 import StatusResponseShadowType0
        from ..models.status_response_surfaces_item import StatusResponseSurfacesItem
        from ..models.status_response_unknown_items_item import StatusResponseUnknownItemsItem
        from ..models.status_response_validation_type_0 import StatusResponseValidationType0
        from ..models.status_response_versions_item import StatusResponseVersionsItem
        from ..models.store_status import StoreStatus

        d = dict(src_dict)
        activity = []
        _activity = d.pop("activity")
        for activity_item_data in _activity:
            activity_item = StatusResponseActivityItem.from_dict(activity_item_data)

            activity.append(activity_item)

        alerts = []
        _alerts = d.pop("alerts")
        for alerts_item_data in _alerts:
            alerts_item = StatusResponseAlertsItem.from_dict(alerts_item_data)

            alerts.append(alerts_item)

        def _parse_drift(data: object) -> StatusResponseDriftType0 | None:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                drift_type_0 = StatusResponseDriftType0.from_dict(data)

                return drift_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | StatusResponseDriftType0, data)

        drift = _parse_drift(d.pop("drift"))

        events_pending = d.pop("events_pending")

        events_today = StatusResponseEventsToday.from_dict(d.pop("events_today"))

        holds = Holds.from_dict(d.pop("holds"))

        impressions_dropped = d.pop("impressions_dropped")

        impressions_today = d.pop("impressions_today")

        reports = d.pop("reports")

        store = StoreStatus.from_dict(d.pop("store"))

        surfaces = []
        _surfaces = d.pop("surfaces")
        for surfaces_item_data in _surfaces:
            surfaces_item = StatusResponseSurfacesItem.from_dict(surfaces_item_data)

            surfaces.append(surfaces_item)

        unknown_item_events = d.pop("unknown_item_events")

        unknown_items = []
        _unknown_items = d.pop("unknown_items")
        for unknown_items_item_data in _unknown_items:
            unknown_items_item = StatusResponseUnknownItemsItem.from_dict(unknown_items_item_data)

            unknown_items.append(unknown_items_item)

        def _parse_validation(data: object) -> StatusResponseValidationType0 | None:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                validation_type_0 = StatusResponseValidationType0.from_dict(data)

                return validation_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | StatusResponseValidationType0, data)

        validation = _parse_validation(d.pop("validation"))

        def _parse_canary(data: object) -> CanaryStatus | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                canary_type_0 = CanaryStatus.from_dict(data)

                return canary_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(CanaryStatus | None | Unset, data)

        canary = _parse_canary(d.pop("canary", UNSET))

        _problems = d.pop("problems", UNSET)
        problems: StatusResponseProblems | Unset
        if isinstance(_problems, Unset):
            problems = UNSET
        else:
            problems = StatusResponseProblems.from_dict(_problems)

        def _parse_shadow(data: object) -> StatusResponseShadowType0 | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                shadow_type_0 = StatusResponseShadowType0.from_dict(data)

                return shadow_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | StatusResponseShadowType0 | Unset, data)

        shadow = _parse_shadow(d.pop("shadow", UNSET))

        _versions = d.pop("versions", UNSET)
        versions: list[StatusResponseVersionsItem] | Unset = UNSET
        if _versions is not UNSET:
            versions = []
            for versions_item_data in _versions:
                versions_item = StatusResponseVersionsItem.from_dict(versions_item_data)

                versions.append(versions_item)

        status_response = cls(
            activity=activity,
            alerts=alerts,
            drift=drift,
            events_pending=events_pending,
            events_today=events_today,
            holds=holds,
            impressions_dropped=impressions_dropped,
            impressions_today=impressions_today,
            reports=reports,
            store=store,
            surfaces=surfaces,
            unknown_item_events=unknown_item_events,
            unknown_items=unknown_items,
            validation=validation,
            canary=canary,
            problems=problems,
            shadow=shadow,
            versions=versions,
        )

        status_response.additional_properties = d
        return status_response

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
