"""Merchandising rules on their way to the ranking process."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import Any

from serving.filters.conditions import TRUE, AnyOf, Condition, Not


@dataclass(frozen=True)
class Step:
    """What is done for one rule. revision: of the rule, for the log of impressions.

    action: pin, boost, bury, exclude, cap, share, objective or exposure. condition: on products.
    by: of cap and objective, as in a ``Condition``. amount: the position of pin, the weight of
    boost (below 0 of bury) and of objective, the most of cap, the share of share, and by how much
    exposure moves the products now.
    """

    revision: int
    action: str
    condition: Condition
    items: tuple[str, ...] = ()
    by: str = ""
    amount: float = 0.0


@dataclass(frozen=True)
class Steps:
    """The steps of a request, the one that wins a conflict first.

    They are sent as bytes that are made once, since requests with the same steps are many.
    """

    all: tuple[Step, ...] = ()

    @cached_property
    def excluded(self) -> Condition:
        """The condition that keeps excluded products out."""
        found = tuple(one.condition for one in self.all if one.action == "exclude")
        return Not(AnyOf(found)) if found else TRUE

    @cached_property
    def exclusions(self) -> Steps:
        """The steps that exclude products, alone."""
        return Steps(tuple(one for one in self.all if one.action == "exclude"))

    @cached_property
    def arranges(self) -> bool:
        """Whether a step changes the order of a list."""
        return any(one.action != "exclude" and one.amount for one in self.all)

    @cached_property
    def _pickled(self) -> bytes:
        return pickle.dumps(self.all, pickle.HIGHEST_PROTOCOL)

    @cached_property
    def key(self) -> bytes:
        """Return a digest, b"" without steps."""
        return blake2b(self._pickled, digest_size=16).digest() if self.all else b""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_unpickled, (self._pickled,)) if self.all else (Steps, ())

    @cached_property
    def uncounted(self) -> Steps:
        """The steps of lists that are no impressions: those of exposure cannot count them."""
        return Steps(tuple(one for one in self.all if one.action != "exposure"))

    @classmethod
    def of(cls, steps: Iterable[Step]) -> Steps:
        return cls(tuple(steps))


@lru_cache(256)
def _unpickled(pickled: bytes) -> Steps:
    # Made by __reduce__ above, in this process or in the one that started it: see ``frames``.
    return Steps(pickle.loads(pickled))  # nosec B301


NO_STEPS = Steps()
