"""What the result depends on: learning rate, rank, and everything that was varied."""

from analysis.document import Block, Figure, Section
from analysis.figures.curves import draw_response
from analysis.figures.parallel import draw_parallel
from analysis.findings import Findings
from analysis.sections.measures import label_of
from analysis.sections.pictures import picture
from analysis.wording import Wording

RESPONSES = {"learning_rate": "optimizer.learning_rate", "rank": "method.rank"}


def sensitivity(findings: Findings, wording: Wording) -> Section | None:
    """Return how the objective follows the hyperparameters; None where nothing was varied or measured."""
    blocks: list[Block | None] = [
        *(_response(findings, wording, name, hyperparameter) for name, hyperparameter in RESPONSES.items()),
        _parallel(findings, wording),
    ]
    kept = tuple(block for block in blocks if block)
    return Section("sensitivity", wording("sensitivity.title"), kept) if kept else None


def _response(findings: Findings, wording: Wording, name: str, hyperparameter: str) -> Figure | None:
    quality, table = findings.objective, findings.table
    if not {quality, hyperparameter} <= set(table.columns) or table.dropna(subset=[quality])[hyperparameter].nunique() < 2:
        return None
    figure = draw_response(
        table, hyperparameter, quality, label=hyperparameter, quality_label=label_of(quality, wording, unit=True), urls=findings.urls
    )
    return picture(name, figure, wording)


def _parallel(findings: Findings, wording: Wording) -> Figure | None:
    quality, table = findings.objective, findings.table
    if quality not in table.columns:
        return None
    measured = table.dropna(subset=[quality])
    varied = {arm: names for arm, names in findings.varied.items() if names and (measured["arm"] == arm).sum() > 1}
    if not varied:
        return None
    figure = draw_parallel(table, varied, quality, label_of(quality, wording), findings.direction)
    return picture("parallel", figure, wording)
