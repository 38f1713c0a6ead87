"""``bowerbird serve``: BentoML's server in this process, with a metrics folder of its own.

BentoML keeps the metrics of all endpoints of a user in one folder and empties it at each start, so
a second endpoint would delete the metrics of the first.
"""

from __future__ import annotations

import errno
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from components.manifest import ManifestError, verify_manifest
from components.recommenders.two_stage.hybrid import OPTIONAL
from serving import PACKAGED
from serving.models.versions import find_champion, previous_champion

SERVICE = "serving.service:Bowerbird"


class LaunchError(RuntimeError):
    """The endpoint could not start; the message says why and what to do."""


def check_model(root: Path, follows_registry: bool = False) -> None:
    """Return if there is a model that can be served.

    follows_registry: the first worker copies one where there is none.

    Raises:
        FileNotFoundError, ValueError: there is none; the message says what to do.
    """
    try:
        champion = find_champion(root)
    except FileNotFoundError:
        if follows_registry:
            return
        raise
    try:
        verify_manifest(champion.folder, OPTIONAL)
    except ManifestError:
        previous = previous_champion(root)
        if previous is None:
            raise
        verify_manifest(previous.folder, OPTIONAL)


def launch(root: Path, host: str, port: int, workers: int) -> None:
    """Serve until a signal stops the process.

    Raises:
        LaunchError: no worker could start, the port is taken, or the host is no IP address.
    """
    os.environ["BOWERBIRD_ROOT"] = str(root.resolve())
    os.environ["BOWERBIRD_WORKERS"] = str(workers)
    from bentoml._internal.container import BentoMLContainer
    from bentoml._internal.utils import circus
    from bentoml.exceptions import BentoMLException
    from bentoml_cli.serve import serve_command

    from serving import startup

    options = ["--host", host, "--port", str(port), "--working-dir", str(PACKAGED)]
    with tempfile.TemporaryDirectory(prefix="bowerbird-") as folder:
        BentoMLContainer.prometheus_multiproc_dir.set(folder)
        circus.create_standalone_arbiter = partial(_private_arbiter, folder)
        try:
            serve_command.main(["serve", SERVICE, *options], standalone_mode=False)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES):
                raise
            raise LaunchError(
                f"cannot listen on {host}:{port}: {os.strerror(error.errno)}; choose another "
                "with --host and --port"
            ) from error
        except BentoMLException as error:
            raise LaunchError(str(error)) from error
        if (why := startup.failure(Path(folder))) is not None:
            raise LaunchError(f"the endpoint cannot start: {why}")


def _private_arbiter(folder: str, watchers: list[Any], **options: Any) -> Any:
    """Return the process manager of the workers, which takes commands from this user only.

    BentoML has it listen on two TCP ports of loopback without a login, where any local program
    could have it run a command (circus' ``add``). Sockets in a folder of mode 700 shut them out.
    """
    from bentoml._internal.utils.circus import Arbiter, ThreadedArbiter

    chosen = ThreadedArbiter if options.pop("threaded", False) else Arbiter
    return chosen(
        watchers,
        endpoint=f"ipc://{folder}/control",
        pubsub_endpoint=f"ipc://{folder}/events",
        check_delay=options.pop("check_delay", 10),  # as BentoML has it
        **options,
    )
