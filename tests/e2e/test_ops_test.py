"""Run the runner of `make ops-test` on small stages, in a process of its own."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from deployment.check.stages import STAGES

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path):
    """Run stages that are shell commands; return the exit code, the table and the output."""

    def run(commands, *names, limit=30.0, needs=None):
        script = f"""
            import sys
            from pathlib import Path
            from deployment.check.__main__ import main
            from deployment.check.stages import Stage
            stages = {{
                name: Stage(name, "it runs", ("sh", "-c", command), {limit}, (lambda: {needs!r},))
                for name, command in {commands!r}.items()
            }}
            sys.exit(main({list(names)!r}, stages=stages, out=Path({str(tmp_path)!r})))
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            cwd=REPOSITORY,
            capture_output=True,
            encoding="utf-8",
        )
        table = tmp_path / "ops-test.md"
        rows = table.read_text(encoding="utf-8").splitlines()[2:] if table.exists() else []
        return done.returncode, rows, done.stdout + done.stderr

    return run


def test_stage_that_passes_is_in_the_table_with_its_findings(run):
    code, rows, output = run({"one": "echo 'shown: back after 2 s'; echo more"})
    assert code == 0
    (row,) = rows
    assert row.startswith("| one | it runs<br>back after 2 s | ") and row.endswith(" | passed |")
    assert "more" in output


def test_named_stages_run_and_others_do_not(run):
    code, rows, _ = run({"one": "exit 0", "two": "exit 0", "three": "exit 0"}, "one", "three")
    assert code == 0
    assert [row.split(" | ")[0] for row in rows] == ["| one", "| three"]


def test_failed_stage_does_not_stop_later_ones(run):
    code, rows, _ = run({"one": "exit 3", "two": "exit 0"})
    assert code == 1
    assert "failed: exit code 3" in rows[0] and "one.log" in rows[0]
    assert rows[1].endswith("| passed |")


def test_stage_is_stopped_at_its_limit_and_may_clean_up(run):
    code, rows, output = run(
        {"slow": "trap 'echo cleaned; exit 0' TERM; while :; do sleep 0.1; done"}, limit=1.0
    )
    assert code == 1
    assert "failed: stopped after 1 s" in rows[0]
    assert "cleaned" in output


def test_process_that_a_stage_leaves_is_ended_and_fails_it(run, tmp_path):
    pid = tmp_path / "pid"
    code, rows, _ = run({"one": f"setsid sh -c 'echo $$ > {pid}; exec sleep 600' & sleep 0.3"})
    assert code == 1
    assert "it left sleep running" in rows[0]
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()


@pytest.mark.parametrize(("names", "expected"), [((), 0), (("one",), 1)])
def test_stage_that_the_machine_cannot_run_fails_only_if_named(run, names, expected):
    code, rows, _ = run({"one": "exit 0"}, *names, needs="it needs root")
    assert code == expected
    assert rows[0].endswith("| 0 | not run: it needs root |")


def test_unknown_stage_is_an_error_that_lists_the_stages(run):
    code, rows, output = run({"one": "exit 0"}, "other")
    assert (code, rows) == (2, [])
    assert "unknown stage other; choose from one" in output


def test_every_stage_is_registered_by_its_name_and_fits_into_the_hour():
    assert all(name == stage.name for name, stage in STAGES.items())
    assert sum(stage.limit for stage in STAGES.values()) <= 2 * 60 * 60
