"""Stored values: a plain one of every kind, and a hypothesis strategy for all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import attrs
from hypothesis import strategies as st

from rebalancer.domain.accounts.api_keys import ApiKey, Scope
from rebalancer.domain.accounts.factors import Passkey, TotpSecret
from rebalancer.domain.accounts.mail import Mail, MailKind
from rebalancer.domain.accounts.one_time import OneTimeToken
from rebalancer.domain.accounts.roles import Role
from rebalancer.domain.accounts.sessions import Session
from rebalancer.domain.accounts.shares import Right, Share
from rebalancer.domain.alerts.automation import AutoAccept, AutomationSettings, Frequency
from rebalancer.domain.alerts.evaluation import AlertState
from rebalancer.domain.alerts.measures import Peak
from rebalancer.domain.alerts.record import AlertRecord, AutomationProgress, Trigger
from rebalancer.domain.alerts.settings import AlertKind, AlertSettings
from rebalancer.domain.alerts.watches import Episode, Watch
from rebalancer.domain.idempotency import IdempotencyKey
from rebalancer.domain.jobs.batch_run import BatchRun
from rebalancer.domain.money import Currency
from rebalancer.domain.notices.choices import NoticeChoices
from rebalancer.domain.notices.deliveries import NoticeDelivery
from rebalancer.domain.notices.kinds import NoticeKind
from rebalancer.domain.notices.notice import Notice
from rebalancer.domain.notices.targets import Target, TargetKind
from rebalancer.domain.portfolio.entries import REORGANISATIONS
from rebalancer.domain.portfolio.ledger import FLOWS, TRADES, Entry, EntryKind, Ledger, Positions
from rebalancer.domain.portfolio.lots.model import LotMethod
from rebalancer.domain.portfolio.lots.sellable import SaleGain, SellableLot
from rebalancer.domain.portfolio.mandate import ActionBooking, ManagedPortfolio, Mandate
from rebalancer.domain.portfolio.mapping_profiles import Column, MappingProfile
from rebalancer.domain.portfolio.owner import RefreshToken, User
from rebalancer.domain.portfolio.portfolio import Conversions, Portfolio, Preferences
from rebalancer.domain.portfolio.questionnaire import Assessment
from rebalancer.domain.portfolio.risk import RISK_PROFILES
from rebalancer.domain.portfolio.saved_profiles import SavedProfile
from rebalancer.domain.portfolio.statement_imports import StatementImport
from rebalancer.domain.rebalancing.conversions import ConversionOrder
from rebalancer.domain.rebalancing.lifecycle import (
    ProposalInputs,
    ProposalOrigin,
    ProposalRecord,
    Stage,
)
from rebalancer.domain.rebalancing.model import NotTraded, Order, Proposal, Side, Status
from tests import builders
from tests.builders import USD

NOW = datetime(2023, 1, 2, 12, 30, 15, 123456, tzinfo=UTC)
DAY = date(2022, 12, 30)
HOUR = timedelta(hours=1)


def a_user(**others: Any) -> User:
    """Return a user with a unique address."""
    id = others.pop("id", None) or uuid4()
    return attrs.evolve(
        User(id=id, email=f"{id.hex}@example.org", name="Ada", password="$hash", created=NOW),
        **others,
    )


def a_deposit(amount: object = 1000, **others: Any) -> Entry:
    """Return a deposit of money."""
    plain = Entry(uuid4(), EntryKind.DEPOSIT, DAY, NOW, Decimal(str(amount)))
    return attrs.evolve(plain, **others)


def a_managed(
    owner: UUID, entries: Sequence[Entry] = (), *, id: UUID | None = None, **others: Any
) -> ManagedPortfolio:
    """Return a portfolio whose ledger begins with some entries."""
    mandate = others.pop("mandate", None) or Mandate("Pension", USD, {"A": 0.6, "B": 0.4})
    opened = ManagedPortfolio.open(mandate, id=id or uuid4(), owner=owner, entries=entries, now=NOW)
    return attrs.evolve(opened, **others)


def a_proposal(portfolio: ManagedPortfolio, **others: Any) -> ProposalRecord:
    """Return a proposal to buy one A."""
    snapshot = portfolio.snapshot()
    proposal = Proposal(
        portfolio_id=str(portfolio.id),
        status=Status.PROPOSED,
        as_of=DAY,
        policy="monthly",
        orders=(order(),),
        not_traded=(NotTraded("B", "Within its band."),),
        weights_before={"A": 0.0, "B": 0.0},
        weights_after={"A": 0.1, "B": 0.0},
        cash_after=Decimal("899.90"),
        turnover=0.1,
        cost=Decimal("0.10"),
        drift_before=1.0,
        drift_after=0.9,
        volatility_before=None,
        volatility_after=0.12,
        notes=(),
        input_hash="0" * 64,
    )
    seen = ProposalInputs(
        snapshot, Decimal(0), portfolio.version, {"A": Decimal(100)}, "1" * 64, DAY, "free"
    )
    made = ProposalRecord.new(proposal, seen, id=uuid4(), owner=portfolio.owner, now=NOW)
    return attrs.evolve(made, **others)


def order() -> Order:
    """One A at 100."""
    return Order("A", Side.BUY, Decimal(1), Decimal(100), Decimal("100.00"), Decimal("0.10"), "Why")


def a_fill(record: ProposalRecord) -> Entry:
    """Return the ledger entry of the executed `a_proposal`."""
    return Entry(
        id=uuid4(),
        kind=EntryKind.BUY,
        on=DAY,
        recorded=NOW,
        amount=Decimal("100.00"),
        symbol="A",
        quantity=Decimal(1),
        price=Decimal(100),
        cost=Decimal("0.10"),
        proposal=record.id,
    )


def a_token(owner: UUID, **others: Any) -> RefreshToken:
    """Return a token of a new family."""
    plain = RefreshToken(uuid4().hex * 2, uuid4(), owner, NOW, NOW + 24 * HOUR)
    return attrs.evolve(plain, **others)


def a_passkey(owner: UUID, **others: Any) -> Passkey:
    """Return a passkey with a unique credential."""
    plain = Passkey(
        id=uuid4(),
        owner=owner,
        credential=uuid4().bytes,
        public_key=bytes(range(77)),
        sign_count=0,
        name="Phone",
        transports=("hybrid", "internal"),
        backed_up=True,
        created=NOW,
    )
    return attrs.evolve(plain, **others)


def a_totp(owner: UUID, **others: Any) -> TotpSecret:
    """Return the confirmed secret of an authenticator app."""
    return attrs.evolve(TotpSecret(owner, "JBSWY3DPEHPK3PXP", NOW, NOW, 55_000_000), **others)


def a_mail(**others: Any) -> Mail:
    """Return a mail with a link to reset a password."""
    facts = {"token": "secret", "validity": "60 minutes"}
    kind = MailKind.RESET_PASSWORD
    plain = Mail(uuid4(), kind, "ada@bücher.example", facts, NOW, NOW + 48 * HOUR)
    return attrs.evolve(plain, **others)


def a_one_time(owner: UUID | None, **others: Any) -> OneTimeToken:
    """Return a token to reset a password."""
    plain = OneTimeToken(uuid4().hex * 2, "reset", owner, NOW + HOUR, {"to": "Ada"})
    return attrs.evolve(plain, **others)


def a_notice(owner: UUID, key: str = "drift", **others: Any) -> Notice:
    """Return an unread notice about a portfolio of an owner."""
    facts: dict[str, Any] = {"portfolio_name": "Pension", "by": "owner"}
    plain = Notice.new(NoticeKind.KILL_SWITCH, owner=owner, key=key, now=NOW, **facts)
    return attrs.evolve(plain, **others)


def a_target(owner: UUID, **others: Any) -> Target:
    """Return a webhook of an owner."""
    address = "https://hooks.example.org/a?token=secret"
    plain = Target(uuid4(), owner, TargetKind.WEBHOOK, "Home", address, "whsec_c2VjcmV0", NOW)
    return attrs.evolve(plain, **others)


def a_delivery(notice: Notice, channel: str = "email", **others: Any) -> NoticeDelivery:
    """Return the message that takes a new notice to a channel at once."""
    plain = NoticeDelivery.plan(notice, channel, NoticeChoices())
    assert plain is not None
    return attrs.evolve(plain, **others)


def an_alert_record(portfolio: ManagedPortfolio, **others: Any) -> AlertRecord:
    """Return alerts and automation of a portfolio, with a state."""
    plain = AlertRecord(
        portfolio.id,
        portfolio.owner,
        changed=NOW,
        due=NOW,
        settings=AlertSettings(band=True, drift=0.1),
        automation=AutomationSettings(
            Frequency.MONTHLY, True, "band", AutoAccept(0.1, Decimal("20.50"), Decimal(1000))
        ),
        state=AlertState(
            (Watch(AlertKind.BAND, "A", 2, NOW, NOW),), Peak(DAY, 1.25, 1.5), NOW, NOW
        ),
        progress=AutomationProgress(
            DAY, Trigger(ProposalOrigin.ALERT, "x"), uuid4(), uuid4(), NOW, "proposed"
        ),
        version=portfolio.version,
        market="2022-12-30 m",
    )
    return attrs.evolve(plain, **others)


def an_episode(portfolio: ManagedPortfolio, number: int = 1, **others: Any) -> Episode:
    """Return an episode of asset A outside its band, an hour later than the one before."""
    began = NOW + number * HOUR
    plain = Episode(portfolio.id, AlertKind.BAND, "A", number, began, 0.07, 0.05)
    return attrs.evolve(plain, **others)


def an_api_key(owner: UUID, **others: Any) -> ApiKey:
    """Return an API key for everything."""
    plain = ApiKey(uuid4(), owner, "Backup", tuple(Scope), uuid4().hex * 2, NOW, NOW + 24 * HOUR)
    return attrs.evolve(plain, **others)


def a_session(owner: UUID, **others: Any) -> Session:
    """Return a session that starts now."""
    plain = Session.start(uuid4(), owner, "password", NOW, address="192.0.2.0/24", agent="A phone")
    return attrs.evolve(plain, **others)


def a_key(owner: UUID, key: str = "a key", **others: Any) -> IdempotencyKey:
    """Return the result of a request with a key."""
    return attrs.evolve(IdempotencyKey(owner, key, "f" * 64, uuid4(), NOW), **others)


a_job = partial(builders.a_job, request={"policy": "band", "days": 5}, now=NOW)


def a_run(**others: Any) -> BatchRun:
    """Return a new batch run."""
    return attrs.evolve(BatchRun(uuid4(), "t" * 64, "monthly", DAY, NOW), **others)


def stored_user(work: Any, **others: Any) -> User:
    """Store a user."""
    user = a_user(**others)
    with work.begin() as tx:
        tx.users.add(user)
    return user


def a_share(portfolio: ManagedPortfolio, recipient: User | None, **others: Any) -> Share:
    """Return an accepted share for reading; an invitation if its recipient is unknown."""
    email = "unknown@example.org" if recipient is None else recipient.email
    to, accepted = (None, None) if recipient is None else (recipient.id, NOW)
    plain = Share(
        uuid4(),
        portfolio.id,
        portfolio.owner,
        email,
        Right.READ,
        to,
        created=NOW,
        accepted=accepted,
    )
    return attrs.evolve(plain, **others)


def an_import(portfolio: ManagedPortfolio, **others: Any) -> StatementImport:
    """Return an import of one entry."""
    plain = StatementImport(
        uuid4(),
        portfolio.id,
        portfolio.owner,
        "example",
        "statement.csv",
        "d" * 64,
        NOW,
        1,
        {"SIE": "SIE.DE"},
    )
    return attrs.evolve(plain, **others)


def a_saved_profile(owner: UUID, *, name: str = "My bank") -> SavedProfile:
    """Return a saved mapping profile."""
    columns = {Column.DATE: "Day", Column.AMOUNT: "Total", Column.KIND: "What"}
    return SavedProfile(owner, MappingProfile(name, columns, {"kauf": "buy"}), NOW)


def stored_share(
    work: Any, portfolio: ManagedPortfolio, recipient: User | None, **others: Any
) -> Share:
    """Store a share."""
    share = a_share(portfolio, recipient, **others)
    with work.begin() as tx:
        tx.shares.add(share)
    return share


def stored_portfolio(work: Any, owner: User, *entries: Entry, **others: Any) -> ManagedPortfolio:
    """Store a portfolio with its first entries."""
    portfolio = a_managed(owner.id, entries, **others)
    with work.begin() as tx:
        tx.portfolios.add(portfolio, entries)
    return portfolio


def stored_proposal(work: Any, portfolio: ManagedPortfolio, **others: Any) -> ProposalRecord:
    """Store a proposal for a portfolio."""
    record = a_proposal(portfolio, **others)
    with work.begin() as tx:
        tx.proposals.add([record])
    return record


def renamed(portfolio: ManagedPortfolio, name: str = "Another name") -> ManagedPortfolio:
    """Return the next version of a portfolio, with another name."""
    mandate = attrs.evolve(portfolio.mandate, name=name)
    return portfolio.revise(mandate, portfolio.changed + HOUR)


def with_entries(tx: Any, portfolio: ManagedPortfolio, *entries: Entry) -> ManagedPortfolio:
    """Return the next version of a portfolio, with further entries."""
    ledger = tx.portfolios.ledger(portfolio.id).extended_by(entries)
    return portfolio.book(ledger, NOW)


def all_pages(fetch: Callable[[UUID | None], list[Any]], size: int) -> list[Any]:
    """Return all rows, page by page; a page is full unless it is the last."""
    found: list[Any] = []
    page = fetch(None)
    while page:
        assert len(page) <= size
        assert page[0] not in found
        found += page
        page = fetch(page[-1].id)
    return found


def race(do: Callable[[int], object], racers: int = 8) -> list[object]:
    """Run threads that start together; return what each returned or raised."""
    gate = threading.Barrier(racers, timeout=60)

    def run(number: int) -> object:
        gate.wait()
        try:
            return do(number)
        except Exception as error:
            return error

    with ThreadPoolExecutor(racers) as threads:
        return list(threads.map(run, range(racers)))


# Postgres stores no NUL in text.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
names = texts.filter(lambda text: text.strip())
days = st.dates(date(1970, 1, 1), date(2199, 12, 31))
zones = st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours)))
moments = st.datetimes(datetime(1970, 1, 2), datetime(2199, 12, 31), timezones=zones)
fractions = st.floats(0, 1)
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)
edges = ["0.000000000001", "999999999999999", "999999999999999.999999999999", "1E+2", "0.10", "7"]
positive = st.one_of(
    st.sampled_from([Decimal(edge) for edge in edges]),
    st.decimals("0.000000000001", "999999999999", places=12),
    st.decimals("0.01", "100000", places=2),
)
amounts = positive | st.sampled_from([Decimal(0), Decimal("0.00")])
signed = st.builds(lambda amount, sign: amount * sign, amounts, st.sampled_from([1, -1]))
symbols = st.sampled_from(["A", "BRK.B", "0700.HK", "ÅÄÖ", "^GSPC", "a"]) | names
currencies = st.sampled_from([Currency(code) for code in ("USD", "JPY", "KWD", "EUR")])
codes = st.sampled_from(["CHF", "GBP", "SEK"])
"""Foreign currencies."""
profiles = st.none() | st.sampled_from(list(RISK_PROFILES.values()))
prices_of = st.dictionaries(symbols, positive, max_size=5)

sale_gains = st.builds(
    SaleGain,
    symbol=symbols,
    method=st.sampled_from(LotMethod),
    proceeds=st.none() | signed,
    cost=st.none() | amounts,
    long_term=st.none() | signed,
)
preferences = st.builds(
    Preferences,
    whole_shares=st.booleans(),
    quantity_step=positive,
    min_trade=amounts,
    do_not_sell=st.frozensets(symbols, max_size=3),
    do_not_buy=st.frozensets(symbols, max_size=3),
    max_turnover=st.none() | fractions,
    cash_reserve=amounts,
    max_weight=st.none() | fractions,
    band=st.none() | fractions,
    max_departure=fractions,
    skip_unprofitable=st.booleans(),
    sell_remainders=st.booleans(),
    lot_method=st.sampled_from(LotMethod),
    max_realised_gain=st.none() | amounts,
    max_realised_gain_year=st.none() | amounts,
)

targets = st.lists(st.tuples(symbols, st.floats(0, 0.2)), max_size=5).map(dict)

mandates = st.builds(
    Mandate,
    name=names,
    currency=currencies,
    targets=targets,
    risk_profile=profiles,
    preferences=preferences,
    acknowledge_limits=st.booleans(),
    corporate_actions=st.sampled_from(ActionBooking),
    conversions=st.sampled_from(Conversions),
)

snapshots = st.builds(
    Portfolio,
    id=names,
    currency=currencies,
    cash=signed,
    holdings=st.dictionaries(symbols, amounts, max_size=5),
    targets=targets,
    risk_profile=profiles,
    cash_flow=signed,
    last_rebalance=st.none() | days,
    preferences=preferences,
    foreign_cash=st.dictionaries(codes, amounts, max_size=2),
    conversions=st.sampled_from(Conversions),
    gain_this_year=signed,
)


def _in_lots(portfolio: Portfolio) -> Portfolio:
    """Give every other portfolio a lot for each holding, some with an unknown cost."""
    held = sorted(symbol for symbol, units in portfolio.holdings.items() if units)
    if len(held) % 2:
        return portfolio
    lots = {
        symbol: (
            SellableLot(
                portfolio.holdings[symbol],
                None if at else Decimal("12.50"),
                portfolio.last_rebalance,
                is_dated=bool(at),
            ),
        )
        for at, symbol in enumerate(held)
    }
    return attrs.evolve(portfolio, lots=lots)


assessments = st.builds(
    Assessment,
    version=texts,
    answers=st.dictionaries(texts, texts, max_size=4),
    willingness=st.floats(0, 100),
    capacity=st.floats(0, 100),
    profile=st.sampled_from(list(RISK_PROFILES.values())),
    unadjusted=st.sampled_from(list(RISK_PROFILES.values())),
    reasons=st.lists(texts, max_size=3).map(tuple),
)

users = st.builds(
    User,
    id=st.builds(uuid4),
    email=st.builds(lambda: f"{uuid4().hex}@bücher.example"),
    name=texts,
    password=st.none() | texts.filter(lambda text: text != "!"),
    created=moments,
    assessment=st.none() | assessments,
    assessed=st.none() | moments,
    role=st.sampled_from(Role),
    disabled=st.none() | moments,
    short_password=st.booleans(),
)


foreign = st.sampled_from([None, "GBP", "CHF"])


@st.composite
def entries(draw: st.DrawFn, *, kinds: Sequence[EntryKind] = tuple(EntryKind)) -> Entry:
    """Draw entries of every kind, with every optional attribute; they need not add up."""
    kind = draw(st.sampled_from(kinds))
    moves = kind in TRADES or (kind in FLOWS and draw(st.booleans()))
    reorganises = kind in REORGANISATIONS
    named = moves or reorganises or kind is EntryKind.RETURN_OF_CAPITAL
    if kind in (EntryKind.DIVIDEND, EntryKind.FEE, EntryKind.TAX):
        named = draw(st.booleans())
    amount = draw(amounts if moves or kind is EntryKind.MERGER else positive)
    currency = draw(foreign)
    more: dict[str, Any] = {}
    if kind in (EntryKind.DIVIDEND, EntryKind.INTEREST):
        more["withheld"] = draw(st.sampled_from([Decimal(0), amount]))
    if reorganises and kind is not EntryKind.RENAME:
        more["ratio"] = draw(st.sampled_from([Decimal("0.25"), Decimal(4), Decimal("0.333333")]))
    if reorganises and kind is not EntryKind.SPLIT:
        more["other"] = f"{draw(symbols)}.X"
    if kind in (EntryKind.SPIN_OFF, EntryKind.MERGER):
        more["cost_share"] = draw(st.none() | st.just(Decimal("0.3")))
    if moves and kind in FLOWS:
        more["cost_basis"] = draw(st.none() | amounts)
    if kind is EntryKind.EXCHANGE:
        more["counter_amount"] = draw(positive)
        more["counter_currency"] = draw(foreign.filter(lambda code: code != currency))
    return Entry(
        id=uuid4(),
        kind=kind,
        on=draw(days),
        recorded=draw(moments),
        amount=Decimal(0) if reorganises and kind is not EntryKind.MERGER else amount,
        currency=currency,
        action=draw(st.none() | texts),
        **more,
        symbol=draw(symbols) if named else None,
        quantity=draw(positive) if moves else Decimal(0),
        price=draw(positive) if moves else None,
        cost=draw(amounts) if kind in TRADES else Decimal(0),
        note=draw(texts),
        partial=draw(st.booleans()),
    )


@st.composite
def ledgers(draw: st.DrawFn) -> Ledger:
    """Draw ledgers that begin with large deposits, so that they are never overdrawn."""
    lines = draw(st.lists(entries(), max_size=3))
    plenty = Decimal("999999999999999")
    first = [
        a_deposit(plenty, on=date(1970, 1, 1), recorded=draw(moments), currency=code)
        for code in (None, "GBP", "CHF")
        for _ in range(7)
    ]
    for symbol in sorted({line.symbol for line in lines if line.quantity and line.symbol}):
        move = a_deposit(1, on=date(1970, 1, 1))
        for _ in range(4):
            first.append(
                attrs.evolve(move, id=uuid4(), symbol=symbol, quantity=plenty, price=Decimal(1))
            )
    return Ledger((*first, *lines) if draw(st.booleans()) or lines else ())


@st.composite
def managed(draw: st.DrawFn, owner: UUID) -> tuple[ManagedPortfolio, Ledger]:
    """Draw portfolios of an owner, with their ledgers."""
    ledger = draw(ledgers())
    positions: Positions = ledger.positions
    return (
        ManagedPortfolio(
            id=uuid4(),
            owner=owner,
            mandate=draw(mandates),
            positions=positions,
            version=draw(st.integers(1, 2**31 - 1)),
            created=draw(moments),
            changed=draw(moments),
            booked_actions=draw(st.none() | texts),
        ),
        ledger,
    )


@st.composite
def proposals(draw: st.DrawFn, portfolio: ManagedPortfolio, run: UUID) -> ProposalRecord:
    """Draw proposals for a portfolio, at every stage."""
    weights = st.dictionaries(symbols, st.floats(0, 1), max_size=5)
    numbers = st.floats(0, 1e6)
    orders = st.builds(
        Order,
        symbol=symbols,
        side=st.sampled_from(Side),
        quantity=positive,
        price=positive,
        value=amounts,
        cost=amounts,
        reason=texts,
        currency=st.none() | codes,
        amount=st.none() | amounts,
        cost_amount=st.none() | amounts,
    )
    conversions = st.builds(
        ConversionOrder,
        from_currency=codes,
        to_currency=codes,
        from_amount=positive,
        to_amount=positive,
        rate=positive,
        cost=amounts,
        automatic=st.booleans(),
    )
    proposal = Proposal(
        portfolio_id=str(portfolio.id),
        status=draw(st.sampled_from(Status)),
        as_of=draw(days),
        policy=draw(texts),
        orders=tuple(draw(st.lists(orders, max_size=3))),
        not_traded=tuple(draw(st.lists(st.builds(NotTraded, symbols, texts), max_size=3))),
        weights_before=draw(weights),
        weights_after=draw(weights),
        cash_after=draw(signed),
        turnover=draw(numbers),
        cost=draw(amounts),
        drift_before=draw(numbers),
        drift_after=draw(numbers),
        volatility_before=draw(st.none() | numbers),
        volatility_after=draw(st.none() | numbers),
        notes=tuple(draw(st.lists(texts, max_size=2))),
        input_hash=draw(hashes),
        conversions=tuple(draw(st.lists(conversions, max_size=2))),
        foreign_cash_after=draw(st.dictionaries(codes, amounts, max_size=2)),
        sale_gains=tuple(draw(st.lists(sale_gains, max_size=2))),
    )
    seen = ProposalInputs(
        portfolio=draw(snapshots.map(_in_lots)),
        planned=draw(signed),
        version=draw(st.integers(1, 2**31 - 1)),
        prices=draw(prices_of),
        market=draw(hashes),
        newest=draw(days),
        costs=draw(texts),
        rates=draw(st.dictionaries(codes, positive, max_size=2)),
        currencies=draw(st.dictionaries(symbols, codes, max_size=2)),
    )
    stage = draw(st.sampled_from(Stage))
    return ProposalRecord(
        id=uuid4(),
        owner=portfolio.owner,
        portfolio_id=portfolio.id,
        proposal=proposal,
        inputs=seen,
        proposed=draw(moments),
        expires=draw(moments),
        stage=stage,
        decided=draw(st.none() | moments),
        executed=draw(moments) if stage is Stage.EXECUTED else None,
        remark=draw(texts),
        run=draw(st.sampled_from([None, run])),
        cancelled=draw(moments) if stage is Stage.CANCELLED else None,
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(texts, json_values, max_size=4)
