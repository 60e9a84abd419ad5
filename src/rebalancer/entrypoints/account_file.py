"""The file with which an account moves to another installation: JSON Lines, one record a line.

Each line ends with a check of its text and number, so that a damaged, missing or repeated line is
found where it is. docs/export.md describes the records.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from uuid import UUID

import attrs
import msgspec

from rebalancer.application.account_records import (
    OWNER,
    RECORDS_VERSION,
    AccountRecords,
    ImportRecord,
    Invitation,
    ModelRecord,
    OwnerRecord,
    PortfolioRecord,
    Row,
    plain,
)
from rebalancer.domain.alerts.automation import AutomationSettings
from rebalancer.domain.alerts.record import AlertRecord
from rebalancer.domain.alerts.settings import AlertSettings
from rebalancer.domain.errors import InvalidRequest, RebalancerError
from rebalancer.domain.portfolio.following import Following
from rebalancer.domain.portfolio.goals import SavingsGoal
from rebalancer.domain.portfolio.ledger import Entry, Ledger, Positions
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, Mandate
from rebalancer.domain.portfolio.mapping_profiles import profile_of
from rebalancer.domain.portfolio.models import ModelContent, ModelVersion, PortfolioModel
from rebalancer.domain.portfolio.planned_flows import NO_PLAN, FlowDecision, FlowPlan
from rebalancer.domain.portfolio.saved_profiles import SavedProfile
from rebalancer.domain.portfolio.statement_imports import StatementImport
from rebalancer.domain.rebalancing.lifecycle import (
    UNACCEPTED,
    ProposalInputs,
    ProposalOrigin,
    ProposalRecord,
    Stage,
)
from rebalancer.domain.rebalancing.model import Proposal

FILE_NAME = "account.jsonl"
"""Name in the archive of an account."""

_FORMAT = "rebalancer account"
_CHECK = re.compile(rb',"check":"([0-9a-f]{16})"\}')
_CHECK_LENGTH = 28
_LARGEST = 2_000_000_000
"""Bytes of a file in an archive beyond which it is not read."""

T = TypeVar("T")


def account_lines(records: Iterable[Row], now: datetime) -> Iterator[bytes]:
    """Yield the lines of a file; only the first one depends on the time."""
    header = {"record": "header", "format": _FORMAT, "version": RECORDS_VERSION}
    yield _line(1, {**header, "created": now.isoformat()})
    number = 1
    for number, row in enumerate(records, 2):
        yield _line(number, row)
    yield _line(number + 1, {"record": "end", "lines": number + 1})


def _line(number: int, row: Row) -> bytes:
    body = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()[:-1]
    return body + b',"check":"' + _check(number, body) + b'"}\n'


def _check(number: int, body: bytes) -> bytes:
    return sha256(b"%d:%b" % (number, body)).hexdigest()[:16].encode()


def read_account(path: Path, *, owner: UUID) -> AccountRecords:
    """Read a file, or the archive that contains it.

    Args:
        path: Of the file.
        owner: Account of this installation to which the records will belong.

    Raises:
        InvalidRequest: the file cannot be read, or is damaged, incomplete, contradictory or of a
            newer version; the message names the line.
    """
    try:
        with path.open("rb") as file:
            if zipfile.is_zipfile(file):
                return _read_archive(path, file, owner)
            file.seek(0)
            return _Reader(path.name, owner).read(file)
    except OSError as error:
        raise InvalidRequest(
            f"cannot read {path}: {error.strerror}", field="file", code="file_unreadable"
        ) from None


def _read_archive(path: Path, file: Any, owner: UUID) -> AccountRecords:
    try:
        with zipfile.ZipFile(file) as archive:
            if archive.getinfo(FILE_NAME).file_size > _LARGEST:
                raise _refusal(f"{FILE_NAME} in {path} exceeds {_LARGEST} bytes; extract it first")
            with archive.open(FILE_NAME) as member:
                return _Reader(FILE_NAME, owner).read(member)
    except KeyError:
        raise _refusal(
            f"{path} does not contain {FILE_NAME}; export the account again with this version"
        ) from None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise _refusal(f"{path} is a damaged archive ({error}); export the account again") from None


def _refusal(message: str) -> InvalidRequest:
    return InvalidRequest(message, field="file", code="account_file_invalid")


@attrs.frozen
class _Header:
    format: str
    version: int
    created: datetime


@attrs.frozen
class _End:
    lines: int


@attrs.frozen
class _PortfolioLine:
    id: UUID
    created: datetime
    changed: datetime
    version: int
    mandate: Mandate
    positions: Positions
    booked_actions: str | None
    closed: datetime | None
    plan: FlowPlan = NO_PLAN
    following: Following | None = None
    goals: tuple[SavingsGoal, ...] = ()


@attrs.frozen
class _VersionOfModel:
    number: int
    content: ModelContent
    created: datetime
    note: str


@attrs.frozen
class _ModelLine:
    id: UUID
    name: str
    version: int
    latest: int
    created: datetime
    changed: datetime
    versions: tuple[_VersionOfModel, ...]


@attrs.frozen
class _ProposalLine:
    id: UUID
    portfolio_id: UUID
    stage: Stage
    proposed: datetime
    expires: datetime
    decided: datetime | None
    executed: datetime | None
    cancelled: datetime | None
    remark: str
    proposal: Proposal
    inputs: ProposalInputs
    actor: str | None
    origin: ProposalOrigin | None = None


@attrs.frozen
class _AlertsLine:
    portfolio: UUID
    changed: datetime
    settings: AlertSettings
    automation: AutomationSettings


@attrs.frozen
class _ImportLine:
    id: UUID
    portfolio: UUID
    layout: str
    file_name: str
    sha256: str
    created: datetime
    entries: int
    mapping: dict[str, str]
    undone: datetime | None
    entry_ids: tuple[UUID, ...]


@attrs.frozen
class _ProfileLine:
    name: str
    profile: dict[str, Any]
    changed: datetime


@attrs.define
class _Ledger:
    """A portfolio whose entries are being read, the latest first."""

    line: int
    portfolio: _PortfolioLine
    entries: list[Entry] = attrs.field(factory=list)
    lines: dict[UUID, int] = attrs.field(factory=dict)
    decisions: list[FlowDecision] = attrs.field(factory=list)


class _Reader:
    """Reads the lines of one file."""

    def __init__(self, name: str, owner: UUID) -> None:
        self._name, self._owner = name, owner
        self._number = 0
        self._header: _Header | None = None
        self._account: OwnerRecord | None = None
        self._ledgers: dict[UUID, _Ledger] = {}
        self._invitations: dict[UUID, Invitation] = {}
        self._models: dict[UUID, ModelRecord] = {}
        self._alerts: dict[UUID, AlertRecord] = {}
        self._imports: dict[UUID, ImportRecord] = {}
        self._proposals: dict[UUID, ProposalRecord] = {}
        self._profiles: dict[UUID, SavedProfile] = {}
        self._ended = False

    def read(self, file: Iterable[bytes]) -> AccountRecords:
        """Return the records of all lines."""
        for self._number, line in enumerate(file, 1):
            if self._ended:
                self._refuse("text follows the last record; export the account again")
            self._take(line)
        if not self._ended or self._account is None:
            self._number += 1
            self._refuse("the file ends here, before its last record; copy it again in full")
        return AccountRecords(
            self._account,
            tuple(self._finish(one) for one in self._ledgers.values()),
            tuple(self._invitations.values()),
            tuple(self._proposals.values()),
            tuple(self._imports.values()),
            tuple(self._models.values()),
            tuple(self._profiles.values()),
            tuple(self._alerts.values()),
        )

    def _take(self, line: bytes) -> None:
        text = line.rstrip(b"\r\n")
        end = _CHECK.fullmatch(text, max(len(text) - _CHECK_LENGTH, 0))
        if end is None or not line.endswith(b"\n"):
            what = "a JSON record with its check" if self._number > 1 else "an exported account"
            self._refuse(f"the line is damaged or cut off: it is not {what}; copy the file again")
        body = text[: end.start()]
        try:
            row = msgspec.json.decode(body + b"}")
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._refuse(f"the line is not JSON ({error}); copy the file again")
        kind = row.pop("record", None) if isinstance(row, dict) else None
        if self._header is None:
            self._open(kind, row)
        if _check(self._number, body) != end.group(1):
            self._refuse(
                "the line was changed or moved, or a line before it is missing; copy the file again"
            )
        handler = _HANDLERS.get(kind) if isinstance(kind, str) else None
        if handler is None:
            self._refuse(f"unknown record {kind!r}; upgrade rebalancer")
        if kind not in ("header", "owner") and self._account is None:
            self._refuse("the record of the owner is missing; export the account again")
        handler(self, row)

    def _open(self, kind: object, row: Any) -> None:
        """Check the first line before its check, whose rule may depend on the version."""
        if kind != "header" or row.get("format") != _FORMAT:
            self._refuse(
                f"this is not an exported account; choose {FILE_NAME} or the archive it is in"
            )
        version = row.get("version")
        if isinstance(version, int) and version > RECORDS_VERSION:
            raise InvalidRequest(
                f"{self._name}, line {self._number}: the file has version {version}; this "
                f"installation reads versions up to {RECORDS_VERSION}. Upgrade rebalancer",
                field="file",
                code="account_file_newer",
            )

    def _header_line(self, row: Any) -> None:
        if self._header is not None:
            self._refuse("the header is repeated; export the account again")
        self._header = self._convert(row, _Header)

    def _owner_line(self, row: Any) -> None:
        if self._account is not None:
            self._refuse("the record of the owner is repeated; export the account again")
        self._account = self._convert(row, OwnerRecord)

    def _model_line(self, row: Any) -> None:
        found = self._convert(row, _ModelLine)
        self._check_new(found.id, self._models, "model")
        if [one.number for one in found.versions] != list(range(1, found.latest + 1)):
            self._refuse(f"versions of model {found.id} are missing; export the account again")
        times = found.created, found.changed
        model = PortfolioModel(
            found.id, self._owner, found.name, found.version, found.latest, *times
        )
        self._models[found.id] = ModelRecord(
            model,
            tuple(
                ModelVersion(found.id, self._owner, one.number, one.content, one.created, one.note)
                for one in found.versions
            ),
        )

    def _portfolio_line(self, row: Any) -> None:
        _complete(row, "mandate", "currency")
        found = self._convert(row, _PortfolioLine)
        self._check_new(found.id, self._ledgers, "portfolio")
        following = found.following
        if following is not None:
            known = self._models.get(following.model)
            if known is None or following.version > known.model.latest:
                self._refuse(
                    f"portfolio {found.id} follows version {following.version} of model "
                    f"{following.model}, which no earlier line describes"
                )
        self._ledgers[found.id] = _Ledger(self._number, found)

    def _entry_line(self, row: Any) -> None:
        ledger = self._ledger(self._convert(row.pop("portfolio", None), UUID))
        entry = self._convert(row, Entry)
        self._check_new(entry.id, ledger.lines, "entry")
        ledger.entries.append(entry)
        ledger.lines[entry.id] = self._number

    def _flow_decision_line(self, row: Any) -> None:
        found = self._convert(row, FlowDecision)
        ledger = self._ledger(found.portfolio)
        known = ((one.flow, one.scheduled) for one in ledger.decisions)
        if (found.flow, found.scheduled) in known:
            self._refuse(
                f"the decision about {found.scheduled} is repeated; export the account again"
            )
        if found.entry is not None and found.entry not in ledger.lines:
            self._refuse(
                f"the decision about {found.scheduled} names entry {found.entry}, which the "
                "portfolio lacks"
            )
        ledger.decisions.append(found)

    def _share_line(self, row: Any) -> None:
        found = self._convert(row, Invitation)
        self._ledger(found.portfolio)
        self._check_new(found.id, self._invitations, "share")
        self._invitations[found.id] = found

    def _alerts_line(self, row: Any) -> None:
        found = self._convert(row, _AlertsLine)
        self._ledger(found.portfolio)
        self._check_new(found.portfolio, self._alerts, "alerts of portfolio")
        automation = attrs.evolve(found.automation, auto_accept=None)  # it needs a proof here
        self._alerts[found.portfolio] = AlertRecord(
            found.portfolio,
            self._owner,
            changed=found.changed,
            due=found.changed,
            settings=found.settings,
            automation=automation,
        )

    def _import_line(self, row: Any) -> None:
        found = self._convert(row, _ImportLine)
        ledger = self._ledger(found.portfolio)
        self._check_new(found.id, self._imports, "import")
        unknown = [id for id in found.entry_ids if id not in ledger.lines]
        if unknown:
            self._refuse(f"import {found.id} added entry {unknown[0]}, which the portfolio lacks")
        fields = attrs.asdict(found, filter=lambda field, _: field.name != "entry_ids")
        record = StatementImport(**fields, owner=self._owner)
        self._imports[found.id] = ImportRecord(record, found.entry_ids)

    def _profile_line(self, row: Any) -> None:
        found = self._convert(row, _ProfileLine)
        try:
            saved = SavedProfile(self._owner, profile_of(found.profile), found.changed)
        except RebalancerError as error:
            self._refuse(f"the record is invalid: {error}")
        self._check_new(saved.id, self._profiles, "mapping profile")
        self._profiles[saved.id] = saved

    def _proposal_line(self, row: Any) -> None:
        _complete(row, "inputs", "portfolio", "currency")
        found = self._convert(row, _ProposalLine)
        self._ledger(found.portfolio_id)
        self._check_new(found.id, self._proposals, "proposal")
        if (found.stage is Stage.EXECUTED) != (found.executed is not None) or (
            found.stage is Stage.CANCELLED
        ) != (found.cancelled is not None):
            self._refuse(f"proposal {found.id} is {found.stage}, which contradicts its times")
        actor: UUID | None = None
        if found.actor is not None:
            actor = self._owner if found.actor == OWNER else self._convert(found.actor, UUID)
        fields = {
            field.name: getattr(found, field.name)
            for field in attrs.fields(_ProposalLine)
            if field.name != "actor"
        }
        self._proposals[found.id] = ProposalRecord(**fields, owner=self._owner, actor=actor)

    def _end_line(self, row: Any) -> None:
        if self._convert(row, _End).lines != self._number:
            self._refuse("lines are missing before the last record; copy the file again")
        self._ended = True

    def _finish(self, read: _Ledger) -> PortfolioRecord:
        """Return a portfolio after the checks between its records."""
        line, entries = read.portfolio, tuple(reversed(read.entries))
        seen: dict[UUID, Entry] = {}
        for entry in entries:
            self._number = read.lines[entry.id]
            if entry.voids is not None:
                voided = seen.get(entry.voids)
                if voided is None or voided.voids is not None:
                    self._refuse(f"entry {entry.id} voids an entry that the portfolio lacks")
            if entry.proposal is not None:
                self._check_execution(entry, line)
            seen[entry.id] = entry
        self._number = read.line
        try:
            positions = Ledger(entries).positions
        except RebalancerError as error:
            self._refuse(f"the ledger of portfolio {line.id} does not add up: {error.message}")
        if positions != line.positions:
            self._refuse(f"the positions of portfolio {line.id} are not those of its ledger")
        if line.version < 1:
            self._refuse(f"version {line.version} of portfolio {line.id} is below 1")
        return PortfolioRecord(
            ManagedPortfolio(
                line.id,
                self._owner,
                line.mandate,
                line.positions,
                line.version,
                line.created,
                line.changed,
                line.booked_actions,
                line.plan,
                line.following,
                line.goals,
            ),
            entries,
            line.closed,
            tuple(read.decisions),
        )

    def _check_execution(self, entry: Entry, portfolio: _PortfolioLine) -> None:
        assert entry.proposal is not None
        proposal = self._proposals.get(entry.proposal)
        if (
            proposal is None
            or proposal.portfolio_id != portfolio.id
            or proposal.stage in UNACCEPTED
            or portfolio.version == 1
        ):
            self._refuse(
                f"entry {entry.id} executes proposal {entry.proposal}, which the portfolio lacks "
                "or never accepted"
            )

    def _ledger(self, portfolio: UUID) -> _Ledger:
        found = self._ledgers.get(portfolio)
        if found is None:
            self._refuse(f"no earlier line describes portfolio {portfolio}, which the record names")
        return found

    def _check_new(self, id: UUID, known: Iterable[UUID], what: str) -> None:
        if id in known:
            self._refuse(f"{what} {id} is repeated; export the account again")

    def _convert(self, value: Any, type: type[T]) -> T:
        try:
            found = msgspec.convert(value, type)
        except (msgspec.ValidationError, RebalancerError, ValueError, ArithmeticError) as error:
            self._refuse(f"the record is invalid: {error}")
        unknown = _find_unknown(value, plain(found))
        if unknown is not None:
            self._refuse(f"unknown field {unknown!r}; upgrade rebalancer")
        return found

    def _refuse(self, problem: str) -> NoReturn:
        raise _refusal(f"{self._name}, line {self._number}: {problem}")


def _complete(row: Any, *path: str) -> None:
    """Add what objects derive themselves, which msgspec expects and they overwrite."""
    for name in path:
        row = row.get(name) if isinstance(row, dict) else None
        if isinstance(row, dict):
            row.update(_DERIVED.get(name, {}))


def _find_unknown(row: Any, known: Any) -> str | None:
    """Return the first name in a record that was not understood and would be lost."""
    if isinstance(row, dict) and isinstance(known, dict):
        for name, value in row.items():
            if name not in known:
                if name not in _DERIVED_NAMES:
                    return str(name)
            elif (unknown := _find_unknown(value, known[name])) is not None:
                return unknown
    elif isinstance(row, list) and isinstance(known, list):
        pairs = zip(row, known, strict=False)
        return next((name for one in pairs if (name := _find_unknown(*one)) is not None), None)
    return None


_DERIVED: dict[str, dict[str, Any]] = {
    "currency": {"minor_unit": "0"},
    "portfolio": {"symbols": []},
}
_DERIVED_NAMES = frozenset(name for names in _DERIVED.values() for name in names)

_HANDLERS: dict[str, Callable[[_Reader, Any], None]] = {
    "header": _Reader._header_line,
    "owner": _Reader._owner_line,
    "portfolio": _Reader._portfolio_line,
    "entry": _Reader._entry_line,
    "alerts": _Reader._alerts_line,
    "share": _Reader._share_line,
    "model": _Reader._model_line,
    "flow_decision": _Reader._flow_decision_line,
    "import": _Reader._import_line,
    "mapping_profile": _Reader._profile_line,
    "proposal": _Reader._proposal_line,
    "end": _Reader._end_line,
}
