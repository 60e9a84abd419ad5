"""Servers of a test run end with it, however the run ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.entrypoints.conftest import running

RUN = """
import multiprocessing, sys, time
from contextlib import ExitStack
from tests.servers import Mongo, Postgres, Valkey, running
with ExitStack() as stack:
    servers = [stack.enter_context(running(kind)) for kind in (Postgres, Valkey, Mongo)]
    # A forked child inherits the watchdog's pipe and outlives the run.
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(5,), daemon=True).start()
    for server in servers:
        print(server.process.pid, server.folder, flush=True)
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_servers_of_killed_run_are_ended_and_their_folders_deleted(how):
    run = subprocess.Popen(
        [sys.executable, "-c", RUN],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        cwd=Path(__file__).parents[1],
        start_new_session=True,
    )
    with run:
        lines = [line.split() for line in iter(run.stdout.readline, "ready\n")]
        assert len(lines) == 3
        assert all(running(int(pid)) and Path(folder).exists() for pid, folder in lines)
        os.kill(run.pid, how)
        run.stdout.close()
    latest = time.monotonic() + 120
    while left := [entry for entry in lines if running(int(entry[0])) or Path(entry[1]).exists()]:
        assert time.monotonic() < latest, left
        time.sleep(0.05)


def test_servers_of_finished_run_are_stopped_in_order():
    script = RUN.replace("time.sleep(60)", "").replace("import multiprocessing, ", "import ")
    script = "\n".join(line for line in script.splitlines() if "multiprocessing" not in line)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        encoding="utf-8",
        cwd=Path(__file__).parents[1],
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not any(running(int(line.split()[0])) for line in done.stdout.splitlines()[:-1])
