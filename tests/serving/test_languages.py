"""The languages: complete catalogues, no text without a mark, negotiation, texts that stay text."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_keywords
from babel.messages.pofile import read_po

from components.settings import load_settings
from serving import languages as module
from serving.api.routes.pages import rendered
from serving.languages import (
    ENGLISH,
    LOCALE,
    Language,
    check_setting,
    language,
    languages,
    negotiated,
)
from serving.recommend.explanations import because_of, regularly
from tests.conftest import REPOSITORY
from tests.processes import free_port

SERVING = REPOSITORY / "serving"
CODES = sorted(file.stem for file in LOCALE.glob("*.po"))
PLACEHOLDER = re.compile(r"\{(\w+)\}")
HOSTILE = '<img src=x onerror="alert(1)"> {title} {0} %(title)s'


@pytest.fixture(scope="module")
def extracted() -> dict[Any, Message]:
    """The texts of the code, by Babel's extractors as ``make messages`` runs them."""
    mappings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["babel"]
    methods = [(one["pattern"], one["method"]) for one in mappings["mappings"]]
    keywords = {**parse_keywords(["N_", "_", "gettext", "ngettext:1,2"])}
    catalogue = Catalog()
    for file, line, text, comments, _ in extract_from_dir(str(SERVING), methods, keywords=keywords):
        catalogue.add(text, None, [(file, line)], auto_comments=comments)
    found = {one.id: one for one in catalogue if one.id}
    assert len(found) > 250
    assert {Path(one.locations[0][0]).suffix for one in found.values()} == {".py", ".js", ".html"}
    return found


def forms(text: str | tuple[str, ...]) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text)


def catalogue_of(code: str) -> Catalog:
    with (LOCALE / f"{code}.po").open("rb") as file:
        return read_po(file, locale=code)


@pytest.mark.parametrize("code", CODES)
def test_a_catalogue_is_complete_and_its_placeholders_agree(
    code: str, extracted: dict[Any, Message]
) -> None:
    catalogue = catalogue_of(code)
    known = {one.id: one for one in catalogue if one.id}
    assert known.keys() == extracted.keys(), "run make messages, then translate what is new"
    assert not catalogue.obsolete
    for one in known.values():
        translated = forms(one.string)
        assert all(translated), one.id
        assert not one.fuzzy, one.id
        expected = catalogue.num_plurals if one.pluralizable else 1
        assert len(translated) == expected, one.id
        wanted = {tuple(sorted(set(PLACEHOLDER.findall(text)))) for text in forms(one.id)}
        # "From one thing" and "From {n} things": a plural form may leave the number out.
        allowed = {*wanted, *(tuple(name for name in names if name != "n") for names in wanted)}
        allowed = wanted if not one.pluralizable else allowed | wanted
        for text in translated:
            names = tuple(sorted(set(PLACEHOLDER.findall(text))))
            assert names in allowed, (one.id, text)
        edges = {(text[:1] == " ", text[-1:] == " ") for text in forms(one.id)}
        if one.id not in ("; ", ", "):
            assert {(text[:1] == " ", text[-1:] == " ") for text in translated} == edges, one.id


def test_the_five_languages_are_there() -> None:
    assert set(languages()) >= {"en", "zh", "de", "fr", "es"}
    assert languages()["en"] is ENGLISH


def test_a_language_is_one_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in LOCALE.glob("*.po"):
        shutil.copy(file, tmp_path)
    hebrew = (LOCALE / "de.po").read_text().replace('"Language: de', '"Language: he')
    (tmp_path / "he.po").write_text(hebrew)
    monkeypatch.setattr(module, "LOCALE", tmp_path)
    module.languages.cache_clear()
    module.negotiated.cache_clear()
    try:
        found = negotiated("he-IL, en;q=0.5")
        assert (found.code, found.direction) == ("he", "rtl")
        assert b'<html lang="he" dir="rtl">' in rendered("index.html", found)
        (tmp_path / "xx-wrong.po").write_text("msgid")
        module.languages.cache_clear()
        with pytest.raises(ValueError, match=r"xx-wrong\.po"):
            languages()
    finally:
        monkeypatch.undo()
        module.languages.cache_clear()
        module.negotiated.cache_clear()


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "en"),
        ("*", "en"),
        ("de", "de"),
        ("de-CH", "de"),
        ("ZH-cn,zh;q=0.9,en;q=0.8", "zh"),
        ("zh-Hant-TW", "zh"),
        ("en-US,de;q=0.9", "en"),
        ("pt-BR, es;q=0.8, en;q=0.7", "es"),
        ("de;q=0.1, fr;q=0.9", "fr"),
        ("de;q=0, fr;q=0.1", "fr"),
        ("ru", "en"),
        (";;;,,q=,de;q=nan,=", "de"),
        ("../../etc/passwd", "en"),
        ("de\x00, \xff", "en"),
        ("x," * 10_000 + "de", "en"),  # no more than 500 characters are read
    ],
)
def test_negotiation(header: str, code: str) -> None:
    assert negotiated(header).code == code


def test_an_unknown_setting_is_refused_with_the_list(tmp_path: Path) -> None:
    for known in ("auto", "en", *CODES):
        check_setting(known)
    with pytest.raises(ValueError, match=r"'xx'; choose one of auto, de, en, es, fr, zh"):
        check_setting("xx")
    params = (REPOSITORY / "params.yaml").read_text().replace("language: auto", "language: klingon")
    (tmp_path / "params.yaml").write_text(params)
    assert load_settings(tmp_path / "params.yaml").serve.language == "klingon"
    done = subprocess.run(
        ["bowerbird", "serve", "--port", str(free_port())],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "choose one of auto, de, en" in done.stderr


class Texts(HTMLParser):
    """Collects what a reader of a page sees or hears."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = ("placeholder", "aria-label", "title", "alt")
        self.found += [value for name, value in attrs if name in named and value]

    def handle_data(self, data: str) -> None:
        if re.search(r"\w", data):
            self.found.append(data.strip())


class Bracketed(Language):
    """A pseudo-language: each text in brackets."""

    def gettext(self, text: str, **values: object) -> str:
        return f"⟦{text}⟧"


@pytest.mark.parametrize("template", ["index.html", "operator.html"])
def test_no_text_of_a_template_is_without_a_mark(template: str) -> None:
    texts = Texts()
    texts.feed(rendered(template, Bracketed("en")).decode())
    assert len(texts.found) > 20
    assert [text for text in texts.found if text[0] + text[-1] != "⟦⟧"] in ([], ["NDCG@10"])


STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`')
MARKED = re.compile(r'(?:\b_|\bN_|\bngettext)\(\s*$|\bngettext\(\s*"[^"]*",\s*$')
TECHNICAL = {
    *("Content-Type", "bounds date", "tile photo", "xMidYMid slice"),  # of headers, style and SVG
    "noopener noreferrer",
    *("rolled back", "taken over"),  # compared with
}
SCRIPTS = sorted((SERVING / "web").glob("*.js"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda one: one.name)
def test_no_text_of_a_script_is_without_a_mark(script: Path) -> None:
    """A string with two words, or one word with a capital, is a text if no function is given it."""
    source = re.sub(r"(?m)(^|\s)//.*$", "", script.read_text())
    unmarked = []
    for found in STRING.finditer(source):
        text = found[0][1:-1]
        plain = re.sub(r"\$\{[^}]*\}", "", text)
        if not re.search(r"[A-Za-z]{2,} [a-z]{2,}|^[A-Z][a-z]+$", plain) or text in TECHNICAL:
            continue
        if not MARKED.search(source[max(0, found.start() - 200) : found.start()]):
            unmarked.append(text)
    assert unmarked == []


def test_an_unmarked_text_of_a_script_would_be_found() -> None:
    source = 'say(at("x"), `${n} new things`); ngettext("one thing", "{n} things", 2); f("Bad");'
    found = [one[0] for one in STRING.finditer(source) if not MARKED.search(source[: one.start()])]
    assert found == ['"x"', "`${n} new things`", '"Bad"']


MODULES = [
    *("conversation/answer_text", "conversation/reasons", "conversation/suggestions"),
    *("conversation/dialogue", "conversation/facts"),
    *("recommend/explanations", "recommend/attribute_reasons"),
]


@pytest.mark.parametrize("name", MODULES)
def test_no_text_of_an_answer_is_without_a_mark(name: str) -> None:
    tree = ast.parse((SERVING / f"{name}.py").read_text())
    marked: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func
            called = called.id if isinstance(called, ast.Name) else called
            if called in ("gettext", "ngettext", "N_"):
                marked |= set(node.args)
        elif isinstance(node, ast.Expr):  # docstrings
            marked.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            marked |= {
                one for one in ast.walk(node) if one is not node and "with " in ast.dump(one)
            }
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in marked
    ]
    unmarked = [text for text in texts if re.search(r"[a-z] |[a-z]{2,}[.:;,!]|[.!?:]$", text)]
    assert unmarked in ([], [" or "], ["with "], [r"(from|up to) (\d\S*)", "with "])


@pytest.mark.parametrize("code", ["en", *CODES])
def test_a_hostile_title_stays_what_it_is(code: str) -> None:
    """A value is filled in once and as it is; pages make text nodes of it."""
    text = because_of("purchase", HOSTILE, language(code))
    assert text.count(HOSTILE) == 1
    assert (
        language(code).gettext("{title}: {reason}.", title="{reason}", reason="x").count("x") == 1
    )


@pytest.mark.parametrize("code", CODES)
def test_translations_in_a_page_are_escaped(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = catalogue_of(code)
    hostile["The shop"].string = "<b onclick='x'>\"&"
    page = rendered("index.html", Language(code, hostile)).decode()
    assert "<b onclick" not in page
    assert "&lt;b onclick='x'&gt;&quot;&amp;" in page


def test_plural_forms() -> None:
    months = {code: regularly(61, True, language(code)) for code in ("en", *CODES)}
    assert months["en"] == "you buy this about every 2 months"
    assert months["zh"] == "您大约每 2 个月购买一次"
    assert months["de"] == "Sie kaufen das etwa alle 2 Monate"
    days = regularly(1, True, language("fr"))
    assert days == "vous achetez cet article environ tous les jours"
    french = language("fr")
    assert [french.ngettext("{n} product", "{n} products", n) for n in (0, 1, 2)] == [
        "0 produit",
        "1 produit",
        "2 produits",
    ]


def test_the_scripts_have_each_plural_form_by_its_category() -> None:
    assert language("zh").messages["{n} product"] == {"other": "{n} 件商品"}
    assert language("de").messages["{n} product"] == {"one": "{n} Produkt", "other": "{n} Produkte"}
    assert language("fr").messages["{n} product"] == {
        "one": "{n} produit",
        "many": "{n} produits",
        "other": "{n} produits",
    }
    assert language("de").messages["Buy"] == "Kaufen"
    assert ENGLISH.messages == {}


def test_amounts_and_lists() -> None:
    amounts = {code: language(code).money(1234.5, "EUR") for code in ("en", *CODES)}
    assert amounts["en"] == "€1234.50"
    assert amounts["de"] == "1.234,50\xa0€"
    assert amounts["zh"] == "€1,234.50"
    assert language("fr").money(4.0, "GBP") == "4\xa0£"
    assert language("es").money(4.0, "SEK") == "4\xa0SEK"
    assert language("de").money(4.0, "GBP") == "4\xa0£"
    assert language("de").money(4.5, "") == "4.50"
    assert language("fr").money(5.0, "XTS") == "5\xa0XTS"  # a code without a symbol
    words = ["a", "b", "c"]
    assert [language(code).listed(words, "or") for code in ("en", "de", "zh")] == [
        "a, b or c",
        "a, b oder c",
        "a、b或c",
    ]
