"""Time-true quality: every model and the hybrid after several cuts (rolling origin).

    python -m benchmarks.rolling_origin FOLDER --cuts 3     # results/rolling_origin_NAME.md

FOLDER: a shop's, with ``params.yaml`` and ``data/valid`` (``dvc repro validate``), or any with
``interactions.parquet`` (user_id, item_id, timestamp; optional: event, quantity, price, order_id)
and perhaps ``items.parquet``.

**Split**: the windows after the cuts are ``preprocess.test_days`` long, next to each other, the
last one the newest days. At each cut the stages ``preprocess``, ``fit`` and ``rank`` make tables,
candidates and hybrid of the interactions before it; the ranker, the recency of the personal
frequency and the calibrators learn on the ``validation_days`` before the cut, over candidates
fitted before those. Product texts are those of the whole catalogue, encoded by the packaged encoder
without training on the shop's data.

**Modes**: without repeat purchases lists and targets have only products that the customer did not
have before, so that personal frequency is no more than the popularity of all time; with them
(``repeat`` is a candidate, then) all. ``--repeats`` chooses.

**Figures**, the whole catalogue ranked, 95 % intervals by a bootstrap over customers, p by Fisher's
randomisation test:

- NDCG, recall, hit rate and revenue at 10 of the customers with a target in the window; NDCG of new
  and returning ones. Revenue is what they spent on the listed targets (price of the order line,
  else of the catalogue, times quantity). The best single model is that of the same window.
- Weeks after the cut: the models are those of the cut, histories go up to the week.
- Next order, with repeats and where there are order ids: lists cut at the size of the order
  (recall, precision and F1 are equal) and at the mean size of the customer's baskets (F1).
- Calibration: of customers with a history, with or without a purchase in the window, the
  probability that they buy a listed product in it, by a calibrator of scores fitted on validation
  (the hybrid's by a ranker that learned from the other half of the customers): expected calibration
  error in ten bins, and the Brier score against that of the share bought on validation.

Results of a cut stay in ``--work``, by a digest of data, settings and the stages' code: a run that
was stopped continues.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from benchmarks.replay.work import Record
from benchmarks.rolling_origin.cuts import Shop, digest, modes, open_shop
from benchmarks.rolling_origin.measure import Calibrator, Cut, Limits
from benchmarks.rolling_origin.page import Part, date, write
from components.settings import Settings

RESULTS = Path(__file__).parents[1] / "results"


def measured(
    shop: Shop, mode: str, settings: Settings, stop: int, limits: Limits, calibrator: Calibrator
) -> Record:
    """Return the record of a cut in one mode, made if it is not there."""
    key = digest(
        limits=asdict(limits), calibrator=calibrator, rank=settings.rank.model_dump(mode="json")
    )
    place = shop.root(stop).relative_to(shop.work.folder)

    def make() -> Record:
        prepared = shop.prepared(stop)
        print(f"{shop.name}: {mode} repeats, cut {date(prepared.test_start)}", flush=True)
        shop.rank(stop, settings)
        cut = Cut(settings, shop.root(stop), prepared, limits, calibrator)
        return cut.record(lambda line: print(line, flush=True))

    return shop.work.once(f"{place}/{mode}-{key}", make)


def parts_of(
    shop: Shop, cuts: int, repeats: str, limits: Limits, calibrator: Calibrator
) -> list[Part]:
    """Return the records of a shop, by mode. The newest cut is measured first: a run that was
    stopped can be shown with fewer cuts."""
    found = []
    for mode, settings in modes(shop.settings, repeats):
        newest_first = [
            measured(shop, mode, settings, stop, limits, calibrator)
            for stop in reversed(shop.stops(cuts))
        ]
        found.append(Part(shop.name, mode, settings.ingest.currency, newest_first[::-1]))
    return found


def conditions_of(given: argparse.Namespace) -> str:
    """Return the sentences of the page about the run's options."""
    named = (
        (given.customers, "of the shop, with the products that they bought"),
        (given.users, "of a window"),
        (given.week_users, "of a week"),
        (given.calibration_users, "of a calibration"),
        (given.rank_users, "in the training of the ranker"),
    )
    drawn = ", ".join(f"{most:,} {what}" for most, what in named if most)
    sample = f"Customers, drawn at random, at most: {drawn}. " if drawn else ""
    epochs = f"`sequential`: {given.epochs} epochs. " if given.epochs else ""
    return f"{sample}{epochs}Calibrator: {given.calibrator}."


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--cuts", type=int, default=3)
    parser.add_argument(
        "--repeats",
        choices=("own", "with", "without", "both"),
        default="own",
        help="repeat purchases in lists and targets; own: as train.exclude_seen says",
    )
    parser.add_argument(
        "--customers",
        type=int,
        default=0,
        help="make the shop smaller: only so many customers, drawn at random, and what they bought",
    )
    parser.add_argument("--users", type=int, default=0, help="most customers of a window; 0: all")
    parser.add_argument("--week-users", type=int, default=0, help="of each week after the cut")
    parser.add_argument("--calibration-users", type=int, default=0)
    parser.add_argument("--rank-users", type=int, help="rank.max_users; default: the shop's")
    parser.add_argument("--epochs", type=int, help="of the sequence model; default: the shop's")
    parser.add_argument("--calibrator", choices=("isotonic", "platt"), default="isotonic")
    parser.add_argument("--work", type=Path, default=Path("var/benchmarks/rolling_origin"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    limits = Limits(given.users, given.week_users, given.calibration_users)
    shop = open_shop(given.folder, given.work, given.epochs, given.rank_users, given.customers)
    parts = parts_of(shop, given.cuts, given.repeats, limits, given.calibrator)
    write(shop.name, parts, conditions_of(given), given.out)


if __name__ == "__main__":
    main()
