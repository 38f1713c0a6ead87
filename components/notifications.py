"""Sends the messages of the alerts by e-mail, Slack, Teams, a webhook: all that apprise knows.

In: the messages in the alerts' file, the addresses of ``monitor.alert_urls``. Out: the messages
sent; one that was not stays in the file and is tried again later, at most KEEP_SECONDS.

apprise runs in a process of its own (``python -m components.notifications``), which gets the
addresses on its standard input: a service that never ends its answer costs the caller no memory
and at most SECONDS, and what the libraries log, which may quote an address, reaches no log.

A message is sent at least once: after a kill between the sending and the note of it, again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.alerts import LOCK as ALERTS_LOCK
from components.alerts import Message, read_state, write_state
from components.credentials import AlertUrls
from components.file_lock import file_lock

if TYPE_CHECKING:
    from components.settings import Settings

log = logging.getLogger(__name__)

LOCK = Path("var/monitoring/.delivery.lock")
SECONDS = 20.0
"""For one message to one address."""
START_SECONDS = 40.0
"""More for the process: on a busy machine the start takes long."""
RETRY_SECONDS, LONGEST_RETRY = 30.0, 3600.0
"""Until the first further attempt, doubled after each, up to the longest."""
KEEP_SECONDS = 3 * 86_400.0
MOST_AT_ONCE = 20
MEMORY = 2 << 30
"""Bytes of the sending process: an answer without end must not fill the machine's memory."""


def deliver(root: Path, settings: Settings, now: float | None = None) -> list[str]:
    """Send the messages that are due; return the addresses that failed, as ``AlertUrls.shown``.

    now: seconds since 1970; default: the present. One process at a time sends; another returns at
    once. What a service or the network does is logged without the address and raises nothing.

    Raises:
        OSError: the messages cannot be read or written.
    """
    urls, shop = settings.monitor.alert_urls, settings.register_.model_name
    if not read_state(root).messages:
        return []
    with file_lock(root / LOCK, wait=False) as mine:
        return _deliver(root, urls, shop, time.time() if now is None else now) if mine else []


def _deliver(root: Path, urls: AlertUrls, shop: str, now: float) -> list[str]:
    addresses = {_digest(url): url for url in urls.addresses}
    wanted = [
        (message, digest)
        for message in read_state(root).messages
        for digest in (addresses if message.left is None else message.left)
        if message.due <= now and digest in addresses
    ][:MOST_AT_ONCE]
    sent = send(
        [
            {
                "address": addresses[digest],
                "title": f"{shop}: {message.title}",
                "text": message.text,
                "level": message.level,
            }
            for message, digest in wanted
        ]
    )
    outcomes: dict[str, dict[str, bool]] = {}
    for (message, digest), is_sent in zip(wanted, sent, strict=True):
        outcomes.setdefault(message.id, {})[digest] = is_sent
    with file_lock(root / ALERTS_LOCK):
        state = read_state(root)
        left = [
            one
            for message in state.messages
            if (one := _after(message, outcomes.get(message.id, {}), list(addresses), now))
        ]
        if tuple(left) != state.messages:
            write_state(root, replace(state, messages=tuple(left)))
    shown = dict(zip(addresses, urls.shown, strict=True))
    failed = {d for done in outcomes.values() for d, is_sent in done.items() if not is_sent}
    names = [shown[digest] for digest in addresses if digest in failed]
    if names:
        log.warning(
            "a message was not delivered to %s (monitor.alert_urls) and is sent again later",
            ", ".join(names),
        )
    return names


def _after(
    message: Message, outcome: dict[str, bool], addresses: list[str], now: float
) -> Message | None:
    """Return the message that is left to send, None if there is nothing left or no use."""
    wanted = addresses if message.left is None else message.left
    left = tuple(one for one in wanted if one in addresses and not outcome.get(one, False))
    if not left:
        return None
    if not outcome:
        return message
    due = now + min(RETRY_SECONDS * 2.0**message.attempts, LONGEST_RETRY)
    if due - message.at > KEEP_SECONDS:
        log.error("not delivered in %.0f days: %s", KEEP_SECONDS / 86_400, message.title)
        return None
    return replace(message, left=left, attempts=message.attempts + 1, due=due)


def send_test(settings: Settings) -> dict[str, bool]:
    """Send a message to each address; return whether it was delivered, by ``AlertUrls.shown``."""
    urls = settings.monitor.alert_urls
    title = f"{settings.register_.model_name}: test"
    text = "This message tests the addresses of the alerts."
    sent = send(
        [{"address": url, "title": title, "text": text, "level": "info"} for url in urls.addresses]
    )
    return dict(zip(urls.shown, sent, strict=True))


def send(messages: Sequence[dict[str, Any]]) -> list[bool]:
    """Send each message to its address and return which were delivered.

    messages: with address, title, text and level (info, success, warning).
    """
    if not messages:
        return []
    try:
        done = subprocess.run(
            [sys.executable, "-m", "components.notifications"],
            input=json.dumps(messages),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            timeout=START_SECONDS + SECONDS,
            check=True,
        )
        found = [bool(one) for one in json.loads(done.stdout)]
        return found if len(found) == len(messages) else [False] * len(messages)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        log.warning("the process that sends messages failed: %s", type(error).__name__)
        return [False] * len(messages)


def _digest(address: str) -> str:
    """Return what the file keeps instead of an address, which is a secret."""
    return hashlib.sha256(address.encode()).hexdigest()[:8]


# --- the process that sends ---


def _send(message: dict[str, Any]) -> bool:
    """Send one message; the title and the text are plain text, whatever they hold."""
    from apprise import Apprise, AppriseAsset, NotifyFormat

    asset = AppriseAsset(
        app_id="Bowerbird", app_desc="Bowerbird", http_redirects=False, allow_templates=False
    )
    client = Apprise(asset=asset)
    if not client.add(message["address"]):
        return False
    return bool(
        client.notify(
            title=_without_mentions(message["title"]),
            body=_without_mentions(message["text"]),
            body_format=NotifyFormat.TEXT,
            notify_type=message["level"],
            timeout=SECONDS,
        )
    )


def _without_mentions(text: str) -> str:
    """Return the text in which no ``@everyone`` rings all phones: Discord finds them in any."""
    return text.replace("@", "@\u200b")


def _main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    messages = json.load(sys.stdin)
    with ThreadPoolExecutor(max_workers=MOST_AT_ONCE) as pool:
        sent = list(pool.map(_send, messages))
    print(json.dumps(sent), flush=True)
    os._exit(0)  # a thread may still read an answer without end


if __name__ == "__main__":
    _main()
