"""Conversion of JSON to the classes of the gateway and back."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn

T = TypeVar("T")


@cache
def converter() -> cattrs.Converter:
    """Return the converter: members that the client does not know are ignored."""
    made = cattrs.Converter(forbid_extra_keys=False)
    made.register_structure_hook(Decimal, lambda value, _: Decimal(str(value)))
    made.register_structure_hook(UUID, lambda value, _: UUID(value))
    made.register_structure_hook(date, lambda value, _: date.fromisoformat(value))
    made.register_structure_hook(datetime, lambda value, _: datetime.fromisoformat(value))
    made.register_structure_hook_factory(
        attrs.has, lambda cls: make_dict_structure_fn(cls, made, _cattrs_forbid_extra_keys=False)
    )
    made.register_unstructure_hook(Decimal, lambda value: format(value, "f"))
    made.register_unstructure_hook(UUID, str)
    made.register_unstructure_hook(date, date.isoformat)
    made.register_unstructure_hook(datetime, datetime.isoformat)  # a date, too, but with its time
    return made


def decode(value: Any, kind: type[T]) -> T:
    """Return JSON as an instance of a class."""
    return converter().structure(value, kind)


def encode(value: Any) -> Any:
    """Return an instance as JSON; members equal to None are left out.

    A field whose metadata has a ``name`` is sent under it.
    """
    if attrs.has(type(value)):
        return {
            field.metadata.get("name", field.name): encode(getattr(value, field.name))
            for field in attrs.fields(type(value))
            if getattr(value, field.name) is not None
        }
    if isinstance(value, dict):
        return {name: encode(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [encode(member) for member in value]
    return converter().unstructure(value)
