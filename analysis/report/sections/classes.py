"""Where one run is better than another: by script, by part of speech, by stratum, by domain."""

from analysis.findings import Findings
from analysis.labels import label_class, label_side, mean_cell
from analysis.report.document import Block, Figure, Section
from analysis.report.figures.bars import Bar, draw_bars
from analysis.report.sections.measures import interval_of
from analysis.report.sections.pictures import colours_of, picture
from analysis.report.tables import Column, Table
from analysis.text.wording import Wording
from records.metrics import CLASSES

PREFIXES = {"scripts": "test/script/", "words": "test/word/", "strata": "test/stratum/", "domains": "test/domain/"}
DRAWN = {"scripts": CLASSES["script"], "strata": CLASSES["stratum"]}
MEASURE = "bits_per_character"


def classes(findings: Findings, wording: Wording) -> Section | None:
    """Return a table for each way of classing texts, with bars where there is a picture of it; None where nothing was classed."""
    blocks: list[Block | None] = []
    for name, prefix in PREFIXES.items():
        blocks += [_bars(findings, wording, name, prefix) if name in DRAWN else None, _by_class(findings, wording, name, prefix)]
    kept = tuple(block for block in blocks if block)
    return Section("classes", wording("report.classes.title"), kept) if kept else None


def _by_class(findings: Findings, wording: Wording, name: str, prefix: str) -> Table | None:
    """Return a table with a class a row and a column for each measure and side; None where no side has any."""
    sides = findings.compared
    found = [metric.removeprefix(prefix).rsplit("/", 1) for metric in findings.expand([prefix])]
    if not found:
        return None
    known = [each for kind in CLASSES.values() for each in kind]
    ordered = sorted({each for each, _ in found}, key=lambda each: (known.index(each) if each in known else len(known), each))
    measures = sorted({measure for _, measure in found}, key=lambda measure: (measure == "accuracy", measure))
    columns = [
        Column(_title(measure, title, wording), metric=metric)
        for measure in measures
        for title in sides
        for metric in [f"{prefix}{ordered[0]}/{measure}"]
    ]
    rows = tuple(
        (label_class(each, wording), *(mean_cell(side, f"{prefix}{each}/{measure}") for measure in measures for side in sides.values()))
        for each in ordered
    )
    return Table(name, wording(f"report.classes.kind.{name}"), (Column(wording("report.column.class")), *columns), rows)


def _title(measure: str, side: str, wording: Wording) -> str:
    return wording("report.classes.column", measure=wording(f"report.classes.measure.{measure}"), side=label_side(side, wording))


def _bars(findings: Findings, wording: Wording, name: str, prefix: str) -> Figure | None:
    groups: dict[str, dict[str, Bar]] = {}
    for each in DRAWN[name]:
        metric = f"{prefix}{each}/{MEASURE}"
        for title, side in findings.compared.items():
            value = side.mean(metric)
            if value is not None:
                groups.setdefault(label_class(each, wording), {})[label_side(title, wording)] = Bar(
                    value, *(interval_of(side, metric) or ())
                )
    return (
        picture(name, draw_bars(groups, colours_of(findings, wording), wording(f"report.figure.{name}.axis")), wording) if groups else None
    )
