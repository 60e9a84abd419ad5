"""Send sequences of generated requests to a running server, and check each answer.

The sequences follow the OpenAPI document: ids of an answer are used in later requests. All checks
of schemathesis apply, so that an answer is neither an internal error nor outside the document, a
deleted resource is not found, and a request without a token is refused.

``python -m tests.fuzzing --minutes 10`` tries SQLite and Postgres for ten minutes in all and
prints what it found; ``make fuzz MINUTES=10`` does the same.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import attrs
import httpx

from rebalancer.adapters.sql import migrations
from rebalancer.adapters.sql.engine import connect
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.config import Settings
from rebalancer.domain.accounts.roles import Role
from rebalancer.wiring.container import build_container
from rebalancer.wiring.market import Sources
from tests import watchdog
from tests.builders import as_csv, prices
from tests.contracts.databases import APPLICATION, OWNER, as_role, create_roles, new_database
from tests.entrypoints.conftest import COMMAND, ENVIRONMENT
from tests.servers import Postgres, running
from tests.survival.system import until

if TYPE_CHECKING:
    import schemathesis

PASSWORD = "correct horse battery staple"

STEPS = 15
"""Most requests of a sequence."""

CHECKS: dict[str, Any] = {
    # A valid request may conflict with the state: wrong logins, an unknown id, a decided
    # proposal, a missing or old version, an unknown symbol, a quota; no provider is set up.
    "positive_data_acceptance": {
        "expected-statuses": [
            *(200, 201, 202, 204, 304, 400, 401, 403, 404, 409, 412, 422, 428, 429)
        ]
    },
}

EXCLUDED = "/(events|stream)$"
"""Streams, which end with their job."""


@attrs.frozen
class Target:
    """A server to try, and its store.

    Attributes:
        address: Such as http://127.0.0.1:8000.
        log: File of its log lines.
        work: Its store, to make users operators.
    """

    address: str
    log: Path
    work: UnitOfWork

    def answers(self) -> bool:
        """Return whether the server answers."""
        try:
            return httpx.get(f"{self.address}/health/live", trust_env=False).is_success
        except httpx.TransportError:
            return False


@attrs.define
class Findings:
    """What was tried and found.

    Attributes:
        answers: Number of answers by operation and status.
        faults: Failed checks by title, with the first occurrence.
    """

    answers: Counter[tuple[str, int]] = attrs.field(factory=Counter)
    sequences: int = 0
    faults: dict[str, str] = attrs.field(factory=dict)

    @property
    def reached(self) -> set[str]:
        """Return the operations that succeeded at least once."""
        return {label for (label, status), _ in self.answers.items() if status < 400}


@contextmanager
def running_target(folder: Path, database_url: str) -> Iterator[Target]:
    """Serve a database with empty tables, without limits, in a process of its own."""
    environment = ENVIRONMENT | {
        "REBALANCER_DATABASE_URL": database_url,
        "REBALANCER_RATE_LIMIT": "0",
        "REBALANCER_LOGIN_LIMIT": "0",
        "REBALANCER_PRICES": "prices.csv",
        "REBALANCER_MOST_JOBS": "3",  # few, because each takes processor time
        **{
            f"REBALANCER_MOST_{name}": "0"
            for name in ("PORTFOLIOS", "PROPOSALS_A_DAY", "MEGABYTES_A_DAY", "REGISTRATIONS_A_DAY")
        },
    }
    (folder / "prices.csv").write_text(as_csv(prices(5, 300)), encoding="utf-8")
    log = folder / "server.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [COMMAND, "serve", "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            env=environment,
            cwd=folder,
        )
    watchdog.watch(process)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("Listening on "), log.read_text(encoding="utf-8")
        wired = build_container(Sources(), settings=Settings.read(environment))
        target = Target(line.split()[2].rstrip(","), log, wired.get(UnitOfWork))
        until(target.answers, "an answer")
        yield target
        wired.close()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
        watchdog.release(process)


@attrs.define
class Account:
    """A user with a portfolio, a proposal and a second session.

    Attributes:
        headers: With the access token.
        ids: Values of path parameters that exist.
    """

    headers: dict[str, str]
    ids: dict[str, str]


def new_account(target: Target, name: str, *, operator: bool) -> Account:
    """Register a user who has something of everything."""
    with httpx.Client(base_url=target.address, timeout=60.0, trust_env=False) as client:

        def ask(method: str, path: str, json: Any = None) -> Any:
            answer = client.request(method, path, json=json)
            assert answer.is_success, answer.text
            return answer.json()

        who = {"email": f"{name}@example.org", "password": PASSWORD}
        user = ask("POST", "/api/users/register", who)
        if operator:
            with target.work.begin() as tx:
                stored = tx.users.get(UUID(user["id"]))
                tx.users.save(attrs.evolve(stored, role=Role.OPERATOR))
        login = ask("POST", "/api/users/login", who)
        headers = {"Authorization": f"Bearer {login['access_token']}"}
        client.headers.update(headers)
        body = {"name": "Mine", "targets": {"A": 0.4, "B": 0.3}, "cash": "10000"}
        portfolio = ask("POST", "/api/portfolios", body)["id"]
        proposal = ask("POST", "/api/rebalance/predict", {"portfolio_id": portfolio})
        entries = ask("GET", f"/api/portfolios/{portfolio}/transactions")["items"]
        share = ask(
            "POST", f"/api/portfolios/{portfolio}/shares", {"email": f"{name}-2@example.org"}
        )
        ids = {
            "portfolio_id": portfolio,
            "proposal_id": proposal["id"],
            "entry_id": entries[0]["id"],
            "share_id": share["id"],
            "user_id": user["id"],
            "symbol": "A",
            "name": "trend",
        }
    return Account(headers, ids)


def is_malformed(case: schemathesis.Case, part: str | None = None) -> bool:
    """Return whether a request, or its path, header or body, is generated against the document."""
    from schemathesis import GenerationMode

    if case.meta is None:
        return False
    modes = {name.value: found.mode for name, found in case.meta.components.items()}
    chosen = set(modes.values()) if part is None else {modes.get(part)}
    return GenerationMode.NEGATIVE in chosen


def try_sequences(target: Target, findings: Findings, *, sequences: int, seed: int) -> None:
    """Send sequences of requests; note the first fault.

    Args:
        target: The server.
        findings: Extended.
        sequences: Their number.
        seed: Of the requests.
    """
    import hypothesis  # slow, and few processes need both
    import schemathesis
    from schemathesis.core.failures import FailureGroup

    config = schemathesis.Config.from_dict({"checks": CHECKS})
    schema = schemathesis.openapi.from_url(
        f"{target.address}/docs/openapi.json", config=config
    ).exclude(path_regex=EXCLUDED)

    class Sequence(schema.as_state_machine()):  # type: ignore[misc]  # made at run time
        """Requests of one user."""

        def setup(self) -> None:
            findings.sequences += 1
            self.dice = random.Random(seed)
            name = f"user-{seed}-{findings.sequences}"
            self.account = new_account(target, name, operator=findings.sequences % 3 == 0)

        def before_call(self, case: schemathesis.Case) -> None:
            ids = self.account.ids
            if not is_malformed(case) and self.dice.random() < 0.5:
                for name in set(case.path_parameters) & set(ids):
                    case.path_parameters[name] = ids[name]
                if isinstance(case.body, dict) and "portfolio_id" in case.body:
                    case.body["portfolio_id"] = ids["portfolio_id"]

        def get_call_kwargs(self, case: schemathesis.Case) -> dict[str, Any]:
            headers = {} if is_malformed(case, "header") else self.account.headers
            return {"headers": headers, "timeout": 60}

        def after_call(self, response: schemathesis.Response, case: schemathesis.Case) -> None:
            findings.answers[case.operation.label, response.status_code] += 1

    settings = hypothesis.settings(
        max_examples=sequences,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    try:
        hypothesis.seed(seed)(Sequence).run(settings=settings)
    except FailureGroup as group:
        for failure in group.exceptions:
            findings.faults.setdefault(getattr(failure, "title", repr(failure)), str(failure))
    except Exception as error:  # of hypothesis itself, such as requests that differ when repeated
        findings.faults.setdefault(type(error).__name__, str(error))
    for line in target.log.read_text(encoding="utf-8").splitlines():
        if "Traceback" in line:
            findings.faults.setdefault("A traceback in the log", line)


@contextmanager
def targets(folder: Path) -> Iterator[dict[str, Target]]:
    """Serve SQLite and Postgres."""
    with ExitStack() as stack:
        server = stack.enter_context(running(Postgres)).url
        database = stack.enter_context(new_database(server))
        create_roles(database)
        roles = {
            "sqlite": (f"sqlite:///{folder / 'fuzz.db'}",) * 2,
            "postgres": (as_role(database, OWNER), as_role(database, APPLICATION)),
        }
        found = {}
        for name, (owner, application) in roles.items():
            engine = connect(owner)
            migrations.upgrade(engine)
            engine.dispose()
            (folder / name).mkdir()
            found[name] = stack.enter_context(running_target(folder / name, application))
        yield found


def show(name: str, findings: Findings) -> None:
    """Print what was tried on a store, and found."""
    statuses: Counter[int] = Counter()
    for (_, status), count in findings.answers.items():
        statuses[status] += count
    print(
        f"{name}: {findings.sequences} sequences, {statuses.total()} requests, "
        f"{len(findings.reached)} operations succeeded; "
        f"by status {dict(sorted(statuses.items()))}; {len(findings.faults)} faults"
    )
    for title, text in findings.faults.items():
        print(f"\n{title}\n{text}")


def main() -> int:
    """Try both stores for some minutes and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="default: 10")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="default: the time")
    asked = parser.parse_args()
    end, seed = time.monotonic() + asked.minutes * 60, asked.seed
    with (
        tempfile.TemporaryDirectory(prefix="rebalancer-fuzz-") as folder,
        targets(Path(folder)) as found,
    ):
        every = {name: Findings() for name in found}
        while time.monotonic() < end:
            for name, target in found.items():
                try_sequences(target, every[name], sequences=20, seed=seed)
            seed += 1
    print(f"seeds {asked.seed} to {seed - 1}")
    for name, findings in every.items():
        show(name, findings)
    return 3 if any(findings.faults for findings in every.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
