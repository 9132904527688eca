"""What quality costs: the fronts, what each holds, what they cannot show, where memory goes, and what a percent is worth."""

from collections.abc import Sequence

import pandas as pd

from analysis.findings import Findings, finite
from analysis.guidance.sentences import tell_blind_spot
from analysis.labels import Cell, label_of, label_side
from analysis.report.document import Block, Figure, Paragraph, Points, Section
from analysis.report.figures.bars import draw_memory
from analysis.report.figures.trade_off import COSTS, QUALITY, SCALED, draw_forgetting, draw_trade_off
from analysis.report.sections.measures import cell_of, name_columns
from analysis.report.sections.pictures import picture
from analysis.report.tables import Column, Table
from analysis.statistics.fronts import Front
from analysis.text.wording import Wording

PARTS = ("weights", "optimizer", "gradients", "activations")
PREDICTED = "efficiency/predicted_peak_memory_gib"
ON_FRONT = ("front", "trial", "scale", "seeds", "cost", "quality", "knee")
SCORES = ("trial", "scale", "score")
PRICES = ("what", "runs", "tokens", "hours", "gpu_hours", "kwh", "percent", "gpu_hours_per_percent", "kwh_per_percent")


def trade_off(findings: Findings, wording: Wording) -> Section | None:
    """Return the Pareto fronts, drawn and listed, what they cannot show, and what was paid; None where no trial was measured."""
    if not any(finite(run.metrics, QUALITY) for run in findings.runs.trials):
        return None
    retained = findings.metrics_under("retention/")
    labels = {name: label_of(name, wording, unit=True) for name in (QUALITY, *COSTS, *retained)}
    table = _plotted(findings)
    forgetting = draw_forgetting(table, wording, findings.urls, labels)
    fronts = findings.fronts
    blind = tuple(tell_blind_spot(spot, wording) for spot in findings.blind_spots)
    blocks: list[Block | None] = [
        picture("trade_off", draw_trade_off(table, wording, findings.urls, labels), wording),
        picture("forgetting", forgetting, wording) if forgetting else None,
        _on_fronts(fronts, wording) if fronts else None,
        _volumes(fronts, findings, wording) if fronts else None,
        Paragraph(wording("report.trade_off.blind")) if blind else None,
        Points(blind) if blind else None,
        _scores(findings, wording) if findings.weights else None,
        _memory(findings, wording),
        _prices(findings, wording),
    ]
    return Section("trade-off", wording("report.trade_off.title"), tuple(block for block in blocks if block))


def _plotted(findings: Findings) -> pd.DataFrame:
    """Return the table of runs with means over seeds in the place of trials that were trained again, and adapters at other scales below."""
    table = findings.table.set_index("uid", drop=False)
    scaled: list[dict[str, object]] = []
    for point in findings.points:
        if point.scale != 1.0:
            scaled.append({"uid": str(point.trial), "arm": point.arm, "outcome": SCALED, **point.values})
        elif point.seeds > 1:
            for name in set(point.values) & set(table.columns):
                table.loc[str(point.trial), name] = point.values[name]
    return pd.concat([table, pd.DataFrame(scaled)], ignore_index=True) if scaled else table.reset_index(drop=True)


def _on_fronts(fronts: Sequence[Front], wording: Wording) -> Table:
    """Return what stands on each front."""
    rows: list[tuple[Cell, ...]] = []
    for front in fronts:
        first, second = front.metrics
        for point in front.best:
            knee = wording("report.fronts.knee") if point is front.knee else ""
            values = (cell_of(point.values, first), cell_of(point.values, second))
            rows.append((label_of(first, wording, unit=True), point.trial.short, point.scale, point.seeds, *values, knee))
    return Table("fronts", wording("report.fronts.title"), name_columns("fronts", ON_FRONT, wording), tuple(rows))


def _volumes(fronts: Sequence[Front], findings: Findings, wording: Wording) -> Table:
    """Return how much of each front's box is dominated, by all points and by each arm's alone."""
    named = ["all", *findings.arms]
    columns = (
        Column(wording("report.fronts.column.front")),
        Column(wording("report.hypervolumes.all"), wording("report.hypervolumes.all_means")),
        *(Column(arm) for arm in findings.arms),
    )
    rows = tuple((label_of(front.metrics[0], wording, unit=True), *(front.hypervolume.get(name) for name in named)) for front in fronts)
    return Table("hypervolumes", wording("report.hypervolumes.title"), columns, rows)


def _scores(findings: Findings, wording: Wording) -> Table:
    """Return the points by the study's own weights, the best first, with what each metric adds."""
    weights = findings.weights
    total = sum(weights.values())
    merits = [
        Column(wording("report.scores.merit", metric=label_of(name, wording), share=weight / total), wording("report.scores.merit_means"))
        for name, weight in weights.items()
    ]
    rows = tuple(
        (each.point.trial.short, each.point.scale, each.score, *(each.merits[name] for name in weights)) for each in findings.scores
    )
    return Table("scores", wording("report.scores.title"), (*name_columns("scores", SCORES, wording), *merits), rows)


def _prices(findings: Findings, wording: Wording) -> Table:
    rows = tuple(
        (
            price.trial.short if price.trial else wording("report.prices.search", arm=price.arm),
            price.runs,
            price.tokens,
            price.training_hours,
            price.gpu_hours,
            price.kwh,
            price.percent,
            price.gpu_hours_per_percent,
            price.kwh_per_percent,
        )
        for price in findings.prices
    )
    return Table("prices", wording("report.prices.title"), name_columns("prices", PRICES, wording), rows)


def _memory(findings: Findings, wording: Wording) -> Figure | None:
    words = {part: wording(f"report.memory.part.{part}") for part in PARTS}
    arms = {label_side(title, wording): side for title, side in findings.compared.items() if title != "base"}
    parts = {
        title: {word: size for part, word in words.items() if (size := side.mean(f"efficiency/{part}_gib")) is not None}
        for title, side in arms.items()
    }
    parts = {title: sizes for title, sizes in parts.items() if sizes}
    predicted = {title: size for title in parts if (size := arms[title].mean(PREDICTED)) is not None}
    if not parts:
        return None
    return picture("memory", draw_memory(parts, predicted, list(words.values()), wording("report.memory.predicted")), wording)
