import json

import pytest

from rebalancer.adapters.market_data.csv_files import CsvPrices
from rebalancer.adapters.market_data.csv_instruments import PackagedInstruments
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.portfolio.costs import cost_model
from rebalancer.domain.rebalancing.model import Algorithm, RebalanceContext
from rebalancer.entrypoints.schemas.portfolio import read_portfolio
from tests.builders import as_csv, flat_prices

PORTFOLIO = {
    "id": "mine",
    "cash": "500.00",
    "holdings": {"A": "20", "B": "5"},
    "targets": {"A": 0.4, "C": 0.5},
}
KEYS = [
    "portfolio_id",
    "status",
    "as_of",
    "policy",
    "orders",
    "not_traded",
    "weights_before",
    "weights_after",
    "cash_after",
    "turnover",
    "cost",
    "notes",
    "input_hash",
    "error",
    "drift_before",
    "drift_after",
    "volatility_before",
    "volatility_after",
    "periods_per_year",
    "others",
]


@pytest.fixture
def propose(quickly, market, tmp_path):
    """Run `rebalancer propose` on a portfolio, given as values or as text."""

    def run(portfolio, *options):
        text = portfolio if isinstance(portfolio, str) else json.dumps(portfolio)
        (tmp_path / "mine.json").write_text(text, encoding="utf-8")
        return quickly("propose", "mine.json", "--prices", market, *options)

    return run


@pytest.fixture
def from_csv(quickly, market, tmp_path):
    """Run `rebalancer propose --holdings` on the text of a CSV file."""

    def run(content, *options):
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / "mine.csv").write_bytes(data)
        return quickly("propose", "--holdings", "mine.csv", "--prices", market, *options)

    return run


def test_table_explains_orders_and_costs(quickly, market, write):
    write("mine.json", json.dumps(PORTFOLIO))
    done = quickly("propose", "mine.json", "--prices", market)
    assert (done.code, done.stderr) == (0, "")
    expected = [
        *("mine", "band, closes of 2021-02-23, 10 bps of traded value, each side"),
        *("Orders", "buy", "sell", "why", "Underweight: from 0.0% to", "Costs"),
        *("Before and after", "target", "distance from the policy's weights"),
        *("expected volatility a year", "What simple rules would trade", "monthly"),
        "not personal advice",
    ]
    for text in expected:
        assert text in done.stdout, text
    replay = quickly("propose", "mine.json", "--prices", market, "--json").json
    assert replay["input_hash"] in done.stdout


def test_untraded_assets_are_explained(propose):
    table = propose(PORTFOLIO | {"preferences": {"do_not_sell": ["A", "B"]}})
    assert "Not traded" in table.stdout and "do-not-sell list" in table.stdout
    nothing = propose(PORTFOLIO | {"holdings": {}, "targets": {}})
    assert nothing.code == 0 and "Nothing to trade." in nothing.stdout


def test_json_output_has_documented_fields(rebalancer, market, write):
    write("mine.json", json.dumps(PORTFOLIO))
    command = ("propose", "mine.json", "--prices", market, "--policy", "quarterly", "--json")
    done = rebalancer(*command)
    assert (done.code, done.stderr, list(done.json)) == (0, "", KEYS)
    assert [other["policy"] for other in done.json["others"]] == ["monthly", "band"]
    assert done.json["drift_after"] < done.json["drift_before"]
    assert rebalancer(*command).stdout == done.stdout


def test_proposal_matches_hand_calculation(quickly, write):
    write("flat.csv", as_csv(flat_prices({"A": 10.0, "B": 40.0})))
    write("mine.csv", "symbol,quantity\nA,100\n")
    found = quickly(
        *("propose", "--holdings", "mine.csv", "--targets", "A=0.5,B=0.5", "--prices", "flat.csv"),
        *("--policy", "monthly", "--cost-bps", "0", "--fractional", "--json"),
    ).json
    orders = {order["symbol"]: order for order in found["orders"]}
    assert (orders["A"]["side"], orders["A"]["value"]) == ("sell", "500.00")
    assert orders["B"]["side"] == "buy"
    assert float(orders["B"]["quantity"]) == pytest.approx(12.5, abs=0.001)
    assert float(found["cash_after"]) == pytest.approx(0, abs=0.05)
    assert (found["cost"], found["turnover"]) == ("0.00", 0.5)


def test_id_defaults_to_file_name(propose):
    without = {key: value for key, value in PORTFOLIO.items() if key != "id"}
    assert propose(without, "--json").json["portfolio_id"] == "mine"
    assert propose(PORTFOLIO | {"id": "else"}, "--json").json["portfolio_id"] == "else"


def test_csv_of_holdings_gives_same_proposal(propose, from_csv, write):
    portfolio = PORTFOLIO | {"cash_flow": "-10", "risk_profile": "growth"}
    single = propose(portfolio | {"preferences": {"whole_shares": False}}, "--json").json
    options = ("--cash", "500.00", "--cash-flow", "-10", "--risk-profile", "growth", "--json")
    write("targets.json", '{"A": 0.4, "C": 0.5}')
    plain = "symbol,quantity\nA,20\nB,5\n"
    for content, targets in (
        (plain, "A=0.4,C=0.5"),
        (plain, " A = 0.4 , C = 0.5000000000000000 "),
        (plain, "targets.json"),
        ("\ufeffQuantity , SYMBOL,note\r\n20, A,x\r\n\r\n5,B\r\n,,\r\n", "A=0.4,C=0.5"),
        ('symbol,quantity\r"A","20"\rB,5,\r', "A=0.4,C=0.5"),
    ):
        found = from_csv(content, "--targets", targets, "--fractional", *options)
        assert found.json == single | {"portfolio_id": "mine"}


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        ("", "needs a header line"),
        ("A,20\n", "needs a header line"),
        ("symbol;quantity\nA;20\n", "separated by commas"),
        ("symbol,symbol,quantity\nA,A,20\n", "one column symbol"),
        ("symbol,quantity\nA,1,000\n", "line 2: more cells than columns; write 1000"),
        ("symbol,quantity\nA,20\nA,1\n", "line 3: A occurs twice"),
        ("symbol,quantity\n,20\n", "line 2: the symbol is missing"),
        ("symbol,quantity\nA\n", "holdings.A: expected a decimal number"),
        ("symbol,quantity\nA,ten\n", "holdings.A: expected a decimal number"),
        ('symbol,quantity\nA,"1,000"\n', "holdings.A: expected a decimal number"),
        ("symbol,quantity\nA,NaN\n", "is not a finite amount"),
        ("symbol,quantity\nA,1e999999\n", "holdings.A: the number is too large"),
        ("symbol,quantity\nA,-1\n", "holdings.A: -1 is negative"),
        ("symbol,quantity\nZZZ,1\n", "holdings.ZZZ: unknown symbol"),
        ('symbol,quantity\nA,"20\n', "is not CSV"),
        ("symbol,quantity\n" + "A" * 200_000 + ",1\n", "is not CSV"),
        (b"symbol,quantity\n\xff,1\n", "is not UTF-8"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_invalid_holdings_are_rejected(from_csv, content, fragment):
    assert from_csv(content, "--targets", "A=1").refused(fragment)


@pytest.mark.parametrize(
    ("targets", "fragment"),
    [
        ("A", "targets: cannot read A"),
        ("", "targets: cannot read"),
        ("A=", "targets.A: expected a fraction"),
        ("=0.5", "'=0.5' is not of the form SYMBOL=WEIGHT"),
        ("A=0.5,", "'' is not of the form SYMBOL=WEIGHT"),
        ("A=0.5,A=0.5", "A occurs twice"),
        ("A=60%", 'targets.A: expected a fraction such as 0.25, got "60%"'),
        ("A=nan", "targets.A: expected a fraction"),
        ("A=1e400", "targets.A: expected a fraction"),
        ("A=-0.1", "is not between 0 and 1"),
        ("A=0.7,B=0.4", "targets: the targets sum to 1.1"),
        ("ZZZ=0.4", "targets.ZZZ: unknown symbol"),
        ("ZZZ=0.4,YYY=0.1", "targets.YYY: unknown symbol"),
    ],
)
def test_invalid_targets_are_rejected(from_csv, targets, fragment):
    assert from_csv("symbol,quantity\nA,1\n", "--targets", targets).refused(fragment)


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        (["--cash", "lots"], "cash: expected a decimal number"),
        (["--cash", ""], "cash: expected a decimal number"),
        (["--cash", "-99999"], "cash: "),
        (["--cash-flow", "-99999"], "cash_flow: "),
        (
            ["--risk-profile", "bold"],
            "risk_profile: expected one of conservative, cautious, balanced",
        ),
        (["--currency", "usd"], "currency: 'usd' is not an ISO 4217 code"),
        (["--policy", "nope"], "unknown policy 'nope'"),
        (["--as-of", "2021-05-31"], "weekdays earlier; at most 9 are allowed"),
        (["--as-of", "2019-12-31"], "before the first close"),
        (["--as-of", "yesterday"], "YYYY-MM-DD"),
        (["--cost-bps", "-1"], "cost_bps"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_invalid_options_are_rejected(from_csv, options, fragment):
    done = from_csv("symbol,quantity\nA,1\n", "--targets", "A=0.5", *options)
    assert done.refused(fragment)


def test_portfolio_comes_from_one_source(quickly, propose, from_csv, write):
    assert quickly("propose").refused("give either")
    write("mine.json", "{}")
    both = from_csv("symbol,quantity\n", "mine.json", "--targets", "A=1")
    assert both.refused("give either")
    assert from_csv("symbol,quantity\nA,1\n").refused(
        "targets: targets are missing", "Give --targets"
    )
    stray = propose(PORTFOLIO, "--cash", "1", "--targets", "A=1", "--fractional")
    assert stray.refused("--cash, --targets, --fractional needs --holdings; change")


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("", "portfolio: the text is not JSON"),
        ("[]", "portfolio: expected a JSON object, got a list"),
        ("{}", "cash: the field is required"),
        (json.dumps(PORTFOLIO | {"chash": 1}), "chash: unknown field; did you mean cash?"),
        (
            json.dumps(PORTFOLIO | {"currency": "XAU"}),
            "currency: no exchange rate from USD to XAU is known; import USDXAU or XAUUSD",
        ),
        (json.dumps(PORTFOLIO).replace('"500.00"', "NaN"), "cash: NaN is not a finite amount"),
        ('{"cash": ' + "[" * 100_000, "portfolio: the JSON is nested too deeply"),
    ],
)
def test_invalid_portfolios_are_rejected(propose, text, fragment):
    assert propose(text).refused(fragment)


def test_missing_file_is_rejected(quickly, tmp_path):
    assert quickly("propose", "missing.json").refused("portfolio: cannot read missing.json")
    assert quickly("propose", ".").refused("Is a directory")
    missing = quickly("propose", "--holdings", "missing.csv", "--targets", "A=1")
    assert missing.refused("holdings: cannot read missing.csv")


def test_as_of_weekend_uses_close_before(propose):
    friday = propose(PORTFOLIO, "--as-of", "2021-02-19", "--json").json
    assert propose(PORTFOLIO, "--as-of", "2021-02-21", "--json").json == friday
    assert friday["as_of"] == "2021-02-19"
    later = propose(PORTFOLIO, "--as-of", "2021-03-01", "--json").json
    assert later["as_of"] == "2021-02-23"


def test_proposal_is_replayed_by_input_hash(propose):
    first = propose(PORTFOLIO, "--policy", "monthly", "--json")
    known = first.json["input_hash"]
    again = propose(PORTFOLIO, "--policy", "monthly", "--input-hash", known, "--json")
    assert again.stdout == first.stdout
    for portfolio, options in (
        (PORTFOLIO, ["--policy", "band"]),
        (PORTFOLIO, ["--policy", "monthly", "--cost-bps", "11"]),
        (PORTFOLIO, ["--policy", "monthly", "--as-of", "2021-02-22"]),
        (PORTFOLIO | {"cash": "500.01"}, ["--policy", "monthly"]),
        (PORTFOLIO | {"id": "other"}, ["--policy", "monthly"]),
    ):
        refused = propose(portfolio, *options, "--input-hash", known)
        assert refused.refused("the inputs have the hash", known, "differ")


def test_fractions_need_an_option(from_csv):
    options = ("--targets", "A=0.3333333333333333", "--json")
    whole = from_csv("symbol,quantity\nA,10\n", *options).json
    assert all("." not in order["quantity"] for order in whole["orders"])
    some = from_csv("symbol,quantity\nA,10\n", *options, "--fractional").json
    assert some["weights_after"]["A"] == pytest.approx(1 / 3, abs=1e-5)


def test_steps_and_lots_of_the_assets_file_apply(quickly, write):
    prices = write("coins.csv", as_csv(flat_prices({"COIN": 52_000.0, "LOT": 20.0, "SHARE": 92.0})))
    assets = write("assets.csv", "symbol,quantity_step,lot_size\nCOIN,0.001,\nLOT,,10\n")
    targets = {"COIN": 0.5, "LOT": 0.3, "SHARE": 0.2}
    mine = write("mine.json", json.dumps({"cash": "3000", "holdings": {}, "targets": targets}))
    options = ("--prices", prices, "--assets", assets, "--policy", "monthly", "--json")
    orders = {order["symbol"]: order for order in quickly("propose", mine, *options).json["orders"]}
    # 1,500, 900 and 600 are 0.0288 coins, 4.5 lots and 6.5 shares. These cost 1,508, 800 and 644,
    # and leave 48: 100 from the targets. Five lots leave money for 5 shares at most.
    quantities = {symbol: order["quantity"] for symbol, order in orders.items()}
    assert quantities == {"COIN": "0.029", "LOT": "40", "SHARE": "7"}


def test_a_proposal_of_an_earlier_version_is_replayed_with_its_orders(quickly, write):
    closes = flat_prices({"CORE": 820.0, "SIDE": 75.0})
    mine = {"id": "old", "cash": "1200", "holdings": {}, "targets": {"CORE": 0.52, "SIDE": 0.48}}
    earlier = RebalanceContext(
        parse_rule("monthly"),
        CsvPrices(write("dear.csv", as_csv(closes))).closes(),
        PackagedInstruments().instruments(),
        cost_model(None, None),
        "USD",
        algorithm=Algorithm.SECOND,
    )
    known = earlier.input_hash(read_portfolio(mine, currency="USD"))
    options = ("--prices", "dear.csv", "--policy", "monthly", "--json")
    path = write("old.json", json.dumps(mine))
    orders = quickly("propose", path, *options, "--input-hash", known).json["orders"]
    assert [(one["symbol"], one["quantity"]) for one in orders] == [("SIDE", "8")]
    orders = quickly("propose", path, *options).json["orders"]
    assert [(one["symbol"], one["quantity"]) for one in orders] == [("CORE", "1"), ("SIDE", "5")]


def test_tiny_prices_are_legible(quickly, write):
    prices = write("coins.csv", as_csv(flat_prices({"TINY": 0.00000123, "DEAR": 61_234.5})))
    listed = quickly("market", "list", "--prices", prices).stdout
    assert "0.00000123" in listed
    assert "61,234.50" in listed
    assert "last 0.00000123" in quickly("market", "show", "TINY", "--prices", prices).stdout
