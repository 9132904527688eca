"""The report of a study: an answer, the tables behind it and pictures, all read from MLflow."""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from analysis.findings import Findings
from analysis.labels import label_outcome
from analysis.report.document import Document, Section
from analysis.report.markdown import render_markdown
from analysis.report.sections import answer, card, claims, classes, difference, records, sensitivity, trade_off, training
from analysis.report.sections.pictures import colours_of
from analysis.text.wording import Wording, read_wording
from analysis.trials import hyperparameters
from records.files import hold, sweep, write_file
from records.folders import FIGURES_FOLDER, REPORT_DATA, REPORT_FILE, REPORT_LOCK, REPORT_PAGE, TABLES_FOLDER
from records.runs import Run, read_study_runs

ALWAYS = (
    "eval/perplexity",
    "eval/bits_per_character",
    "efficiency/trainable_parameters",
    "efficiency/peak_memory_gib",
    "efficiency/tokens_per_second",
)  # named for every trial, null where a trial did not reach them
ARTIFACTS = "report"  # where the report lies among the artifacts of the study's run
SECTIONS: tuple[Callable[[Findings, Wording], Section | None], ...] = (
    card.verdict,
    answer.answer,
    difference.difference,
    trade_off.trade_off,
    card.guide,
    training.training,
    sensitivity.sensitivity,
    classes.classes,
    records.samples,
    claims.claims,
    records.trials,
    records.provenance,
    records.definitions,
)


def build_report(name: str, uri: str, language: str = "en") -> "Report":
    """Return the report of a study as MLflow holds it. Raises ValueError when it holds no such study, or for an unknown language."""
    return Report(Findings(read_study_runs(name, uri)), read_wording(language))


@dataclass(frozen=True)
class Report:
    """A study's findings in words."""

    findings: Findings
    wording: Wording = field(default_factory=read_wording)

    @cached_property
    def document(self) -> Document:
        """Return the sections that there is something to say in."""
        findings, wording = self.findings, self.wording
        sections = (section(findings, wording) for section in SECTIONS)
        links = {run.id.short: findings.urls[run.uid] for run in (*findings.runs.trials, *findings.runs.replicates)}
        kept = tuple(section for section in sections if section)
        return Document(findings.runs.name, self._lead(), kept, links | findings.urls, colours_of(findings, wording), wording.language)

    def as_markdown(self) -> str:
        """Return report.md."""
        return render_markdown(self.document, self.wording)

    def as_html(self) -> str:
        """Return report.html, one file that needs nothing beside it."""
        from analysis.report.page import render_page

        return render_page(self.document, self.wording)

    def as_json(self) -> dict[str, Any]:
        """Return `study`, `objective`, `base`, `best` (arm -> uid), `openings`, `trials`, and the report itself: `sections`, `tables`.

        A section names its tables and figures and holds its texts. Numbers that are not finite are null.
        """
        findings = self.findings
        names = [*ALWAYS, *findings.metrics_under("retention/")]
        base = findings.runs.base
        return {
            "study": findings.runs.name,
            "objective": {"metric": findings.objective, "direction": findings.direction},
            "base": None if base is None else {"uid": base.uid, "metrics": _plain(base.metrics, names)},
            "best": {arm: run.uid for arm, run in findings.best.items()},
            "openings": findings.openings,
            "trials": [_trial_json(run, names) for run in findings.runs.trials],
            "sections": [section.as_json() for section in self.document.sections],
            "tables": {table.name: table.as_json() for table in self.document.tables()},
        }

    def write(self, folder: Path) -> Path:
        """Return the path of report.md after writing it, report.html, report.json, figures/ and tables/ into the folder.

        The same files become artifacts of the study's run, under report/.
        """
        files = {REPORT_FILE: self.as_markdown(), REPORT_PAGE: self.as_html()}
        files[REPORT_DATA] = json.dumps(self.as_json(), ensure_ascii=False, indent=1, allow_nan=False)
        files |= {f"{FIGURES_FOLDER}/{figure.name}.svg": figure.svg for figure in self.document.figures()}
        files |= {f"{TABLES_FOLDER}/{table.name}.csv": table.as_csv() for table in self.document.tables()}
        with hold(folder / REPORT_LOCK):
            sweep(folder, REPORT_FILE, REPORT_PAGE, REPORT_DATA)
            sweep(folder / FIGURES_FOLDER)
            sweep(folder / TABLES_FOLDER)
            for name, text in files.items():
                write_file(folder / name, text)
        self.findings.runs.add_files(self.findings.runs.parent, folder, files, ARTIFACTS)
        return folder / REPORT_FILE

    def _lead(self) -> str:
        findings = self.findings
        counts = Counter(label_outcome(run.outcome, self.wording) for run in findings.runs.trials)
        outcomes = (self.wording("report.head.outcome", count=count, outcome=outcome) for outcome, count in counts.most_common())
        told = self.wording(
            "report.head.counts",
            count=len(findings.runs.trials),
            outcomes=", ".join(outcomes),
            objective=findings.objective,
            openings=findings.openings,
        )
        return "\n\n".join(filter(None, [findings.runs.description, told]))


def _trial_json(run: Run, names: Sequence[str]) -> dict[str, Any]:
    return {
        "uid": run.uid,
        "arm": run.arm,
        "method": run.method,
        "outcome": run.outcome,
        "reason": run.reason,
        "params": hyperparameters(run.params),
        "tokens": int(run.metrics.get("train/tokens", 0)),
        "metrics": _plain(run.metrics, names),
    }


def _plain(metrics: Mapping[str, float], always: Sequence[str]) -> dict[str, float | None]:
    every = dict.fromkeys([*always, *sorted(metrics)])
    return {name: value if (value := metrics.get(name)) is not None and math.isfinite(value) else None for name in every}
