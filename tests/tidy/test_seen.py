"""The table of metrics is whole, and the dashboard and the alert rules name what exists."""

import ast
import json
from collections.abc import Iterator
from typing import Any

import promql_parser as promql
import pytest
import yaml
from source import ROOT, dotted, modules

from questline.cli.reference import PROCESSES, Metric, metrics_of

KINDS = {"Counter", "Gauge", "Histogram", "Summary", "CounterMetricFamily", "GaugeMetricFamily"}
SUFFIXES = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("",), "gauge": ("",)}
# Labels that Prometheus adds to whatever it scrapes, and metrics of any process.
SCRAPED = {"instance", "job"}
OF_ANY_PROCESS = {"process_resident_memory_bytes", "process_cpu_seconds_total"}
DASHBOARD = ROOT / "deploy" / "grafana" / "questline.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"


def documented() -> dict[str, Metric]:
    return {metric.name: metric for process in PROCESSES for metric in metrics_of(process)}


def series() -> dict[str, set[str]]:
    """Return what can be asked for by name, with its labels."""
    return {
        metric.name + suffix: {*metric.labels, *SCRAPED, *(["le"] if suffix == "_bucket" else [])}
        for metric in documented().values()
        for suffix in SUFFIXES[metric.kind]
    } | dict.fromkeys(OF_ANY_PROCESS, SCRAPED)


def expressions() -> list[str]:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    shown = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    rules = [rule for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]
    return [*shown, *(rule["expr"] for rule in rules)]


def parts(node: Any) -> Iterator[Any]:
    """Yield an expression and all below it."""
    yield node
    for name in ("lhs", "rhs", "expr", "param", "args", "vector_selector"):
        below = getattr(node, name, None)
        for part in below if isinstance(below, list) else [below]:
            if part is not None:
                yield from parts(part)


def faults(expression: str) -> list[str]:
    """Return what an expression asks for that nobody exposes."""
    tree = promql.parse(expression.replace("$__rate_interval", "1m"))
    known, asked, found = series(), set[str](), []
    for part in parts(tree):
        if isinstance(part, promql.VectorSelector):
            asked |= known.get(part.name, set())
            if part.name not in known:
                found.append(f"{part.name} is no metric")
            found += [
                f"{part.name} has no label {m.name}"
                for m in part.matchers.matchers
                if m.name not in known.get(part.name, ())
            ]
    for part in parts(tree):
        if isinstance(part, promql.AggregateExpr) and part.modifier is not None:
            found += [f"nothing has the label {label}" for label in part.modifier.labels if label not in asked]
    return found


def test_every_metric_that_the_code_makes_is_in_the_table() -> None:
    made = {
        str(node.args[0].value)
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and dotted(node.func).rpartition(".")[2] in KINDS
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    assert made
    assert made - documented().keys() == set()


@pytest.mark.parametrize("expression", expressions())
def test_the_dashboard_and_the_alerts_ask_for_what_exists(expression: str) -> None:
    assert faults(expression) == []


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("rate(questline_nonsense_total[5m])", "questline_nonsense_total is no metric"),
        ('questline_events_accepted_total{colour="red"}', "questline_events_accepted_total has no label colour"),
        ("sum by (colour) (questline_backlog_events)", "nothing has the label colour"),
        ("questline_accept_seconds", "questline_accept_seconds is no metric"),
    ],
)
def test_an_expression_that_asks_for_nothing_is_noticed(expression: str, fault: str) -> None:
    assert faults(expression) == [fault]


def test_every_metric_of_a_panel_has_a_legend_and_every_alert_says_what_to_do() -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert [p["title"] for p in dashboard["panels"] for t in p.get("targets", ()) if not t["legendFormat"]] == []
    rules = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"][0]["rules"]
    assert [r["alert"] for r in rules if not {"summary", "description"} <= r["annotations"].keys()] == []


def test_files_to_deploy_are_where_the_page_says() -> None:
    page = (ROOT / "docs" / "how-to" / "watch.md").read_text(encoding="utf-8")
    assert [str(p.relative_to(ROOT)) for p in (DASHBOARD, ALERTS) if str(p.relative_to(ROOT)) not in page] == []
