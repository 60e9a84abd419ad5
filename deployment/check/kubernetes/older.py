"""Rewrite manifests for Kubernetes 1.20."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

_VERSIONS = {
    ("CronJob", "batch/v1"): "batch/v1beta1",
    ("HorizontalPodAutoscaler", "autoscaling/v2"): "autoscaling/v2beta2",
    ("PodDisruptionBudget", "policy/v1"): "policy/v1beta1",
}


def read(path: Path) -> list[Manifest]:
    """Return the documents of a file."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def rewrite(manifest: Manifest) -> Manifest:
    """Return a manifest as version 1.20 knows it; most stay as they are."""
    older = copy.deepcopy(manifest)
    kind = older["kind"]
    older["apiVersion"] = _VERSIONS.get((kind, older["apiVersion"]), older["apiVersion"])
    if kind == "PodDisruptionBudget":
        del older["spec"]["unhealthyPodEvictionPolicy"]
    if kind == "CronJob":
        del older["spec"]["timeZone"]
        job = older["spec"]["jobTemplate"]["spec"]
        del job["completionMode"], job["podFailurePolicy"]
        job["backoffLimit"] = job.pop("backoffLimitPerIndex")
        for container in job["template"]["spec"]["containers"]:
            for variable in container["env"]:
                field = variable["valueFrom"]["fieldRef"]
                field["fieldPath"] = field["fieldPath"].replace("batch.kubernetes.io/", "")
    return older


def write(manifests: list[Manifest], path: Path) -> Path:
    """Write manifests to a file, and return its path."""
    path.write_text(yaml.safe_dump_all(manifests, sort_keys=False), encoding="utf-8")
    return path
