"""How training went: loss and validation over tokens."""

from analysis.document import Section
from analysis.figures.curves import Curve, draw_loss_curves
from analysis.findings import Findings
from analysis.sections.pictures import picture
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
    curves = picture("loss_curves", draw_loss_curves(panels, lines, wording("training.tokens")), wording)
    return Section("training", wording("training.title"), (curves,))


def _curves(findings: Findings, metric: str) -> list[Curve]:
    """Return the histories of a metric that have at least two points."""
    best = {run.uid for run in findings.best.values()}
    curves = [Curve(run.uid, run.tags["arm"], findings.runs.history(run, metric), run.uid in best) for run in findings.runs.trials]
    return [curve for curve in curves if len(curve.points) > 1]
