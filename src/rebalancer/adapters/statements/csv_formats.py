"""Numbers and days as brokers write them; their format is that of the layout or the whole file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import lru_cache

import attrs

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import LARGEST

MISSING = frozenset(
    {"", "-", "--", "---", "\u2013", "\u2014", "n/a", "na", "null", "none", "not available"}
)
"""Words for an absent value, in small letters."""

_SIGNS = "$\u20ac\u00a3\u00a5\u20b9\u20a9\u20bd\u20ba\u0e3f\u20bf"
_MARK = rf"(?:US\$|CA\$|A\$|[{_SIGNS}]|[A-Z]{{3}})"
_GAPS = "'\u2019 "
_SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2212": "-"})
_WHOLE = re.compile(
    rf"(?P<open>\()?\s*(?P<sign>[+-])?\s*(?:{_MARK})?\s*(?P<inner>[+-])?"
    rf"(?P<body>[\d.,{_GAPS}]*\d[.,]?(?:[eE][+-]?\d{{1,3}})?)\s*(?:{_MARK})?\s*(?P<after>-)?\s*"
    r"(?P<close>\))?",
    flags=re.ASCII,
)
_BODIES = {
    mark: re.compile(
        rf"(?:\d{{1,3}}(?P<gap>[{other}{_GAPS}])\d{{3}}(?:(?P=gap)\d{{3}})*|\d+)"
        rf"(?:\{mark}(?P<rest>\d*))?(?:[eE][+-]?\d+)?|\{mark}\d+",
        flags=re.ASCII,
    )
    for mark, other in ((".", ","), (",", "."))
}
_LONGEST = 64
"""Characters of the longest number."""

_EARLIEST, _LATEST = 1900, 2199
"""Years between which days lie."""

_MONTHS = {
    name: at
    for at, names in enumerate(
        (
            "jan januar january januari",
            "feb februar february februari",
            "mar mrz m\u00e4r m\u00e4rz march mrt maart",
            "apr april",
            "may mai mei",
            "jun juni june",
            "jul juli july",
            "aug august augustus",
            "sep sept september",
            "oct okt october oktober",
            "nov november",
            "dec dez december dezember",
        ),
        start=1,
    )
    for name in names.split()
}
_TOKENS = {
    "YYYY": r"(?P<year>\d{4})",
    "YY": r"(?P<short>\d{2})",
    "MMM": r"(?P<name>[^\W\d_]{3,9})\.?",
    "MM": r"(?P<month>\d{1,2})",
    "DD": r"(?P<day>\d{1,2})",
}
_TIME = r"(?:[T ,]+\d{1,2}:\d{2}.*)?"


@attrs.frozen
class NumberFormat:
    """How the numbers of a file are written.

    Attributes:
        decimal: Decimal mark, a point or a comma; the other one may separate thousands, as may
            spaces and apostrophes.
    """

    decimal: str = "."

    def parse(self, text: str) -> Decimal | None:
        """Return the number in a cell; None if the cell is blank.

        Signs of currencies, parentheses and trailing minus signs are understood.

        Raises:
            InvalidRequest: it is not a number in this format.
        """
        return _parse(text, self.decimal)


@lru_cache(maxsize=4096)
def _parse(text: str, mark: str) -> Decimal | None:
    plain = text.translate(_SPACES).strip()
    if plain.casefold() in MISSING:
        return None
    found = _WHOLE.fullmatch(plain) if len(plain) <= _LONGEST else None
    body = found and _BODIES[mark].fullmatch(found["body"])
    negative = 0
    if found:
        negative = sum(bool(found[name]) for name in ("open", "after"))
        negative += sum(found[name] == "-" for name in ("sign", "inner"))
    if (
        not (found and body)
        or negative > 1
        or bool(found["open"]) != bool(found["close"])
        or (found["sign"] and found["inner"])
    ):
        example = "1,234.50" if mark == "." else "1.234,50"
        raise InvalidRequest(
            f"{quote(text)} is not a number; write it as {example}", code="unreadable_number"
        )
    gap = body["gap"]
    digits = found["body"].replace(gap, "") if gap else found["body"]
    try:
        number = Decimal(digits.replace(mark, "."))
    except InvalidOperation:  # such as an exponent that is out of range
        number = LARGEST
    if number >= LARGEST or (number and number.adjusted() < -30):
        raise InvalidRequest(
            f"{quote(text)} is out of range; enter less than {LARGEST:E}",
            code="number_out_of_range",
        )
    return -number if negative else number


POINT, COMMA = NumberFormat("."), NumberFormat(",")


def decide_numbers(cells: Iterable[tuple[int, str]]) -> NumberFormat:
    """Return the format in which all numbers of a file are written.

    Args:
        cells: Line and text of each cell that may have a number.

    Raises:
        InvalidRequest: the cells contradict each other, or may be read in two ways.
    """
    seen: dict[str, tuple[int, str]] = {}
    unclear: tuple[int, str] | None = None
    for line, text in cells:
        mark = _decimal_mark(text)
        if mark in (".", ","):
            seen.setdefault(mark, (line, text))
        elif mark and unclear is None:
            unclear = (line, text)
    if len(seen) == 2:
        (line, text), (other, contrary) = seen["."], seen[","]
        raise InvalidRequest(
            f"line {line} has a decimal point ({quote(text)}) and line {other} a decimal comma "
            f"({quote(contrary)}); export the file again in one language, or correct the cells",
            code="contradictory_numbers",
        )
    if seen:
        return COMMA if "," in seen else POINT
    if unclear:
        line, text = unclear
        raise InvalidRequest(
            f"line {line}: {quote(text)} may have thousands or decimals, and no other number "
            "decides; state the decimal mark in a mapping profile",
            code="ambiguous_numbers",
        )
    return POINT


def _decimal_mark(text: str) -> str:
    """Return the decimal mark that a cell shows, ``?`` if it may have two meanings, else ``""``."""
    digits = re.sub(r"[^\d.,]", "", text.translate(_SPACES)).strip()
    points, commas = digits.count("."), digits.count(",")
    if not (points or commas) or not digits[0].isdigit():
        return "" if not (points or commas) else (digits[0] if len(digits) > 1 else "")
    if points and commas:
        last = max(digits.rfind("."), digits.rfind(","))
        return digits[last] if digits.count(digits[last]) == 1 else ""
    mark = "." if points else ","
    if points + commas > 1:
        return "," if mark == "." else "."
    whole, _, rest = digits.partition(mark)
    ambiguous = len(rest) == 3 and 1 <= len(whole) <= 3 and not whole.startswith("0")
    return "?" if ambiguous else mark


@attrs.frozen
class DayFormat:
    """How the days of a file are written.

    Attributes:
        pattern: Such as ``DD-MM-YYYY``, of YYYY, YY, MM, MMM (a name) and DD; a time may follow.
    """

    pattern: str

    def parse(self, text: str) -> date:
        """Return the day in a cell.

        Raises:
            InvalidRequest: it is not a day in this format.
        """
        found = _expression(self.pattern).fullmatch(text.strip())
        day = found and _day_of(found.groupdict())
        if not day:
            raise InvalidRequest(
                f"{quote(text)} is not a day; write it as {self.pattern}", code="unreadable_date"
            )
        return day

    def fits(self, text: str) -> bool:
        """Return whether a cell has a day in this format."""
        found = _expression(self.pattern).fullmatch(text.strip())
        return bool(found and _day_of(found.groupdict()))


ISO = DayFormat("YYYY-MM-DD")

COMMON_DAYS = tuple(
    map(
        DayFormat,
        (
            "YYYY-MM-DD",
            "YYYY/MM/DD",
            "YYYY.MM.DD",
            "YYYYMMDD",
            "DD.MM.YYYY",
            "DD.MM.YY",
            "DD/MM/YYYY",
            "MM/DD/YYYY",
            "DD-MM-YYYY",
            "MM-DD-YYYY",
            "DD/MM/YY",
            "MM/DD/YY",
            "DD MMM YYYY",
            "DD-MMM-YYYY",
            "MMM DD, YYYY",
            "MMM-DD-YYYY",
        ),
    )
)
"""Formats among which a file decides if its layout does not."""


@lru_cache(maxsize=64)
def _expression(pattern: str) -> re.Pattern[str]:
    if pattern == "YYYYMMDD":
        return re.compile(r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})" + _TIME, re.ASCII)
    parts = re.split("(YYYY|YY|MMM|MM|DD)", pattern)
    named: set[str] = set()
    text = ""
    for part in parts:
        if part in _TOKENS and part not in named:
            text += _TOKENS[part]
            named.add(part)
        else:
            text += re.escape(part)
    flags = re.NOFLAG if "MMM" in named else re.ASCII
    return re.compile(text + _TIME, flags)


def _day_of(parts: dict[str, str | None]) -> date | None:
    name = parts.get("name")
    month = _MONTHS.get(name.casefold()) if name else int(parts["month"] or 0)
    short = parts.get("short")
    year = 2000 + int(short) if short else int(parts["year"] or 0)
    try:
        found = date(year, month or 0, int(parts["day"] or 0))
    except ValueError:
        return None
    return found if _EARLIEST <= found.year <= _LATEST else None


def decide_days(
    cells: Sequence[tuple[int, str]], formats: Sequence[DayFormat] = COMMON_DAYS
) -> DayFormat:
    """Return the format in which the days of a file are written.

    Args:
        cells: Line and text of each cell that should have a day; blank ones do not count.
        formats: Among which the file decides; the format that most texts have wins.

    Raises:
        InvalidRequest: no cell has a day, or the cells may be read in two ways.
    """
    texts: dict[str, int] = {}
    for line, text in cells:
        if text.strip():
            texts.setdefault(text.strip(), line)
    counts = {one: sum(one.fits(text) for text in texts) for one in formats}
    most = max(counts.values(), default=0)
    if not most:
        shown = next(iter(texts), "")
        raise InvalidRequest(
            f"no day was found, for example in {quote(shown)}; state the format of days in a "
            "mapping profile, such as DD/MM/YYYY",
            code="unreadable_date",
        )
    best = [one for one in formats if counts[one] == most]
    rivals = [one for one in formats if _shape(one) == _shape(best[0]) and counts[one]]
    if len(best) > 1 or len(rivals) > 1:
        decided = {
            one: next((t for t in texts if one.fits(t) and not _others_fit(one, rivals, t)), None)
            for one in rivals
        }
        clear = [one for one in rivals if decided[one] is not None]
        if len(clear) == 1 and clear[0] in best:
            return clear[0]
        text = next(iter(t for t in texts if best[0].fits(t)))
        names = " or ".join(one.pattern for one in (rivals if len(rivals) > 1 else best))
        if clear:
            raise InvalidRequest(
                f"the days have several formats, {names}, for example {quote(text)} in line "
                f"{texts[text]}; export the file again in one language, or correct the days",
                code="contradictory_dates",
            )
        raise InvalidRequest(
            f"line {texts[text]}: {quote(text)} may be {names}, and the other days do not decide; "
            "state the format of days in a mapping profile",
            code="ambiguous_dates",
        )
    return best[0]


def _shape(one: DayFormat) -> str:
    return one.pattern.replace("DD", "#").replace("MM", "#", 1) if "MMM" not in one.pattern else "M"


def _others_fit(one: DayFormat, others: Sequence[DayFormat], text: str) -> bool:
    return any(other.fits(text) for other in others if other != one)


def quote(text: str) -> str:
    """Quote a cell for a message: on one line, and shortened."""
    return repr(text if len(text) <= 40 else text[:37] + "...")
