"""The operator knows: a bad model promoted on purpose is gone by itself, a failed flow is an alert.

A real Prefect server with the deployments of ``bowerbird ui``, a real endpoint, real shoppers and
a service that gets the alerts as webhooks.
"""

from __future__ import annotations

import http.server
import json
import signal
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import httpx
import numpy as np
import pytest
import yaml

from components.data.item_table import read_item_table, write_item_table
from components.manifest import write_manifest
from components.rollout import read_rollout
from tests.end_to_end.conftest import House
from tests.processes import free_port, wait_until
from tests.serving.shoppers import Shoppers

pytestmark = pytest.mark.slow
OPERATOR = {"x-api-key": "S3CRET-operator"}


class Receiver(http.server.BaseHTTPRequestHandler):
    """A service that gets alerts."""

    titles: ClassVar[list[str]] = []
    texts: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.texts.append(body["message"])
        self.titles.append(body["title"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def shop(trained_house: House) -> Iterator[House]:
    """The trained house with an address for alerts, an operator and quick canaries."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    more = {
        "BOWERBIRD_MONITOR__ALERT_URLS": f"json://127.0.0.1:{server.server_port}/S3CRET-alerts",
        "BOWERBIRD_OPERATOR_KEY": OPERATOR["x-api-key"],
        "BOWERBIRD_SERVE__CANARY": "{share: 0.5, min_shoppers: 100000, min_hours: 0.001}",
        "BOWERBIRD_SERVE__PORT": str(free_port()),
    }
    house = House(trained_house.root, trained_house.environment | more, trained_house.running)
    yield house
    server.shutdown()


@pytest.fixture(scope="module")
def prefect(shop: House) -> Iterator[httpx.Client]:
    """A client of Prefect's API once the deployments are there."""
    process = shop.start("bowerbird", "ui", log="ui.log")
    params = yaml.safe_load((shop.root / "params.yaml").read_text())
    url = f"http://127.0.0.1:{params['flows']['prefect_port']}/api"
    login = shop.root / "var/flows/login"
    with httpx.Client(base_url=url, timeout=30) as client:

        def deployed() -> bool:
            assert process.poll() is None, (shop.root / "ui.log").read_text()
            if not login.exists():
                return False
            user, _, password = login.read_text().strip().partition(":")
            client.auth = (user, password)
            found = client.post("/deployments/filter", json={})
            return found.status_code == 200 and len(found.json()) == 4

        wait_until(deployed, 180, "the deployments")
        yield client
    shop.kill(process, signal.SIGINT)


def run(prefect: httpx.Client, flow: str) -> str:
    """Run a deployment and return how it ended."""
    deployment = prefect.get(f"/deployments/name/{flow}/shop").json()["id"]
    made = prefect.post(
        f"/deployments/{deployment}/create_flow_run", json={"state": {"type": "SCHEDULED"}}
    ).json()["id"]

    def state() -> str | None:
        found = prefect.get(f"/flow_runs/{made}").json()["state"]["type"]
        return found if found in ("COMPLETED", "FAILED", "CRASHED") else None

    return str(wait_until(state, 240, flow))


def events(prefect: httpx.Client) -> dict[str, dict[str, Any]]:
    """Return the timeline's events in Prefect's feed, the newest of each name."""
    wanted = {"filter": {"event": {"prefix": ["bowerbird.timeline."]}, "order": "DESC"}}
    found = prefect.post("/events/filter", json={**wanted, "limit": 50}).json()["events"]
    return {one["event"].removeprefix("bowerbird.timeline."): one for one in found[::-1]}


def test_a_flow_that_fails_is_one_alert_until_it_completes(
    shop: House, prefect: httpx.Client
) -> None:
    found = prefect.post("/automations/filter", json={}).json()
    (automation,) = [one for one in found if one["name"] == "a flow failed"]
    assert automation["enabled"]
    assert [one["type"] for one in automation["actions"]] == ["send-notification"]

    reference = shop.root / "models/reference"
    reference.rename(shop.root / "moved")
    try:
        assert run(prefect, "monitoring") == "FAILED"
        failed = "bowerbird: a flow failed"
        wait_until(lambda: Receiver.titles == [failed], 60, "the alert")
        assert run(prefect, "monitoring") == "FAILED"
        listed = wait_until(
            lambda: "2 times" in (out := shop.run("bowerbird", "alerts").stdout) and out, 60
        )
        assert "flow: monitoring" in listed
    finally:
        (shop.root / "moved").rename(reference)
    assert Receiver.titles == [failed]  # once
    assert "of monitoring ended as Failed" in Receiver.texts[0]
    assert run(prefect, "monitoring") == "COMPLETED"
    resolved = "bowerbird: resolved: a flow failed"
    wait_until(lambda: resolved in Receiver.titles, 60, "the resolution")
    assert "flow: monitoring" not in shop.run("bowerbird", "alerts").stdout


def test_a_bad_model_is_gone_by_itself_and_the_operator_knows(
    shop: House, prefect: httpx.Client
) -> None:
    root = shop.root
    champion = json.loads((root / "var/serving/champion.json").read_text())["version"]
    shop.run("bowerbird", "promote", champion, "--now")
    folder = root / "models/served"
    table = read_item_table(folder)
    mixed = table.iloc[np.random.default_rng(0).permutation(len(table))].reset_index(drop=True)
    write_item_table(mixed, folder)
    write_manifest(folder)
    shop.run("bowerbird", "register")
    bad = json.loads((root / "reports/registration.json").read_text())["version"]
    assert bad != champion
    shop.run("bowerbird", "promote", champion, "--now")

    url = f"http://127.0.0.1:{shop.environment['BOWERBIRD_SERVE__PORT']}"
    process = shop.start("bowerbird", "serve", log="serve.log")
    # With five products 95 % find what they like, of the mixed-up ones 82 %.
    shoppers = Shoppers(root, {"x-api-key": shop.environment["BOWERBIRD_API_KEY"]}, k=5)
    users = list(shoppers.likes)
    assert len(users) > 300
    with httpx.Client(base_url=url, timeout=30) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, 120, "the endpoint")
        shoppers.visit(client, users[:20])
        assert set(shoppers.seen.values()) == {champion}
        shop.run("bowerbird", "promote", bad)  # on purpose

        def is_tried() -> bool:
            shoppers.visit(client, users[:20])
            return bad in shoppers.seen.values()

        wait_until(is_tried, 120, "the canary")

        def decision() -> dict[str, Any] | None:
            rollout = read_rollout(root)
            assert rollout is not None
            return rollout.decisions[-1] if rollout.canary is None else None

        for start in range(0, len(users), 20):
            shoppers.visit(client, users[start : start + 20])
            if decision():
                break
        found = wait_until(decision, 60, "the decision")
        assert (found["version"], found["result"]) == (bad, "rolled back"), found
        hurt = [user for user, version in shoppers.seen.items() if version == bad]
        pointer = root / "var/serving/champion.json"
        served = lambda: json.loads(pointer.read_text())["version"]  # noqa: E731
        wait_until(lambda: served() == champion, 180, "the registry")
        shoppers.visit(client, hurt)
        assert {shoppers.seen[user] for user in hurt} == {champion}
        assert shoppers.failed == []

        for title in ("a canary was rolled back", "resolved: a canary was rolled back"):
            wait_until(lambda title=title: f"bowerbird: {title}" in Receiver.titles, 60, title)
        assert any("shoppers convert less" in text for text in Receiver.texts)
        shown = client.get("/operator/timeline?limit=500", headers=OPERATOR).json()["entries"]
        happened = [one["kind"] for one in shown[::-1] if one["by"] in ("operator", "endpoint")]
        expected = ["promotion", "canary-started", "canary-rolled-back", "alert-opened"]
        assert happened[-6:] == [*expected, "rollback", "alert-resolved"]
        (rolled_back,) = [one for one in shown if one["kind"] == "canary-rolled-back"]
        assert rolled_back["evidence"]["evidence"]["canary"]["users"] >= len(hurt) * 0.9
        assert client.get("/operator/timeline").status_code == 403
    shop.kill(process, signal.SIGTERM)

    assert run(prefect, "monitoring") == "COMPLETED"
    kinds = {*expected, "rollback", "alert-resolved"}
    feed = wait_until(lambda: kinds <= (all_ := events(prefect)).keys() and all_, 60, "the events")
    event = feed["canary-rolled-back"]
    assert event["id"] == rolled_back["id"]
    assert event["payload"]["evidence"] == rolled_back["evidence"]
    lines = shop.run("bowerbird", "timeline", "--json", "-n", "500").stdout.splitlines()
    assert rolled_back["id"] in {json.loads(line)["id"] for line in lines}
