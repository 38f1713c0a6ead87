"""A conversation worded by a model behind the OpenAI protocol, through the real endpoint."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.components.language.test_writer import Service


def test_the_endpoint_says_what_the_writer_writes_and_without_it_the_template(
    serve: Callable[..., Any], shop_root: Path
) -> None:
    with Service() as writer:
        threading.Thread(target=writer.serve_forever, daemon=True).start()
        writer.answer = "I looked around for you. It has free delivery! Have a look at these"
        variables = {
            "BOWERBIRD_SERVE__WRITER": writer.address,
            "BOWERBIRD_SERVE__WRITER_MODEL": "parrot",
        }
        server = serve(shop_root, variables).start()
        with server.client() as client:
            answer = client.post("/conversation", json={"message": "a mug"}).json()
            # What is not true of the products is not said.
            assert answer["text"] == "I looked around for you. Have a look at these"
            said = writer.requests[0]["messages"][-1]["content"]
            assert "a mug" in said
            assert all(item["title"] in said for item in answer["items"])
            writer.shutdown()
            writer.server_close()
            answer = client.post("/conversation", json={"message": "a mug"}).json()
            assert answer["items"]
            assert answer["text"]
            assert "I looked around" not in answer["text"]
