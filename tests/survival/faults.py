"""Faults that a soak causes: kills, a full disk, and jumps of the clock."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import attrs
import psutil

from tests.entrypoints.conftest import COMMAND
from tests.survival.shifted import set_shift
from tests.survival.system import Supervised, System

VICTIMS = {
    "a process of the API": 5,
    "the API": 3,
    "a worker": 5,
    "a process of a worker": 5,
    "a batch": 4,
    "postgres": 3,
    "redis": 3,
    "mongo": 2,
}
"""Parts to kill, with their relative frequencies."""

JUMP = 2 * 3600
"""Most seconds by which the clock is wrong."""


@attrs.frozen
class Plan:
    """What a soak does besides one kill after another.

    Attributes:
        pairs: Kill two parts at once in a third of the cases.
        starts: Kill processes that are starting, too.
        full_disk: Let the disk refuse writes from time to time; SQLite only.
        clock: Let the clock of the API and of workers jump forward and back.
    """

    pairs: bool = False
    starts: bool = False
    full_disk: bool = False
    clock: bool = False


@attrs.define
class Faults:
    """Causes faults, and counts them.

    Attributes:
        system: The system that they happen to.
        plan: Which faults happen.
        kill_batch: Kills the running batch; returns False without one.
        dice: For random choices.
        kills: Number of kills of each part.
        others: Number of other faults, by name.
        recoveries: Seconds until the API was ready again after a server was killed, by server.
    """

    system: System
    plan: Plan
    kill_batch: Callable[[], bool]
    dice: random.Random
    kills: Counter[str] = attrs.field(factory=Counter)
    others: Counter[str] = attrs.field(factory=Counter)
    recoveries: dict[str, list[float]] = attrs.field(factory=dict)

    def cause(self, kills: int) -> None:
        """Cause faults at random moments until as many parts were killed."""
        parts = {name: weight for name, weight in VICTIMS.items() if self._has(name)}
        while sum(self.kills.values()) < kills:
            time.sleep(self.dice.uniform(0.1, 1.2))
            if self.plan.clock and self.dice.random() < 0.2:
                self._jump()
            if self.plan.full_disk and self.dice.random() < 0.2:
                self._fill_disk()
            count = 2 if self.plan.pairs and self.dice.random() < 1 / 3 else 1
            self._kill(set(self.dice.choices(list(parts), list(parts.values()), k=count)))
            if sys.stderr.isatty():
                done = sum(self.kills.values())
                sys.stderr.write(f"\r{done} of {kills} kills")
        if self.plan.clock:
            set_shift(self.system.shift, 0.0)

    def _has(self, part: str) -> bool:
        if part.endswith("a worker"):
            return bool(self.system.workers)
        return part in self.system.servers or part.endswith(("API", "batch"))

    def _kill(self, names: set[str]) -> None:
        """Kill parts at once, and start the servers among them again."""
        killed = [name for name in sorted(names) if self._kill_one(name)]
        self.kills.update(killed)
        self.others["two parts at once"] += len(killed) == 2
        if servers := [name for name in killed if name in self.system.servers]:
            time.sleep(self.dice.uniform(0.0, 1.5))
            for name in servers:
                self.system.servers[name].start()
            back = self.system.wait(("ok", "degraded"))
            for name in servers:
                self.recoveries.setdefault(name, []).append(back)

    def _kill_one(self, name: str) -> bool:
        system = self.system
        if name in system.servers:
            system.servers[name].kill()
            return True
        if name == "a batch":
            return self.kill_batch()
        process = system.api if name.endswith("the API") else self.dice.choice(system.workers)
        if name.startswith("a process"):
            return process.kill_a_child(self.dice)
        starting = self.plan.starts and not process.is_ready()
        killed = process.kill(starting=self.plan.starts)
        self.others["kills during start"] += killed and starting
        return killed

    def _jump(self) -> None:
        """Set the clock to a wrong time, or back to the right one."""
        wrong = self.dice.random() < 0.7
        set_shift(self.system.shift, self.dice.uniform(-JUMP, JUMP) if wrong else 0.0)
        self.system.jumps += 1
        self.others["jumps of the clock"] += 1

    def _fill_disk(self) -> None:
        """Let no process of the API write to a file for some seconds."""
        _limit_files(self.system.api, 1)
        time.sleep(self.dice.uniform(0.5, 2.5))
        _limit_files(self.system.api, psutil.RLIM_INFINITY)
        self.others["full disks"] += 1


def _limit_files(process: Supervised, size: int) -> None:
    """Limit the bytes to which a process and its children may extend or write a file."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.process.pid)
        parent.rlimit(psutil.RLIMIT_FSIZE, (size, psutil.RLIM_INFINITY))
        for child in parent.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.rlimit(psutil.RLIMIT_FSIZE, (size, psutil.RLIM_INFINITY))


def interrupt_migrations(environment: dict[str, str], kills: int, dice: random.Random) -> int:
    """Start to create the tables and kill that again; return how often it was killed."""
    command = [COMMAND, "db", "upgrade"]
    with tempfile.TemporaryDirectory() as folder:
        scratch = environment | {"REBALANCER_DATABASE_URL": f"sqlite:///{Path(folder) / 'a.db'}"}
        began = time.monotonic()
        subprocess.run(command, env=scratch, capture_output=True, check=True)
        whole = time.monotonic() - began
    killed = 0
    for _ in range(kills):
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(dice.uniform(0.5, 1.0) * whole)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
        else:
            break  # a finished migration cannot be interrupted
    return killed
