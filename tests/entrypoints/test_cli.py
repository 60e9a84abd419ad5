import json
import re
import subprocess
import sys
from pathlib import Path

import attrs
import click
import pytest

from rebalancer.application.backtests import BacktestRequest
from rebalancer.config import Settings
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.policy.algorithms import ALGORITHMS, REWARDS
from rebalancer.domain.portfolio.costs import COST_PRESETS, DEFAULT_BPS
from rebalancer.entrypoints.cli.commands.backtest import backtest
from rebalancer.entrypoints.cli.commands.train import train
from rebalancer.entrypoints.cli.remedies import REMEDIES, explain
from tests.entrypoints.conftest import COMMAND, ENVIRONMENT
from tests.messages import messages

FULL = Path("/dev/full")

COMMANDS = [
    [],
    ["demo"],
    ["project"],
    ["stress"],
    ["propose"],
    ["batch"],
    ["backtest"],
    ["evaluate"],
    ["train"],
    ["policies"],
    *(["policies", name] for name in ("list", "show", "promote")),
    ["market"],
    ["market", "list"],
    ["market", "show"],
    ["market", "regime"],
    ["market", "sync"],
    ["market", "providers"],
    ["market", "schedule"],
    ["serve"],
    ["accept"],
    ["cancel"],
    ["db"],
    *(["db", name] for name in ("upgrade", "downgrade", "current", "check")),
    ["user"],
    *(["user", name] for name in ("create", "import-export")),
    ["portfolio"],
    *(
        ["portfolio", name]
        for name in (
            "list",
            "show",
            "performance",
            "gains",
            "statement",
            "void",
            "import",
            "export",
        )
    ),
]
HEAVY = {
    *("pandas", "numpy", "scipy", "plotly", "skfolio", "rich"),
    *("torch", "stable_baselines3", "gymnasium", "hmmlearn"),
    *("alembic", "dishka", "granian", "litestar", "sqlalchemy"),
    *("httpx", "yfinance", "curl_cffi", "exchange_calendars", "pyrate_limiter"),
}


HELP = """
import contextlib, io, json, sys
from rebalancer.entrypoints.cli.main import main

commands, heavy = map(json.loads, sys.argv[1:])
found, known = [], set()
for command in commands:
    sys.argv = ["rebalancer", *command, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    loaded = set(heavy) & set(sys.modules) - known
    known |= loaded
    found.append([code, shown.getvalue(), sorted(loaded)])
print(json.dumps(found))
"""
"""Shows the help of commands; prints the code of each, its text, and what it is first to load."""


@pytest.fixture(scope="module")
def helped():
    """Return what `HELP` prints, by command; one process does all, as each loads little."""
    asked = (json.dumps(COMMANDS), json.dumps(sorted(HEAVY)))
    done = subprocess.run(
        [sys.executable, "-c", HELP, *asked], capture_output=True, text=True, env=ENVIRONMENT
    )
    assert (done.returncode, done.stderr) == (0, "")
    return dict(zip(map(tuple, COMMANDS), json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_loads_no_heavy_package(helped, command):
    code, text, heavy = helped[tuple(command)]
    assert (code, heavy) == (0, [])
    assert "Usage: rebalancer" in text
    if command in ([], ["market"], ["db"], ["user"], ["portfolio"]):
        assert "Commands:" in text
    else:
        assert "Example" in text
    assert bool(command) or "Exit codes: 0 success, 1 unexpected error, 2 wrong usage" in text


@pytest.mark.parametrize(("code", "seen"), [(1, 0), (15, 15)])
def test_only_the_exit_of_a_closed_pipe_is_a_success(code, seen):
    program = (
        "import sys\n"
        "from rebalancer.entrypoints.cli import main\n"
        f"main.rebalancer.main = lambda **_: sys.exit({code})\n"
        "main.main()\n"
    )
    assert subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT).returncode == seen


def test_no_command_loads_pandas(market):
    program = (
        "import sys\n"
        "from rebalancer.entrypoints.cli.main import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    assert 'pandas' not in sys.modules and 'skfolio' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "market", "list"],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_version_is_printed(rebalancer):
    done = rebalancer("--version")
    assert (done.code, done.stdout) == (0, "rebalancer, version 0.1.0\n")


def test_policies_are_listed_with_summary_and_source(quickly):
    table = quickly("policies")
    assert table.code == 0
    listed = quickly("policies", "--json").json
    names = [policy["name"] for policy in listed]
    assert {"buy_and_hold", "monthly", "band", "volatility_target", "trend"} <= set(names)
    assert all(name in table.stdout for name in names)
    for policy in listed:
        assert set(policy) == {
            "name",
            "kind",
            "version",
            "summary",
            "frequency",
            "parameters",
            "variants",
            "source",
            "decides",
        }
        assert policy["summary"] and policy["source"]
    band = listed[names.index("band")]
    assert band["parameters"] == {"band": 0.02}
    assert band["variants"] == ["edge", "half", "relative"]


def test_market_list_shows_all_assets(quickly, market):
    table = quickly("market", "list", "--prices", market)
    assert table.code == 0
    assert "5 assets" in table.stdout and "2021-02-23" in table.stdout
    assert "survivors" not in table.stdout
    listed = quickly("market", "list", "--prices", market, "--json").json
    assert [asset["symbol"] for asset in listed] == list("ABCDE")
    first = listed[0]
    assert (first["first"], first["last"], first["closes"]) == ("2020-01-01", "2021-02-23", 300)
    assert first["price"] > 0 and first["volatility"] > 0 and first["asset_class"] is None


def test_market_list_of_sample_carries_survivorship_caution(quickly):
    assert "survivors" in quickly("market", "list").stdout


def test_market_show_prints_years(quickly, market):
    table = quickly("market", "show", "C", "--prices", market)
    assert table.code == 0 and "2020" in table.stdout and "max drawdown" in table.stdout
    shown = quickly("market", "show", "C", "--prices", market, "--json").json
    assert shown["summary"]["symbol"] == "C"
    assert [year["year"] for year in shown["years"]] == [2020, 2021]
    assert quickly("market", "show", "c", "--prices", market).refused("c", "unknown")


def test_instruments_come_from_given_list(quickly, market, write):
    write("assets.csv", "symbol,name,asset_class,daily_volume\nC,Gold fund,gold,1000000\n")
    arguments = ("market", "show", "C", "--prices", market, "--assets", "assets.csv", "--json")
    summary = quickly(*arguments).json["summary"]
    assert (summary["name"], summary["asset_class"]) == ("Gold fund", "gold")


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["nope"], "No such command 'nope'"),
        (["--nope"], "No such option '--nope'"),
        (["backtest"], "Missing option '--policy'"),
        (["market", "show"], "Missing argument 'SYMBOL'"),
        (["backtest", "--policy", "mothly"], "unknown policy 'mothly'; choose one of"),
        (["backtest", "--policy", ","], "no policy is given"),
        (["backtest", "--policy", "monthly,monthly"], "given twice"),
        (["backtest", "--policy", "trend:window=1"], "enter a whole number from 2"),
        (["backtest", "--policy", "trend:widow=10"], "has no parameter 'widow=10'"),
        (["backtest", "--policy", "monthly", "--from", "2022-02-30"], "write YYYY-MM-DD"),
        (["market", "list", "--prices", "missing.csv"], "missing.csv"),
        (["market", "list", "--prices", "."], "folder"),
        (["market", "list", "--assets", "missing.csv"], "assets"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_user_error_has_no_traceback(quickly, arguments, fragment):
    assert quickly(*arguments).refused(fragment)


def test_missing_command_lists_commands(quickly):
    done = quickly()
    assert done.code == 2
    assert "Commands:" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "value", "fragment"),
    [
        ("REBALANCER_PRICE", "x.csv", "REBALANCER_PRICE: unknown setting; the settings are"),
        ("REBALANCER_WORKERS", "many", "REBALANCER_WORKERS: expected a whole number from 1 to"),
        ("REBALANCER_WORKERS", "0", "REBALANCER_WORKERS: expected a whole number from 1 to"),
        ("REBALANCER_WORKERS", "9" * 5000, "REBALANCER_WORKERS: expected a whole number from 1"),
        ("REBALANCER_CURRENCY", "dollar", "REBALANCER_CURRENCY: "),
        ("REBALANCER_ENVIRONMENT", "prod", "REBALANCER_ENVIRONMENT: expected one of development"),
        ("REBALANCER_DATABASE_URL", "here.db", "REBALANCER_DATABASE_URL: expected a URL such as"),
        ("REBALANCER_SECRET_KEY", "short", "REBALANCER_SECRET_KEY: a secret key needs at least 32"),
        ("REBALANCER_SECRET_KEY", "a" * 32, "REBALANCER_SECRET_KEY: a secret key needs random"),
        ("REBALANCER_PORT", "65536", "REBALANCER_PORT: expected a whole number from 0 to 65535"),
        ("REBALANCER_PORT", "http", "REBALANCER_PORT: expected a whole number from 0 to 65535"),
        ("REBALANCER_LOG_LEVEL", "loud", "REBALANCER_LOG_LEVEL: expected one of debug, info"),
        ("REBALANCER_REDIS_PREFIX", "a b", "REBALANCER_REDIS_PREFIX: expected up to 64"),
        ("REBALANCER_REDIS_PREFIX", "a" * 65, "REBALANCER_REDIS_PREFIX: expected up to 64"),
        ("REBALANCER_REDIS_PREFIX", "*", "REBALANCER_REDIS_PREFIX: expected up to 64"),
    ],
    ids=lambda value: value[:30],
)
def test_invalid_setting_is_named(quickly, name, value, fragment):
    assert quickly("policies", env={name: value}).refused(fragment)


MISTYPED = {
    "REDIS": [
        "redis://:s3cr3t#x@host:6379/0",
        "redis://:s3cr3t/x@host:6379/0",
        "redis://:s3c?r3t@host:6379/0",
        "redis://:12?r3t@host:6379/0",
        "redis://:12/r3t@host:6379/0",
        "redis://:s3c@r3t@host:6379/0",
        "redis://:s3cr3t@host:port/0",
        "redis://:s3cr3t@host:6379/zero",
        "redis://:s3c r3t@host:6379/0",
        "http://:s3cr3t@host:6379/0",
        "unix://s3cr3t#@/tmp/redis",
    ],
    "MONGO": [
        "mongodb://ada:s3cr3t#x@host/x",
        "mongodb://ada:s3cr3t/x@host",
        "mongodb://ada:s3c?r3t@host/x",
        "mongodb://ada:s3c@r3t@host/x",
        "mongodb://ada:s3cr3t@host:port/x",
        "mongodb://ada:s3cr3t@host:1,other:s3/x",
        "mongo://ada:s3cr3t@host/x",
    ],
    "DATABASE": [
        "postgresql://ada:s3cr3t#x@host/x",
        "postgresql://ada:s3c@r3t@host/x",
        "postgresql://ada:s3c@host:r3t@host:5432/x",
        "postgresql://ada:s3cr3t/x@host/x",
        "postgresql://ada:12?r3t@host/x",
        "postgresql://ada:s3cr3t@host:port/x",
        "ada:s3cr3t@host/x",
    ],
}


@pytest.mark.parametrize(
    ("name", "url"),
    [(f"REBALANCER_{kind}_URL", url) for kind, urls in MISTYPED.items() for url in urls],
)
def test_malformed_url_is_named_but_not_quoted(monkeypatch, name, url):
    monkeypatch.setenv(name, url)
    with pytest.raises(InvalidRequest, match=f"^{name}: expected a URL such as ") as refused:
        Settings.read()
    said = str(refused.value)
    assert not any(part in said for part in ("s3c", "r3t", "12", "zero", "port/"))
    assert "in a name or a password write / ? # @ as %2F %3F %23 %40" in said


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        ("REDIS", "redis://host"),
        ("REDIS", "redis://host:6379/0"),
        ("REDIS", "rediss://ada:s3c%23r3t:x!$&@host:6379/15?socket_timeout=3"),
        ("REDIS", "valkey://[::1]:6379/"),
        ("REDIS", "valkeys://host"),
        ("REDIS", "unix:///tmp/redis.sock?db=1&password=x"),
        ("REDIS", "unix://:s3cr3t@/tmp/redis.sock"),
        ("MONGO", "mongodb://host"),
        ("MONGO", "mongodb://a:b%40c@h1:1,h2,[::1]:3/x?replicaSet=rs0&authSource=admin"),
        ("MONGO", "mongodb+srv://ada:s3cr3t@cluster.example.org/x?retryWrites=true"),
        ("MONGO", "mongodb://%2Ftmp%2Fmongodb-27017.sock/x"),
        ("DATABASE", "sqlite:////var/lib/a b/re#balancer@home.db"),
        ("DATABASE", "postgresql:///name?host=/var/run/postgresql"),
        ("DATABASE", "postgresql+psycopg://ada:s3cr3t@host:5432/name?options=-c geqo=off"),
        ("DATABASE", "postgresql://postgres@[::1]:5432/postgres"),
    ],
)
def test_valid_url_is_accepted(kind, url):
    read = Settings.read({f"REBALANCER_{kind}_URL": url})
    assert getattr(read, f"{kind.lower()}_url") == url


REDIS, MONGO = "REBALANCER_REDIS_URL", "REBALANCER_MONGO_URL"
SERVE = ["serve", "--port", "0", "--upgrade"]


@pytest.mark.parametrize(
    ("arguments", "name", "url"),
    [
        (SERVE, REDIS, "redis://:s3cr3t@127.0.0.1:9/0?socket_timeout=soon"),
        (SERVE, MONGO, "mongodb://ada:s3%zzcr3t@127.0.0.1:9/x"),
        (["worker"], REDIS, "redis://:s3cr3t@127.0.0.1:9/0?no_such_option=1"),
        (["train", "--background", "--name", "x"], REDIS, "redis://:s3cr3t@127.0.0.1:70000/0"),
        (["market", "import", "--prices", "sample"], MONGO, "mongodb://a:s3%zzcr3t@127.0.0.1:9/x"),
        (["db", "upgrade"], MONGO, "mongodb://a:s3%zzcr3t@127.0.0.1:9/x"),
    ],
    ids=["serve-number", "serve-mongo", "worker-option", "train-port", "market-mongo", "db-mongo"],
)
def test_unusable_url_is_rejected_at_start(quickly, monkeypatch, arguments, name, url):
    if arguments[0] in ("worker", "train"):
        quickly("db", "upgrade")
    monkeypatch.setenv(name, url)
    done = quickly(*arguments)
    assert done.code == 2, done
    assert f"{name}: " in done.stderr
    assert "Listening" not in done.stdout and "Working" not in done.stdout
    assert not any(part in done.stdout + done.stderr for part in ("s3", "cr3t", "soon"))


def test_example_names_every_setting():
    text = (Path(__file__).parents[2] / ".env.example").read_text()
    found = re.findall("^#?(REBALANCER_[A-Z0-9_]+)=", text, re.MULTILINE)
    named = {name.removesuffix("_FILE") for name in found}
    settings = {f"REBALANCER_{field.name.upper()}" for field in attrs.fields(Settings)}
    assert named == settings


def test_settings_replace_options(quickly, market, write):
    write("assets.csv", "symbol,name\nB,The second\n")
    settings = {"REBALANCER_PRICES": str(market), "REBALANCER_ASSETS": "assets.csv"}
    listed = quickly("market", "list", "--json", env=settings).json
    assert [asset["name"] for asset in listed] == ["", "The second", "", "", ""]
    write("p.json", '{"cash": "100", "holdings": {}, "targets": {"A": 0.5}}')
    settings["REBALANCER_CURRENCY"] = "EUR"
    table = quickly("propose", "p.json", env=settings)
    assert table.code == 0 and "cost EUR" in table.stdout


def test_missing_sample_names_its_package(rebalancer, tmp_path):
    # A distribution of the same name without data hides the installed one.
    hidden = tmp_path / "hidden" / "skfolio-0.dist-info"
    hidden.mkdir(parents=True)
    (hidden / "METADATA").write_text("Metadata-Version: 2.1\nName: skfolio\nVersion: 0\n")
    done = rebalancer("market", "list", env={"PYTHONPATH": str(hidden.parent)})
    assert (done.code, done.stdout) == (1, "")
    assert "pip install 'rebalancer[sample]'" in done.stderr


@pytest.mark.parametrize("command", ["policies", "policies --json", "market list", "--help"])
def test_closed_pipe_is_success(command):
    writer = subprocess.Popen(
        [COMMAND, *command.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    )
    writer.stdout.close()
    complaint = writer.stderr.read()
    writer.stderr.close()
    assert (writer.wait(), complaint) == (0, b"")


@pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")
def test_full_disk_is_reported_without_bug_notice():
    def run(**more):
        with FULL.open("w") as full:
            return subprocess.run(
                [COMMAND, "policies"],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                env=ENVIRONMENT | more,
            )

    done = run()
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "bug" not in done.stderr and "Traceback" not in done.stderr
    assert "Traceback" in run(REBALANCER_DEBUG="1").stderr


def test_terminal_without_unicode_gets_replacements(rebalancer, market):
    arguments = ("market", "show", "A", "--prices", market)
    done = rebalancer(*arguments, env={"PYTHONIOENCODING": "ascii"})
    assert done.code == 0 and "2020" in done.stdout


def test_figures_fit_terminal_of_80_columns(quickly, market):
    terminal = {"FORCE_COLOR": "1", "TERM": "dumb", "COLUMNS": "80"}
    names = "hierarchical_risk_parity,volatility_target:target=0.10,window=42"
    done = quickly("backtest", "--prices", market, "--policy", names, env=terminal)
    assert done.code == 0 and "…" not in done.stdout
    done = quickly("market", "list", env=terminal)
    assert done.code == 0 and "…" not in done.stdout and "2022-12-28" in done.stdout


def test_brackets_and_colons_are_printed_literally(quickly, write):
    write("odd.csv", "date,[/bold],:smile:,[red]\n2022-01-03,1,2,3\n2022-01-04,1,2,3\n")
    portfolio = {
        "id": "[/] [bold]me[/bold]",
        "cash": "100",
        "holdings": {"[/bold]": "1"},
        "targets": {":smile:": 0.5, "[red]": 0.2},
    }
    write("odd.json", json.dumps(portfolio))
    proposed = quickly("propose", "odd.json", "--prices", "odd.csv")
    listed = quickly("market", "list", "--prices", "odd.csv")
    shown = quickly("market", "show", "[/bold]", "--prices", "odd.csv")
    assert (proposed.code, listed.code, shown.code) == (0, 0, 0)
    assert portfolio["id"] in proposed.stdout
    for symbol in ("[/bold]", ":smile:", "[red]"):
        assert symbol in proposed.stdout and symbol in listed.stdout


def help_of(command: click.Command) -> str:
    return " ".join(command.get_help(click.Context(command)).split())


def test_defaults_of_options_are_those_of_the_domain():
    options = {option.name: option.default for option in backtest.params}
    fields = {field.name: field.default for field in attrs.fields(BacktestRequest)}
    for name in ("capital", "max_departure", "risk_profile"):
        assert options[name] == fields[name]
    assert f"basis points of its value. Default: {DEFAULT_BPS:g}." in help_of(backtest)


def test_help_lists_the_choices_of_the_domain():
    for choice in COST_PRESETS:
        assert choice in help_of(backtest)
    for choice in (*ALGORITHMS, *REWARDS):
        assert choice in help_of(train)


def test_every_remedy_belongs_to_an_error():
    codes = {message.code for message in messages()}
    assert set(REMEDIES) <= codes


def test_remedy_follows_the_message(monkeypatch):
    monkeypatch.setitem(REMEDIES, "too_big", "Make it smaller.")
    error = InvalidRequest("7 exceeds 5", field="size", code="too_big")
    assert explain(error) == "size: 7 exceeds 5. Make it smaller."
    assert explain(InvalidRequest("7 exceeds 5", code="other")) == "7 exceeds 5"
