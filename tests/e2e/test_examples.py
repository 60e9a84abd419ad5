"""The examples of the OpenAPI document work as they stand on a demo server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx

from rebalancer.entrypoints.schemas import examples
from tests.e2e.conftest import Running, until

NOT_YET = {
    "api_key_not_found",
    "flow_not_found",
    "mapping_profile_not_found",
    "message_not_found",
    "notice_target_not_found",
    "email_taken",  # by the account that another example has registered
    "invalid_credential",
    "mailed_link_invalid",
    "model_not_found",
    "one_proof_expected",
    "operator_required",
    "passkey_not_found",
    "proof_missing",
    "second_factor_missing",
    "session_not_found",
    "share_not_found",
    "wrong_code",
}
"""Codes of examples that need what a demo account lacks: a secret, a device, a right, a model."""

LATER = (
    "/void",
    "/refresh",
    "/logout",
    "/reject",
    "/accept",
    "/cancel",
    "/requeue",
    "/email",
    "/password",
)
"""Ends of paths whose examples follow those that create what they need, in this order."""


ONLINE = {
    ("post", "/api/market/assets"),
    ("get", "/api/market/fundamentals/{symbol}"),
    ("get", "/api/market/series/{series}"),
}
"""Operations that need providers, and a store for prices."""


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    found = [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if (method, path) not in ONLINE
    ]

    def place(one: tuple[str, str, Any]) -> tuple[bool, bool, int]:
        late = next((at + 1 for at, end in enumerate(LATER) if one[1].endswith(end)), 0)
        ends_logins = one[1] == "/api/users/account"
        is_delete = one[0] == "delete"
        return ends_logins, is_delete, -one[1].count("/") if is_delete else late

    yield from sorted(found, key=place)


def bodies(document: dict[str, Any], operation: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the media type and the example of each body of an operation; one None without any."""
    content = operation.get("requestBody", {}).get("content", {})
    for kind, described in content.items():
        if kind == "multipart/form-data":  # the example of JSON has the same fields
            continue
        name = described["schema"]["$ref"].rpartition("/")[2]
        for example in document["components"]["schemas"][name]["examples"]:
            yield kind, example
    if not content:
        yield "", None


def test_examples_work_as_they_stand(serve: Callable[..., Running]) -> None:
    running = serve("--upgrade", "--demo", env={"REBALANCER_RATE_LIMIT": "0"})
    with running.client() as client:
        document = client.get("/docs/openapi.json").json()
        who = {"email": examples.EMAIL, "password": examples.PASSWORD}
        login = client.post("/api/users/login", json=who).json()
        client.headers["Authorization"] = f"Bearer {login['access_token']}"

        def read(path: str) -> Any:
            answer = client.get(path)
            assert answer.status_code == 200, answer.text
            return answer.json()

        def new_id(kind: str, path: str) -> str:
            """Return the id of a resource on which the operation is possible."""
            if kind == "proposal_id":
                body = {"portfolio_id": str(examples.PORTFOLIO), "policy": "band"}
                return str(client.post("/api/rebalance/predict", json=body).json()["id"])
            if kind == "entry_id":
                entries = f"/api/portfolios/{examples.PORTFOLIO}/transactions"
                items = read(entries)["items"]
                return next(
                    str(one["id"]) for one in items if not (one["voids"] or one["voided_by"])
                )
            if kind == "import_id":
                file = "date,kind,symbol,quantity,price,amount\n2022-01-04,deposit,,,,1\n"
                body = {"file": file, "dry_run": False}
                imports = f"/api/portfolios/{examples.PORTFOLIO}/imports"
                return str(client.post(imports, json=body).json()["record"]["id"])
            (job, *_) = read("/api/jobs")["items"]
            until(lambda: read(f"/api/jobs/{job['id']}")["finished"] is not None)
            return str(job["id"])

        sent, refused = 0, []
        for method, path, operation in operations(document):
            # Streams do not end by themselves; the token to unsubscribe comes by mail.
            if path.endswith(("/stream", "/unsubscribe")):
                continue
            required = {p["name"]: p for p in operation.get("parameters", ()) if p["required"]}
            values = {
                name: parameter["example"] if "example" in parameter else new_id(name, path)
                for name, parameter in required.items()
            }
            headers = {n: v for n, v in values.items() if required[n]["in"] == "header"}
            url = path.replace("{", "{0[").replace("}", "]}").format(values)
            for kind, example in bodies(document, operation):
                more = {"Content-Type": kind} if kind else {}
                answer = answer_to(client, method, url, example, headers | more)
                finished = path.endswith(("/cancel", "/requeue"))  # the job has succeeded
                fine = answer.status_code < 400 or (finished and answer.status_code == 409)
                fine = fine or answer.json().get("code") in NOT_YET
                if not fine:
                    refused.append((method, path, example, answer.text))
                sent += example is not None
        assert not refused, "\n".join(map(str, refused))
        assert sent > 12


def answer_to(
    client: httpx.Client, method: str, url: str, example: Any, headers: dict[str, str]
) -> httpx.Response:
    return client.request(method, url, json=example, headers=headers, follow_redirects=True)
