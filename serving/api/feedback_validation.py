"""Validation of feedback: its user, time, product and impression.

In: a ``Caller`` and its events. Out: rows as ``EventStore.submit`` takes them, or a refusal that
names the field. The events are ``schemas.FeedbackEvent``, which bounds their quantity, price and
time. With the shop's key, each of them that the pipeline's validation would keep is accepted.
Without it, only recent ones are, and with a session token only those of its own shopper.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from time import time_ns
from typing import Any

from components.clock import CLIENT_CLOCK_SKEW
from components.settings import Settings
from serving.api.auth import Auth, Caller
from serving.api.middleware import Refused
from serving.api.schemas import FeedbackEvent
from serving.events.quotas import FeedbackQuotas, ShopperQuotas
from serving.events.tables import SECOND, profile_of


@dataclass(frozen=True)
class ValidFeedback:
    """unknown_impressions: ids that the shop named and the endpoint did not give out; the events
    are kept without them."""

    rows: list[dict[str, Any]]
    unknown_impressions: list[str]


class FeedbackValidator:
    """Validates the feedback of one endpoint."""

    def __init__(self, settings: Settings, auth: Auth) -> None:
        self.auth = auth
        self.oldest = int(settings.serve.max_event_age_hours * 3600 * SECOND)
        self.client_skew = int(CLIENT_CLOCK_SKEW.total_seconds() * SECOND)
        rules = settings.validate_
        earliest = datetime.fromisoformat(rules.min_timestamp)
        if earliest.tzinfo is None:
            earliest = earliest.replace(tzinfo=UTC)
        self.earliest = int(earliest.timestamp() * SECOND)
        codes = [re.compile(code, re.IGNORECASE) for code in rules.non_product_codes]

        @lru_cache(50_000)
        def is_product(item_id: str) -> bool:
            return not any(code.fullmatch(item_id) for code in codes)

        self._is_product = is_product
        has_key = auth.keys.api is not None
        serve = settings.serve
        self._quotas = FeedbackQuotas(serve.max_client_events if has_key else 0)
        self._shoppers = ShopperQuotas(serve.max_feedback_shoppers if has_key else 0)

    def validate(
        self, caller: Caller, events: Sequence[FeedbackEvent], place: str = ""
    ) -> ValidFeedback:
        """Return the rows of the events; refuse all of them for one that is wrong.

        place: what stands before a field's name in a refusal, with ``{}`` for the event's number.
        """
        if not caller.is_shop:
            purchases = sum(event.event == "purchase" for event in events)
            if not self._quotas.allows(caller.client, purchases, len(events) - purchases):
                raise Refused(
                    429,
                    "too many events of one client today (serve.max_client_events)",
                    retry_after=3600,
                )
        now = time_ns() // 1000
        rows, unknown = [], []
        for number, event in enumerate(events):
            row, is_known = self._row(caller, event, now, place.format(number))
            if not is_known:
                unknown.append(str(event.impression_id))
            rows.append(row)
        self._check_shopper(caller)
        return ValidFeedback(rows, list(dict.fromkeys(unknown)))

    def _check_shopper(self, caller: Caller) -> None:
        """Refuse the feedback of one more anonymous shopper of a client than it may have today.

        A session for a named user is issued to the shop's key alone, so it is not counted.
        """
        if caller.authentication != "session" or caller.user_id is not None:
            return
        if not self._shoppers.allows(caller.client, f"session:{caller.session_id}"):
            raise Refused(
                429,
                "too many shoppers of one client sent feedback today "
                "(serve.max_feedback_shoppers); with the shop's key there is no such limit",
                retry_after=3600,
            )

    def _row(
        self, caller: Caller, event: FeedbackEvent, now: int, place: str
    ) -> tuple[dict[str, Any], bool]:
        """Return the event's row, and whether its impression is known, if it names one."""
        user, session = event.user_id, event.session_id
        if caller.authentication == "session":
            user, session = self._own(caller, user, session, place)
        profile = profile_of(user, session)
        if profile is None:
            raise Refused(
                422, "user_id or session_id is needed: whose event is it?", place[:-1] or "body"
            )
        if not self._is_product(event.item_id):
            raise Refused(
                422, "names no product: see validate.non_product_codes", f"{place}item_id"
            )
        row = {**event.__dict__, "user_id": user, "session_id": session}
        row["client"], row["authentication"] = caller.client, caller.kept_as
        row["timestamp"] = self._moment(caller, event.timestamp, now, place)
        if not caller.is_shop:
            # Event ids are scoped by profile, so that no client can use up another's ids.
            row["event_id"] = scoped(event.event_id, profile)
        is_known = True
        if event.impression_id is not None:
            owners = {profile, f"client:{caller.client}"}
            owners.update(
                f"session:{one}" for one in (session, caller.session_id) if one is not None
            )
            is_known = self.auth.is_impression_of(event.impression_id, owners)
            if not is_known:
                if not caller.is_shop:
                    raise Refused(
                        422,
                        "no impression of this sender has this id: name the one of the answer",
                        f"{place}impression_id",
                    )
                row["impression_id"] = None
        return row, is_known

    @staticmethod
    def _own(
        caller: Caller, user: str | None, session: str | None, place: str
    ) -> tuple[str | None, str | None]:
        """Return the token's user and session; refuse another's."""
        if user not in (None, caller.user_id):
            raise Refused(403, "the session token is not this user's", f"{place}user_id")
        if session not in (None, caller.session_id):
            raise Refused(403, "the session token is not this session's", f"{place}session_id")
        return caller.user_id, caller.session_id

    def _moment(self, caller: Caller, given: datetime | None, now: int, place: str) -> int:
        """Return microseconds since 1970."""
        if given is None:
            return now
        moment = int(given.timestamp() * SECOND)
        field = f"{place}timestamp"
        if moment < self.earliest:
            raise Refused(422, "lies before validate.min_timestamp", field)
        if not caller.is_shop and moment < now - self.oldest:
            hours = self.oldest / 3600 / SECOND
            raise Refused(422, f"an event {hours:g} h old needs the shop's key", field)
        if not caller.is_shop and moment > now + self.client_skew:
            raise Refused(422, "an event in the future needs the shop's key", field)
        return moment


def scoped(event_id: str, profile: str) -> str:
    """Return the stored id of a client's event: another profile's event has another."""
    return blake2b(f"{profile}\0{event_id}".encode(), digest_size=16, person=b"event").hexdigest()
