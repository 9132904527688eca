"""All trials, what the models write, where the numbers come from and what their names mean."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from analysis.findings import Findings
from analysis.labels import Cell, define, label_direction, label_outcome, label_side, name_unit
from analysis.report.document import Paragraph, Points, Sample, Section
from analysis.report.sections.measures import cell_of, column_of
from analysis.report.tables import Column, Table
from analysis.text.wording import Wording
from analysis.trials import hyperparameters
from records.folders import SAMPLES_FILE
from records.metrics import METRICS, definition_of
from records.results import Outcome, group_ends
from records.runs import Run

TRIALS = (
    "eval/perplexity",
    "eval/bits_per_character",
    "retention/",
    "efficiency/trainable_parameters",
    "efficiency/peak_memory_gib",
    "efficiency/tokens_per_second",
)
SHOWN_ELSEWHERE = ("outcome", "description", "challenger", "reference", "stratum")  # facts of the study's run that provenance leaves out


def samples(findings: Findings, wording: Wording) -> Section | None:
    """Return what the base and the best write after the same openings; None where none was kept."""
    path = findings.runs.artifact(findings.runs.parent, SAMPLES_FILE)
    table: dict[str, list[Any]] = {"data": []} if path is None else json.loads(path.read_text(encoding="utf-8"))
    blocks: list[Sample] = []
    for row in table["data"]:
        sample: dict[str, str] = dict(zip(table["columns"], row, strict=True))
        written = {label_side(title, wording): sample[title] for title in findings.compared if title in sample}
        expected = {wording("report.samples.text"): sample["expected"][: max(map(len, written.values()), default=0)]}
        blocks.append(Sample(sample["document"], sample["given"], expected | written))
    return Section("samples", wording("report.samples.title"), tuple(blocks)) if blocks else None


def trials(findings: Findings, wording: Wording) -> Section:
    """Return the table of all trials with the hyperparameters that any arm varied, after the strata of which none completed."""
    metrics = findings.expand(TRIALS, findings.runs.trials)
    varied = list(dict.fromkeys(name for arm in findings.arms for name in findings.varied[arm]))
    columns = (
        Column(wording("report.column.trial")),
        Column(wording("report.column.outcome")),
        Column(wording("report.column.tokens")),
        *(column_of(name, wording) for name in metrics),
        *(Column(name.split(".", 1)[1]) for name in varied),
    )
    rows = tuple(_row(run, metrics, varied, wording) for run in findings.runs.trials)
    lacking = tuple(Paragraph(tell_fruitless(findings, stratum, wording)) for stratum in findings.fruitless)
    table = Table("trials", "", columns, rows, wording("report.trials.note"))
    return Section("trials", wording("report.trials.title"), (*lacking, *_explain_ends(findings, wording), table))


def _explain_ends(findings: Findings, wording: Wording) -> Iterator[Table]:
    """Yield a table of the reasons for which trials ended that give no answer: how, how many, which, and why; nothing without any."""
    ended = group_ends((run.id, Outcome(run.outcome) if run.outcome else None, run.reason) for run in findings.runs.trials)
    columns = tuple(Column(wording(f"report.column.{name}")) for name in ("outcome", "count", "trials", "reason"))
    rows = tuple((label_outcome(how, wording), len(which), ", ".join(which), why) for (how, why), which in ended.items())
    if rows:
        yield Table("ends", wording("report.trials.reasons"), columns, rows)


def tell_fruitless(findings: Findings, stratum: tuple[str, str | None], wording: Wording) -> str:
    """Return that no trial of a stratum completed, and how they ended, in a line."""
    arm, value = stratum
    counts = Counter(label_outcome(trial.outcome, wording) for trial in findings.fruitless[stratum])
    outcomes = ", ".join(wording("report.head.outcome", count=count, outcome=outcome) for outcome, count in counts.most_common())
    if value is None:
        return wording("report.trials.fruitless_arm", arm=arm, outcomes=outcomes)
    return wording("report.trials.fruitless_stratum", arm=arm, name=findings.runs.stratum, value=value, outcomes=outcomes)


def _row(run: Run, metrics: list[str], varied: list[str], wording: Wording) -> tuple[Cell, ...]:
    params = hyperparameters(run.params)
    settings = [value if isinstance(value := params.get(name), str | int | float | None) else str(value) for name in varied]
    return (
        run.id.short,
        label_outcome(run.outcome, wording),
        int(run.metrics.get("train/tokens", 0)),
        *(cell_of(run.metrics, name) for name in metrics),
        *settings,
    )


def provenance(findings: Findings, wording: Wording) -> Section:
    """Return where the numbers come from: the store, the texts, the model, the versions."""
    shown = [run for run in (findings.runs.parent, findings.runs.base) if run]
    tags = {name: value for run in shown for name, value in run.facts.items() if name not in SHOWN_ELSEWHERE}
    told = (
        wording("report.provenance.mlflow", study=findings.runs.name, uri=findings.runs.uri),
        wording("report.provenance.texts"),
        *(f"{name}: {value}" for name, value in sorted(tags.items())),
    )
    pages = Paragraph(wording("report.provenance.pages"))
    return Section("provenance", wording("report.provenance.title"), (pages, Points(told)))


def definitions(findings: Findings, wording: Wording) -> Section:
    """Return what the names of all metrics in this study mean."""
    used = {definition_of(name).name for run in findings.every for name in run.metrics}
    columns = tuple(Column(wording(f"report.column.{name}")) for name in ("name", "unit", "better", "definition"))
    rows = tuple(
        (metric.name, name_unit(metric.unit, wording), label_direction(metric.direction, wording), define(metric.name, wording))
        for metric in METRICS
        if metric.name in used
    )
    return Section("names", wording("report.names.title"), (Table("metrics", "", columns, rows),))
