"""Check the manifests of a Ray cluster as far as possible without one."""

import tomllib
from pathlib import Path

import pytest
import yaml
from kubernetes_validate import validate

from tests.e2e.test_kubernetes import VERSIONS

DEPLOYMENT = Path(__file__).parents[2] / "deployment"
DOCUMENTS = [
    document
    for path in sorted((DEPLOYMENT / "ray").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
]
PODS = {
    one["metadata"]["name"]: one["spec"]["template"]
    for one in DOCUMENTS
    if one["kind"] == "Deployment"
}


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_match_the_schemas_of_a_version(version):
    for document in DOCUMENTS:
        validate(document, version, strict=True)
        assert document["metadata"]["namespace"] == "rebalancer"


@pytest.mark.parametrize("name", ["ray-head", "ray-worker"])
def test_node_is_confined_and_needs_the_token(name):
    (container,) = PODS[name]["spec"]["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert PODS[name]["spec"]["securityContext"]["runAsUser"] == 10001
    environment = {one["name"]: one for one in container["env"]}
    assert environment["RAY_AUTH_MODE"]["value"] == "token"
    assert environment["RAY_AUTH_TOKEN"]["valueFrom"] == {
        "secretKeyRef": {"name": "ray", "key": "token"}
    }
    assert environment["RAY_USAGE_STATS_ENABLED"]["value"] == "0"
    assert container["envFrom"] == [
        {"configMapRef": {"name": "rebalancer"}},
        {"secretRef": {"name": "rebalancer"}},
    ]


def test_nodes_are_of_this_version():
    text = (DEPLOYMENT.parent / "pyproject.toml").read_text(encoding="utf-8")
    version = tomllib.loads(text)["project"]["version"]
    images = {one["image"] for pod in PODS.values() for one in pod["spec"]["containers"]}
    assert images == {f"rebalancer-ray:{version}"}


def test_workers_find_the_head():
    services = {one["metadata"]["name"]: one for one in DOCUMENTS if one["kind"] == "Service"}
    (port,) = services["ray-head"]["spec"]["ports"]
    (head,), (worker,) = (PODS[name]["spec"]["containers"] for name in ("ray-head", "ray-worker"))
    assert f"--address=ray-head:{port['port']}" in worker["args"]
    assert f"--port={port['port']}" in head["args"]
    selector = services["ray-head"]["spec"]["selector"]
    assert selector.items() <= PODS["ray-head"]["metadata"]["labels"].items()


def test_only_nodes_reach_nodes():
    (policy,) = (one["spec"] for one in DOCUMENTS if one["kind"] == "NetworkPolicy")
    nodes = policy["podSelector"]["matchLabels"]
    assert policy["ingress"] == [{"from": [{"podSelector": {"matchLabels": nodes}}]}]
    for pod in PODS.values():
        assert nodes.items() <= pod["metadata"]["labels"].items()
