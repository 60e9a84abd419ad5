"""Settings, read once from the environment, frozen."""

from __future__ import annotations

import math
import os
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from enum import StrEnum
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs

from rebalancer.application.secure_connections import find_plain_connection, is_loopback
from rebalancer.domain.accounts.origins import RelyingParty
from rebalancer.domain.backtest.thresholds import (
    SERVING_RANGES,
    THRESHOLD_RANGES,
    PromotionThresholds,
    ServingThresholds,
)
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.symbols import normalize_symbol
from rebalancer.domain.money import Currency

PREFIX = "REBALANCER_"
FILE_SUFFIX = "_FILE"
"""End of a variable that names a file with a secret."""

OTLP_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"
"""Variable of the OpenTelemetry specification that names the collector."""

MOST_WORKERS = 256
SHORTEST_KEY = 32
FEWEST_CHARACTERS = 8
"""Distinct characters of a secret key; 32 random hexadecimal digits have more."""

LONGEST_FILE = 65_536
"""Bytes of a file with a secret."""

DEVELOPMENT_KEY = "for development only: anyone can read this in the source"

_GATE, _SERVING = PromotionThresholds(), ServingThresholds()

_MOST = 999_999_999
"""Highest quota."""


class Environment(StrEnum):
    """Kind of deployment; unsafe defaults are accepted only in development."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


def _symbols(text: str) -> tuple[str, ...]:
    return tuple(symbol for part in text.split(",") if (symbol := normalize_symbol(part)))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip().casefold()))


def _integer(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (re.fullmatch("[0-9]{1,9}", text) and low <= int(text) <= high):
            raise _invalid(f"expected a whole number from {low} to {high}, got {text!r}")
        return int(text)

    return read


def _number(low: float, high: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise _invalid(f"expected a number from {low:g} to {high:g}, got {text!r}")
        return value

    return read


def _choice(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise _invalid(f"expected one of {', '.join(choices)}, got {text!r}")
        return text

    return read


def _switch(text: str) -> bool:
    return text.casefold() not in ("0", "false", "no", "off")


def _secret_key(text: str) -> str:
    if len(text) < SHORTEST_KEY:
        raise _invalid(f"a secret key needs at least {SHORTEST_KEY} characters")
    if text != DEVELOPMENT_KEY and _is_guessable(text):
        raise _invalid(
            "a secret key needs random characters, such as the output of "
            'python -c "import secrets; print(secrets.token_urlsafe(48))"'
        )
    return text


def _is_guessable(text: str) -> bool:
    """Return whether a text has few distinct characters, repeats itself, or counts."""
    steps = [abs(ord(after) - ord(before)) for before, after in pairwise(text)]
    counts = 2 * sum(step < 2 for step in steps) > len(steps)
    repeats = any(text[by:] == text[:-by] for by in range(1, len(text) // 2 + 1))
    return len(set(text)) < FEWEST_CHARACTERS or repeats or counts


def _secret_keys(text: str) -> tuple[str, ...]:
    return tuple(_secret_key(part) for line in text.split(",") if (part := line.strip()))


def _encryption_keys(text: str) -> tuple[tuple[str, bytes], ...]:
    """Read keys as ``id:base64``, separated by commas or lines; errors do not quote them."""
    keys: dict[str, bytes] = {}
    for part in text.replace(",", "\n").split():
        id, _, encoded = part.partition(":")
        try:
            key = b64decode(encoded, validate=True)
        except ValueError:
            key = b""
        if not re.fullmatch(_KEY_ID, id) or len(key) != 32 or id in keys or len(set(key)) < 16:
            raise _invalid(
                "write each key as id:base64, with different ids of up to 40 letters, digits and "
                "- _ . and 32 random bytes; separate keys by commas, the newest first. Create one "
                "with `rebalancer db new-key`"
            )
        keys[id] = key
    return tuple(keys.items())


_KEY_ID = "[A-Za-z0-9_.-]{1,40}"


def _matching(pattern: str, expected: str) -> Callable[[str], str]:
    """Return a reader whose errors do not quote the text: a URL may hold a password."""

    def read(text: str) -> str:
        if not re.fullmatch(pattern, text, re.DOTALL):
            raise _invalid(f"expected {expected}")
        return text

    return read


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(part.strip() for part in text.split(",") if part.strip())
    RelyingParty.of(origins)
    return origins


def _networks(text: str) -> tuple[str, ...]:
    try:
        return tuple(str(ip_network(part.strip())) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise _invalid(f"expected networks such as 192.168.1.0/24; {error}") from None


def _url(pattern: str, example: str) -> Callable[[str], str]:
    escapes = "in a name or a password write / ? # @ as %2F %3F %23 %40"
    return _matching(pattern, f"a URL such as {example}; {escapes}")


def _read_file(variable: str, path: str) -> str:
    """Return the text in a file; raise InvalidRequest, which names the variable, without one."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(LONGEST_FILE + 1)
        reason = f"{path} is longer than {LONGEST_FILE} characters"
    except OSError as error:
        text, reason = "", f"cannot read {path}: {error.strerror}"
    except UnicodeDecodeError:
        text, reason = "", f"{path} is not text in UTF-8"
    else:
        if len(text) <= LONGEST_FILE:
            reason = "" if text.strip() else f"{path} is empty"
    if reason:
        raise InvalidRequest(reason, field=variable, code="invalid_setting")
    return text.strip()


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest(message, code="invalid_setting")


_USER = r"([^@/?#\s]*@)?"
_HOST = r"(\[[^\]@/?#\s]*\]|[^\[\]:,@/?#\s]*)(:[0-9]{1,5})?"
_OPTIONS = r"(\?[^@#]*)?"
_PATH = rf"(/[^@?#]*)?{_OPTIONS}"
_SMTP = rf"smtps?://{_USER}{_HOST}{_OPTIONS}"
_DATABASE = rf"sqlite[a-z0-9+]*://.*|[a-z0-9+]+://{_USER}{_HOST}{_PATH}"
_MONGO = rf"mongodb(\+srv)?://{_USER}{_HOST}(,{_HOST})*{_PATH}"
_SENDER = r"[^<>@\r\n]*<[^<>@\s]+@[^<>@\s]+>|[^<>@\s]+@[^<>@\s]+"
_PUBLIC = r"https?://[^\s?#]+"
_REDIS = rf"(rediss?|valkeys?)://{_USER}{_HOST}(/[0-9]*)?{_OPTIONS}|unix://{_USER}{_PATH}"
"""Stricter than the drivers: an unescaped delimiter in a password would be parsed as a host and
leak into errors."""


def _setting(default: Any, read: Callable[[str], Any], *, repr: bool = True) -> Any:
    """Declare a setting that is not plain text, and how to read it."""
    return attrs.field(default=default, repr=repr, metadata={"read": read})


def _threshold(name: str) -> Any:
    return _setting(getattr(_GATE, name), _number(*THRESHOLD_RANGES[name]))


def _serving(name: str) -> Any:
    return _setting(getattr(_SERVING, name), _number(*SERVING_RANGES[name]))


@attrs.frozen
class Settings:
    """Settings of an operator, one environment variable each.

    Attributes:
        prices: Default price source: a file, a provider's name or ``store``; None: see
            `Sources.of`.
        prices_layout: Layout of a file of prices; None: it is recognised.
        assets: Default instrument list; None: the list that comes with the prices.
        accept_jumps: Symbols whose jumps are true moves, separated by commas.
        providers: Remote providers to ask, by name and in this order, separated by commas; those
            without the key that they need are left out.
        tiingo_key: Key of Tiingo.
        alpha_vantage_key: Key of Alpha Vantage.
        nasdaq_data_link_key: Key of Nasdaq Data Link.
        fred_key: Key of FRED.
        quotes: Source of live quotes: ``yahoo``, its stream; ``polling``, the providers, asked
            again and again; or ``off``. None: ``yahoo`` where prices were synchronized and Yahoo is
            one of the providers, else ``off``.
        quote_interval: Seconds after which ``polling`` asks again.
        quote_age: Minutes after a trade from which on its quote is not used in decisions.
        quote_spread: Largest difference of ask and bid of a quote that is used in decisions, as a
            fraction of their mean.
        live_proposal_minutes: Minutes for which a proposal at quotes can be accepted.
        stream_heartbeat: Seconds without an event after which a stream sends a comment.
        currency: ISO code of the currency of the prices.
        workers: Processes of a batch or a server; None: one per core for a batch, one for a server.
        environment: Kind of deployment.
        database_url: Database of users, portfolios and jobs: an SQLite file or a Postgres server.
        database_pool: Most connections of a process to a database server.
        database_pooled: Whether the URL leads to a pooler in transaction mode, such as PgBouncer.
        statement_timeout: Seconds that a database server may spend on one statement.
        mongo_url: MongoDB for market data and reports; None: the database holds them.
        redis_url: Redis for caches, shared rate limits and the job queue; None: none are shared.
        redis_prefix: Prefix of all keys in Redis, and name of the queue.
        rate_limit: Requests per minute of a user or an address; 0: unlimited.
        login_limit: Attempts per minute to log in or register, of an address, and ten times as many
            for an account; 0: unlimited.
        most_portfolios: Open portfolios of an account; 0: unlimited, as in the other quotas.
        most_entries: Entries in the ledger of one portfolio.
        most_proposals: Proposals of an account that were never accepted.
        most_proposals_a_day: New proposals of an account in one day.
        most_profiles: Saved mapping profiles of an account.
        most_jobs: Unfinished jobs of an account.
        most_streams: Streams that an account has open in one server process.
        most_megabytes_a_day: Megabytes that an account stores in one day.
        most_registrations_a_day: Accounts that are registered from one address in one day, if
            there is a login limit.
        proposal_days: Days after which proposals that were never accepted are deleted.
        origins: Origins of the web pages and apps that use passkeys, separated by commas, the
            shortest domain first; empty: this server on localhost in development, otherwise none.
        trusted_proxies: Number of reverse proxies that set X-Forwarded-For and are trusted.
        smtp_url: Server that sends mail; None: mail is printed in development, else none is sent.
        mail_from: Sender of mails, with or without a name.
        public_url: Address of the client, to which links in mails lead; None: this server, in
            development.
        notice_networks: Private networks that the webhooks of owners may reach, such as
            192.168.1.0/24, also without TLS, separated by commas.
        notice_hosts: Hosts of push services that owners may use, separated by commas.
        email_verification: Whether an address must be confirmed by a mailed link before it can be
            used: required or off; None: required where ``smtp_url`` is set.
        terms_version: Version of the terms that every new account must accept; None: no terms.
        job_timeout: Seconds that one attempt at a job may take.
        job_attempts: Attempts at a job before it fails.
        jobs_at_once: Jobs that a process runs in parallel.
        secret_key: Secret from which the keys of access tokens and of counters are derived.
        secret_keys_old: Earlier secrets, separated by commas; their tokens are still accepted.
        encryption: ``off``: personal texts are stored in plain text; ``required``: they never are;
            None: encrypted if there are keys, which production needs.
        encryption_keys: Key-encryption keys by id, the newest first.
        plain_connections: Whether servers on other machines may be reached without TLS.
        tls_certificate: Certificates of the server, for connections with TLS; None: plain HTTP.
        tls_key: File with the private key of the certificate.
        audience: Name of this deployment in access tokens; others refuse them.
        host: Address that the server listens on.
        port: Port that the server listens on; 0: any free port.
        app: Whether the server serves the web client.
        connections: Most connections of clients to a server process; idle ones make room.
        client_connections: Most connections of one address to a server process; 0: unlimited. Not
            applied behind trusted proxies.
        idle_timeout: Seconds that a connection may take for the head of its next request.
        body_timeout: Seconds in which the body of a request must arrive; longer for large ones.
        http2: Whether the server also speaks HTTP/2.
        docs: Whether the server has interactive documentation at ``/docs``.
        deletion_days: Days from the request to delete an account to its erasure.
        records_days: Days for which ledgers and proposals of erased accounts are kept without
            names; 0: they are erased, too.
        audit_days: Days that the audit trail keeps events; 0: for ever.
        audit_address_days: Days that it keeps client addresses and programs.
        log_level: Lowest level that is logged: debug, info, warning or error.
        metrics_port: Port on which a server or a worker answers with its metrics, at ``host``; 0:
            any free port; None: there are no metrics.
        otlp_endpoint: Collector of traces in OpenTelemetry's protocol over HTTP; None: the
            standard variable OTEL_EXPORTER_OTLP_ENDPOINT names it, or there are no traces.
        trace_ratio: Share of the requests whose traces are recorded, 0 to 1.
        policies: Folder of the operator's learned policies; None: ``policies``.
        trials: Log of training and evaluation runs; None: ``docs/trials.jsonl`` if it exists.
        cache: Folder of prices that the processes of a host share; None: see `cache_folder`.
        gate_probability: See `PromotionThresholds.probability`.
        gate_loss: See `PromotionThresholds.loss`.
        gate_drawdown: See `PromotionThresholds.drawdown`.
        gate_turnover: See `PromotionThresholds.turnover`.
        serving_margin: See `ServingThresholds.margin`.
        serving_probability: See `ServingThresholds.probability`.
        serving_drawdown: See `ServingThresholds.drawdown`.
        serving_drawdown_probability: See `ServingThresholds.drawdown_probability`.
        serving_orders: See `ServingThresholds.orders`.
        serving_turnover: See `ServingThresholds.turnover`.
        debug: Whether the command line prints the traceback of an unexpected error.
    """

    prices: str | None = None
    prices_layout: str | None = None
    assets: Path | None = _setting(None, Path)
    accept_jumps: tuple[str, ...] = _setting((), _symbols)
    providers: tuple[str, ...] = _setting(
        ("yahoo", "tiingo", "alpha_vantage", "nasdaq_data_link", "fred", "ecb"), _names
    )
    tiingo_key: str | None = _setting(None, str, repr=False)
    alpha_vantage_key: str | None = _setting(None, str, repr=False)
    nasdaq_data_link_key: str | None = _setting(None, str, repr=False)
    fred_key: str | None = _setting(None, str, repr=False)
    quotes: str | None = _setting(None, _choice("yahoo", "polling", "off"))
    quote_interval: float = _setting(60.0, _number(1.0, 86_400.0))
    quote_age: float = _setting(20.0, _number(0.1, 10_080.0))
    quote_spread: float = _setting(0.02, _number(0.0001, 2.0))
    live_proposal_minutes: float = _setting(10.0, _number(0.5, 1_440.0))
    stream_heartbeat: float = _setting(15.0, _number(0.1, 300.0))
    currency: str = _setting("USD", lambda text: Currency(text).code)
    workers: int | None = _setting(None, _integer(1, MOST_WORKERS))
    environment: Environment = _setting(
        Environment.DEVELOPMENT, lambda text: Environment(_choice(*Environment)(text))
    )
    database_url: str = _setting(
        "sqlite:///rebalancer.db",
        _url(_DATABASE, "sqlite:///rebalancer.db or postgresql://user:password@host/name"),
        repr=False,
    )
    database_pool: int = _setting(10, _integer(1, 1000))
    database_pooled: bool = _setting(False, _switch)
    statement_timeout: float = _setting(30.0, _number(0.1, 3600.0))
    mongo_url: str | None = _setting(
        None, _url(_MONGO, "mongodb://user:password@host/rebalancer"), repr=False
    )
    redis_url: str | None = _setting(
        None, _url(_REDIS, "redis://:password@host:6379/0"), repr=False
    )
    redis_prefix: str = _setting(
        "rebalancer",
        _matching("[A-Za-z0-9_.:-]{1,64}", "up to 64 characters: letters, digits and - _ . :"),
    )
    rate_limit: int = _setting(1200, _integer(0, 99_999))
    login_limit: int = _setting(20, _integer(0, 99_999))
    most_portfolios: int = _setting(200, _integer(0, _MOST))
    most_entries: int = _setting(200_000, _integer(0, _MOST))
    most_proposals: int = _setting(5_000, _integer(0, _MOST))
    most_proposals_a_day: int = _setting(2_000, _integer(0, _MOST))
    most_profiles: int = _setting(100, _integer(0, _MOST))
    most_jobs: int = _setting(20, _integer(0, _MOST))
    most_streams: int = _setting(10, _integer(0, _MOST))
    most_megabytes_a_day: int = _setting(100, _integer(0, _MOST))
    most_registrations_a_day: int = _setting(100, _integer(0, _MOST))
    proposal_days: int = _setting(90, _integer(8, 36_500))
    origins: tuple[str, ...] = _setting((), _origins)
    trusted_proxies: int = _setting(0, _integer(0, 10))
    smtp_url: str | None = _setting(
        None, _url(_SMTP, "smtps://user:password@mail.example.org:465"), repr=False
    )
    mail_from: str | None = _setting(None, _matching(_SENDER, "an address or Name <address>"))
    public_url: str | None = _setting(
        None, _matching(_PUBLIC, "an address such as https://app.example.org")
    )
    notice_networks: tuple[str, ...] = _setting((), _networks)
    notice_hosts: tuple[str, ...] = _setting(("ntfy.sh",), _names)
    email_verification: str | None = _setting(None, _choice("required", "off"))
    terms_version: str | None = _setting(
        None, _matching("[A-Za-z0-9_.-]{1,40}", "up to 40 letters, digits and - _ .")
    )
    job_timeout: float = _setting(3600.0, _number(1.0, 604_800.0))
    job_attempts: int = _setting(3, _integer(1, 100))
    jobs_at_once: int = _setting(1, _integer(1, 64))
    secret_key: str = _setting(DEVELOPMENT_KEY, _secret_key, repr=False)
    secret_keys_old: tuple[str, ...] = _setting((), _secret_keys, repr=False)
    encryption: str | None = _setting(None, _choice("required", "off"))
    encryption_keys: tuple[tuple[str, bytes], ...] = _setting((), _encryption_keys, repr=False)
    plain_connections: str | None = _setting(None, _choice("allowed", "refused"))
    tls_certificate: Path | None = _setting(None, Path)
    tls_key: Path | None = _setting(None, Path)
    audience: str = _setting(
        "rebalancer", _matching(r"\S{1,200}", "up to 200 characters, no blanks")
    )
    host: str = "127.0.0.1"
    port: int = _setting(8000, _integer(0, 65_535))
    app: bool = _setting(False, _switch)
    connections: int = _setting(2000, _integer(16, 50_000))
    client_connections: int = _setting(200, _integer(0, 50_000))
    idle_timeout: float = _setting(15.0, _number(1.0, 600.0))
    body_timeout: float = _setting(10.0, _number(0.1, 600.0))
    http2: bool = _setting(False, _switch)
    docs: bool = _setting(True, _switch)
    deletion_days: int = _setting(14, _integer(1, 365))
    records_days: int = _setting(0, _integer(0, 36_500))
    audit_days: int = _setting(730, _integer(0, 36_500))
    audit_address_days: int = _setting(90, _integer(1, 36_500))
    log_level: str = _setting("info", _choice("debug", "info", "warning", "error"))
    metrics_port: int | None = _setting(None, _integer(0, 65_535))
    otlp_endpoint: str | None = _setting(
        None, _matching(_PUBLIC, "an address such as http://localhost:4318")
    )
    trace_ratio: float = _setting(0.01, _number(0.0, 1.0))
    policies: Path | None = _setting(None, Path)
    trials: Path | None = _setting(None, Path)
    cache: Path | None = _setting(None, Path)
    gate_probability: float = _threshold("probability")
    gate_loss: float = _threshold("loss")
    gate_drawdown: float = _threshold("drawdown")
    gate_turnover: float = _threshold("turnover")
    serving_margin: float = _serving("margin")
    serving_probability: float = _serving("probability")
    serving_drawdown: float = _serving("drawdown")
    serving_drawdown_probability: float = _serving("drawdown_probability")
    serving_orders: float = _serving("orders")
    serving_turnover: float = _serving("turnover")
    debug: bool = _setting(False, _switch)

    @property
    def cache_folder(self) -> Path:
        """Folder of what can be made again: ``rebalancer`` in the user's cache by default."""
        if self.cache is not None:
            return self.cache
        folder = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
        return Path(folder) / "rebalancer"

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read and validate every ``REBALANCER_*`` variable; an empty one counts as unset.

        A secret may also be in a file, which ``REBALANCER_*_FILE`` names.

        Raises:
            InvalidRequest: a variable is unknown or its value is invalid; names the variable.
        """
        names = {f"{PREFIX}{field.name.upper()}": field for field in attrs.fields(cls)}
        in_files = {
            f"{name}{FILE_SUFFIX}": (name, field) for name, field in names.items() if not field.repr
        }
        given: dict[str, Any] = {}
        for variable, text in environment.items():
            if not variable.startswith(PREFIX):
                continue
            if variable not in names and variable not in in_files:
                raise InvalidRequest(
                    f"unknown setting; the settings are {', '.join(sorted(names))}",
                    field=variable,
                    code="unknown_setting",
                )
            if value := text.strip():
                if variable in in_files:
                    name, field = in_files[variable]
                    if environment.get(name, "").strip():
                        raise InvalidRequest(
                            f"set either this or {name}", field=variable, code="invalid_setting"
                        )
                    value = _read_file(variable, value)
                else:
                    field = names[variable]
                try:
                    given[field.name] = field.metadata.get("read", str)(value)
                except InvalidRequest as error:
                    raise InvalidRequest(error.message, field=variable, code=error.code) from None
        if standard := environment.get(OTLP_VARIABLE, "").strip():
            given.setdefault("otlp_endpoint", standard)
        return cls(**given)

    @property
    def relying_party(self) -> RelyingParty | None:
        """This service as passkeys know it; None: it has no passkeys."""
        if self.origins:
            return RelyingParty.of(self.origins)
        if self.environment is Environment.DEVELOPMENT and self.port:
            return RelyingParty.of([f"http://localhost:{self.port}"])
        return None

    @property
    def cores(self) -> int:
        """Number of processes of a batch."""
        return self.workers or min(os.cpu_count() or 1, MOST_WORKERS)

    @property
    def embedded(self) -> bool:
        """Whether no server is configured, so that queries take no network round trip."""
        remote = self.mongo_url or self.redis_url
        return self.database_url.startswith("sqlite") and not remote

    @property
    def promotion(self) -> PromotionThresholds:
        """Thresholds of a proven gain."""
        return PromotionThresholds(
            probability=self.gate_probability,
            loss=self.gate_loss,
            drawdown=self.gate_drawdown,
            turnover=self.gate_turnover,
        )

    @property
    def serving(self) -> ServingThresholds:
        """Thresholds that a learned policy must reach by walk-forward to serve."""
        return ServingThresholds(
            margin=self.serving_margin,
            probability=self.serving_probability,
            drawdown=self.serving_drawdown,
            drawdown_probability=self.serving_drawdown_probability,
            orders=self.serving_orders,
            turnover=self.serving_turnover,
        )

    @property
    def has_public_key(self) -> bool:
        """Whether the secret key is the development default, with which anyone can sign in."""
        return DEVELOPMENT_KEY in (self.secret_key, *self.secret_keys_old)

    @property
    def sends_mail(self) -> bool:
        """Whether mail is sent, or printed in development."""
        return self.smtp_url is not None or self.environment is Environment.DEVELOPMENT

    @property
    def verifies_email(self) -> bool:
        """Whether an address must be confirmed before it can be used."""
        if self.email_verification is None:
            return self.smtp_url is not None
        return self.email_verification == "required"

    @property
    def client_url(self) -> str:
        """Address of the client, for links in mails."""
        return self.public_url or f"http://localhost:{self.port}"

    @property
    def encrypts(self) -> bool:
        """Whether personal texts are encrypted when they are stored."""
        return bool(self.encryption_keys) and self.encryption != "off"

    def check_encryption(self) -> None:
        """Check that texts are encrypted where they must be.

        Raises:
            InvalidRequest: production has neither keys nor the setting that needs none.
        """
        required = self.encryption == "required" or (
            self.encryption is None and self.environment is not Environment.DEVELOPMENT
        )
        if required and not self.encryption_keys:
            raise InvalidRequest(
                "personal data are encrypted under this key; create one with `rebalancer db "
                f"new-key`, or set {PREFIX}ENCRYPTION=off to store them in plain text",
                field=f"{PREFIX}ENCRYPTION_KEYS",
                code="encryption_key_missing",
            )

    def check_connections(self) -> None:
        """Check that connections to other machines are encrypted, outside development.

        Raises:
            InvalidRequest: one is not; names the variable.
        """
        allowed = self.environment is Environment.DEVELOPMENT
        if self.plain_connections is not None:
            allowed = self.plain_connections == "allowed"
        for name in () if allowed else ("database_url", "redis_url", "mongo_url"):
            remedy = find_plain_connection(getattr(self, name) or "")
            if remedy is not None:
                raise InvalidRequest(
                    f"the server is on another machine, and its certificate is not checked; "
                    f"{remedy}, or set {PREFIX}PLAIN_CONNECTIONS=allowed if the network between "
                    "them is trusted",
                    field=f"{PREFIX}{name.upper()}",
                    code="plain_connection",
                )

    def check_mail(self) -> None:
        """Check that mails can be sent where they are needed.

        Raises:
            InvalidRequest: a setting is missing; names the variable.
        """
        missing = reason = ""
        if self.smtp_url is not None:
            missing = "MAIL_FROM" if self.mail_from is None else missing
            missing = "PUBLIC_URL" if self.public_url is None else missing
            reason = "mails need it; set it too"
        elif self.verifies_email and not self.sends_mail:
            missing, reason = "SMTP_URL", "it is needed to verify e-mail addresses; set it too"
        if missing:
            raise InvalidRequest(reason, field=f"{PREFIX}{missing}", code="mail_setting_missing")

    def check_serving(self) -> None:
        """Check that the settings are safe to serve with.

        Raises:
            InvalidRequest: they are not; names the variable.
        """
        self._check_secret_key()
        self.check_encryption()
        self.check_connections()
        if self.app and (self.workers or 1) > 1:
            raise InvalidRequest(
                "the web client holds its windows in one process; serve it with one, and the API "
                "with more by a second server",
                field=f"{PREFIX}WORKERS",
                code="app_needs_one_process",
            )
        if (self.tls_certificate is None) != (self.tls_key is None):
            missing = "TLS_KEY" if self.tls_key is None else "TLS_CERTIFICATE"
            raise InvalidRequest(
                "TLS needs a certificate and its private key; set this too",
                field=f"{PREFIX}{missing}",
                code="tls_setting_missing",
            )

    def _check_secret_key(self) -> None:
        """Refuse to serve with the public development key where others can connect.

        Raises:
            InvalidRequest: the key is the development default outside development, or the server
                listens on an address that other machines can reach, or is behind a proxy.
        """
        if not self.has_public_key:
            return
        remedy = (
            "set it to a secret, such as the output of "
            'python -c "import secrets; print(secrets.token_urlsafe(48))"'
        )
        reason = ""
        if self.environment is not Environment.DEVELOPMENT:
            reason = "a secret key is required outside development"
        elif not is_loopback(self.host):
            reason = f"a secret key is required to listen on {self.host}, which others can reach"
        elif self.trusted_proxies:
            reason = "a secret key is required behind a proxy, which others can reach"
        if reason:
            raise InvalidRequest(
                f"{reason}; {remedy}", field=f"{PREFIX}SECRET_KEY", code="secret_key_missing"
            )
