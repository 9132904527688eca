"""Where one run is better than another: by script, by part of speech, by stratum, by domain."""

from analysis.document import Block, Figure, Section
from analysis.figures.bars import Bar, draw_bars
from analysis.figures.palette import BASE, as_svg, colour_of
from analysis.findings import Findings
from analysis.sections.measures import cell_of, unit_of
from analysis.tables import Column, Table
from analysis.wording import Wording
from hikaku.metrics import CLASSES

PREFIXES = {"scripts": "test/script/", "words": "test/word/", "strata": "test/stratum/", "domains": "test/domain/"}
DRAWN = {"scripts": CLASSES["script"], "strata": CLASSES["stratum"]}
MEASURE = "bits_per_character"


def classes(findings: Findings, wording: Wording) -> Section | None:
    """Return a table for each way of classing texts, with bars where there is a picture of it; None where nothing was classed."""
    blocks: list[Block | None] = []
    for name, prefix in PREFIXES.items():
        blocks += [_bars(findings, wording, name, prefix) if name in DRAWN else None, _by_class(findings, wording, name, prefix)]
    kept = tuple(block for block in blocks if block)
    return Section("classes", wording("classes.title"), kept) if kept else None


def _by_class(findings: Findings, wording: Wording, name: str, prefix: str) -> Table | None:
    """Return a table with a class a row and a column for each measure and run; None where no run has any."""
    runs = findings.compared
    found = [metric.removeprefix(prefix).rsplit("/", 1) for metric in findings.expand([prefix], list(runs.values()))]
    if not found:
        return None
    known = [each for kind in CLASSES.values() for each in kind]
    ordered = sorted({each for each, _ in found}, key=lambda each: (known.index(each) if each in known else len(known), each))
    measures = sorted({measure for _, measure in found}, key=lambda measure: (measure == "accuracy", measure))
    columns = [
        Column(f"{measure.replace('_', ' ')}, {title}", unit=unit_of(metric), metric=metric)
        for measure in measures
        for title in runs
        for metric in [f"{prefix}{ordered[0]}/{measure}"]
    ]
    rows = tuple(
        (each, *(cell_of(run.metrics, f"{prefix}{each}/{measure}") for measure in measures for run in runs.values())) for each in ordered
    )
    return Table(name, wording(f"classes.{name}"), (Column(wording("column.class")), *columns), rows)


def _bars(findings: Findings, wording: Wording, name: str, prefix: str) -> Figure | None:
    groups = {
        each: {
            title: Bar(run.metrics[metric])
            for title, run in findings.compared.items()
            if (metric := f"{prefix}{each}/{MEASURE}") in run.metrics
        }
        for each in DRAWN[name]
    }
    groups = {each: bars for each, bars in groups.items() if bars}
    if not groups:
        return None
    colours = {title: colour_of(run.tags["arm"], findings.arms) if "arm" in run.tags else BASE for title, run in findings.compared.items()}
    figure = draw_bars(groups, colours, wording(f"figure.{name}.axis"))
    return Figure(name, wording(f"figure.{name}.title"), as_svg(figure, name), wording(f"figure.{name}.caption"))
