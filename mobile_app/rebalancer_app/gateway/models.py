"""Model portfolios, their versions and followers."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import attrs

from rebalancer_app.gateway.client import Endpoint
from rebalancer_app.gateway.pages import Page
from rebalancer_app.gateway.portfolios import Portfolio


@attrs.frozen
class Model:
    """A model, in brief."""

    id: UUID
    name: str
    version: int
    latest: int
    created: datetime


@attrs.frozen
class ModelVersion:
    """A version of a model; ``target_groups`` is the tree as the server states it."""

    number: int
    targets: dict[str, float]
    target_groups: dict[str, Any] | None
    band: float | None
    note: str
    created: datetime


@attrs.frozen
class Follower:
    """A portfolio that follows a model."""

    portfolio_id: UUID
    name: str
    version: int
    pinned: bool


@attrs.frozen
class ModelDetail:
    """A model with its versions and followers."""

    id: UUID
    name: str
    version: int
    latest: int
    versions: list[ModelVersion]
    followers: list[Follower]


@attrs.frozen
class NewModel:
    """A model to create."""

    name: str
    targets: dict[str, float]


@attrs.frozen
class Draft:
    """A draft to preview."""

    targets: dict[str, float] | None = None
    from_version: int | None = None
    acknowledge: list[UUID] = attrs.field(factory=list)


@attrs.frozen
class Publication:
    """A version to publish."""

    targets: dict[str, float] | None = None
    from_version: int | None = None
    acknowledge: list[UUID] = attrs.field(factory=list)
    note: str = ""


@attrs.frozen
class FollowerProblem:
    """What keeps a draft from being published to a follower."""

    code: str
    message: str


@attrs.frozen
class DraftOrder:
    """A trade of a follower."""

    symbol: str
    side: str
    quantity: str


@attrs.frozen
class DraftProposal:
    """What a follower would trade."""

    orders: list[DraftOrder]
    turnover: float | None
    cost: str | None


@attrs.frozen
class FollowerPreview:
    """What a draft would change for one follower."""

    portfolio_id: UUID
    name: str
    problems: list[FollowerProblem]
    proposal: DraftProposal | None


@attrs.frozen
class Preview:
    """What a draft would trade."""

    followers: list[FollowerPreview]
    trading: int
    blocked: int


@attrs.frozen
class Published:
    """The answer to a publication."""

    moved: list[UUID]


@attrs.frozen
class Follow:
    """The model that a portfolio is to follow."""

    model_id: UUID
    acknowledge_limits: bool = False


LIST = Endpoint("GET", "/api/models", Page[Model], query=("limit",))
CREATE = Endpoint("POST", "/api/models", ModelDetail, NewModel)
READ = Endpoint("GET", "/api/models/{model_id}", ModelDetail)
PREVIEW = Endpoint("POST", "/api/models/{model_id}/preview", Preview, Draft, keyed=False)
PUBLISH = Endpoint("POST", "/api/models/{model_id}/publish", Published, Publication)
FOLLOW = Endpoint("PUT", "/api/portfolios/{portfolio_id}/model", Portfolio, Follow)
UNFOLLOW = Endpoint("DELETE", "/api/portfolios/{portfolio_id}/model", Portfolio)
