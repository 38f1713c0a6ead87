"""The policy's gradient weights, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from components.data.dataset import Histories
from components.data.impressions import Log
from components.recommenders.base import MISSING
from components.recommenders.models.off_policy.trainer import Trainer
from components.recommenders.models.popularity import Popularity
from components.settings import Policy as PolicySettings
from components.settings import Popularity as PopularitySettings


def test_the_correction_is_that_of_the_paper() -> None:
    settings = PolicySettings(k=3, cap=4.0)
    one = Log(
        Histories.from_lists([[0]]),
        np.array([[1, 2, MISSING]], dtype=np.int32),
        np.array([[0.5, 0.01, np.nan]]),
        np.array([[1.0, 2.0, 0.0]]),
    )
    chances = torch.tensor([[0.2, 0.1, 1.0]])
    expected = [0.2 / 0.5 * 3 * 0.8**2 * 1.0, 4.0 * 3 * 0.9**2 * 2.0, 0.0]  # the second is capped
    found = Trainer(settings, 0, Popularity(PopularitySettings()))._correction(chances, one)
    assert found.numpy()[0] == pytest.approx(expected)
    settings = settings.model_copy(update={"correction": "off_policy"})
    found = Trainer(settings, 0, Popularity(PopularitySettings()))._correction(chances, one)
    assert found.numpy()[0] == pytest.approx([0.4, 8.0, 0.0])
