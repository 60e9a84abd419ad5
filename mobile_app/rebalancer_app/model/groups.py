"""Groups of targets: the allocation by group, and the tree while it is typed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs

from rebalancer_app.gateway.targets import GroupNow, TargetsNow
from rebalancer_app.model.formats import Formats
from rebalancer_app.model.numbers import read_number
from rebalancer_app.model.portfolio import CASH, AllocationBar
from rebalancer_app.model.targets import add_targets
from rebalancer_app.texts import Texts

_WHOLE = Decimal(100)
_ROUNDING = Decimal("0.001")
_EDGE = 1e-9


@attrs.frozen
class GroupLine:
    """A bar of the allocation; ``path`` is that of a group, which can be opened, or empty."""

    bar: AllocationBar
    path: tuple[str, ...] = ()
    note: str = ""


@attrs.frozen
class GroupsScreen:
    """One level of the allocation by group.

    Attributes:
        title: Name of the group whose inside is shown; empty for the outermost level.
        lines: Groups, then assets, then cash on the outermost level.
        scale: Share that the full width stands for.
    """

    title: str
    lines: tuple[GroupLine, ...]
    scale: float


def groups_screen(
    now: TargetsNow, path: tuple[str, ...], formats: Formats, texts: Texts
) -> GroupsScreen:
    """Return what to show inside of a group, or on the outermost level if the path is empty."""
    inner = [one for one in now.groups if tuple(one.path[:-1]) == path]
    around = next((one for one in now.groups if tuple(one.path) == path), None)
    lines = [_group_line(one, formats, texts) for one in inner]
    inside = {symbol for one in inner for symbol in one.members}
    shares = _loose(now) if around is None else around.members
    for symbol in sorted(shares.keys() - inside, key=lambda s: (-now.targets.get(s, 0.0), s)):
        share = shares[symbol]
        weight, target = now.weights.get(symbol, 0.0), now.targets.get(symbol, 0.0)
        lines.append(
            GroupLine(_bar(symbol, symbol, weight * share, target * share, formats, texts))
        )
    if around is None:
        weight = max(0.0, 1.0 - sum(now.weights.values()))
        target = max(0.0, 1.0 - sum(now.targets.values()))
        name = texts("portfolio.cash")
        lines.append(GroupLine(_bar(CASH, name, weight, target, formats, texts)))
    scale = max([max(one.bar.weight, one.bar.high) for one in lines], default=1.0) * 1.04 or 1.0
    return GroupsScreen(path[-1] if path else "", tuple(lines), scale)


def _loose(now: TargetsNow) -> dict[str, float]:
    """Return the assets that are in no group."""
    grouped = {symbol for one in now.groups for symbol in one.members}
    return dict.fromkeys((now.weights.keys() | now.targets.keys()) - grouped, 1.0)


def _group_line(one: GroupNow, formats: Formats, texts: Texts) -> GroupLine:
    weight = one.weight or 0.0
    least = 0.0 if one.min_weight is None else one.min_weight
    most = 1.0 if one.max_weight is None else one.max_weight
    outside = not least - _EDGE <= weight <= most + _EDGE
    outside |= one.band is not None and abs(weight - one.target) > one.band + _EDGE
    bar = _bar(one.name, one.name, weight, one.target, formats, texts, band=one.band or 0.0)
    notes = []
    if one.drift_points is not None:
        points = formats.points(one.drift_points / 100).lstrip("+−")
        if abs(one.drift_points) >= 0.05:
            side = "under" if one.drift_points < 0 else "over"
            notes.append(texts(f"groups.{side}", points=points))
    if abs(one.missing_points) >= 0.05:
        points = formats.points(abs(one.missing_points) / 100).lstrip("+")
        notes.append(texts("groups.missing", points=points))
    state = texts("portfolio.outside" if outside else "portfolio.inside")
    note = " ".join(notes)
    spoken = ". ".join(part for part in (f"{one.name}: {bar.shown}", state, note) if part)
    return GroupLine(attrs.evolve(bar, outside=outside, spoken=spoken), tuple(one.path), note)


def _bar(
    symbol: str,
    name: str,
    weight: float,
    target: float,
    formats: Formats,
    texts: Texts,
    *,
    band: float = 0.0,
) -> AllocationBar:
    shown = texts(
        "portfolio.of_target", weight=formats.percent(weight), target=formats.percent(target)
    )
    low, high = max(0.0, target - band), target + band
    return AllocationBar(symbol, name, weight, target, low, high, False, shown, f"{name}: {shown}")


@attrs.frozen
class GroupField:
    """A group or an asset whose weight can be typed.

    Attributes:
        key: Place in the tree: numbers of groups, then the symbol of an asset.
        parent: Key of the group around; empty on the outermost level.
        name: Name of the group, or the symbol.
        depth: Number of groups around.
        is_group: Whether it is a group.
        by_value: Whether its members keep the proportions of their values.
        typed: Percent of the group around, or of the portfolio, as typed.
    """

    key: str
    parent: str
    name: str
    depth: int
    is_group: bool
    by_value: bool
    typed: str


@attrs.frozen
class GroupSums:
    """State of the weights while they are typed.

    Attributes:
        texts: The sum inside each group in words, by its key; that of the outermost level under
            the empty key.
        wrong: Keys of groups whose sum, or a field inside, is wrong.
    """

    texts: Mapping[str, str]
    wrong: frozenset[str]

    @property
    def is_valid(self) -> bool:
        """Whether the tree can be saved."""
        return not self.wrong


def group_fields(tree: Mapping[str, Any], formats: Formats) -> tuple[GroupField, ...]:
    """Return the fields of a tree as the server states it, each group before its members."""
    return tuple(_fields(tree, "", 0, formats))


def _fields(
    members: Mapping[str, Any], parent: str, depth: int, formats: Formats
) -> Iterator[GroupField]:
    def percent(share: Any) -> str:
        return formats.plain((Decimal(str(share)) * 100).quantize(Decimal("0.0001")))

    for symbol, share in members.get("assets", {}).items():
        yield GroupField(f"{parent}/{symbol}", parent, symbol, depth, False, False, percent(share))
    for at, one in enumerate(members.get("groups", ())):
        key = f"{parent}.{at}"
        by_value = one.get("inside") == "current"
        yield GroupField(key, parent, one["name"], depth, True, by_value, percent(one["weight"]))
        yield from _fields(one, key, depth + 1, formats)


def check_sums(fields: Sequence[GroupField], formats: Formats, texts: Texts) -> GroupSums:
    """Return the sums inside all groups: 100 each, and at most 100 on the outermost level."""
    parents = {"": False} | {one.key: one.by_value for one in fields if one.is_group}
    names = {one.key: one.name for one in fields}
    found: dict[str, str] = {}
    wrong: set[str] = set()
    for key, by_value in parents.items():
        inside = {one.key: one.typed for one in fields if one.parent == key}
        if not key:
            state = add_targets(
                {names[one]: typed for one, typed in inside.items()}, formats, texts
            )
            found[key] = state.text
            if not state.is_valid:
                wrong.add(key)
            continue
        if not inside:
            continue  # the held assets of a class
        total = _sum(inside.values(), formats)
        if total is None:
            found[key] = texts("groups.unreadable", name=names[key])
            wrong.add(key)
        elif abs(total - _WHOLE) <= _ROUNDING:
            found[key] = texts("groups.complete", name=names[key])
        elif by_value and not total:
            found[key] = texts("groups.equal", name=names[key])
        else:
            found[key] = texts("groups.sum", name=names[key], total=formats.percent(total / _WHOLE))
            wrong.add(key)
    return GroupSums(found, frozenset(wrong))


def _sum(typed: Iterator[str] | Any, formats: Formats) -> Decimal | None:
    total = Decimal(0)
    for text in typed:
        number = _percent(text, formats)
        if number is None:
            return None
        total += number
    return total


def _percent(typed: str, formats: Formats) -> Decimal | None:
    number = Decimal(0) if not typed.strip() else read_number(typed.rstrip("% "), formats)
    return number if number is not None and 0 <= number <= _WHOLE else None


def edited_tree(
    tree: Mapping[str, Any], fields: Sequence[GroupField], formats: Formats
) -> dict[str, Any]:
    """Return the tree with the weights that were typed; all of them can be read."""
    shares = {one.key: float((_percent(one.typed, formats) or _WHOLE * 0) / 100) for one in fields}
    return _edited(tree, "", shares)


def _edited(members: Mapping[str, Any], parent: str, shares: Mapping[str, float]) -> dict[str, Any]:
    found = dict(members)
    found["assets"] = {symbol: shares[f"{parent}/{symbol}"] for symbol in members.get("assets", {})}
    found["groups"] = [
        _edited(one, f"{parent}.{at}", shares) | {"weight": shares[f"{parent}.{at}"]}
        for at, one in enumerate(members.get("groups", ()))
    ]
    return found
