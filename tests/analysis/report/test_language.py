"""A report in another language has nothing left of English: with every text replaced, only names, numbers and a study's own words stay."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.findings import Findings
from analysis.guidance.arithmetic import show_sum
from analysis.guidance.claim_book import read_claims
from analysis.report.report import Report
from analysis.statistics.comparison import FIGURES, SAVED
from records.metrics import METRICS
from records.runs import StudyRuns, read_study_runs
from records.tracking import create_store
from tests.support.ablation_runs import TOKENS, write_grid
from tests.support.judged_study import NAME, write_judged_study
from tests.support.made_runs import QWEN
from tests.support.prose import Heard, find_prose, mark, mark_all, texts_of_json

RETAINED = ("retained/perplexity", "retained/nats")
BRAND = ("hikaku",)
TAGS = ("details", "summary")  # of HTML, in Markdown
SETS = ("adapted", "english", "japanese")
SEEDS = (0, 1)


def nats(params: Mapping[str, Any]) -> np.ndarray:
    """Return nats by document: a bend at rank 8, a bowl around the rate 1e-3, linear schedules worse; a rate of 1 diverges."""
    rate, rank, shape = params.get("optimizer.learning_rate", 1e-3), params.get("method.rank", 8), params.get("schedule.shape")
    bowl, bend = 0.5 * (math.log10(rate) + 3) ** 2, 0.4 * abs(math.log2(8) - min(math.log2(rank), 3))
    noise = np.random.default_rng(params["seed"]).normal(0, 0.01, len(TOKENS))
    return np.full(len(TOKENS), math.nan) if rate == 1 else TOKENS * (3 + bowl + bend + 0.1 * (shape == "linear") + noise)


ARMS = {
    "ranks": {"method.rank": (2, 4, 8, 16), "seed": SEEDS},
    "rates": {"optimizer.learning_rate": (1e-4, 1e-3, 1e-2, 1), "seed": SEEDS},
    "shapes": {"schedule.shape": ("cosine", "linear", "constant"), "seed": SEEDS},
}


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> StudyRuns:
    uri = create_store(tmp_path_factory.mktemp("language"))
    write_judged_study(uri, tmp_path_factory.mktemp("state"))
    return read_study_runs(NAME, uri)


@pytest.fixture(scope="module", params=["judged", "one seed", "ablations", "own claims"])
def report(request: pytest.FixtureRequest, judged: StudyRuns, tmp_path_factory: pytest.TempPathFactory) -> Report:
    if request.param == "judged":
        return Report(Findings(judged), mark_all())
    if request.param == "own claims":
        parent = replace(judged.parent, tags={**judged.parent.tags, "model": QWEN})
        return Report(Findings(replace(judged, parent=parent)), mark_all())
    if request.param == "one seed":
        return Report(Findings(replace(judged, replicates=tuple(run for run in judged.replicates if run.seed == 0))), mark_all())
    return Report(Findings(write_grid(tmp_path_factory.mktemp("ablations"), ARMS, nats)), mark_all())


def names_in(runs: StudyRuns) -> Iterator[str]:
    """Yield what no language changes: names of metrics, hyperparameters, runs, arms, methods and sets, and what was recorded of a study."""
    every = [runs.parent, *([runs.base] if runs.base else []), *runs.trials, *runs.replicates]
    yield from (*BRAND, *SETS, *runs.arms, runs.name, runs.uri)
    yield from (*(metric.name for metric in METRICS), *FIGURES, *(f"gain/{name}" for name in (*SAVED, "speed")), *RETAINED)
    for run in every:
        yield from (run.uid, run.uid.partition("/")[2], run.method)
        yield from (*run.metrics, *(f"test/{name}" for name in run.metrics))
        for name, value in run.params.items():
            yield from (name, name.rpartition(".")[2], str(value))
        yield from (word for name, value in run.tags.items() for word in (name, value) if name != "outcome")
    book = read_claims()
    for claim in book.claims:
        yield from (show_sum(expression, book.figures) for expression in (*claim.computed.values(), *claim.holds))
        yield from (claim.metric.replace("{}", key) for key in claim.published)
    for setting in book.settings.values():
        yield from (setting.model, setting.texts)
        for params in (setting.params, *setting.recipes.values()):
            for name, value in params.items():
                yield from (name, str(value))


def test_markdown_is_in_the_reports_language(report: Report) -> None:
    names = [*names_in(report.findings.runs), *TAGS, *report.findings.urls.values()]
    text = report.as_markdown()
    assert mark("Where the numbers come from") in text
    for figure in report.document.figures():
        names.append(f"figures/{figure.name}.svg")
    assert find_prose(text, names) == []


def test_the_page_is_in_the_reports_language(report: Report) -> None:
    heard = Heard(report.as_html()).texts
    assert mark("Contents") in heard
    assert find_prose("\n".join(heard), names_in(report.findings.runs)) == []


def test_what_machines_read_holds_the_reports_language(report: Report) -> None:
    told = json.loads(json.dumps(report.as_json()))
    assert find_prose("\n".join(texts_of_json(told)), names_in(report.findings.runs)) == []


def test_figures_are_in_the_reports_language(report: Report) -> None:
    drawn = "\n".join(text for figure in report.document.figures() for text in Heard(figure.svg).texts)
    assert find_prose(drawn, [*names_in(report.findings.runs), "image/svg+xml", "Matplotlib", "https://matplotlib.org/"]) == []


def test_prose_is_found(tmp_path: Path) -> None:
    assert find_prose("lora/3: 12 of GiB; eval/perplexity 3e-4, 16k", ["lora/3", "eval/perplexity"]) == ["of", "GiB"]
    assert Heard('<p title="told">said<script>no</script><style>no</style></p>').texts == ["told", "said"]
    assert mark("{seeds} seeds: {share:.2g}").format(seeds=3, share=0.25) == f"3 {mark('seeds')}: 0.25"
