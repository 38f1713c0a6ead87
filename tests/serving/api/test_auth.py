"""Who a request is from: keys and signed tokens, by themselves and against a real server."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys as Press
from selenium.webdriver.support.ui import WebDriverWait

from components.data.item_table import read_item_table
from serving.api.auth import SECRET_FILE, Auth, Caller, Keys, SecretError, load_secret
from serving.api.peers import Peer, network_of

SECRET = b"sixteen bytes or more"
API, OPERATOR = "der Schlüssel des Ladens", "the owner's"
SHOP = {"x-api-key": API.encode()}
BOSS = {"x-api-key": OPERATOR}


def auth(api: bytes | None = b"shop", secret: bytes = SECRET, **other: Any) -> Auth:
    return Auth(Keys(api, b"boss"), secret, **other)


def resolved(made: Auth, headers: dict[bytes, bytes], network: str = "192.0.2.7") -> Caller:
    return made.resolve(Peer(network, headers))


def test_each_key_is_its_own_and_everything_else_is_nobody() -> None:
    made = Auth(Keys("Schlüssel".encode(), b"boss"), SECRET)
    for headers, expected in (
        ({b"x-api-key": "Schlüssel".encode()}, "shop"),
        ({b"authorization": b"Bearer boss"}, "operator"),
        ({b"authorization": b"Basic boss"}, "none"),
        ({b"x-api-key": "Schlüssel".encode("latin-1")}, "none"),
        ({b"x-api-key": b""}, "none"),
        ({}, "none"),
    ):
        assert resolved(made, headers).authentication == expected
    assert resolved(Auth(Keys(), SECRET), {b"x-api-key": b""}).authentication == "none"


def test_a_token_speaks_for_its_user_until_it_expires_or_the_key_changes() -> None:
    made = auth()
    session = made.sign_session("zoë")
    found = resolved(made, {b"x-session-token": session.token.encode()})
    assert (found.authentication, found.user_id) == ("session", "zoë")
    assert found.session_id == session.session_id
    assert made.sign_session(None).session_id != session.session_id
    assert len(made.sign_session("13085").token) < 60
    old = made.sign_session("zoë", now=time.time() - made.session_seconds - 1)
    for token, by in (
        (old.token, made),
        (session.token, auth(api=b"another key")),
        (session.token, auth(secret=b"another secret, as long")),
        ("", made),
        ("x" * 5000, made),
        ("ÿ" * 60, made),
    ):
        headers = {b"x-session-token": token.encode("latin-1")}
        assert resolved(by, headers).authentication == "none"


def test_a_token_that_was_changed_anywhere_is_nobodys() -> None:
    made = auth()
    token = made.sign_session("13085").token
    for at in range(len(token)):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        found = resolved(made, {b"x-session-token": changed.encode()})
        assert found.authentication == "none", at


def test_no_signature_serves_another_purpose() -> None:
    made = auth(api=None)
    impression = made.impression_id("0" * 32, "user:anna", "client")
    assert made.is_impression_of(impression, ["user:berta", "user:anna"])
    assert not made.is_impression_of(impression, ["user:berta", "client:client"])
    assert not made.is_impression_of("f" * 48, ["user:anna"])
    assert not made.is_impression_of("", ["user:anna"])
    anonymous = made.impression_id("0" * 32, None, "client")
    assert made.is_impression_of(anonymous, ["client:client"])
    report = made.report_token()
    assert made.is_report_token(report)
    for wrong in ("", ".", "zz.00", report[:-1], f"f{report}", made.sign_session(None).token):
        assert not made.is_report_token(wrong)


def test_clients_are_known_by_a_hash_that_only_the_secret_gives() -> None:
    one, other = resolved(auth(), {}), resolved(auth(), {}, "192.0.2.8")
    assert one.client == resolved(auth(), {}).client != other.client
    assert one.client != resolved(auth(secret=b"another secret, as long"), {}).client
    assert len(one.client) == 24
    key = resolved(auth(), {b"x-api-key": b"shop"}, "192.0.2.8").client
    assert key == resolved(auth(), {b"x-api-key": b"shop"}).client
    # One machine has a whole /64 of IPv6 addresses.
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") != network_of("2001:db9::1")


def test_workers_that_start_together_agree_on_one_secret(tmp_path: Path) -> None:
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(load_secret(tmp_path))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    file = tmp_path / SECRET_FILE
    assert [one.name for one in file.parent.iterdir()] == [file.name]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    file.write_bytes(b"short")
    with pytest.raises(SecretError, match="at least 16"):
        load_secret(tmp_path)


def test_a_secret_that_cannot_be_kept_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "var").write_text("a file")
    with pytest.raises(SecretError, match="set BOWERBIRD_TOKEN_SECRET"):
        load_secret(tmp_path)
    monkeypatch.setenv("BOWERBIRD_TOKEN_SECRET", "given, and long enough")
    assert load_secret(tmp_path) == b"given, and long enough"
    monkeypatch.setenv("BOWERBIRD_TOKEN_SECRET", "short")
    with pytest.raises(SecretError, match="BOWERBIRD_TOKEN_SECRET"):
        load_secret(tmp_path)


# --- against a real server with both keys ---


@pytest.fixture(scope="module")
def root(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keyed")
    for name in ("hybrid", "profiles"):
        shutil.copytree(trained[0] / "models" / name, folder / "models" / name)
    shutil.copy(trained[0] / "params.yaml", folder / "params.yaml")
    report = folder / "reports/monitoring/2026-01-02"
    report.mkdir(parents=True)
    (report / "index.html").write_text("<title>drift</title><a href='more.html'>more</a>")
    (report / "more.html").write_text("<title>more</title>")
    (report / "verdict.json").write_text(json.dumps({"drifted": False, "rows": 5}))
    return folder


@pytest.fixture(scope="module")
def keyed(root: Path, make_server: Any) -> Iterator[httpx.Client]:
    """A client without a key of a server that has both, and an experiment."""
    environment = {
        "BOWERBIRD_API_KEY": API,
        "BOWERBIRD_OPERATOR_KEY": OPERATOR,
        "BOWERBIRD_SERVE__EXPERIMENT": "{name: spring, model: champion}",
        "BOWERBIRD_SERVE__ALLOWED_ORIGINS": '["https://www.shop.example"]',
        "BOWERBIRD_SERVE__ALLOWED_HOSTS": '["api.shop.example", "*.inside.example"]',
        "BOWERBIRD_SERVE__TRUSTED_PROXIES": '["127.0.0.9"]',
    }
    server = make_server(root, environment).start()
    with server.client() as client:
        yield client
    server.stop()


@pytest.fixture(scope="module")
def items(root: Path) -> list[str]:
    table = read_item_table(root / "models/hybrid")
    return table.sort_values("popularity", ascending=False)["item_id"].tolist()


@pytest.fixture(scope="module")
def history(root: Path) -> tuple[str, set[str]]:
    """A user with some thirty purchases, and what they bought."""
    profiles = pd.read_parquet(root / "models/profiles/profiles.parquet")
    bought = profiles.groupby("user_id")["item_id"].agg(set)
    user = (bought.map(len) - 33).abs().idxmin()
    return user, bought[user]


def token(client: httpx.Client, user: str | None = None) -> dict[str, str]:
    """Return the header of a session; of a user by the shop's key."""
    answer = client.post("/session", json={"user_id": user}, headers=SHOP)
    assert answer.status_code == 200, answer.text
    return {"x-session-token": answer.json()["token"]}


def stored(root: Path, column: str, value: str) -> list[dict[str, Any]]:
    """Return the stored events, by their columns."""
    with sqlite3.connect(root / "var/events/events.db") as connection:
        connection.row_factory = sqlite3.Row
        rows = connection.execute(f"SELECT * FROM events WHERE {column} = ?", [value])
        return [dict(row) for row in rows]


def origin_of(client: httpx.Client) -> str:
    return str(client.base_url).rstrip("/")


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["fields"][0]["field"]


def test_without_a_key_nobodys_history_can_be_derived(
    keyed: httpx.Client, history: tuple[str, set[str]]
) -> None:
    user, bought = history
    unlike: list[tuple[Any, Any]] = []
    for body in (
        {"k": 50},
        {"k": 50, "exclude_seen": True},
        {"k": 50, "exclude_seen": False},
        {"k": 50, "exclude_seen": False, "max_price": 2, "reasons": False},
        {"k": 50, "recent": sorted(bought)[:1]},
        {"k": 5, "page": "product", "page_items": sorted(bought)[:1]},
    ):
        named = keyed.post("/recommend", json={"user_id": user, **body}).json()
        other = keyed.post("/recommend", json={"user_id": uuid.uuid4().hex, **body}).json()
        nobody = keyed.post("/recommend", json=body).json()
        for answer in (named, other, nobody):
            del answer["impression_id"]
            assert answer["identified"] is False
            unlike.append((answer, nobody))
    items = sorted(bought)[:20]
    asked = {"item_ids": items}
    named = keyed.post("/rerank", json={"user_id": user, **asked}).json()
    nobody = keyed.post("/rerank", json=asked).json()
    for answer in (named, nobody):
        del answer["impression_id"]
    unlike.append((named, nobody))
    said = {"message": "a bag"}
    named = keyed.post("/conversation", json={"user_id": user, **said}).json()
    nobody = keyed.post("/conversation", json=said).json()
    assert named["identified"] is False
    unlike.append((named["items"], nobody["items"]))
    for answer, other in unlike:
        assert answer == other
    for path in ("history", "export"):
        assert keyed.get(f"/users/{user}/{path}").status_code == 401


def test_the_shop_and_the_user_get_the_users_answer(
    keyed: httpx.Client, history: tuple[str, set[str]]
) -> None:
    user, bought = history
    for headers in (SHOP, BOSS, token(keyed, user)):
        answer = keyed.post("/recommend", json={"user_id": user, "k": 50}, headers=headers).json()
        assert (answer["identified"], answer["history_length"] > 0) == (True, True)
        assert not bought & {item["item_id"] for item in answer["items"]}
    mine = keyed.post("/recommend", json={"k": 50}, headers=token(keyed, user)).json()
    assert mine["items"] == answer["items"]  # a token says whose it is
    for headers in (token(keyed), token(keyed, "somebody else"), {"x-session-token": "x" * 44}):
        answer = keyed.post("/recommend", json={"user_id": user}, headers=headers).json()
        assert (answer["identified"], answer["history_length"]) == (False, 0)


def test_a_session_is_its_own_and_only_the_shop_names_its_user(
    keyed: httpx.Client, items: list[str]
) -> None:
    made = keyed.post("/session")
    assert made.status_code == 200
    body = made.json()
    assert body["expires_at"] > time.time() + 3600
    assert body["user_id"] is None
    assert keyed.post("/session", json={"user_id": "13085"}).status_code == 401
    assert keyed.post("/session", json={"user_id": "13085"}, headers=SHOP).status_code == 200
    mine, other = token(keyed), token(keyed)
    click = {"item_id": items[0], "event": "click"}
    assert keyed.post("/feedback", json=click, headers=mine).status_code == 200
    for headers, length in ((mine, 1), (other, 0)):
        answer = keyed.post("/recommend", json={}, headers=headers).json()
        assert (answer["identified"], answer["history_length"]) == (True, length)


def test_a_token_reports_only_what_its_own_shopper_did(
    keyed: httpx.Client, root: Path, items: list[str]
) -> None:
    user = uuid.uuid4().hex
    mine = token(keyed, user)
    click = {"item_id": items[0], "event": "click"}
    assert keyed.post("/feedback", json={**click, "user_id": user}).status_code == 401
    assert keyed.post("/feedback/batch", json={"events": [click]}).status_code == 401
    for other in ({"user_id": "another"}, {"session_id": "another"}):
        (field,) = other
        refused = keyed.post("/feedback", json={**click, **other}, headers=mine)
        assert problem(refused) == (403, field)
        batch = {"events": [click, {**click, **other}]}
        refused = keyed.post("/feedback/batch", json=batch, headers=mine)
        assert problem(refused) == (403, f"events.1.{field}")
    assert stored(root, "user_id", user) == []
    assert keyed.post("/feedback", json=click, headers=mine).json()["accepted"] == 1
    named = {**click, "user_id": user}
    assert keyed.post("/feedback", json=named, headers=mine).json()["accepted"] == 1
    assert keyed.post("/feedback", json=named, headers=SHOP).json()["accepted"] == 1
    rows = stored(root, "user_id", user)
    assert [row["authentication"] for row in rows] == ["session", "session", "shop"]
    assert len({row["client"] for row in rows}) == 2
    assert len({row["session_id"] for row in rows[:2]} - {None}) == 1
    answer = keyed.post("/recommend", json={}, headers=mine).json()
    assert answer["history_length"] > 0


def test_a_guessed_event_id_takes_nothing_from_another(
    keyed: httpx.Client, root: Path, items: list[str]
) -> None:
    order = f"order-{uuid.uuid4().hex}"
    event = {"event_id": order, "item_id": items[0], "event": "purchase"}
    thief, buyer = token(keyed), token(keyed, "buyer")
    for headers in (thief, buyer, SHOP):
        body = event if headers is not SHOP else {**event, "user_id": "buyer"}
        kept = keyed.post("/feedback", json=body, headers=headers).json()
        assert (kept["accepted"], kept["event_ids"]) == (1, [order])
        again = keyed.post("/feedback", json=body, headers=headers).json()
        assert (again["accepted"], again["duplicates"]) == (0, 1)
    assert [row["authentication"] for row in stored(root, "event_id", order)] == ["shop"]


def test_an_impression_is_named_by_whom_it_was_shown_to(
    keyed: httpx.Client, root: Path, items: list[str]
) -> None:
    mine, other, user = token(keyed), token(keyed), uuid.uuid4().hex

    def impression(headers: Any, **body: Any) -> str:
        return keyed.post("/recommend", json=body, headers=headers).json()["impression_id"]

    click = {"item_id": items[0], "event": "click"}
    own = {**click, "impression_id": impression(mine)}
    assert keyed.post("/feedback", json=own, headers=mine).status_code == 200
    assert problem(keyed.post("/feedback", json=own, headers=other)) == (422, "impression_id")
    for forged in ("f" * 32, "f" * 48, own["impression_id"][:-1] + "x", "x"):
        refused = keyed.post("/feedback", json={**click, "impression_id": forged}, headers=mine)
        assert problem(refused) == (422, "impression_id")
    for path in ("/conversation", "/rerank"):
        body = {"message": "a bag"} if path == "/conversation" else {"item_ids": items[:3]}
        shown = keyed.post(path, json=body, headers=mine).json()["impression_id"]
        event = {**click, "impression_id": shown}
        assert keyed.post("/feedback", json=event, headers=mine).status_code == 200
    # The shop's events are kept, whatever impression they name.
    events = [
        {**click, "user_id": user, "impression_id": impression(SHOP, user_id=user)},
        {**click, "user_id": user, "impression_id": impression(SHOP)},
        {**click, "user_id": user, "impression_id": "invented", "event": "purchase"},
        {**click, "user_id": user, "impression_id": own["impression_id"]},
    ]
    kept = keyed.post("/feedback/batch", json={"events": events}, headers=SHOP).json()
    assert kept["accepted"] == 4
    assert kept["unknown_impressions"] == ["invented", own["impression_id"]]
    named = [row["impression_id"] for row in stored(root, "user_id", user)]
    assert named == [events[0]["impression_id"], events[1]["impression_id"], None, None]


def test_what_validation_would_refuse_is_refused_and_only_the_shop_looks_back(
    keyed: httpx.Client, items: list[str]
) -> None:
    mine = token(keyed)
    click = {"item_id": items[0], "event": "click"}
    now = pd.Timestamp.now(tz="UTC")

    def status(headers: Any, **other: Any) -> Any:
        user = {"user_id": "u"} if headers is SHOP else {}
        answer = keyed.post("/feedback", json={**click, **user, **other}, headers=headers)
        return 200 if answer.status_code == 200 else problem(answer)

    for headers in (mine, SHOP):
        assert status(headers, price=0) == (422, "price")
        assert status(headers, quantity=0) == (422, "quantity")
        assert status(headers, event="rating", rating=6) == (422, "rating")
        for code in ("POST", "post", "TEST7", "gift_0001_20"):
            assert status(headers, item_id=code) == (422, "item_id")
        assert status(headers, timestamp="1999-12-31T00:00:00Z") == (422, "timestamp")
    assert status(SHOP, user_id="session:4711") == (422, "user_id")
    assert status(mine, user_id="session:4711") == (422, "user_id")
    for hours, allowed in ((-23, True), (-25, False), (-24 * 400, False), (0.05, True), (1, False)):
        moment = (now + pd.Timedelta(hours=hours)).isoformat()
        assert status(mine, timestamp=moment) == (200 if allowed else (422, "timestamp"))
        assert status(SHOP, timestamp=moment) == 200


def test_only_who_is_known_is_counted_in_an_experiment(keyed: httpx.Client, root: Path) -> None:
    def exposed() -> int:
        with sqlite3.connect(root / "var/events/events.db") as connection:
            return connection.execute("SELECT count(*) FROM exposures").fetchone()[0]

    before = exposed()
    for number in range(20):
        answer = keyed.post("/recommend", json={"user_id": f"invented {number}"}).json()
        assert answer["arm"] is None
    robot = {**token(keyed), "user-agent": "Googlebot/2.1 (+http://www.google.com/bot.html)"}
    assert keyed.post("/recommend", json={}, headers=robot).json()["arm"] is None
    assert exposed() == before
    for headers, body in ((token(keyed), {}), (SHOP, {"user_id": uuid.uuid4().hex})):
        answer = keyed.post("/recommend", json=body, headers=headers).json()
        assert answer["arm"] in ("control", "treatment")
    assert exposed() == before + 2


def test_a_key_of_any_letters_and_an_odd_path_are_answered(keyed: httpx.Client) -> None:
    assert keyed.get("/status", headers=SHOP).status_code == 200
    assert keyed.get("/status", headers={"x-api-key": API.encode("latin-1")}).status_code == 401
    for path in ("%00", "a%00b.html", "x" * 3000 + ".html", "%ff.html", "..%2f..%2fparams.yaml"):
        assert keyed.get(f"/reports/{path}", headers=SHOP).status_code == 404
        assert keyed.get(f"/reports/{path}").status_code == 401


def test_a_signed_link_opens_reports_and_nothing_else(keyed: httpx.Client) -> None:
    links = keyed.get("/status", headers=SHOP).json()["reports"]
    page = "monitoring/2026-01-02/index.html"
    assert keyed.get(f"/reports/{page}").status_code == 401
    assert "drift" in keyed.get(f"{links}{page}").text
    assert keyed.get(f"{links}%00").status_code == 404
    assert keyed.get(f"{links}..%2f..%2fparams.yaml").status_code == 404
    assert keyed.get(f"{links[:-2]}/{page}").status_code == 401
    assert keyed.get("/status", headers={"x-api-key": links}).status_code == 401


def test_the_api_key_alone_operates_nothing(
    in_thread: Any, shop_root: Path, items: list[str]
) -> None:
    variables = {
        "BOWERBIRD_API_KEY": API,
        "BOWERBIRD_SERVE__MAX_SESSIONS": "2",
        "BOWERBIRD_SERVE__MAX_CLIENT_EVENTS": "30",
        "BOWERBIRD_SERVE__MAX_FEEDBACK_SHOPPERS": "3",
    }
    with in_thread(shop_root, variables).serving() as client:
        for method, path in (
            ("POST", "/operator/rollback"),
            ("POST", "/operator/promote"),
            ("DELETE", "/users/anna"),
        ):
            body = {"version": "1"} if "promote" in path else None
            refused = client.request(method, path, json=body, headers=SHOP)
            assert refused.status_code == 403
            assert "set BOWERBIRD_OPERATOR_KEY" in refused.json()["error"]
        off = {"items": [{"item_id": items[0], "available": True}]}
        assert client.put("/items", json=off).status_code == 401
        assert client.put("/items", json=off, headers=SHOP).status_code == 200
        # Sessions are limited for one client's address, and not for the shop.
        made = [client.post("/session").status_code for _ in range(6)]
        assert made == [200] * 4 + [429] * 2
        assert client.post("/session", headers=SHOP).status_code == 200

        # So is feedback, whichever of the client's sessions it comes by.
        def report(headers: dict[str, str], event: str, n: int) -> int:
            one = {"item_id": items[1], "event": event}
            named = {} if "x-session-token" in headers else {"user_id": "anna"}
            body = {"events": [{**one, **named} for _ in range(n)]}
            return client.post("/feedback/batch", json=body, headers=headers).status_code

        mine, other = (
            {"x-session-token": client.post("/session", headers=SHOP).json()["token"]}
            for _ in range(2)
        )
        assert [report(mine, "click", 10), report(other, "click", 15)] == [200, 200]
        assert report(mine, "click", 10) == 429
        assert [report(mine, "purchase", 20), report(other, "purchase", 20)] == [200, 429]
        assert report(SHOP, "click", 100) == 200

        # One address sends feedback of so many anonymous shoppers a day, named ones aside.
        def new_shopper(user: str | None) -> int:
            made = client.post("/session", json={"user_id": user}, headers=SHOP).json()
            token = {"x-session-token": made["token"]}
            body = {"item_id": items[1], "event": "purchase"}
            return client.post("/feedback", json=body, headers=token).status_code

        assert [new_shopper(None) for _ in range(3)] == [200, 429, 429]
        assert new_shopper("berta") == 200
    secret = shop_root / SECRET_FILE
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    kept = [
        file
        for file in shop_root.rglob("*")
        if file.is_file() and file != secret and API.encode() in file.read_bytes()
    ]
    assert kept == []
    assert os.environ.get("BOWERBIRD_TOKEN_SECRET") is None


# --- where requests come from, with keys ---


def test_named_hosts_are_answered_and_no_others(keyed: httpx.Client) -> None:
    for host, status in (
        *(("api.shop.example", 200), ("API.shop.example:443", 200), ("a.inside.example", 200)),
        *(("inside.example", 421), ("shop.example", 421), ("evil-inside.example", 421)),
        *(("api.shop.example.evil.example", 421), ("[::1]:3000", 200), ("x" * 5000, 421)),
    ):
        assert keyed.get("/model", headers={"host": host}).status_code == status, host


def test_a_page_of_a_named_origin_may_call_the_shoppers_routes_only(keyed: httpx.Client) -> None:
    origin = {"origin": "https://www.shop.example", "sec-fetch-site": "cross-site"}
    allowed = "access-control-allow-origin"
    asked = {**origin, "access-control-request-method": "POST"}
    asked["access-control-request-headers"] = "content-type,x-session-token"
    pages = ("/recommend", "/page", "/feedback", "/session", "/search", "/similar", "/conversation")
    for path in pages:
        preflight = keyed.options(path, headers=asked)
        assert (preflight.status_code, preflight.headers[allowed]) == (200, origin["origin"])
        assert "x-api-key" not in preflight.headers["access-control-allow-headers"].lower()
    answer = keyed.post("/recommend", json={}, headers={**origin, **token(keyed)})
    assert (answer.status_code, answer.headers[allowed]) == (200, origin["origin"])
    refused = keyed.post("/feedback", json={}, headers=origin)
    assert refused.status_code >= 400
    assert allowed in refused.headers  # the page can read why
    for method, path in (
        ("POST", "/operator/rollback"),
        ("PUT", "/items"),
        ("DELETE", "/users/anna"),
        ("POST", "/rerank"),
    ):
        assert allowed not in keyed.options(path, headers=asked).headers
        assert keyed.request(method, path, json={}, headers={**origin, **BOSS}).status_code == 403
    assert allowed not in keyed.get("/status", headers={**origin, **BOSS}).headers
    for other in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://www.shop.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        assert allowed not in keyed.options("/recommend", headers={**asked, **other}).headers or (
            "origin" not in other
        )
        answer = keyed.post("/recommend", json={}, headers=other)
        assert (answer.status_code, allowed in answer.headers) == (403, False)
    own = {"origin": origin_of(keyed), "sec-fetch-site": "same-origin"}
    assert keyed.post("/recommend", json={}, headers=own).status_code == 200


def test_only_a_trusted_proxy_says_who_the_client_is(keyed: httpx.Client, root: Path) -> None:
    def client_of(address: str, forwarded: str | None) -> str:
        """Return the stored client of an event sent from an address of this machine."""
        name = uuid.uuid4().hex
        headers = token(keyed, name)
        if forwarded is not None:
            headers["x-forwarded-for"] = forwarded
        transport = httpx.HTTPTransport(local_address=address)
        with httpx.Client(base_url=keyed.base_url, transport=transport, timeout=30) as client:
            event = {"item_id": "x", "event": "view"}
            assert client.post("/feedback", json=event, headers=headers).status_code == 200
        (row,) = stored(root, "user_id", name)
        return row["client"]

    own = client_of("127.0.0.1", None)
    assert client_of("127.0.0.1", "203.0.113.7") == own
    assert client_of("127.0.0.8", "203.0.113.7") == client_of("127.0.0.8", None) != own
    behind = client_of("127.0.0.9", "203.0.113.7")
    assert behind not in (own, client_of("127.0.0.9", None))
    # What the client itself put there stands further left, and is not believed.
    assert client_of("127.0.0.9", "198.51.100.1, 203.0.113.7") == behind
    assert client_of("127.0.0.9", "2001:db8::1") == client_of("127.0.0.9", "2001:db8::2")


# --- the pages, with keys ---


def test_a_visitor_is_known_by_a_token_and_a_user_by_the_shops_key(
    keyed: httpx.Client, browser: Any, root: Path, history: tuple[str, set[str]]
) -> None:
    until = WebDriverWait(browser, 20)

    def shelf() -> list[str]:
        script = "return [...document.querySelectorAll('#shelf li')].map(li => li.dataset.item)"
        return browser.execute_script(script)

    def note() -> str:
        return browser.find_element(By.ID, "shelf-note").text

    browser.get(origin_of(keyed))
    until.until(lambda _: len(shelf()) == 8)
    before = shelf()
    browser.find_element(By.CSS_SELECTOR, "#shelf li:nth-child(3) .look").click()
    until.until(lambda _: shelf() != before)
    assert "From one thing" in note()
    session = browser.execute_script("return sessionStorage.getItem('token')")
    assert resolvable(session, root)
    # A user's shelf opens with the shop's key, and not without.
    browser.find_element(By.ID, "user").send_keys(history[0], Press.ENTER)
    until.until(lambda _: "the shop's key opens" in note())
    browser.find_element(By.ID, "api-key").send_keys(API, Press.ENTER)
    until.until(lambda _: "things you did" in note())


def resolvable(session: str, root: Path) -> bool:
    made = Auth(Keys(API.encode(), None), load_secret(root))
    return resolved(made, {b"x-session-token": session.encode()}).authentication == "session"


def test_the_operator_opens_reports_by_link_where_keys_are_set(
    keyed: httpx.Client, browser: Any
) -> None:
    until = WebDriverWait(browser, 20)
    browser.get(f"{origin_of(keyed)}/operator")
    browser.execute_script("sessionStorage.clear()")
    browser.get(f"{origin_of(keyed)}/operator")
    until.until(lambda _: browser.find_element(By.ID, "key").is_displayed())
    browser.find_element(By.ID, "api-key").send_keys(API, Press.ENTER)
    until.until(lambda _: browser.find_elements(By.LINK_TEXT, "Open the report"))
    browser.execute_script(
        "[...document.links].find((a) => a.textContent === 'Open the report').click()"
    )
    until.until(lambda _: browser.title == "drift")
    browser.find_element(By.LINK_TEXT, "more").click()
    until.until(lambda _: browser.title == "more")


def test_a_page_of_another_origin_cannot_use_the_key(
    keyed: httpx.Client, browser: Any, elsewhere: str
) -> None:
    browser.get(elsewhere)
    script = """
        const [url, options, done] = arguments;
        fetch(url, options).then((a) => done(String(a.status))).catch((error) => done(error.name));
    """
    for path in ("status", "operator/rollback", "recommend"):
        options = {"method": "GET" if path == "status" else "POST"}
        options["headers"] = {"x-api-key": OPERATOR}
        url = f"{origin_of(keyed)}/{path}"
        assert browser.execute_async_script(script, url, options) == "TypeError"
