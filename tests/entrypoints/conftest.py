"""Fixtures that run the command line in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
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
    # A warning of numpy reveals an unintended infinity or NaN.
    "PYTHONWARNINGS": "error::RuntimeWarning",
}


@attrs.frozen
class Result:
    """Exit code and output of a command."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """Standard output, parsed as one JSON value."""
        return json.loads(self.stdout)

    def refused(self, *fragments: str) -> bool:
        """Check that the input was rejected with a message that has these fragments."""
        assert (self.code, self.stdout) == (2, ""), self
        assert all(fragment in self.stderr for fragment in fragments), self.stderr
        return True


Run = Callable[..., Result]


def running(pid: int) -> bool:
    """Return whether a process runs and is not a zombie; needs /proc."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.fixture
def rebalancer(tmp_path: Path) -> Run:
    """Run `rebalancer` in its own folder."""

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
    """Run `rebalancer` in this process, which takes a tenth of the time of one of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REBALANCER_TRIALS", str(tmp_path / "trials.jsonl"))
    monkeypatch.setenv("COLUMNS", ENVIRONMENT["COLUMNS"])

    def run(*arguments: object, env: Mapping[str, str] | None = None) -> Result:
        with pytest.MonkeyPatch.context() as settings:
            for name, value in (env or {}).items():
                settings.setenv(name, value)
            settings.setattr(sys, "argv", ["rebalancer", *map(str, arguments)])
            with pytest.raises(SystemExit) as ended:
                main()
        output = capsys.readouterr()
        assert "Traceback" not in output.err, output.err
        assert isinstance(ended.value.code, int)
        return Result(ended.value.code, output.out, output.err)

    return run


@pytest.fixture
def database(tmp_path: Path, sqlite_template: Path) -> str:
    """Put a database with empty tables where commands look for it; return its URL."""
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'rebalancer.db')}"


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A price file: A to E on business days from 2020-01-01 to 2021-02-23."""
    path = tmp_path_factory.mktemp("market") / "prices.csv"
    path.write_text(as_csv(prices(5, 300)), encoding="utf-8")
    return path


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    """Write a file into the working directory of the command."""

    def to(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to
