"""What sales gain, and what a limit on realised gains does to a proposal, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal

import attrs

from rebalancer.domain.money import canonical_text
from rebalancer.domain.number_text import money_text
from rebalancer.domain.portfolio.lots.sellable import SaleGain, gain_of_sale
from rebalancer.domain.portfolio.lots.years import TaxYear
from rebalancer.domain.portfolio.portfolio import Portfolio

_ZERO = Decimal(0)
_NOTHING = (_ZERO, _ZERO, _ZERO)


@attrs.frozen
class GainCut:
    """What a limit on realised gains has changed in the orders of a portfolio.

    Attributes:
        allowance: Most that sales may gain.
        before: Units and gain of each sale without the limit, by slot; empty if it is not applied.
        unfunded: Slots whose purchases lack the money of sales.
        needs_risk: Whether the sales are made because the risk has to fall.
    """

    allowance: Decimal
    before: Mapping[int, tuple[Decimal, Decimal]] = attrs.field(factory=dict)
    unfunded: frozenset[int] = frozenset()
    needs_risk: bool = False


@attrs.frozen
class GainReasons:
    """Explains the gains of one proposal, and the limit on them.

    Attributes:
        portfolio: With lots.
        sold: Units, gain and proceeds of each sale, by slot; units of unknown cost count as 0.
        cut: What the limit has changed; None: nothing.
        on: Day of the closes.
    """

    portfolio: Portfolio
    sold: Mapping[int, tuple[Decimal, Decimal, Decimal]]
    cut: GainCut | None
    on: date

    def sale_gains(self) -> tuple[SaleGain, ...]:
        """Return what each sale would realise."""
        portfolio = self.portfolio
        lots = portfolio.lots or {}
        return tuple(
            gain_of_sale(
                symbol,
                units,
                proceeds,
                lots.get(symbol, ()),
                on=self.on,
                method=portfolio.preferences.lot_method,
                currency=portfolio.currency,
            )
            for slot, (units, _, proceeds) in sorted(self.sold.items())
            for symbol in (portfolio.symbols[slot],)
        )

    def describe_sale(self, slot: int) -> str:
        """Return a sentence on a sale that the limit reduces, or that exceeds it; or nothing."""
        if self.cut is None:
            return ""
        more, gain = self._not_sold(slot)
        if more > 0:
            return f" Selling {self._units(slot, more, ' more')} would realise {self._limit(gain)}."
        if self._exceeds and self.sold[slot][1] > 0:
            return (
                f" Realises {self._money(self.sold[slot][1])}: {self._required} comes before the "
                f"limit of {self._money(self.cut.allowance)} on realised gains."
            )
        return ""

    def explain_no_order(self, slot: int) -> str | None:
        """Return why the limit leaves an asset untraded; None if it does not."""
        if self.cut is None:
            return None
        more, gain = self._not_sold(slot)
        if more > 0:
            return f"selling {self._units(slot, more)} would realise {self._limit(gain)}"
        if slot in self.cut.unfunded:
            return (
                f"the limit of {self._money(self.cut.allowance)} on realised gains leaves too "
                "little money for it"
            )
        return None

    def notes(self) -> Iterator[str]:
        """Yield sentences on the gains of all sales, where they are limited."""
        allowance = self.portfolio.gain_allowance
        if allowance is None:
            return
        if self.sold:
            gain = self._gain
            verb = "lose" if gain < 0 else "realise"
            net = f"The sales {verb} {self._money(abs(gain))} net of "
            net += "gains" if gain < 0 else "losses"
            beyond = f", because {self._required} comes first" if self._exceeds else ""
            yield f"{net}; the limit is {self._describe_limit()}{beyond}."
        unknown = sorted(
            symbol
            for symbol, lots in (self.portfolio.lots or {}).items()
            if any(lot.cost is None for lot in lots)
        )
        if unknown:
            yield (
                f"The cost of some units of {', '.join(unknown)} is unknown; for the limit on "
                "realised gains it counts as 0."
            )

    @property
    def _gain(self) -> Decimal:
        return sum((gain for _, gain, _ in self.sold.values()), _ZERO)

    @property
    def _exceeds(self) -> bool:
        return self.cut is not None and self._gain > self.cut.allowance

    @property
    def _required(self) -> str:
        """What comes before the limit."""
        assert self.cut is not None
        if self.cut.needs_risk:
            return "the profile's limit on risk"
        if self.portfolio.cash_flow < 0:
            return "the withdrawal"
        return "a debit, the cash reserve or a limit on weights"

    def _not_sold(self, slot: int) -> tuple[Decimal, Decimal]:
        """Return the units that the limit keeps from being sold, and their gain."""
        assert self.cut is not None
        units, gain = self.cut.before.get(slot, (_ZERO, _ZERO))
        sold, gained, _ = self.sold.get(slot, _NOTHING)
        return units - sold, gain - gained

    def _limit(self, gain: Decimal) -> str:
        return f"{self._money(gain)}; the limit is {self._describe_limit()}"

    def _describe_limit(self) -> str:
        """Write the limit that binds, such as "1000.00 EUR"."""
        wishes, allowance = self.portfolio.preferences, self.portfolio.gain_allowance
        assert allowance is not None
        year = wishes.max_realised_gain_year
        if year is None or wishes.max_realised_gain == allowance:
            return self._money(allowance)
        taxed = TaxYear.of(self.on, wishes.lot_method)
        return f"{self._money(year)} for {taxed}, of which {self._money(allowance)} are left"

    def _units(self, slot: int, units: Decimal, more: str = "") -> str:
        return f"{canonical_text(units)}{more} {self.portfolio.symbols[slot]}"

    def _money(self, amount: Decimal) -> str:
        currency = self.portfolio.currency
        return f"{money_text(amount, currency.minor_unit)} {currency}"
