"""What the result depends on: learning rate, rank, every hyperparameter's share, and what one changes all else equal."""

import math

from analysis.findings import Findings
from analysis.guidance.sentences import tell_ablation, tell_knee, tell_rates
from analysis.labels import Cell, label_of
from analysis.report.document import Block, Figure, Points, Section
from analysis.report.figures.bars import draw_importance
from analysis.report.figures.curves import Level, draw_response
from analysis.report.figures.palette import colour_of
from analysis.report.figures.parallel import draw_parallel
from analysis.report.sections.measures import name_columns
from analysis.report.sections.pictures import picture
from analysis.report.tables import Column, Table
from analysis.statistics.importance import EVALUATORS, Importance
from analysis.text.wording import Wording

RESPONSES = {"learning_rate": "optimizer.learning_rate", "rank": "method.rank"}
DRAWN = "fanova"
EFFECTS = ("arm", "name", "value", "seeds", "perplexity", "low", "high", "ratio", "p", "others")
IMPORTANCES = ("arm", "hyperparameter", "at", "trials")


def sensitivity(findings: Findings, wording: Wording) -> Section | None:
    """Return how the objective follows the hyperparameters; None where nothing was varied or measured."""
    importances = findings.importances
    told = (
        *(tell_rates(rates, wording) for rates in findings.learning_rates),
        *(tell_knee(knee, wording) for knee in findings.knees),
        *(tell_ablation(ablation, wording) for ablation in findings.ablations),
    )
    blocks: list[Block | None] = [
        Points(told) if told else None,
        *(_response(findings, wording, name, hyperparameter) for name, hyperparameter in RESPONSES.items()),
        _effects(findings, wording),
        _importance(findings, importances, wording),
        _importances(importances, wording) if importances else None,
        _parallel(findings, wording),
    ]
    kept = tuple(block for block in blocks if block)
    return Section("sensitivity", wording("report.sensitivity.title"), kept) if kept else None


def _response(findings: Findings, wording: Wording, name: str, hyperparameter: str) -> Figure | None:
    """Return the trials over a hyperparameter; where it was varied with several seeds, perplexity with its levels' intervals."""
    levels = {
        each.arm: [Level(float(effect.value), effect.perplexity, *effect.perplexity_interval) for effect in each.effects]
        for each in findings.ablations
        if each.name == hyperparameter
    }
    quality, table = "eval/perplexity" if levels else findings.objective, findings.table
    if not {quality, hyperparameter} <= set(table.columns) or table.dropna(subset=[quality])[hyperparameter].nunique() < 2:
        return None
    figure = draw_response(
        table,
        hyperparameter,
        quality,
        label=hyperparameter,
        quality_label=label_of(quality, wording, unit=True),
        wording=wording,
        levels=levels,
        urls=findings.urls,
    )
    return picture(name, figure, wording)


def _effects(findings: Findings, wording: Wording) -> Table | None:
    """Return every value of the hyperparameters that were varied with several seeds, beside the first."""
    rows: list[tuple[Cell, ...]] = []
    for each in findings.ablations:
        for effect in each.effects:
            value = effect.value if isinstance(effect.value, str | int | float) else str(effect.value)
            ratio = None if effect.difference is None else effect.difference.ratio
            others = ", ".join(f"{name.split('.', 1)[1]} {setting}" for name, setting in effect.others.items())
            numbers = (effect.perplexity, *effect.perplexity_interval, ratio, effect.adjusted_p)
            rows.append((each.arm, each.name, value, each.seeds, *numbers, others))
    return Table("effects", wording("report.effects.title"), name_columns("effects", EFFECTS, wording), tuple(rows)) if rows else None


def _importance(findings: Findings, importances: tuple[Importance, ...], wording: Wording) -> Figure | None:
    """Return the shares by one evaluator where the most trials took part."""
    by_arm: dict[str, Importance] = {}
    for each in importances:
        held = by_arm.get(each.arm)
        if each.evaluator == DRAWN and (held is None or each.trials > held.trials):
            by_arm[each.arm] = each
    if not by_arm:
        return None
    shares = {arm: {name.split(".", 1)[1]: share for name, share in each.shares.items()} for arm, each in by_arm.items()}
    chance = {arm: {name.split(".", 1)[1]: share for name, share in each.chance.items()} for arm, each in by_arm.items()}
    colours = {arm: colour_of(arm, findings.arms) for arm in by_arm}
    return picture("importance", draw_importance(shares, chance, colours, wording("report.figure.importance.axis")), wording)


def _importances(importances: tuple[Importance, ...], wording: Wording) -> Table:
    """Return all shares, by every evaluator, with what chance gives."""
    columns = [*name_columns("importances", IMPORTANCES, wording)]
    for evaluator in EVALUATORS:
        title = wording(f"report.importances.evaluator.{evaluator}")
        columns += [
            Column(title, wording(f"report.importances.evaluator_means.{evaluator}")),
            Column(wording("report.importances.chance", evaluator=title), wording("report.importances.chance_means")),
        ]
    grouped: dict[tuple[str, int | None, int, str], dict[str, tuple[float, float]]] = {}
    for each in importances:
        for name, share in each.shares.items():
            grouped.setdefault((each.arm, each.tokens, each.trials, name), {})[each.evaluator] = (share, each.chance[name])
    rows = tuple(
        (arm, name, tokens, trials, *(cell for evaluator in EVALUATORS for cell in found.get(evaluator, (math.nan, math.nan))))
        for (arm, tokens, trials, name), found in grouped.items()
    )
    return Table("importances", wording("report.importances.title"), tuple(columns), rows)


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
