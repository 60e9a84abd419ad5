"""`rebalancer train`: from a price file to a usable policy."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from contextlib import suppress
from functools import partial
from html import unescape

import numpy as np
import pytest

from rebalancer.adapters.processes.engine import LocalProcesses
from rebalancer.adapters.rl import regimes, trainer
from rebalancer.adapters.rl.algorithms import dqn, find_algorithm, ppo
from rebalancer.adapters.rl.algorithms.dqn import Dqn
from rebalancer.adapters.rl.algorithms.ppo import Ppo
from rebalancer.adapters.rl.catalog import FolderPolicies
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.prices import PriceHistory
from tests.builders import as_csv, prices
from tests.entrypoints.conftest import COMMAND, ENVIRONMENT

ROWS = 1_000
TINY = ("--worlds", 28, "--warm-start", 2, "--seeds", 1, "--workers", 1)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Shorten a segment from ten seconds to one."""
    small = Dqn(environments=128, segment=128 * 170)
    monkeypatch.setattr(dqn, "ALGORITHM", small)
    monkeypatch.setattr(ppo, "ALGORITHM", Ppo(environments=256, segment=256 * 32))


@pytest.fixture(scope="session")
def closes(tmp_path_factory):
    """Closes of A to E over four years, with a column of T-bills."""
    history = prices(6, ROWS, seed=3, start=np.datetime64("2012-01-02").item())
    history = PriceHistory.of((*"ABCDE", "BIL"), history.dates, history.closes)
    path = tmp_path_factory.mktemp("learning") / "six.csv"
    path.write_text(as_csv(history), encoding="utf-8")
    return path


UNTIL = "2015-03-31"


@pytest.fixture
def train(quickly, closes):
    """Run `rebalancer train` on the small market with the smallest parameters."""

    def run(*options):
        given = () if "--prices" in options else ("--prices", closes, "--until", UNTIL)
        return quickly("train", *given, *TINY, *options)

    return run


def without(*modules, arguments, cwd=None):
    """Return the output of a command, and check that it did not load the given modules."""
    program = (
        "import sys\n"
        "from rebalancer.entrypoints.cli.main import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        f"    heavy = {set(modules)} & set(sys.modules)\n"
        "    assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        cwd=cwd,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def weights(folder):
    return (folder / "weights.npz").read_bytes()


@pytest.mark.parametrize(("algorithm", "name"), [("ppo", "my_ppo"), ("dqn", "own")])
def test_trained_policy_is_used_by_commands(train, quickly, closes, tmp_path, algorithm, name):
    named = () if name == f"my_{algorithm}" else ("--name", name)
    done = train("--algorithm", algorithm, "--steps", 1, *named, "--report", "r.html", "--json")
    assert done.code == 0, done.stderr
    assert done.stderr == f"Report: {(tmp_path / 'r.html').resolve()}\n"
    made = done.json
    assert made["policy"] == f"{name}@1"
    assert made["place"] == f"policies/{name}-1"
    assert (made["algorithm"], made["trained_until"]) == (algorithm, UNTIL)
    (data,) = made["data"]
    assert (data["name"], data["to"], data["assets"]) == ("six.csv", UNTIL, 5)  # without BIL
    (seed,) = made["seeds"]
    assert seed["seed"] == 0
    last = made["curve"][-1]
    if algorithm == "ppo":
        assert seed["before"] != seed["after"] == last["worth"]
    else:  # the start is selected unless a checkpoint is better
        assert seed["after"] == max(seed["before"], last["worth"])
    assert (last["stage"], last["at"], last["of"]) == (
        algorithm,
        *[find_algorithm(algorithm).segment] * 2,
    )
    assert (tmp_path / "training" / name / "checkpoints" / "seed-0").is_dir()

    # The command that reproduces the policy names all its inputs.
    assert made["command"] == (
        f"rebalancer train --algorithm {algorithm} --prices {closes} --until {UNTIL} --steps 1 "
        "--seeds 1 --reward drawdown_beyond_exposure --worlds 28 --warm-start 2 --features 2 "
        f"--name {name}"
    )
    assert made["next"] == [
        f"rebalancer policies show {name}@1",
        f"rebalancer evaluate --policy {name}@1 --prices {closes} --risk-free BIL "
        "--from 2015-04-01",
    ]
    (trial,) = map(json.loads, (tmp_path / "trials.jsonl").read_text().splitlines())
    assert (trial["kind"], trial["what"], trial["trials"]) == ("train", [f"{name}@1"], 1)
    assert made["counted"].endswith("this training counts as one, whatever its seeds.")

    card = quickly("policies", "show", name, "--json").json["learning"]
    assert card["algorithm"] == algorithm and card["command"] == made["command"]
    assert card["chosen_rule"] == made["chosen_rule"]
    done = without(
        *("torch", "stable_baselines3", "gymnasium", "hmmlearn"),
        arguments=("backtest", "--policy", name, "--prices", closes, "--from", "2015-04-01"),
        cwd=tmp_path,
    )
    assert f"{name} " in done
    (tmp_path / "holdings.csv").write_text("symbol,quantity\nA,10\nB,5\n")
    (tmp_path / "targets.json").write_text('{"A": 0.5, "B": 0.3, "C": 0.2}')
    proposal = quickly(
        *("propose", "--holdings", "holdings.csv", "--cash", 500, "--targets", "targets.json"),
        *("--policy", name, "--prices", closes, "--json"),
    )
    assert proposal.code == 0, proposal.stderr
    assert name in json.dumps(proposal.json["policy"])

    page = (tmp_path / "r.html").read_text()
    assert not re.search(r"https?:|src=|href=|@import|<script|url\(", page)
    assert "<!--" not in page and "/*palette*/" not in page
    drawings = [
        ElementTree.fromstring(one)
        for one in re.findall(r"<svg class=.draw.*?</svg>", page, re.DOTALL)
    ]
    stages = ["warm start", algorithm.upper()]
    assert [one.get("aria-label") for one in drawings] == [
        f"Mean reward a week, {stage}" for stage in stages
    ]
    for drawing in drawings:
        assert [line.findtext("title") for line in drawing.iter("polyline")] == ["seed 0"]
    text = unescape(re.sub(r"<[^>]+>", " ", page))
    for expected in (made["command"], made["counted"], data["sha256"], f"What {algorithm.upper()}"):
        assert expected in text


def test_table_shows_seeds_and_folder_holds_one_training(train, tmp_path):
    done = train("--steps", 1)
    assert (done.code, done.stderr) == (0, "")
    for expected in (
        "Training 1 network by PPO on six.csv:",
        "use --worlds 3000 --warm-start 120 --seeds 5",
        "before PPO",
        "Trained my_ppo@1, which every command accepts as a policy. It is stored in "
        "policies/my_ppo-1.",
        "The best rule on the same prices, which a learned policy has to beat: ",
        "  rebalancer policies show my_ppo@1",
    ):
        assert expected in done.stdout
    (row,) = [line for line in done.stdout.splitlines() if re.match(r"│ +0 ", line)]
    before, after, change = (float(cell) for cell in row.strip("│").split("│")[1:])
    assert change == pytest.approx(after - before, abs=1.1e-5)
    done = train("--steps", 1, "--reward", "drawdown", "--json")
    assert done.refused("out: training/my_ppo holds checkpoints of another training")
    assert not (tmp_path / "policies/my_ppo-2").exists()


@pytest.mark.parametrize("algorithm", [Ppo, Dqn])
def test_interrupted_training_gives_same_policy(train, monkeypatch, tmp_path, algorithm):
    name = algorithm.__name__.lower()
    steps = 3 * find_algorithm(name).segment
    options = ("--algorithm", name, "--steps", steps, "--json")
    whole = train(*options, "--name", "whole").json
    learn, begun = algorithm.load, [0]

    def stopping(self, path, env, *, device):
        begun.append(int(path.stem[-4:]))
        if begun == [0, 1]:
            raise KeyboardInterrupt
        return learn(self, path, env, device=device)

    monkeypatch.setattr(algorithm, "load", stopping)
    done = train(*options, "--name", "again")
    assert (done.code, done.stdout) == (130, "")
    assert "continues from the last checkpoint in training/again" in done.stderr
    assert not (tmp_path / "policies" / "again-1").exists()
    made = train(*options, "--name", "again").json
    assert begun == [0, 1, 1, 2]  # the first segment was not repeated
    assert weights(tmp_path / "policies/again-1") == weights(tmp_path / "policies/whole-1")
    assert made["curve"] == whole["curve"] and made["seeds"] == whole["seeds"]

    # Nothing is left to train: this adds a version with the same weights, not a trial.
    same = train(*options, "--name", "again").json
    assert same["policy"] == "again@2" and begun == [0, 1, 1, 2]
    assert same["counted"].endswith("counts as none, as it repeats an earlier one.")
    assert weights(tmp_path / "policies/again-2") == weights(tmp_path / "policies/again-1")


@pytest.mark.parametrize("everybody", [True, False], ids=["terminal", "kill"])
def test_ctrl_c_ends_every_process(closes, tmp_path, everybody):
    options = (*TINY, "--seeds", 4, "--workers", 2, "--steps", 100_000_000, "--prices", closes)
    command = subprocess.Popen(
        [COMMAND, "train", *map(str, options)],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    kept = tmp_path / "training/my_ppo/checkpoints/seed-1/warm-start.npz"
    try:
        deadline = time.monotonic() + 300  # starting and pretraining are slow on a busy machine
        while not kept.exists() and command.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        assert kept.exists()
        (os.killpg if everybody else os.kill)(command.pid, signal.SIGINT)
        _, stderr = command.communicate(timeout=300)
        assert command.returncode == 130
        assert stderr == (
            "Stopped. The same command continues from the last checkpoint in training/my_ppo.\n"
            "Interrupted.\n"
        )
        with pytest.raises(ProcessLookupError):  # all workers have ended
            os.killpg(command.pid, 0)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)
        command.communicate()


def test_fitted_regimes_change_the_training(train, monkeypatch):
    monkeypatch.setattr(regimes, "fit_regimes", partial(regimes.fit_regimes, mixes=5))
    assert train("--steps", 1, "--json").code == 0
    assert train("--steps", 1, "--fit-regimes", "--json").refused("out: training/my_ppo holds")


def test_parallel_training_gives_same_policy(train, tmp_path):
    one = train("--steps", 1, "--seeds", 2, "--workers", 1, "--name", "one", "--json").json
    two = train("--steps", 1, "--seeds", 2, "--workers", 2, "--name", "two", "--json").json
    assert weights(tmp_path / "policies/one-1") == weights(tmp_path / "policies/two-1")
    assert one["seeds"] == two["seeds"] and one["seeds"][0]["after"] != one["seeds"][1]["after"]


def test_regimes_can_be_fitted_again(train, tmp_path, monkeypatch):
    monkeypatch.setattr(regimes, "fit_regimes", partial(regimes.fit_regimes, mixes=5))
    done = train("--steps", 1, "--fit-regimes", "--json")
    assert done.json["command"].endswith("--name my_ppo --fit-regimes")
    own = FolderPolicies(tmp_path / "policies").policy("my_ppo").regimes
    shipped = regimes.StoredRegimes().model()
    assert own.names == shipped.names and not np.allclose(own.means, shipped.means)


def test_training_uses_several_panels_and_cash_columns(train, closes, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text(as_csv(prices(3, 800, seed=5)))
    done = train("--prices", closes, other, "--cash", "A", "--steps", 1, "--no-record", "--json")
    assert [(one["name"], one["assets"]) for one in done.json["data"]] == [
        ("six.csv", 5),  # with BIL, without A
        ("other.csv", 2),
    ]
    assert done.json["next"][1] == "rebalancer evaluate --policy my_ppo@1 --prices LATER.csv"
    assert not (tmp_path / "trials.jsonl").exists()
    assert done.json["counted"].endswith("it was not recorded.")


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        (
            ("--reward", "luck"),
            ("unknown reward 'luck'", "differential_sharpe, drawdown or drawdown_beyond"),
        ),
        (("--algorithm", "sac"), ("unknown algorithm 'sac'", "choose ppo or dqn")),
        (("--worlds", 13), ("worlds: 13 is too small",)),
        (("--seeds", 0), ("--seeds",)),
        (("--until", "2011-12-30"), ("until: six.csv: 2011-12-30 lies before the first close",)),
        (("--until", "2013-12-31"), ("prices: six.csv: 522 rows", "at least 783 rows")),
        (("--cash", "XYZ"), ("cash: unknown symbol XYZ: no price data",)),
        (("--cash", "A,B,C,D,E"), ("six.csv: 1 asset(s) besides cash",)),
        (("--name", "Mine"), ("name: invalid name 'Mine'",)),
        (("--name", "band"), ("name: the name band is taken",)),
        (("--name", "learned"), ("name: the name learned is taken",)),
        (("--name", "dqn"), ("name: the name dqn is reserved",)),
        (("--device", "abacus"), ("device: cannot compute on 'abacus'",)),
        (("--out", "six"), ("out: cannot write six",)),
    ],
)
def test_invalid_training_is_rejected_at_once(train, tmp_path, options, fragments):
    (tmp_path / "six").write_text("a file")
    done = train(*options, "--json")
    assert done.refused(*fragments)
    assert not (tmp_path / "policies").exists() and not (tmp_path / "trials.jsonl").exists()


def spoilt(closes, change):
    table = closes.closes.copy()
    change(table)
    return as_csv(PriceHistory(closes.symbols, closes.dates, table))


def test_constant_prices_are_rejected(train, write):
    path = write("bad.csv", spoilt(prices(3, 900), lambda table: table[:, 1].fill(7.0)))
    assert train("--prices", path, "--json").refused("the price of B never changes")


def test_other_frequencies_and_late_listings_are_handled(train, write):
    weekly = prices(3, 4_500)
    rows = slice(None, None, 5)
    path = write(
        "w.csv", as_csv(PriceHistory(weekly.symbols, weekly.dates[rows], weekly.closes[rows]))
    )
    assert train("--prices", path, "--json").refused(
        "w.csv: a year of these prices has 52.18 closes"
    )
    path = write("late.csv", spoilt(prices(3, 900), lambda table: table[:800, 2].fill(np.nan)))
    assert train("--prices", path, "--json").refused("late.csv: prices of C begin on")


def test_missing_extra_names_its_package(train, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    with pytest.raises(Unavailable, match=r"pip install 'rebalancer\[train\]'"):
        trainer.TorchTrainer(LocalProcesses()).check()
    done = train("--json")
    assert (done.code, done.stdout) == (1, "")
    assert done.stderr == (
        "Error: torch is not installed, and training needs it: pip install 'rebalancer[train]'\n"
    )
    assert not (tmp_path / "training").exists()


def test_help_loads_no_heavy_package():
    shown = without("torch", "numpy", "rich", "dishka", arguments=("train", "--help"))
    for expected in ("--algorithm", "--fit-regimes", "rebalancer train --report", "--worlds 3000"):
        assert expected in shown
