"""What the screens of model portfolios show."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import attrs

from rebalancer_app.gateway.models import FollowerPreview, ModelDetail, ModelVersion, Preview
from rebalancer_app.model.formats import Formats
from rebalancer_app.texts import Texts


@attrs.frozen
class VersionRow:
    """A version, in words."""

    number: int
    title: str
    targets: str
    note: str


@attrs.frozen
class ModelScreen:
    """Versions and followers of a model."""

    versions: tuple[VersionRow, ...]
    followers: tuple[tuple[str, str], ...]


@attrs.frozen
class PreviewRow:
    """What a follower would trade.

    Attributes:
        exceeds: Portfolio whose limits must be acknowledged; None if they are not exceeded.
        lines: Problems, then trades.
    """

    name: str
    summary: str
    lines: tuple[str, ...]
    exceeds: UUID | None


@attrs.frozen
class PreviewScreen:
    """A preview, in words.

    Attributes:
        is_ready: Whether the draft can be published once the limits are acknowledged.
    """

    summary: str
    rows: tuple[PreviewRow, ...]
    is_ready: bool


def model_screen(model: ModelDetail, formats: Formats, texts: Texts) -> ModelScreen:
    """Return the versions and followers of a model."""
    return ModelScreen(
        tuple(_version(one, formats, texts) for one in model.versions),
        tuple(
            (
                one.name,
                texts("models.pinned" if one.pinned else "models.has", number=one.version),
            )
            for one in model.followers
        ),
    )


def preview_screen(preview: Preview, formats: Formats, texts: Texts) -> PreviewScreen:
    """Return what a draft would trade."""
    rows = tuple(_preview(one, formats, texts) for one in preview.followers)
    summary = texts("models.trading", count=preview.trading)
    blocked = any(
        each.code != "targets_exceed_limits" for one in preview.followers for each in one.problems
    )
    return PreviewScreen(summary, rows, not blocked)


def typed_targets(targets: Mapping[str, float], formats: Formats) -> dict[str, str]:
    """Return targets as percentages to edit."""
    return {
        symbol: formats.percent(weight, 2).rstrip("% \u00a0") for symbol, weight in targets.items()
    }


def _version(one: ModelVersion, formats: Formats, texts: Texts) -> VersionRow:
    title = texts("models.version", number=one.number, day=formats.day(one.created.date()))
    targets = ", ".join(
        f"{symbol} {formats.percent(weight)}" for symbol, weight in one.targets.items()
    )
    return VersionRow(one.number, title, targets, one.note)


def _preview(one: FollowerPreview, formats: Formats, texts: Texts) -> PreviewRow:
    lines = [each.message for each in one.problems]
    made, summary = one.proposal, ""
    if made is not None and made.orders:
        summary = texts(
            "models.turnover",
            turnover=formats.percent(made.turnover),
            cost=made.cost or "0",
        )
        lines += [
            texts(f"models.{order.side}", quantity=order.quantity, symbol=order.symbol)
            for order in made.orders
        ]
    elif made is not None:
        summary = texts("models.no_trade")
    exceeds = any(each.code == "targets_exceed_limits" for each in one.problems)
    return PreviewRow(one.name, summary, tuple(lines), one.portfolio_id if exceeds else None)
