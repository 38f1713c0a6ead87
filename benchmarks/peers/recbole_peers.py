"""A model of RecBole, through its configuration, data preparation and trainer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from common import Scores, Train
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.trainer import Trainer
from recbole.utils import get_model


class SASRec(Scores):
    """SASRec (Kang and McAuley 2018) with cross-entropy over all items.

    ``codes`` are RecBole's item codes by ours, 0 of unknown items, which have the score of its
    padding.
    """

    def __init__(
        self,
        dimensions: int,
        layers: int,
        heads: int,
        dropout: float,
        learning_rate: float,
        max_length: int,
        epochs: int,
        threads: int = 1,
    ) -> None:
        torch.set_num_threads(threads)
        self.max_length = max_length
        self.config = {
            "loss_type": "CE",
            "train_neg_sample_args": None,
            "MAX_ITEM_LIST_LENGTH": max_length,
            "epochs": epochs,
            "learning_rate": learning_rate,
            "n_layers": layers,
            "n_heads": heads,
            "hidden_size": dimensions,
            "inner_size": 4 * dimensions,
            "hidden_dropout_prob": dropout,
            "attn_dropout_prob": dropout,
        }

    def prepare(self, train: Train) -> None:
        self.train = train
        folder = Path("shop").absolute()
        folder.mkdir(parents=True, exist_ok=True)
        # RecBole always holds something back: one more event for each user, which it never learns.
        users = np.unique(train.users)
        last = np.full(len(users), train.places.max() + 1)
        table = pd.DataFrame(
            {
                "user_id:token": np.append(train.users, users),
                "item_id:token": np.append(train.items, np.resize(train.items, len(users))),
                "timestamp:float": np.append(train.places, last),
            }
        )
        table.to_csv(folder / "shop.inter", sep="\t", index=False)
        torch.manual_seed(0)
        config = Config(
            model="SASRec",
            dataset="shop",
            config_dict={
                "data_path": str(folder.parent),
                "checkpoint_dir": str(folder),
                "use_gpu": False,
                "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
                "show_progress": False,
                "eval_args": {
                    "split": {"LS": "valid_only"},
                    "order": "TO",
                    "mode": "full",
                    "group_by": "user",
                },
                **self.config,
            },
        )
        data = create_dataset(config)
        self.batches, *_ = data_preparation(config, data)
        self.model = get_model("SASRec")(config, self.batches.dataset)
        self.trainer = Trainer(config, self.model)
        self.codes = np.zeros(train.n_items, dtype=np.int64)
        tokens = data.field2id_token["item_id"]
        self.codes[tokens[1:].astype(int)] = np.arange(1, len(tokens))

    def fit(self) -> None:
        self.trainer.fit(self.batches, valid_data=None, saved=False, show_progress=False)

    def scores(self, users: np.ndarray) -> np.ndarray:
        self.model.eval()
        with torch.no_grad():
            scores = self.model.full_sort_predict(self._histories(users)).view(len(users), -1)
        found = scores.numpy()[:, self.codes]
        found[:, self.codes == 0] = -np.inf
        return found

    def save(self, folder: Path) -> None:
        torch.save(self.model.state_dict(), folder / "model.pth")

    def _histories(self, users: np.ndarray) -> Interaction:
        """Return what the model reads of users."""
        offsets = self.train.offsets()
        rows = np.zeros((len(users), self.max_length), dtype=np.int64)
        lengths = np.minimum(np.diff(offsets)[users], self.max_length)
        for row, (user, length) in enumerate(zip(users, lengths, strict=True)):
            stop = offsets[user + 1]
            rows[row, :length] = self.codes[self.train.items[stop - length : stop]]
        lists = {"item_id_list": torch.from_numpy(rows), "item_length": torch.from_numpy(lengths)}
        return Interaction(lists)
