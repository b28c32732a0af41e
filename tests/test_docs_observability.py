"""docs/observability.md and docs/alerts.yaml name the metrics, labels and fields that there are."""

import json
import logging
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from service import telemetry
from service.exposition import REGISTRY
from service.logs import JsonFormatter
from service.schema import Timings
from service.settings import Settings

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "observability.md").read_text(encoding="utf-8")
RULES = yaml.safe_load((DOCS / "alerts.yaml").read_text(encoding="utf-8"))["groups"][0]["rules"]
DOCUMENTED = telemetry.Labels("documented", "own")
NAME = re.compile(r"\b(?:attendant|process)_[a-z_]+")


@pytest.fixture(scope="module")
def metrics() -> dict[str, tuple[str, str, tuple[str, ...]]]:
    """Name → type, meaning and labels, of all that is exposed."""
    telemetry.loaded(DOCUMENTED, "1", 100)
    found = {}
    for family in REGISTRY.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = tuple(label for label in family.samples[0].labels if label != "le")
        found[name] = family.type, family.documentation, labels
    telemetry.unloaded(DOCUMENTED, "1", 100)
    return found


def test_the_table_of_metrics_is_that_of_the_registry(metrics: Any) -> None:
    rows = {line for line in PAGE.splitlines() if line.startswith("| `attendant_")}
    expected = {
        f"| `{name}` | {kind} | {', '.join(labels)} | {text} |"
        for name, (kind, text, labels) in metrics.items()
        if name.startswith("attendant_")
    }
    assert rows == expected


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_asks_for_metrics_and_labels_that_exist(rule: Any, metrics: Any) -> None:
    named = NAME.findall(rule["expr"])
    assert named
    for name in named:
        base = re.sub(r"_(sum|count|bucket)$", "", name)
        assert name in metrics or metrics[base][0] == "histogram", name
    labels = {label for name in metrics for label in metrics[name][2]} | {"le"}
    asked = re.findall(r"(\w+)=", rule["expr"])
    for group in re.findall(r"by \(([^)]*)\)", rule["expr"]):
        asked += group.split(", ")
    asked += re.findall(r"labels\.(\w+)", rule["annotations"]["summary"])
    assert set(asked) <= labels


def test_the_fields_of_a_line_are_those_in_the_table(caplog: pytest.LogCaptureFixture) -> None:
    traced = [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
    with (
        caplog.at_level(logging.INFO, "attendant"),
        suppress(ZeroDivisionError),
        telemetry.observed("documented", "http", traced),
    ):
        telemetry.asks(DOCUMENTED)
        telemetry.stages(DOCUMENTED, Timings())
        raise ZeroDivisionError
    line = json.loads(JsonFormatter().format(caplog.records[0]))
    table = PAGE.partition("## Log")[2].partition("## Traces")[0]
    named = {
        name
        for row in table.splitlines()
        if row.startswith("| `")
        for name in re.findall("`([a-z_]+)`", row.split("|")[1])
    }
    assert named == {*line, "problem"}


def test_the_settings_in_the_table_exist() -> None:
    named = re.findall(r"`ATTENDANT_([A-Z_]+)`", PAGE)
    assert {name.lower() for name in named} <= set(Settings.model_fields)
