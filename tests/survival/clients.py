"""Clients that use the API through every outage, and record its responses."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from decimal import Decimal
from typing import Any

import attrs
import httpx

from tests.survival.system import PASSWORD, System

RETRIED = (429, 502, 503, 504)
"""Statuses after which a client repeats its request."""


OPENED = 0.01
"""Share of new portfolios among the requests."""


@attrs.define
class ConfirmedEffects:
    """Effects that the API has confirmed, and its responses.

    Attributes:
        deposits: Amounts by portfolio and key.
        portfolios: Portfolios that were opened.
        proposals: Proposals that were made.
        executed: Proposals that were accepted and executed.
        jobs: Backtests that were accepted, with their owners.
        edits: Version and name after each edit, by portfolio.
        unsure: Edits with unknown outcome, by portfolio: the response was lost, and a repeated
            edit conflicts with itself.
        answers: Number of responses by operation and status; 0 means no response.
        took: Seconds of each successful response, by operation.
        wrong: Responses that must never occur, in words.
    """

    deposits: dict[tuple[str, str], Decimal] = attrs.field(factory=dict)
    portfolios: set[str] = attrs.field(factory=set)
    proposals: set[str] = attrs.field(factory=set)
    executed: set[str] = attrs.field(factory=set)
    jobs: dict[str, str] = attrs.field(factory=dict)
    edits: dict[str, dict[int, str]] = attrs.field(factory=dict)
    unsure: Counter[str] = attrs.field(factory=Counter)
    answers: Counter[tuple[str, int]] = attrs.field(factory=Counter)
    took: dict[str, list[float]] = attrs.field(factory=dict)
    wrong: list[str] = attrs.field(factory=list)
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    def of_each_kind(self) -> bool:
        """Return whether an effect of each kind was confirmed, however busy the machine is."""
        return bool(self.deposits and self.executed and self.jobs and self.edits)


class Gone(Exception):
    """The API did not respond within the time that any recovery may take."""


class ApiClient:
    """A logged-in client that repeats each request until it gets a final response."""

    def __init__(self, system: System, email: str, confirmed: ConfirmedEffects, seed: int) -> None:
        self.email, self.confirmed = email, confirmed
        self.dice = random.Random(seed)
        self.http = system.client()
        self.repeated = False
        self._count = 0

    def log_in(self) -> None:
        """Log in and store the token."""
        who = {"email": self.email, "password": PASSWORD}
        login = self.ask("log in", "POST", "/api/users/login", json=who)
        assert login.status_code == 200, login.text
        self.http.headers["Authorization"] = f"Bearer {login.json()['access_token']}"

    def key(self) -> dict[str, str]:
        """Return a header with a unique idempotency key."""
        self._count += 1
        return {"Idempotency-Key": f"{id(self)}-{self._count}-{self.dice.random()}"}

    def ask(self, what: str, method: str, path: str, **options: Any) -> httpx.Response:
        """Repeat a request until its response is final; return that."""
        latest = time.monotonic() + 120
        self.repeated = False
        while time.monotonic() < latest:
            began = time.monotonic()
            try:
                answer = self.http.request(method, path, **options)
            except httpx.TransportError:
                self._note(what, 0)
                self.repeated = True
                time.sleep(self.dice.uniform(0.05, 0.3))
                continue
            self._note(what, answer.status_code, time.monotonic() - began)
            if answer.status_code >= 500 and answer.status_code not in RETRIED:
                with self.confirmed.lock:
                    self.confirmed.wrong.append(f"{what}: {answer.status_code} {answer.text[:300]}")
                return answer
            if answer.status_code == 401 and what != "log in":
                self.log_in()
                continue
            in_progress = answer.status_code == 409 and "Idempotency-Key" in answer.text
            if answer.status_code in RETRIED or in_progress:
                self.repeated = True
                time.sleep(self.dice.uniform(0.05, 0.3))
                continue
            return answer
        raise Gone(f"{what}: no response")

    def _note(self, what: str, status: int, took: float | None = None) -> None:
        with self.confirmed.lock:
            self.confirmed.answers[what, status] += 1
            if took is not None and status < 400:
                self.confirmed.took.setdefault(what, []).append(took)

    def open(self) -> str:
        """Open a portfolio; return its id."""
        body = {
            "name": "Shared",
            "targets": {"A": 0.4, "B": 0.3},
            "cash": "10000",
            "on": "2021-02-01",
        }
        opened = self.ask("open", "POST", "/api/portfolios", json=body, headers=self.key())
        assert opened.status_code == 201, opened.text
        id = str(opened.json()["id"])
        with self.confirmed.lock:
            self.confirmed.portfolios.add(id)
        return id

    def deposit(self, portfolio: str) -> None:
        """Deposit a random amount."""
        headers, amount = self.key(), f"{self.dice.randrange(1, 500)}.{self.dice.randrange(100):02}"
        path = f"/api/portfolios/{portfolio}/cash-flows"
        body = {"kind": "deposit", "amount": amount}
        answer = self.ask("deposit", "POST", path, json=body, headers=headers)
        if answer.is_success:
            with self.confirmed.lock:
                key = headers["Idempotency-Key"]
                self.confirmed.deposits[portfolio, key] = Decimal(amount)

    def withdraw(self, portfolio: str) -> None:
        """Withdraw an amount that may exceed the cash."""
        headers = self.key()
        path = f"/api/portfolios/{portfolio}/cash-flows"
        amount = f"{self.dice.choice([5, 50, 100_000])}.00"
        body = {"kind": "withdrawal", "amount": amount}
        answer = self.ask("withdraw", "POST", path, json=body, headers=headers)
        if answer.is_success:
            with self.confirmed.lock:
                key = headers["Idempotency-Key"]
                self.confirmed.deposits[portfolio, key] = -Decimal(amount)

    def rebalance(self, portfolio: str) -> None:
        """Request a proposal and accept it."""
        policy = self.dice.choice(["monthly", "band"])
        body = {"portfolio_id": portfolio, "policy": policy}
        made = self.ask("predict", "POST", "/api/rebalance/predict", json=body, headers=self.key())
        if made.status_code != 201:
            return
        with self.confirmed.lock:
            self.confirmed.proposals.add(made.json()["id"])
        if not made.json()["orders"]:
            return
        path = f"/api/rebalance/{made.json()['id']}/accept"
        done = self.ask("accept", "POST", path, headers=self.key())
        if done.is_success and done.json()["stage"] == "executed":
            with self.confirmed.lock:
                self.confirmed.executed.add(made.json()["id"])

    def edit(self, portfolio: str) -> None:
        """Read a portfolio and change its name."""
        path = f"/api/portfolios/{portfolio}"
        seen = self.ask("read", "GET", path)
        name = f"Name {self.dice.random()}"
        body = {"name": name, "targets": {"A": 0.4, "B": 0.3}}
        done = self.ask("edit", "PUT", path, json=body, headers={"If-Match": seen.headers["ETag"]})
        if done.is_success:
            with self.confirmed.lock:
                edits = self.confirmed.edits.setdefault(portfolio, {})
                version = int(done.json()["version"])
                if version in edits:
                    self.confirmed.wrong.append(f"version {version} of {portfolio} twice")
                edits[version] = name
        elif self.repeated:
            with self.confirmed.lock:
                self.confirmed.unsure[portfolio] += 1

    def backtest(self) -> None:
        """Start a backtest; its outcome is checked at the end."""
        body = {"policies": self.dice.sample(["monthly", "band", "trend", "weekly"], 2)}
        job = self.ask("backtest", "POST", "/api/backtest", json=body)
        if job.status_code == 202:
            with self.confirmed.lock:
                self.confirmed.jobs[job.json()["id"]] = self.email

    def live(self, portfolios: list[str], stop: threading.Event, jobs: float = 0.03) -> None:
        """Send random requests until ``stop`` is set.

        Args:
            portfolios: The user's portfolios, which other clients use at the same time.
            stop: Ends the loop.
            jobs: Share of backtests among the requests.
        """
        acts = [self.deposit, self.withdraw, self.rebalance, self.edit]
        while not stop.is_set():
            if (chance := self.dice.random()) < jobs:
                self.backtest()
            elif chance < jobs + OPENED:
                self.open()
            else:
                self.dice.choice(acts)(self.dice.choice(portfolios))
            time.sleep(self.dice.uniform(0, 0.02))
