from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.export_response_attributes_item import ExportResponseAttributesItem
    from ..models.export_response_erasures_item import ExportResponseErasuresItem
    from ..models.export_response_events_item import ExportResponseEventsItem
    from ..models.export_response_exposures_item import ExportResponseExposuresItem
    from ..models.export_response_history_item import ExportResponseHistoryItem
    from ..models.export_response_impressions_item import ExportResponseImpressionsItem
    from ..models.export_response_tables_item import ExportResponseTablesItem


T = TypeVar("T", bound="ExportResponse")


@_attrs_define
class ExportResponse:
    """All that is kept of a user or a session. Times of the store's rows are microseconds since
    1970, UTC.

        Attributes:
            attributes (list[ExportResponseAttributesItem]): put by PUT /users
            erasures (list[ExportResponseErasuresItem]): records of earlier erasures
            events (list[ExportResponseEventsItem]):
            exposures (list[ExportResponseExposuresItem]): experiments, and the arm of each
            history (list[ExportResponseHistoryItem]): the user's training data in the models in service
            impressions (list[ExportResponseImpressionsItem]): recommendations that were shown
            tables (list[ExportResponseTablesItem]): rows of the exported files and of the pipeline's tables on this machine
    """

    attributes: list[ExportResponseAttributesItem]
    erasures: list[ExportResponseErasuresItem]
    events: list[ExportResponseEventsItem]
    exposures: list[ExportResponseExposuresItem]
    history: list[ExportResponseHistoryItem]
    impressions: list[ExportResponseImpressionsItem]
    tables: list[ExportResponseTablesItem]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        attributes = []
        for attributes_item_data in self.attributes:
            attributes_item = attributes_item_data.to_dict()
            attributes.append(attributes_item)

        erasures = []
        for erasures_item_data in self.erasures:
            erasures_item = erasures_item_data.to_dict()
            erasures.append(erasures_item)

        events = []
        for events_item_data in self.events:
            events_item = events_item_data.to_dict()
            events.append(events_item)

        exposures = []
        for exposures_item_data in self.exposures:
            exposures_item = exposures_item_data.to_dict()
            exposures.append(exposures_item)

        history = []
        for history_item_data in self.history:
            history_item = history_item_data.to_dict()
            history.append(history_item)

        impressions = []
        for impressions_item_data in self.impressions:
            impressions_item = impressions_item_data.to_dict()
            impressions.append(impressions_item)

        tables = []
        for tables_item_data in self.tables:
            tables_item = tables_item_data.to_dict()
            tables.append(tables_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "attributes": attributes,
                "erasures": erasures,
                "events": events,
                "exposures": exposures,
                "history": history,
                "impressions": impressions,
                "tables": tables,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.export_response_attributes_item import ExportResponseAttributesItem
        from ..models.export_response_erasures_item import ExportResponseErasuresItem
        from ..models.export_response_events_item import ExportResponseEventsItem
        from ..models.export_response_exposures_item import ExportResponseExposuresItem
        from ..models.export_response_history_item import ExportResponseHistoryItem
        from ..models.export_response_impressions_item import ExportResponseImpressionsItem
        from ..models.export_response_tables_item import ExportResponseTablesItem

        d = dict(src_dict)
        attributes = []
        _attributes = d.pop("attributes")
        for attributes_item_data in _attributes:
            attributes_item = ExportResponseAttributesItem.from_dict(attributes_item_data)

            attributes.append(attributes_item)

        erasures = []
        _erasures = d.pop("erasures")
        for erasures_item_data in _erasures:
            erasures_item = ExportResponseErasuresItem.from_dict(erasures_item_data)

            erasures.append(erasures_item)

        events = []
        _events = d.pop("events")
        for events_item_data in _events:
            events_item = ExportResponseEventsItem.from_dict(events_item_data)

            events.append(events_item)

        exposures = []
        _exposures = d.pop("exposures")
        for exposures_item_data in _exposures:
            exposures_item = ExportResponseExposuresItem.from_dict(exposures_item_data)

            exposures.append(exposures_item)

        history = []
        _history = d.pop("history")
        for history_item_data in _history:
            history_item = ExportResponseHistoryItem.from_dict(history_item_data)

            history.append(history_item)

        impressions = []
        _impressions = d.pop("impressions")
        for impressions_item_data in _impressions:
            impressions_item = ExportResponseImpressionsItem.from_dict(impressions_item_data)

            impressions.append(impressions_item)

        tables = []
        _tables = d.pop("tables")
        for tables_item_data in _tables:
            tables_item = ExportResponseTablesItem.from_dict(tables_item_data)

            tables.append(tables_item)

        export_response = cls(
            attributes=attributes,
            erasures=erasures,
            events=events,
            exposures=exposures,
            history=history,
            impressions=impressions,
            tables=tables,
        )

        export_response.additional_properties = d
        return export_response

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
