"""Lists for many customers against the endpoint's answers, their impressions, and a run that was
killed."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa

from components.file_erasure import erase_exports
from components.parallel import OpensEngine, local
from components.settings import Exploration, Settings, Uplift
from serving.api.auth import Auth, Keys
from serving.arms import POPULAR, holdout_of
from serving.backend import Backend
from serving.batch import lists as batch
from serving.batch.customers import Segment
from serving.batch.lists import recommend_all
from serving.batch.output import Folder, OutputError
from serving.batch.plan import plan_of
from serving.events.catalogue_table import put_items
from serving.events.event_erasure import erase
from serving.events.export import export_events
from serving.events.exposures import arm_outcomes
from serving.events.rules_table import put_rule
from serving.events.store import EventStore
from serving.events.tables import IMPRESSIONS
from serving.events.user_table import put_users
from serving.recommend.query import RecommendRequest
from serving.recommend.types import Response, Shopper
from tests.colour_shop import ages, write_colour_model
from tests.ray_cluster import require_ray
from tests.spark import local_spark

AUTH = Auth(Keys(), b"secret")
NOW = 1_780_000_000_000_000


@pytest.fixture(scope="module")
def colours(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a model, 400 customers and one of whom only the age is known. Read only."""
    root = tmp_path_factory.mktemp("colours")
    write_colour_model(root, settings)
    return root


@pytest.fixture
def root(colours: Path, tmp_path: Path) -> Path:
    shutil.copytree(colours, tmp_path / "root")
    return tmp_path / "root"


@pytest.fixture
def shop(settings: Settings) -> Callable[..., Settings]:
    """The colour shop's settings, with changes of ``serve`` and of ``recommend_all``."""

    def make(part: int = 150, **serve: Any) -> Settings:
        source = {
            "path": "users.csv",
            "columns": {"user_id": "u"},
            "attributes": {"age": "category"},
        }
        ingest = settings.ingest.model_dump(by_alias=True) | {"users": [source]}
        items = {
            "path": "items.csv",
            "columns": {"item_id": "i", "title": "t"},
            "attributes": {"colour": "category"},
        }
        ingest |= {"items": [items]}
        changed = {"ingest": type(settings.ingest).model_validate(ingest)}
        changed["serve"] = settings.serve.model_copy(update=serve)
        changed["recommend_all"] = settings.recommend_all.model_copy(update={"part": part})
        return settings.model_copy(update=changed)

    return make


def write(
    settings: Settings,
    root: Path,
    request: dict[str, Any] | None = None,
    segment: Segment = Segment(),
    k: int = 5,
    **options: Any,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the rows and the manifest of a run."""
    plan = plan_of(settings, k, json.dumps(request or {}), segment, **options)
    made = recommend_all(
        *(settings, root, plan, Folder(root / "lists", "parquet", True), AUTH.impression_id),
    )
    assert json.loads((root / "lists/manifest.json").read_text()) == made
    return pd.read_parquet(root / "lists/lists.parquet"), made


@contextmanager
def opened(root: Path) -> Iterator[EventStore]:
    store = EventStore("sqlite:///var/events/events.db", root)
    try:
        yield store
    finally:
        store.close()


def event(user: str | None, item: str, kind: str = "purchase", **more: Any) -> dict[str, Any]:
    named = {"event_id": f"{user} {item} {kind}", "user_id": user, "item_id": item, "event": kind}
    return {**named, "timestamp": NOW, **more}


def impressions(root: Path) -> pd.DataFrame:
    with opened(root) as store, store.database.connected() as connection:
        return pd.DataFrame(connection.execute(sa.select(IMPRESSIONS)).mappings().all())


def answers(
    backend: Backend, requests: dict[str, dict[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """Return what the endpoint recommends to each user."""

    async def ask() -> list[bytes]:
        return [
            await backend.recommendations.recommend(
                RecommendRequest(user_id=user, **fields), Shopper(user, None, f"user:{user}", "c")
            )
            for user, fields in requests.items()
        ]

    return {
        user: orjson.loads(answer)["items"]
        for user, answer in zip(requests, asyncio.run(ask()), strict=True)
    }


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"exclude_seen": False, "exclude": ["85123A"], "min_price": 1, "max_price": 3},
        {"reasons": False, "available_only": False},
    ],
)
def test_lists_are_those_of_the_endpoint(
    trained: tuple[Path, Settings],
    shop_root: Path,
    open_backend: Callable[..., Backend],
    request_: dict[str, Any],
) -> None:
    """For known and new customers, with events, products and prices since the training."""
    users = pd.read_parquet(shop_root / "models/profiles/profiles.parquet")["user_id"].unique()
    rules = {"max_per_category": 2, "diversity": 0.3}
    serve = trained[1].serve
    changed = {"rules": serve.rules.model_validate(serve.rules.model_dump() | rules)}
    backend = open_backend(shop_root, **changed)
    put_items(
        backend.store.database,
        [
            {"item_id": "85123A", "available": False},
            {"item_id": "new", "title": "WHITE HANGING HEART LIGHT HOLDER", "price": 2.0},
        ],
    )
    rows = [
        event(users[0], "22423"),
        event(users[1], "22423", "dislike"),
        event(users[2], "22423", "rating", rating=1.0),
        event("walked in", "22423", "view"),
        *(event(users[3], f"{number}", "view") for number in range(22000, 22400)),
    ]
    backend.store.submit(rows).result()
    backend.models.refresh()
    asked = [*users[:25].tolist(), "walked in", "stranger"]
    expected = answers(backend, {user: {"k": 6, **request_} for user in asked})
    settings = trained[1].model_copy(update={"serve": backend.settings.serve})
    segment = Segment(pa.array(["stranger", *users, "walked in"]))
    found, made = write(settings, shop_root, request_, segment, k=6)
    assert made["lists"] == len(users) + 2
    assert found["user_id"].nunique() == len(users) + 2
    columns = ["item_id", "title", "price", "currency", "score", "source", "reason"]
    of_user = dict(iter(found.groupby("user_id", sort=False)))
    for user in asked:
        mine = of_user[user]
        assert mine["position"].tolist() == [1, 2, 3, 4, 5, 6]
        endpoints = pd.DataFrame(expected[user])[columns]
        pd.testing.assert_frame_equal(
            mine[columns].reset_index(drop=True), endpoints, check_dtype=False, rtol=1e-4
        )


def test_what_follows_a_list_is_attributed_to_it(root: Path, shop: Callable[..., Settings]) -> None:
    found, made = write(shop(), root)
    logged = impressions(root).set_index("user_id")
    assert made["lists"] == len(logged) == 401
    assert set(logged["source"]) == {"batch"}
    first = found[found["position"] == 1].set_index("user_id")
    assert first["impression_id"].to_dict() == logged["impression_id"].to_dict()
    mine = found[found["user_id"] == "u7"]
    assert json.loads(logged["item_ids"]["u7"]) == mine["item_id"].tolist()
    assert json.loads(logged["propensities"]["u7"]) == [1.0] * 5
    named = str(first["impression_id"]["u7"])
    assert AUTH.is_impression_of(named, ["user:u7"])
    assert not AUTH.is_impression_of(named, ["user:u8"])
    with opened(root) as store:
        clicked = event("u7", mine["item_id"].iloc[2], "click", impression_id=named)
        store.submit([clicked]).result()
        (file,) = export_events(store.database, root / "data/feedback")
    exported = pd.read_parquet(file).iloc[0]
    assert (exported["list_source"], exported["position"]) == ("batch", 3)


def test_customers_of_whom_only_the_age_is_known_get_what_it_tells(
    root: Path, shop: Callable[..., Settings]
) -> None:
    with opened(root) as store:
        put_users(store.database, [("elder", {"age": "old"}), ("u3", {"age": "YOUNG"})])
    found, made = write(shop(), root, segment=Segment(values={"age": "young"}))
    people = ages()
    young = set(people[people["category:age"] == "young"]["user_id"]) | {"known", "u3"}
    assert set(found["user_id"]) == young
    assert made["without_history"] == 1
    assert made["left_out"] == {"age is not young": 402 - len(young)}
    blue = {f"i{one}" for one in range(0, 60, 3)}
    assert set(found[found["user_id"] == "known"]["item_id"]) <= blue
    with pytest.raises(ValueError, match=r"no attribute 'size' of users is declared; .*: age"):
        write(shop(), root, segment=Segment(values={"size": "M"}))


def test_sessions_and_erased_people_are_left_out(root: Path, shop: Callable[..., Settings]) -> None:
    file = root / "models/profiles/profiles.parquet"
    table = pd.read_parquet(file)
    table["user_id"] = table["user_id"].replace("u1", "session:1")
    table.to_parquet(file)
    with opened(root) as store:
        store.submit([event("u2", "i1"), event("u3", "i1")]).result()
        for one in ("u2", "u3"):
            erase(store, f"user:{one}")
        store.submit([event("u3", "i7", event_id="back")]).result()
    found, made = write(shop(), root, {"exclude_seen": True}, k=60)
    assert made["left_out"] == {"sessions that are not signed in": 1, "erased": 1}
    assert not {"u2", "session:1", "1"} & set(found["user_id"])
    # Who came back has the events since alone.
    assert set(found[found["user_id"] == "u3"]["item_id"]) == {f"i{n}" for n in range(60)} - {"i7"}


def test_a_secret_that_is_not_the_endpoints_is_warned_of(
    root: Path, shop: Callable[..., Settings], caplog: pytest.LogCaptureFixture
) -> None:
    shown = {"user_id": "u1", "session_id": None, "item_ids": "[]", "scores": "[]"}
    shown |= {"propensities": "[]", "model_version": "1", "source": "hybrid", "timestamp": NOW}
    with opened(root) as store:
        signed = AUTH.impression_id("0" * 32, "user:u1", "")
        store.log_impression({**shown, "impression_id": signed})
        store.flush()
    write(shop(), root)
    assert not caplog.records
    other = Auth(Keys(), b"another secret").impression_id
    output = Folder(root / "lists", "parquet", True)
    recommend_all(shop(), root, plan_of(shop(), 3, "{}", Segment()), output, other)
    (record,) = caplog.records
    assert "set BOWERBIRD_TOKEN_SECRET as for the endpoint" in record.getMessage()


def test_lists_without_products_are_left_out(root: Path, shop: Callable[..., Settings]) -> None:
    found, made = write(shop(), root, {"min_price": 2})
    assert (len(found), made["lists"]) == (0, 0)
    assert made["left_out"] == {"no product passes the filters": 401}
    assert not len(impressions(root))


def test_nobody_is_shown_lists_of_a_plan(root: Path, shop: Callable[..., Settings]) -> None:
    """As for stock planning: no impressions, no holdout."""
    settings = shop(uplift=Uplift(share=0.5))
    plan = plan_of(settings, 3, "{}", Segment(), logged=False)
    output = Folder(root / "lists", "parquet", False)
    made = recommend_all(settings, root, plan, output, AUTH.impression_id, has_api_key=True)
    assert (made["in_holdout"], made["impressions_logged"]) == (0, False)
    assert pd.read_parquet(root / "lists/lists.parquet")["impression_id"].isna().all()
    assert not len(impressions(root))


def test_the_holdout_gets_popular_products(root: Path, shop: Callable[..., Settings]) -> None:
    settings = shop(uplift=Uplift(share=0.4))
    plan = plan_of(settings, 3, "{}", Segment())
    output = Folder(root / "lists", "parquet", False)
    made = recommend_all(settings, root, plan, output, AUTH.impression_id, has_api_key=True)
    found = pd.read_parquet(root / "lists/lists.parquet")
    held_out = {
        user
        for user in found["user_id"].unique()
        if holdout_of(settings.serve.uplift, f"user:{user}").arm == POPULAR
    }
    assert 100 < len(held_out) < 220
    assert set(found[found["source"] == "holdout"]["user_id"]) == held_out
    assert made["in_holdout"] == len(held_out)
    name = holdout_of(settings.serve.uplift, "user:u1").experiment
    with opened(root) as store:
        arms = {one.arm: one.users for one in arm_outcomes(store.database, name, ["click"], 1)}
    assert arms == {"popular": len(held_out), "recommended": 401 - len(held_out)}


def test_explored_places_have_their_propensities(root: Path, shop: Callable[..., Settings]) -> None:
    explored = Exploration(policy="epsilon_greedy", slots=2, epsilon=0.5, candidates=6)
    found, _ = write(shop(exploration=explored), root)
    logged = impressions(root).set_index("user_id")
    chances = logged["propensities"].map(json.loads)
    assert (chances.str[:3].map(set) == {1.0}).all()
    assert chances.str[3].max() < 1
    assert found[found["user_id"] == "u9"]["item_id"].tolist() == json.loads(
        logged["item_ids"]["u9"]
    )


def test_merchandising_rules_apply_and_exposure_is_kept_within_the_run(
    root: Path, shop: Callable[..., Settings]
) -> None:
    rules = {
        "pin": {"action": "pin", "items": ["i50"], "position": 1, "segment": "user.age = 'young'"},
        "out": {"action": "exclude", "items": ["i57"], "surfaces": ["home"]},
        "reds": {"action": "exposure", "where": "colour = 'red'", "at_least": 0.7},
        "other": {"action": "exclude", "items": ["i50"], "surfaces": ["email"]},
    }
    with opened(root) as store:
        for name, rule in rules.items():
            content = json.dumps({"name": name, **rule})
            put_rule(store.database, name, content, role="operator", author="")
    found, _ = write(shop(part=20), root)
    first = found[found["position"] == 1].set_index("user_id")["item_id"]
    young = ages().set_index("user_id")["category:age"] == "young"
    assert (first[young.index[young]] == "i50").mean() > 0.8  # not who bought it before
    assert (first[young.index[~young]] != "i50").all()
    assert "i57" not in set(found["item_id"])
    logged = impressions(root).set_index("user_id")["rules"].map(json.loads)
    assert logged["u1"]["rules"]
    assert {tuple(one["placed"]) for one in logged} == {(1,), ()}
    # The lists of the run itself are counted, so later ones have more red products.
    red = found["item_id"].str[1:].astype(int) % 3 == 1
    shares = red.groupby(found["user_id"], sort=False).mean()
    assert shares.iloc[-100:].mean() > shares.iloc[:60].mean() + 0.2


class Killed(Exception):
    pass


def counted(ranked: list[int], most: int) -> OpensEngine:
    """Return the engine of this process; it appends the chunks' sizes and ends after ``most``."""

    @contextmanager
    def engine(task: Any, workers: int, setting: str) -> Iterator[Any]:
        with local(task, workers, setting) as compute:

            def rank(chunks: Iterable[Any]) -> Iterator[list[Response]]:
                for responses in compute(chunks):
                    if len(ranked) == most:
                        raise Killed
                    ranked.append(len(responses))
                    yield responses

            yield rank

    return engine


def test_a_killed_run_goes_on_with_the_missing_parts(
    root: Path, shop: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    ranked: list[int] = []
    with monkeypatch.context() as patched:
        patched.setitem(batch.ENGINES, "local", counted(ranked, 2))
        with pytest.raises(Killed):
            write(shop(), root)
    assert ranked == [150, 150]
    assert not (root / "lists").exists()
    assert not len(impressions(root))  # nobody can have seen a list
    with opened(root) as store:
        erase(store, "user:u0")  # of a finished part
        erase(store, "user:u390")  # of one that is not
    with monkeypatch.context() as patched:
        patched.setitem(batch.ENGINES, "local", counted(ranked, 99))
        found, made = write(shop(), root)
    assert ranked == [150, 150, 101]
    assert made["left_out"] == {"erased": 2}
    assert found["user_id"].nunique() == len(impressions(root)) == 399
    assert not {"u0", "u390"} & set(found["user_id"])
    assert not list((root / "var/recommend_all").rglob("*.parquet"))
    with monkeypatch.context() as patched:
        patched.setitem(batch.ENGINES, "local", counted(ranked, 4))
        with pytest.raises(Killed):
            write(shop(), root)
        assert list((root / "var/recommend_all").rglob("part-*"))
        places = {one.place: one for one in erase_exports(shop(), root, ["u5"])}
        assert places["var/recommend_all"].state == "erased"
        assert not list((root / "var/recommend_all").rglob("*.parquet"))
        patched.setitem(
            batch.ENGINES, "local", counted(ranked, 5)
        )  # another question starts from nothing
        with pytest.raises(Killed):
            write(shop(), root)
        with pytest.raises(Killed):  # another question starts from nothing
            write(shop(), root, {"max_price": 1})
    assert not list((root / "var/recommend_all").rglob("part-*"))


def test_a_killed_run_goes_on_under_the_rules_of_its_start(
    root: Path, shop: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=3)
    pin = {"name": "pin", "action": "pin", "items": ["i50"], "position": 1}
    with opened(root) as store:
        content = json.dumps({**pin, "ends": ends.isoformat()})
        put_rule(store.database, "pin", content, role="operator", author="")
    with monkeypatch.context() as patched:
        patched.setitem(batch.ENGINES, "local", counted([], 1))
        with pytest.raises(Killed):
            write(shop(), root, {"exclude_seen": False})
    time.sleep(max(0.0, (ends - datetime.now(UTC)).total_seconds()))
    found, _ = write(shop(), root, {"exclude_seen": False})
    assert set(found[found["position"] == 1]["item_id"]) == {"i50"}


def test_impressions_are_durable_before_lists_are_published(
    root: Path, shop: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "lists")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", full)
        with pytest.raises(OSError, match="No space left"):
            write(shop(), root)
    before = impressions(root)
    assert len(before) == 401
    assert not (root / "lists").exists()
    found, _ = write(shop(), root)
    pd.testing.assert_frame_equal(impressions(root), before)  # once each
    assert set(found["impression_id"]) == set(before["impression_id"])


def test_a_store_without_room_is_said_before_anything_is_logged(
    root: Path, shop: Callable[..., Settings]
) -> None:
    retention = shop().serve.retention.model_copy(update={"max_store_mb": 0.3})
    with pytest.raises(OutputError, match=r"need about \d+ MB .*--no-log"):
        write(shop(retention=retention), root)
    assert not len(impressions(root))
    assert not (root / "lists").exists()


@pytest.mark.parametrize(
    ("request_", "k", "message"),
    [
        ('{"user_id": "u1"}', 5, "--request has user_id: the lists are for all customers"),
        ('{"k": 3}', 5, "--request has k: .* -k sets k"),
        ("[1]", 5, "must be a JSON object"),
        ("{", 5, "--request is no JSON"),
        ('{"max_price": -1}', 5, "max_price: Input should be greater"),
        ('{"attributes": {"secret": "x"}}', 5, "no category or set of that name is declared"),
        ("{}", 101, "-k 101: serve.max_k is 100"),
    ],
)
def test_wrong_options_are_named(settings: Settings, request_: str, k: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_of(settings, k, request_, Segment())


def test_two_runs_of_one_output_exclude_each_other(
    root: Path, shop: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    def another(task: Any, workers: int, setting: str) -> Any:
        with pytest.raises(OutputError, match="another run makes the lists of"):
            write(shop(), root)
        return local(task, workers, setting)

    monkeypatch.setitem(batch.ENGINES, "local", another)
    write(shop(), root)


@pytest.mark.slow
def test_processes_make_the_same_lists(root: Path, shop: Callable[..., Settings]) -> None:
    alone, _ = write(shop(), root)
    several = shop(part=40)
    section = several.recommend_all.model_copy(update={"workers": 2})
    found, _ = write(several.model_copy(update={"recommend_all": section}), root)
    assert same_lists(alone, found) > 0.999


@pytest.mark.slow
def test_spark_makes_the_same_lists(
    root: Path, shop: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Executors take the system's Python otherwise.
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    with local_spark():
        alone, _ = write(shop(), root)
        section = shop().recommend_all.model_copy(update={"engine": "spark", "workers": 2})
        found, made = write(shop(part=40).model_copy(update={"recommend_all": section}), root)
    assert made["engine"] == "spark"
    assert same_lists(alone, found) > 0.999


@pytest.mark.slow
def test_ray_makes_the_same_lists(root: Path, shop: Callable[..., Settings]) -> None:
    require_ray()
    alone, _ = write(shop(), root)
    section = shop().recommend_all.model_copy(update={"engine": "ray", "workers": 2})
    found, made = write(shop(part=40).model_copy(update={"recommend_all": section}), root)
    assert made["engine"] == "ray"
    assert same_lists(alone, found) > 0.999


def same_lists(one: pd.DataFrame, other: pd.DataFrame) -> float:
    """Return the share of customers with the same list: noise may cross a tree's threshold."""
    lists = [frame.groupby("user_id")["item_id"].agg(tuple) for frame in (one, other)]
    assert lists[0].index.equals(lists[1].index)
    return float((lists[0] == lists[1]).mean())
