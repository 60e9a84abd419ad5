"""Economic series and their vintages: what was published of a period, and when."""

from __future__ import annotations

from datetime import date

import attrs


@attrs.frozen
class Observation:
    """Value of an economic series.

    Attributes:
        day: Day or first day of the period.
        value: In the unit of the series.
        known: Day from which on this figure was published; None if that is not known.
    """

    day: date
    value: float
    known: date | None = None


@attrs.frozen
class EconomicSeries:
    """Economic series of a provider.

    Attributes:
        observations: Oldest first; several of one day are its vintages.
    """

    id: str
    title: str
    unit: str
    observations: tuple[Observation, ...]

    def published(
        self, *, known_by: date | None = None, since: date | None = None
    ) -> tuple[Observation, ...]:
        """Return one observation of each day, oldest first: the vintage that was published last.

        Args:
            known_by: Last day of publication; figures whose day of publication is not known count
                as published. None: what is known now.
            since: First day of the observations; None: all.
        """
        found: dict[date, Observation] = {}
        for one in sorted(self.observations, key=_order):
            if known_by is None or one.known is None or one.known <= known_by:
                found[one.day] = one
        return tuple(one for day, one in sorted(found.items()) if since is None or day >= since)

    def extended_by(self, later: EconomicSeries, *, on: date) -> EconomicSeries:
        """Return the series with what a later answer of the same provider adds.

        A figure that differs and does not state its day of publication was published on ``on``.
        No vintage is lost.
        """
        latest = {one.day: one.value for one in self.published()}
        found = {(one.day, one.known): one for one in self.observations}
        for one in later.observations:
            if one.known is None and one.day in latest:
                if latest[one.day] == one.value:
                    continue
                one = attrs.evolve(one, known=on)
            found[one.day, one.known] = one
        return attrs.evolve(later, observations=tuple(sorted(found.values(), key=_order)))


def _order(one: Observation) -> tuple[date, date]:
    return one.day, one.known or date.min
