"""Settings that hold credentials: from the environment alone, masked, never written."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.credentials import AlertUrls, Credential, check_text, mask_credentials
from components.settings import SettingsError, load_settings, read_params

SECRETS = {
    "serve.events_url": "postgresql://shop:S3CRET@db/shop",
    "search.storage": "postgresql://db/shop?user=shop&password=S3CRET",
    "register.tracking_uri": "https://S3CRET@mlflow.example",
    "serve.writer": "https://writer.example/v1?api_key=S3CRET",
    "monitor.alert_urls": "slack://S3CRET/T2/T3 mailtos://shop:S3CRET@mail.example",
}


def name_of(key: str) -> str:
    return "BOWERBIRD_" + key.replace(".", "__").upper()


def params(folder: Path, key: str, value: Any) -> Path:
    """Return the repository's params.yaml with one value more."""
    raw = yaml.safe_load(Path("params.yaml").read_text())
    *sections, last = key.split(".")
    place = raw
    for section in sections:
        place = place[section]
    place[last] = value
    file = folder / "params.yaml"
    file.write_text(yaml.safe_dump(raw))
    return file


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sqlite:///var/events/a:b@c.db", "sqlite:///var/events/a:b@c.db"),
        ("postgresql://shop@db:5432/shop", "postgresql://shop@db:5432/shop"),
        ("postgresql:///shop?passfile=/x&sslkey=/y", "postgresql:///shop?passfile=/x&sslkey=/y"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("models/language/writer", "models/language/writer"),
        ("postgresql+psycopg://shop:4711@db/shop", "postgresql+psycopg://shop:***@db/shop"),
        ("postgresql://shop:a/b?c d'e@db/shop", "postgresql://shop:***@db/shop"),
        ("postgresql://db/shop?sslpassword=4711&x=1", "postgresql://db/shop?sslpassword=***&x=1"),
        ("HTTPS://4711@git.example/shop.git", "HTTPS://***@git.example/shop.git"),
        ("https://x.example/?Access_Token=4711", "https://x.example/?Access_Token=***"),
        ("host=db password=4711", "host=db password=***"),
    ],
)
def test_what_is_shown_of_a_url(text: str, shown: str) -> None:
    assert str(Credential(text)) == shown
    assert Credential(text).secret == (text != shown)
    assert Credential(text).get_secret_value() == text


def test_an_address_of_alerts_shows_its_scheme_alone() -> None:
    urls = AlertUrls("slack://4711/T2 \n jsons://hooks.example/4711 4711")
    assert str(urls) == "slack://*** jsons://*** ***://***"
    assert urls.shown == ["address 1 (slack)", "address 2 (jsons)", "address 3 (***)"]
    assert len(urls.addresses) == 3
    assert not AlertUrls("").secret


def test_the_old_webhook_is_refused_with_what_to_write_instead(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = load_settings("params.yaml")
    assert load_settings(params(tmp_path, "monitor.webhook", "")) == before
    file = params(tmp_path, "monitor.webhook", "https://hooks.example/S3CRET")
    with pytest.raises(SettingsError, match=r"is now monitor\.alert_urls") as refused:
        load_settings(file)
    assert "S3CRET" not in str(refused.value)
    monkeypatch.setenv("BOWERBIRD_MONITOR__WEBHOOK", "https://hooks.example/S3CRET")
    with pytest.raises(SettingsError, match=r"is now monitor\.alert_urls") as refused:
        load_settings("params.yaml")
    assert "S3CRET" not in str(refused.value)


def test_urls_within_a_text_are_masked() -> None:
    text = "(OperationalError) 'postgresql://u:4711@h/d?password=4712' at https://t4713@x/y, twice"
    assert mask_credentials(text) == (
        "(OperationalError) 'postgresql://u:***@h/d?password=***' at https://***@x/y, twice"
    )


@pytest.mark.parametrize("key", SECRETS)
def test_a_credential_in_the_file_is_refused_with_the_name_to_use(tmp_path: Path, key: str) -> None:
    file = params(tmp_path, key, SECRETS[key])
    with pytest.raises(SettingsError) as refused:
        load_settings(file)
    assert f"{key} holds a credential" in str(refused.value)
    assert f"set {name_of(key)} in the environment" in str(refused.value)
    assert "S3CRET" not in str(refused.value)


@pytest.mark.parametrize("key", ["serve.event_url", "register.model_name", "ingest.feedback"])
def test_a_credential_under_another_key_is_refused_too(tmp_path: Path, key: str) -> None:
    file = params(tmp_path, key, "postgresql://shop:S3CRET@db/shop")
    with pytest.raises(SettingsError, match=rf"{key} holds a credential") as refused:
        load_settings(file)
    assert "S3CRET" not in str(refused.value)


@pytest.mark.parametrize("key", SECRETS)
def test_from_the_environment_it_is_used_and_never_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str
) -> None:
    monkeypatch.setenv(name_of(key), f" {SECRETS[key]}\n")
    settings = load_settings("params.yaml")
    section, field = key.split(".")
    holder = getattr(settings, {"register": "register_"}.get(section, section))
    assert getattr(holder, field).get_secret_value() == SECRETS[key]
    assert pickle.loads(pickle.dumps(settings)) == settings  # to the ranking process
    for shown in (repr(settings), str(settings), repr(settings.model_dump())):
        assert "S3CRET" not in shown
    written = settings.model_dump(mode="json", by_alias=True)
    assert field not in written[section]
    assert "S3CRET" not in settings.model_dump_json()
    file = tmp_path / "written.yaml"
    file.write_text(yaml.safe_dump(written))
    assert load_settings(file) == settings
    monkeypatch.delenv(name_of(key))
    assert load_settings(file) == load_settings("params.yaml")


def test_without_credentials_it_is_written_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOWERBIRD_SERVE__EVENTS_URL", "postgresql:///shop?host=/run/postgresql")
    written = load_settings("params.yaml").model_dump(mode="json", by_alias=True)
    assert written["serve"]["events_url"] == "postgresql:///shop?host=/run/postgresql"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BOWERBIRD_SERVE__EVENT_URL", "postgresql://shop:S3CRET@db/shop"),  # mistyped
        ("BOWERBIRD_SERVE__EVENT_URL", "S3CRET"),
        ("BOWERBIRD_SERVE__PORT", "https://hooks.example/T/S3CRET"),
        ("BOWERBIRD_SERVE__PORT", "{a: S3CRET}"),
        ("BOWERBIRD_SERVE__PORT", "@S3CRET"),
        ("BOWERBIRD_MONITOR__ALERT_URLS__URL", "https://hooks.example/T/S3CRET"),
        ("BOWERBIRD_MONITOR__ALERT_URLS", "slack://S3CRET S3CRET"),
        ("BOWERBIRD_REGISTER__MODEL_NAME", "postgresql://shop:S3CRET@db/shop"),
        ("BOWERBIRD_SERVE__EVENTS_URL", "postgresql://shop:x@S3CRET@db/shop"),
    ],
)
def test_a_wrong_value_from_the_environment_is_not_quoted(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load_settings("params.yaml")
    section, key = name.removeprefix("BOWERBIRD_").lower().split("__")[:2]
    assert f"{section}.{key}" in str(refused.value) or name in str(refused.value)
    cause: BaseException | None = refused.value
    while cause is not None:
        assert "S3CRET" not in f"{cause!r} {cause}"
        cause = cause.__cause__ or cause.__context__


def test_a_file_that_is_no_yaml_is_not_quoted(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("monitor:\n  webhook: @https://hooks.example/S3CRET\n")
    with pytest.raises(SettingsError, match="line 2, column 12") as refused:
        read_params(file)
    assert "S3CRET" not in f"{refused.value} {refused.value.__context__}"


def test_requirements_with_a_token_are_refused(tmp_path: Path) -> None:
    assert check_text(Path("requirements/lock.txt"))
    file = tmp_path / "lock.txt"
    file.write_text("a==1.0\n--extra-index-url https://S3CRET@packages.example/simple\n")
    with pytest.raises(ValueError, match="line 2 holds a credential") as refused:
        check_text(file)
    assert "S3CRET" not in str(refused.value)


def test_a_nested_key_is_overridden(monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_settings("params.yaml").serve.rules
    monkeypatch.setenv("BOWERBIRD_SERVE__RULES__POOL", "7")
    monkeypatch.setenv("BOWERBIRD_SERVE__EXPERIMENT__EXPLORATION__POLICY", "thompson")
    serve = load_settings("params.yaml").serve
    assert serve.rules == before.model_copy(update={"pool": 7})
    assert serve.experiment.exploration is not None
    assert serve.experiment.exploration.policy == "thompson"
