"""Settings, read once from the environment, frozen."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import attrs

from rebalancer.domain.backtest.thresholds import THRESHOLD_RANGES, PromotionThresholds
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import Currency

PREFIX = "REBALANCER_"
MOST_WORKERS = 256
SHORTEST_KEY = 32
DEVELOPMENT_KEY = "for development only: anyone can read this in the source"

_GATE = PromotionThresholds()


class Environment(StrEnum):
    """Where this runs. Defaults that would be unsafe elsewhere serve in development alone."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


@attrs.frozen
class Settings:
    """What an operator sets once instead of on every command line.

    Attributes:
        prices: Price file used when a command names none, or ``store`` or ``sample``; None: as
            `Sources.of` says.
        assets: Instrument list used when a command names none; None: the one that is kept with the
            prices, or the packaged one.
        currency: Of the prices.
        workers: Processes that a batch or a server may use; None: one a core for a batch, one for
            a server.
        environment: Where this runs.
        database_url: Where people and portfolios are kept: a file, or a Postgres server.
        database_pool: Connections to a database server that a process may hold.
        statement_timeout: Seconds that a database server may take for one statement.
        mongo_url: Where market data and reports are kept; None: in the database.
        redis_url: Caches, shared rate limits and the job queue; None: each process has its own.
        redis_prefix: What all names there begin with, and what the queue is called.
        rate_limit: Requests a minute for each user and each address; 0: as many as they like.
        login_limit: Attempts to log in or register, a minute, for each address, and ten times as
            many for each account; 0: as many as they like.
        trusted_proxies: Proxies in front of the server that tell, in X-Forwarded-For, who asks.
        job_timeout: Seconds that one attempt at a job may take.
        job_attempts: How often a job is tried before it is given up.
        jobs_at_once: Jobs that a process does side by side.
        secret_key: Signs access tokens.
        host: Address that the server listens on.
        port: Port that the server listens on; 0: a free one.
        log_level: What the server says of itself: debug, info, warning or error.
        policies: Folder of one's own learned policies; None: ``policies``, where it is.
        trials: Record of training and evaluation runs; None: ``docs/trials.jsonl`` if there is one.
        gate_probability: See `PromotionThresholds.probability`.
        gate_loss: See `PromotionThresholds.loss`.
        gate_drawdown: See `PromotionThresholds.drawdown`.
        gate_turnover: See `PromotionThresholds.turnover`.
    """

    prices: Path | None = None
    assets: Path | None = None
    currency: str = "USD"
    workers: int | None = None
    environment: Environment = Environment.DEVELOPMENT
    database_url: str = attrs.field(default="sqlite:///rebalancer.db", repr=False)
    database_pool: int = 10
    statement_timeout: float = 30.0
    mongo_url: str | None = attrs.field(default=None, repr=False)
    redis_url: str | None = attrs.field(default=None, repr=False)
    redis_prefix: str = "rebalancer"
    rate_limit: int = 1200
    login_limit: int = 20
    trusted_proxies: int = 0
    job_timeout: float = 3600.0
    job_attempts: int = 3
    jobs_at_once: int = 1
    secret_key: str = attrs.field(default=DEVELOPMENT_KEY, repr=False)
    host: str = "127.0.0.1"
    port: int = 8000
    log_level: str = "info"
    policies: Path | None = None
    trials: Path | None = None
    gate_probability: float = _GATE.probability
    gate_loss: float = _GATE.loss
    gate_drawdown: float = _GATE.drawdown
    gate_turnover: float = _GATE.turnover

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read ``REBALANCER_*``.

        Raises:
            InvalidRequest: a variable is unknown or has no sensible value; names it.
        """
        known = {f"{PREFIX}{field.name.upper()}" for field in attrs.fields(cls)} | _FLAGS
        for name in environment:
            if name.startswith(PREFIX) and name not in known:
                raise InvalidRequest(
                    f"is not a setting; there are {', '.join(sorted(known))}", field=name
                )
        given = {
            field.name: text
            for field in attrs.fields(cls)
            if (text := environment.get(f"{PREFIX}{field.name.upper()}", "").strip())
        }
        return cls(**{name: _READERS.get(name, str)(text) for name, text in given.items()})

    @property
    def cores(self) -> int:
        """Processes that a batch may use."""
        return self.workers or min(os.cpu_count() or 1, MOST_WORKERS)

    @property
    def embedded(self) -> bool:
        """Whether all that is asked for is in this process, so that asking takes no time."""
        remote = self.mongo_url or self.redis_url
        return self.database_url.startswith("sqlite") and not remote

    def check_serving(self) -> None:
        """Refuse to let strangers in with a key that everybody knows.

        Raises:
            InvalidRequest: the key is the development default, or short, where it must not be.
        """
        field = f"{PREFIX}SECRET_KEY"
        remedy = 'such as python -c "import secrets; print(secrets.token_urlsafe(48))" prints'
        if self.secret_key == DEVELOPMENT_KEY:
            if self.environment is not Environment.DEVELOPMENT:
                raise InvalidRequest(
                    f"must be set outside of development: to a secret {remedy}", field=field
                )
            if not _loopback(self.host):
                raise InvalidRequest(
                    f"must be set to listen on {self.host}, which others can reach: to a secret "
                    f"{remedy}",
                    field=field,
                )


def _whole(name: str, low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (re.fullmatch("[0-9]{1,5}", text) and low <= int(text) <= high):
            raise InvalidRequest(
                f"must be a whole number from {low} to {high}, got {text!r}", field=PREFIX + name
            )
        return int(text)

    return read


def _number(name: str, low: float, high: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise InvalidRequest(
                f"must be a number from {low:g} to {high:g}, got {text!r}", field=PREFIX + name
            )
        return value

    return read


def _one_of(name: str, *choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise InvalidRequest(
                f"must be one of {', '.join(choices)}, got {text!r}", field=PREFIX + name
            )
        return text

    return read


def _currency(text: str) -> str:
    try:
        return Currency(text).code
    except InvalidRequest as error:
        raise InvalidRequest(str(error), field=f"{PREFIX}CURRENCY") from None


def _key(text: str) -> str:
    if len(text) < SHORTEST_KEY:
        raise InvalidRequest(
            f"must have {SHORTEST_KEY} characters at least", field=f"{PREFIX}SECRET_KEY"
        )
    return text


def _url(name: str, pattern: str, example: str) -> Callable[[str], str]:
    """Reads a URL; what is wrong is told without it, as there may be a password in it."""

    def read(text: str) -> str:
        if not re.fullmatch(pattern, text, re.DOTALL):
            raise InvalidRequest(
                f"must be a URL such as {example}; in a name or a password write / ? # @ as %2F "
                "%3F %23 %40",
                field=PREFIX + name,
            )
        return text

    return read


_WHO = r"([^@/?#\s]*@)?"
_HOST = r"(\[[^\]@/?#\s]*\]|[^\[\]:,@/?#\s]*)(:[0-9]{1,5})?"
_OPTIONS = r"(\?[^@#]*)?"
_REST = rf"(/[^@?#]*)?{_OPTIONS}"
_DATABASE = rf"sqlite[a-z0-9+]*://.*|[a-z0-9+]+://{_WHO}{_HOST}{_REST}"
_MONGO = rf"mongodb(\+srv)?://{_WHO}{_HOST}(,{_HOST})*{_REST}"
_REDIS = rf"(rediss?|valkeys?)://{_WHO}{_HOST}(/[0-9]*)?{_OPTIONS}|unix://{_WHO}{_REST}"
"""Stricter than who reads them: of a password that holds what ends one, a part would be read as a
host or a port, and be told to whoever is told that there is no such host."""


def _prefix(text: str) -> str:
    if not re.fullmatch("[A-Za-z0-9_.:-]{1,64}", text):
        raise InvalidRequest(
            "must be up to 64 letters, digits and - _ . : and nothing else",
            field=f"{PREFIX}REDIS_PREFIX",
        )
    return text


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_READERS: dict[str, Callable[[str], Any]] = {
    "prices": Path,
    "assets": Path,
    "currency": _currency,
    "workers": _whole("WORKERS", 1, MOST_WORKERS),
    "environment": lambda text: Environment(_one_of("ENVIRONMENT", *Environment)(text)),
    "database_url": _url(
        "DATABASE_URL", _DATABASE, "sqlite:///rebalancer.db or postgresql://user:password@host/name"
    ),
    "database_pool": _whole("DATABASE_POOL", 1, 1000),
    "statement_timeout": _number("STATEMENT_TIMEOUT", 0.1, 3600.0),
    "mongo_url": _url("MONGO_URL", _MONGO, "mongodb://user:password@host/rebalancer"),
    "redis_url": _url("REDIS_URL", _REDIS, "redis://:password@host:6379/0"),
    "redis_prefix": _prefix,
    "rate_limit": _whole("RATE_LIMIT", 0, 99_999),
    "login_limit": _whole("LOGIN_LIMIT", 0, 99_999),
    "trusted_proxies": _whole("TRUSTED_PROXIES", 0, 10),
    "job_timeout": _number("JOB_TIMEOUT", 1.0, 604_800.0),
    "job_attempts": _whole("JOB_ATTEMPTS", 1, 100),
    "jobs_at_once": _whole("JOBS_AT_ONCE", 1, 64),
    "secret_key": _key,
    "port": _whole("PORT", 0, 65_535),
    "log_level": _one_of("LOG_LEVEL", "debug", "info", "warning", "error"),
    "policies": Path,
    "trials": Path,
    **{
        f"gate_{name}": _number(f"GATE_{name.upper()}", *limits)
        for name, limits in THRESHOLD_RANGES.items()
    },
}

_FLAGS = {f"{PREFIX}DEBUG"}
"""Read by the command line itself: show tracebacks."""
