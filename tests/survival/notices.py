"""Notices that are raised and sent through every outage, and what must hold."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID, uuid4

import attrs

from rebalancer.application.notice_delivery import DeliverNotices
from rebalancer.application.notices import raise_notice
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.domain.errors import RebalancerError
from rebalancer.domain.notices.choices import EMAIL, NoticeChoices
from rebalancer.domain.notices.deliveries import DeliveryState
from rebalancer.domain.notices.kinds import NoticeKind
from rebalancer.domain.notices.notice import Notice
from rebalancer.wiring.container import build_container
from rebalancer.wiring.market import Sources
from tests.contracts.stores import a_target, a_user
from tests.survival.system import TIMEOUT, System, until

PAUSE = 0.5
"""Seconds between two notices."""

FAILING = 0.2
"""Share of messages that the receiver takes without an answer, or refuses at first."""


class Receiver(ThreadingHTTPServer):
    """Webhook that remembers what it took, and sometimes fails before or after that.

    Attributes:
        taken: How often each message was taken, by its id.
        notices: Ids of the messages in which each notice came.
    """

    daemon_threads = True

    def __init__(self, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.dice, self.lock = random.Random(seed), threading.Lock()
        self.taken: dict[str, int] = defaultdict(int)
        self.notices: dict[UUID, set[str]] = defaultdict(set)

    def take(self, id: str, body: bytes) -> int | None:
        """Take a message; return the status of the answer, None for no answer."""
        with self.lock:
            fails = self.dice.random() < FAILING and not self.taken[id]
            if fails and self.dice.random() < 0.5:
                return 503
            self.taken[id] += 1
            for notice in json.loads(body)["data"]["notices"]:
                self.notices[UUID(notice["id"])].add(id)
            return None if fails else 204

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Do nothing: a client that was killed hangs up."""


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.take(self.headers["Idempotency-Key"], body)
        if status is not None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Do nothing."""


def _raise(notice: Notice, tx: Transaction) -> None:
    raise_notice(tx, notice)


@attrs.define
class NoticeLog:
    """Notices that were raised, and the receiver that gets them.

    Attributes:
        raised: Ids of the notices whose transaction was confirmed.
        repeats: Messages that came more than once, with the same id.
    """

    raised: set[UUID] = attrs.field(factory=set)
    repeats: int = 0
    wrong: list[str] = attrs.field(factory=list)
    owner: UUID = attrs.field(factory=uuid4)

    def run(self, system: System, receiver: Receiver, stop: threading.Event) -> None:
        """Raise notices until ``stop`` is set; an unanswered one is raised again."""
        wired = build_container(Sources(), settings=system.settings())
        work = wired.get(UnitOfWork)
        user = a_user(id=self.owner, email="notices@example.org")
        target = a_target(self.owner, address=f"http://127.0.0.1:{receiver.server_port}/")
        silent = NoticeChoices().switched(EMAIL, dict.fromkeys(NoticeKind, False))

        def begin(tx: Transaction) -> None:
            if tx.users.by_email(user.email) is None:  # an answer may have been lost
                tx.users.add(user)
                tx.notice_targets.add(target)
                tx.notice_choices.save(self.owner, silent)

        self._repeat(work, begin)
        number = 0
        while not stop.wait(PAUSE) or number < 3:
            now, key = datetime.now(UTC), f"notice {number}"
            notice = Notice.new(
                NoticeKind.KILL_SWITCH, owner=self.owner, key=key, now=now, by="owner"
            )
            for _ in range(1 + number % 2):  # every second one twice
                self._repeat(work, partial(_raise, notice))
            self.raised.add(notice.id)
            number += 1
        wired.close()

    def _repeat(self, work: UnitOfWork, change: Callable[[Transaction], None]) -> None:
        """Make a change once the store answers; all changes here may be repeated."""
        latest = time.monotonic() + TIMEOUT
        while True:
            try:
                with work.begin() as tx:
                    change(tx)
                return
            except RebalancerError:
                if time.monotonic() > latest:
                    raise
                time.sleep(0.1)

    def check(self, system: System, receiver: Receiver) -> None:
        """Send what waits, as a process does after the leases, and compare."""
        wired = build_container(Sources(), settings=system.settings())
        work = wired.get(UnitOfWork)
        days = itertools.count(1)
        deliver = wired.get(DeliverNotices)

        def is_sent() -> bool:
            try:
                later = datetime.now(UTC) + timedelta(days=next(days))
                attrs.evolve(deliver, clock=lambda: later)()
                with work.read() as tx:
                    waiting = DeliveryState.WAITING
                    return not tx.notice_deliveries.page(self.owner, state=waiting, limit=1)
            except RebalancerError:
                return False

        until(is_sent, "notices to be sent")
        with work.read() as tx:
            stored = [one.id for one in tx.notices.page(self.owner, limit=1_000_000)]
        if len(stored) != len(set(stored)) or set(stored) != self.raised:
            self.wrong.append(f"{len(self.raised)} notices were raised, {len(stored)} are stored")
        for id in self.raised:
            messages = receiver.notices.get(id, set())
            if len(messages) != 1:
                self.wrong.append(f"notice {id} came in {len(messages)} messages")
        self.repeats = sum(count > 1 for count in receiver.taken.values())
        wired.close()
