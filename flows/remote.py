"""The stages' outputs in DVC's remote: ``bowerbird push`` and ``bowerbird pull``.

In: DVC's cache and its run cache, and the remote of ``.dvc/config``. Out: the same on another
machine. A clone with the same ``dvc.lock``, sources and code continues after the stages that are
finished; with another ``dvc.lock``, the run cache has the outputs of every run that was pushed.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from dvc.config import NoRemoteError
from dvc.exceptions import CheckoutError, DvcException, NotDvcRepoError
from dvc.repo import Repo

from components.credentials import mask_credentials
from components.object_store import failure

SECRETS = frozenset(
    (
        *("access_key_id", "secret_access_key", "session_token", "sse_customer_key"),  # s3
        *("account_key", "client_secret", "connection_string", "sas_token"),  # azure
        *("oss_key_id", "oss_key_secret", "gdrive_client_secret"),
        *("password", "passphrase", "token"),  # ssh, http, webdav, webhdfs
    )
)
"""Options of remotes whose values are credentials. DVC has no such list; others name a file, an
account or a header, or say that DVC shall ask."""


class RemoteError(ValueError):
    """The remote cannot be used; the message says what to do."""


def push(root: Path, remote: str | None = None) -> int:
    """Copy the outputs and the run cache below ``root`` to the remote; return how many files.

    remote: its name; None: the default one.

    Raises:
        RemoteError: there is no remote, or it cannot be reached.
    """
    with _remote(root, remote) as (repo, url):
        count = int(repo.push(remote=remote, run_cache=True))
    print(f"{count:,} files copied to {url}")
    if _uncommitted(root):
        print("dvc.lock has changes that git does not have: commit it, so that a clone has them")
    return count


def pull(root: Path, remote: str | None = None, force: bool = False) -> int:
    """Copy the outputs and the run cache from the remote to ``root``; return how many files.

    Outputs that ``dvc.lock`` names and the remote lacks are left out: their stages run again.

    force: replace outputs in ``root`` that were changed, as those of a stage that was killed.

    Raises:
        RemoteError: there is no remote, it cannot be reached, or an output in ``root`` was changed.
    """
    with _remote(root, remote) as (repo, url):
        found = repo.pull(remote=remote, run_cache=True, allow_missing=True, force=force)
    count = int(found["stats"]["fetched"])
    print(f"{count:,} files copied from {url}")
    return count


def pull_locked(root: Path, stages: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Copy the outputs of some stages from the remote to ``folder``, by another ``dvc.lock``.

    stages: their entries of that file. folder: a new one; outputs have the same names in it.

    Raises:
        RemoteError: as ``pull``, or the remote lacks an output.
    """
    with _remote(root, None) as (repo, url):
        config = {name: repo.config[name] for name in ("core", "remote")}
        config["core"] = {**config["core"], "no_scm": True}
        config["cache"] = {"dir": repo.cache.local_cache_dir}
        Repo.init(str(folder), no_scm=True).close()
        defined = {
            name: {"cmd": entry["cmd"], "outs": [out["path"] for out in entry["outs"]]}
            for name, entry in stages.items()
        }
        lock = {"schema": "2.0", "stages": dict(stages)}
        (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": defined}))
        (folder / "dvc.lock").write_text(yaml.safe_dump(lock))
        with Repo(str(folder), config=config) as other:
            try:
                other.pull()
            except CheckoutError as error:
                outputs = ", ".join(out for one in defined.values() for out in one["outs"])
                raise RemoteError(
                    f"the remote {url} lacks a part of {outputs}: run `bowerbird push` where they "
                    "were made"
                ) from error


@contextmanager
def _remote(root: Path, name: str | None) -> Iterator[tuple[Repo, str]]:
    """Open the repository; yield it and the remote's URL, both checked."""
    url = ""
    try:
        with Repo(str(root)) as repo:
            url = mask_credentials(_checked(repo, name).get("url", ""))
            _check_reachable(repo, name)
            yield repo, url
    except RemoteError:
        raise
    except NotDvcRepoError as error:
        raise RemoteError(
            f"there is no DVC repository in {root.resolve()}: run in the project's folder"
        ) from error
    except NoRemoteError as error:
        raise RemoteError(
            "there is no remote: dvc remote add --default storage s3://BUCKET/FOLDER, and commit "
            ".dvc/config"
        ) from error
    except CheckoutError as error:
        raise RemoteError(
            f"outputs here were changed since their stages ran: {mask_credentials(str(error))}"
        ) from error
    except DvcException as error:
        raise RemoteError(f"the remote {url}: {failure(error.__cause__ or error, url)}") from error
    except Exception as error:  # each kind of store has errors of its own
        raise RemoteError(f"the remote {url} cannot be used ({failure(error, url)})") from error


def _checked(repo: Repo, name: str | None) -> dict[str, Any]:
    """Return the remote's options.

    Raises:
        RemoteError: ``.dvc/config``, which is committed, holds a credential.
        NoRemoteError: there is no such remote.
    """
    found = repo.config.get("remote", {}).get(name or repo.config["core"].get("remote"))
    if found is None:
        raise NoRemoteError(name or "")
    committed = repo.config.load_one("repo").get("remote", {})
    for remote, options in committed.items():
        for option, value in options.items():
            if option in SECRETS or mask_credentials(str(value)) != str(value):
                raise RemoteError(
                    f".dvc/config holds a credential ({option} of {remote}), which is committed "
                    "with the file: remove it there and set it in the environment "
                    "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), or with dvc remote modify --local"
                )
    return dict(found)


def _check_reachable(repo: Repo, name: str | None) -> None:
    """Raise the store's error at once: DVC logs one for each file of the run cache first."""
    store = repo.cloud.get_remote_odb(name)
    try:
        store.fs.ls(store.path)
    except FileNotFoundError as error:
        if error.__cause__ is not None:  # the bucket is missing, not only the folder
            raise


def _uncommitted(root: Path) -> bool:
    """Return whether ``dvc.lock`` is not in git as it is."""
    done = subprocess.run(
        ["git", "status", "--porcelain", "--", "dvc.lock"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    return bool(done.stdout.strip())
