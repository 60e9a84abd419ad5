"""Who may do what: every route of the OpenAPI document, for every kind of caller.

`ROUTES` has a row for each route, and `RIGHTS` the outcome for each caller. A route without a row
fails a test, so that the author of a route decides who may use it.
"""

from __future__ import annotations

import copy
from typing import Any
from uuid import UUID

import attrs
import httpx
import pytest

from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.domain.accounts.roles import Role
from rebalancer.domain.notices.deliveries import DeliveryState
from tests.contracts.stores import NOW, a_delivery, a_notice, a_passkey, a_target
from tests.entrypoints.http.conftest import (
    BACKTEST,
    DUE,
    MODEL,
    PLANNED,
    STATEMENT,
    UNKNOWN_ID,
    ApiUser,
    RunningApi,
    checked,
    finished_job,
    start_backtest,
)
from tests.entrypoints.http.test_sharing import accept, set_user, share

OK = 0
"""The route does its work, or refuses for another reason than who calls; see `Route.ok`."""

CALLERS = (
    "anonymous",  # without a token
    "ended",  # the owner's session that was ended
    "disabled",  # an adviser whose account was disabled
    "owner",  # of the portfolio, its proposals and a job
    "reader",  # an adviser with the right to read the portfolio
    "proposer",  # an adviser with the right to propose
    "former",  # an adviser whose share was withdrawn
    "stranger",  # another person
    "operator",
)

RIGHTS = {
    "public": (OK, OK, OK, OK, OK, OK, OK, OK, OK),
    # About the caller's own account, or things that it creates.
    "personal": (401, 401, 401, OK, OK, OK, OK, OK, OK),
    # About the owner's portfolio and its proposals.
    "read": (401, 401, 401, OK, OK, OK, 404, 404, 404),
    "propose": (401, 401, 401, OK, 403, OK, 404, 404, 404),
    "change": (401, 401, 401, OK, 403, 403, 404, 404, 404),
    # About something of the owner that is not shared with the portfolio.
    "own": (401, 401, 401, OK, 404, 404, 404, 404, 404),
    # About the share that the proposer has received.
    "received": (401, 401, 401, 404, 404, OK, 404, 404, 404),
    "operate": (401, 401, 401, 403, 403, 403, 403, 403, OK),
}


@attrs.frozen
class Route:
    """A row of the table.

    Attributes:
        right: Key of `RIGHTS`.
        ok: Status for callers who may use the route.
        body: A valid body; texts in braces are replaced by ids.
        headers: Further headers.
        query: Query parameters, with ids like those of the body.
    """

    right: str
    ok: int = 200
    body: Any = None
    headers: dict[str, str] = attrs.field(factory=dict)
    query: dict[str, str] = attrs.field(factory=dict)


_VERSION = {"If-Match": "*"}
_MANDATE = {"name": "Renamed", "targets": {"C": 1}}
_SPLIT = {"kind": "split", "symbol": "C", "ratio": "2"}
_TRADE = {"side": "buy", "symbol": "C", "quantity": "1", "price": "7.7"}

_PROFILE = {"columns": {"date": "Day", "amount": "Total"}, "default_kind": "deposit"}

ROUTES = {
    "GET /health/live": Route("public"),
    "GET /health/ready": Route("public"),
    "GET /api/policies": Route("public"),
    "GET /api/policies/{name}": Route("public"),
    "GET /api/risk/questionnaire": Route("public"),
    "GET /api/market/assets": Route("public"),
    "GET /api/market/data/{symbol}": Route("public"),
    "GET /api/market/issues": Route("public"),
    "GET /api/market/regime": Route("public"),
    "GET /api/market/schedule": Route("public"),
    # Market data that cost the service requests to its providers.
    "POST /api/market/assets": Route("personal", 409, {"symbols": ["C"]}),
    "GET /api/market/fundamentals/{symbol}": Route("personal"),
    "GET /api/market/stream": Route("personal", query={"symbols": "C", "once": "true"}),
    "GET /api/portfolios/{portfolio_id}/stream": Route("read", query={"once": "true"}),
    "POST /api/stream-tickets": Route("personal", 201),
    "GET /api/market/series/{series}": Route("personal"),
    # Accounts and sign-ins.
    "GET /api/users/profile": Route("personal"),
    "GET /api/users/audit": Route("personal"),
    "GET /api/users/export": Route("personal"),
    # It would end the sessions of all tests; an unknown parameter is refused after the caller is.
    "DELETE /api/users/account": Route("personal", 400, query={"made": "up"}),
    "GET /api/users/factors": Route("personal"),
    "GET /api/users/passkeys": Route("personal"),
    "PATCH /api/users/passkeys/{passkey_id}": Route("own", 200, {"name": "Laptop"}),
    "GET /api/users/sessions": Route("personal"),
    "DELETE /api/users/sessions": Route("personal"),
    "DELETE /api/users/sessions/{id}": Route("own", 204),
    "GET /api/users/api-keys": Route("personal"),
    "POST /api/users/api-keys": Route("personal", 201, {"name": "Report", "scopes": ["read"]}),
    "DELETE /api/users/api-keys/{key_id}": Route("own", 204),
    "POST /api/users/reauthenticate": Route("personal", 422, {}),
    "POST /api/risk/assessment": Route("personal", 422, {"answers": {}}),
    "GET /api/home": Route("personal"),
    "GET /api/performance": Route("personal"),
    "GET /api/mapping-profiles": Route("personal"),
    "GET /api/mapping-profiles/{name}": Route("personal", 404),
    "PUT /api/mapping-profiles/{name}": Route("personal", 200, _PROFILE),
    "DELETE /api/mapping-profiles/{name}": Route("personal", 404),
    "POST /api/table-sketches": Route("personal", 200, {"file": "Day;Total\n1.2.22;5\n"}),
    # Portfolios.
    "GET /api/portfolios": Route("personal"),
    "POST /api/portfolios": Route("personal", 201, _MANDATE),
    "GET /api/portfolios/{portfolio_id}": Route("read"),
    "PUT /api/portfolios/{portfolio_id}": Route("change", 200, _MANDATE, _VERSION),
    "PATCH /api/portfolios/{portfolio_id}": Route("change", 200, {"name": "Renamed"}, _VERSION),
    "DELETE /api/portfolios/{portfolio_id}": Route("change", 204),
    "GET /api/portfolios/{portfolio_id}/alerts": Route("read"),
    "PUT /api/portfolios/{portfolio_id}/alerts": Route("change", 200, {"drift": 0.1}),
    "GET /api/portfolios/{portfolio_id}/alerts/history": Route("read"),
    "GET /api/portfolios/{portfolio_id}/automation": Route("read"),
    "PUT /api/portfolios/{portfolio_id}/automation": Route("change", 200, {"frequency": "weekly"}),
    "GET /api/automation": Route("personal"),
    "POST /api/automation/stop": Route("personal"),
    "POST /api/automation/resume": Route("personal"),
    "GET /api/operators/automation": Route("operate"),
    "POST /api/operators/automation/stop": Route("operate"),
    "POST /api/operators/automation/resume": Route("operate"),
    "GET /api/portfolios/{portfolio_id}/export": Route("read"),
    "GET /api/portfolios/{portfolio_id}/gains": Route("read"),
    "GET /api/portfolios/{portfolio_id}/performance": Route("read"),
    "GET /api/portfolios/{portfolio_id}/statement": Route("read"),
    "GET /api/portfolios/{portfolio_id}/targets": Route("read"),
    "POST /api/portfolios/{portfolio_id}/targets": Route(
        "read", 200, {"target_groups": {"assets": {"C": 1}}}
    ),
    "GET /api/portfolios/{portfolio_id}/transactions": Route("read"),
    "POST /api/portfolios/{portfolio_id}/transactions": Route("change", 201, {"trades": [_TRADE]}),
    "POST /api/portfolios/{portfolio_id}/transactions/{entry_id}/void": Route("change", 201, {}),
    "POST /api/portfolios/{portfolio_id}/cash-flows": Route(
        "change", 201, {"kind": "deposit", "amount": "1"}
    ),
    "GET /api/portfolios/{portfolio_id}/imports": Route("read"),
    "POST /api/portfolios/{portfolio_id}/imports": Route("change", 200, {"file": STATEMENT}),
    "POST /api/portfolios/{portfolio_id}/imports/{import_id}/undo": Route("change"),
    "GET /api/portfolios/{portfolio_id}/flows": Route("read"),
    "POST /api/portfolios/{portfolio_id}/flows": Route("change", 201, PLANNED),
    "PATCH /api/portfolios/{portfolio_id}/flows": Route("change", 200, {"horizon": 30}),
    "PUT /api/portfolios/{portfolio_id}/flows/{flow_id}": Route("change", 200, PLANNED),
    "DELETE /api/portfolios/{portfolio_id}/flows/{flow_id}": Route("change", 204),
    "POST /api/portfolios/{portfolio_id}/flows/{flow_id}/confirm": Route("change", 200, DUE),
    "POST /api/portfolios/{portfolio_id}/flows/{flow_id}/skip": Route("change", 200, DUE),
    "GET /api/portfolios/{portfolio_id}/actions": Route("read"),
    "POST /api/portfolios/{portfolio_id}/actions": Route("change", 422, {"record": [_SPLIT]}),
    "PUT /api/portfolios/{portfolio_id}/model": Route("change", 200, {"model_id": "{model_id}"}),
    "DELETE /api/portfolios/{portfolio_id}/model": Route("change", 200),
    # Models belong to their owner, and are not shared with portfolios.
    "GET /api/models": Route("personal"),
    "POST /api/models": Route("personal", 201, MODEL),
    "GET /api/models/{model_id}": Route("own"),
    "PATCH /api/models/{model_id}": Route("own", 200, {"name": "Renamed"}),
    "DELETE /api/models/{model_id}": Route("own", 204),
    "POST /api/models/{model_id}/preview": Route("own", 200, {"targets": {"C": 1}}),
    "POST /api/models/{model_id}/publish": Route("own", 200, {"targets": {"C": 1}}),
    # Sharing. Only the owner sees with whom a portfolio is shared.
    "GET /api/portfolios/{portfolio_id}/shares": Route("change"),
    "POST /api/portfolios/{portfolio_id}/shares": Route(
        "change", 201, {"email": "alan@example.org"}
    ),
    "DELETE /api/portfolios/{portfolio_id}/shares/{share_id}": Route("change", 204),
    "GET /api/users/shares": Route("personal"),
    "POST /api/users/shares/{share_id}/accept": Route("received"),
    "DELETE /api/users/shares/{share_id}": Route("received", 204),
    # Notices. A link in a mail proves whose mails it ends; this one proves nothing.
    "GET /api/notices": Route("personal"),
    "GET /api/notices/unread": Route("personal"),
    "POST /api/notices/read": Route("personal", 200, {}),
    "GET /api/notices/settings": Route("personal"),
    "PUT /api/notices/settings": Route("personal", 200, {"language": "de", "zone": "UTC"}),
    "GET /api/notices/targets": Route("personal"),
    "POST /api/notices/targets": Route("personal", 400, {"kind": "webhook"}),
    "DELETE /api/notices/targets/{target_id}": Route("own", 204),
    "POST /api/notices/targets/{target_id}/test": Route("own"),
    "GET /api/notices/messages": Route("personal"),
    "POST /api/notices/messages/{message_id}/retry": Route("own"),
    "GET /api/notices/unsubscribe": Route("public", 400),
    "POST /api/notices/unsubscribe": Route("public", 400),
    # Proposals.
    "GET /api/rebalance": Route("read", query={"portfolio_id": "{portfolio_id}"}),
    "POST /api/rebalance/predict": Route("propose", 201, {"portfolio_id": "{portfolio_id}"}),
    "GET /api/rebalance/{proposal_id}": Route("read"),
    "GET /api/rebalance/{proposal_id}/worksheet": Route("read"),
    "POST /api/rebalance/{proposal_id}/accept": Route("change", 200, {}),
    "POST /api/rebalance/{proposal_id}/reject": Route("change", 200, {}),
    "POST /api/rebalance/{proposal_id}/cancel": Route("change", 409, {}),
    # Backtests and jobs belong to the account that starts them.
    "POST /api/backtest": Route("personal", 202, BACKTEST),
    "GET /api/backtest/{job_id}/status": Route("own"),
    "GET /api/backtest/{job_id}/series": Route("own"),
    "GET /api/portfolios/{portfolio_id}/goals": Route("read"),
    "PUT /api/portfolios/{portfolio_id}/goals": Route("change", 200, {"goals": []}),
    "POST /api/portfolios/{portfolio_id}/projection": Route("read", 422, {}),
    "POST /api/portfolios/{portfolio_id}/stress": Route("read", 200, {"classes": {"equity": -0.5}}),
    "GET /api/portfolios/{portfolio_id}/projection/{job_id}": Route("own", 404),
    "GET /api/jobs": Route("personal"),
    "GET /api/jobs/{job_id}": Route("own"),
    "GET /api/jobs/{job_id}/events": Route("own"),
    "POST /api/jobs/{job_id}/cancel": Route("own", 409),
    "POST /api/jobs/{job_id}/requeue": Route("own", 409),
    # Operators.
    "GET /api/operators/users": Route("operate"),
    "GET /api/operators/users/{user_id}": Route("operate"),
    "POST /api/operators/users/{user_id}/disable": Route("operate"),
    "POST /api/operators/users/{user_id}/enable": Route("operate"),
    "POST /api/operators/users/{user_id}/unlock": Route("operate"),
    "POST /api/operators/users/{user_id}/end-sessions": Route("operate"),
    "POST /api/operators/users/{user_id}/reset-password": Route("operate", 202),
    "PUT /api/operators/users/{user_id}/role": Route("operate", 200, {"role": "adviser"}),
    # The body proves an identity, so that any caller may try. Here it proves none.
    "POST /api/users/register": Route("public", 400, {}),
    "POST /api/users/login": Route("public", 400, {}),
    "POST /api/users/login/passkey": Route("public", 400, {}),
    "POST /api/users/login/passkey/options": Route("public"),
    "POST /api/users/login/second-factor": Route("public", 400, {}),
    "POST /api/users/refresh": Route("public", 401, {"refresh_token": "made up"}),
    "POST /api/users/logout": Route("public", 204, {"refresh_token": "made up"}),
    "POST /api/users/register/passkey": Route("public", 400, {}),
    "POST /api/users/register/passkey/options": Route("public", 400, {}),
    "POST /api/users/password/forgotten": Route("public", 400, {}),
    "POST /api/users/password/reset": Route("public", 400, {}),
    "POST /api/users/email/verify": Route("public", 400, {}),
    "GET /api/users/terms": Route("public"),
    "POST /api/users/terms": Route("personal", 400, {}),
    # Proofs of the caller's own password or device.
    "POST /api/users/password": Route("personal", 400, {}),
    "POST /api/users/email": Route("personal", 400, {}),
    "POST /api/users/passkeys": Route("personal", 400, {}),
    "POST /api/users/passkeys/options": Route("personal"),
    "DELETE /api/users/passkeys/{passkey_id}": Route("own", 204),
    "POST /api/users/recovery-codes": Route("personal", 201),
    "POST /api/users/totp": Route("personal", 201),
    "DELETE /api/users/totp": Route("personal", 204),
    "POST /api/users/totp/confirm": Route("personal", 400, {}),
}


SCOPES = {
    "read": (
        "GET /api/automation",
        "GET /api/portfolios/{portfolio_id}/alerts",
        "GET /api/portfolios/{portfolio_id}/alerts/history",
        "GET /api/portfolios/{portfolio_id}/automation",
        "GET /api/home",
        "GET /api/market/fundamentals/{symbol}",
        "GET /api/market/series/{series}",
        "GET /api/market/stream",
        "GET /api/notices",
        "GET /api/notices/unread",
        "GET /api/models",
        "GET /api/models/{model_id}",
        "GET /api/performance",
        "GET /api/mapping-profiles",
        "GET /api/mapping-profiles/{name}",
        "GET /api/portfolios",
        "GET /api/portfolios/{portfolio_id}",
        "GET /api/portfolios/{portfolio_id}/actions",
        "GET /api/portfolios/{portfolio_id}/export",
        "GET /api/portfolios/{portfolio_id}/flows",
        "GET /api/portfolios/{portfolio_id}/gains",
        "GET /api/portfolios/{portfolio_id}/goals",
        "GET /api/portfolios/{portfolio_id}/imports",
        "GET /api/portfolios/{portfolio_id}/performance",
        "GET /api/portfolios/{portfolio_id}/projection/{job_id}",
        "GET /api/portfolios/{portfolio_id}/statement",
        "GET /api/portfolios/{portfolio_id}/stream",
        "GET /api/portfolios/{portfolio_id}/targets",
        "GET /api/portfolios/{portfolio_id}/transactions",
        "GET /api/rebalance",
        "GET /api/rebalance/{proposal_id}",
        "GET /api/rebalance/{proposal_id}/worksheet",
        "GET /api/backtest/{job_id}/series",
        "GET /api/backtest/{job_id}/status",
        "GET /api/jobs",
        "GET /api/jobs/{job_id}",
        "GET /api/jobs/{job_id}/events",
    ),
    "propose": (
        "POST /api/rebalance/predict",
        "POST /api/models/{model_id}/preview",
        "POST /api/backtest",
        "POST /api/jobs/{job_id}/cancel",
        "POST /api/jobs/{job_id}/requeue",
        "POST /api/market/assets",
        "POST /api/portfolios/{portfolio_id}/projection",
        "POST /api/portfolios/{portfolio_id}/stress",
        "POST /api/table-sketches",
        "POST /api/portfolios/{portfolio_id}/targets",
    ),
    "trade": (
        "POST /api/models",
        "PATCH /api/models/{model_id}",
        "DELETE /api/models/{model_id}",
        "POST /api/models/{model_id}/publish",
        "PUT /api/portfolios/{portfolio_id}/model",
        "DELETE /api/portfolios/{portfolio_id}/model",
        "PUT /api/mapping-profiles/{name}",
        "DELETE /api/mapping-profiles/{name}",
        "POST /api/automation/stop",
        "PUT /api/portfolios/{portfolio_id}/alerts",
        "PUT /api/portfolios/{portfolio_id}/automation",
        "POST /api/portfolios",
        "PUT /api/portfolios/{portfolio_id}",
        "PUT /api/portfolios/{portfolio_id}/goals",
        "PATCH /api/portfolios/{portfolio_id}",
        "DELETE /api/portfolios/{portfolio_id}",
        "POST /api/portfolios/{portfolio_id}/actions",
        "POST /api/portfolios/{portfolio_id}/cash-flows",
        "POST /api/portfolios/{portfolio_id}/flows",
        "PATCH /api/portfolios/{portfolio_id}/flows",
        "PUT /api/portfolios/{portfolio_id}/flows/{flow_id}",
        "DELETE /api/portfolios/{portfolio_id}/flows/{flow_id}",
        "POST /api/portfolios/{portfolio_id}/flows/{flow_id}/confirm",
        "POST /api/portfolios/{portfolio_id}/flows/{flow_id}/skip",
        "POST /api/portfolios/{portfolio_id}/imports",
        "POST /api/portfolios/{portfolio_id}/imports/{import_id}/undo",
        "POST /api/portfolios/{portfolio_id}/transactions",
        "POST /api/portfolios/{portfolio_id}/transactions/{entry_id}/void",
        "POST /api/rebalance/{proposal_id}/accept",
        "POST /api/rebalance/{proposal_id}/cancel",
        "POST /api/rebalance/{proposal_id}/reject",
    ),
}
"""Routes by the scope that an API key needs; all others of accounts need a login."""

KEYS = {"read": {"read"}, "propose": {"read", "propose"}, "trade": {"read", "trade"}}
"""Scopes of each API key of the owner, with those that they include."""


@attrs.frozen
class World:
    """Callers, and the ids of what the owner has; each test works on a copy of the store.

    Attributes:
        callers: Headers by name.
        ids: Ids by name of a path parameter.
    """

    api: RunningApi
    work: MemoryWork
    callers: dict[str, dict[str, str]]
    ids: dict[str, str]

    def send(self, name: str, caller: str) -> httpx.Response:
        """Send a request of a caller to a route."""
        method, _, path = name.partition(" ")
        route = ROUTES[name]
        headers = self.callers[caller] | route.headers
        params = {key: self._fill(value) for key, value in route.query.items()}
        body = route.body
        if isinstance(body, dict):
            body = {k: self._fill(v) if isinstance(v, str) else v for k, v in body.items()}
        url = self._fill(path)
        client = self.api.client
        return checked(client.request(method, url, headers=headers, params=params, json=body))

    def protected(self) -> list[Any]:
        """Return what only the owner, or an operator, can change."""
        with self.api.work.read() as tx:
            portfolio = UUID(self.ids["portfolio_id"])
            return [
                tx.portfolios.get(portfolio),
                tx.portfolios.ledger(portfolio).entries,
                tx.shares.of_portfolio(portfolio),
                tx.proposals.get(UUID(self.ids["proposal_id"])),
                tx.jobs.get(UUID(self.ids["job_id"])),
                tx.users.page(limit=99),
            ]

    def _fill(self, text: str) -> str:
        return text.format_map(self.ids)


def api_key(user: ApiUser, scope: str) -> dict[str, str]:
    """Create an API key; return the headers of a request with it."""
    made = user.post("/api/users/api-keys", {"name": scope, "scopes": [scope]})
    assert made.status_code == 201, made.text
    return {"Authorization": f"Bearer {made.json()['key']}"}


@pytest.fixture(scope="module")
def world(shared: RunningApi) -> World:
    """Register every caller, and give the owner one thing of each kind."""
    work = MemoryWork()
    shared.fakes.reset(work)
    users = {
        name: shared.register(f"{name}@example.org")
        for name in ("owner", "reader", "proposer", "former", "disabled", "stranger", "operator")
    }
    for name in ("reader", "proposer", "former", "disabled"):
        set_user(shared, users[name], role=Role.ADVISER)
    set_user(shared, users["operator"], role=Role.OPERATOR)
    owner, target = users["owner"], shared.register("target@example.org")
    portfolio = owner.portfolio()["id"]
    shares = {}
    for name in ("reader", "proposer", "former", "disabled"):
        right = "read" if name == "reader" else "propose"
        shares[name] = share(owner, portfolio, f"{name}@example.org", right)["id"]
        accept(users[name], shares[name])
    ids = {
        "portfolio_id": portfolio,
        "import_id": owner.imported(portfolio)["id"],
        "model_id": owner.model()["id"],
        "flow_id": owner.planned(portfolio)["id"],
        "proposal_id": owner.proposal(portfolio)["id"],
        "entry_id": owner.get(f"/api/portfolios/{portfolio}/transactions").json()["items"][0]["id"],
        "job_id": start_backtest(owner)["id"],
        "share_id": shares["proposer"],
        "user_id": str(target.id),
        "symbol": "C",
        "series": "DGS10",
        "name": "band",
    }
    finished_job(owner, f"/api/jobs/{ids['job_id']}")
    ended, other = shared.log_in("owner@example.org"), shared.log_in("owner@example.org")
    logins = other.get("/api/users/sessions").json()["items"]
    (ids["id"],) = [one["id"] for one in logins if one["current"]]
    log_out = {"refresh_token": ended.login["refresh_token"]}
    assert shared.client.post("/api/users/logout", json=log_out).status_code == 204
    for done in (
        owner.delete(f"/api/portfolios/{portfolio}/shares/{shares['former']}"),
        users["operator"].post(f"/api/operators/users/{users['disabled'].id}/disable"),
    ):
        assert done.status_code in (200, 204), done.text
    with work.begin() as tx:
        for user in users.values():
            tx.passkeys.add(passkey := a_passkey(user.id))
            ids.setdefault("passkey_id", str(passkey.id))  # the owner's
            tx.notice_targets.add(target := a_target(user.id, address="https://127.0.0.1/"))
            ids.setdefault("target_id", str(target.id))
            tx.notice_deliveries.add(message := a_delivery(a_notice(user.id)))
            tx.notice_deliveries.close(message.id, DeliveryState.FAILED, NOW)
            ids.setdefault("message_id", str(message.id))
    keys = {f"{scope} key": api_key(owner, scope) for scope in KEYS}
    keys |= {f"{name} key": api_key(users[name], "trade") for name in ("stranger", "operator")}
    ids["key_id"] = owner.get("/api/users/api-keys").json()["items"][-1]["id"]
    callers = {"anonymous": {}, "ended": ended.headers}
    callers |= keys | {name: user.headers for name, user in users.items()}
    return World(shared, work, callers, ids)


def test_scopes_name_routes_of_accounts_once() -> None:
    named = [name for names in SCOPES.values() for name in names]
    assert len(named) == len(set(named))
    assert all(ROUTES[name].right not in ("public", "received", "operate") for name in named)


def test_every_route_has_a_row(world: World) -> None:
    document = world.api.client.get("/docs/openapi.json").json()
    methods = {"get", "post", "put", "patch", "delete"}
    routes = {
        f"{method.upper()} {path}": operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method in methods
    }
    assert routes.keys() == ROUTES.keys()
    assert {name for name, one in routes.items() if not one.get("security")} == {
        name for name, row in ROUTES.items() if row.right == "public"
    }


@pytest.mark.parametrize("name", ROUTES)
def test_callers_have_their_rights_and_no_others(world: World, name: str) -> None:
    route = ROUTES[name]
    rights = dict(zip(CALLERS, RIGHTS[route.right], strict=True))
    world.api.work.reset(copy.copy(world.work))
    before = world.protected()
    for caller in CALLERS:
        if rights[caller] != OK:
            answer = world.send(name, caller)
            assert answer.status_code == rights[caller], (caller, answer.text)
    assert world.protected() == before
    for caller in CALLERS:
        if rights[caller] == OK:
            answer = world.send(name, caller)
            assert answer.status_code == route.ok, (caller, answer.text)


@pytest.mark.parametrize("name", [name for name in ROUTES if "portfolio_id" in name])
def test_foreign_and_unknown_ids_get_the_same_answer(world: World, name: str) -> None:
    world.api.work.reset(copy.copy(world.work))
    nowhere = attrs.evolve(world, ids=world.ids | {"portfolio_id": str(UNKNOWN_ID)})
    for caller in ("stranger", "former", "operator"):
        there, missing = world.send(name, caller), nowhere.send(name, caller)
        text = there.text.replace(world.ids["portfolio_id"], str(UNKNOWN_ID))
        assert (there.status_code, text) == (missing.status_code, missing.text)


@pytest.mark.parametrize("name", [name for name in ROUTES if ROUTES[name].right != "public"])
def test_api_keys_allow_what_their_scopes_list(world: World, name: str) -> None:
    world.api.work.reset(copy.copy(world.work))
    needed = next((scope for scope, names in SCOPES.items() if name in names), None)
    before, route = world.protected(), ROUTES[name]
    refused = {key for key, scopes in KEYS.items() if needed not in scopes}
    for key in refused:
        answer = world.send(name, f"{key} key")
        assert answer.status_code == 403, (key, answer.text)
        expected = "login_expected" if needed is None else "scope_missing"
        assert answer.json()["code"] == expected
    for caller in ("stranger", "operator"):
        answer = world.send(name, f"{caller} key")
        rights = dict(zip(CALLERS, RIGHTS[route.right], strict=True))
        if needed in KEYS["trade"]:
            assert answer.status_code == (rights[caller] or route.ok), (caller, answer.text)
        else:
            assert answer.status_code == 403, (caller, answer.text)
    if route.right not in ("personal", "operate"):
        assert world.protected() == before
    for key in KEYS.keys() - refused:
        answer = world.send(name, f"{key} key")
        assert answer.status_code == route.ok, (key, answer.text)
