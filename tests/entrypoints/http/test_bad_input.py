"""Invalid requests get an error that names the field, and change nothing."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.entrypoints.http.conftest import UNKNOWN_ID, ApiUser, RunningApi, checked, expect_problem

pytestmark = pytest.mark.parametrize("store", ["memory"], indirect=True)

TRADE = {"side": "buy", "symbol": "C", "quantity": "1", "price": "7.5", "cost": "0.1"}
ROUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "register": (
        "/api/users/register",
        {"email": "b@example.org", "password": "long enough words"},
    ),
    "login": ("/api/users/login", {"email": "ada@example.org", "password": "wrong"}),
    "refresh": ("/api/users/refresh", {"refresh_token": "x"}),
    "logout": ("/api/users/logout", {"refresh_token": "x"}),
    "assess": ("/api/risk/assessment", {"answers": {"horizon": "x"}}),
    "open": (
        "/api/portfolios",
        {
            "name": "Mine",
            "targets": {"C": 0.5},
            "cash": "10",
            "holdings": {"F": "2"},
            "on": "2022-12-01",
            "risk_profile": None,
            "preferences": {"band": 0.1, "min_trade": "5", "do_not_sell": ["C"]},
        },
    ),
    "revise": ("PUT /api/portfolios/{portfolio}", {"name": "Mine", "targets": {"C": 0.5}}),
    "patch": ("PATCH /api/portfolios/{portfolio}", {"name": "Other", "targets": {"F": 0.2}}),
    "flow": (
        "/api/portfolios/{portfolio}/cash-flows",
        {"kind": "deposit", "amount": "5", "on": "2022-12-01", "note": "n"},
    ),
    "trades": ("/api/portfolios/{portfolio}/transactions", {"trades": [TRADE]}),
    "predict": (
        "/api/rebalance/predict",
        {"portfolio_id": str(UNKNOWN_ID), "policy": "band", "cash_flow": "1", "cost_bps": 5},
    ),
    "accept": ("/api/rebalance/{proposal}/accept", {"mode": "paper"}),
    "reject": ("/api/rebalance/{proposal}/reject", {"remark": "no"}),
    "backtest": (
        "/api/backtest",
        {"policies": ["monthly"], "from": "2022-11-14", "targets": {"C": 1}, "capital": 5},
    ),
}
OPTIONAL = ("accept", "reject")
"""Routes whose body is optional."""


class Target:
    """A route, and the state that must not change."""

    def __init__(self, ada: ApiUser, name: str) -> None:
        path, self.body = ROUTES[name]
        ids = {}
        if "{" in path or name == "predict":
            ids["portfolio"] = ada.portfolio()["id"]
        if "{proposal}" in path:
            ids["proposal"] = ada.proposal(ids["portfolio"])["id"]
        self.method, _, path = path.rpartition(" ")
        self.path = path.format(**ids)
        self.ada = ada
        self.before = self._everything()

    def _everything(self) -> str:
        return json.dumps(
            [
                self.ada.get(path).json()
                for path in ("/api/portfolios", "/api/rebalance", "/api/users/profile")
            ]
        )

    def refuses(self, content: bytes, status: int = 400, **options: Any) -> list[str]:
        """Check that a body is rejected without effect; return the fields that are named."""
        headers = {"Content-Type": "application/json", "If-Match": '"1"'}
        headers |= options.pop("headers", {})
        answer = self.ada.ask(self.method or "POST", self.path, content=content, headers=headers)
        assert answer.status_code == status, (content[:200], answer.text[:500])
        assert self._everything() == self.before
        return [error["field"] for error in answer.json().get("errors", ())]


@pytest.fixture(params=ROUTES)
def target(request: pytest.FixtureRequest, ada: ApiUser) -> Target:
    return Target(ada, request.param)


def test_malformed_json_is_rejected(target: Target) -> None:
    for content in (
        b"{",
        b"{}}",
        b"nonsense",
        b"[]",
        b"[{}]",
        b"null",
        b'""',
        b"5",
        b"\xff\xfe",
        b'{"\xff": 1}',
        b"{'a': 1}",
        b" ",
        b"\x00",
        b"[" * 2_000,
        b'{"a":' * 2_000,
        b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
        b"[" * 2_000 + b"]" * 2_000,
    ):
        assert target.refuses(content) == ["body"]


def test_empty_body_is_rejected(target: Target, request: pytest.FixtureRequest) -> None:
    if request.node.callspec.params["target"] in OPTIONAL:
        return
    assert target.refuses(b"") == ["body"]


def test_large_body_is_rejected(target: Target) -> None:
    assert target.refuses(b" " * 10_000_000, 413) == []
    text = json.dumps({**target.body, "x": "y" * 2_000_000}).encode()
    assert target.refuses(text, 413) == []


def test_other_media_types_are_rejected(target: Target) -> None:
    content = json.dumps(target.body).encode()
    for kind in (
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/msgpack",
        "nonsense",
    ):
        assert target.refuses(content, 415, headers={"Content-Type": kind}) == []


def test_unknown_and_duplicate_keys_are_rejected(target: Target) -> None:
    assert target.refuses(json.dumps({**target.body, "surprise": 1}).encode()) == ["surprise"]
    assert target.refuses(json.dumps({**target.body, "": 1}).encode()) != []
    for key, value in target.body.items():
        pair = f"{json.dumps(key)}: {json.dumps(value)}"
        assert target.refuses(f"{{{pair}, {pair}}}".encode()) == [key]


REQUIRED = {
    "register": ["email", "password"],
    "login": ["email", "password"],
    "refresh": ["refresh_token"],
    "logout": ["refresh_token"],
    "assess": ["answers"],
    "open": ["name", "targets"],
    "revise": ["name", "targets"],
    "flow": ["kind", "amount"],
    "trades": ["trades"],
    "predict": ["portfolio_id"],
    "backtest": ["policies"],
}


def test_every_missing_field_is_named(target: Target, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.params["target"]
    if name in REQUIRED:
        assert target.refuses(b"{}") == REQUIRED[name]


WRONG = [
    "null",
    "true",
    "[]",
    "{}",
    '"x"',
    '""',
    "-1",
    "1.5",
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999999",
    "1e9999999",
    "-1e999999999999999999",
    "1e-9999999",
    "0e999999999",
    "-0.0",
    '"NaN"',
    '"Infinity"',
    '"1e5"',
    '"-1"',
    '"1,5"',
    '" 1"',
    '"\\u0661"',  # an Arabic digit
    '"1\\n"',
    "9" * 5000,
    '"' + "9" * 5000 + '"',
    '"2022-02-30"',
    '"2022-12-01T00:00:00"',
    '"2022-12-01T00:00:00Z"',
    '"2022-1-1"',
    '"\\ud800"',
    '"\\u0000"',
    '"x' + "y" * 1000 + '"',
    '{"a": {"b": {"c": []}}}',
    '[[["deep"]]]',
    '{"C": NaN}',
    '{"C": -0.5}',
    '{"C": 1e999999}',
    '{"EUR": 1e9999999}',
    '{"\\ud800": 1}',
    '{"": 1}',
    '{"x y": 1}',
    '{"C": 0.1, "C": 0.2}',
    '["C", 5]',
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value in a body."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*path, key))


def path_text(path: tuple[Any, ...]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


ALLOWED = (401, 404, 409, 412, 429)
"""Statuses of valid requests that find no such thing, or come too often as logins do."""


def test_wrong_values_are_rejected_anywhere(target: Target) -> None:
    """Each wrong value is rejected by its path, unless it is valid at this place."""
    marker = "@@@"
    for path in places(target.body):
        body = copy.deepcopy(target.body)
        inner = body
        for part in path[:-1]:
            inner = inner[part]
        inner[path[-1]] = marker
        template = json.dumps(body)
        for wrong in WRONG:
            content = template.replace(f'"{marker}"', wrong).encode()
            headers = {"Content-Type": "application/json", "If-Match": '"1"'}
            answer = target.ada.ask(
                target.method or "POST", target.path, content=content, headers=headers
            )
            assert answer.status_code < 500, (content[:300], answer.text)
            if answer.status_code in (400, 422):
                here, errors = path_text(path), answer.json()["errors"]
                assert errors
                for error in errors:
                    named = error["field"]
                    if error["code"] == "duplicate_key":
                        continue  # it is found while the text is parsed, without a path
                    related = named.startswith(here) or here.startswith(named) or named == "body"
                    assert related or answer.status_code == 422, (here, wrong, error)
            else:
                assert answer.is_success or answer.status_code in ALLOWED, answer.text


NOT_MONEY = [
    "NaN", "Infinity", "-Infinity", "1e999999", "-1", '"NaN"', '"-1"', '"1e3"', '"+1"', '"01"',
    '".5"', '"1."', "0.1", "1.5", '"1_000"', "true", "null", "1e9999999", '"1000000000000000"',
    "10" * 20,
    '"0.0000000000001"', '"\\u00b2"', '"1 "', '"0x10"',
]  # fmt: skip


@pytest.mark.parametrize("amount", NOT_MONEY)
def test_money_is_exact_text(ada: ApiUser, amount: str) -> None:
    path = f"/api/portfolios/{ada.portfolio()['id']}"
    for where, body, field in (
        ("/cash-flows", '{"kind": "deposit", "amount": %s}', "amount"),
        (
            "/transactions",
            '{"trades": [{"side": "buy", "symbol": "C", "quantity": %s, "price": "7.7"}]}',
            "trades[0].quantity",
        ),
    ):
        answer = ada.ask(
            "POST",
            path + where,
            content=(body % amount).encode(),
            headers={"Content-Type": "application/json"},
        )
        expect_problem(answer, 400, field)
    opening = '{"name": "x", "targets": {"C": 1}, "holdings": {"C": "1", "F": %s}}'
    answer = ada.ask("POST", "/api/portfolios", content=(opening % amount).encode())
    expect_problem(answer, 400, "holdings.F")
    assert ada.get(path).json()["version"] == 1


@pytest.mark.parametrize(
    "weight",
    ["NaN", "Infinity", "1e999999", "-0.1", "1.0000001", '"0.5"', "true", "null", "2", "[]"],
)
def test_weights_are_fractions(ada: ApiUser, weight: str) -> None:
    for field in ("band", "max_turnover", "max_weight", "max_departure"):
        if weight == "null" and field != "max_departure":
            continue
        body = f'{{"name": "x", "targets": {{"C": 1}}, "preferences": {{"{field}": {weight}}}}}'
        answer = ada.ask("POST", "/api/portfolios", content=body.encode())
        expect_problem(answer, 400, f"preferences.{field}")
    body = f'{{"name": "x", "targets": {{"A": 0.1, "C": {weight}, "F": 0.1}}}}'
    expect_problem(ada.ask("POST", "/api/portfolios", content=body.encode()), 400, "targets.C")


def test_minus_zero_is_zero(ada: ApiUser) -> None:
    body = b'{"name": "x", "targets": {"C": -0.0, "F": 1}, "cash": "0.00"}'
    opened = ada.ask("POST", "/api/portfolios", content=body).json()
    assert str(opened["targets"].get("C", 0.0)) == "0.0"
    expect_problem(
        ada.post("/api/portfolios", {"name": "x", "targets": {}, "cash": "-0"}), 400, "cash"
    )


def test_symbols_must_be_known(ada: ApiUser) -> None:
    for symbol in ("NIL", "c", "A B", "x" * 33, "\u00e4", "'; DROP TABLE users --", "../.."):
        body = {"name": "x", "targets": {"C": 0.5, symbol: 0.1}}
        expect_problem(ada.post("/api/portfolios", body), 422)
        held = {"name": "x", "targets": {"C": 0.5}, "holdings": {symbol: "1"}}
        expect_problem(ada.post("/api/portfolios", held), 422)
    for symbol in ("", " ", " A", "A ", "x" * 201, "A\n", "A\tB"):
        body = {"name": "x", "targets": {symbol: 0.1}}
        expect_problem(ada.post("/api/portfolios", body), 400)


@pytest.mark.parametrize(
    "id", ["x", "1", "00000000", "g" * 32, "'", "%00", "%ff", "..%2f", "a" * 5000, "%F0%9F%92%A9"]
)
def test_invalid_id_is_rejected(ada: ApiUser, id: str) -> None:
    for path in ("/api/portfolios/{}", "/api/rebalance/{}", "/api/backtest/{}/status"):
        expect_problem(ada.get(path.format(id)), 404)
    expect_problem(ada.get("/api/rebalance", params={"portfolio_id": id}), 400, "portfolio_id")


def test_name_may_hold_any_printable_text(ada: ApiUser) -> None:
    name = "Zoë's \N{PILE OF POO}  <script>alert(1)</script> \\ ' \" ; --"
    opened = ada.portfolio(name=name)
    assert opened["name"] == name
    assert ada.get(f"/api/portfolios/{opened['id']}").json()["name"] == name
    for nothing in ("", "   ", "x" * 101, "two\nlines", "end\n", "\x00", "a\x1bb"):
        refused = ada.post("/api/portfolios", {"name": nothing, "targets": {"C": 1}})
        assert refused.status_code in (400, 422)
        assert refused.json()["errors"][0]["field"] == "name"


def test_invalid_email_is_rejected(api: RunningApi) -> None:
    for email in (
        "x",
        "@",
        "a@b",
        "a@b@c.de",
        "a b@c.de",
        "a@.de",
        "a@c..de",
        "a\n@c.de",
        "\x00@c.de",
        "x" * 65 + "@c.de",
    ):
        answer = checked(
            api.client.post(
                "/api/users/register", json={"email": email, "password": "long enough words"}
            )
        )
        expect_problem(answer, 400 if "\x00" in email else 422, "email")


def test_nul_character_is_rejected(api: RunningApi) -> None:
    for path, body, field in (
        ("/api/users/login", {"email": "a\0b@x.org", "password": "long enough words"}, "email"),
        (
            "/api/users/register",
            {"email": "a@x.org", "password": "lo\0ng enough words"},
            "password",
        ),
    ):
        assert "U+0000" in expect_problem(checked(api.client.post(path, json=body)), 400, field)


def test_wrong_method_gets_the_allowed_ones(api: RunningApi, ada: ApiUser) -> None:
    both = {"GET", "HEAD", "POST", "OPTIONS"}
    for method, path, allowed in (
        ("DELETE", "/api/portfolios", both),
        ("POST", f"/api/portfolios/{UNKNOWN_ID}", both - {"POST"} | {"PUT", "PATCH", "DELETE"}),
        ("GET", "/api/users/login", {"POST", "OPTIONS"}),
        ("HEAD", "/api/users/login", {"POST", "OPTIONS"}),
        ("POST", "/health/live", {"GET", "HEAD", "OPTIONS"}),
        ("TRACE", "/api/portfolios", both),
        ("BREW", "/api/portfolios", both),
    ):
        answer = api.client.request(method, path)
        assert answer.status_code == 405, (method, path)
        assert set(answer.headers["allow"].split(", ")) == allowed
    asked = api.client.options("/api/portfolios")
    assert asked.status_code == 204
    assert set(asked.headers["allow"].split(", ")) == both


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/",
        "/api/nope",
        "/nope?x=1",
        "/api/portfolios/x/y/z",
        "/%00",
        "/docs/static/../../etc/passwd",
        "/docs/static/%2e%2e/%2e%2e/etc/passwd",
        "/docs/static/nope.js",
        "/docs/static/",
    ],
)
def test_unknown_path_is_not_found(api: RunningApi, path: str) -> None:
    expect_problem(checked(api.client.get(path)), 404)


def test_messages_of_invalid_fields(ada: ApiUser) -> None:
    for change, message in (
        ({"name": 5}, "name: expected text, got a whole number"),
        ({"name": "a\nb"}, "name: expected one line of text, without control characters"),
        ({"currency": "usd"}, "currency: expected a currency code such as USD"),
        ({"targets": {"C": 0.5, " B": 0.5}}, "targets. B: expected a symbol such as AAPL"),
        ({"targets": []}, "targets: expected an object, got a list"),
        ({"targets": {"C": "x"}}, 'targets.C: expected a number from 0 to 1, got "x"'),
        ({"acknowledge_limits": "yes"}, "acknowledge_limits: expected true or false, got text"),
        ({"preferences": None}, "preferences: expected an object, got null"),
        ({"preferences": {"band": 2}}, "preferences.band: expected a number from 0 to 1, got 2"),
        (
            {"colour": 1},
            "colour: unknown field; known fields: name, targets, currency, risk_profile, "
            "preferences, acknowledge_limits, conversions, corporate_actions, target_groups, "
            "look_through, cash, holdings, on",
        ),
        ({"target": {}}, "target: unknown field; did you mean targets?"),
        (
            {"preferences": {"min_trades": "1"}},
            "preferences.min_trades: unknown field; did you mean min_trade?",
        ),
        (
            {"risk_profile": "bold"},
            "risk_profile: expected one of conservative, cautious, balanced, growth, aggressive, "
            'got "bold"',
        ),
        ({"on": "today"}, "on: expected a date such as 2022-12-28"),
    ):
        body = {"name": "Mine", "targets": {"C": 1}} | change
        assert expect_problem(ada.post("/api/portfolios", body), 400) == message


def test_all_faults_of_a_body_are_reported_at_once(ada: ApiUser) -> None:
    body = {
        "name": 5,
        "targets": {"C": 0.7, "F": 0.7},
        "currency": "usd",
        "risk_profile": "bold",
        "preferences": {"quantity_step": "0", "band": 2, "do_not_sell": ["A\tB", "C", 5], "x": 1},
        "holdings": {"C": "-1", "F\nG": "1", "F": "2"},
        "cash": 1.5,
        "colour": "red",
    }
    refused = ada.post("/api/portfolios", body)
    expect_problem(
        refused,
        400,
        "colour",
        "name",
        "targets",
        "currency",
        "risk_profile",
        "preferences.x",
        "preferences.quantity_step",
        "preferences.do_not_sell[0]",
        "preferences.do_not_sell[2]",
        "preferences.band",
        "cash",
        "holdings.C",
        "holdings.F\nG",
    )
    body = refused.json()
    assert body["code"] == "validation_failed"
    assert body["type"] == "urn:rebalancer:problem:validation_failed"
    assert body["detail"].startswith("colour: unknown field; known fields: name, targets")
    codes = {error["field"]: error["code"] for error in body["errors"]}
    assert codes["colour"] == codes["preferences.x"] == "unknown_field"
    assert codes["name"] == codes["holdings.F\nG"] == "invalid_value"


def test_all_broken_rules_of_a_body_are_reported_at_once(ada: ApiUser) -> None:
    body = {
        "name": "   ",
        "targets": {"C": 0.7, "F": 0.7},
        "preferences": {"quantity_step": "0"},
    }
    fields = ("name", "targets", "preferences.quantity_step")
    expect_problem(ada.post("/api/portfolios", body), 422, *fields)


def test_one_fault_gives_its_code_to_the_problem(ada: ApiUser) -> None:
    body = ada.post("/api/portfolios", {"name": "Mine"}).json()
    assert body["type"] == "urn:rebalancer:problem:missing_field"
    assert body["errors"] == [
        {"field": "targets", "message": "the field is required", "code": "missing_field"}
    ]


def test_faults_in_a_response_are_limited(ada: ApiUser) -> None:
    refused = ada.post("/api/portfolios", {f"x{number}": 1 for number in range(15_000)})
    assert refused.status_code == 400
    assert len(refused.json()["errors"]) == 100
    unknown = {f"X{number}": 0.001 for number in range(200)}
    refused = ada.post("/api/portfolios", {"name": "Mine", "targets": unknown, "cash": "1"})
    assert refused.status_code == 422
    assert len(refused.json()["errors"]) == 100


def test_long_texts_are_not_echoed(ada: ApiUser) -> None:
    """An error must not be larger than the request that caused it."""
    long = "a" * 50_000
    opening = {"name": "Mine", "targets": {}}
    bodies: list[dict[str, Any]] = [
        {long: 1},
        {"name": long},
        {"targets": {long: 0.5}},
        {"targets": {"C": long}},
        {"cash": long},
        {"holdings": {long: long}},
        {"on": long},
        {"currency": long},
        {"risk_profile": long},
        {"preferences": {long: 1}},
        {"preferences": {"do_not_sell": [long]}},
    ]
    for body in bodies:
        refused = ada.post("/api/portfolios", opening | body)
        assert refused.status_code in (400, 422), refused.text
        assert len(refused.content) < 4_000, body.keys()
    doubled = f'{{"{long}": 1, "{long}": 1}}'.encode()
    refused = ada.ask("POST", "/api/portfolios", content=doubled)
    assert refused.json()["code"] == "duplicate_key"
    assert len(refused.content) < 4_000
    asked = {"portfolio_id": str(UNKNOWN_ID), "policy": long}
    assert len(ada.post("/api/rebalance/predict", asked).content) < 4_000
    for path in (
        f"/api/policies/{long[:5000]}",
        f"/api/market/data/{long[:5000]}",
        f"/{long[:5000]}",
    ):
        assert len(ada.get(path).content) < 4_000


def test_one_fault_among_many_fields_is_found(ada: ApiUser) -> None:
    many = {f"A{number}": 0.0 for number in range(499)}
    body = {"name": "x", "targets": many | {"Z": 5}, "holdings": dict.fromkeys(many, "1")}
    expect_problem(ada.post("/api/portfolios", body), 400, "targets.Z")


def test_all_unknown_symbols_are_reported_at_once(ada: ApiUser) -> None:
    body = {"name": "Mine", "targets": {"XYZ": 0.5, "C": 0.1, "ZZZ": 0.2}, "cash": "100"}
    refused = ada.post("/api/portfolios", body)
    expect_problem(refused, 422, "targets.XYZ", "targets.ZZZ")
    errors = refused.json()["errors"]
    assert [(one["field"], one["code"]) for one in errors] == [
        ("targets.XYZ", "unknown_symbol"),
        ("targets.ZZZ", "unknown_symbol"),
    ]


def test_all_faults_of_a_registration_are_reported_at_once(ada: ApiUser) -> None:
    body = {"email": "x", "password": "short", "name": "Ada"}
    detail = expect_problem(ada.post("/api/users/register", body), 400, "email", "password")
    assert detail == (
        "email: invalid e-mail address; write it like ada@example.org; "
        "password: expected text of at least 15 characters"
    )


def test_disallowed_method_names_the_allowed_ones(ada: ApiUser) -> None:
    refused = ada.delete("/api/portfolios")
    assert "DELETE is not allowed here; use one of" in expect_problem(refused, 405)
    assert {"GET", "POST"} <= set(refused.headers["Allow"].replace(" ", "").split(","))


def test_all_faults_that_need_prices_are_reported_at_once(ada: ApiUser) -> None:
    body = {
        "name": "Mine",
        "targets": {"XYZ": 0.5, "C": 0.1},
        "holdings": {"QQQ": "1", "F": "2", "ZZZ": "1"},
        "cash": "0.001",
        "on": "1999-01-01",
        "currency": "EUR",
    }
    fields = ("currency", "targets.XYZ", "on", "cash", "holdings.QQQ", "holdings.ZZZ")
    expect_problem(ada.post("/api/portfolios", body), 422, *fields)
    path = f"/api/portfolios/{ada.portfolio()['id']}/transactions"
    trades = [TRADE | {"symbol": "XYZ"}, TRADE, TRADE | {"quantity": "0"}, TRADE | {"price": "99"}]
    fields = ("trades[0].symbol", "trades[2].quantity", "trades[3].price")
    expect_problem(ada.post(path, {"trades": trades}), 422, *fields)


def test_all_faults_of_a_questionnaire_are_reported_at_once(ada: ApiUser) -> None:
    refused = ada.post("/api/risk/assessment", {"answers": {"horizon": "x", "colour": "red"}})
    named = [error["field"] for error in refused.json()["errors"]]
    assert named[:3] == ["answers.colour", "answers.horizon", "answers.needed_soon"]
    assert len(named) == 13
