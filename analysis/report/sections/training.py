"""How training went: loss and validation over tokens."""

from collections.abc import Sequence

from analysis.findings import Findings
from analysis.labels import name_method, name_unit
from analysis.report.document import Section
from analysis.report.figures.curves import Curve, draw_loss_curves
from analysis.report.sections.pictures import picture
from analysis.report.tables import Column, Table
from analysis.statistics.comparison import Figure as Compared
from analysis.text.wording import Wording


def training(findings: Findings, wording: Wording) -> Section | None:
    """Return the curves of all trials by arm; None where no trial left one."""
    panels = {
        wording("report.training.train"): _curves(findings, "train/loss"),
        wording("report.training.validation"): _curves(findings, "eval/perplexity"),
    }
    panels = {title: curves for title, curves in panels.items() if curves}
    if not panels:
        return None
    base = findings.runs.base.metrics.get("eval/perplexity") if findings.runs.base else None
    lines = {} if base is None else {wording("report.training.validation"): base}
    curves = picture("loss_curves", draw_loss_curves(panels, wording, lines), wording)
    return Section("training", wording("report.training.title"), (curves, _steadiness(findings.figures, findings.methods, wording)))


def _steadiness(figures: Sequence[Compared], methods: Sequence[str], wording: Wording) -> Table:
    """Return how steadily each method trained, where it began to overfit and what it lost on held-out texts, each with its formula."""
    columns = (
        Column(wording("report.column.measure"), is_code=True),
        *(Column(name_method(method, wording)) for method in methods),
        Column(wording("report.column.unit")),
        Column(wording("report.column.formula")),
    )
    rows = tuple(
        (
            figure.name,
            *(figure.values.get(method) for method in methods),
            name_unit(figure.unit, wording),
            wording(f"report.formula.{figure.name}"),
        )
        for figure in figures
    )
    return Table("steadiness", wording("report.training.steadiness"), columns, rows)


def _curves(findings: Findings, metric: str) -> list[Curve]:
    """Return the histories of a metric that have at least two points."""
    best = {run.uid for run in findings.best.values()}
    curves = [Curve(run.uid, run.arm, findings.runs.history(run, metric), run.uid in best) for run in findings.runs.trials]
    return [curve for curve in curves if len(curve.points) > 1]
