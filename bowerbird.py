"""Command line. Each command imports its modules when it runs, so --help answers at once."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Switch off the libraries' usage statistics. Waiting OpenMP threads sleep instead of spinning:
# otherwise training on two cores took twice as long while an endpoint ran.
for _name, _value in {
    "GX_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "true",
    "BENTOML_DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_WAIT_POLICY": "PASSIVE",
}.items():
    os.environ.setdefault(_name, _value)

# Libraries' progress bars: in a file or a pipe each is a single line of thousands of characters.
# This project prints its own progress as plain lines there (components/progress.py).
if not sys.stderr.isatty():
    os.environ.setdefault("TQDM_DISABLE", "1")

import typer  # noqa: E402
import typer.core  # noqa: E402

if TYPE_CHECKING:
    from components.registry import Registry

UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)


class Commands(typer.core.TyperGroup):
    """The commands; a full disk or a folder that cannot be written ends each with one line."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            place = error.filename or "the folder"
            typer.secho(f"error: {place}: {error.strerror}", fg="red", err=True)
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help=__doc__,
)
ROOT = Path()


@contextmanager
def errors_in_one_line(*kinds: type[Exception]) -> Iterator[None]:
    """Print an error of these kinds as one line, and end the command with status 1."""
    try:
        yield
    except kinds as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(1) from error


_invoked: list[str] = []
"""The command that runs, once it is known."""


@app.callback()
def _private(context: typer.Context) -> None:
    from components.permissions import keep_private

    _invoked[:] = [context.invoked_subcommand or ""]
    keep_private(ROOT)


def _stage(module: str, function: str = "run", **options: str) -> None:
    """Run a stage's function on this folder's params.yaml; module: where it is."""
    import importlib

    from components.settings import load_settings

    try:
        settings = load_settings()  # first: importing a stage's libraries takes seconds
        getattr(importlib.import_module(module), function)(settings, ROOT, **options)
    except Exception as error:
        message = _what_to_do(error)
        if message is None:
            raise
        typer.secho(f"error: {message}", fg="red", err=True)
        raise typer.Exit(1) from error


def _what_to_do(error: Exception) -> str | None:
    """Return the sentence for an error of the running stage, None for one that needs a traceback.

    Libraries raise errors of their own for a missing file. So whatever the error, an input that
    is missing because its stage has not run is named first.
    """
    from components.settings import SettingsError
    from flows.inputs import missing_inputs, remedy

    if isinstance(error, SettingsError):
        return str(error)
    if missing := missing_inputs(_invoked[0], ROOT):
        return remedy(missing, _invoked[0])
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"{error.filename} is missing"
    if isinstance(error, OSError) and (error.filename or error.errno == errno.ENOSPC):
        return f"{error.filename or 'data'}: {error.strerror}"  # permissions, a full disk
    return str(error) if isinstance(error, FileNotFoundError | ValueError) else None


@app.command()
def init(
    folder: Path = typer.Argument(help="the shop's folder, made by this command"),
    interactions: list[Path] = typer.Option(
        [], help="views, carts, purchases, ratings; repeatable"
    ),
    items: list[Path] = typer.Option([], help="the catalogue; repeatable"),
    users: list[Path] = typer.Option([], help="customers; repeatable"),
    reviews: list[Path] = typer.Option([], help="texts about products; repeatable"),
    currency: str = typer.Option(None, help="ISO 4217 code of the prices"),
    timezone: str = typer.Option(None, help="IANA zone of times without an offset"),
    preset: str = typer.Option(None, help="a known export or data set: docs/presets.md"),
    data: Path = typer.Option(None, help="folder with the files of the preset"),
    file: list[str] = typer.Option([], help="NAME=PATH, a file of the preset; repeatable"),
) -> None:
    """Make a shop's folder from its files: params.yaml, dvc.yaml, rules.yaml, git and DVC."""
    from components.project.init import Defaults, init_preset
    from components.project.init import init as make

    paths = {"interactions": interactions, "items": items, "users": users, "reviews": reviews}
    try:
        defaults = Defaults(currency, timezone)
        if preset:
            if any(paths.values()) or not data:
                raise ValueError("--preset reads the files of --data (and --file NAME=PATH)")
            pairs = [one.partition("=") for one in file]
            if wrong := [name for name, _, path in pairs if not path]:
                raise ValueError(f"--file {wrong[0]}: write NAME=PATH")
            given = {name: Path(path) for name, _, path in pairs}
            todo = init_preset(folder, preset, data, given, defaults)
        elif data or file:
            raise ValueError(
                "--data and --file belong to --preset; without one, name each file by what it "
                "holds: --interactions orders.csv --items products.csv"
            )
        else:
            todo = make(folder, paths, defaults)
    except (ValueError, OSError) as error:
        typer.secho(f"error: {_what_to_do(error) or error}", fg="red", err=True)
        raise typer.Exit(1) from error
    if todo:
        typer.secho(f"\n{folder} is made, but cannot run yet:", fg="red", err=True)
        for one in todo:
            typer.secho(f"  - {one}", fg="red", err=True)
        typer.echo(
            f"\nMend {folder / 'params.yaml'} or the files, then in {folder}: bowerbird check"
        )
        raise typer.Exit(1)
    place = shlex.quote(str(folder))
    typer.echo(f"\nNext: cd {place} && bowerbird run, then bowerbird serve")


@app.command()
def check(
    megabytes: float = typer.Option(16.0, min=0.1, help="read of each source, decompressed"),
) -> None:
    """Read the beginning of the shop's files and report in seconds what ingest and validate say."""
    from components.project.check import check as run_check
    from components.settings import load_settings

    try:
        run_check(load_settings(), ROOT, megabytes)
    except (ValueError, OSError) as error:
        typer.secho(f"error: {_what_to_do(error) or error}", fg="red", err=True)
        raise typer.Exit(1) from error


def _repro(*arguments: str) -> None:
    """Run the stages whose inputs changed: ``dvc repro`` with ``arguments``."""
    import subprocess

    from components.settings import SettingsError, load_settings
    from flows.inputs import missing_settings
    from flows.repair import remove_damaged

    with errors_in_one_line(SettingsError):
        if missing := missing_settings(load_settings(), ROOT):
            raise SettingsError(
                f"dvc.yaml reads {', '.join(missing)}, which params.yaml lacks: add the lines "
                + ", ".join(f"`{name}: {value}`" for name, value in missing.items())
                + " in their sections"
            )
    remove_damaged()
    # Stages are commands of this environment, even if it is not activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "dvc", "repro", *arguments]
    done = subprocess.run(command, env={**os.environ, "PATH": path}, check=False)
    if done.returncode:
        raise typer.Exit(done.returncode)


@app.command()
def run(
    pull: bool = typer.Option(
        False, "--pull", help="copy what another machine made from DVC's remote, as it is needed"
    ),
) -> None:
    """Run all stages whose inputs changed, then print a summary."""
    _repro(*(["--pull"] if pull else []))
    summary()


@app.command()
def push(
    remote: str = typer.Option(None, help="name of a DVC remote; default: the default one"),
) -> None:
    """Copy the stages' outputs and the run cache to DVC's remote, for other machines."""
    _transfer("push", remote)


@app.command()
def pull(
    remote: str = typer.Option(None, help="name of a DVC remote; default: the default one"),
) -> None:
    """Copy outputs and run cache from DVC's remote: `bowerbird run` continues after them."""
    _transfer("pull", remote)


def _transfer(direction: str, remote: str | None) -> None:
    from flows import remote as dvc_remote

    with errors_in_one_line(dvc_remote.RemoteError):
        getattr(dvc_remote, direction)(ROOT, remote)


@app.command()
def code() -> None:
    """Write the digests of the code that each stage runs, so that an upgrade is seen."""
    _stage("components.project.code")


@app.command()
def sources() -> None:
    """List the shop's files with their digests, so that changed ones are read again."""
    _stage("components.data.sources.inventory")


@app.command()
def ingest() -> None:
    """Read the shop's files and the feedback into the raw tables."""
    _stage("components.data.ingest")


@app.command()
def validate() -> None:
    """Validate the raw tables; bad rows go to quarantine with the reason."""
    _stage("components.data.validation")


@app.command()
def preprocess() -> None:
    """Clean the data, compute features, split by time."""
    _stage("components.data.split")


@app.command()
def corpus() -> None:
    """Build the corpus from the texts of the catalogue and the reviews."""
    _stage("components.language.corpus")


@app.command()
def pretrain() -> None:
    """Continue pre-training the language model on the corpus."""
    _stage("components.language.pretraining")


@app.command()
def finetune() -> None:
    """Fine-tune the language model for recommendation."""
    _stage("components.language.finetuning")


@app.command()
def encode() -> None:
    """Encode every product."""
    _stage("components.language.encoding")


@app.command()
def understanding() -> None:
    """Train what understands shoppers' messages."""
    _stage("components.understanding.training")


@app.command()
def text() -> None:
    """Evaluate the language model: without further training, pre-trained, fine-tuned."""
    _stage("components.evaluation.text")


@app.command()
def inputs() -> None:
    """Copy the files that candidates read, each candidate's to a folder of its own."""
    _stage("components.recommenders.inputs")


@app.command()
def fit(
    model: str = typer.Option(help="a candidate, for example ease"),
    window: str = typer.Option(help="validation, test or all: the data before it are learned from"),
) -> None:
    """Fit one candidate model for one window."""
    _stage("components.recommenders.train", "fit", model=model, window=window)


@app.command()
def train() -> None:
    """Fit every candidate model for every window: inputs and all fits, without DVC."""
    _stage("components.recommenders.train")


@app.command()
def rank() -> None:
    """Fit the ranker over the candidates."""
    _stage("components.recommenders.rank")


@app.command()
def refit() -> None:
    """Fit the served model: the same candidates and ranker, on all data."""
    _stage("components.recommenders.refit")


@app.command()
def refresh(
    data: bool = typer.Option(
        True, help="first export the feedback and read the shop's newest files"
    ),
) -> None:
    """Take the newest data into the champion without a training, and publish it as a version."""
    from components.file_erasure import no_training

    with errors_in_one_line(ValueError), no_training(ROOT):
        if data:
            export_feedback()
            # Not into DVC's cache, which would grow with each refresh: the next training does.
            _repro("--no-commit", "preprocess")
        _stage("components.registry.refresh")


@app.command()
def tune(
    model: str = typer.Argument(help="a candidate, for example ease"),
    trials: int = typer.Option(30, min=1, help="number of finished trials, including earlier runs"),
    timeout: float = typer.Option(None, help="seconds after which no new trial starts"),
    workers: int = typer.Option(
        1, min=1, help="processes that Prefect starts for one search; several need PostgreSQL"
    ),
    worker: int = typer.Option(
        0, min=0, help="number of this process among several that share a search; no report"
    ),
    study: str = typer.Option(None, help="name of the study that the workers share", hidden=True),
) -> None:
    """Search a model's hyper-parameters on the validation window; continues a killed search."""
    from components.settings import SettingsError, load_settings

    with errors_in_one_line(SettingsError):
        settings = load_settings()
    folder = ROOT / "var/search" / model
    if workers > 1:
        from components.recommenders.tuning import check_shareable

        with errors_in_one_line(ValueError):
            check_shareable(model, settings)
        # Prefect reads it when it is imported. The project has its own database.
        os.environ.setdefault("PREFECT_HOME", str((ROOT / "var/prefect").resolve()))
        # Without $PREFECT_API_URL it starts a server for this run.
        os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "300")
        from flows.children import ended_with_this_process
        from flows.stages import StageFailed
        from flows.tuning import tuning

        with (
            errors_in_one_line(StageFailed, FileNotFoundError, ValueError),
            ended_with_this_process(),
        ):
            tuning(model, trials, workers, timeout)
            typer.echo((folder / "best.yaml").read_text(encoding="utf-8"))
    else:
        from components.evaluation.metrics import ndcg
        from components.recommenders.tuning import snippet
        from components.recommenders.tuning import tune as search

        with errors_in_one_line(FileNotFoundError, ValueError):
            found = search(
                *(model, settings, ROOT, trials, timeout),
                metric=ndcg,
                worker=worker,
                expected=study,
            )
            if worker:
                return
            typer.echo(f"best on validation: NDCG@10 {found.best_value:.4f}, for params.yaml:")
            typer.echo(snippet(found, model))
    typer.echo(f"report: {folder}")


@app.command()
def evaluate() -> None:
    """Evaluate all models on the held-out newest weeks."""
    _stage("components.evaluation.report")


@app.command()
def reference() -> None:
    """Build the reference for monitoring and calibrate the drift alarm."""
    _stage("monitoring.reference")


@app.command(hidden=True)
def watch() -> None:
    """Old name of ``reference``."""
    warning = "warning: `bowerbird watch` is now `bowerbird reference`; the next version refuses it"
    typer.secho(warning, fg="yellow", err=True)
    reference()


@app.command()
def monitor(
    window: Path = typer.Option(None, help="Parquet file of interactions; default: data/feedback"),
) -> None:
    """Check the newest traffic for drift: verdict, report, alert. Drift has exit code 0 too."""
    from components.settings import SettingsError, load_settings
    from monitoring.run import check_drift

    with errors_in_one_line(SettingsError, FileNotFoundError, ValueError):
        found = check_drift(load_settings(), ROOT, window)
    verdict = found.verdict
    states = {"broken": "broken data", "attack": "signs of an attack", "drift": "drift"}
    typer.echo(states.get(verdict.kind) or ("no drift" if verdict.enough else "not enough data"))
    for reason in verdict.reasons:
        typer.echo(f"  {reason}")
    if found.held:
        days = ", ".join(map(str, found.held))
        typer.echo(f"held, not learned from until `bowerbird release`: {days}")
    if verdict.kind == "attack":
        typer.echo("promotions are held until `bowerbird release --promotion`; `bowerbird held`")
    typer.echo(f"report: {found.folder / 'index.html'}")


DAY_FORMATS = ["%Y-%m-%d"]


def _check_days_or_promotion(first: datetime | None, promotion: bool) -> None:
    if promotion == (first is not None):
        typer.secho("error: name the days, or --promotion", fg="red", err=True)
        raise typer.Exit(1)


@app.command()
def hold(
    first: datetime = typer.Argument(None, formats=DAY_FORMATS, help="first day (UTC)"),
    last: datetime = typer.Argument(None, formats=DAY_FORMATS, help="last day; default: first"),
    promotion: bool = typer.Option(False, help="pause promotions"),
    reason: str = typer.Option("by the operator", help="for the record"),
) -> None:
    """Learn nothing from these days: the next training leaves them out; or pause promotions."""
    from components.data.held_days import hold_days
    from components.evaluation.promotion_hold import hold_promotions

    _check_days_or_promotion(first, promotion)
    if promotion:
        typer.echo(str(hold_promotions(ROOT, reason)))
        return
    with errors_in_one_line(ValueError):
        days = hold_days(ROOT, first.date(), (last or first).date(), reason, "operator")
    typer.echo(f"{len(days)} days newly held; the next training leaves their events out")


@app.command()
def release(
    first: datetime = typer.Argument(None, formats=DAY_FORMATS, help="first day (UTC)"),
    last: datetime = typer.Argument(None, formats=DAY_FORMATS, help="last day; default: first"),
    promotion: bool = typer.Option(False, help="end the hold on promotions"),
    reason: str = typer.Option("by the operator", help="for the record"),
) -> None:
    """Learn from these days after all, and never hold them automatically; or allow promotions."""
    from components.data.held_days import release_days
    from components.evaluation.promotion_hold import release_promotions

    _check_days_or_promotion(first, promotion)
    if promotion:
        there = release_promotions(ROOT)
        _send_alerts()
        typer.echo(
            "promotions are allowed; `bowerbird promote VERSION` promotes one that was held back"
            if there
            else "promotions were not held"
        )
        return
    with errors_in_one_line(ValueError):
        days = release_days(ROOT, first.date(), (last or first).date(), reason)
    _send_alerts()
    typer.echo(f"{len(days)} held days released; the next training learns from them")


def _send_alerts() -> None:
    """Send what is resolved, where no endpoint runs that would."""
    from components.notifications import deliver
    from components.settings import SettingsError, load_settings

    try:
        deliver(ROOT, load_settings())
    except SettingsError as error:
        typer.secho(f"warning: messages of alerts were not sent: {error}", fg="yellow", err=True)


@app.command()
def held() -> None:
    """List the held days and the hold on promotions, with the profiles of a suspected attack."""
    from components.data.held_days import load_held_days
    from components.evaluation.promotion_hold import SUSPECTS, read_promotion_hold

    with errors_in_one_line(ValueError):
        reasons = load_held_days(ROOT).reasons()
    for day, reason in sorted(reasons.items()):
        typer.echo(f"{day}  {reason}")
    promotions = read_promotion_hold(ROOT)
    if promotions is not None:
        typer.echo(f"promotions are held since {promotions.since}: {promotions.reason}")
        suspects = ROOT / SUSPECTS
        if suspects.exists():
            import pyarrow.parquet as pq

            for row in pq.read_table(suspects).to_pylist():
                typer.echo(f"  {row['item_id']}  {row['sign']}  {row['user_id']}")
    if not reasons and promotions is None:
        typer.echo("nothing is held")


@app.command()
def timeline(
    n: int = typer.Option(30, "-n", min=1, help="the newest entries that are shown"),
    as_json: bool = typer.Option(False, "--json", help="with the evidence, one JSON object a line"),
) -> None:
    """What happened to the shop's models and data: promotions, canaries, holds, alerts."""
    import json
    from dataclasses import asdict

    from components.timeline import newest

    for entry in newest(ROOT, n)[::-1]:
        if as_json:
            typer.echo(json.dumps(asdict(entry), ensure_ascii=False))
        else:
            typer.echo(f"{entry.at[:16]}  {entry.kind:<20}  {entry.text} ({entry.by})")


@app.command()
def alerts(
    test: bool = typer.Option(False, "--test", help="send a message to each address"),
) -> None:
    """List the open alerts; or test the addresses of monitor.alert_urls."""
    from components.alerts import open_alerts
    from components.notifications import send_test
    from components.settings import SettingsError, load_settings

    if not test:
        for one in open_alerts(ROOT):
            times = f", {one.count} times until {one.last[:16]}" if one.count > 1 else ""
            typer.echo(f"{one.opened[:16]}  {one.kind}: {one.subject}{times}\n    {one.reason}")
        return
    with errors_in_one_line(SettingsError):
        settings = load_settings()
        if not settings.monitor.alert_urls.addresses:
            raise SettingsError(
                "there is no address: set BOWERBIRD_MONITOR__ALERT_URLS, see docs/operations.md"
            )
    sent = send_test(settings)
    for url, is_sent in sent.items():
        typer.echo(f"{url}: {'delivered' if is_sent else 'not delivered'}")
    if not all(sent.values()):
        raise typer.Exit(1)


@app.command()
def register() -> None:
    """Register the model in MLflow; promote it if it is better than the champion."""
    _stage("components.registry")


@app.command()
def summary() -> None:
    """Summarise the last run and what to do next."""
    from components.settings import SettingsError, load_settings
    from components.summary import summary as text

    with errors_in_one_line(SettingsError, FileNotFoundError, ValueError):
        typer.echo(text(ROOT, load_settings()))


@contextmanager
def _registry() -> Iterator[Registry]:
    """Open the registry; an error ends the command with one line."""
    from components.registry import Registry, RegistryError, reachable
    from components.settings import SettingsError, load_settings

    with errors_in_one_line(SettingsError, RegistryError):
        settings = load_settings()
        with reachable():
            yield Registry(settings, ROOT)


@app.command()
def models() -> None:
    """List the registered versions, newest first."""
    with _registry() as registry:
        for one in registry.versions():
            score = "" if one.ndcg is None else f"NDCG@10 {one.ndcg:.4f}"
            made = f"{one.created:%Y-%m-%d %H:%M}"
            origin = "" if one.refreshed_from is None else f"refreshed from {one.refreshed_from}"
            notes = " ".join([*one.aliases, *filter(None, [origin])])
            typer.echo(f"{one.version:>4}  {made}  {score:<15}  {notes}")


@app.command()
def promote(
    version: str,
    now: bool = typer.Option(False, "--now", help="serve it to all shoppers at once"),
) -> None:
    """Make a version the champion; a running endpoint loads it, first for its canary."""
    from components.registry import promote as make_champion

    with _registry() as registry:
        make_champion(registry, version, now)
    typer.echo(f"version {version} is the champion")


@app.command()
def rollback(
    of: str = typer.Option(None, help="do nothing if the champion is another version"),
) -> None:
    """Go back to the previous champion, or end the canary of the present one."""
    from components.registry import rollback as restore_previous

    with _registry() as registry:
        version = restore_previous(registry, of)
    typer.echo(f"version {version} is the champion")


@app.command()
def rebuild(
    version: str,
    folder: Path = typer.Argument(help="a new folder, in which the version is trained again"),
) -> None:
    """Train a registered version again from its data and settings; say whether it is the same."""
    from flows.rebuild import rebuild as train_again
    from flows.stages import StageFailed

    with errors_in_one_line(ValueError, StageFailed), _registry() as registry:
        found = train_again(registry, version, folder)
    if found.code:
        stages = ", ".join(found.code)
        typer.echo(f"the installed code of {stages} is not the version's: install its commit first")
    typer.echo(f"NDCG@10 {found.ndcg:.6f}, registered {found.registered:.6f}")
    if found.different:
        typer.secho(f"version {version} differs in: {', '.join(found.different)}", fg="red")
        raise typer.Exit(1)
    typer.echo(f"version {version} is the same bit for bit")


def _check_free(host: str, port: int, setting: str) -> None:
    """End the command with one line if the port is in use."""
    import socket

    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do
            probe.bind(address)
    except OSError as error:
        reason = f"cannot listen on {host} port {port} ({error.strerror})"
        typer.secho(f"error: {reason}: set {setting} to another", fg="red", err=True)
        raise typer.Exit(1) from error


@app.command()
def flows() -> None:
    """Run the scheduled flows against the Prefect server of $PREFECT_API_URL."""
    from components.settings import SettingsError, load_settings
    from flows.access import AccessError, known_login
    from flows.children import ended_with_this_process
    from flows.servers import url

    with errors_in_one_line(SettingsError, AccessError):
        settings = load_settings()
        # Send the login only to the server of `bowerbird ui` in this folder.
        own = f"{url(settings.flows.host, settings.flows.prefect_port)}/api"
        if os.environ.get("PREFECT_API_URL") == own and (login := known_login(ROOT)):
            os.environ.setdefault("PREFECT_API_AUTH_STRING", login)
        from flows.deployments import serve_flows

        with ended_with_this_process():
            serve_flows(settings)


@app.command()
def deploy(
    work_pool: str = typer.Option(..., help="name of a Prefect work pool"),
    image: str = typer.Option(None, help="image of its containers, which has bowerbird"),
    source: str = typer.Option(None, help="git URL of this folder; default: its origin"),
    branch: str = typer.Option(None, help="default: the branch that is checked out here"),
    folder: str = typer.Option("", help="folder on the worker that keeps clone and cache"),
) -> None:
    """Deploy the flows to a work pool of the Prefect server of $PREFECT_API_URL."""
    from components.settings import load_settings
    from flows.work_pool import deploy_flows

    with errors_in_one_line(ValueError):
        names = deploy_flows(load_settings(), ROOT, work_pool, image, source, branch, folder)
    typer.echo(f"deployed to {work_pool}: {', '.join(names)}")


@app.command()
def job_template(
    file: Path = typer.Argument(help="JSON file, made by this command"),
) -> None:
    """Write a base job template for a Prefect work pool of Kubernetes."""
    import json

    from flows.work_pool import DeployError, default_template, kubernetes_template

    try:
        template = kubernetes_template(default_template("kubernetes"))
        file.write_text(json.dumps(template, indent=1), encoding="utf-8")
    except (DeployError, OSError) as error:
        typer.secho(f"error: {_what_to_do(error) or error}", fg="red", err=True)
        raise typer.Exit(1) from error


@app.command()
def ui() -> None:
    """Start Prefect's and MLflow's servers on this machine, and run the scheduled flows."""
    from components.settings import SettingsError, load_settings
    from flows.access import AccessError, check_host, how_to_log_in, load_login
    from flows.children import ended_with_this_process
    from flows.servers import servers, url

    with errors_in_one_line(SettingsError, AccessError, OSError):
        settings = load_settings()
        f = settings.flows
        check_host(f.host)
        _check_free(f.host, f.prefect_port, "flows.prefect_port")
        _check_free(f.host, f.mlflow_port, "flows.mlflow_port")
        login = load_login(ROOT)
    # Prefect reads these when it is imported. The project has its own database.
    os.environ.setdefault("PREFECT_HOME", str((ROOT / "var/prefect").resolve()))
    os.environ["PREFECT_API_URL"] = f"{url(f.host, f.prefect_port)}/api"
    os.environ["PREFECT_API_AUTH_STRING"] = login
    from flows.deployments import serve_flows

    with (
        errors_in_one_line(RuntimeError),
        ended_with_this_process(),
        servers(settings, ROOT) as (prefect, mlflow),
    ):
        typer.echo(f"Prefect {prefect}   MLflow {mlflow}   stop with Ctrl-C")
        typer.echo(how_to_log_in(ROOT))
        serve_flows(settings, own_server=True)


@app.command()
def serve(
    host: str = typer.Option(None, help="default: serve.host of params.yaml"),
    port: int = typer.Option(None, min=1, max=65535, help="default: serve.port"),
    workers: int = typer.Option(
        1, min=1, help="number of processes; more than one needs PostgreSQL for events"
    ),
) -> None:
    """Serve the champion over HTTP, with the web pages."""
    from components.settings import SettingsError, load_settings
    from serving.api.auth import Keys, SecretError, load_secret
    from serving.api.peers import is_loopback
    from serving.events.errors import StoreError
    from serving.events.store import check_store

    with errors_in_one_line(SettingsError, SecretError, ValueError):
        settings = load_settings()
        host, port = host or settings.serve.host, port or settings.serve.port
        if not Keys.from_environment().both and not (host == "localhost" or is_loopback(host)):
            raise SettingsError(
                f"--host {host} leaves this machine: set BOWERBIRD_API_KEY and "
                "BOWERBIRD_OPERATOR_KEY first"
            )
        _check_free(host, port, "serve.port")
        from flows.children import ended_with_this_process
        from serving.languages import check_setting
        from serving.launch import LaunchError, check_model, launch

        check_setting(settings.serve.language)
        load_secret(ROOT)
    with errors_in_one_line(LaunchError, StoreError, FileNotFoundError, ValueError):
        check_model(ROOT, settings.serve.follow_registry > 0)
        check_store(settings.serve.events_url.get_secret_value(), ROOT)
        # In this process, so that signals reach the server. Workers that survive it keep the port.
        with ended_with_this_process():
            launch(ROOT, host, port, workers)


@app.command()
def recommend_all(
    to: Path = typer.Option(None, help="a new folder for the lists and their manifest"),
    table: str = typer.Option(None, help="instead: a new table of recommend_all.database"),
    csv: bool = typer.Option(False, "--csv", help="write CSV, not Parquet, into the folder"),
    k: int = typer.Option(10, "-k", min=1, help="products of a list"),
    request: str = typer.Option(
        "{}", help='further fields of POST /recommend as JSON, such as {"max_price": 20}'
    ),
    customers: Path = typer.Option(
        None, help="only these: one id a line, or Parquet with a column user_id"
    ),
    where: list[str] = typer.Option(
        [], help="NAME=VALUE, only customers with this attribute; repeatable"
    ),
    language: str = typer.Option(None, help="of the reasons; default: serve.language"),
    log: bool = typer.Option(
        True, "--log/--no-log", help="the lists are shown to customers: log them as impressions"
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="replace earlier lists there"),
) -> None:
    """Write lists for all customers, as the endpoint would answer; continues a killed run."""
    from concurrent.futures import BrokenExecutor

    from components.settings import load_settings
    from serving.api.auth import Auth, Keys, SecretError, load_secret
    from serving.batch.customers import Segment, read_ids
    from serving.batch.lists import recommend_all as make
    from serving.batch.output import Folder, Output, OutputError, Table
    from serving.batch.plan import plan_of
    from serving.events.errors import StoreError

    try:
        settings = load_settings()
        if (to is None) == (table is None):
            raise OutputError("say where the lists go: --to FOLDER, or --table NAME")
        output: Output
        if table is not None:
            output = Table(settings.recommend_all.database.get_secret_value(), table, overwrite)
        else:
            output = Folder(to, "csv" if csv else "parquet", overwrite)
        if wrong := [one for one in where if "=" not in one]:
            raise ValueError(f"--where {wrong[0]}: write NAME=VALUE")
        values = dict(one.split("=", 1) for one in where)
        segment = Segment(None if customers is None else read_ids(customers), values)
        plan = plan_of(settings, k, request, segment, language, log)
        keys = Keys.from_environment()
        sign = Auth(keys, load_secret(ROOT)).impression_id
        made = make(settings, ROOT, plan, output, sign, keys.api is not None)
    except BrokenExecutor as error:
        reason = "a ranking process ended, perhaps for lack of memory: run again with fewer"
        typer.secho(f"error: {reason} recommend_all.workers", fg="red", err=True)
        raise typer.Exit(1) from error
    except (StoreError, SecretError, ValueError, OSError) as error:
        typer.secho(f"error: {_what_to_do(error) or error}", fg="red", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{made['lists']:,} lists of {made['products']:,} products: {output.place}")
    for reason, n in made["left_out"].items():
        typer.echo(f"{n:,} customers left out: {reason}")


@app.command()
def objective(
    by: str = typer.Option(..., help="price, or a declared number such as margin"),
    weights: str = typer.Option("0.1,0.25,0.5,1,2", help="by commas"),
    where: str = typer.Option(None, help="a filter: only these products move"),
    surface: str = typer.Option("home", help="of serve.surfaces"),
    k: int = typer.Option(10, "-k", min=1, help="products of a list"),
    most: int = typer.Option(2000, "--lists", min=1, help="shoppers, and logged lists, at most"),
    to: Path = typer.Option(Path("reports/objective"), help="folder for table and picture"),
) -> None:
    """Judge a business objective by its weight before it is in force: NDCG, margin, purchases."""
    from components.settings import SettingsError, load_settings
    from serving.events.errors import StoreError
    from serving.merchandising.objective import table_of, try_weights, write

    with errors_in_one_line(SettingsError, StoreError, FileNotFoundError, ValueError):
        tried = [float(one) for one in weights.split(",")]
        found = try_weights(load_settings(), ROOT, by, tried, where, surface, k, most)
        write(to, by, tried, found)
    typer.echo(table_of(by, tried, found))
    typer.echo(f"table and picture: {to}")


@app.command()
def package() -> None:
    """Package the champion as a Bento and print its tag."""
    from components.settings import SettingsError, load_settings
    from serving.packaging import package as build

    with errors_in_one_line(SettingsError, FileNotFoundError, ValueError):
        tag = build(load_settings(), ROOT)
    typer.echo(tag)
    typer.echo(f"serve it: bentoml serve {tag}    as a container: bentoml containerize {tag}")


@app.command()
def export_feedback() -> None:
    """Export impressions and feedback to Parquet, for ingest and monitoring."""
    from components.data.attributes import types
    from components.file_erasure import USERS
    from components.settings import SettingsError, load_settings
    from serving.events.errors import StoreError
    from serving.events.event_erasure import export_erasures
    from serving.events.export import (
        export_events,
        export_impressions,
        export_items,
        export_users,
    )
    from serving.events.store import open_store

    with errors_in_one_line(SettingsError, StoreError, ValueError):
        settings = load_settings()
        with open_store(settings.serve.events_url.get_secret_value(), ROOT) as store:
            files = export_events(store.database, ROOT / settings.ingest.feedback)
            files += export_impressions(store.database, ROOT / "data/impressions")
            of_items, of_users = types(settings.ingest.items), types(settings.ingest.users)
            files += export_items(store.database, ROOT / "data/catalogue", of_items)
            files += export_users(store.database, ROOT / USERS, of_users)
            files += export_erasures(store.database, ROOT)
    for file in files:
        typer.echo(file)
    typer.echo(f"{len(files)} files written")


@app.command()
def share_histories(
    version: str = typer.Argument(None, help="a version with a file here; default: the champion"),
) -> None:
    """Write a version's histories to the event store, for endpoints with serve.histories: store."""
    from components.settings import SettingsError, load_settings
    from serving.events.errors import StoreError
    from serving.events.history_table import share_histories as share
    from serving.events.store import open_store
    from serving.models.versions import histories_of, kept_versions

    with errors_in_one_line(SettingsError, StoreError, ValueError, FileNotFoundError):
        settings = load_settings()
        version, file = histories_of(ROOT, version)
        with open_store(settings.serve.events_url.get_secret_value(), ROOT) as store:
            users = share(store.database, file, version, kept_versions(ROOT))
    typer.echo(f"the event store has the histories of {users:,} customers of version {version}")


@app.command()
def erase(
    person: str = typer.Argument(help="user_id, or session_id with --session"),
    session: bool = typer.Option(False, "--session", help="the id is a session id"),
) -> None:
    """Erase a person from the event store and all files below this folder; print the receipt."""
    from components.data.engine import tables_of_one_command
    from components.file_erasure import no_training
    from components.settings import SettingsError, load_settings
    from serving.erasure import erase_person_offline
    from serving.events.errors import StoreError
    from serving.events.store import open_store
    from serving.events.tables import profile_of

    profile = str(profile_of(None, person) if session else profile_of(person, None))
    with errors_in_one_line(SettingsError, StoreError, ValueError, OSError):
        settings = load_settings()
        url = settings.serve.events_url.get_secret_value()
        with no_training(ROOT), tables_of_one_command(ROOT), open_store(url, ROOT) as store:
            result = erase_person_offline(store, settings, ROOT, profile)
    for place in result.places:
        rows = "" if place.rows is None else f"{place.rows:,} rows"
        typer.echo(f"{place.place}: {place.state} {rows}".rstrip())
        if place.todo:
            typer.echo(f"    {place.todo}")
    typer.echo(f"receipt: {result.receipt}")


if __name__ == "__main__":
    app()
