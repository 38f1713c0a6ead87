"""Contains all the data models used in inputs/outputs"""

from .canary_status import CanaryStatus
from .canary_status_decisions_item import CanaryStatusDecisionsItem
from .canary_status_evidence_type_0 import CanaryStatusEvidenceType0
from .categories_response import CategoriesResponse
from .categories_response_categories_item import CategoriesResponseCategoriesItem
from .change_estimate import ChangeEstimate
from .conversation_request import ConversationRequest
from .conversation_response import ConversationResponse
from .conversation_state import ConversationState
from .conversation_state_level_type_0 import ConversationStateLevelType0
from .days_request import DaysRequest
from .erase_response import EraseResponse
from .erased_place import ErasedPlace
from .error_response import ErrorResponse
from .estimate_request import EstimateRequest
from .estimate_request_drafts import EstimateRequestDrafts
from .estimate_response import EstimateResponse
from .estimate_row import EstimateRow
from .experiments_response import ExperimentsResponse
from .experiments_response_experiments_item import ExperimentsResponseExperimentsItem
from .experiments_response_uplift_type_0 import ExperimentsResponseUpliftType0
from .export_response import ExportResponse
from .export_response_attributes_item import ExportResponseAttributesItem
from .export_response_erasures_item import ExportResponseErasuresItem
from .export_response_events_item import ExportResponseEventsItem
from .export_response_exposures_item import ExportResponseExposuresItem
from .export_response_history_item import ExportResponseHistoryItem
from .export_response_impressions_item import ExportResponseImpressionsItem
from .export_response_tables_item import ExportResponseTablesItem
from .exposure_response import ExposureResponse
from .exposure_share import ExposureShare
from .facet_value import FacetValue
from .facets_request import FacetsRequest
from .facets_request_attributes import FacetsRequestAttributes
from .facets_response import FacetsResponse
from .feedback_batch import FeedbackBatch
from .feedback_event import FeedbackEvent
from .feedback_event_event import FeedbackEventEvent
from .feedback_response import FeedbackResponse
from .field_problem import FieldProblem
from .gain_estimate import GainEstimate
from .history_event import HistoryEvent
from .history_response import HistoryResponse
from .hold_request import HoldRequest
from .holds import Holds
from .holds_days_item import HoldsDaysItem
from .holds_promotions_type_0 import HoldsPromotionsType0
from .item_update import ItemUpdate
from .item_update_attributes_type_0 import ItemUpdateAttributesType0
from .items_request import ItemsRequest
from .items_response import ItemsResponse
from .job import Job
from .job_state import JobState
from .model_response import ModelResponse
from .model_response_limits import ModelResponseLimits
from .page_request import PageRequest
from .page_response import PageResponse
from .page_token import PageToken
from .preview import Preview
from .preview_request import PreviewRequest
from .preview_request_drafts import PreviewRequestDrafts
from .preview_response import PreviewResponse
from .preview_shopper import PreviewShopper
from .promote_request import PromoteRequest
from .range_ import Range
from .range_facet import RangeFacet
from .range_facet_type import RangeFacetType
from .recommend_request import RecommendRequest
from .recommend_request_attributes import RecommendRequestAttributes
from .recommend_request_page import RecommendRequestPage
from .recommend_response import RecommendResponse
from .recommend_response_sources_type_0 import RecommendResponseSourcesType0
from .rerank_request import RerankRequest
from .rerank_response import RerankResponse
from .rule import Rule
from .rule_action import RuleAction
from .rule_changes import RuleChanges
from .rule_entry import RuleEntry
from .rule_request import RuleRequest
from .rules_response import RulesResponse
from .scored_item import ScoredItem
from .scored_item_attributes import ScoredItemAttributes
from .scored_item_evidence_type_0 import ScoredItemEvidenceType0
from .search_request import SearchRequest
from .search_request_attributes import SearchRequestAttributes
from .search_response import SearchResponse
from .session_request import SessionRequest
from .session_response import SessionResponse
from .shelf import Shelf
from .shelf_attributes import ShelfAttributes
from .similar_request import SimilarRequest
from .similar_request_attributes import SimilarRequestAttributes
from .similar_response import SimilarResponse
from .status_response import StatusResponse
from .status_response_activity_item import StatusResponseActivityItem
from .status_response_alerts_item import StatusResponseAlertsItem
from .status_response_drift_type_0 import StatusResponseDriftType0
from .status_response_events_today import StatusResponseEventsToday
from .status_response_problems import StatusResponseProblems
from .status_response_shadow_type_0 import StatusResponseShadowType0
from .status_response_surfaces_item import StatusResponseSurfacesItem
from .status_response_unknown_items_item import StatusResponseUnknownItemsItem
from .status_response_validation_type_0 import StatusResponseValidationType0
from .status_response_versions_item import StatusResponseVersionsItem
from .store_status import StoreStatus
from .store_status_dropped import StoreStatusDropped
from .timeline_entry import TimelineEntry
from .timeline_entry_evidence import TimelineEntryEvidence
from .timeline_response import TimelineResponse
from .user_update import UserUpdate
from .user_update_attributes import UserUpdateAttributes
from .users_request import UsersRequest
from .users_response import UsersResponse
from .values_facet import ValuesFacet
from .values_facet_type import ValuesFacetType

__all__ = (
    "CanaryStatus",
    "CanaryStatusDecisionsItem",
    "CanaryStatusEvidenceType0",
    "CategoriesResponse",
    "CategoriesResponseCategoriesItem",
    "ChangeEstimate",
    "ConversationRequest",
    "ConversationResponse",
    "ConversationState",
    "ConversationStateLevelType0",
    "DaysRequest",
    "EraseResponse",
    "ErasedPlace",
    "ErrorResponse",
    "EstimateRequest",
    "EstimateRequestDrafts",
    "EstimateResponse",
    "EstimateRow",
    "ExperimentsResponse",
    "ExperimentsResponseExperimentsItem",
    "ExperimentsResponseUpliftType0",
    "ExportResponse",
    "ExportResponseAttributesItem",
    "ExportResponseErasuresItem",
    "ExportResponseEventsItem",
    "ExportResponseExposuresItem",
    "ExportResponseHistoryItem",
    "ExportResponseImpressionsItem",
    "ExportResponseTablesItem",
    "ExposureResponse",
    "ExposureShare",
    "FacetValue",
    "FacetsRequest",
    "FacetsRequestAttributes",
    "FacetsResponse",
    "FeedbackBatch",
    "FeedbackEvent",
    "FeedbackEventEvent",
    "FeedbackResponse",
    "FieldProblem",
    "GainEstimate",
    "HistoryEvent",
    "HistoryResponse",
    "HoldRequest",
    "Holds",
    "HoldsDaysItem",
    "HoldsPromotionsType0",
    "ItemUpdate",
    "ItemUpdateAttributesType0",
    "ItemsRequest",
    "ItemsResponse",
    "Job",
    "JobState",
    "ModelResponse",
    "ModelResponseLimits",
    "PageRequest",
    "PageResponse",
    "PageToken",
    "Preview",
    "PreviewRequest",
    "PreviewRequestDrafts",
    "PreviewResponse",
    "PreviewShopper",
    "PromoteRequest",
    "Range",
    "RangeFacet",
    "RangeFacetType",
    "RecommendRequest",
    "RecommendRequestAttributes",
    "RecommendRequestPage",
    "RecommendResponse",
    "RecommendResponseSourcesType0",
    "RerankRequest",
    "RerankResponse",
    "Rule",
    "RuleAction",
    "RuleChanges",
    "RuleEntry",
    "RuleRequest",
    "RulesResponse",
    "ScoredItem",
    "ScoredItemAttributes",
    "ScoredItemEvidenceType0",
    "SearchRequest",
    "SearchRequestAttributes",
    "SearchResponse",
    "SessionRequest",
    "SessionResponse",
    "Shelf",
    "ShelfAttributes",
    "SimilarRequest",
    "SimilarRequestAttributes",
    "SimilarResponse",
    "StatusResponse",
    "StatusResponseActivityItem",
    "StatusResponseAlertsItem",
    "StatusResponseDriftType0",
    "StatusResponseEventsToday",
    "StatusResponseProblems",
    "StatusResponseShadowType0",
    "StatusResponseSurfacesItem",
    "StatusResponseUnknownItemsItem",
    "StatusResponseValidationType0",
    "StatusResponseVersionsItem",
    "StoreStatus",
    "StoreStatusDropped",
    "TimelineEntry",
    "TimelineEntryEvidence",
    "TimelineResponse",
    "UserUpdate",
    "UserUpdateAttributes",
    "UsersRequest",
    "UsersResponse",
    "ValuesFacet",
    "ValuesFacetType",
)
