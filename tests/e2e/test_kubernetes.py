"""Check the manifests of Kubernetes as far as possible without a cluster.

`make ops-test STAGES=cluster` applies them to a real one.
"""

import re
import subprocess
import tomllib
from base64 import b64encode
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from kubernetes_validate import validate
from kubernetes_validate.utils import all_versions

from deployment.check.kubernetes.older import rewrite
from rebalancer.config import Environment, Settings
from rebalancer.entrypoints.cli.main import rebalancer
from rebalancer.entrypoints.server import GRACE_PERIOD

DEPLOYMENT = Path(__file__).parents[2] / "deployment"
MANIFESTS, OVERLAYS = DEPLOYMENT / "k8s", DEPLOYMENT / "k8s-overlays"
VERSIONS = ("1.36", "1.37")
NAMESPACE = "rebalancer"
KEY = "9f3c1e7a5b2d8064c6a1f0e93b7d5482"
SECRETS = {
    "REBALANCER_SECRET_KEY": KEY,
    "REBALANCER_ENCRYPTION_KEYS": f"a:{b64encode(bytes(range(32))).decode()}",
}
LIBPQ_CHECKS = "sslmode=verify-full&sslrootcert=system"
SERVER_URLS = {
    "REBALANCER_DATABASE_URL": f"postgresql://app:a@db.example.org/rebalancer?{LIBPQ_CHECKS}",
    "REBALANCER_REDIS_URL": "rediss://:a@cache.example.org:6379/0",
    "REBALANCER_MONGO_URL": "mongodb://app:a@mongo.example.org/rebalancer?tls=true",
}
IMAGE = {"REBALANCER_ENVIRONMENT": "production", "REBALANCER_HOST": "0.0.0.0"}


def read(*folders):
    """Return the documents of the manifests in these folders, with the names of their files."""
    return [
        (path.name, document)
        for folder in folders
        for path in sorted(folder.glob("*.yaml"))
        if path.name != "kustomization.yaml"
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]


OURS = [document for _, document in read(MANIFESTS)]
TRIAL = [document for _, document in read(OVERLAYS / "trial")]
EVERYTHING = OURS + TRIAL


def of_kind(kind, documents=EVERYTHING):
    return {one["metadata"]["name"]: one for one in documents if one["kind"] == kind}


def template_of(workload):
    """Return the template of a workload's pods."""
    spec = workload["spec"]
    return (spec["jobTemplate"]["spec"] if "jobTemplate" in spec else spec)["template"]


WORKLOADS = {
    name: one
    for kind in ("Deployment", "StatefulSet", "CronJob")
    for name, one in of_kind(kind).items()
}
PODS = {name: template_of(one)["spec"] for name, one in WORKLOADS.items()}
LABELS = {name: template_of(one)["metadata"]["labels"] for name, one in WORKLOADS.items()}
OUR_PODS = ("api", "batch", "worker")
CONTAINERS = {
    f"{name}/{container['name']}": container
    for name, pod in PODS.items()
    for container in (*pod.get("initContainers", ()), *pod["containers"])
}
OUR_CONTAINERS = {
    name: container for name, container in CONTAINERS.items() if name.partition("/")[0] in OUR_PODS
}
MAIN = {name: pod["containers"][0] for name, pod in PODS.items()}
CONFIGURED = of_kind("ConfigMap")["rebalancer"]["data"]


def selected_by(selector):
    """Return the names of the workloads whose pods a selector takes."""
    wanted = selector.get("matchLabels", {})
    among = {each["key"]: each["values"] for each in selector.get("matchExpressions", ())}
    return {
        name
        for name, labels in LABELS.items()
        if wanted.items() <= labels.items()
        and all(labels[key] in values for key, values in among.items())
    }


def ports_of(workload):
    return {port["name"]: port["containerPort"] for port in MAIN[workload].get("ports", ())}


# The files.


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_match_the_schemas_of_a_version(version):
    for document in EVERYTHING:
        validate(document, version, strict=True)


def test_rewritten_for_the_older_server_of_the_cluster_they_have_nothing_newer():
    newer = ("autoscaling/v2\n", "policy/v1\n", "Indexed", "PerIndex", "podFailurePolicy")
    newer += ("timeZone", "unhealthyPodEvictionPolicy", "batch.kubernetes.io")
    rewritten = {"CronJob", "HorizontalPodAutoscaler", "PodDisruptionBudget"}
    for document in EVERYTHING:
        older = rewrite(document)
        assert not [field for field in newer if field in yaml.safe_dump(older)]
        assert (older != document) == (document["kind"] in rewritten)


def test_two_newest_known_versions_are_checked():
    known = sorted({tuple(map(int, version.split("."))) for version in all_versions()})
    assert known[-2:] == [tuple(map(int, f"{version}.0".split("."))) for version in VERSIONS]


def test_folder_can_be_applied_as_it_is():
    names = sorted(path.name for path in MANIFESTS.iterdir())
    assert all(re.fullmatch(r"[0-9]{2}-[a-z-]+\.yaml", name) for name in names)
    assert OURS[0]["kind"] == "Namespace"  # files are applied in the order of their names
    for document in EVERYTHING:
        if document["kind"] != "Namespace":
            assert document["metadata"]["namespace"] == NAMESPACE, document["metadata"]["name"]


def test_overlays_take_every_manifest():
    def resources(overlay):
        text = (OVERLAYS / overlay / "kustomization.yaml").read_text(encoding="utf-8")
        return yaml.safe_load(text)["resources"]

    assert resources("base") == [f"../../k8s/{path.name}" for path in sorted(MANIFESTS.iterdir())]
    trial = {path.name for path in (OVERLAYS / "trial").glob("*.yaml")} - {"kustomization.yaml"}
    assert {*resources("trial")} == {"../small", *trial}


def test_no_secret_is_in_a_file():
    assert not of_kind("Secret")
    assert not [name for name in CONFIGURED if not is_public(name)]
    for container in CONTAINERS.values():
        for variable in container.get("env", ()):
            assert "PASSWORD" not in variable["name"] or "valueFrom" in variable


def is_public(variable):
    """Return whether a setting may be shown."""
    field = variable.removeprefix("REBALANCER_").lower()
    return {each.name: each.repr for each in Settings.__attrs_attrs__}[field]


def test_pods_are_of_this_version():
    text = (DEPLOYMENT.parent / "pyproject.toml").read_text(encoding="utf-8")
    version = tomllib.loads(text)["project"]["version"]
    images = {container["image"] for container in OUR_CONTAINERS.values()}
    assert images == {f"rebalancer:{version}"}


def test_script_of_secrets_has_valid_syntax():
    script = OVERLAYS / "trial" / "secrets.sh"
    subprocess.run(["sh", "-n", script], check=True)
    given = set(re.findall("^(REBALANCER_[A-Z_]+)=", script.read_text(), re.MULTILINE))
    assert given == {*SECRETS, *SERVER_URLS}


# What runs in the pods.


def test_settings_are_known_and_valid():
    settings = Settings.read(IMAGE | CONFIGURED | SECRETS | SERVER_URLS)
    assert settings.environment is Environment.PRODUCTION
    settings.check_serving()


def test_settings_of_overlays_are_known():
    for overlay in ("large", "trial"):
        text = (OVERLAYS / overlay / "kustomization.yaml").read_text(encoding="utf-8")
        (patches,) = [
            yaml.safe_load(each["patch"])
            for each in yaml.safe_load(text)["patches"]
            if each["target"]["kind"] == "ConfigMap"
        ]
        changed = {each["path"].removeprefix("/data/"): each["value"] for each in patches}
        Settings.read(IMAGE | CONFIGURED | SECRETS | changed)


@pytest.mark.parametrize("name", OUR_CONTAINERS)
def test_container_gets_settings_and_secrets(name):
    container = OUR_CONTAINERS[name]
    sources = [source for each in container["envFrom"] for source in each.items()]
    expected = [("configMapRef", {"name": "rebalancer"}), ("secretRef", {"name": "rebalancer"})]
    if container["name"] == "migrate":  # later sources win
        expected.append(("secretRef", {"name": "rebalancer-owner", "optional": True}))
    assert sources == expected


@pytest.mark.parametrize("name", OUR_CONTAINERS)
def test_command_of_container_exists(name):
    arguments = OUR_CONTAINERS[name]["args"]
    done = CliRunner().invoke(rebalancer, [*arguments, "--help"])
    assert done.exit_code == 0, done.output


def test_batch_pods_share_the_run_of_their_job():
    container = MAIN["batch"]
    path = container["env"][0]["valueFrom"]["fieldRef"]["fieldPath"]
    assert path == "metadata.labels['batch.kubernetes.io/job-name']"
    assert container["args"][-2:] == ["--run", f"$({container['env'][0]['name']})"]
    spec = WORKLOADS["batch"]["spec"]
    assert spec["suspend"] is True and spec["concurrencyPolicy"] == "Forbid"
    codes = {
        code
        for rule in spec["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
        for code in rule.get("onExitCodes", {}).get("values", ())
    }
    assert codes == {2, 3}  # the rest is tried again


@pytest.mark.parametrize("name", CONTAINERS)
def test_container_is_confined(name):
    pod = PODS[name.partition("/")[0]]
    user = pod["securityContext"]
    assert user["runAsNonRoot"] is True and user["runAsUser"] > 0
    assert user["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    container = CONTAINERS[name]["securityContext"]
    assert container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("name", OUR_PODS)
def test_pod_gets_no_variables_of_services(name):
    assert PODS[name]["enableServiceLinks"] is False
    assert PODS[name]["serviceAccountName"] == "rebalancer"
    assert PODS[name]["securityContext"]["runAsUser"] == 10001


@pytest.mark.parametrize("name", CONTAINERS)
def test_mounts_have_volumes_and_temporary_files_a_place(name):
    workload = WORKLOADS[name.partition("/")[0]]
    volumes = {volume["name"] for volume in PODS[name.partition("/")[0]]["volumes"]}
    claims = {
        claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", ())
    }
    mounts = CONTAINERS[name]["volumeMounts"]
    assert {mount["name"] for mount in mounts} <= volumes | claims
    assert "/tmp" in {mount["mountPath"] for mount in mounts}


# Probes, ports and selectors.


def probes():
    for name, container in CONTAINERS.items():
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            if kind in container:
                yield name, kind, container[kind]


def test_probe_has_one_handler_on_a_port_of_its_container():
    handlers = {"exec", "httpGet", "tcpSocket", "grpc"}
    for name, kind, probe in probes():
        assert len(handlers & set(probe)) == 1, (name, kind)
        if "httpGet" in probe:
            assert probe["httpGet"]["port"] in ports_of(name.partition("/")[0])


def test_probes_of_the_api_are_answered(serve, tmp_path):
    own = {"REBALANCER_CACHE": str(tmp_path / "cache"), "REBALANCER_METRICS_PORT": "0"}
    given = CONFIGURED | SECRETS | own
    running = serve(env=given)
    paths = {kind: probe["httpGet"]["path"] for name, kind, probe in probes() if name == "api/api"}
    assert paths == {
        "startupProbe": "/health/live",
        "livenessProbe": "/health/live",
        "readinessProbe": "/health/ready",
    }
    with running.client() as client:
        client.headers["Host"] = "10.97.0.5:8000"  # as kubelet asks
        documented = client.get("/docs/openapi.json").json()["paths"]
        for path in paths.values():
            assert path in documented
            assert client.get(path).status_code == 200


def test_ports_name_their_protocol_and_are_those_of_the_settings():
    for name in MAIN:
        for port in MAIN[name].get("ports", ()):
            assert port["protocol"] == "TCP", name
    assert ports_of("api")["http"] == Settings.read({}).port
    metrics = Settings.read(CONFIGURED).metrics_port
    assert ports_of("api")["metrics"] == ports_of("worker")["metrics"] == metrics


def test_services_reach_the_ports_of_their_pods():
    for name, service in of_kind("Service").items():
        (workload,) = selected_by({"matchLabels": service["spec"]["selector"]})
        assert workload == name
        for port in service["spec"]["ports"]:
            assert port["protocol"] == "TCP" and port["targetPort"] in ports_of(workload)


def test_ingress_leads_to_a_port_of_a_service():
    (ingress,) = of_kind("Ingress").values()
    hosts = {rule["host"] for rule in ingress["spec"]["rules"]}
    assert hosts == {host for tls in ingress["spec"]["tls"] for host in tls["hosts"]}
    for rule in ingress["spec"]["rules"]:
        for path in rule["http"]["paths"]:
            backend = path["backend"]["service"]
            service = of_kind("Service")[backend["name"]]
            names = {port["name"] for port in service["spec"]["ports"]}
            assert backend["port"]["name"] in names


@pytest.mark.parametrize("name", sorted(set(WORKLOADS) - {"batch"}))
def test_workload_selects_its_own_pods(name):
    selector = WORKLOADS[name]["spec"]["selector"]
    assert selected_by(selector) == {name}
    for spread in PODS[name].get("topologySpreadConstraints", ()):
        assert selected_by(spread["labelSelector"]) == {name}
        assert spread["whenUnsatisfiable"] == "ScheduleAnyway"  # one node suffices


def test_budgets_and_autoscaler_belong_to_deployments():
    for name, budget in of_kind("PodDisruptionBudget").items():
        assert selected_by(budget["spec"]["selector"]) == {name}
        assert budget["spec"]["maxUnavailable"] == 1
    (scaler,) = of_kind("HorizontalPodAutoscaler").values()
    target = of_kind("Deployment")[scaler["spec"]["scaleTargetRef"]["name"]]
    assert "replicas" not in target["spec"]  # else each apply would set them back


def test_policies_admit_ports_of_the_pods_they_select():
    policies = of_kind("NetworkPolicy")
    assert policies["deny-all"]["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }
    for name, policy in policies.items():
        workloads = selected_by(policy["spec"]["podSelector"])
        assert workloads, name
        known = {port for each in workloads for pair in ports_of(each).items() for port in pair}
        for rule in policy["spec"].get("ingress", ()):
            for port in rule["ports"]:
                assert port["protocol"] == "TCP" and port["port"] in known, (name, port)


def test_pods_may_reach_the_servers_of_the_trial():
    (rule,) = of_kind("NetworkPolicy")["outgoing"]["spec"]["egress"]
    open_ports = {port["port"] for port in rule["ports"]}
    assert {port for name in of_kind("StatefulSet") for port in ports_of(name).values()} <= (
        open_ports
    )


# Updates, and room for them.


def test_update_adds_a_pod_before_it_stops_one():
    for name in ("api", "worker"):
        strategy = WORKLOADS[name]["spec"]["strategy"]
        assert strategy["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_pods_have_time_to_stop():
    command, seconds = MAIN["api"]["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    assert PODS["api"]["terminationGracePeriodSeconds"] > int(seconds) + GRACE_PERIOD
    worker = rebalancer.get_command(None, "worker")
    (grace,) = [option.default for option in worker.params if option.name == "grace"]
    assert PODS["worker"]["terminationGracePeriodSeconds"] > grace


UNITS = {"": 1, "m": Decimal("0.001"), "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 10**3}


def quantity(text):
    """Return the value of a quantity as a server of Kubernetes reads it."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(m|Ki|Mi|Gi|k|)", str(text))
    assert match, text
    return Decimal(match[1]) * UNITS[match[2]]


@pytest.mark.parametrize("name", CONTAINERS)
def test_container_states_what_it_needs(name):
    resources = CONTAINERS[name]["resources"]
    requests = {key: quantity(value) for key, value in resources["requests"].items()}
    limits = {key: quantity(value) for key, value in resources["limits"].items()}
    assert set(requests) == {"cpu", "memory"} and set(limits) == {"memory"}
    assert requests["memory"] <= limits["memory"]


def test_sizes_of_volumes_parse():
    for name, pod in PODS.items():
        for volume in pod["volumes"]:
            quantity(volume.get("emptyDir", {}).get("sizeLimit", 0))
        for claim in WORKLOADS[name]["spec"].get("volumeClaimTemplates", ()):
            quantity(claim["spec"]["resources"]["requests"]["storage"])


def test_everything_fits_two_cores_during_an_update_and_a_batch():
    """Two pods of the API, a worker, one more of each, the batch and the servers of a trial."""
    job = WORKLOADS["batch"]["spec"]["jobTemplate"]["spec"]
    counts = {"api": 3, "worker": 2, "batch": job["parallelism"]}
    requests = {
        name: [quantity(one["resources"]["requests"][what]) for what in ("cpu", "memory")]
        for name, one in MAIN.items()
    }
    cores, memory = (
        sum(counts.get(name, 1) * request[which] for name, request in requests.items())
        for which in (0, 1)
    )
    assert cores <= Decimal("1.6")  # the rest is for the node
    assert memory <= 4 * 2**30
