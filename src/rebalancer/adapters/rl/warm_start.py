"""Warm start: a first network, trained by gradients through a smooth copy of the simulation.

Reinforcement learning works by trial and error and depends on its starting point. This module
writes the weekly step again with torch, with soft no-trade bands, and follows the gradient of the
reward over whole worlds (as in Buehler, Gonon, Teichmann and Wood 2019, Deep Hedging). The result
is only a start: it is evaluated and improved in the simulation itself, whose bands are hard.

Two differences from the simulation are deliberate. Soft bands give a gradient. And money may be
borrowed at the cash rate, up to `MOST_INVESTED`: without borrowing, a learner that tolerates more
risk than its mix has must hold a riskier mix, and would unlearn to diversify. In production, a
policy holds its mix in full where this one would borrow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rebalancer.adapters.rl.rewards import (
    BEYOND_EXPOSURE_PRICE,
    MONTHLY_ORDERS,
    ORDER_PRICE,
    TURNOVER_PRICE,
    VARIANCE_PRICE,
)
from rebalancer.adapters.rl.simulation import (
    AVERSIONS,
    CHEAPEST,
    DEAREST,
    HIGHEST_RATE,
    LEAST_VOLATILITY,
    WEEKS_A_YEAR,
)
from rebalancer.adapters.rl.worlds import Worlds
from rebalancer.domain.policy.actions import (
    BAND,
    LEAST_INVESTED,
    MIX,
    PACE,
    PATIENCE,
    RISK,
    WIDER,
)
from rebalancer.domain.policy.features import FURTHEST, InputSet
from rebalancer.domain.policy.network import Network
from rebalancer.domain.policy.observation import MOST_TURNOVER, PAUSE
from rebalancer.domain.policy.rules import DEFAULT_BAND

HIDDEN = 32
"""Units in each of two hidden layers."""

BATCH = 192
"""Worlds in one gradient step."""

RATE = 2e-3
"""Highest learning rate."""

MOST_INVESTED = 2.0
"""Largest share of the mix that may be held, borrowed money included."""

SOFTNESS = 0.25
"""Part of the half-width over which trading fades in at a band's edge."""

_LEAK = 0.02
"""Slope beyond the range of an action, so that a clipped action can return."""

_CAUTION = ("month's volatility", "volatility's anchor")
"""Features with which the invested share falls before any training (Moreira and Muir 2017)."""

_CAUTION_SLOPE = 0.3
"""Fall of the action for a feature that rises by 1, of which exposure changes by half."""

_UNLIMITED = 10.0
"""Allowance of the first week: more than any turnover, and finite for the gradient."""

_BEGINNING = {
    "risk": -0.15,
    "inverse volatility": 0.05,
    "risk parity": 0.9,
    "momentum": 0.1,
    "trend": 0.1,
    "pace": 0.2,
    "band": -0.2,
    "patience": 0.5,
}
"""Actions of the untrained policy, as the literature suggests."""


class Actor(nn.Module):
    """A `Network` as a torch module."""

    def __init__(self, seed: int, inputs: InputSet) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Linear(len(inputs.features), HIDDEN)
        self.second = nn.Linear(HIDDEN, HIDDEN)
        actions = [action.name for action in inputs.actions]
        self.last = nn.Linear(HIDDEN, len(actions))
        signals = [inputs.column(name) for name in _CAUTION if name in inputs.names]
        with torch.no_grad():
            self.last.weight.mul_(0.3)
            if inputs.has_allowance:
                self._begin_cautious(signals)
            self.last.bias.copy_(torch.tensor([_BEGINNING[name] for name in actions]))

    def _begin_cautious(self, signals: list[int]) -> None:
        """Let the invested share fall with these features, by the first hidden units."""
        for layer in (self.first, self.second):
            layer.weight[0] = 0.0
            layer.bias[0] = 0.0
        self.first.weight[0, signals] = _CAUTION_SLOPE
        self.second.weight[0, 0] = 1.0
        self.last.weight[:, 0] = 0.0
        self.last.weight[RISK, 0] = -1.0

    def forward(self, observed: torch.Tensor) -> torch.Tensor:
        """Compute the actions, (B, A), without clipping."""
        hidden = torch.tanh(self.second(torch.tanh(self.first(observed))))
        answer: torch.Tensor = self.last(hidden)
        return answer

    def network(self) -> Network:
        layers = (self.first, self.second, self.last)
        return Network(
            [layer.weight.detach().numpy().T for layer in layers],
            [layer.bias.detach().numpy() for layer in layers],
        )


@attrs.frozen(eq=False)
class _Episodes:
    """N worlds of L weeks, with all other random inputs, as tensors.

    Attributes:
        allowance: (N, L + 1) turnover that accrues in a week without trades.
    """

    targets: torch.Tensor
    growth: torch.Tensor
    features: torch.Tensor
    sleeves: torch.Tensor
    unit: torch.Tensor
    monthly: torch.Tensor
    monthly_turnover: torch.Tensor
    allowance: torch.Tensor
    rate: torch.Tensor
    aversion: torch.Tensor
    share: torch.Tensor

    @classmethod
    def drawn(cls, worlds: Worlds, random: np.random.Generator, count: int) -> _Episodes:
        rows = random.integers(0, len(worlds), count)

        def tensor(values: NDArray[Any]) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))

        bps = CHEAPEST * (DEAREST / CHEAPEST) ** random.random(count)
        cash = (1.0 + HIGHEST_RATE * random.random(count)) ** (1.0 / WEEKS_A_YEAR)
        volatility = np.maximum(worlds.volatility[rows, :-1], LEAST_VOLATILITY)
        full = random.random(count) < 0.5
        return cls(
            targets=tensor(worlds.targets[rows]),
            growth=tensor(worlds.growth[rows] / cash[:, None, None]),
            features=tensor(worlds.features[rows]),
            sleeves=tensor(worlds.sleeves[rows]),
            unit=tensor(volatility / math.sqrt(WEEKS_A_YEAR)),
            monthly=tensor((1.0 + worlds.monthly[rows]) / cash[:, None] - 1.0),
            monthly_turnover=tensor(worlds.monthly_turnover[rows]),
            allowance=tensor(MOST_TURNOVER / WEEKS_A_YEAR * worlds.turnover[rows]),
            rate=tensor(bps * 1e-4),
            aversion=tensor(random.choice(AVERSIONS, count)),
            share=tensor(np.where(full, 1.0, 0.3 + 0.7 * random.random(count))),
        )


def _leaky(values: torch.Tensor, low: float, high: float) -> torch.Tensor:
    inside = values.clamp(low, high)
    return inside + _LEAK * (values - inside)


def _mean_reward(
    actor: Actor, worlds: _Episodes, inputs: InputSet, *, beyond_exposure: bool
) -> torch.Tensor:
    """Compute the mean weekly reward over all worlds, on the smooth path.

    The reward is `MeanVariance`, or `DrawdownBeyondExposure`.
    """
    targets = worlds.targets
    centre = torch.tensor([feature.centre for feature in inputs.portfolio])
    scale = torch.tensor([feature.scale for feature in inputs.portfolio])
    most = torch.tensor([sleeve.most for sleeve in inputs.sleeves])
    parity = [sleeve.name for sleeve in inputs.sleeves].index("risk parity")
    column = inputs.column("risk saved by parity")
    held = targets * worlds.share[:, None]
    weeks = torch.full((len(targets),), 52.0)
    wanted = targets.sum(1)
    even = targets / wanted[:, None]
    fixed = [
        torch.log(worlds.rate.clamp(min=1e-5) / 1e-3),
        torch.log(worlds.aversion / 4.0),
        torch.log(wanted.square() / targets.square().sum(1) / 10.0),
        1.0 - wanted,
    ]
    price = VARIANCE_PRICE * worlds.aversion / 2
    protection = BEYOND_EXPOSURE_PRICE * worlds.aversion / 4.0
    assets = (targets > 0).float().sum(1)
    wealth, peak = (torch.ones(2, len(targets)) for _ in range(2))
    total = torch.zeros(())
    count = worlds.growth.shape[1]
    for week in range(count):
        # A portfolio with borrowed money has the features of one that is fully invested.
        invested = held.sum(1)
        seen = held / invested.clamp(min=1.0)[:, None]
        moved = seen - targets
        departure = (moved.abs().sum(1) + moved.sum(1).abs()) / 2
        figures = [seen.sum(1), departure, torch.log1p(weeks), *fixed]
        allowed = torch.full_like(weeks, _UNLIMITED)
        if inputs.has_allowance:
            if week:
                allowed = worlds.allowance[:, week] * weeks.clamp(max=WEEKS_A_YEAR)
                allowed = allowed * (weeks > PAUSE / 7 - 0.5)
            figures.append(torch.log1p(allowed.clamp(max=1.0) / 0.05))
        standing = torch.stack(figures, dim=1)
        standing = ((standing - centre) / scale).clamp(-FURTHEST, FURTHEST)
        raw = actor(torch.cat([worlds.features[:, week], standing], dim=1))
        action = _leaky(raw, -1.0, 1.0)
        parts = _leaky(action[:, MIX], 0.0, 1.0) * most
        asked = parts.clamp(min=0.0).sum(1, keepdim=True)
        mix = (1.0 - asked).clamp(min=0.0) * targets
        mix = mix + ((parts / asked.clamp(min=1.0)).unsqueeze(2) * worlds.sleeves[:, week]).sum(1)
        slope = 1.0 - LEAST_INVESTED
        share = 1.0 + slope * _leaky(raw[:, RISK], -1.0, (MOST_INVESTED - 1.0) / slope)
        gap = (mix * share[:, None]).clamp(min=0.0) - held
        band = (DEFAULT_BAND * WIDER ** action[:, BAND])[:, None]
        patience = DEFAULT_BAND * WIDER ** action[:, PATIENCE]
        idle = gap.sum(1)
        leaves = torch.sigmoid((gap.abs() - band) / (SOFTNESS * band))
        funds = torch.sigmoid((idle.abs() - patience) / (SOFTNESS * patience))
        landing = action[:, PACE].clamp(min=0.0)[:, None] * band
        trade = gap.sign() * (gap.abs() - landing).clamp(min=0.0) * leaves
        same = (gap.sign() == idle.sign()[:, None]).float()
        trade = trade + gap * same * (1.0 - leaves) * funds[:, None]
        turnover = torch.maximum(trade.clamp(min=0.0).sum(1), (-trade).clamp(min=0.0).sum(1))
        within = (allowed / turnover.clamp(min=1e-9)).clamp(max=1.0)
        trade, turnover = trade * within[:, None], turnover * within
        cost = worlds.rate * trade.abs().sum(1)
        after = held + trade
        after = after / (after.sum(1) / MOST_INVESTED).clamp(min=1.0)[:, None]
        growth = worlds.growth[:, week]
        gained = (after * (growth - 1.0)).sum(1) - cost
        unit, turned = worlds.unit[:, week], worlds.monthly_turnover[:, week]
        # In deviations of the held mix, as far as it has moved toward risk parity.
        way = worlds.sleeves[:, week, parity] / wanted[:, None] - even
        gone = after / after.sum(1).clamp(min=1e-6)[:, None] - even
        part = ((gone * way).sum(1) / way.square().sum(1).clamp(min=1e-9)).clamp(0.0, 1.0)
        by_parity = inputs.features[column]
        saved = worlds.features[:, week, column] * by_parity.scale + by_parity.centre
        ours = gained / (unit * torch.exp(part * saved))
        monthly = (worlds.monthly[:, week] - 2.0 * turned * worlds.rate) / unit
        total = (
            total
            + (
                ours
                - monthly
                - price * (ours.square() - monthly.square())
                - TURNOVER_PRICE * (turnover - turned) / unit
            ).mean()
        )
        if beyond_exposure:
            actual = torch.stack([gained, monthly * unit])
            before = 1.0 - wealth / peak
            wealth = wealth * (1.0 + actual)
            peak = torch.maximum(peak, wealth)
            mine, theirs = ((1.0 - wealth / peak - before).clamp(min=0.0) / unit).unbind()
            beyond = mine - after.sum(1) / wanted * theirs
            traded = (leaves * (targets > 0)).sum(1) / assets - MONTHLY_ORDERS
            total = total - (protection * beyond + ORDER_PRICE * traded).mean()
        acted = torch.maximum((leaves * (targets > 0)).amax(1), funds)
        weeks = (weeks * (1.0 - acted) + 1.0).detach()
        held = after * growth / (1.0 + gained)[:, None]
    return total / count


def warm_start(
    worlds: Worlds,
    *,
    seed: int,
    iterations: int,
    reward: str = "mean_variance",
    progress: Callable[[int, float], None] = lambda *_: None,
) -> Network:
    """Train a network by gradient steps in the smooth simulation.

    Adam with decoupled weight decay (Loshchilov and Hutter 2019), a learning rate that rises over
    20 iterations and then falls like a cosine. With 0 iterations the result is the initial network.
    It maximises ``drawdown_beyond_exposure`` if that is the reward, and else ``mean_variance``.
    ``progress`` receives the number of each iteration and its mean reward.
    """
    actor = Actor(seed, worlds.inputs)
    climber = torch.optim.AdamW(actor.parameters(), lr=RATE, weight_decay=1e-4)
    random = np.random.default_rng([seed, 1])
    for iteration in range(iterations):
        rate = min(1.0, (iteration + 1) / 20)
        rate *= 0.5 * (1.0 + math.cos(math.pi * iteration / iterations)) + 0.02
        for group in climber.param_groups:
            group["lr"] = RATE * rate
        gain = _mean_reward(
            actor,
            _Episodes.drawn(worlds, random, BATCH),
            worlds.inputs,
            beyond_exposure=reward == "drawdown_beyond_exposure",
        )
        climber.zero_grad()
        (-gain).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        nn.utils.clip_grad_norm_(actor.parameters(), 1.0)
        climber.step()
        progress(iteration + 1, float(gain.detach()))
    return actor.network()
