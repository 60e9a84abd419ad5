"""Set and read the goals of a portfolio."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.application.audit import record
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.domain.audit.events import Action
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.goals import SavingsGoal
from rebalancer.domain.portfolio.mandate import ANY_VERSION, AcceptedVersions, ManagedPortfolio


@attrs.frozen
class ReadGoals:
    """Read the goals of a portfolio."""

    work: UnitOfWork

    def __call__(self, portfolio_id: UUID, *, actor: UUID) -> ManagedPortfolio:
        """Return a portfolio that the actor may read.

        Raises:
            NotFound: it does not exist for this account.
        """
        with self.work.read() as tx:
            return tx.portfolios.get_for(portfolio_id, actor)


@attrs.frozen
class SetGoals:
    """Replace the goals of a portfolio."""

    work: UnitOfWork

    def __call__(
        self,
        portfolio_id: UUID,
        goals: Iterable[SavingsGoal],
        *,
        owner: UUID,
        accepted: AcceptedVersions = ANY_VERSION,
        now: datetime,
    ) -> ManagedPortfolio:
        """Return the portfolio with the goals.

        A goal that the portfolio has already keeps the day on which it was set.

        Raises:
            NotFound: the portfolio does not exist, or belongs to another account.
            InvalidRequest: a goal is invalid, or its day has come.
            PortfolioChanged: the version is not accepted.
        """
        wanted = tuple(goals)
        for at, goal in enumerate(wanted):
            if goal.by <= now.date():
                raise InvalidRequest(
                    f"{goal.by} is not after today, {now.date()}; choose a later day",
                    field=f"goals[{at}].by",
                    code="goal_in_the_past",
                )
        with self.work.begin() as tx:
            stored = tx.portfolios.get(portfolio_id, owner=owner)
            accepted.check(stored)
            known = {(one.name, one.amount, one.by, one.nominal): one for one in stored.goals}
            kept = [known.get((one.name, one.amount, one.by, one.nominal), one) for one in wanted]
            if tuple(kept) == stored.goals:
                return stored
            revised = stored.aim(kept, now)
            tx.portfolios.save(revised)
            record(tx, Action.GOALS_SET, at=now, subject=owner, target=f"portfolio:{portfolio_id}")
        return revised
