"""Does the platform keep its models good by itself? A year of the embedded shop, week by week.

    python -m benchmarks.replay [--weeks 52] [--every 2] [--strategies frozen monthly ...]

Needs no ``make run``. Strategies of training live through the same weeks: never again, every four
weeks, more often, on drift, with and without refresh, as before models were fitted on all data
(28 days back), and popularity. Strategies share trainings, which stay in ``--work``: a killed run
is continued, and several processes can share the work. ``--report`` writes the page from what is
there. The product vectors are those of the packaged encoder, not trained on the shop's texts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.replay import report
from benchmarks.replay.shop import LINES, START, Encoder, Shop, two_years
from benchmarks.replay.strategies import Life, live, strategies
from benchmarks.replay.work import Work
from components.progress import progress
from components.settings import Settings, load_settings

RESULTS = Path(__file__).parents[1] / "results"


def settings_of_replay(
    settings: Settings, epochs: int | None = None, trees: int | None = None
) -> Settings:
    """Return the settings with the shop's lines as the only source.

    epochs: of the sequence model. trees: most trees of the ranker. None: as they are.
    """
    own = settings.ingest.interactions[0].model_copy(update={"path": Path(LINES)})
    section = settings.ingest.model_copy(update={"interactions": [own], "reviews": []})
    train, rank = settings.train, settings.rank
    if epochs is not None:
        sequence = train.sequential.model_copy(update={"epochs": epochs})
        train = train.model_copy(update={"sequential": sequence})
    if trees is not None:
        rank = rank.model_copy(update={"trees": trees})
    return settings.model_copy(update={"ingest": section, "train": train, "rank": rank})


def check_same_settings(settings: Settings, work: Work) -> None:
    """Raise ValueError if the records of ``work`` were made with other settings."""
    names = ("seed", "preprocess", "train", "rank", "register_", "monitor")
    own = {name: settings.model_dump(mode="json")[name] for name in names}
    if work.once("settings", lambda: {"settings": own})["settings"] != own:
        raise ValueError(f"{work.folder} was made with other settings: name another --work folder")


def run(shop: Shop, names: list[str], weeks: int, every: int) -> list[Life]:
    """Return the lives of the strategies, lived week by week."""
    known = strategies(every)
    lives = [Life(name, known[name]) for name in names]
    with_bar = progress(total=weeks * len(lives), desc="replay", unit="week of a strategy")
    steps = [live(shop, life, weeks, every) for life in lives]
    for _ in range(weeks):
        for step in steps:
            next(step, None)
            with_bar.update()
    with_bar.close()
    return lives


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--work", type=Path, default=Path("var/replay"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--weeks", type=int, default=52)
    parser.add_argument("--every", type=int, default=2, help="weeks between frequent trainings")
    parser.add_argument("--epochs", type=int, help="of the sequence model; default: params.yaml")
    parser.add_argument("--trees", type=int, help="most trees of the ranker; default: params.yaml")
    parser.add_argument("--strategies", nargs="+", choices=strategies(1), default=None)
    parser.add_argument("--report", action="store_true", help="compute nothing")
    given = parser.parse_args()
    settings = settings_of_replay(
        load_settings(given.root / "params.yaml"), given.epochs, given.trees
    )
    work = Work(given.work, compute=not given.report)
    if work.compute:
        check_same_settings(settings, work)
    shop = Shop(
        two_years(given.root),
        START,
        settings,
        given.root,
        work,
        Encoder(settings, given.work / "vectors"),
    )
    lives = run(shop, given.strategies or list(strategies(1)), given.weeks, given.every)
    report.write(shop, lives, given.weeks, given.every, given.out)


if __name__ == "__main__":
    main()
