import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from uuid import UUID

import pytest

from rebalancer.adapters.rl.catalog import FolderPolicies
from rebalancer.application.ports.reports import Reports
from rebalancer.config import Settings
from rebalancer.entrypoints.cli.batch_file import PARALLEL_FROM
from rebalancer.wiring.container import build_container
from rebalancer.wiring.market import Sources
from tests.builders import as_csv, prices
from tests.entrypoints.conftest import ENVIRONMENT
from tests.networks import FAILED_WALK_FORWARD, GATE, WALK_FORWARD, keep

KEYS = ["name", "kind", "version", "summary", "frequency", "parameters", "variants", "source"]
GOOD = {"gate": GATE, "walk_forward": WALK_FORWARD, "note": "good"}
PORTFOLIO = {
    "id": "mine",
    "cash": "500.00",
    "holdings": {"A": "20", "B": "5"},
    "targets": {"A": 0.4, "C": 0.5},
}


@pytest.fixture
def own(tmp_path):
    """A folder with the policies `ppo` and `dqn` in the working directory of the commands."""
    keep(tmp_path / "policies", seed=1, version=1001)
    keep(tmp_path / "policies", seed=2, version=1002, evidence=GOOD)
    keep(
        tmp_path / "policies",
        name="dqn",
        version=1001,
        evidence={"walk_forward": FAILED_WALK_FORWARD},
    )
    return tmp_path / "policies"


@pytest.fixture
def long_market(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text(as_csv(prices(5, 330, seed=3)))
    return path


def test_learned_policies_are_listed_after_the_rules(quickly, own):
    listed = quickly("policies", "list", "--json").json
    assert listed == quickly("policies", "--json").json
    assert all([*KEYS, "decides"] == list(one) for one in listed)
    learned = {one["name"]: one for one in listed if one["kind"] == "learned"}
    assert {"dqn", "ppo", "ppo@1001", "learned"} <= set(learned)
    assert (learned["ppo"]["version"], learned["ppo"]["decides"]) == (1002, "ppo@1002")
    assert listed[-1]["name"] == "learned"
    table = quickly("policies").stdout
    assert table == quickly("policies", "list").stdout
    assert "version 1002" in table and "Proximal" in table


def test_full_evaluation_is_stored_as_report(quickly, own, long_market, database):
    judge = ("evaluate", "--policy", "ppo@1001,band", "--prices", long_market, "--no-record")
    window = ("--from", "2020-12-01", "--chosen-on", long_market)
    done = quickly(*judge, *window, "--keep", "--json")
    told = re.search("Stored report (.+)[.]", done.stderr)
    parts = build_container(Sources(), settings=Settings(database_url=database))
    try:
        kept = parts.get(Reports).get(UUID(told[1]))
    finally:
        parts.close()
    assert (kept.kind, kept.subject) == ("evidence", "ppo@1001")
    assert kept.document == done.json
    assert all(len(path) == len(kept.dates) for path in kept.series.values())


def test_json_option_must_come_last(quickly):
    assert quickly("policies", "--json", "show", "band").refused("policies show ... --json")


def test_card_of_learned_policy_is_complete(quickly, own):
    shown = quickly("policies", "show", "ppo").stdout
    for said in (
        *("ppo@1002", "your own", "PPO", "2026-11-02", "imitation", "6,000,000", "etfs"),
        *("2007-01-03", "2015-12-31", "relative", "11, 12", "trend", "band:frequency=weekly"),
        *("torch 2.13.0", "rebalancer train --algorithm ppo --prices etfs.csv", "breadth"),
        *("share of the targets above their 200-day average", "patience", "half-width around cash"),
        *("Walk-forward: passed", "-0.15", "-0.1", "pass", "orders", "0.6", "note", "good"),
    ):
        assert said in shown, said
    assert "Walk-forward: NOT passed" in quickly("policies", "show", "dqn").stdout
    assert "Evidence: none yet" in quickly("policies", "show", "ppo@1001").stdout
    card = quickly("policies", "show", "ppo", "--json").json
    assert card["learning"]["seeds"] == [11, 12]
    assert card["learning"]["evidence"]["gate"] == GATE
    assert card["learning"]["data"][0]["last"] == "2015-12-31"
    assert card["learning"]["features"][0] == {
        "name": "month's volatility",
        "meaning": "log of 21-day over 252-day volatility",
    }


def test_card_of_rule_is_complete(quickly):
    shown = quickly("policies", "show", "band").stdout
    for said in ("band:edge", "band=0.02", "no history", "daily", "Masters 2003"):
        assert said in shown, said
    card = quickly("policies", "show", "trend", "--json").json
    assert card["parameters"] == {"window": 200, "band": 0.02}
    assert (card["learning"], card["lookback"]) == (None, 200)
    assert quickly("policies", "show", "bland").refused("unknown policy bland; choose one of")


def test_only_policy_that_passed_walk_forward_is_promoted(quickly, own):
    assert quickly("policies", "promote", "ppo@1001").refused("has no evidence")
    assert quickly("policies", "promote", "dqn").refused("orders: orders as a multiple", "0.80")
    assert quickly("policies", "promote", "band").refused("band is not a version")
    assert quickly("policies", "promote", "dqn", "--force").code == 2
    assert not (own / "promotion.json").exists()
    done = quickly("policies", "promote", "ppo")
    assert done.stdout == "Promoted ppo@1002: learned now means ppo@1002.\n"
    shown = quickly("policies", "show", "learned").stdout
    assert "stands for" in shown and "ppo@1002" in shown and "promoted" in shown
    listed = {one["name"]: one for one in quickly("policies", "--json").json}
    assert listed["learned"]["decides"] == "ppo@1002"


def test_best_version_is_promoted(quickly, own):
    assert quickly("policies", "promote").refused("name one version, or use --best")
    assert quickly("policies", "promote", "ppo", "--best").refused("name one version, or use")
    assert quickly("policies", "promote", "--best").stdout.startswith("Promoted ppo@1002:")


def test_evidence_is_stored_with_policy(quickly, own, long_market, tmp_path):
    judge = ("evaluate", "--policy", "ppo@1001,band", "--prices", long_market, "--no-record")
    window = ("--from", "2020-12-01", "--chosen-on", long_market)
    done = quickly(*judge, *window, "--keep", "--json")
    assert done.code == 0 and "Stored evidence with ppo@1001.\n" in done.stderr
    assert "Could not store the full report: the database lacks a table" in done.stderr
    quickly(*judge, *window, "--keep", "--max-departure", "0.2")
    evidence = quickly("policies", "show", "ppo@1001", "--json").json["learning"]["evidence"]
    found = next(one for one in done.json["promotion"] if one["policy"] == "ppo@1001")
    assert evidence["gate"] == found
    assert list(evidence["figures"]) == ["max_departure 1", "max_departure 0.2"]
    (panel,) = evidence["figures"]["max_departure 1"]["panels"].values()
    (judged, _) = done.json["panels"][0]["policies"]
    assert panel["sharpe"] == pytest.approx(judged["judgements"][-1]["sharpe"], abs=1e-4)
    assert (panel["from"], panel["assets"]) == (done.json["panels"][0]["from"], 5)
    refused = quickly("policies", "promote", "ppo@1001")
    assert refused.refused("lacks a walk-forward", "--walk-forward DATE,... --keep` first")

    none = quickly(*judge[:2], "band", *judge[3:], "--keep")
    assert none.code == 2 and "is a version of a learned policy" in none.stderr  # after the results
    early = tmp_path / "early.csv"
    early.write_text(long_market.read_text().replace("2020-", "2010-").replace("2021-", "2011-"))
    seen = quickly(*judge[:2], "ppo@1001", "--prices", early, "--no-record", "--keep")
    assert seen.code == 2
    assert "inside the training period of ppo@1001 (until 2015-12-31)" in seen.stderr


@pytest.mark.parametrize("command", ["list", "show ppo", "promote ppo"])
def test_damaged_version_is_named(quickly, own, command):
    (own / "ppo-1002" / "weights.npz").write_bytes(b"nothing")
    assert quickly("policies", *command.split()).refused(
        "cannot load ppo-1002: the checksum of weights.npz does not match"
    )
    assert quickly("policies", "show", "band").code == 0


def test_policy_folder_can_be_set(quickly, own, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    own.rename(elsewhere)
    assert quickly("policies", "show", "ppo@1001").refused("unknown policy ppo@1001")
    set_to = {"REBALANCER_POLICIES": str(elsewhere)}
    assert quickly("policies", "show", "ppo@1001", env=set_to).code == 0
    assert quickly("policies", "promote", "ppo", env=set_to).code == 0
    assert (elsewhere / "promotion.json").exists() and not own.exists()


def test_learned_policy_proposes_with_reasons(quickly, own, long_market, tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps(PORTFOLIO))

    def proposed(policy):
        done = quickly(
            "propose", "mine.json", "--prices", long_market, "--policy", policy, "--json"
        )
        assert done.code == 0, done
        return done.json

    found = {name: proposed(name) for name in ("ppo", "ppo@1002", "ppo@1001", "dqn", "learned")}
    for name, one in found.items():
        assert one["policy"] == name
    assert any("ppo is version ppo@1002" in note for note in found["ppo"]["notes"])
    assert any("learned is version ppo@2" in note for note in found["learned"]["notes"])
    assert found["ppo"]["orders"] == found["ppo@1002"]["orders"]
    assert len({one["input_hash"] for one in found.values()}) == len(found)
    quickly("policies", "promote", "ppo")
    after = proposed("learned")
    assert any("learned is version ppo@1002" in note for note in after["notes"])
    assert after["orders"] == found["ppo"]["orders"]
    assert after["input_hash"] != found["learned"]["input_hash"]
    refused = quickly("propose", "mine.json", "--prices", long_market, "--policy", "ppo:edge")
    assert refused.refused("policy: ppo has no parameters")


def test_learned_policies_are_backtested_with_rules(quickly, own, long_market):
    names = "monthly,ppo,ppo@1001,dqn,learned"
    done = quickly("backtest", "--prices", long_market, "--policy", names, "--json")
    assert done.code == 0, done
    assert [one["policy"] for one in done.json["results"]] == names.split(",")
    values = {one["policy"]: one["final_value"] for one in done.json["results"]}
    assert len(set(values.values())) > 2


def test_batch_uses_learned_policy_on_all_workers(rebalancer, own, long_market, tmp_path):
    padding = " " * 1000  # large enough for several workers, small enough to be fast
    lines = [
        json.dumps(PORTFOLIO | {"id": f"p{at}", "cash": f"{at}.00"}) + padding for at in range(1100)
    ]
    (tmp_path / "book.jsonl").write_text("\n".join(lines))
    assert (tmp_path / "book.jsonl").stat().st_size > PARALLEL_FROM
    elsewhere = tmp_path / "elsewhere"
    own.rename(elsewhere)
    written = []
    for workers in (1, 2):
        done = rebalancer(
            *("batch", "--portfolios", "book.jsonl", "--prices", long_market, "--policy", "ppo"),
            *("--out", f"{workers}.jsonl", "--workers", workers),
            env={"REBALANCER_POLICIES": str(elsewhere)},
        )
        assert done.code == 0, done.stderr
        written.append((tmp_path / f"{workers}.jsonl").read_bytes())
    assert written[0] == written[1]
    first = json.loads(written[0].partition(b"\n")[0])
    assert first["policy"] == "ppo" and any(
        "ppo is version ppo@1002" in one for one in first["notes"]
    )


def test_command_and_catalogue_show_same_card(quickly, own):
    """Compare the promotion by the command with that by the adapter."""
    quickly("policies", "promote", "ppo@1002")
    offered = FolderPolicies(own, shipped=own / "none")
    assert offered.card("learned").decides == "ppo@1002"
    kept = json.loads((own / "promotion.json").read_text())["promotions"]
    assert datetime.fromisoformat(kept[0]["at"]) <= datetime.now(UTC)


def test_training_packages_are_not_loaded_to_serve(own, long_market, tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps(PORTFOLIO))
    program = (
        "import sys\n"
        "from rebalancer.entrypoints.cli.main import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    loaded = {'torch', 'stable_baselines3', 'gymnasium', 'hmmlearn'} & set(sys.modules)\n"
        "    assert not loaded, loaded\n"
        "    assert 'rebalancer.adapters.rl.catalog' in sys.modules\n"
    )
    asked = ["propose", "mine.json", "--prices", str(long_market), "--policy", "ppo", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", program, *asked],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["policy"] == "ppo"
