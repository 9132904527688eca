"""The courses of all trials, learnt against forgotten, as the report's central figure."""

import math
from statistics import fmean

from analysis.findings import Findings
from analysis.labels import label_of
from analysis.report.document import Figure
from analysis.report.figures.curves import Curve
from analysis.report.figures.learning import draw_learning, is_drawn
from analysis.report.sections.pictures import picture
from analysis.statistics.finalists import Finalist
from analysis.statistics.matched import KEPT, LEARNT
from analysis.text.wording import Wording
from records.runs import Run


def draw_courses(findings: Findings, wording: Wording) -> Figure | None:
    """Return the figure, a panel for each set that is to be retained; None where there is none, or no trial reached a rung."""
    panels: dict[str, list[Curve]] = {}
    compared: dict[str, float] = {}
    for metric in findings.metrics_under(KEPT):
        title = label_of(metric, wording)
        if curves := _courses(findings, metric):
            panels[title] = curves
        matched = next((each for each in findings.matched if KEPT + each.set == metric), None)
        if matched is not None and math.isfinite(matched.learnt):
            compared[title] = matched.learnt
    if not panels:
        return None
    base = findings.runs.base.metrics.get(LEARNT) if findings.runs.base else None
    return picture("learning", draw_learning(panels, wording, base, compared, findings.urls), wording)


def _courses(findings: Findings, metric: str) -> list[Curve]:
    """Return every trial's course that has a point; of the best of each arm the mean over the seeds it was trained again with."""
    best = {run.uid: side for side in findings.compared.values() if (run := side.trial).arm}
    curves: list[Curve] = []
    for trial in findings.runs.trials:
        is_pruned = trial.outcome in ("pruned", "infeasible")
        points = _average(findings, best[trial.uid], metric) if trial.uid in best else _follow(findings, trial, metric)
        drawn = [point for _, point in sorted(points.items()) if is_drawn(point)]
        if drawn:
            curves.append(Curve(trial.uid, trial.arm, drawn, trial.uid in best, is_pruned))
    return curves


def _average(findings: Findings, side: Finalist, metric: str) -> dict[int, tuple[float, float]]:
    followed = [_follow(findings, run, metric) for run in side.runs]
    rungs = set[int].intersection(*(set(points) for points in followed))
    return {rung: (fmean(points[rung][0] for points in followed), fmean(points[rung][1] for points in followed)) for rung in rungs}


def _follow(findings: Findings, run: Run, metric: str) -> dict[int, tuple[float, float]]:
    """Return by rung what a run had learnt and kept."""
    learnt, kept = (dict(findings.runs.history(run, name)) for name in (LEARNT, metric))
    return {rung: (learnt[rung], kept[rung]) for rung in sorted(learnt.keys() & kept.keys())}
