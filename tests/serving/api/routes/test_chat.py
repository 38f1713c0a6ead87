"""The route of the conversation: its state, its stream, its refusals."""

from __future__ import annotations

import json
import time

import httpx


def test_the_endpoint_carries_the_state_and_logs_what_it_shows(served: httpx.Client) -> None:
    first = served.post("/conversation", json={"message": "a mug under £5", "user_id": "talker"})
    assert first.status_code == 200
    answer = first.json()
    assert answer["items"]
    assert all(item["price"] <= 5 and item["reason"] for item in answer["items"])
    body = {"message": "show more", "state": answer["state"], "user_id": "talker"}
    second = served.post("/conversation", json=body).json()
    ids = [{item["item_id"] for item in one["items"]} for one in (answer, second)]
    assert ids[1]
    assert not ids[0] & ids[1]
    assert second["state"]["turn"] == 2
    assert second["state"]["conversation_id"] == answer["state"]["conversation_id"]
    until = time.monotonic() + 10
    while time.monotonic() < until:
        shown = served.get("/users/talker/export").json()["impressions"]
        if len(shown) == 2:
            break
        time.sleep(0.1)
    assert {row["impression_id"] for row in shown} == {
        answer["impression_id"],
        second["impression_id"],
    }
    assert {row["source"] for row in shown} == {"conversation"}


def test_it_streams(served: httpx.Client) -> None:
    body = {"message": "a mug", "stream": True}
    with served.stream("POST", "/conversation", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.iter_lines() if line]
    events = [line.removeprefix("event: ") for line in lines[::2]]
    data = [json.loads(line.removeprefix("data: ")) for line in lines[1::2]]
    assert events == ["proposals", "text", "done"]
    assert data[0]["items"] == data[2]["items"]
    assert data[0]["text"] == ""
    assert data[1]["text"] == data[2]["text"]


def test_an_old_conversation_is_started_again_and_wrong_states_are_named(
    served: httpx.Client,
) -> None:
    state = served.post("/conversation", json={"message": "a mug"}).json()["state"]
    old = {**state, "said_at": state["said_at"] - 10**7}
    answer = served.post("/conversation", json={"message": "cheaper", "state": old}).json()
    assert answer["state"]["conversation_id"] != state["conversation_id"]
    assert answer["question"]
    for wrong in ({**state, "extra": 1}, {**state, "things": ["x"] * 99}, {**state, "turn": -1}):
        refused = served.post("/conversation", json={"message": "more", "state": wrong})
        assert refused.status_code == 422
        assert refused.json()["fields"][0]["field"].startswith("state.")
    assert served.post("/conversation", json={"message": ""}).status_code == 422
    forged = {**state, "last": ["no such item"], "like": "nor this", "needs": ["no such need"]}
    assert served.post("/conversation", json={"message": "why", "state": forged}).status_code == 200
    assert served.post("/conversation", json={"message": "red", "state": forged}).status_code == 200
