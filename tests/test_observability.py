"""The shipped dashboard and alerts ask for metrics that exist, and each alert is described."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from rebalancer.application.metrics import CATALOG
from rebalancer.application.ports.telemetry import Histogram

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "deployment" / "observability"
RULES = yaml.safe_load((SHIPPED / "alerts.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
TESTED = yaml.safe_load((SHIPPED / "alerts_test.yml").read_text(encoding="utf-8"))["tests"]
PANELS = json.loads((SHIPPED / "dashboard.json").read_text(encoding="utf-8"))["panels"]

SERIES = {
    f"{metric.name}{suffix}": {*metric.labels, *(("le",) if suffix == "_bucket" else ())}
    for metric in CATALOG
    for suffix in (("_bucket", "_sum", "_count") if isinstance(metric, Histogram) else ("",))
}
"""Labels by name, as Prometheus stores the metrics."""

OF_TARGETS = {"instance", "job", "role"}
"""Labels that Prometheus adds."""

EXPRESSIONS = [rule["expr"] for rule in RULES] + [
    target["expr"] for panel in PANELS for target in panel.get("targets", ())
]

_SELECTOR = re.compile(r"\b(?P<name>rebalancer_\w+)(?:\{(?P<labels>[^}]*)\})?")
_GROUPING = re.compile(r"\bby \((?P<labels>[^)]*)\)")


def names_in(expression: str) -> dict[str, set[str]]:
    """Return the metrics in an expression, each with the labels that it is selected by."""
    return {
        found["name"]: set(re.findall(r"(\w+)\s*[=!]", found["labels"] or ""))
        for found in _SELECTOR.finditer(expression)
    }


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expressions_ask_for_metrics_and_labels_that_exist(expression: str) -> None:
    found = names_in(expression)
    assert found or expression.startswith("up{")
    known: set[str] = set(OF_TARGETS)
    for name, labels in found.items():
        assert name in SERIES
        assert labels <= SERIES[name] | OF_TARGETS
        known |= SERIES[name]
    grouped = {
        label.strip()
        for group in _GROUPING.finditer(expression)
        for label in group["labels"].split(",")
    }
    assert grouped <= known


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {
        name
        for panel in PANELS
        for target in panel.get("targets", ())
        for name in names_in(target["expr"])
    }
    bases = {re.sub("_(bucket|sum|count)$", "", name) for name in shown}
    alerted = {name for rule in RULES for name in names_in(rule["expr"])}
    assert {metric.name for metric in CATALOG} <= bases | alerted


def test_panels_have_titles_and_ids_of_their_own() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_has_a_runbook_entry_and_tests(rule: dict[str, object]) -> None:
    name = str(rule["alert"])
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    assert f"\n## {name}\n" in runbook
    annotations = rule["annotations"]
    assert isinstance(annotations, dict)
    assert annotations["runbook"] == f"docs/runbook.md#{name.lower()}"
    cases = [
        case for test in TESTED for case in test["alert_rule_test"] if case["alertname"] == name
    ]
    assert any(case["exp_alerts"] for case in cases), "no test in which it fires"
    assert any(not case["exp_alerts"] for case in cases), "no test in which it does not"


def test_runbook_describes_no_alert_that_does_not_exist() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    described = re.findall(r"^## (Rebalancer\w+)$", runbook, re.MULTILINE)
    assert described == [rule["alert"] for rule in RULES]
