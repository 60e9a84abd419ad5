"""Model portfolios in requests and responses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, ClassVar
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType, field

from rebalancer.application.models import FollowerPreview, ModelStatus
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.costs import CostModel, cost_model
from rebalancer.domain.portfolio.mandate import LONGEST_NAME, ManagedPortfolio
from rebalancer.domain.portfolio.models import (
    LONGEST_MODEL_NOTE,
    ModelContent,
    ModelVersion,
    PortfolioModel,
)
from rebalancer.entrypoints.schemas.parameters import (
    CostBps,
    CostPreset,
    FxSpread,
    PolicyName,
    Weights,
)
from rebalancer.entrypoints.schemas.proposal import SketchView, sketch_view
from rebalancer.entrypoints.schemas.target_groups import (
    LookThroughFields,
    TargetTreeBody,
    TargetTreeView,
    look_through_of,
    look_through_record,
    target_tree_view,
)
from rebalancer.entrypoints.schemas.wire import (
    Body,
    Fraction,
    OneLine,
    View,
    about,
)

MOST_FOLLOWERS = 1_000
"""Most followers that a request names."""

_Name = Annotated[OneLine, Meta(min_length=1, max_length=LONGEST_NAME, examples=["Balanced 60/40"])]
_Note = Annotated[
    OneLine, Meta(max_length=LONGEST_MODEL_NOTE, description="Why, in one line of text.")
]
_TARGETS = about("Required, unless target_groups states them.")


class ContentBody(Body, frozen=True, kw_only=True):
    """What a version of a model states."""

    alternatives: ClassVar[tuple[str, ...]] = ("targets", "target_groups")

    targets: Annotated[Weights | UnsetType, _TARGETS] = UNSET
    target_groups: Annotated[
        TargetTreeBody | UnsetType | None,
        about("Targets by asset classes and own groups, instead of targets by symbol."),
    ] = UNSET
    look_through: LookThroughFields = field(default_factory=dict)
    band: Annotated[
        Fraction | None,
        about("Half-width of the no-trade band. Default: each follower's own."),
    ] = None

    def content(self) -> ModelContent:
        """Return the content.

        Raises:
            InvalidRequest: targets are missing or invalid, or stated in two ways.
        """
        groups = self.target_groups
        tree = groups.tree() if isinstance(groups, TargetTreeBody) else None
        if tree is None and not isinstance(self.targets, dict):
            raise InvalidRequest(
                "the field is required, unless target_groups states the targets",
                field="targets",
                code="missing_field",
            )
        targets = self.targets if isinstance(self.targets, dict) else {}
        return ModelContent(
            {symbol: float(weight) for symbol, weight in targets.items()},
            tree,
            look_through_of(self.look_through),
            None if self.band is None else float(self.band),
        )


class ModelBody(ContentBody, frozen=True, kw_only=True):
    """A model with its first version."""

    name: _Name
    note: _Note = ""


class RenameBody(Body, frozen=True, kw_only=True):
    """The name of a model."""

    name: _Name


class DraftBody(ContentBody, frozen=True, kw_only=True):
    """A draft of a version, and what is asked about it."""

    alternatives = ("targets", "target_groups", "from_version")

    from_version: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        about("Take the targets of this version instead of stating them."),
    ] = None
    acknowledge: Annotated[
        list[UUID],
        Meta(
            max_length=MOST_FOLLOWERS,
            description="Followers whose targets may exceed the limits of their risk profiles.",
        ),
    ] = field(default_factory=list)

    def draft(self, earlier: ModelContent | None) -> ModelContent:
        """Return the content of the draft.

        Args:
            earlier: That of the named version; None if no version is named.

        Raises:
            InvalidRequest: targets are missing, invalid, or stated in two ways.
        """
        if earlier is None:
            return self.content()
        if isinstance(self.targets, dict) or isinstance(self.target_groups, TargetTreeBody):
            raise InvalidRequest(
                "the targets are stated, and taken from a version; leave out one of them",
                field="from_version",
                code="targets_stated_twice",
            )
        return earlier


class PreviewBody(DraftBody, frozen=True, kw_only=True):
    """A draft of a version whose trades are to be shown."""

    policy: PolicyName = "band"
    cost_bps: CostBps = None
    costs: CostPreset = None
    fx_spread_bps: FxSpread = None

    def cost_model(self) -> CostModel:
        """Return the cost model that is asked for."""
        bps, fx = (
            None if each is None else float(each) for each in (self.cost_bps, self.fx_spread_bps)
        )
        return cost_model(bps, self.costs, fx)


class PublishBody(DraftBody, frozen=True, kw_only=True):
    """A version to publish."""

    note: _Note = ""


class ModelView(View, frozen=True, kw_only=True):
    """A model, in brief."""

    id: UUID
    name: str
    version: Annotated[int, about("Counts the changes; the ETag is this number.")]
    latest: Annotated[int, about("Number of its latest version.")]
    created: datetime
    changed: datetime


class ModelVersionView(View, frozen=True, kw_only=True):
    """A version of a model; it never changes."""

    number: int
    targets: dict[str, float]
    target_groups: TargetTreeView | None
    look_through: dict[str, dict[str, float]]
    band: float | None
    note: str
    created: datetime


class FollowerView(View, frozen=True, kw_only=True):
    """A portfolio that follows a model."""

    portfolio_id: UUID
    name: str
    version: Annotated[int, about("Of the model, whose targets it has.")]
    pinned: bool


class ModelDetailView(ModelView, frozen=True, kw_only=True):
    """A model with its versions and followers."""

    versions: Annotated[list[ModelVersionView], about("Latest first, at most 100.")]
    followers: list[FollowerView]


class ProblemOfFollowerView(View, frozen=True, kw_only=True):
    """What keeps a draft from being published to a follower."""

    field: str
    code: str
    message: str


class FollowerPreviewView(View, frozen=True, kw_only=True):
    """What a draft would change for one follower."""

    portfolio_id: UUID
    name: str
    version: Annotated[int, about("Of the portfolio, for which this was computed.")]
    problems: Annotated[
        list[ProblemOfFollowerView],
        about("What keeps the draft from being published to it; empty if nothing does."),
    ]
    proposal: Annotated[
        SketchView | None, about("What it would trade; null if that cannot be computed.")
    ]


class ModelPreviewView(View, frozen=True, kw_only=True):
    """What a draft would trade."""

    model: ModelView
    followers: list[FollowerPreviewView]
    trading: Annotated[int, about("Number of followers that would trade.")]
    blocked: Annotated[int, about("Number of followers with problems.")]


class PublishedView(View, frozen=True, kw_only=True):
    """The model after a version was published, and the followers that moved."""

    model: ModelDetailView
    moved: list[UUID]


def model_view(model: PortfolioModel) -> ModelView:
    """Show a model, in brief."""
    return ModelView.of(model)


def version_view(version: ModelVersion) -> ModelVersionView:
    """Show a version."""
    content = version.content
    tree = content.target_groups
    return ModelVersionView(
        number=version.number,
        targets=dict(content.targets),
        target_groups=None if tree is None else target_tree_view(tree),
        look_through=look_through_record(content.look_through),
        band=content.band,
        note=version.note,
        created=version.created,
    )


def model_detail_view(status: ModelStatus) -> ModelDetailView:
    """Show a model with its versions and followers."""
    brief = model_view(status.model)
    fields = {name: getattr(brief, name) for name in brief.__struct_fields__}
    return ModelDetailView(
        **fields,
        versions=[version_view(one) for one in status.versions],
        followers=[_follower(one) for one in status.followers],
    )


def preview_view(model: PortfolioModel, previews: Sequence[FollowerPreview]) -> ModelPreviewView:
    """Show what a draft would trade."""
    return ModelPreviewView(
        model=model_view(model),
        followers=[_preview(one) for one in previews],
        trading=sum(one.proposal is not None and bool(one.proposal.orders) for one in previews),
        blocked=sum(bool(one.problems) for one in previews),
    )


def _follower(portfolio: ManagedPortfolio) -> FollowerView:
    assert portfolio.following is not None
    return FollowerView(
        portfolio_id=portfolio.id,
        name=portfolio.mandate.name,
        version=portfolio.following.version,
        pinned=portfolio.following.pinned,
    )


def _preview(one: FollowerPreview) -> FollowerPreviewView:
    mandate = one.portfolio.mandate
    made = one.proposal
    return FollowerPreviewView(
        portfolio_id=one.portfolio.id,
        name=mandate.name,
        version=one.portfolio.version,
        problems=[
            ProblemOfFollowerView(
                field=getattr(each, "field", ""), code=each.code, message=each.message
            )
            for each in one.problems
        ],
        proposal=None if made is None else sketch_view(made, mandate.currency.code),
    )
