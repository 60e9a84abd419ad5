"""An account moves to another installation: its file, read and imported on every store."""

from __future__ import annotations

import io
import re
import zipfile
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from uuid import UUID, uuid4

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.application.account_records import ImportAccount, read_records
from rebalancer.application.valuation import value_portfolio
from rebalancer.domain.alerts.evaluation import AlertState
from rebalancer.domain.backtest.track_record import measure_track_record
from rebalancer.domain.errors import Conflict, InvalidRequest
from rebalancer.domain.market.asset_classes import AssetClass
from rebalancer.domain.portfolio.ledger import EntryKind
from rebalancer.domain.portfolio.mandate import Mandate
from rebalancer.domain.portfolio.models import (
    ModelContent,
    ModelVersion,
    PortfolioModel,
    follow,
)
from rebalancer.domain.portfolio.planned_flows import (
    Every,
    FlowDecision,
    FlowKind,
    FlowOutcome,
    FlowPlan,
    PlannedFlow,
)
from rebalancer.domain.portfolio.questions import load_questionnaire
from rebalancer.domain.portfolio.statement_imports import StatementImport
from rebalancer.domain.portfolio.target_groups import TargetGroup, TargetTree
from rebalancer.domain.rebalancing.lifecycle import ProposalOrigin, Stage
from rebalancer.entrypoints.account_file import account_lines, read_account
from tests import builders
from tests.builders import USD
from tests.contracts import stores
from tests.contracts.stores import (
    DAY,
    NOW,
    a_deposit,
    a_fill,
    a_proposal,
    a_saved_profile,
    a_share,
    an_alert_record,
    stored_portfolio,
    stored_user,
    with_entries,
)

LATER = NOW + timedelta(days=400)
TREE = TargetTree((TargetGroup("Bonds", 0.9, assets={"F": 1.0}, asset_class=AssetClass.BOND),))
MODEL = ModelContent({}, TREE, {"F": {AssetClass.BOND: 1.0}}, band=0.1)
FLOW = PlannedFlow(
    UUID(int=3), FlowKind.DEPOSIT, Decimal("12.50"), Every.MONTH, 31, NOW.date(), NOW.date()
)
ANSWERS = {question.id: question.answers[0].id for question in load_questionnaire().questions}


def exported(work, owner: UUID, now=NOW) -> bytes:
    with work.read() as tx:
        return b"".join(account_lines(read_records(tx, owner), now))


def imported(work, data: bytes, path, *, owner: UUID, now=LATER):
    """Import a file, which is written below a folder first."""
    path.write_bytes(data)
    records = read_account(path, owner=owner)
    ImportAccount(work)(records, owner=owner, now=now)
    return records


def signed(*lines: str) -> bytes:
    """Return the lines of a file with their checks."""
    return b"".join(
        f'{line[:-1]},"check":"{sha256(f"{number}:{line[:-1]}".encode()).hexdigest()[:16]}"}}\n'.encode()
        for number, line in enumerate(lines, 1)
    )


def unsigned(data: bytes) -> list[str]:
    """Return the lines of a file without their checks."""
    return [line[:-28].decode() + "}" for line in data.splitlines()]


def fill_account(work):
    """Store an account with everything that a file holds; return its user."""
    assessment = load_questionnaire().assess(ANSWERS)
    ada = stored_user(
        work, email="ada@example.org", name="Ada =1+1", assessment=assessment, assessed=NOW
    )
    adviser = stored_user(work)
    first = stored_portfolio(work, ada, a_deposit("1000.00", note="=HYPERLINK(1)"))
    record = a_proposal(
        first, stage=Stage.ACCEPTED, decided=NOW, actor=ada.id, origin=ProposalOrigin.ALERT
    )
    rejected = a_proposal(
        first, stage=Stage.REJECTED, decided=NOW, remark="Too much", actor=adviser.id
    )
    closed = stored_portfolio(
        work, ada, a_deposit(5), mandate=Mandate("Old", USD, {"B": 1.0}), created=LATER
    )
    with work.begin() as tx:
        tx.proposals.add([record, rejected])
        fill = a_fill(record)
        tx.proposals.save(
            attrs.evolve(record, stage=Stage.EXECUTED, executed=NOW), expected=Stage.ACCEPTED
        )
        booked = with_entries(tx, first, fill)
        tx.portfolios.save(booked, entries=[fill])
        dividend = attrs.evolve(
            a_deposit("1.23"), kind=EntryKind.DIVIDEND, symbol="A", action="A dividend 2022-12-30"
        )
        wrong = a_deposit(7)
        reversal = wrong.reversal(recorded=NOW, note="Typed twice")
        last = with_entries(tx, booked, dividend, wrong, reversal)
        tx.portfolios.save(last, entries=[dividend, wrong, reversal])
        tx.shares.add(a_share(first, adviser))
        read = StatementImport(
            uuid4(), first.id, ada.id, "generic_csv", "a.csv", "0" * 64, NOW, 1, {"X": "A"}, LATER
        )
        tx.imports.add(read, [dividend.id])
        tx.profiles.save(a_saved_profile(ada.id))
        alerts = an_alert_record(first)
        waits = attrs.evolve(alerts.automation, auto_accept=None)
        tx.alerts.save_settings(attrs.evolve(alerts, automation=waits))
        tx.portfolios.close(closed.id, owner=ada.id, version=1, now=NOW)
    return ada


def add_plan_and_model(work, ada):
    """Let a portfolio of an account follow a model, and plan flows."""
    with work.begin() as tx:
        last = tx.portfolios.page(ada.id, limit=1)[0]
        (paid, *_) = tx.portfolios.entries(last.id, limit=1)
        model = PortfolioModel(uuid4(), ada.id, "Ä =1", 1, 1, NOW, NOW)
        tx.models.add(model, [ModelVersion(model.id, ada.id, 1, MODEL, NOW, "Erste")])
        tx.models.save(*model.publish(ModelContent({"A": 1.0}), "", LATER))
        planned = last.replan(FlowPlan((FLOW,), horizon=30, automatic=True), NOW)
        tx.portfolios.save(planned)
        version = tx.models.version(model.id, 1)
        following = follow(version, planned.mandate, None, pinned=True)
        mandate = version.content.apply_to(planned.mandate)
        tx.portfolios.save(planned.adopt(mandate, following, NOW))
        for day, entry in ((FLOW.first, paid.id), (DAY, None)):
            outcome = FlowOutcome.SKIPPED if entry is None else FlowOutcome.MATCHED
            tx.flow_decisions.put(FlowDecision(last.id, FLOW.id, day, outcome, NOW, entry))


def content(work, owner: UUID):
    """Return what an account holds, without the ids of its owner."""
    with work.read() as tx:
        portfolios = tx.portfolios.of_owner(owner, limit=99)
        return (
            [attrs.evolve(one, owner=UUID(int=0)) for one in portfolios],
            [tx.portfolios.ledger(one.id).entries for one in portfolios],
            [
                attrs.evolve(one, owner=UUID(int=0), actor=None, run=None)
                for one in tx.proposals.of_owner(owner, limit=999)
            ],
            [
                (one.id, one.email, one.right)
                for p in portfolios
                for one in tx.shares.of_portfolio(p.id)
            ],
            [
                (attrs.evolve(one, owner=UUID(int=0)), tx.imports.entries(one.id))
                for p in portfolios
                for one in tx.imports.page(p.id, limit=99)
            ],
            [(one.profile, one.changed) for one in tx.profiles.of_owner(owner)],
            [(one.portfolio, one.settings, one.automation) for one in tx.alerts.of_owner(owner)],
            [
                (
                    attrs.evolve(one, owner=UUID(int=0)),
                    [attrs.evolve(v, owner=UUID(int=0)) for v in tx.models.versions(one.id)],
                )
                for one in tx.models.page(owner, limit=99)
            ],
            tx.flow_decisions.of_portfolios([one.id for one in portfolios]),
            tx.portfolios.closings(owner),
            tx.users.get(owner).assessment,
        )


def test_account_is_the_same_in_another_installation(make, tmp_path):
    work, other = make(), make()
    ada = fill_account(work)
    add_plan_and_model(work, ada)
    data = exported(work, ada.id)
    there = stored_user(other, email=ada.email, name="")
    records = imported(other, data, tmp_path / "account.jsonl", owner=there.id)
    assert (len(records.portfolios), records.entries, len(records.proposals)) == (2, 6, 2)
    assert content(other, there.id) == content(work, ada.id)
    again = exported(other, there.id, LATER)
    assert again.splitlines()[1:] == data.splitlines()[1:]
    assert again.splitlines()[0] != data.splitlines()[0]
    with other.read() as tx:
        (share,) = tx.shares.of_portfolio(records.portfolios[0].portfolio.id)
        assert (share.accepted, share.recipient) == (None, None)
        assert [one.action for one in tx.audit.page(there.id, limit=9)] == ["account_imported"]


def test_automatic_acceptance_is_off_after_a_move(make, tmp_path):
    work, other = make(), make()
    ada = fill_account(work)
    with work.begin() as tx:
        (known,) = tx.alerts.of_owner(ada.id)
        limits = an_alert_record(tx.portfolios.get(known.portfolio)).automation
        tx.alerts.save_settings(attrs.evolve(known, automation=limits))
    there = stored_user(other, email=ada.email, name="")
    imported(other, exported(work, ada.id), tmp_path / "account.jsonl", owner=there.id)
    with other.read() as tx:
        (found,) = tx.alerts.of_owner(there.id)
    assert found.automation == attrs.evolve(limits, auto_accept=None)
    assert (found.state, found.version) == (AlertState(), None)


def test_second_import_changes_nothing(make, tmp_path):
    work = make()
    ada = fill_account(work)
    data = exported(work, ada.id)
    bob = stored_user(work, email="bob@example.org", name="")
    with pytest.raises(Conflict, match="2 of the 2 portfolios exist here already"):
        imported(work, data, tmp_path / "account.jsonl", owner=bob.id)
    assert content(work, bob.id)[0] == []
    assert exported(work, ada.id) == data


def test_import_joins_other_portfolios_of_the_account(make, tmp_path):
    work, other = make(), make()
    ada = fill_account(work)
    there = stored_user(other, email=ada.email)
    own = stored_portfolio(other, there, a_deposit(3))
    imported(other, exported(work, ada.id), tmp_path / "account.jsonl", owner=there.id)
    with other.read() as tx:
        assert tx.portfolios.get(own.id, owner=there.id) == own
        assert tx.portfolios.count(there.id) == 2
        assert tx.users.get(there.id).name == there.name


def test_failure_within_an_import_leaves_nothing(make, tmp_path):
    work, other = make(), make()
    ada = fill_account(work)
    there = stored_user(other, email=ada.email, name="")
    path = tmp_path / "account.jsonl"
    path.write_bytes(exported(work, ada.id))
    records = read_account(path, owner=there.id)
    broken = attrs.evolve(
        records.portfolios[0], entries=(*records.portfolios[0].entries, a_deposit(1))
    )
    records = attrs.evolve(records, portfolios=(*records.portfolios[1:], broken))
    with pytest.raises(RuntimeError, match="does not agree with its ledger"):
        ImportAccount(other)(records, owner=there.id, now=LATER)
    assert content(other, there.id) == ([], [], [], [], [], [], [], [], {}, {}, None)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_generated_accounts_survive_the_move(tmp_path_factory, data):
    work, other = MemoryWork(), MemoryWork()
    ada = stored_user(work, email="ada@example.org")
    there = stored_user(other, email="ada@example.org")
    with work.begin() as tx:
        for _ in range(data.draw(st.integers(0, 2))):
            portfolio, ledger = data.draw(stores.managed(ada.id))
            tx.portfolios.add(portfolio, ledger.entries)
            tx.proposals.add(data.draw(st.lists(stores.proposals(portfolio, uuid4()), max_size=2)))
    file = exported(work, ada.id)
    imported(other, file, tmp_path_factory.mktemp("file") / "account.jsonl", owner=there.id)
    assert content(other, there.id) == content(work, ada.id)
    assert exported(other, there.id, LATER).splitlines()[1:] == file.splitlines()[1:]


MARKET = builders.varied_prices()
HELD = ("A", "B", "C", "D")
DAYS = [day.item() for day in MARKET.dates[-60:-1:3]]


@st.composite
def histories(draw):
    """Draw ledgers of deposits, trades, income, charges, splits and reversals; none is overdrawn.

    All are on days of `MARKET`.
    """
    found = [a_deposit("100000.00", on=DAYS[0])]
    cents = st.integers(1, 90_000).map(lambda number: Decimal(number) / 100)
    for day in sorted(draw(st.lists(st.sampled_from(DAYS), max_size=12))):
        kind = draw(st.sampled_from(["buy", "dividend", "fee", "withdrawal", "split", "void"]))
        symbol, amount = draw(st.sampled_from(HELD)), draw(cents)
        entry = attrs.evolve(a_deposit(amount), on=day)
        if kind == "void":
            voided = {one.voids for one in found}
            last = found[-1]
            if len(found) > 1 and last.voids is None and last.id not in voided:
                found.append(last.reversal(recorded=NOW))
            continue
        if kind == "buy":
            quantity = draw(st.integers(1, 500).map(lambda number: Decimal(number) / 8))
            entry = attrs.evolve(
                entry,
                kind=EntryKind.BUY,
                symbol=symbol,
                quantity=quantity,
                price=(amount / quantity).quantize(Decimal("0.000001")) or Decimal("0.000001"),
                cost=draw(st.sampled_from([Decimal(0), Decimal("1.00")])),
            )
        elif kind == "split":
            entry = attrs.evolve(
                entry, kind=EntryKind.SPLIT, symbol=symbol, ratio=Decimal(2), amount=Decimal(0)
            )
        elif kind == "dividend":
            entry = attrs.evolve(entry, kind=EntryKind.DIVIDEND, symbol=symbol, withheld=amount / 4)
        else:
            entry = attrs.evolve(entry, kind=EntryKind(kind))
        found.append(entry)
    return found


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories())
def test_values_and_returns_are_the_same_after_the_move(tmp_path_factory, entries):
    work, other = MemoryWork(), MemoryWork()
    ada, there = (stored_user(one, email="ada@example.org") for one in (work, other))
    mandate = Mandate("Pension", USD, {"A": 0.5, "B": 0.3})
    portfolio = stored_portfolio(work, ada, *entries, mandate=mandate)
    path = tmp_path_factory.mktemp("file") / "account.jsonl"
    imported(other, exported(work, ada.id), path, owner=there.id)

    def measured(work):
        with work.read() as tx:
            found, ledger = tx.portfolios.get(portfolio.id), tx.portfolios.ledger(portfolio.id)
        record = measure_track_record(ledger, found.mandate.targets, MARKET)
        valued = value_portfolio(found, MARKET, work)
        return found.positions, valued.value, repr(record)

    assert measured(other) == measured(work)


@pytest.fixture
def lines():
    work = MemoryWork()
    return unsigned(exported(work, fill_account(work).id))


def refusal(data: bytes, tmp_path) -> str:
    path = tmp_path / "account.jsonl"
    path.write_bytes(data)
    with pytest.raises(InvalidRequest) as caught:
        read_account(path, owner=uuid4())
    return caught.value.message


def test_every_changed_byte_is_found_on_its_line(lines, tmp_path):
    data = signed(*lines)
    for at in range(0, len(data), 97):
        damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        line = data[:at].count(b"\n") + 1
        assert f"line {line}: " in refusal(damaged, tmp_path), at


def test_file_that_is_cut_off_is_refused_where_it_ends(lines, tmp_path):
    data = signed(*lines)
    whole = data.splitlines(keepends=True)
    for kept in range(len(whole)):
        message = refusal(b"".join(whole[:kept]), tmp_path)
        assert f"line {kept + 1}: the file ends here" in message
    assert f"line {len(whole)}: the line is damaged or cut off" in refusal(data[:-1], tmp_path)


def test_moved_and_missing_lines_are_found(lines, tmp_path):
    whole = signed(*lines).splitlines(keepends=True)
    swapped = [*whole[:3], whole[4], whole[3], *whole[5:]]
    assert "line 4: the line was changed or moved" in refusal(b"".join(swapped), tmp_path)
    assert "line 3: the line was changed" in refusal(b"".join(whole[:2] + whole[3:]), tmp_path)
    assert "text follows the last record" in refusal(b"".join(whole) + whole[-1], tmp_path)


def test_newer_file_names_its_version_and_the_remedy(lines, tmp_path):
    newer = lines[0].replace('"version":1', '"version":2')
    message = refusal(signed(newer, *lines[1:]), tmp_path)
    assert message == (
        "account.jsonl, line 1: the file has version 2; this installation reads versions up to 1. "
        "Upgrade rebalancer"
    )


@pytest.mark.parametrize(
    ("line", "old", "new", "problem"),
    [
        (0, '"rebalancer account"', '"another"', "this is not an exported account"),
        (1, '"record":"owner"', '"record":"pet"', "unknown record 'pet'"),
        (1, '"name":"Ada =1+1"', '"name":7', "the record is invalid"),
        (2, '"A":0.6', '"A":6', "the record is invalid: targets.A: 6.0 is not between 0 and 1"),
        (
            2,
            '"whole_shares":',
            '"shares_of":1,"whole_shares":',
            "unknown field 'shares_of'; upgrade",
        ),
        (4, '"kind":', '"lot":"1","kind":', "unknown field 'lot'; upgrade rebalancer"),
        (2, '"cash":"901.13"', '"cash":"901.14"', "are not those of its ledger"),
        (3, '"amount":"7"', '"amount":"-7"', "the record is invalid: amount: -7"),
        (6, '"amount":"100.00"', '"amount":"9100.00"', "does not add up"),
    ],
)
def test_record_that_contradicts_a_rule_is_refused(lines, tmp_path, line, old, new, problem):
    assert old in lines[line], lines[line]
    message = refusal(
        signed(*lines[:line], lines[line].replace(old, new), *lines[line + 1 :]), tmp_path
    )
    assert problem in message


def test_records_that_refer_to_missing_ones_are_refused(lines, tmp_path):
    kinds = [line.partition('"record":"')[2].partition('"')[0] for line in lines]
    reversal = kinds.index("entry")
    end = f'{{"record":"end","lines":{len(lines) - 1}}}'
    without_voided = [*lines[: reversal + 1], *lines[reversal + 2 : -1], end]
    assert f"line {reversal + 1}: entry" in refusal(signed(*without_voided), tmp_path)
    proposals = [at for at, kind in enumerate(kinds) if kind == "proposal"]
    executed = next(at for at in proposals if '"stage":"executed"' in lines[at])
    without_proposal = [*lines[:executed], *lines[executed + 1 : -1], end]
    assert "executes proposal" in refusal(signed(*without_proposal), tmp_path)
    read = kinds.index("import")
    unknown = re.sub('"entry_ids":\\["[0-9a-f]{8}', '"entry_ids":["00000000', lines[read])
    message = refusal(signed(*lines[:read], unknown, *lines[read + 1 :]), tmp_path)
    assert f"line {read + 1}: import" in message


def test_other_files_are_refused(tmp_path):
    assert "line 1: the file ends here" in refusal(b"", tmp_path)
    assert "not an exported account" in refusal(b"id,name\n1,Ada\n", tmp_path)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("manifest.json", "{}")
    assert "does not contain account.jsonl" in refusal(file.getvalue(), tmp_path)
    assert "is a damaged archive" in refusal(file.getvalue()[:40] + file.getvalue()[60:], tmp_path)
    with pytest.raises(InvalidRequest, match="cannot read"):
        read_account(tmp_path / "missing.zip", owner=uuid4())


def test_shares_become_invitations_of_the_accounts_here(make, tmp_path):
    work, other = make(), make()
    ada, bob = stored_user(work, email="ada@example.org"), stored_user(work, email="bob@x.example")
    portfolio = stored_portfolio(work, ada)
    with work.begin() as tx:
        tx.shares.add(a_share(portfolio, bob))
    there, here = (stored_user(other, email=one.email) for one in (ada, bob))
    imported(other, exported(work, ada.id), tmp_path / "account.jsonl", owner=there.id)
    with other.read() as tx:
        (share,) = tx.shares.received(here.id, limit=9)
        assert (share.portfolio, share.accepted) == (portfolio.id, None)


def test_remarks_of_proposals_are_exported_as_text(make):
    work = make()
    ada = fill_account(work)
    with work.read() as tx:
        assert "Too much" in {one.remark for one in tx.proposals.of_owner(ada.id, limit=9)}
    assert DAY.isoformat().encode() in exported(work, ada.id)


GOLDEN = Path(__file__).parent.parent / "golden" / "account_1.jsonl"


def test_file_of_the_first_version_is_still_read():
    """It was written by the version that introduced the format."""
    work = MemoryWork()
    ada = stored_user(work, email="ada@example.org", name="")
    ImportAccount(work)(read_account(GOLDEN, owner=ada.id), owner=ada.id, now=LATER)
    with work.read() as tx:
        pension, old = tx.portfolios.of_owner(ada.id, limit=9)
        assert pension.mandate == Mandate("Pension", USD, {"A": 0.6, "B": 0.4})
        assert pension.positions.cash == Decimal("901.13")
        assert pension.positions.holdings == {"A": Decimal(1)}
        assert (list(tx.portfolios.closings(ada.id)), old.mandate.name) == ([old.id], "Old")
        stages = {one.stage: one for one in tx.proposals.of_owner(ada.id, limit=9)}
        assert set(stages) == {Stage.EXECUTED, Stage.REJECTED}
        assert stages[Stage.EXECUTED].actor == ada.id
        assert tx.users.get(ada.id).assessment is not None
