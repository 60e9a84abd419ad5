"""Responses conform to the OpenAPI document, for valid and invalid requests of schemathesis."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis import strategies as st

from tests.authenticator import Authenticator
from tests.entrypoints.http.conftest import RunningApi
from tests.entrypoints.http.test_ownership import ALL, BODIES, failed_message

pytestmark = pytest.mark.parametrize("store", ["memory"], indirect=True)

EXAMPLES = {"positive": 12, "negative": 8}
"""How many requests are tried: those that the document allows, and others."""

CONFIG: dict[str, Any] = {
    "generation": {"allow-x00": False},  # U+0000 is malformed in any text
    "checks": {
        # A valid request may conflict with the state: wrong logins, an unknown id, a decided
        # proposal, a missing or old version, an unknown symbol.
        "positive_data_acceptance": {
            "expected-statuses": [200, 201, 202, 204, 304, 401, 403, 404, 409, 412, 422, 428, 429]
        },
        # Both send requests over a network; test_ownership and test_bad_input cover them.
        "ignored_auth": {"enabled": False},
        "unsupported_method": {"enabled": False},
    },
}

OPERATIONS = [
    (method, re.sub(r":\w+}", "}", path).rstrip("/"), handler.handler_name)
    for method, path, handler in ALL
]
BARE = {"profile", "questionnaire", "policies", "read_policy", "read_schedule", "live", "ready"}
BARE |= {"start_passkey_login", "read_terms", "summarize_home"}
BARE |= {"read_notice_settings", "list_notice_targets"}
"""Operations that take no parameters, or any name, so that no request is malformed."""

ENDLESS = {"watch_market", "watch_portfolio"}
"""Streams, which end at once if they are asked to."""

_FLOW = {"day": 3, "note": "Rent"}
_CONTENT = {"targets": {"C": 0.5}, "target_groups": None, "look_through": {}}
_DRAFT = _CONTENT | {"from_version": 1, "note": "Less"}
VISIBLE: dict[str, dict[str, Any]] = {
    "plan_flow": _FLOW,
    "change_planned_flow": _FLOW,
    "change_plan_terms": {"horizon": 30},
    "create_model": _CONTENT | {"name": "Half", "note": "Less"},
    "rename_model": {"name": "Half"},
    "preview_model": _DRAFT,
    "publish_model": _DRAFT,
    "follow_model": {"version": 1},
    "project": {
        "policy": "monthly",
        "months": 24,
        "paths": 100,
        "seed": 1,
        "flows": [{"amount": 50, "every": 3}],
        "goal": None,
        "expected_returns": {"C": 0.05},
    },
    "stress": {
        "policy": "band",
        "assets": {"C": -0.5},
        "factor": {"symbol": "C", "change": -0.1},
    },
}
"""Fields for which the document allows more: 3.0, or characters that cannot be seen."""

TRIED = [
    (method, path, name, mode)
    for method, path, name in OPERATIONS
    for mode in EXAMPLES
    if not (name in BARE and mode == "negative")
]


def without_fractions(value: Any) -> Any:
    """Write whole numbers without a fraction: JSON Schema counts 3.0 as an integer, we do not."""
    if isinstance(value, dict):
        return {name: without_fractions(part) for name, part in value.items()}
    if isinstance(value, list):
        return [without_fractions(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@pytest.mark.parametrize(
    ("method", "path", "name", "mode"), TRIED, ids=[f"{name}-{mode}" for _, _, name, mode in TRIED]
)
def test_responses_conform_to_the_document(
    api: RunningApi, method: str, path: str, name: str, mode: str
) -> None:
    import schemathesis  # slow, and few workers need it

    ada = api.register()
    portfolio = ada.portfolio(holdings={"C": "10"})["id"]
    ids = {
        "portfolio_id": portfolio,
        "import_id": ada.imported(portfolio)["id"],
        "proposal_id": ada.proposal(portfolio)["id"],
        "job_id": ada.post("/api/backtest", {"policies": ["monthly"], "from": "2022-11-14"}).json()[
            "id"
        ],
        "entry_id": ada.get(f"/api/portfolios/{portfolio}/transactions").json()["items"][0]["id"],
        "share_id": ada.post(
            f"/api/portfolios/{portfolio}/shares", {"email": "grace@example.org"}
        ).json()["id"],
        "symbol": "C",
        "series": "DGS10",
        "name": "trend",
        "passkey_id": ada.add_passkey(Authenticator())["id"],
        "target_id": ada.post("/api/notices/targets", BODIES["add_notice_target"]).json()["id"],
        "message_id": failed_message(api, ada),
    }
    document = api.client.get("/docs/openapi.json").json()
    config = schemathesis.Config.from_dict(CONFIG)
    operation = schemathesis.openapi.from_dict(document, config=config)[path][method]

    @seed(7)
    @settings(
        max_examples=EXAMPLES[mode],
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(schemathesis.GenerationMode(mode)), real=st.booleans())
    def hold(case: schemathesis.Case, real: bool) -> None:
        assume(case.media_type != "multipart/form-data")  # see test_statement_imports
        if real and mode == "positive":
            case.path_parameters |= {
                name: ids[name] for name in case.path_parameters if name in ids
            }
            if isinstance(case.body, dict) and "portfolio_id" in case.body:
                case.body["portfolio_id"] = portfolio
        if mode == "positive" and isinstance(case.body, dict) and case.body.get("credential"):
            # The document leaves its content to WebAuthn.
            case.body["credential"] = {"id": "AQID", "response": {}}
        if mode == "positive" and name == "create_api_key":
            # The document allows any text, but characters that cannot be seen are refused.
            case.body |= {"name": "Report", "days": 90}
        if mode == "positive" and isinstance(case.body, dict | list):
            case.body = without_fractions(case.body)
        if mode == "positive" and name in VISIBLE and isinstance(case.body, dict):
            case.body |= {key: VISIBLE[name][key] for key in VISIBLE[name] if key in case.body}
        if mode == "positive" and name == "reauthenticate" and not isinstance(case.body, dict):
            case.body = {"password": "correct horse"}  # each way is optional, and one is needed
        if name in ENDLESS and str((case.query or {}).get("once", False)).lower() == "false":
            case.query = {**(case.query or {}), "once": True}
        sent = case.as_transport_kwargs(headers=ada.headers)
        sent.pop("cookies", None)
        if isinstance(sent.get("data"), bytes):
            sent["content"] = sent.pop("data")
        answer = api.client.request(**sent)
        case.validate_response(answer)

    hold()
