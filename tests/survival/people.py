"""People who use the API, come what may, and remember what they were promised."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from decimal import Decimal
from typing import Any

import attrs
import httpx

from tests.survival.house import PASSWORD, House

AGAIN = (429, 502, 503, 504)
"""Answers that say: come again."""


@attrs.define
class Promises:
    """What the API has said that it did, and how it said it.

    Attributes:
        deposits: Amounts by portfolio and key.
        executed: Proposals that were accepted and carried out.
        jobs: Backtests that were taken on, with whose they are.
        edits: Version and name after each edit, by portfolio.
        unsure: Edits of which nobody knows whether they took place, by portfolio: the answer was
            lost, and asked again, they would contradict themselves.
        answers: How often each operation was answered with each status; 0: not at all.
        took: Seconds that each good answer took, by operation.
        wrong: What nobody may be told, in words.
    """

    deposits: dict[tuple[str, str], Decimal] = attrs.field(factory=dict)
    executed: set[str] = attrs.field(factory=set)
    jobs: dict[str, str] = attrs.field(factory=dict)
    edits: dict[str, dict[int, str]] = attrs.field(factory=dict)
    unsure: Counter[str] = attrs.field(factory=Counter)
    answers: Counter[tuple[str, int]] = attrs.field(factory=Counter)
    took: dict[str, list[float]] = attrs.field(factory=dict)
    wrong: list[str] = attrs.field(factory=list)
    lock: threading.Lock = attrs.field(factory=threading.Lock)


class Gone(Exception):
    """Nobody has answered for longer than anything may take to come back."""


class Person:
    """Somebody with a token, who asks again until there is an answer."""

    def __init__(self, house: House, email: str, promises: Promises, seed: int) -> None:
        self.email, self.promises = email, promises
        self.dice = random.Random(seed)
        self.client = house.client()
        self.asked_again = False
        self._count = 0

    def log_in(self) -> None:
        """Get a token."""
        who = {"email": self.email, "password": PASSWORD}
        login = self.ask("log in", "POST", "/api/users/login", json=who)
        assert login.status_code == 200, login.text
        self.client.headers["Authorization"] = f"Bearer {login.json()['access_token']}"

    def key(self) -> dict[str, str]:
        """A name for a request that nobody else has."""
        self._count += 1
        return {"Idempotency-Key": f"{id(self)}-{self._count}-{self.dice.random()}"}

    def ask(self, what: str, method: str, path: str, **options: Any) -> httpx.Response:
        """The answer that settles it, however often the same has to be asked."""
        latest = time.monotonic() + 120
        self.asked_again = False
        while time.monotonic() < latest:
            began = time.monotonic()
            try:
                answer = self.client.request(method, path, **options)
            except httpx.TransportError:
                self._note(what, 0)
                self.asked_again = True
                time.sleep(self.dice.uniform(0.05, 0.3))
                continue
            self._note(what, answer.status_code, time.monotonic() - began)
            if answer.status_code >= 500 and answer.status_code not in AGAIN:
                with self.promises.lock:
                    self.promises.wrong.append(f"{what}: {answer.status_code} {answer.text[:300]}")
                return answer
            if answer.status_code == 401 and what != "log in":
                self.log_in()
                continue
            carried_out = answer.status_code == 409 and "Idempotency-Key" in answer.text
            if answer.status_code in AGAIN or carried_out:
                self.asked_again = True
                time.sleep(self.dice.uniform(0.05, 0.3))
                continue
            return answer
        raise Gone(f"{what}: nobody answers")

    def _note(self, what: str, status: int, took: float | None = None) -> None:
        with self.promises.lock:
            self.promises.answers[what, status] += 1
            if took is not None and status < 400:
                self.promises.took.setdefault(what, []).append(took)

    def open(self) -> str:
        """A portfolio of theirs."""
        body = {
            "name": "Shared",
            "targets": {"A": 0.4, "B": 0.3},
            "cash": "10000",
            "on": "2021-02-01",
        }
        opened = self.ask("open", "POST", "/api/portfolios", json=body, headers=self.key())
        assert opened.status_code == 201, opened.text
        return str(opened.json()["id"])

    def deposit(self, portfolio: str) -> None:
        """Pay in an amount that nobody else does."""
        headers, amount = self.key(), f"{self.dice.randrange(1, 500)}.{self.dice.randrange(100):02}"
        path = f"/api/portfolios/{portfolio}/cash-flows"
        body = {"kind": "deposit", "amount": amount}
        answer = self.ask("deposit", "POST", path, json=body, headers=headers)
        if answer.is_success:
            with self.promises.lock:
                key = headers["Idempotency-Key"]
                self.promises.deposits[portfolio, key] = Decimal(amount)

    def withdraw(self, portfolio: str) -> None:
        """Take out what may be more than there is."""
        headers = self.key()
        path = f"/api/portfolios/{portfolio}/cash-flows"
        amount = f"{self.dice.choice([5, 50, 100_000])}.00"
        body = {"kind": "withdrawal", "amount": amount}
        answer = self.ask("withdraw", "POST", path, json=body, headers=headers)
        if answer.is_success:
            with self.promises.lock:
                key = headers["Idempotency-Key"]
                self.promises.deposits[portfolio, key] = -Decimal(amount)

    def rebalance(self, portfolio: str) -> None:
        """Ask what to trade, and accept it."""
        policy = self.dice.choice(["monthly", "band"])
        body = {"portfolio_id": portfolio, "policy": policy}
        made = self.ask("predict", "POST", "/api/rebalance/predict", json=body)
        if made.status_code != 201 or not made.json()["orders"]:
            return
        path = f"/api/rebalance/{made.json()['id']}/accept"
        done = self.ask("accept", "POST", path, headers=self.key())
        if done.is_success and done.json()["stage"] == "executed":
            with self.promises.lock:
                self.promises.executed.add(made.json()["id"])

    def edit(self, portfolio: str) -> None:
        """Read, change, write."""
        path = f"/api/portfolios/{portfolio}"
        seen = self.ask("read", "GET", path)
        name = f"Name {self.dice.random()}"
        body = {"name": name, "targets": {"A": 0.4, "B": 0.3}}
        done = self.ask("edit", "PUT", path, json=body, headers={"If-Match": seen.headers["ETag"]})
        if done.is_success:
            with self.promises.lock:
                edits = self.promises.edits.setdefault(portfolio, {})
                version = int(done.json()["version"])
                if version in edits:
                    self.promises.wrong.append(f"version {version} of {portfolio} twice")
                edits[version] = name
        elif self.asked_again:
            with self.promises.lock:
                self.promises.unsure[portfolio] += 1

    def backtest(self) -> None:
        """Have a policy tried; how it went is asked in the end."""
        body = {"policies": self.dice.sample(["monthly", "band", "trend", "weekly"], 2)}
        job = self.ask("backtest", "POST", "/api/backtest", json=body)
        if job.status_code == 202:
            with self.promises.lock:
                self.promises.jobs[job.json()["id"]] = self.email

    def live(self, portfolios: list[str], stop: threading.Event, jobs: float = 0.03) -> None:
        """Do this and that until it is enough.

        Args:
            portfolios: Theirs, which others use at the same time.
            stop: When it is.
            jobs: Share of backtests in what they do.
        """
        acts = [self.deposit, self.withdraw, self.rebalance, self.edit]
        while not stop.is_set():
            if self.dice.random() < jobs:
                self.backtest()
            else:
                self.dice.choice(acts)(self.dice.choice(portfolios))
            time.sleep(self.dice.uniform(0, 0.02))
