"""A client that registers, refreshes and logs out through every outage, and what must hold."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from typing import Any

import attrs
import httpx

from tests.survival.system import PASSWORD, TIMEOUT, System

REPEATABLE = 8.0
"""Seconds after which a repeated refresh may be refused, with a margin to the 10 of the API."""

LOOK = 6.0
"""Seconds within which each process reads which sessions have ended; 5, and a margin."""

LOST = (502, 503, 504)
"""Statuses after which a change may have been stored or not."""


@attrs.frozen
class Tokens:
    """The newest tokens of a session."""

    access: str = attrs.field(repr=False)
    refresh: str = attrs.field(repr=False)


@attrs.define
class SessionLog:
    """Accounts and sessions that the API has confirmed.

    Attributes:
        accounts: Addresses that were registered.
        alive: Sessions that must work, by a number.
        ended: Sessions that must not work, since their end was confirmed.
        counts: Number of refreshes, repeated refreshes, logouts, and sessions that ended because
            an answer was lost twice or its repetition came too late.
        wrong: Violations in words.
    """

    accounts: set[str] = attrs.field(factory=set)
    alive: dict[int, Tokens] = attrs.field(factory=dict)
    ended: list[Tokens] = attrs.field(factory=list)
    counts: Counter[str] = attrs.field(factory=Counter)
    wrong: list[str] = attrs.field(factory=list)
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    def count(self, name: str) -> None:
        """Count one more."""
        with self.lock:
            self.counts[name] += 1

    def check(self, system: System) -> None:
        """Check against the running system that no session is lost and none is alive again."""
        with system.client() as client:

            def status(method: str, path: str, **options: Any) -> int:
                latest = time.monotonic() + TIMEOUT
                while True:  # the API may have been killed a moment ago
                    try:
                        return client.request(method, path, **options).status_code
                    except httpx.ConnectError:
                        if time.monotonic() > latest:
                            raise
                        time.sleep(0.1)

            system.wait()
            time.sleep(LOOK)
            for tokens in self.ended:
                header = {"Authorization": f"Bearer {tokens.access}"}
                if status("GET", "/api/users/profile", headers=header) != 401:
                    self.wrong.append("an access token works after its session was ended")
                body = {"refresh_token": tokens.refresh}
                if status("POST", "/api/users/refresh", json=body) != 401:
                    self.wrong.append("a refresh token works after its session was ended")
            for tokens in self.alive.values():
                body = {"refresh_token": tokens.refresh}
                if (found := status("POST", "/api/users/refresh", json=body)) != 200:
                    self.wrong.append(f"a session was lost: {found}")


class SessionClient:
    """Registers accounts, and starts, refreshes and ends sessions until it is stopped."""

    def __init__(self, system: System, log: SessionLog, seed: int) -> None:
        self.system, self.log = system, log
        self.dice = random.Random(seed)
        self.http = system.client()
        self._numbers = itertools.count(seed * 1_000_000)

    def live(self, stop: threading.Event) -> None:
        """Use sessions of one account after another until ``stop`` is set."""
        while not stop.is_set():
            email = f"guest-{self.dice.getrandbits(48):x}@example.org"
            self._register(email)
            for _ in range(self.dice.randrange(1, 4)):
                number, tokens = self._log_in(email)
                for _ in range(self.dice.randrange(12)):
                    if stop.is_set() or tokens is None:
                        break
                    tokens = self._refresh(number, tokens)
                    time.sleep(self.dice.uniform(0, 0.3))
                if tokens is not None and self.dice.random() < 0.6:
                    self._log_out(number, tokens)
                if stop.is_set():
                    break

    def _ask(self, path: str, body: dict[str, str]) -> tuple[httpx.Response, int]:
        """Repeat a request until it has an answer; return that and the number of lost ones."""
        latest, lost = time.monotonic() + 2 * TIMEOUT, 0
        while time.monotonic() < latest:
            try:
                answer = self.http.post(path, json=body)
            except httpx.TransportError:
                lost += 1
            else:
                if answer.status_code not in (*LOST, 429):
                    if answer.status_code >= 500:
                        self.log.wrong.append(f"{path}: {answer.status_code} {answer.text[:300]}")
                    return answer, lost
                lost += answer.status_code in LOST
            time.sleep(self.dice.uniform(0.05, 0.3))
        raise TimeoutError(f"{path}: no response")

    def _register(self, email: str) -> None:
        body = {"email": email, "password": PASSWORD}
        answer, lost = self._ask("/api/users/register", body)
        if answer.status_code != 201 and not (lost and answer.status_code == 409):
            self.log.wrong.append(f"registration: {answer.status_code} after {lost} lost answers")
        self.log.accounts.add(email)

    def _log_in(self, email: str) -> tuple[int, Tokens | None]:
        answer, _ = self._ask("/api/users/login", {"email": email, "password": PASSWORD})
        number = next(self._numbers)
        if answer.status_code != 200:
            self.log.wrong.append(f"a registered account cannot log in: {answer.status_code}")
            return number, None
        self.log.count("logins")
        return number, self._note(number, answer)

    def _note(self, number: int, answer: httpx.Response) -> Tokens:
        body = answer.json()
        tokens = Tokens(body["access_token"], body["refresh_token"])
        self.log.alive[number] = tokens
        return tokens

    def _refresh(self, number: int, tokens: Tokens) -> Tokens | None:
        """Exchange a refresh token; return None if the session has ended."""
        began, jumps = time.monotonic(), self.system.jumps
        answer, lost = self._ask("/api/users/refresh", {"refresh_token": tokens.refresh})
        if answer.status_code == 200:
            self.log.count("refreshes")
            if lost:
                self.log.count("repeated refreshes")
            return self._note(number, answer)
        del self.log.alive[number]
        in_time = time.monotonic() - began < REPEATABLE and jumps == self.system.jumps
        if lost == 0 or (lost == 1 and in_time):
            self.log.wrong.append(
                f"refresh: {answer.status_code} after {lost} lost answers: {answer.text[:200]}"
            )
        self.log.count("sessions that ended with a lost answer")
        return None

    def _log_out(self, number: int, tokens: Tokens) -> None:
        answer, _ = self._ask("/api/users/logout", {"refresh_token": tokens.refresh})
        del self.log.alive[number]
        if answer.is_success:
            self.log.count("logouts")
            self.log.ended.append(tokens)
        else:
            self.log.wrong.append(f"logout: {answer.status_code} {answer.text[:200]}")
