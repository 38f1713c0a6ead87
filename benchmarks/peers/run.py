"""One peer's fit and lists, run by its own Python: see benchmarks/side_by_side, speed.py and audit.

    python run.py PEER data.npz out.npz '{"epochs": 3, ...}'

data.npz: what ``common.write_train`` wrote, everything that a model may learn from; ``listed``, the
users to make lists for (default: all), ``exclude_seen`` (default: true). out.npz: see
``common.measured``.
"""

from __future__ import annotations

import importlib
import sys

import numpy as np
from common import measured, options_of, read_train

PEERS = {
    "als": "implicit_peers.ALS",
    "bm25": "implicit_peers.BM25",
    "warp": "lightfm_peers.WARP",
    "rectools": "rectools_peers.SASRec",
    "esasrec": "rectools_peers.ESASRec",
    "ease": "rectools_peers.EASE",
    "popular": "rectools_peers.Popular",
    "recbole": "recbole_peers.SASRec",
    "lenskit_items": "lenskit_peers.ItemKNN",
    "lenskit_users": "lenskit_peers.UserKNN",
    "lenskit_als": "lenskit_peers.ALS",
    "bpr": "cornac_peers.BPR",
}


def main() -> None:
    name, data, out, options = sys.argv[1:5]
    sys.argv = sys.argv[:1]  # RecBole reads options there
    arrays = np.load(data)
    train = read_train(arrays)
    module, _, kind = PEERS[name].partition(".")
    peer = getattr(importlib.import_module(module), kind)(**options_of(options))
    users = arrays["listed"] if "listed" in arrays else np.arange(train.n_users)
    exclude_seen = bool(arrays["exclude_seen"]) if "exclude_seen" in arrays else True
    np.savez(out, **measured(peer, train, users, exclude_seen))


if __name__ == "__main__":
    main()
