"""Changes of a portfolio: a whole new mandate, or a merge patch of some of its fields."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from rebalancer.domain.errors import InvalidRequest, combine
from rebalancer.domain.portfolio.mandate import LONGEST_NAME, ManagedPortfolio, Mandate
from rebalancer.entrypoints.schemas.decoding import decode_request
from rebalancer.entrypoints.schemas.parameters import ProfileName
from rebalancer.entrypoints.schemas.portfolio import (
    MandateBody,
    PortfolioView,
    PreferencesBody,
    preferences_view,
)
from rebalancer.entrypoints.schemas.target_groups import (
    ClassName,
    TargetTreeBody,
    look_through_record,
    tree_record,
)
from rebalancer.entrypoints.schemas.wire import (
    CURRENCY,
    Body,
    Fraction,
    OneLine,
    Symbol,
    about,
    format_decimal,
    json_line,
    shorten,
)

READ_ONLY = tuple(
    name for name in PortfolioView.__struct_fields__ if name not in MandateBody.__struct_fields__
)
"""Fields of a response that a request may repeat, but not change."""

_Any = Annotated[Any, Meta(description="Read-only.", extra_json_schema={"readOnly": True})]

_BODY: dict[str, Any] = {"frozen": True, "kw_only": True}

if TYPE_CHECKING:

    class _MandateWithReadOnly(MandateBody, frozen=True, kw_only=True): ...

    class _ReadOnly(Body, frozen=True, kw_only=True): ...

    class PreferencesPatch(Body, frozen=True, kw_only=True):
        """Preferences to change."""

else:
    _MandateWithReadOnly, _ReadOnly = (
        msgspec.defstruct(
            f"{base.__name__}WithReadOnly",
            [(name, _Any | UnsetType, UNSET) for name in READ_ONLY],
            bases=(base,),
            namespace={"read_only": READ_ONLY},
            **_BODY,
        )
        for base in (MandateBody, Body)
    )
    PreferencesPatch = msgspec.defstruct(
        "PreferencesPatch",
        [
            (field.name, field.type | None | UnsetType, UNSET)
            for field in msgspec.structs.fields(PreferencesBody)
        ],
        bases=(Body,),
        namespace={"__doc__": "Preferences to change; null restores a default."},
        **_BODY,
    )


class RevisionBody(_MandateWithReadOnly, frozen=True, kw_only=True):
    """The new mandate of a portfolio.

    The read-only fields of a response may stand in it, so that a client can change what GET
    returned and send it back.
    """

    def mandate_of(self, stored: ManagedPortfolio) -> Mandate:
        """Return the new mandate of a portfolio, in its currency unless the body names one.

        Raises:
            InvalidRequest: a read-only field differs from the portfolio.
        """
        check_read_only(self, stored)
        return self._with_groups(stored.mandate).mandate(stored.mandate.currency)

    def _with_groups(self, stored: Mandate) -> RevisionBody:
        """Return the body with one statement of the targets.

        Targets by symbol that only repeat a response give way to groups. A client that does not
        know groups, and leaves the targets as they are, keeps those of the portfolio.
        """
        if not isinstance(self.targets, dict) or dict(self.targets) != dict(stored.targets):
            return self
        if isinstance(self.target_groups, TargetTreeBody):
            return msgspec.structs.replace(self, targets=UNSET)
        if self.target_groups is UNSET and stored.target_groups is not None:
            tree = msgspec.convert(
                tree_record(stored.target_groups), TargetTreeBody, dec_hook=_fraction
            )
            return msgspec.structs.replace(self, target_groups=tree)
        return self


class RevisionPatch(_ReadOnly, frozen=True, kw_only=True):
    """Fields to change, as a JSON merge patch (RFC 7396): null removes a field or a target."""

    name: (
        Annotated[OneLine, Meta(min_length=1, max_length=LONGEST_NAME, examples=["Retirement"])]
        | UnsetType
    ) = UNSET
    targets: Annotated[
        dict[Symbol, Fraction | None] | UnsetType,
        about("Targets to change; null removes one, and the others stay."),
    ] = UNSET
    currency: Annotated[str, Meta(pattern=CURRENCY)] | UnsetType = UNSET
    risk_profile: ProfileName | UnsetType | None = UNSET
    preferences: PreferencesPatch | UnsetType | None = UNSET
    acknowledge_limits: bool | UnsetType | None = UNSET
    conversions: Literal["automatic", "listed"] | UnsetType | None = UNSET
    corporate_actions: Literal["automatic", "confirm"] | UnsetType | None = UNSET
    target_groups: Annotated[
        TargetTreeBody | UnsetType | None,
        about("The groups replace all targets; null leaves the targets by symbol."),
    ] = UNSET
    look_through: Annotated[
        dict[Symbol, dict[ClassName, Fraction | None] | None] | UnsetType | None,
        about("Fractions of funds in asset classes to change; null removes a fund."),
    ] = UNSET

    def mandate_of(self, stored: ManagedPortfolio) -> Mandate:
        """Return the mandate of a portfolio with the changes.

        Raises:
            InvalidRequest: the changed mandate is invalid, or a read-only field differs.
        """
        check_read_only(self, stored)
        patch = {
            name: value
            for name, value in msgspec.to_builtins(self, enc_hook=_plain).items()
            if name not in READ_ONLY
        }
        known = _writable(stored.mandate)
        groups = patch.pop("target_groups", UNSET)
        if groups is None:
            known["targets"] = dict(stored.mandate.targets)
            known.pop("target_groups", None)
        elif groups is not UNSET:
            known["target_groups"] = groups
            known.pop("targets", None)
        merged = merge_patch(known, patch)
        changed = decode_request(json_line(merged), MandateBody)
        return changed.mandate(stored.mandate.currency)


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch, as RFC 7396 defines it in section 2."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def check_read_only(body: Body, stored: ManagedPortfolio) -> None:
    """Check that the read-only fields in a body are those of the portfolio.

    Fields that depend on prices or count the changes are ignored.

    Raises:
        InvalidRequest: a field differs; names it.
    """
    positions, currency = stored.positions, stored.mandate.currency
    actual: dict[str, Any] = {
        "id": str(stored.id),
        "cash": format_decimal(currency.round(positions.cash)),
        "uninvested": format_decimal(currency.round(positions.uninvested)),
        "holdings": {symbol: format_decimal(units) for symbol, units in positions.holdings.items()},
    }
    faults = []
    for name, value in actual.items():
        given = getattr(body, name)
        if name == "holdings" and isinstance(given, dict):
            given = {
                symbol: held.get("quantity") if isinstance(held, dict) else held
                for symbol, held in given.items()
            }
        if given is not UNSET and not _equal(given, value):
            faults.append(
                InvalidRequest(
                    f"{shorten(given)} differs from the portfolio, and the field is read-only; "
                    "omit it, and record transactions to change cash and holdings",
                    field=name,
                    code="read_only_field",
                )
            )
    if faults:
        raise combine(faults)


def _equal(given: Any, actual: Any) -> bool:
    if isinstance(given, Mapping) and isinstance(actual, Mapping):
        return given.keys() == actual.keys() and all(
            _equal(given[key], actual[key]) for key in actual
        )
    if given == actual:
        return True
    try:
        return Decimal(str(given)) == Decimal(str(actual))
    except InvalidOperation:
        return False


def _writable(mandate: Mandate) -> dict[str, Any]:
    """Return a mandate as JSON values, without fields that are unset."""
    preferences = msgspec.to_builtins(preferences_view(mandate.preferences), enc_hook=str)
    values = {
        "name": mandate.name,
        "targets": dict(mandate.targets) if mandate.target_groups is None else None,
        "target_groups": mandate.target_groups and tree_record(mandate.target_groups),
        "look_through": look_through_record(mandate.look_through),
        "currency": mandate.currency.code,
        "risk_profile": mandate.risk_profile and mandate.risk_profile.name,
        "preferences": {name: value for name, value in preferences.items() if value is not None},
        "acknowledge_limits": mandate.acknowledge_limits,
        "conversions": mandate.conversions.value,
        "corporate_actions": mandate.corporate_actions.value,
    }
    return {name: value for name, value in values.items() if value is not None}


def _fraction(kind: type[Any], value: Any) -> Any:
    return kind(value)


def _plain(value: Any) -> Any:
    return format_decimal(value) if isinstance(value, Decimal) else float(value)
