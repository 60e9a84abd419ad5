"""A Kubernetes of one node in the namespaces of this process."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

NAME = "node-a"
ADDRESS = "10.96.255.1"
SERVICES, PODS = "10.96.0.0/16", "10.97.0.0/24"
PAUSE = "stand-in-pause:latest"
"""Image of the process that holds the network of a pod."""

_ETCD, _PEERS, _API = "http://127.0.0.1:2379", "http://127.0.0.1:2380", "https://127.0.0.1:6443"


@attrs.define
class Node:
    """The processes of a cluster, which end with the namespaces that they are in.

    Attributes:
        programs: Folder that `build.sh` filled.
        folder: What the cluster writes; its path must be short, because sockets are in it.
    """

    programs: Path
    folder: Path
    _processes: dict[str, subprocess.Popen[bytes]] = attrs.field(factory=dict, init=False)

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables with which programs find each other and the cluster."""
        root = self.programs / "root/usr"
        folders = (self.programs / "bin", root / "bin", root / "sbin", os.environ["PATH"])
        libraries = root / "lib" / f"{os.uname().machine}-linux-gnu"
        return {
            "PATH": os.pathsep.join(map(str, folders)),
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.folder / "kubeconfig"),
            "LD_LIBRARY_PATH": str(libraries),
            "XTABLES_LIBDIR": str(libraries / "xtables"),
        }

    def start(self, archives: Iterable[Path]) -> None:
        """Start the processes, load images from archives, and wait until the node is ready."""
        self._configure()
        self._connect()
        self._start_control_plane()
        self._spawn("containerd", "--config", str(self.folder / "containerd.toml"))
        self.wait_for((self.folder / "containerd.sock").exists, 30, "containerd did not start")
        for archive in archives:
            self.run(*self._ctr, "import", str(archive))
        self._spawn(
            "kubelet",
            f"--config={self.folder / 'kubelet.yaml'}",
            f"--kubeconfig={self.folder / 'kubeconfig'}",
            f"--root-dir={self.folder / 'kubelet'}",
            f"--cert-dir={self.folder / 'kubelet-certificates'}",
            f"--hostname-override={NAME}",
            f"--node-ip={ADDRESS}",
            "--container-runtime=remote",
            f"--container-runtime-endpoint=unix://{self.folder / 'containerd.sock'}",
        )
        self._spawn(
            "kube-proxy",
            f"--kubeconfig={self.folder / 'kubeconfig'}",
            f"--hostname-override={NAME}",
            f"--cluster-cidr={PODS}",
            # Sysctls that belong to the machine, not to this network.
            "--conntrack-max-per-core=0",
            "--conntrack-min=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
        )
        self.wait_for(self._is_ready, 120, "the node is not ready")

    def name_image(self, image: str, name: str) -> None:
        """Give an image another name, by which pods ask for it."""
        self.run(*self._ctr, "tag", _reference(image), _reference(name))

    def run(self, *command: str, check: bool = True) -> str:
        """Run a program of the cluster; return its output without warnings.

        Raises:
            RuntimeError: it failed; with its last lines.
        """
        done = subprocess.run(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
        )
        if check and done.returncode != 0:
            end = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
            raise RuntimeError(f"{' '.join(command)[:200]} ended with {done.returncode}:\n{end}")
        return done.stdout

    def ask(self, *command: str) -> str:
        """Run a command of kubectl in the namespace of the service; return its output."""
        return self.run("kubectl", "--namespace=rebalancer", *command)

    def get(self, *what: str) -> Any:
        """Return an object, or a list of objects, as the server has it."""
        return json.loads(self.ask("get", *what, "--output=json"))

    def wait_for(self, condition: Callable[[], object], seconds: float, failure: str) -> float:
        """Wait until a condition holds; return the seconds that it took.

        Raises:
            TimeoutError: it did not hold in that time, or one of the processes has ended.
        """
        started = time.monotonic()
        while not condition():
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise TimeoutError(f"{name} has ended:\n{self._last_lines(name)}")
            if time.monotonic() > started + seconds:
                raise TimeoutError(f"{failure} after {seconds:.0f} s")
            time.sleep(0.3)
        return time.monotonic() - started

    @property
    def _ctr(self) -> tuple[str, ...]:
        address = f"--address={self.folder / 'containerd.sock'}"
        return "ctr", address, "--namespace=k8s.io", "images"

    def _spawn(self, program: str, *arguments: str) -> None:
        with (self.folder / f"{program}.log").open("wb") as log:
            self._processes[program] = subprocess.Popen(
                [program, *arguments], env=self.environment, stdout=log, stderr=log
            )

    def report(self) -> str:
        """Return what helps to understand a failure: pods, events, and the ends of logs."""
        parts = []
        for what in ("pods --output=wide", "events --sort-by=lastTimestamp"):
            parts.append(self.run("kubectl", "get", "-n=rebalancer", *what.split(), check=False))
        for name in ("api", "worker"):
            logs = (
                f"--selector=app.kubernetes.io/component={name}",
                "--all-containers",
                "--tail=9",
            )
            parts.append(self.run("kubectl", "logs", "-n=rebalancer", *logs, check=False))
        parts += [f"{name}:\n{self._last_lines(name)}" for name in self._processes]
        return "\n".join(parts)

    def _last_lines(self, program: str) -> str:
        text = (self.folder / f"{program}.log").read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-8:])

    def _is_ready(self) -> bool:
        answer = self.run("kubectl", "get", "node", NAME, "--output=json", check=False)
        if not answer.startswith("{"):
            return False
        conditions = json.loads(answer)["status"]["conditions"]
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def _connect(self) -> None:
        """Give the node an address, and a route by which its own requests reach services."""
        for command in (
            "link add node0 type veth peer name node1",
            f"addr add {ADDRESS}/32 dev node0",
            "link set node0 up",
            "link set node1 up",
            f"route add {SERVICES} dev node0",
        ):
            subprocess.run(["ip", *command.split()], check=True)

    def _start_control_plane(self) -> None:
        kubeconfig, key = self.folder / "kubeconfig", self.folder / "accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", key], check=True, capture_output=True)
        self._spawn(
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={_ETCD}",
            f"--advertise-client-urls={_ETCD}",
            f"--listen-peer-urls={_PEERS}",
            f"--initial-advertise-peer-urls={_PEERS}",
            f"--initial-cluster=default={_PEERS}",
            "--unsafe-no-fsync",
        )
        self._spawn(
            "kube-apiserver",
            f"--etcd-servers={_ETCD}",
            "--bind-address=127.0.0.1",
            f"--advertise-address={ADDRESS}",
            f"--cert-dir={self.folder / 'certificates'}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC,Node",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-cluster-ip-range={SERVICES}",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc",
        )
        self.wait_for(
            lambda: self.run("kubectl", "get", "--raw=/readyz", check=False) == "ok",
            120,
            "the API server is not ready",
        )
        self._spawn(
            "kube-controller-manager",
            f"--kubeconfig={kubeconfig}",
            f"--service-account-private-key-file={key}",
            f"--flex-volume-plugin-dir={self.folder / 'plugins'}",
            "--bind-address=127.0.0.1",
            "--port=0",
            "--leader-elect=false",
        )
        self._spawn(
            "kube-scheduler",
            f"--kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            "--port=0",
            "--leader-elect=false",
        )

    def _configure(self) -> None:
        """Write the configurations of the processes."""
        token = secrets.token_hex(16)
        self._write("tokens.csv", f"{token},admin,admin,system:masters\n")
        cluster = {"server": _API, "insecure-skip-tls-verify": True}
        self._write_json(
            "kubeconfig",
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "check", "cluster": cluster}],
                "users": [{"name": "admin", "user": {"token": token}}],
                "contexts": [{"name": "check", "context": {"cluster": "check", "user": "admin"}}],
                "current-context": "check",
            },
        )
        self._write_json(
            "kubelet.yaml",
            {
                "apiVersion": "kubelet.config.k8s.io/v1beta1",
                "kind": "KubeletConfiguration",
                "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
                "authorization": {"mode": "AlwaysAllow"},
                "cgroupDriver": "cgroupfs",
                "failSwapOn": False,
                "oomScoreAdj": 0,
                "volumePluginDir": str(self.folder / "plugins"),
                # The disk of this machine is its own affair.
                "evictionHard": {"memory.available": "100Mi"},
                "imageGCHighThresholdPercent": 100,
            },
        )
        cni = self.folder / "network"
        cni.mkdir()
        addresses = {
            "type": "host-local",
            "ranges": [[{"subnet": PODS}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(self.folder / "addresses"),
        }
        # Without a bridge, as packets within one would pass by the rules of kube-proxy.
        plugin = {"type": "ptp", "ipam": addresses}
        network = {"cniVersion": "0.4.0", "name": "pods", "plugins": [plugin]}
        self._write("network/pods.conflist", json.dumps(network))
        self._write(
            "containerd.toml",
            f"""version = 2
root = "{self.folder}/containerd"
state = "{self.folder}/containerd-state"
[grpc]
address = "{self.folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{_reference(PAUSE)}"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{self.programs}/root/usr/lib/cni"
conf_dir = "{cni}"
""",
        )

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def _write_json(self, name: str, content: dict[str, Any]) -> None:
        self._write(name, json.dumps(content))  # which is YAML, too


def _reference(image: str) -> str:
    """Return the complete name of an image, as containerd has it."""
    return f"docker.io/{image}" if "/" in image else f"docker.io/library/{image}"
