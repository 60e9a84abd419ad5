"""Entity tags of portfolios, and the preconditions that name them (RFC 9110, section 13.1)."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Annotated

import attrs
from litestar.params import HeaderParameter

from rebalancer.application.valuation import ValuedPortfolio
from rebalancer.domain.portfolio.mandate import ANY_VERSION, AcceptedVersions
from rebalancer.entrypoints.http.errors import VersionRequired
from rebalancer.entrypoints.schemas.decoding import Malformed

_ELEMENT = re.compile(r'[ \t]*(?:(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*)?(?:,|\Z)')
"""An element of a list of entity tags; empty ones are allowed (RFC 9110, section 5.6.1.2)."""

_UNQUOTED = r"[1-9][0-9]{0,8}(\.[0-9-]{10}(\.[0-9a-f]{8})?)?"
"""A tag without quotation marks, which old clients of ours send."""

_PATTERN = rf'^(\*|{_UNQUOTED}|(W/)?"[!#-~]*"([ ]*,[ ]*(W/)?"[!#-~]*")*)$'

# Caches and proxies that compress a response mark its tag: Apache and Caddy append "-gzip", Jetty
# "--gzip", others ";br" or ":gzip". The mark names an encoding; the state stays the same.
_CODING = "gzip|x-gzip|gz|br|brotli|zstd|deflate|compress|df"
_STATE = re.compile(
    rf"(?P<state>[0-9]{{1,9}}(?:\.[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?:\.[0-9a-f]{{8}})?)?)(?:[-;:+/._]{{1,2}}(?:{_CODING}))?"
)

IfMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match",
        description="The ETag that GET returned, several of them, or * for any version.",
        schema_extra={"pattern": _PATTERN},
    ),
]
IfNoneMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-None-Match",
        description="ETags of the states that the client knows, or *.",
        schema_extra={"pattern": _PATTERN},
    ),
]


def etag(valued: ValuedPortfolio) -> str:
    """Identify the state of a portfolio by its version, the day of its prices, and its value.

    The value is there as a digest, with its prices and notes: closes and exchange rates of that day
    may be corrected.
    """
    if valued.as_of is None:
        return f'"{valued.portfolio.version}"'
    shown = (valued.value, sorted(valued.prices.items()), valued.notes)
    digest = sha256(repr(shown).encode()).hexdigest()[:8]
    return f'"{valued.portfolio.version}.{valued.as_of}.{digest}"'


@attrs.frozen
class Condition:
    """The tags that a precondition names.

    Attributes:
        states: States named, such as ``3.2022-12-28.5d41402a``, without the marks of proxies; None:
            any.
    """

    states: frozenset[str] | None

    @classmethod
    def parse(cls, header: str, *, field: str) -> Condition:
        """Read a precondition.

        Tags are compared weakly also in ``If-Match``, because proxies that compress a response
        weaken its tag. A tag of another form matches nothing.

        Raises:
            Malformed: the header is neither ``*`` nor a list of entity tags.
        """
        text = header.strip(" \t")
        if text == "*":
            return cls(None)
        tags = [text] if re.fullmatch(_UNQUOTED, text) else _tags_of(text)
        if not tags:
            raise Malformed(
                'expected * or a list of ETags, such as "3.2022-12-28"',
                field=field,
                code="invalid_etag",
            )
        found = map(_STATE.fullmatch, tags)
        return cls(frozenset(one["state"] for one in found if one is not None))

    @property
    def versions(self) -> frozenset[int] | None:
        """The versions named; None: any. A change needs the version alone, not the prices' day."""
        if self.states is None:
            return None
        return frozenset(int(state.partition(".")[0]) for state in self.states)

    def matches(self, tag: str) -> bool:
        """Return whether it names the state of an ETag of ours."""
        return self.states is None or tag.strip('"') in self.states


def is_known(if_none_match: str | None, tag: str) -> bool:
    """Return whether the client knows the state already, so that 304 is enough."""
    return if_none_match is not None and Condition.parse(
        if_none_match, field="If-None-Match"
    ).matches(tag)


def accepted_versions(
    if_match: str | None, if_none_match: str | None, *, required: bool
) -> AcceptedVersions:
    """Return the versions of a portfolio that a request may change.

    Raises:
        Malformed: a precondition is malformed.
        VersionRequired: ``If-Match`` is required and missing.
    """
    if if_match is None and required:
        raise VersionRequired(
            "the header If-Match is missing; send the ETag that GET returned, so that you do not "
            "overwrite a change of another client"
        )
    only, never = ANY_VERSION.only, ANY_VERSION.never
    if if_match is not None:
        only = Condition.parse(if_match, field="If-Match").versions
    if if_none_match is not None:
        never = Condition.parse(if_none_match, field="If-None-Match").versions
    return AcceptedVersions(only, never)


def _tags_of(text: str) -> list[str]:
    """Return the tags of a list, without quotation marks; nothing if it is malformed."""
    tags, at = [], 0
    while at < len(text):
        element = _ELEMENT.match(text, at)
        if element is None:
            return []
        if element[1] is not None:
            tags.append(element[1])
        at = element.end()
    return tags
