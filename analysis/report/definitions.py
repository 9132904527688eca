"""docs/metrics.md: every metric with its unit, its direction and what it means. `make docs` writes it."""

import sys

from analysis.labels import define, name_unit
from analysis.statistics.courses import BEND, FEWEST_RUNGS
from analysis.text.wording import Wording, read_wording
from records.metrics import CLASSES, METRICS


def render_metrics(wording: Wording) -> str:
    """Return the page: the classes that may stand in a name, and a table with a row a metric."""
    classes = [f"`{{{kind}}}`: {', '.join(names)}." for kind, names in CLASSES.items()]
    head = [
        f"# {wording('report.metrics.title')}",
        "",
        wording("report.metrics.made"),
        *classes,
        wording("report.metrics.on_test"),
        "",
        f"| {' | '.join(wording(f'report.column.{column}') for column in ('name', 'unit', 'better', 'definition'))} |",
        "|---|---|---|---|",
    ]
    rows = [
        f"| `{metric.name}` | {name_unit(metric.unit, wording)} | {metric.direction} | {define(metric.name, wording)} |"
        for metric in METRICS
    ]
    matched = ["", f"## {wording('report.metrics.matched_title')}", "", wording("report.metrics.matched", fewest=FEWEST_RUNGS, bend=BEND)]
    return "\n".join([*head, *rows, *matched]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render_metrics(read_wording()))
