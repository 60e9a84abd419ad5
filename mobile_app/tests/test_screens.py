"""What the screens show: states, both languages, hidden amounts, exact decimals."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import attrs
import pytest
from examples import DAYS, NOW, ONE, TWO, exact, home, performance, portfolio, proposal, to_do

from rebalancer_app.gateway.account import Event
from rebalancer_app.gateway.backtests import Backtest, Job, Series
from rebalancer_app.gateway.decoding import decode
from rebalancer_app.gateway.ledger import Entry
from rebalancer_app.gateway.market import Close, Closes, Issue, Regime
from rebalancer_app.gateway.risk import Questionnaire
from rebalancer_app.gateway.shares import ReceivedShare, Share
from rebalancer_app.gateway.users import Assessment
from rebalancer_app.model.account import device_name, event_days, given_share, received_share
from rebalancer_app.model.activity import FILTERS, activity_days
from rebalancer_app.model.backtest import backtest_screen, job_line, job_title
from rebalancer_app.model.charts import POINTS, money_chart, share_chart, thin
from rebalancer_app.model.formats import HIDDEN, Formats
from rebalancer_app.model.home import PERIODS, home_screen
from rebalancer_app.model.market import asset_screen, first_day, gauge
from rebalancer_app.model.performance import performance_screen
from rebalancer_app.model.portfolio import arrange, portfolio_screen
from rebalancer_app.model.proposal import proposal_screen
from rebalancer_app.model.risk import profile_screen, question_screen
from rebalancer_app.texts import LANGUAGES, load_texts

EN, DE = load_texts("en"), load_texts("de")
BRITISH, GERMAN = Formats.of("en-GB"), Formats.of("de-DE")
HEADER = {"id": str(ONE), "created": NOW.isoformat()}


def words_of(screen):
    """Return every text of a screen."""
    if isinstance(screen, str):
        return [screen]
    if attrs.has(type(screen)):
        return words_of([getattr(screen, field.name) for field in attrs.fields(type(screen))])
    if isinstance(screen, list | tuple):
        return [text for part in screen for text in words_of(part)]
    return []


class TestHome:
    def test_amounts_are_written_as_in_the_region(self):
        screen = home_screen(home(), GERMAN, DE)
        assert screen.total == "1.234.567,89\u00a0€"
        assert screen.gain == "−12,30\u00a0€"
        assert (screen.change.direction, screen.since) == (-1, "Seit 02.01.2025")
        assert screen.notes == ("A note.",)
        assert screen.chart is not None

    def test_hidden_amounts_are_nowhere(self):
        screen = home_screen(home(), BRITISH, EN, hidden=True)
        assert (screen.total, screen.gain, screen.chart) == (HIDDEN, "", None)
        assert not [text for text in words_of(screen) if "234" in text or "12.30" in text]
        assert screen.cards[0].change is not None  # returns are no amounts

    @pytest.mark.parametrize("period", PERIODS)
    def test_a_period_may_be_unknown(self, period):
        screen = home_screen(home(changes=[], history=None, period=period), BRITISH, EN)
        assert (screen.change, screen.gain, screen.since, screen.chart) == (None, "", "", None)

    def test_figures_are_of_the_period_of_the_chart(self):
        changes = [
            {"period": "1Y", "since": "2025-01-02", "gain": "-12.30", "change": -0.0123},
            {"period": "max", "since": "2019-03-04", "gain": "99", "change": 0.5},
        ]
        screen = home_screen(home(changes=changes, period="max"), BRITISH, EN)
        assert (screen.since, screen.gain) == ("Since 4 Mar 2019", "+€99.00")

    def test_without_portfolios_it_is_empty(self):
        screen = home_screen(home(portfolios=[], value=None, as_of=None), BRITISH, EN)
        assert screen.is_empty and screen.total == "–" and screen.cards == ()

    @pytest.mark.parametrize(
        ("more", "badge", "in_band"),
        [
            ({}, "16.5 points off target", False),
            ({"outside": []}, "On target", True),
            ({"outside": [], "uninvested": "5"}, "16.5 points off target", False),
            ({"drift": None}, "", None),
        ],
    )
    def test_cards_show_the_drift(self, more, badge, in_band):
        one = attrs.asdict(home().portfolios[0]) | {"id": str(ONE)} | more
        one["changes"] = []
        card = home_screen(home(portfolios=[_plain(one)]), BRITISH, EN).cards[0]
        assert (card.badge, card.in_band, card.change) == (badge, in_band, None)
        assert card.spoken.startswith("Pension, €1,234,567.89")

    @pytest.mark.parametrize("language", sorted(LANGUAGES))
    @pytest.mark.parametrize(
        ("task", "route"),
        [
            ("proposal_waits", f"/portfolios/{ONE}/proposals/{TWO}"),
            ("trades_expected", f"/portfolios/{ONE}/proposals/{TWO}"),
            ("flow_due", f"/portfolios/{ONE}/planned"),
            ("deposit_uninvested", f"/portfolios/{ONE}/rebalance"),
            ("outside_band", f"/portfolios/{ONE}/rebalance"),
            ("no_value", f"/portfolios/{ONE}"),
            ("no_targets", f"/portfolios/{ONE}/targets"),
            ("prices_old", "/market"),
        ],
    )
    def test_the_next_step_leads_to_where_it_is_done(self, task, route, language):
        data = home(to_do=[to_do("unknown"), to_do(task, days=3), to_do("no_value")])
        step = home_screen(data, BRITISH, load_texts(language)).next_step
        assert (step.route, step.others) == (route, 1)
        assert ("Pension" in step.title) != (task == "prices_old")

    def test_several_proposals_are_counted(self):
        data = home(to_do=[to_do("proposal_waits"), to_do("proposal_waits")])
        assert home_screen(data, BRITISH, EN).next_step.title.startswith("2 proposals")

    def test_unknown_tasks_are_left_out(self):
        assert home_screen(home(to_do=[to_do("unknown")]), BRITISH, EN).next_step is None


def _plain(one):
    """Return a portfolio of the summary as the server sends it."""
    return {
        name: str(value) if name in ("value", "uninvested") else value
        for name, value in one.items()
    }


class TestPortfolio:
    def test_amounts_keep_their_digits(self):
        screen = portfolio_screen(portfolio(value="123456789012.34"), BRITISH, EN)
        assert screen.value == "US$123,456,789,012.34"
        assert screen.rows[0].quantity == "10.5"
        assert screen.rows[0].price == "US$100.25"
        assert screen.uninvested == "US$100.00"
        assert screen.profile == "Balanced"

    def test_bars_of_equal_targets_have_one_order(self):
        targets = dict.fromkeys(("PG", "KO", "XOM", "JNJ", "AAPL"), 0.1) | {"BND": 0.4}
        bars = portfolio_screen(portfolio(targets=targets, holdings={}), BRITISH, EN).bars
        assert [one.symbol for one in bars[:-1]] == ["BND", "AAPL", "JNJ", "KO", "PG", "XOM"]

    def test_hidden_amounts_are_nowhere(self):
        screen = portfolio_screen(portfolio(), BRITISH, EN, hidden=True)
        assert {screen.value, screen.cash, screen.uninvested, screen.rows[0].value} == {HIDDEN}
        assert screen.rows[0].quantity == HIDDEN
        assert screen.rows[0].weight == "70.0%"

    def test_bars_show_the_band_around_the_target(self):
        screen = portfolio_screen(portfolio(), BRITISH, EN)
        apple = screen.bars[0]
        assert (apple.low, apple.high) == pytest.approx((0.58, 0.62))
        assert apple.outside and "outside its band" in apple.spoken
        cash = screen.bars[-1]
        assert cash.name == "Cash"
        assert (cash.weight, cash.target) == pytest.approx((0.3, 0.1))
        assert screen.scale > 0.7
        assert (screen.drift_badge, screen.in_band) == ("30.0 points off target", False)

    def test_a_stated_band_is_used(self):
        wide = attrs.asdict(portfolio().preferences) | {"band": 0.5}
        screen = portfolio_screen(portfolio(preferences=wide), GERMAN, DE)
        assert screen.in_band and screen.drift_badge == DE("home.in_band")
        assert screen.bars[0].low == pytest.approx(0.1)

    def test_missing_and_old_prices_have_a_note(self):
        stale = {"AAPL": {**_position(), "stale": True}}
        old = portfolio_screen(portfolio(holdings=stale), BRITISH, EN).rows[0]
        assert old.note == "Price of 2 Jan 2026"
        unknown = portfolio_screen(portfolio(), BRITISH, EN).rows[1]
        assert (unknown.note, unknown.value, unknown.drift) == ("No price is known", "–", "–")

    def test_without_value_or_targets_nothing_is_judged(self):
        empty = portfolio(value=None, holdings={}, targets={}, risk_profile=None, uninvested="0")
        screen = portfolio_screen(empty, BRITISH, EN)
        assert (screen.bars, screen.rows, screen.drift_badge, screen.in_band) == ((), (), "", None)
        assert (screen.value, screen.uninvested, screen.profile) == ("–", "", "none chosen")

    def test_holdings_are_sorted_and_searched(self):
        rows = portfolio_screen(portfolio(), BRITISH, EN).rows
        assert [row.symbol for row in arrange(rows, "weight")] == ["AAPL", "GOLD"]
        assert [row.symbol for row in arrange(rows[::-1], "name")] == ["AAPL", "GOLD"]
        assert [row.symbol for row in arrange(rows, "drift")] == ["AAPL", "GOLD"]
        assert [row.symbol for row in arrange(rows, "name", " gol ")] == ["GOLD"]


def _position():
    return {
        "quantity": "1",
        "price": "1",
        "currency": "USD",
        "price_date": "2026-01-02",
        "stale": False,
        "value": "1",
        "weight": 0.1,
    }


class TestProposal:
    def test_a_waiting_one_can_be_decided(self):
        screen = proposal_screen(proposal(), BRITISH, EN, NOW)
        assert screen.can_decide and not screen.can_fill and screen.state == ""
        assert screen.expires == "Expires in 5 hours"
        assert screen.sells[0].title == "Sell 2.5 AAPL"
        assert screen.sells[0].details == "at US$100.10, cost €0.25"
        assert screen.buys[0].amount == "€250.25"
        assert screen.not_traded == (("GOLD", "It is within its band."),)
        assert screen.bars[0].shown == "70.0% → 60.0%"
        assert (screen.bars[-1].before, screen.bars[-1].after) == pytest.approx((0.3, 0.1))
        assert dict(screen.facts)["Expected volatility"] == "20.0% → 15.0%"
        assert screen.disclaimer == "Computed, not advice."

    def test_in_german(self):
        screen = proposal_screen(proposal(), GERMAN, DE, NOW)
        assert "2,5" in screen.sells[0].title and "250,25\u00a0€" in screen.sells[0].amount

    @pytest.mark.parametrize("language", sorted(LANGUAGES))
    @pytest.mark.parametrize(
        "stage", ["accepted", "rejected", "expired", "executed", "cancelled", "nothing_to_do"]
    )
    def test_a_decided_one_shows_its_outcome(self, stage, language):
        one = proposal(stage=stage, decided=NOW.isoformat())
        screen = proposal_screen(one, BRITISH, load_texts(language), NOW)
        assert not screen.can_decide and screen.expires == ""
        assert screen.can_fill == (stage == "accepted")
        assert bool(screen.state) == (stage != "nothing_to_do")

    def test_a_stale_one_shows_the_reason(self):
        screen = proposal_screen(proposal(stale="the prices are newer"), BRITISH, EN, NOW)
        assert not screen.can_decide and "the prices are newer" in screen.state

    def test_fills_and_conversions_are_shown(self):
        fill = {"symbol": "AAPL", "side": "sell", "ordered": "2.5", "filled": "1", "open": "1.5"}
        conversion = {
            "from_currency": "EUR",
            "to_currency": "USD",
            "from_amount": "100",
            "to_amount": "110.5",
            "automatic": True,
        }
        one = proposal(
            fills=[fill],
            conversions=[conversion],
            volatility_before=None,
            orders=[attrs.asdict(order) | _money(order) for order in proposal().orders],
        )
        screen = proposal_screen(one, BRITISH, EN, NOW)
        assert (screen.sells[0].filled, screen.buys[0].filled) == ("1 of 2.5 filled", "")
        assert screen.conversions == ("Convert €100.00 into US$110.50",)
        assert "Expected volatility" not in dict(screen.facts)

    def test_without_orders_there_is_nothing_to_trade(self):
        screen = proposal_screen(proposal(orders=[], others=[]), BRITISH, EN, NOW)
        assert screen.headline == "Nothing to trade"
        assert screen.sells == screen.buys == screen.others == ()


def _money(order):
    names = ("quantity", "price", "value", "cost", "amount")
    return {name: str(getattr(order, name)) for name in names}


class TestPerformance:
    @pytest.mark.parametrize("period", ["1M", "YTD", "1Y", "max"])
    def test_every_period_has_its_chart(self, period):
        screen = performance_screen(performance(), period, BRITISH, EN)
        assert screen.gain == "−€40.26"
        assert screen.chart.dates[-1] == DAYS[-1]
        assert min(screen.drawdowns.curves[0].values) < 0
        assert [name for name, _, _ in screen.comparisons][-1] == "Targets, monthly"

    def test_figures_that_are_unknown_or_zero_are_left_out(self):
        few = {
            figure.name for figure in performance_screen(performance(), "max", BRITISH, EN).figures
        }
        assert {"Return a year", "Your own return a year", "Interest", "Taxes"} & few == set()
        full = performance(interest=1.0, taxes=2.0)
        line = attrs.asdict(full.portfolio)
        line |= {"time_weighted_return_a_year": 0.1, "money_weighted_return": 0.2}
        known = performance(interest=1.0, taxes=2.0, portfolio=line)
        many = {figure.name for figure in performance_screen(known, "max", BRITISH, EN).figures}
        assert {"Return a year", "Your own return a year", "Interest", "Taxes"} <= many

    def test_hidden_amounts_are_nowhere(self):
        screen = performance_screen(performance(), "max", GERMAN, DE, hidden=True)
        assert (screen.gain, screen.chart) == (HIDDEN, None)
        assert HIDDEN in screen.contributed
        assert not [text for text in words_of(screen) if "€" in text]

    def test_months_are_by_year_and_written_with_their_sign(self):
        months = performance_screen(performance(), "max", BRITISH, EN).months
        assert [year for year, _ in months] == ["2026", "2025"]
        assert all(
            cell.text[0] in "+−" and -1 <= cell.strength <= 1 for _, c in months for cell in c
        )

    def test_contributions_name_holdings_cash_fees_and_classes(self):
        parts = [("asset", "AAPL", 0.06), ("cash", None, 0.0), ("fees", None, -0.03)]
        attribution = {
            "holdings": [
                {"kind": kind, "symbol": symbol, "currency": "EUR", "contribution": much}
                for kind, symbol, much in parts
            ],
            "asset_classes": [
                {"name": "equity", "contribution": 0.06},
                {"name": "fees", "contribution": -0.03},
            ],
        }
        screen = performance_screen(performance(attribution=attribution), "max", BRITISH, EN)
        assert [row.name for row in screen.holdings] == ["AAPL", "Cash in EUR", "Fees"]
        assert [row.strength for row in screen.holdings] == [1.0, 0.0, -0.5]
        assert [row.name for row in screen.classes] == ["Shares", "Fees"]
        assert all(row.text[0] in "+−" or row.strength == 0 for row in screen.holdings)
        old = performance_screen(performance(), "max", BRITISH, EN)
        assert (old.holdings, old.classes) == ((), ())

    def test_a_single_day_has_no_chart(self):
        line = attrs.asdict(performance().portfolio) | {"values": [1000.0]}
        one = performance(
            portfolio=line,
            no_rebalancing=line,
            benchmark=line,
            dates=[DAYS[0].isoformat()],
            contributions=[1000.0],
        )
        screen = performance_screen(one, "1Y", BRITISH, EN)
        assert (screen.chart, screen.drawdowns) == (None, None)


class TestCharts:
    def test_lines_have_words_at_each_point_and_as_a_whole(self):
        chart = money_chart(DAYS[:2], [("", [1.0, 2.005])], "EUR", BRITISH, EN)
        assert chart.curves[0].labels[0] == "€1.00\n3 Nov 2025"
        assert chart.spoken == EN(
            "charts.spoken",
            first="3 Nov 2025",
            last="4 Nov 2025",
            begins="€1.00",
            ends="€2.00",
            low="€1.00",
            high="€2.00",
        )
        assert chart.low < 1 and chart.high > 2

    def test_flat_lines_have_room(self):
        chart = share_chart(DAYS[:2], [("a", [0.0, 0.0])], BRITISH, EN)
        assert chart.low < 0 < chart.high
        assert chart.curves[0].labels[0].startswith("a: 0.0%")

    def test_too_few_points_give_no_chart(self):
        assert money_chart(DAYS[:1], [("", [1.0])], "EUR", BRITISH, EN) is None
        assert share_chart(DAYS[:2], [], BRITISH, EN) is None


def entry(kind, **more):
    found = {
        "id": str(ONE),
        "kind": kind,
        "on": "2026-01-02",
        "recorded": NOW.isoformat(),
        "amount": "100",
        "currency": "EUR",
        "cash": "-1001.25",
        "symbol": "AAPL",
        "quantity": "2.50",
        "price": "400.10",
        "cost": "1.00",
        "proposal_id": None,
        "note": "by hand",
        "voids": None,
        "voided_by": None,
        "withheld": "0",
        "other": None,
    }
    return decode(found | more, Entry)


class TestActivity:
    def test_entries_are_words_by_day(self):
        later = entry("deposit", on="2026-01-03", symbol=None, quantity=None, price=None, cost="0")
        days = activity_days([later, entry("buy")], BRITISH, EN)
        assert [day.day for day in days] == ["3 Jan 2026", "2 Jan 2026"]
        row = days[1].rows[0]
        assert (row.title, row.cash) == ("Bought 2.5 AAPL", "−€1,001.25")
        assert row.details == "at €400.10, cost €1.00, by hand"
        assert row.can_void and row.spoken.startswith("Bought 2.5 AAPL, −€1,001.25, at")

    def test_hidden_and_zero_cash_is_not_shown(self):
        rows = activity_days([entry("buy"), entry("split", cash="0")], GERMAN, DE, hidden=True)
        assert [row.cash for row in rows[0].rows] == [HIDDEN, ""]

    def test_what_no_longer_counts_cannot_be_corrected(self):
        gone = entry("buy", voided_by=str(TWO), withheld="3", note="")
        opposite = entry("buy", voids=str(TWO))
        for row in activity_days([gone, opposite], BRITISH, EN)[0].rows:
            assert row.is_void and not row.can_void and "no longer counts" in row.details
        assert "tax withheld €3.00" in activity_days([gone], BRITISH, EN)[0].rows[0].details

    @pytest.mark.parametrize(
        ("only", "kinds"),
        [
            ("all", 4),
            ("trades", 1),
            ("money", 1),
            ("income", 1),
        ],
    )
    def test_filters(self, only, kinds):
        assert only in FILTERS
        every = [entry(kind) for kind in ("buy", "deposit", "dividend", "brand_new")]
        days = activity_days(every, BRITISH, EN, only=only)
        assert sum(len(day.rows) for day in days) == kinds

    def test_search_and_kinds_that_the_app_does_not_know(self):
        every = [entry("brand_new", note="Gift"), entry("buy")]
        (day,) = activity_days(every, BRITISH, EN, search=" gift ")
        assert [row.title for row in day.rows] == ["Brand new 2.5 AAPL"]
        assert activity_days(every, BRITISH, EN, search="nothing") == ()


def backtest(state, result=None, error=None, policies=("monthly", "band")):
    found = HEADER | {
        "state": state,
        "progress": 0.5,
        "finished": None,
        "request": {"policies": list(policies)},
        "result": result,
        "error": error,
    }
    return decode(found, Backtest)


RESULT = {
    "from": "2020-01-02",
    "to": "2021-01-04",
    "currency": "EUR",
    "cautions": ["The past."],
    "results": [
        {"policy": "monthly", "cagr": 0.1, "sharpe": 1.234, "orders_per_year": 11.6},
        {
            "policy": "band",
            "cagr": None,
            "sharpe_gain": {"estimate": 0.1, "low": -0.2, "high": 0.4},
        },
    ],
}


class TestBacktest:
    @pytest.mark.parametrize("language", sorted(LANGUAGES))
    @pytest.mark.parametrize("state", ["queued", "running", "failed", "dead", "cancelled"])
    def test_every_state_has_words(self, state, language):
        screen = backtest_screen(
            backtest(state, error="no prices"), None, BRITISH, load_texts(language)
        )
        assert screen.is_running == (state in ("queued", "running"))
        assert screen.state.endswith("no prices")
        assert (screen.table, screen.chart, screen.period) == (None, None, "")

    def test_figures_stand_side_by_side(self):
        series = Series([date(2020, 1, 2), date(2021, 1, 4)], {"monthly": [1.0, 2.0]})
        one = backtest("succeeded", RESULT)
        screen = backtest_screen(one, series, BRITISH, EN)
        assert screen.table.policies == ("Monthly", "Band rule")
        rows = dict(screen.table.rows)
        assert rows["Return a year"] == ("10.0%", "–")
        assert rows["Reward for risk (Sharpe)"][0] == "1.23"
        assert rows["Orders a year"][0] == "12"
        assert rows["Difference in it (95%)"] == ("–", "0.10 (-0.20 … 0.40)")
        assert screen.chart is not None and screen.cautions == ("The past.",)
        assert screen.state == ""

    def test_jobs_have_a_title_and_a_line(self):
        found = HEADER | {
            "kind": "backtest",
            "state": "succeeded",
            "progress": 1.0,
            "cancelling": False,
            "finished": None,
            "request": {},
            "error": None,
        }
        assert job_title({}, EN) == "Test policies on history"
        assert job_title({"policies": ["band", "mine"]}, EN).startswith("Band rule, ")
        assert job_line(decode(found, Job), BRITISH, EN) == "Done · 2 Jan 2026"


class TestMarket:
    def test_an_asset_shows_its_price_change_and_averages(self):
        closes = [Close(day, 100.0 + n) for n, day in enumerate(DAYS)]
        indicators = {"sma_50": [1.0] * len(DAYS), "sma_200": [None] * len(DAYS)}
        data = Closes("AAPL", closes, "EUR", indicators)
        issue = Issue("AAPL", "price_jump", "warning", DAYS[3])
        screen = asset_screen(data, [issue], BRITISH, EN)
        assert (screen.price, screen.change.direction) == ("€160.00", 1)
        assert [curve.name for curve in screen.chart.curves] == ["Price", "Mean of 50 days"]
        assert screen.issues == ("Price jump on 6 Nov 2025",)

    def test_an_asset_without_closes(self):
        screen = asset_screen(Closes("X", [], None, None), [], GERMAN, DE)
        assert (screen.price, screen.change, screen.chart, screen.issues) == ("–", None, None, ())

    def test_periods_begin_before_today(self):
        today = date(2026, 1, 2)
        assert first_day("max", today) is None
        assert first_day("1M", today) == today - timedelta(days=31)

    def test_the_gauge_names_the_states(self):
        regime = Regime(NOW.date(), {"calm": 0.7, "odd": 0.3}, "calm", DAYS[0], "It is calm.")
        found = gauge(regime, GERMAN, DE)
        assert (found.title, found.sentence) == (DE("regime.calm"), "It is calm.")
        assert found.shares == ((DE("regime.calm"), 0.7), ("odd", 0.3))


QUESTIONS = {
    "version": "1",
    "questions": [
        {"id": id, "text": id, "help": "", "answers": [{"id": "a", "text": "A"}]}
        for id in ("one", "two")
    ],
}


class TestRisk:
    def test_questions_have_a_position(self):
        data = decode(QUESTIONS, Questionnaire)
        first = question_screen(data, 0, {}, EN)
        assert (first.position, first.share, first.chosen) == ("Question 1 of 2", 0, "")
        last = question_screen(data, 1, {"two": "a"}, EN)
        assert (last.is_last, last.share, last.chosen) == (True, 0.5, "a")

    @pytest.mark.parametrize(
        ("name", "unadjusted", "level", "lowered"),
        [
            ("conservative", "conservative", 0.0, False),
            ("balanced", "growth", 0.5, True),
            ("aggressive", "aggressive", 1.0, False),
            ("own", "own", 0.5, False),
        ],
    )
    def test_results_are_explained(self, name, unadjusted, level, lowered):
        limits = {
            "name": name,
            "target_volatility": 0.13,
            "tolerated_drawdown": 0.25,
            "equity_ceiling": 0.65,
            "cash_floor": 0.02,
            "max_weight": 0.5,
        }
        found = decode(
            {
                "profile": limits,
                "unadjusted": unadjusted,
                "reasons": ["You said so."],
                "assessed": NOW.isoformat(),
            },
            Assessment,
        )
        screen = profile_screen(found, BRITISH, EN)
        assert (screen.level, bool(screen.lowered)) == (level, lowered)
        assert screen.limits[0] == "At most 65% in equities"
        assert screen.reasons == ("You said so.",)


AGENTS = [
    ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537 Chrome/156.0 Safari/537", "Chrome, Linux"),
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 19) Version/19 Safari/604", "Safari, iPhone"),
    ("Mozilla/5.0 (Macintosh) Chrome/156 Safari/537 Edg/156", "Edge, Mac"),
    ("curl/8.5.0", "curl"),
]


class TestAccount:
    @pytest.mark.parametrize(("agent", "name"), AGENTS)
    def test_devices_have_names(self, agent, name):
        assert device_name(agent) == name

    def test_events_are_words_by_day(self):
        at = datetime(2026, 1, 2, 12, 30, tzinfo=UTC)
        events = [
            Event(UUID(int=n), at, action, "Described", outcome, "you", "192.0.2.1", agent)
            for n, (action, outcome, agent) in enumerate(
                [("login", "done", AGENTS[0][0]), ("brand_new", "refused", None)]
            )
        ]
        (day,) = event_days(events, GERMAN, DE)
        first, second = day.rows
        assert (first.title, first.is_refused) == ("Angemeldet", False)
        assert first.details.endswith("Chrome, Linux · 192.0.2.1")
        assert (second.title, second.is_refused) == ("Described", True)
        assert event_days([], GERMAN, DE) == ()

    def test_every_action_of_the_server_has_words(self):
        from rebalancer.domain.audit.events import Action

        for language in LANGUAGES:
            texts = load_texts(language)
            assert [
                action for action in Action if texts.find(f"event.{action.value}") is None
            ] == []

    @pytest.mark.parametrize(
        ("accepted", "waits", "state"),
        [(None, True, "invited on 2 Jan 2026"), (NOW.isoformat(), False, "since 2 Jan 2026")],
    )
    def test_shares_show_person_and_right(self, accepted, waits, state):
        common = HEADER | {"portfolio_id": str(ONE), "right": "read", "accepted": accepted}
        given = given_share(decode(common | {"email": "a@example.org"}, Share), BRITISH, EN)
        assert (given.title, given.details, given.waits) == (
            "a@example.org",
            f"See it · {state}",
            waits,
        )
        owner = {"name": "", "email": "b@example.org"}
        more = {"portfolio_name": "Pension", "owner": owner, "right": "brand_new"}
        received = received_share(decode(common | more, ReceivedShare), BRITISH, EN)
        assert received.title == "Pension"
        assert received.details == f"From b@example.org · brand_new · {state}"


def test_money_never_goes_through_a_float():
    one = portfolio(value="0.1", cash="9007199254740993.01")
    assert (one.value, one.cash) == (exact("0.1"), exact("9007199254740993.01"))
    assert portfolio_screen(one, BRITISH, EN).cash == "US$9,007,199,254,740,993.01"


@pytest.mark.parametrize("count", [0, 1, 2, POINTS - 1, POINTS, POINTS + 1, 10 * POINTS, 2_520])
def test_curves_are_thinned_evenly_and_keep_their_ends(count):
    rows = thin(count)
    assert len(rows) == min(count, POINTS)
    assert rows == sorted(set(rows))
    assert rows[:1] == [0][:count] and rows[-1:] == [count - 1][:count]
    gaps = {after - before for before, after in pairwise(rows)}
    assert not gaps or max(gaps) - min(gaps) <= 1
