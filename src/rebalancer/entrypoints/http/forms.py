"""Files in multipart forms, as bodies of routes that take a file."""

from __future__ import annotations

import json
from typing import Any

from litestar import Request
from litestar.datastructures import UploadFile
from litestar.exceptions import HTTPException
from msgspec import UNSET, structs

from rebalancer.entrypoints.schemas.decoding import Malformed, decode_request
from rebalancer.entrypoints.schemas.statement_imports import ImportBody, UploadedStatement

MULTIPART = "multipart/form-data"
TAKES_FORM = "takes_form"
"""Option of a handler: the body may also be a form with the file."""

_FLAGS = {"true": True, "1": True, "on": True, "yes": True}
_FLAGS |= {"false": False, "0": False, "off": False, "no": False}


def form_schema() -> dict[str, Any]:
    """Describe the form for OpenAPI."""
    return {
        "type": "object",
        "required": ["file"],
        "properties": {
            "file": {"type": "string", "format": "binary", "description": "The statement."},
            "dry_run": {"type": "boolean", "default": True},
            "mapping": {
                "type": "string",
                "description": "A JSON object of symbols by instrument.",
            },
            "layout": {"type": "string"},
            "profile": {
                "type": "string",
                "description": "A mapping profile, as a JSON object.",
            },
            "profile_name": {
                "type": "string",
                "description": "Name of a saved mapping profile.",
            },
            "keep_unknown": {"type": "boolean", "default": False},
            "include_duplicates": {"type": "boolean", "default": False},
            "skip_errors": {"type": "boolean", "default": False},
            "deposit_missing_cash": {"type": "boolean", "default": False},
        },
    }


async def read_form(request: Request[Any, Any, Any]) -> ImportBody:
    """Return the statement in a form, whose body was read.

    Raises:
        Malformed: the form is not valid, lacks the file, or has an unknown or repeated field.
        InvalidRequest: a field is invalid.
    """
    try:
        form = await request.form()
    except (HTTPException, UnicodeDecodeError, LookupError) as error:
        raise Malformed(
            "the form is not valid multipart/form-data; send one file and simple fields",
            field="body",
            code="malformed_form",
        ) from error
    values: dict[str, Any] = {}
    data: bytes | None = None
    try:
        for name, value in form.multi_items():
            if name in values:
                raise Malformed(
                    "the field occurs twice; remove one", field=name, code="duplicate_key"
                )
            if isinstance(value, UploadFile):
                if name != "file":
                    raise Malformed(
                        "only the field file holds a file; send text", field=name, code="not_text"
                    )
                data = await value.read()
                values["file"] = "file"
                values["file_name"] = value.filename
            elif name == "file":
                data = value.encode()
                values["file"] = "file"
            else:
                values[name] = _value(name, value)
    finally:
        for _, value in form.multi_items():
            if isinstance(value, UploadFile):
                await value.close()
    name = values.pop("file_name", "")
    body = decode_request(json.dumps(values).encode(), ImportBody)
    fields = structs.asdict(body) | {"file_name": name, "data": data or b""}
    return UploadedStatement(**{key: value for key, value in fields.items() if value is not UNSET})


def _value(name: str, text: str) -> Any:
    """Return the value of a field of text as JSON has it.

    Raises:
        Malformed: the mapping or the profile is not JSON.
    """
    if name in ("mapping", "profile"):
        if not text.strip():
            return {} if name == "mapping" else None
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise Malformed(
                'the field is not a JSON object; write it as {"NAME": "VALUE"}',
                field=name,
                code="invalid_json",
            ) from None
    if name in ("layout", "profile_name"):
        return text or None
    return _FLAGS.get(text.strip().lower(), text)
