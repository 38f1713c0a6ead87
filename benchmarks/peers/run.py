"""One peer's fit and lists, run by the peers' own Python: see benchmarks/speed.py and audit.

    python run.py PEER data.npz out.npz '{"epochs": 3, ...}'

data.npz: users, items, places (events,) in order of (user, place), everything a model may learn
from. out.npz: ids (users, 10) of every user in order, what they had left out, and the seconds of
the fit by the clock and of the processor.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np


def clocks():  # type: ignore[no-untyped-def]
    return np.array([time.perf_counter(), time.process_time()])


def als(users, items, places, o):  # type: ignore[no-untyped-def]
    import scipy.sparse as sp
    from implicit.als import AlternatingLeastSquares

    matrix = sp.csr_matrix((np.ones(len(users), dtype=np.float32), (users, items)))
    model = AlternatingLeastSquares(
        factors=o["dimensions"], iterations=o["epochs"], alpha=o["confidence"],
        regularization=o["regularisation"], num_threads=o["threads"], random_state=0,
    )  # fmt: skip
    began = clocks()
    model.fit(matrix, show_progress=False)
    seconds = clocks() - began
    ids, _ = model.recommend(np.arange(matrix.shape[0]), matrix, N=10)
    return ids, seconds


def fitted_by_rectools(model, users, items, places):  # type: ignore[no-untyped-def]
    import pandas as pd
    from rectools.dataset import Dataset

    when = pd.Timestamp("2020-01-01") + pd.to_timedelta(places, "D")
    table = pd.DataFrame({"user_id": users, "item_id": items, "weight": 1.0, "datetime": when})
    data = Dataset.construct(table)
    began = clocks()
    model.fit(data)
    seconds = clocks() - began
    found = model.recommend(np.unique(users), data, k=10, filter_viewed=True)
    ids = np.full((users.max() + 1, 10), -1)
    ids[found["user_id"], found["rank"] - 1] = found["item_id"]
    return ids, seconds


def rectools(users, items, places, o):  # type: ignore[no-untyped-def]
    import torch
    from rectools.models import SASRecModel

    torch.manual_seed(0)
    model = SASRecModel(
        n_blocks=o["layers"], n_heads=o["heads"], n_factors=o["dimensions"], loss="softmax",
        dropout_rate=o["dropout"], session_max_len=o["max_length"], lr=o["learning_rate"],
        epochs=o["epochs"],
    )  # fmt: skip
    return fitted_by_rectools(model, users, items, places)


def ease(users, items, places, o):  # type: ignore[no-untyped-def]
    from rectools.models import EASEModel

    model = EASEModel(regularization=o["regularisation"])
    return fitted_by_rectools(model, users, items, places)


def popular(users, items, places, o):  # type: ignore[no-untyped-def]
    from rectools.models import PopularModel

    return fitted_by_rectools(PopularModel(), users, items, places)


def recbole(users, items, places, o):  # type: ignore[no-untyped-def]
    import pandas as pd
    import torch
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.data.interaction import Interaction
    from recbole.model.sequential_recommender import SASRec
    from recbole.trainer import Trainer

    folder = Path("shop").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    # RecBole always holds something back: one more event for each user, which it never learns.
    n = users.max() + 1
    table = pd.DataFrame(
        {
            "user_id:token": np.append(users, np.arange(n)),
            "item_id:token": np.append(items, np.resize(items, n)),
            "timestamp:float": np.append(places, np.full(n, places.max() + 1)),
        }
    )
    table.to_csv(folder / "shop.inter", sep="\t", index=False)
    torch.manual_seed(0)
    sys.argv = sys.argv[:1]  # RecBole reads options there
    config = Config(
        model="SASRec",
        dataset="shop",
        config_dict={
            "data_path": str(folder.parent), "checkpoint_dir": str(folder), "use_gpu": False,
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "MAX_ITEM_LIST_LENGTH": o["max_length"], "epochs": o["epochs"],
            "learning_rate": o["learning_rate"], "n_layers": o["layers"], "n_heads": o["heads"],
            "hidden_size": o["dimensions"], "inner_size": 4 * o["dimensions"],
            "hidden_dropout_prob": o["dropout"], "attn_dropout_prob": o["dropout"],
            "loss_type": "CE", "train_neg_sample_args": None, "show_progress": False,
            "eval_args": {
                "split": {"LS": "valid_only"}, "order": "TO", "mode": "full", "group_by": "user"
            },
        },
    )  # fmt: skip
    data = create_dataset(config)
    train, *_ = data_preparation(config, data)
    model = SASRec(config, train.dataset)
    trainer = Trainer(config, model)
    began = clocks()
    trainer.fit(train, valid_data=None, saved=False, show_progress=False)
    seconds = clocks() - began
    codes = np.zeros(items.max() + 1, dtype=np.int64)  # ours to theirs
    tokens = data.field2id_token["item_id"]
    codes[tokens[1:].astype(int)] = np.arange(1, len(tokens))
    theirs = np.append(-1, tokens[1:].astype(int))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(users))])
    ids = np.full((n, 10), -1)
    model.eval()
    with torch.no_grad():
        for user in range(n):
            past = items[offsets[user] : offsets[user + 1]]
            newest = codes[past[-o["max_length"] :]]
            padded = np.pad(newest, (0, o["max_length"] - len(newest)))
            asked = Interaction(
                {
                    "item_id_list": torch.from_numpy(padded)[None],
                    "item_length": torch.tensor([len(newest)]),
                }
            )
            scores = model.full_sort_predict(asked).flatten()
            scores[0] = scores[torch.from_numpy(codes[past])] = -torch.inf
            ids[user] = theirs[torch.topk(scores, 10).indices.numpy()]
    return ids, seconds


if __name__ == "__main__":
    peer, data, out, options = sys.argv[1:5]
    options = json.loads(options)
    arrays = np.load(data)
    runs = {"als": als, "rectools": rectools, "recbole": recbole, "ease": ease, "popular": popular}
    run = runs[peer]
    ids, seconds = run(arrays["users"], arrays["items"], arrays["places"], options)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    np.savez(out, ids=ids, seconds=seconds, peak=peak)
