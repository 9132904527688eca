"""How training went: loss and validation over tokens."""

from analysis.document import Figure, Section
from analysis.figures.curves import Curve, draw_loss_curves
from analysis.figures.palette import as_svg
from analysis.findings import Findings
from analysis.wording import Wording


def training(findings: Findings, wording: Wording) -> Section | None:
    """Return the curves of all trials by arm; None where no trial left one."""
    panels = {
        wording("training.train"): _curves(findings, "train/loss"),
        wording("training.validation"): _curves(findings, "eval/perplexity"),
    }
    panels = {title: curves for title, curves in panels.items() if curves}
    if not panels:
        return None
    base = findings.runs.base.metrics.get("eval/perplexity") if findings.runs.base else None
    lines = {} if base is None else {wording("training.validation"): base}
    svg = as_svg(draw_loss_curves(panels, lines, wording("training.tokens")), "loss_curves")
    figure = Figure("loss_curves", wording("figure.loss_curves.title"), svg, wording("figure.loss_curves.caption"))
    return Section("training", wording("training.title"), (figure,))


def _curves(findings: Findings, metric: str) -> list[Curve]:
    """Return the histories of a metric that have at least two points."""
    best = {run.uid for run in findings.best.values()}
    curves = [Curve(run.uid, run.tags["arm"], findings.runs.history(run, metric), run.uid in best) for run in findings.runs.trials]
    return [curve for curve in curves if len(curve.points) > 1]
