"""The command line as people run it: a process of its own, its output, its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from rebalancer.entrypoints.cli.main import main
from tests.builders import as_csv, prices

COMMAND = str(Path(sys.executable).with_name("rebalancer"))

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("REBALANCER_")},
    "COLUMNS": "120",
    # A numpy warning would mean an unintended infinity or NaN.
    "PYTHONWARNINGS": "error::RuntimeWarning",
}


@attrs.frozen
class Result:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON value and nothing else."""
        return json.loads(self.stdout)

    def refused(self, *fragments: str) -> bool:
        """Whether it was a mistake of the user's, explained in one line on standard error."""
        assert (self.code, self.stdout) == (2, ""), self
        assert all(fragment in self.stderr for fragment in fragments), self.stderr
        return True


Run = Callable[..., Result]


def running(pid: int) -> bool:
    """Whether a process runs, and is not merely waiting to be buried; where there is a /proc."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.fixture
def rebalancer(tmp_path: Path) -> Run:
    """Run `rebalancer` in a folder of its own."""

    def run(
        *arguments: object, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Result:
        done = subprocess.run(
            [COMMAND, *map(str, arguments)],
            capture_output=True,
            encoding="utf-8",
            env=ENVIRONMENT
            | {"REBALANCER_TRIALS": str(tmp_path / "trials.jsonl")}
            | dict(env or {}),
            cwd=cwd or tmp_path,
            timeout=300,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Result(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def quickly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Run:
    """The same without a process: for figures, and for long lists of mistakes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REBALANCER_TRIALS", str(tmp_path / "trials.jsonl"))

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["rebalancer", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Result(ended.value.code, output.out, output.err)

    return run


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Closes of A to E, business days of 2020-01-01 to 2021-02-23, in a file."""
    path = tmp_path_factory.mktemp("market") / "prices.csv"
    path.write_text(as_csv(prices(5, 300)), encoding="utf-8")
    return path


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    """Write a file in the command's folder."""

    def to(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to
