"""The data sets: the same training data, users, targets and exclusion rule for every contender.

In: a shop's folder with ``data/prepared``, or a folder as ``benchmarks.leave_one_out`` has. Out:
``Data``, and the file that the peers' adapters read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.leave_one_out import HYBRID, chosen_settings, read
from benchmarks.peers.common import Train, write_train
from components.data.dataset import Catalogue, Interactions, load_prepared
from components.data.holdout import Task, Window, window_task
from components.evaluation.protocol import leave_one_out_task, some_users
from components.recommenders.inputs import INPUTS
from components.settings import Settings, load_settings

WINDOWS: tuple[Window, Window] = ("validation", "test")
Protocol = Literal["time", "leave-one-out"]


@dataclass(frozen=True)
class Split:
    """train: everything that may be learned from. task: users with a history, all of it in
    ``train``, and their targets."""

    train: Interactions
    task: Task


@dataclass(frozen=True)
class Data:
    """A data set with its two windows.

    exclude_seen: whether lists leave out what a user had before. ranked: the targets that our
    ranker learns from, those of the validation window. members: our hybrid's candidates. inputs:
    the folder of the files that they read.
    """

    name: str
    protocol: Protocol
    catalogue: Catalogue
    settings: Settings
    exclude_seen: bool
    splits: dict[Window, Split]
    ranked: Task
    members: Sequence[str]
    inputs: Path

    def summary(self) -> dict[str, object]:
        """Return what the page says of the data."""
        return {
            "protocol": self.protocol,
            "exclude_seen": self.exclude_seen,
            "items": len(self.catalogue),
            **{
                window: {"events": len(split.train), "users": len(split.task.users)}
                for window, split in self.splits.items()
            },
        }


def load(folder: Path, most_users: int = 0) -> Data:
    """Return the data set of a folder.

    most_users: of a window, drawn at random; 0: all.

    Raises:
        SystemExit: the folder has neither ``data/prepared`` nor ``interactions.parquet``, or
            has events that exclude their items without speaking for them.
    """
    if (folder / "data/prepared").exists():
        return of_shop(folder, most_users)
    if not (folder / "interactions.parquet").exists():
        raise SystemExit(
            f"{folder} has neither data/prepared (run `dvc repro encode inputs` there) nor "
            "interactions.parquet with user_id, item_id and position"
        )
    return of_sequences(folder, most_users)


def of_shop(root: Path, most_users: int) -> Data:
    """Return a shop split by time; its settings and its rule for seen items are its own."""
    settings = load_settings(root / "params.yaml")
    vectors = root / "models/vectors"  # only the hybrid and models of texts read them
    prepared = load_prepared(root / "data/prepared", vectors if vectors.exists() else None)
    exclude = settings.train.exclude_seen
    starts = {"validation": prepared.validation_start, "test": prepared.test_start}
    splits: dict[Window, Split] = {}
    for window in WINDOWS:
        train = prepared.interactions.where(prepared.interactions.times < starts[window])
        task = some_users(window_task(prepared, window, exclude), most_users, 0)
        splits[window] = Split(train, known(task, train))
    return checked(
        Data(
            root.resolve().name,
            "time",
            prepared.catalogue,
            settings,
            exclude,
            splits,
            window_task(prepared, "validation", exclude),
            settings.train.names,
            root / INPUTS,
        )
    )


def of_sequences(folder: Path, most_users: int) -> Data:
    """Return the data of ``benchmarks.leave_one_out`` with the models that were chosen there.

    The models of the test window learn from the validation items, too (the form "with").
    """
    x, catalogue = read(folder)
    splits: dict[Window, Split] = {}
    for window, back in (("validation", 2), ("test", 1)):
        train, task = leave_one_out_task(x, back)
        splits[window] = Split(train, known(some_users(task, most_users, 0), train))
    return checked(
        Data(
            folder.resolve().name,
            "leave-one-out",
            catalogue,
            chosen_settings(load_settings()),
            True,
            splits,
            leave_one_out_task(x, 2)[1],
            HYBRID,
            folder / INPUTS,
        )
    )


def known(task: Task, train: Interactions) -> Task:
    """Return the task of the users with an event to learn from: no peer has lists for others."""
    rows = np.flatnonzero(np.isin(task.users, train.counted().users))
    return Task(task.users[rows], task.histories.pick(rows), task.targets[rows])


def checked(data: Data) -> Data:
    """Return the data.

    Raises:
        SystemExit: an item is excluded that its user never liked (a dislike), which the peers'
            files cannot say.
    """
    for window, split in data.splits.items():
        histories = split.task.histories
        excluded = histories.where(histories.excluded(data.exclude_seen)).seen(len(data.catalogue))
        liked = split.train.counted().matrix()[split.task.users].sign()
        missing = (excluded - excluded.multiply(liked)).tocsr()
        missing.eliminate_zeros()
        if missing.nnz:
            row = np.flatnonzero(np.diff(missing.indptr))[0]
            raise SystemExit(
                f"{data.name}: user {split.task.users[row]} has an item before the {window} window "
                "that is excluded but not learned from (a dislike), which the peers cannot be "
                "given. Choose a shop without such events."
            )
    return data


def train_of(split: Split) -> Train:
    """Return what a peer may learn from, in order of user and time."""
    x = split.train.counted()
    places = np.arange(len(x)) - x.offsets[x.users]
    return Train(x.users, x.items, places, x.n_users, x.n_items)


def export(data: Data, window: Window, file: Path) -> None:
    """Write the file that every peer's adapter reads for a window."""
    split = data.splits[window]
    file.parent.mkdir(parents=True, exist_ok=True)
    write_train(file, train_of(split), listed=split.task.users, exclude_seen=data.exclude_seen)
