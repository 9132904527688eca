"""Figures with their title and caption, and the colours that belong to what is compared."""

from matplotlib.figure import Figure as Drawing

from analysis.findings import Findings
from analysis.labels import label_side
from analysis.report.document import Figure
from analysis.report.figures.palette import BASE, as_svg, colour_of
from analysis.text.wording import Wording


def picture(name: str, drawing: Drawing, wording: Wording) -> Figure:
    """Return a drawing as a figure of the report, with its title and caption."""
    return Figure(name, wording(f"report.figure.{name}.title"), as_svg(drawing, name), wording(f"report.figure.{name}.caption"))


def colours_of(findings: Findings, wording: Wording) -> dict[str, str]:
    """Return the colour of everything that is compared, by title: that of its arm, grey for the base."""
    return {
        label_side(title, wording): BASE if title == "base" else colour_of(side.trial.arm, findings.arms)
        for title, side in findings.compared.items()
    }
