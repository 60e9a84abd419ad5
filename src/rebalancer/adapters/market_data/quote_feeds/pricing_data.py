"""Read the messages of Yahoo's stream, a protocol buffer with known fields.

yfinance has a generated class for them, but importing it imports pandas and takes a second and
100 MB in a process that has no other use for it. Tests compare this reader with that class.

The format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta

import attrs

_VARINT, _I64, _LEN, _I32 = 0, 1, 2, 5
"""Wire types."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST = 10
"""Bytes of a variable-length number at most."""


class MalformedMessage(ValueError):
    """The bytes are not such a message."""


@attrs.define
class PricingData:
    """Fields of a message that quotes need; those that are not sent have their defaults.

    Attributes:
        id: Symbol.
        price: In the quote unit, float32.
        time: Milliseconds since 1970 of the trade.
        currency: Currency or quote unit; empty if it is not sent.
        market_hours: 0 before the session, 1 in it, 2 after it, 3 extended.
        bid: Best price of a buyer; 0 if it is not sent.
        ask: Best price of a seller; 0 if it is not sent.
    """

    id: str = ""
    price: float = 0.0
    time: int = 0
    currency: str = ""
    market_hours: int = 0
    bid: float = 0.0
    ask: float = 0.0

    @property
    def traded(self) -> datetime:
        """Time of the trade.

        Raises:
            MalformedMessage: no calendar has it.
        """
        try:
            return _EPOCH + timedelta(milliseconds=self.time)
        except OverflowError:
            raise MalformedMessage(f"{self.time} is not a time in milliseconds") from None


def read_pricing_data(data: bytes) -> PricingData:
    """Return the fields of a message; unknown ones are skipped.

    Raises:
        MalformedMessage: it is cut, or no such message.
    """
    found, at = PricingData(), 0
    while at < len(data):
        key, at = _read_varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _read_varint(data, at)
            if number == _TIME:
                found.time = (value >> 1) ^ -(value & 1)  # zigzag
            elif number == _MARKET_HOURS:
                found.market_hours = value
        elif kind == _I32:
            name = _FLOATS.get(number)
            part, at = _take(data, at, 4)
            if name is not None:
                setattr(found, name, struct.unpack("<f", part)[0])
        elif kind == _LEN:
            length, at = _read_varint(data, at)
            part, at = _take(data, at, length)
            name = _TEXTS.get(number)
            if name is not None:
                try:
                    setattr(found, name, part.decode())
                except UnicodeDecodeError:
                    raise MalformedMessage(f"field {number} is not text") from None
        elif kind == _I64:
            _, at = _take(data, at, 8)
        else:
            raise MalformedMessage(f"wire type {kind} is unknown")
    return found


_TIME, _MARKET_HOURS = 3, 7
"""Numbers of fields, as below."""

_TEXTS = {1: "id", 4: "currency"}
_FLOATS = {2: "price", 23: "bid", 25: "ask"}


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number and the place after it."""
    value = 0
    for index in range(_LONGEST):
        if at + index >= len(data):
            raise MalformedMessage("the message is cut within a number")
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    raise MalformedMessage("a number is too long")


def _take(data: bytes, at: int, length: int) -> tuple[bytes, int]:
    """Return some bytes and the place after them."""
    if at + length > len(data):
        raise MalformedMessage("the message is cut within a field")
    return data[at : at + length], at + length
