"""The whole circle: endpoint, feedback, drift, Prefect's event, retraining, takeover.

A real Prefect server, the served deployments, a real BentoML process; the feedback is the shop's
real second year, with a last week in which only what hardly ever sold is bought.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import yaml

from components.alerts import open_alerts
from components.settings import load_settings
from tests.conftest import REPOSITORY
from tests.processes import wait_until

SHARE = 4
WEEKS = 10


@pytest.fixture(scope="module")
def ports(trained_house: Any) -> dict[str, str]:
    params = yaml.safe_load((trained_house.root / "params.yaml").read_text())
    return {
        "shop": f"http://127.0.0.1:{params['serve']['port']}",
        "prefect": f"http://127.0.0.1:{params['flows']['prefect_port']}",
        "mlflow": f"http://127.0.0.1:{params['flows']['mlflow_port']}",
    }


@pytest.fixture(scope="module")
def endpoint(trained_house: Any, ports: dict[str, str]) -> Iterator[httpx.Client]:
    process = trained_house.start("bowerbird", "serve", log="serve.log")
    with httpx.Client(base_url=ports["shop"], timeout=30) as client:
        client.headers["x-api-key"] = trained_house.environment["BOWERBIRD_API_KEY"]
        wait_until(lambda: client.get("/readyz").status_code == 200, 90, "the endpoint")
        yield client
    trained_house.kill(process, signal.SIGTERM)


def login(house: Any) -> tuple[str, str]:
    """Return user and password that ``bowerbird ui`` generated."""
    user, _, password = (house.root / "var/flows/login").read_text().strip().partition(":")
    return user, password


@pytest.fixture(scope="module")
def prefect(trained_house: Any, ports: dict[str, str]) -> Iterator[httpx.Client]:
    process = trained_house.start("bowerbird", "ui", log="ui.log")
    file = trained_house.root / "var/flows/login"
    with httpx.Client(base_url=f"{ports['prefect']}/api", timeout=30) as client:

        def deployed() -> bool:
            assert process.poll() is None, (trained_house.root / "ui.log").read_text()
            if not file.exists():
                return False
            client.auth = login(trained_house)
            answer = client.post("/deployments/filter", json={})
            if answer.status_code != 200:  # a starting server's database may be busy
                return False
            found = answer.json()
            return {f"{one['name']}" for one in found} == {"shop"} and len(found) == 4

        wait_until(deployed, 180, "the deployments")
        yield client
    trained_house.kill(process, signal.SIGINT)


def second_year(known: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the first weeks of the second year as the endpoint's events.

    known: popularity and price by item_id of the items the model knows. The last week has the
    visits of all customers, by the customers that the shop has, so that it is large enough to be
    judged, and its purchases are of what hardly ever sold.
    """
    lines = pd.read_parquet(REPOSITORY / "datasets/online-retail/2010-2011.parquet")
    codes = load_settings(REPOSITORY / "params.yaml").validate_.non_product_codes
    end = lines["InvoiceDate"].min().normalize() + pd.Timedelta(weeks=WEEKS)
    newest = lines["InvoiceDate"] >= end - pd.Timedelta(weeks=1)
    good = (
        ((lines["Customer ID"] % SHARE == 0) | (lines["Customer ID"].notna() & newest))
        & (lines["Quantity"] > 0)
        & (lines["Price"] > 0)
        & ~lines["StockCode"].str.upper().str.fullmatch("|".join(codes), na=False)
        & (lines["InvoiceDate"] < end)
    )
    lines = lines[good].reset_index(drop=True)
    last = lines["InvoiceDate"] >= end - pd.Timedelta(weeks=1)
    rare = known["popularity"].sort_values().index[:300].to_numpy()
    items = lines["StockCode"].str.upper().to_numpy(dtype=object)
    items[last] = np.random.default_rng(0).choice(rare, int(last.sum()))
    prices = lines["Price"].mask(last, known["price"].reindex(items).to_numpy())
    customers = lines["Customer ID"] // SHARE * SHARE
    return [
        {
            "event_id": f"line-{number}",
            "user_id": str(int(user)),
            "item_id": str(item),
            "event": "purchase",
            "quantity": float(quantity),
            "price": float(price),
            "timestamp": f"{moment.isoformat()}Z",
        }
        for number, (user, item, quantity, price, moment) in enumerate(
            zip(
                customers,
                items,
                lines["Quantity"],
                prices,
                lines["InvoiceDate"],
                strict=True,
            )
        )
    ]


class Caller(threading.Thread):
    """Asks the endpoint again and again; remembers every answer's status and model version."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url, self.over = url, threading.Event()
        self.statuses: list[int] = []
        self.versions: list[str] = []

    def run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=30) as client:
            while not self.over.is_set():
                answer = client.post("/recommend", json={"user_id": "13085", "k": 5})
                self.statuses.append(answer.status_code)
                self.versions.append(answer.json().get("model_version"))
                time.sleep(0.1)


def runs(prefect: httpx.Client, name: str) -> list[dict[str, Any]]:
    body = {"flows": {"name": {"any_": [name]}}, "sort": "EXPECTED_START_TIME_DESC"}
    return prefect.post("/flow_runs/filter", json=body).json()


def finished(prefect: httpx.Client, run_id: str) -> str | None:
    state = prefect.get(f"/flow_runs/{run_id}").json()["state"]["type"]
    return state if state in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None


def deployment(prefect: httpx.Client, flow: str) -> str:
    return prefect.get(f"/deployments/name/{flow}/shop").json()["id"]


def start(prefect: httpx.Client, flow: str) -> str:
    url = f"/deployments/{deployment(prefect, flow)}/create_flow_run"
    body = {"state": {"type": "SCHEDULED"}}
    # 503: Prefect's SQLite is busy; its own client tries again, too.
    made = wait_until(lambda: (one := prefect.post(url, json=body)).status_code != 503 and one, 60)
    return made.json()["id"]


def run_counts(prefect: httpx.Client, run: str) -> dict[str, int]:
    """Return how often each task of a flow run ran, as far as Prefect has written its events."""
    tasks = prefect.post("/task_runs/filter", json={"flow_runs": {"id": {"any_": [run]}}}).json()
    return {task["name"]: task["run_count"] for task in tasks}


def test_mlflow_shows_the_version(
    trained_house: Any, prefect: httpx.Client, ports: dict[str, str]
) -> None:
    found = httpx.get(
        f"{ports['mlflow']}/api/2.0/mlflow/registered-models/get",
        params={"name": "bowerbird"},
        auth=login(trained_house),
    ).json()["registered_model"]
    assert found["aliases"] == [{"alias": "champion", "version": "1"}]


def test_the_training_flow_without_news_only_looks(
    trained_house: Any, prefect: httpx.Client
) -> None:
    run = start(prefect, "training")
    state = wait_until(lambda: finished(prefect, run), 240, "training")
    assert state == "COMPLETED", (trained_house.root / "ui.log").read_text()[-4000:]
    stages = yaml.safe_load((trained_house.root / "dvc.yaml").read_text())["stages"]
    expected = dict.fromkeys(stages.keys() - {"fine_tune"}, 1)  # no model is fine-tuned
    wait_until(lambda: run_counts(prefect, run) == expected, 30, "the tasks' events")
    artifacts = prefect.post("/artifacts/filter", json={}).json()
    assert {"stages", "validation", "evaluation", "registration"} <= {
        artifact["key"] for artifact in artifacts
    }
    registration = json.loads((trained_house.root / "reports/registration.json").read_text())
    assert registration["version"] == "1"


@pytest.mark.slow
@pytest.mark.timeout(900)  # a whole training, on a machine that may do other things too
def test_drift_in_the_feedback_ends_in_a_judged_challenger(
    trained_house: Any, prefect: httpx.Client, endpoint: httpx.Client, ports: dict[str, str]
) -> None:
    root = trained_house.root
    items = pd.read_parquet(root / "data/prepared/items.parquet").set_index("item_id")
    events = second_year(items[["popularity", "price"]])
    for first in range(0, len(events), 500):
        answer = endpoint.post("/feedback/batch", json={"events": events[first : first + 500]})
        assert answer.status_code == 200, answer.text
    again = endpoint.post("/feedback/batch", json={"events": events[:500]}).json()
    assert (again["accepted"], again["duplicates"]) == (0, 500)

    caller = Caller(ports["shop"])
    caller.start()
    watch = start(prefect, "monitoring")
    state = wait_until(lambda: finished(prefect, watch), 120, "monitoring")
    assert state == "COMPLETED", (root / "ui.log").read_text()[-4000:]
    verdict = json.loads(max(root.glob("reports/monitoring/*/verdict.json")).read_text())
    assert verdict["kind"] == "drift", verdict
    assert [one.kind for one in open_alerts(root)] == ["drift"]

    retraining = wait_until(lambda: runs(prefect, "retraining"), 60, "the trigger")[0]
    assert retraining["created_by"]["type"] == "AUTOMATION"
    assert "drift" in retraining["parameters"]["reason"]
    state = wait_until(lambda: finished(prefect, retraining["id"]), 540, "retraining")
    assert state == "COMPLETED", (root / "ui.log").read_text()[-6000:]

    registration = json.loads((root / "reports/registration.json").read_text())
    assert registration["version"] == "2"
    found = registration["comparison"]
    assert found["users"] > 10
    assert found["reason"].startswith("promoted" if found["better"] else "not promoted")
    passed = all(one["passed"] for one in found["guardrails"].values())
    assert found["better"] == (found["bound"] > found["required"] and passed)
    assert found["difference"] == pytest.approx(found["challenger"] - found["champion"])
    champion = json.loads((root / "var/serving/champion.json").read_text())["version"]
    assert champion == ("2" if found["better"] else "1")
    assert registration["alias"] == ("champion" if found["better"] else "challenger")
    raw = pd.read_parquet(root / "data/raw/interactions.parquet", columns=["source"])
    assert raw["source"].str.startswith("data/feedback/").sum() == len(events)

    if found["better"]:  # it would stay a canary for a day
        trained_house.run("bowerbird", "promote", champion, "--now")
    wait_until(lambda: endpoint.get("/model").json()["version"] == champion, 30, "takeover")
    time.sleep(1)
    caller.over.set()
    caller.join(timeout=60)
    assert len(caller.statuses) > 100
    assert set(caller.statuses) == {200}
    assert caller.versions[-1] == champion


@pytest.mark.slow  # version 2 is that of the drift
def test_promote_and_rollback_reach_the_running_endpoint(
    trained_house: Any, endpoint: httpx.Client
) -> None:
    trained_house.run("bowerbird", "promote", "1", "--now")
    wait_until(lambda: endpoint.get("/model").json()["version"] == "1", 30, "version 1")
    trained_house.run("bowerbird", "promote", "2", "--now")
    wait_until(lambda: endpoint.get("/model").json()["version"] == "2", 30, "version 2")
    listed = trained_house.run("bowerbird", "models").stdout
    assert "champion" in listed.splitlines()[0]
    done = trained_house.run("bowerbird", "rollback")
    assert "version 1 is the champion" in done.stdout
    wait_until(lambda: endpoint.get("/model").json()["version"] == "1", 30, "rollback")
    unknown = trained_house.run("bowerbird", "promote", "99", check=False)
    assert unknown.returncode == 1
    assert "there is no version 99" in unknown.stderr


def test_a_stage_that_fails_is_tried_again_and_leaves_the_champion(
    trained_house: Any, prefect: httpx.Client
) -> None:
    file = trained_house.root / "params.yaml"
    before = file.read_text()
    pointer = (trained_house.root / "var/serving/champion.json").read_text()
    params = yaml.safe_load(before)
    params["ingest"]["interactions"][0]["columns"]["user_id"] = "No Such Column"
    file.write_text(yaml.safe_dump(params, sort_keys=False))
    try:
        run = start(prefect, "training")
        assert wait_until(lambda: finished(prefect, run), 120, "training") == "FAILED"
    finally:
        file.write_text(before)
    expected = {"code": 1, "sources": 1, "inputs": 1, "ingest": 2}
    wait_until(lambda: run_counts(prefect, run) == expected, 30, "the tasks' events")
    logs = prefect.post("/logs/filter", json={"logs": {"flow_run_id": {"any_": [run]}}}).json()
    assert any("No Such Column" in line["message"] for line in logs)
    assert (trained_house.root / "var/serving/champion.json").read_text() == pointer
    # The alert's message was sent once; nothing answers at its address.
    alerts = trained_house.root / "var/monitoring/alerts.json"

    def tried() -> bool:
        found = json.loads(alerts.read_text()) if alerts.exists() else {"messages": []}
        return any(one["attempts"] and one["left"] for one in found["messages"])

    wait_until(tried, 60, "the attempt to send the alert")


@pytest.mark.slow
def test_the_refresh_flow_serves_what_the_shop_sold_yesterday(
    trained_house: Any, prefect: httpx.Client, endpoint: httpx.Client
) -> None:
    """A product that is new in the shop's file, bought by many, and an event of the endpoint."""
    root = trained_house.root
    file = root / "datasets/lines.parquet"
    lines = pd.read_parquet(file)
    new = lines[lines["Customer ID"].notna()].drop_duplicates("Customer ID").head(60).copy()
    new = new.assign(StockCode="99999Z", Description="CHRISTMAS STAR OF PAPER", Quantity=1)
    # After all that the shop and the endpoint know, also of the tests before.
    received = [pd.read_parquet(one) for one in (root / "data/feedback").rglob("*.parquet")]
    known = [one["timestamp"].max().tz_localize(None) for one in received]
    new["InvoiceDate"] = max([lines["InvoiceDate"].max(), *known]) + pd.Timedelta(hours=1)
    new["Invoice"] = [f"9{number:05}" for number in range(len(new))]
    pd.concat([lines, new], ignore_index=True).to_parquet(file)
    sold = {"event_id": "after", "user_id": "13085", "item_id": "85048", "event": "purchase"}
    moment = new["InvoiceDate"].iloc[0] + pd.Timedelta(minutes=5)
    sold |= {"quantity": 1.0, "price": 2.0, "timestamp": f"{moment.isoformat()}Z"}
    assert endpoint.post("/feedback/batch", json={"events": [sold]}).status_code == 200
    champion = endpoint.get("/model").json()["version"]

    run = start(prefect, "refresh")
    state = wait_until(lambda: finished(prefect, run), 240, "refresh")
    assert state == "COMPLETED", (root / "ui.log").read_text()[-6000:]
    report = json.loads((root / "reports/refresh.json").read_text())
    assert (report["source"], report["new_items"]) == (champion, 1)
    assert report["until"] == f"{moment:%Y-%m-%d %H:%M:%S} UTC"
    version = report["version"]
    wait_until(lambda: endpoint.get("/model").json()["version"] == version, 30, "takeover")
    answer = endpoint.post("/recommend", json={"user_id": "13085", "k": 20}).json()
    assert "99999Z" in {item["item_id"] for item in answer["items"]}
    assert "refreshed from" in trained_house.run("bowerbird", "models").stdout
    artifacts = prefect.post("/artifacts/filter", json={}).json()
    assert "refresh" in {artifact["key"] for artifact in artifacts}
    done = trained_house.run("bowerbird", "refresh")
    assert "has these data" in done.stdout or "these data already" in done.stdout


def test_python_of_the_tests_is_the_one_of_the_commands(trained_house: Any) -> None:
    """Else the chain would be tested with another environment than the one installed."""
    found = trained_house.run("python", "-c", "import sys; print(sys.prefix)").stdout.strip()
    assert found == sys.prefix
