"""Words by script: nothing is lost, compounds are found by their parts, either script is one."""

from __future__ import annotations

import subprocess
import sys

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from components.words.segmentation import (
    SENTENCE_END,
    letters,
    normalise,
    simplified,
    without_accents,
    word_places,
    words,
)

SCRIPTS = st.text(
    st.one_of(
        st.sampled_from("日式手绘陶瓷马克杯茶壶壺東京の急須コーヒーカップ"),
        st.sampled_from("ชุดถ้วยกาแฟเซรามิค"),
        st.sampled_from("찻주전자를 चाय का प्याला Ёлка θέα"),
        st.sampled_from("abc XYZ 012 350ml, -_.。！"),
        st.characters(exclude_categories=["Cs", "Cn"]),
    ),
    max_size=40,
)


@given(SCRIPTS, st.booleans())
def test_no_letter_or_digit_is_lost(text: str, japanese: bool) -> None:
    normal = normalise(text)
    kept = "".join(regex.findall(r"[\w\p{M}]+", normal)).replace("_", "")
    assert "".join(words(normal, japanese)) == simplified(kept)


@given(SCRIPTS)
def test_normalisation_is_idempotent(text: str) -> None:
    normal = normalise(text)
    assert normalise(normal) == normal
    assert simplified(simplified(normal)) == simplified(normal)
    assert len(simplified(normal)) == len(normal)
    assert without_accents(without_accents(normal)) == without_accents(normal)


@given(SCRIPTS)
def test_places_are_those_of_the_words(text: str) -> None:
    places = word_places(text)
    assert all(0 <= start < end <= len(text) for start, end in places)
    assert [start for start, _ in places] == sorted({start for start, _ in places})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tea-Pot 350ml", ["tea", "pot", "350ml"]),
        ("iPhone15手机壳Pro", ["iphone15", "手机", "壳", "pro"]),
        ("复古銅燈", ["复古", "铜灯"]),
        ("陶器の急須と湯のみ", ["陶器", "の", "急须", "と", "汤のみ"]),
        ("ｺｰﾋｰｶｯﾌﾟ", ["コーヒー", "カップ"]),
        ("ชุดถ้วยกาแฟ", ["ชุด", "ถ้วย", "กาแฟ"]),
        ("찻주전자를 샀다", ["찻주전자를", "샀다"]),
        ("चाय का प्याला", ["चाय", "का", "प्याला"]),
        ("Чайник заварочный", ["чайник", "заварочный"]),
        ("it's", ["it", "s"]),
    ],
)
def test_each_script(text: str, expected: list[str]) -> None:
    assert words(normalise(text)) == expected


def test_a_compound_is_found_by_its_parts() -> None:
    found = words("中华人民共和国马克杯", parts=True)
    assert {"人民", "共和国", "马克杯", "杯"} <= set(found)


def test_sentences_end_with_and_without_a_space() -> None:
    assert SENTENCE_END.split("很好。“不错！”下次还来。Good. Bye") == [
        "很好。",
        "“不错！”",
        "下次还来。",
        "Good.",
        "Bye",
    ]


def test_letters_are_those_of_scikit_learn_for_latin_words() -> None:
    theirs = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3)).build_analyzer()
    for text in ("White hanging HEART t-light holder", "a", "an", " two  spaces ", ""):
        assert letters(text) == theirs(text)


def test_segmentation_is_silent_and_writes_no_file(tmp_path) -> None:
    code = (
        "from components.words.segmentation import words; words('紫砂茶壶'); words('急須の茶');"
        "words('ถ้วยกาแฟ')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"TMPDIR": str(tmp_path), "PYTHONPATH": ".", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert list(tmp_path.iterdir()) == []
