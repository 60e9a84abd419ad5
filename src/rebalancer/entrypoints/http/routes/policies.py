"""`/api/policies`: list policies and read their model cards."""

from __future__ import annotations

from dishka.integrations.litestar import DishkaRouter, FromDishka
from litestar import get
from litestar.params import FromPath

from rebalancer.application.ports.policies import Policies
from rebalancer.entrypoints.http.threads import READS, run_in
from rebalancer.entrypoints.schemas.policy import CardView, PolicyView, policy_values


@get("/", summary="List policies")
async def policies(offered: FromDishka[Policies]) -> list[PolicyView]:
    """List all policies with their parameters and sources.

    The rules come first, then the versions of learned policies; last comes `learned`, which stands
    for the promoted version, or for the best rule if no version is promoted.
    """
    cards = await run_in(READS, offered.cards)
    return [PolicyView.of(policy_values(card)) for card in cards]


@get("/{name:str}", summary="Get a policy")
async def read_policy(name: FromPath[str], offered: FromDishka[Policies]) -> CardView:
    """Get the details of a rule, of a learned policy such as `ppo` or `ppo@1`, or of `learned`.

    For a learned policy: training and data, inputs and outputs, the evidence with its thresholds,
    and the command that trains it again.
    """
    return CardView.of(policy_values(await run_in(READS, offered.card, name)))


router = DishkaRouter("/policies", route_handlers=[policies, read_policy], tags=["policies"])
