"""The state of the policy: a weighted mean of text vectors."""

from __future__ import annotations

import numpy as np

from components.data.dataset import Histories
from components.recommenders.models.off_policy.state import mean_of_past


def test_newer_events_weigh_more_and_an_empty_history_is_zero() -> None:
    text = np.eye(3, dtype=np.float32)
    found = mean_of_past(Histories.from_lists([[0, 1], [], [2]]), text, 0.5)
    np.testing.assert_allclose(found, [[1 / 3, 2 / 3, 0], [0, 0, 0], [0, 0, 1]], rtol=1e-6)
