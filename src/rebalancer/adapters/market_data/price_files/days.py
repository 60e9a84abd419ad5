"""Days as spreadsheets and vendors write them; their format is that of the whole column."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta

import attrs

from rebalancer.adapters.market_data.price_files.sheet import Sheet, quote
from rebalancer.domain.errors import InvalidRequest

_MONTHS = {
    name: month
    for month, names in enumerate(
        (
            *("jan january", "feb february", "mar march", "apr april", "may", "jun june"),
            *("jul july", "aug august", "sep sept september", "oct october", "nov november"),
            "dec december",
        ),
        start=1,
    )
    for name in names.split()
}
_TIME = (
    r"(?:(?:[T ]|, ?)\s*(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::\d\d(?:[.,]\d+)?)?"
    r"\s*(?P<zone>Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?)?"
)
_MONTH = r"(?P<name>[A-Za-z]{3,9})\.?"


def _pattern(day: str) -> re.Pattern[str]:
    return re.compile(day + _TIME, flags=re.ASCII)


_ISO = _pattern(r"(?P<y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)")
_ANY_ORDER = "any order"
_FORMATS: dict[str, re.Pattern[str]] = {
    "YYYY-MM-DD": _ISO,
    "YYYY/MM/DD": _pattern(r"(?P<y>\d{4})(?P<by>[-/.])(?P<m>\d{1,2})(?P=by)(?P<d>\d{1,2})"),
    "YYYYMMDD": _pattern(r"(?P<y>(?:19|20)\d\d)(?P<m>\d\d)(?P<d>\d\d)"),
    "YYYY年MM月DD日": _pattern(r"(?P<y>\d{4})年(?P<m>\d{1,2})月(?P<d>\d{1,2})日"),
    "DD.MM.YYYY": _pattern(r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4})"),
    _ANY_ORDER: _pattern(r"(?P<a>\d{1,2})(?P<by>[-/])(?P<b>\d{1,2})(?P=by)(?P<y>\d{4})"),
    "Jan 31, 2024": _pattern(rf"{_MONTH}[ -](?P<d>\d{{1,2}}),?[ -](?P<y>\d{{4}})"),
    "31 Jan 2024": _pattern(rf"(?P<d>\d{{1,2}})\.?[ -]{_MONTH},?[ -](?P<y>\d{{4}})"),
}
"""Formats by the way in which messages write them."""

_DAY_FIRST, _MONTH_FIRST = "DD/MM/YYYY", "MM/DD/YYYY"
_MORNING, _EVENING = 10 * 60, 18 * 60
_SERIAL = re.compile(r"[34]\d{4}(\.\d+)?", flags=re.ASCII)
_STAMP = re.compile(r"1\d{9}(\d{3})?", flags=re.ASCII)


@attrs.frozen
class Days:
    """Days of the rows of a column.

    Attributes:
        days: One for each row, in the order of the file.
        european: Whether they are written day.month.year.
        notes: What was assumed, as sentences.
    """

    days: list[date]
    european: bool
    notes: list[str]


def looks_like_date(text: str) -> bool:
    """Whether a text can only be a date; a number of eight digits may be anything."""
    text = text.strip()
    return any(pattern.fullmatch(text) for name, pattern in _FORMATS.items() if name != "YYYYMMDD")


def read_days(
    sheet: Sheet, column: int, title: str, texts: Sequence[str], *, order: str | None = None
) -> Days:
    """Parse the days of a column.

    A time with a zone belongs to the exchange's day: a time before 10:00 to the day that is
    written, as 05:00+00:00 is midnight in New York. A later time in UTC may be an evening of that
    day or midnight of the next one, further east; the days of the week decide, as shares have no
    Sundays.

    Args:
        sheet: Where the texts are from.
        column: Position of the column.
        title: Its title.
        texts: One for each row.
        order: ``dmy`` or ``mdy``, if the user has stated it.

    Raises:
        InvalidRequest: a text is not a day, or its format is ambiguous.
    """
    stripped = [text.strip() for text in texts]
    first_row = {text: at for at, text in reversed(list(enumerate(stripped)))}

    def wrong(what: str, text: str, *, unclear: bool = False) -> InvalidRequest:
        refuse = sheet.unclear if unclear else sheet.wrong
        return refuse(what, line=sheet.lines[first_row[text]], column=column, title=title)

    unique = sorted(first_row, key=lambda text: first_row[text])
    name, matches = _find_format(unique, wrong)
    notes: list[str] = []
    if name == _ANY_ORDER:
        name = _find_order(matches, order, wrong)
        notes.append(f"Dates are {name}.")
    days = {text: _day(match, name, wrong) for text, match in matches.items()}
    days |= _days_of_evenings(matches, days, wrong, notes)
    return Days([days[text] for text in stripped], name == "DD.MM.YYYY", notes)


def _find_format(
    texts: Iterable[str], wrong: Callable[..., InvalidRequest]
) -> tuple[str, dict[str, re.Match[str]]]:
    """Return the first format that all texts have."""
    worst, reached = "", -1
    for name, pattern in _FORMATS.items():
        matches: dict[str, re.Match[str]] = {}
        for text in texts:
            match = pattern.fullmatch(text)
            if match is None or ("name" in match.re.groupindex and not _month(match)):
                if len(matches) > reached:
                    worst, reached, wanted = text, len(matches), name
                break
            matches[text] = match
        else:
            return name, matches
    hint = ""
    if _SERIAL.fullmatch(worst):
        hint = "; it looks like a day number of a spreadsheet: format the column as dates"
    elif _STAMP.fullmatch(worst):
        hint = "; it looks like seconds since 1970"
    elif reached and wanted != "YYYY-MM-DD":
        shown = f"{_DAY_FIRST} or {_MONTH_FIRST}" if wanted == _ANY_ORDER else wanted
        hint = f"; the dates before it are {shown}"
    raise wrong(
        f"{quote(worst)} is not a date; write days as YYYY-MM-DD, such as 2024-01-31{hint}", worst
    )


def _month(match: re.Match[str]) -> int:
    return _MONTHS.get(match["name"].casefold(), 0)


def _find_order(
    matches: dict[str, re.Match[str]], order: str | None, wrong: Callable[..., InvalidRequest]
) -> str:
    """Return `_DAY_FIRST` or `_MONTH_FIRST`."""
    day_first = next((text for text, it in matches.items() if int(it["a"]) > 12), None)
    month_first = next((text for text, it in matches.items() if int(it["b"]) > 12), None)
    if day_first is not None and month_first is not None:
        raise wrong(
            f"{quote(month_first)} has the month first, and {quote(day_first)} has the day first; "
            "write days as YYYY-MM-DD",
            month_first,
        )
    stated = {"dmy": _DAY_FIRST, "mdy": _MONTH_FIRST}.get(order or "")
    shown = _DAY_FIRST if day_first else _MONTH_FIRST if month_first else None
    if shown is None and all(match["a"] == match["b"] for match in matches.values()):
        shown = _MONTH_FIRST  # either order gives the same days
    if stated and shown and stated != shown and (day_first or month_first):
        raise wrong(
            f"{quote(day_first or month_first or '')} is not {stated}; correct the stated order",
            day_first or month_first or "",
        )
    if found := stated or shown:
        return found
    text = next(text for text, match in matches.items() if match["a"] != match["b"])
    raise wrong(
        f"{quote(text)} may have the day or the month first, and no other date of the file "
        "decides; write days as YYYY-MM-DD, or state the order: dates=dmy or dates=mdy",
        text,
        unclear=True,
    )


def _day(match: re.Match[str], name: str, wrong: Callable[..., InvalidRequest]) -> date:
    """Return the day that is written."""
    found = match.groupdict()
    if name in (_DAY_FIRST, _MONTH_FIRST):
        first, second = int(match["a"]), int(match["b"])
        day, month = (first, second) if name == _DAY_FIRST else (second, first)
    else:
        day = int(match["d"])
        month = _month(match) if "name" in found else int(match["m"])
    try:
        return date(int(match["y"]), month, day)
    except ValueError:
        raise wrong(
            f"{quote(match.string)} is not a day of the calendar; correct it (YYYY-MM-DD)",
            match.string,
        ) from None


def _days_of_evenings(
    matches: dict[str, re.Match[str]],
    days: dict[str, date],
    wrong: Callable[..., InvalidRequest],
    notes: list[str],
) -> dict[str, date]:
    """Return the exchange's days of times late in the written day."""
    late = [text for text, match in matches.items() if _is_late(match, wrong)]
    if not late:
        return {}
    weekdays = {days[text].weekday() for text in late}
    if 4 in weekdays and not weekdays & {5, 6}:
        return {}
    if 6 in weekdays and not weekdays & {4, 5}:
        notes.append("Times late in the day are midnight of the next day at the exchange.")
        return {text: days[text] + timedelta(days=1) for text in late}
    raise wrong(
        f"{quote(late[0])} may be the evening of that day or midnight of the next day at the "
        "exchange; write days as YYYY-MM-DD",
        late[0],
        unclear=True,
    )


def _is_late(match: re.Match[str], wrong: Callable[..., InvalidRequest]) -> bool:
    """Whether a time may belong to the next day elsewhere."""
    if match["hour"] is None:
        return False
    hour, minute = int(match["hour"]), int(match["minute"])
    if hour > 23 or minute > 59:
        raise wrong(
            f"{quote(match.string)} has no time of day; write days as YYYY-MM-DD", match.string
        )
    zone = match["zone"]
    in_utc = zone is not None and not re.search("[1-9]", zone)
    return hour * 60 + minute >= (_MORNING if in_utc else _EVENING)
