"""Numbers in words and signs, and words for currencies, in several languages.

In: a text. Out: the number that it says. ``CURRENCY_WORDS``: what currencies are called.
"""

from __future__ import annotations

import unicodedata

import regex

from components.words.segmentation import normalise, simplified

_DIGITS = {one: value for value, one in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_FORMAL = str.maketrans("壹贰叁肆伍陆柒捌玖拾佰仟廿卅円", "一二三四五六七八九十百千廿卅元")
_UNITS = {"十": 10, "百": 100, "千": 1000}
_GROUPS = {"万": 10_000, "亿": 100_000_000, "億": 100_000_000}
_CHINESE = regex.compile(r"[零〇一二两三四五六七八九十百千万亿億点]+")
_MIXED = regex.compile(r"(\d+(?:\.\d+)?)([十百千万亿億k])")

CURRENCY_WORDS = {
    "CNY": "元 块 块钱 元钱 圆 人民币 rmb yuan renminbi cny",
    "JPY": "円 日元 日圆 yen jpy",
    "TWD": "新台币 台币 nt$ twd",
    "HKD": "港币 港元 hk$ hkd",
    "KRW": "원 韩元 won krw ₩",
    "THB": "บาท 泰铢 baht thb ฿",
    "EUR": "€ euro euros eur 欧元 欧 ευρώ евро",
    "USD": """$ us$ dollar dollars bucks usd 刀 美元 美金 ドル ดอลลาร์ 달러 dólar dólares доллар
        доллара долларов""",
    "GBP": """£ pound pounds quid fiver tenner sterling gbp 英镑 镑 ポンド pfund livre livres libra
        libras""",
    "MXN": "mxn peso pesos",
    "CHF": "chf franken francs stutz 瑞士法郎",
    "PLN": "zł zloty złoty złotych pln",
    "RUB": "₽ rub руб рубль рубля рублей 卢布",
    "INR": "₹ rupee rupees inr रुपये रुपया 卢比",
    "BRL": "r$ reais real brl",
}
"""ISO 4217 code → its words and signs. "¥" is left out: it is of China and of Japan."""


def number_of(text: str) -> float | None:
    """Return the number that a whole text says, None if it says none.

    In digits of any script, in full-width ones, and in Chinese or Japanese words, the formal ones
    too; 三百五 is 350, as it is said.

    >>> number_of("十二"), number_of("三百五"), number_of("两千零五十"), number_of("1.5万")
    (12.0, 350.0, 2050.0, 15000.0)
    >>> number_of("３５０"), number_of("١٢"), number_of("茶壶")
    (350.0, 12.0, None)
    """
    plain = simplified(normalise(text.strip())).translate(_FORMAL)
    plain = regex.sub(r",(?=\d{3}(?!\d))", "", plain)
    plain = plain.replace("廿", "二十").replace("卅", "三十")
    if mixed := _MIXED.fullmatch(plain):
        unit = {**_UNITS, **_GROUPS, "k": 1000}[mixed[2]]
        return float(mixed[1]) * unit
    if _CHINESE.fullmatch(plain):
        return _of_chinese(plain)
    digits = "".join(_digit(one) for one in plain)
    return float(digits) if regex.fullmatch(r"\d+(?:\.\d+)?", digits, regex.ASCII) else None


def _digit(character: str) -> str:
    value = unicodedata.decimal(character, None)
    return character if value is None else str(value)


def _of_chinese(text: str) -> float | None:
    whole, point, fraction = text.partition("点")
    if point and (not fraction or any(one not in _DIGITS for one in fraction)):
        return None
    part = float("0." + "".join(str(_DIGITS[one]) for one in fraction)) if point else 0.0
    if whole and all(one in _DIGITS for one in whole):  # read digit by digit: 二〇二四
        return int("".join(str(_DIGITS[one]) for one in whole)) + part
    total = group = digit = 0
    last = 1  # the unit before, of which a digit at the end is a tenth
    for one in whole:
        if one in _DIGITS:
            digit = _DIGITS[one]
            last = 1 if digit == 0 else last
        elif one in _UNITS:
            group += (digit or 1) * _UNITS[one]
            digit, last = 0, _UNITS[one]
        elif _GROUPS[one] > 10_000:  # of all before it: 一万亿
            total = (total + group + digit or 1) * _GROUPS[one]
            group, digit, last = 0, 0, _GROUPS[one]
        else:
            total += (group + digit or 1) * _GROUPS[one]
            group, digit, last = 0, 0, _GROUPS[one]
    return float(total + group + digit * max(1, last // 10)) + part if whole else None
