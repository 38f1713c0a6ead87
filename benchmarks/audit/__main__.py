"""Audit of the leave-one-out figures, leaks hunted: benchmarks/results/audit_NAME.md.

    python -m benchmarks.audit ../shared/data/amazon-beauty-5core

Folder, protocol, models and forms are those of ``benchmarks.leave_one_out``; fitted models are
taken from its cache in ``var/benchmarks``. What is chosen (models and parameters, groups of
features, thresholds, seeds) is written to ``benchmarks/results/audit_NAME_choices.json`` before
the test items are read; where that file says something else, the audit stops.

Parts, each of which is computed once and kept in ``var/benchmarks/NAME/audit/FORMS-DIGEST``,
the digest of the choices and of ``--kept``:

- targets: each test item is replaced by one drawn from the items that the user does not have, and
  everything is learned again. Whatever differs has read them. The figures on these targets must be
  at chance. Models of ``--kept`` are not fitted again, if their training data is byte for byte the
  same; the part codes leaves them out.
- features: the ranker without groups of its features, on both forms.
- ids: whether ids ascend along sequences, and lists that follow the ids.
- codes: item codes in a random order, everything fitted again.
- ties: the newest two purchases of users in the other order (of one day where the data has
  timestamps, else of all users). The ranker is trained on one half of the users and judged on the
  other, because it learns from the second newest items.
- texts: near-duplicates between history and target.
- independent: the lists as files, evaluated by trec_eval.
- peer, with ``--peer PYTHON``: RecTools' models on the same files, and ours of the same definition.
  PYTHON has RecTools, see ``benchmarks/peers/requirements/rectools.txt``.
- seeds: rankers of other seeds over the same models.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from benchmarks.audit import independent, order, page, rankers, targets, texts
from benchmarks.audit.rankers import Table
from benchmarks.audit.shop import Shop
from benchmarks.leave_one_out import (
    CHOSEN,
    HYBRID,
    RANK,
    RESULTS,
    check_folder,
    chosen_settings,
    figures,
    mean,
    read,
    with_values,
)
from benchmarks.peers.environments import run_peer
from benchmarks.speed import export
from components.arrays import DoubleArray, Int64Array
from components.data.dataset import item_text
from components.evaluation.metrics import ndcg
from components.evaluation.protocol import paired_p_value
from components.recommenders.factory import build
from components.settings import load_settings

FORMS = ("without", "with")
PEERS: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "popularity (RecTools)": ("popular", "popularity", {}, {}),
    "EASE (RecTools)": (
        "ease",
        "ease",
        {"decay": 1.0},
        {"regularisation": CHOSEN["ease"]["regularisation"]},
    ),
}
"""Title: the peer's name in ``peers/run.py``, our model, what differs from ``CHOSEN`` to have the
same definition, and the peer's options."""
SEED = 1
"""Of the exchange of targets and of the order of codes."""


def choices(members: Sequence[str], seeds: Sequence[int], users: int) -> dict[str, Any]:
    """Return everything that is chosen before the test items are read."""
    return {
        "models": {name: CHOSEN[name] for name in members},
        "ranker": RANK,
        "groups of features": rankers.GROUPS,
        "headline's second line": "hybrid without what tells time",
        "near-duplicate": texts.THRESHOLDS,
        "leak at p below": targets.ALPHA,
        "seed of exchanges": SEED,
        "seeds of the ranker": list(seeds),
        "users, 0 for all": users,
    }


def written_down(chosen: dict[str, Any], file: Path) -> None:
    """Write the choices, or compare them with those that were written down before.

    Raises:
        SystemExit: they differ.
    """
    text = json.dumps(chosen, indent=1) + "\n"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    elif file.read_text() != text:
        raise SystemExit(f"{file} has other choices: delete it to choose again, and say so")


def drawn(n_users: int, users: int) -> Int64Array | None:
    """Return int64 (users,), ascending: users drawn at random; None, all, of 0."""
    if not users or users >= n_users:
        return None
    return np.sort(np.random.default_rng(SEED).choice(n_users, users, replace=False))


@dataclass(frozen=True)
class Audit:
    """The parts of the audit; each returns what JSON can hold.

    frame: the interactions as they are in the folder. columns: of the folder's files, by name.
    kept: models that are fitted only once. seeds: of the ranker. work: for what is computed.
    """

    shop: Shop
    frame: pd.DataFrame
    columns: dict[str, list[str]]
    forms: Sequence[str]
    kept: Sequence[str]
    seeds: Sequence[int]
    work: Path

    @cached_property
    def tables(self) -> dict[str, Table]:
        """The test users' candidates in each form."""
        histories = self.shop.test[1].histories
        return {form: Table.of(self.shop.hybrid(form), histories) for form in self.forms}

    def targets(self) -> dict[str, Any]:
        """Return what changes with other targets, and the figures on them."""
        other = replace(
            self.shop,
            x=targets.redrawn(self.shop.x, SEED),
            place=self.work / "redrawn",
        )
        if self.kept:
            other.take_models(self.shop, self.kept)
        changed, rows = targets.check(self.shop.learned(), other.learned())
        return {
            "changed": changed,
            "rows": rows,
            "kept": list(self.kept),
        }

    def features(self) -> list[dict[str, Any]]:
        """Return the figures of the ranker without groups of features, by form."""
        _, validation = self.shop.validation
        _, test = self.shop.test
        settings, seed, n = self.shop.settings.rank, self.shop.settings.seed, len(test.users)
        whole = {form: one.lists(self.shop.ranker, n) for form, one in self.tables.items()}
        rows = [
            {"without": "", "form": form, **figures(ids, test), "p": 1.0}
            for form, ids in whole.items()
        ]
        for name, group in rankers.GROUPS.items():
            fewer = self.shop.training.without(group)
            ranker = fewer.fit(validation.targets, settings, seed, like=self.shop.ranker)
            for form, table in self.tables.items():
                ids = table.without(group).lists(ranker, n)
                p = paired_p_value(*(ndcg(one, test.targets) for one in (whole[form], ids)))
                rows.append({"without": name, "form": form, **figures(ids, test), "p": p})
                print(rows[-1], flush=True)
        return rows

    def rare(self) -> list[dict[str, Any]]:
        """Return, by an item's events in the training data of the form without, the share of the
        test targets, of the listed items, and the figure of the users who bought such items."""
        train, test = self.shop.validation[0], self.shop.test[1]
        counts = np.bincount(train.items, minlength=train.n_items)
        ids = self.tables["without"].lists(self.shop.ranker, len(test.users))
        each = ndcg(ids, test.targets)
        wanted, listed = counts[test.targets.indices], counts[ids[ids >= 0]]
        rows = []
        for low, high in ((0, 0), (1, 2), (3, 4), (5, 9), (10, 10**9)):
            of_target, of_list, of_item = (
                (low <= one) & (one <= high) for one in (wanted, listed, counts)
            )
            rows.append(
                {
                    "events": f"{low} to {high}" if high < 10**9 else f"{low} and more",
                    "items": float(of_item.mean()),
                    "targets": float(of_target.mean()),
                    "listed": float(of_list.mean()),
                    "ndcg": float(each[of_target].mean()) if of_target.any() else float("nan"),
                }
            )
        return rows

    def ids(self) -> dict[str, Any]:
        """Return what the order of the ids says."""
        x, catalogue = self.shop.x, self.shop.catalogue
        by_id = np.argsort(np.argsort(catalogue.ids.astype(str)))
        orders = {"row in items.parquet": np.arange(x.n_items), "item id": by_id}
        train = self.shop.validation[0]
        rows = []
        for name, places in orders.items():
            near, n = order.ascending(train, places, 1)
            far, _ = order.ascending(train, places, order.FAR)
            rows.append({"order": name, "adjacent": near, "far": far, "pairs": n})
        return {"ascending": rows, "readers": order.readers(self.shop.test[1], orders)}

    def codes(self) -> list[dict[str, Any]]:
        """Return the figures under item codes in another order."""
        x, catalogue = self.shop.x, self.shop.catalogue
        members = [name for name in self.shop.members if name not in self.kept]
        ours = replace(self.shop, members=members)
        renamed, renamed_catalogue, _ = order.relabelled(x, catalogue, SEED)
        theirs = replace(
            ours, x=renamed, catalogue=renamed_catalogue, place=self.work / "relabelled"
        )
        first = ours.learned()
        second = theirs.learned()
        return order.same_figures(first.lists, ours.test[1], second.lists, theirs.test[1])

    def ties(self) -> dict[str, Any]:
        """Return the figures with the newest two purchases of (tied) users in a random order."""
        shop = self.shop
        _, validation = shop.validation
        _, test = shop.test
        known = order.days_tied(self.frame)
        tied = np.ones(shop.x.n_users, dtype=bool) if known is None else known
        other = replace(shop, x=order.swapped(shop.x, tied)).test[1]
        asked = (test, other)
        each: dict[str, list[DoubleArray]] = {}
        for name, model in shop.models("without").items():
            each[name] = [ndcg(model.recommend(one.histories, 10)[0], one.targets) for one in asked]
        hybrid = shop.hybrid("without")
        tables = [Table.of(hybrid, one.histories) for one in asked]
        found = [np.zeros(len(test.users)) for _ in asked]
        # A user's second newest item is a label of the ranker, and here a target too.
        half = np.random.default_rng(SEED).permutation(len(test.users)) % 2
        for part in (0, 1):
            rows, rest = np.flatnonzero(half == part), np.flatnonzero(half != part)
            places = np.flatnonzero(np.isin(validation.users, test.users[rest]))
            ranker = shop.training.of_users(places).fit(
                *(validation.targets[places], shop.settings.rank, shop.settings.seed),
                like=shop.ranker,
            )
            for values, table, one in zip(found, tables, asked, strict=True):
                ids = table.of_users(rows).lists(ranker, len(rows))
                values[rows] = ndcg(ids, one.targets[rows])
        each["hybrid, two halves"] = found
        rows_ = []
        for name, (given, swap) in each.items():
            rows_.append(
                {
                    "model": name,
                    "given": mean(given),
                    "swapped": mean(swap),
                    "shuffled": mean(order.shuffled(given, swap, tied[test.users])),
                    "p": paired_p_value(given, swap),
                }
            )
        return {
            "known": known is not None,
            "tied": float(tied.mean()),
            "rows": rows_,
        }

    def texts(self) -> dict[str, Any]:
        """Return figures without the users whose target nearly repeats their history, and what of
        the folder was read."""
        _, test = self.shop.test
        similarity = texts.nearest(self.shop.catalogue.table["title"].tolist(), test)
        found = {}
        for form, table in self.tables.items():
            ids = table.lists(self.shop.ranker, len(test.users))
            found[form] = texts.rows(ndcg(ids, test.targets), similarity)
        table = self.shop.catalogue.table
        titles = table["title"].str.lower().str.strip().tolist()
        alone = [one.strip() for one in item_text(table)] == titles
        return {"rows": found, "titles alone": alone, "columns": self.columns}

    def independent(self) -> list[dict[str, Any]]:
        """Return the figures of trec_eval and ours on the written lists."""
        _, test = self.shop.test
        place = self.work / "lists"
        place.mkdir(parents=True, exist_ok=True)
        independent.write_qrels(test, place / "qrels.txt")
        rows = []
        for form, table in self.tables.items():
            lists = {"hybrid": table.lists(self.shop.ranker, len(test.users))}
            for name, model in self.shop.models(form).items():
                lists[name] = model.recommend(test.histories, 10)[0]
            for name, ids in lists.items():
                file = place / f"{form}-{name}.txt"
                independent.write_run(ids, file)
                theirs = independent.trec_eval(file, place / "qrels.txt")
                ours = figures(ids, test)
                gap = max(abs(theirs[key] - ours[key]) for key in ("ndcg@10", "hr@10"))
                rows.append({"model": name, "form": form, **theirs, "gap": gap})
        return rows

    def peers(self, python: Path) -> list[dict[str, Any]]:
        """Return the figures of RecTools' models and of ours with the same definition."""
        train, test = self.shop.test
        self.work.mkdir(parents=True, exist_ok=True)
        export(train, self.work / "train.npz")
        rows = []
        for title, (peer, name, values, options) in PEERS.items():
            out = self.work / f"peer-{peer}.npz"
            run_peer(python, peer, self.work / "train.npz", out, options)
            settings = with_values(self.shop.settings, name, values)
            ours = build(name, settings).fit(train, self.shop.catalogue)
            found = (np.load(out)["ids"][test.users], ours.recommend(test.histories, 10)[0])
            p = paired_p_value(*(ndcg(ids, test.targets) for ids in found))
            theirs_, ours_ = (figures(ids, test) for ids in found)
            rows.append({"model": title, "theirs": theirs_, "ours": ours_, "p": p})
            print(rows[-1], flush=True)
        return rows

    def spread(self) -> list[dict[str, Any]]:
        """Return the hybrid's figures with rankers of other seeds over the same models."""
        _, validation = self.shop.validation
        _, test = self.shop.test
        rows = []
        for seed in self.seeds:
            ranker = self.shop.training.fit(
                validation.targets, self.shop.settings.rank, seed, like=self.shop.ranker
            )
            for form, table in self.tables.items():
                ids = table.lists(ranker, len(test.users))
                rows.append({"seed": seed, "form": form, "fitted": "ranker", **figures(ids, test)})
                print(rows[-1], flush=True)
        return rows


def once(file: Path, part: Callable[[], Any]) -> Any:
    """Return what ``part`` computed, at an earlier run or now."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(part())
        file.write_text(text)
        print(f"{file.stem}: done", flush=True)
    return json.loads(file.read_text())


def main(command: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", default=",".join(HYBRID), help="of the hybrid")
    parser.add_argument("--forms", default=",".join(FORMS), help="one or both of them")
    parser.add_argument(
        "--users",
        type=int,
        default=0,
        help="users, drawn at random, that the ranker learns from and that are ranked; 0: all",
    )
    parser.add_argument("--kept", default="sequential", help="models that are fitted only once")
    parser.add_argument("--seeds", default="42,43,44")
    parser.add_argument("--peer", type=Path, help="the Python that RecTools is in")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args(command)
    check_folder(arguments.folder)  # before the choices are written
    members, forms = arguments.models.split(","), arguments.forms.split(",")
    kept = [name for name in arguments.kept.split(",") if name in members]
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    name = arguments.folder.name
    chosen = choices(members, seeds, arguments.users)
    written_down(chosen, arguments.results / f"audit_{name}_choices.json")
    x, catalogue = read(arguments.folder)
    place = Path("var/benchmarks") / name
    some, settings = drawn(x.n_users, arguments.users), chosen_settings(load_settings())
    most = settings.rank.max_users
    if 0 < most < (x.n_users if some is None else len(some)):
        raise SystemExit(f"--users: at most {most}, the users that the ranker learns from")
    shop = Shop(x, catalogue, settings, members, place, some)
    frame = pd.read_parquet(arguments.folder / "interactions.parquet")
    columns = {
        file.name: pq.read_schema(file).names for file in sorted(arguments.folder.glob("*.parquet"))
    }
    audit = Audit(shop, frame, columns, forms, kept, seeds, place / "audit")
    found = {
        "features": audit.features,
        "rare": audit.rare,
        "seeds": audit.spread,
        "texts": audit.texts,
        "independent": audit.independent,
        "targets": audit.targets,
        "ties": audit.ties,
        "ids": audit.ids,
        "codes": audit.codes,
    }
    if arguments.peer:
        found["peer"] = lambda: audit.peers(arguments.peer.absolute())
    key = targets.digest(json.dumps([chosen, kept]).encode())
    kept_in = audit.work / f"{'-'.join(forms)}-{key[:8]}"
    results = {}
    for one, part in found.items():
        results[one] = once(kept_in / f"{one}.json", part)
        text = page.text(name, results, len(shop.test[1].users), x.n_users)
        (arguments.results / f"audit_{name}.md").write_text(text)


if __name__ == "__main__":
    main()
