"""The models and lists that are audited, learned as ``benchmarks.leave_one_out`` learns them.

In: interactions, a catalogue and a folder for fitted models. Out: models, the ranker's tables, and
``Learned``, the digests and lists that the checks compare.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.audit.rankers import Table
from benchmarks.audit.targets import Learned, digest
from benchmarks.leave_one_out import fitted
from components.arrays import Int64Array
from components.data.dataset import Catalogue, Interactions
from components.data.holdout import Task
from components.evaluation.protocol import leave_one_out_task
from components.recommenders.base import Recommender
from components.recommenders.two_stage.hybrid import Hybrid
from components.recommenders.two_stage.ranker import Ranker
from components.settings import Settings


@dataclass(frozen=True)
class Shop:
    """Data, and where its models are kept.

    members: names of the hybrid's models. place: of fitted models, ``without`` and ``with`` the
    validation items. users: int64, ascending, those whose validation items the ranker learns from
    and whose test items are ranked; None: all. Models learn from all users.
    """

    x: Interactions
    catalogue: Catalogue
    settings: Settings
    members: Sequence[str]
    place: Path
    users: Int64Array | None = None

    @cached_property
    def validation(self) -> tuple[Interactions, Task]:
        """What the models of the form without learn from, and the ranker's training task."""
        train, task = leave_one_out_task(self.x, 2)
        return train, self._of_users(task)

    @cached_property
    def test(self) -> tuple[Interactions, Task]:
        """What the models of the form with learn from, and the test task."""
        train, task = leave_one_out_task(self.x, 1)
        return train, self._of_users(task)

    def _of_users(self, task: Task) -> Task:
        if self.users is None:
            return task
        rows = np.flatnonzero(np.isin(task.users, self.users))
        return Task(task.users[rows], task.histories.pick(rows), task.targets[rows])

    def models(self, form: str) -> dict[str, Recommender]:
        """Return the fitted models of a form, ``without`` or ``with``."""
        train = self.validation[0] if form == "without" else self.test[0]
        return fitted(list(self.members), self.settings, train, self.catalogue, self.place / form)

    def hybrid(self, form: str, ranker: Ranker | None = None) -> Hybrid:
        """Return the hybrid of a form, with item statistics of what its models learned from."""
        train = self.validation[0] if form == "without" else self.test[0]
        model = Hybrid(self.settings.rank, self.models(form), ranker, self.settings.seed)
        return model.fit(train, self.catalogue)

    @cached_property
    def training(self) -> Table:
        """The ranker's training data: the validation users' candidates."""
        return Table.of(self.hybrid("without"), self.validation[1].histories)

    @cached_property
    def ranker(self) -> Ranker:
        """The hybrid's ranker."""
        return self.training.fit(self.validation[1].targets, self.settings.rank, self.settings.seed)

    def learned(self) -> Learned:
        """Return digests of all that the form without learned, and its lists of the test users."""
        train, task = self.validation
        _, test = self.test
        models = self.models("without")
        hybrid = self.hybrid("without", self.ranker)
        inputs = (train.users, train.items, train.times, task.targets.indices)
        digests = {
            "training data": digest(*inputs, task.histories.items, task.histories.offsets),
            "test histories": digest(test.histories.items, test.histories.offsets),
            "item statistics": digest(hybrid.item_statistics),
            "ranker": digest(self.ranker.booster.model_to_string().encode()),
        }
        for name in self.members:
            file = self.place / "without" / name / "model.safetensors"
            digests[name] = digest(file.read_bytes())
        found = {"hybrid": hybrid, **models}
        lists = {name: model.recommend(test.histories, 10)[0] for name, model in found.items()}
        return Learned(test, digests, lists)

    def take_models(self, other: Shop, names: Sequence[str]) -> None:
        """Copy models that ``other`` fitted on the same data, instead of fitting them again.

        Raises:
            ValueError: the data differs, so that the models have to be fitted.
        """
        ours, theirs = (
            digest(one.validation[0].users, one.validation[0].items, one.validation[0].times)
            for one in (self, other)
        )
        if ours != theirs:
            raise ValueError(
                f"{', '.join(names)}: the training data of {self.place} and {other.place} differ, "
                "so the models must be fitted again: leave them out of --kept"
            )
        for name in names:
            source, target = (one.place / "without" / name for one in (other, self))
            shutil.copytree(source, target, dirs_exist_ok=True)
