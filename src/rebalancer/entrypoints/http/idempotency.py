"""`Idempotency-Key`: a repeated request takes effect once and gets the first answer.

The use cases store the key in the transaction of the effect, so that no crash separates the two.
The answer is stored afterwards, for each route that takes the header. Should a crash prevent that,
a repeated request gets the current state of its resource.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import HeaderParameter
from litestar.types import ASGIApp, Message, Receive, Send

from rebalancer.application.audit import current_user
from rebalancer.application.idempotency import ClientRequest, StoreAnswer, fingerprint
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.money import canonical_text
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in
from rebalancer.entrypoints.schemas.decoding import Malformed
from rebalancer.entrypoints.schemas.wire import Body, Cash

HEADER = "Idempotency-Key"
LONGEST_KEY = 200

Key = Annotated[
    str | None,
    HeaderParameter(
        name=HEADER,
        min_length=1,
        max_length=LONGEST_KEY,
        description="A unique text of your choice. A request that is repeated with the same key "
        "takes effect once and gets the same response.",
    ),
]

WITHOUT_KEY = "without_idempotency_key"
"""Option of a handler: why it takes no key, as the end of a sentence."""

ANSWER_HOLDS_SECRETS = "its answer holds secrets, which are not stored"

_OWNER = "rebalancer.owner"
"""Key of the user in the scope of a request."""

_REPLAYED = "Idempotent-Replayed"
_NOT_STORED = {b"content-length", b"date"}

log = logging.getLogger("rebalancer.http")


def replay_headers(replayed: bool) -> dict[str, str]:
    """Mark the response to a repeated request."""
    return {_REPLAYED: "true"} if replayed else {}


def note_owner(scope: Any, owner: UUID) -> None:
    """Note whose request it is; keys of different users are independent."""
    scope[_OWNER] = owner
    current_user.set(owner)


def noted_owner(scope: Any) -> UUID | None:
    """Return the user whom `note_owner` noted."""
    owner: UUID | None = scope.get(_OWNER)
    return owner


def client_request(
    request: Request[Any, Any, Any], key: str | None, data: Body | None = None
) -> ClientRequest | None:
    """Return what identifies a request with a key; None without one.

    Passwords do not count: their digest must not be stored.
    """
    if key is None:
        return None
    content = {} if data is None else msgspec.to_builtins(data, enc_hook=_canonical)
    for name in () if data is None else data.verbatim:
        content.pop(name, None)
    body = json.dumps(content, sort_keys=True)
    path = tuple(sorted((name, str(value)) for name, value in request.path_params.items()))
    return ClientRequest(key, fingerprint(request.route_handler.handler_name, path, body))


def _canonical(value: Any) -> Any:
    if isinstance(value, Cash) and value.by_currency is not None:
        return {code: canonical_text(amount) for code, amount in value.by_currency.items()}
    return canonical_text(value) if isinstance(value, Decimal) else float(value)


async def refuse_unsupported_key(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """Guard: refuse a key where it would have no effect.

    Raises:
        Malformed: the route changes something and takes no key.
    """
    if HEADER not in connection.headers or connection.scope.get("method") in ("GET", "OPTIONS"):
        return
    parameters = handler.parsed_fn_signature.parameters.values()
    if any(getattr(one.kwarg_definition, "name", None) == HEADER for one in parameters):
        return
    reason = handler.opt.get(WITHOUT_KEY, "If-Match already keeps it from taking effect twice")
    raise Malformed(
        f"this request takes no idempotency key: {reason}; omit the header",
        field=HEADER,
        code="idempotency_key_not_supported",
    )


def keep_answers(app: ASGIApp, answers: StoreAnswer) -> ASGIApp:
    """Return an application that stores the answers to requests with a key, and repeats them."""

    async def wrapped(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await app(scope, receive, send)
            return
        key = next((v for n, v in scope["headers"] if n == HEADER.lower().encode()), None)
        if key is None:
            await app(scope, receive, send)
            return
        start: Any = None
        body = b""

        async def collect(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
            elif message["type"] == "http.response.body":
                body += message.get("body", b"")

        await app(scope, receive, collect)
        status, headers = start["status"], list(start.get("headers", ()))
        owner = noted_owner(scope)
        if owner is not None and 200 <= status < 300:
            name = key.decode("latin-1")
            try:
                if any(name.lower() == _REPLAYED.lower().encode() for name, _ in headers):
                    first = await run_in(READS, answers.read, owner, name)
                    if first is not None:
                        status, headers, body = _decode_answer(first)
                else:
                    text = _encode_answer(status, headers, body)
                    await run_in(WRITES, answers, owner, name, text)
            except Unavailable as error:  # the request has taken effect, and its answer is right
                log.warning("the answer to a request with a key was not stored: %s", error)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return wrapped


def _encode_answer(status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> str:
    kept = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in headers
        if name.lower() not in _NOT_STORED
    ]
    return json.dumps({"status": status, "headers": kept, "body": body.decode()})


def _decode_answer(text: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    answer = json.loads(text)
    body = answer["body"].encode()
    headers = [
        (name.encode("latin-1"), value.encode("latin-1")) for name, value in answer["headers"]
    ]
    more = [(_REPLAYED.lower().encode(), b"true"), (b"content-length", b"%d" % len(body))]
    return answer["status"], headers + more, body
