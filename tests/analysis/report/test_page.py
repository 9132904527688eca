"""report.html asks for nothing, its figures are drawn, and every number of report.md is in report.json."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import pytest
from mlflow import MlflowClient

from analysis.findings import LOCAL_PAGES
from analysis.labels import format_cell
from analysis.report.document import Block, Document, Figure, Folded, Leaning, Leanings, Paragraph, Points, Sample, Section, Tile, Tiles
from analysis.report.figures.palette import BASE
from analysis.report.page import render_page
from analysis.report.report import Report, build_report
from analysis.report.tables import Column, Table
from analysis.text.wording import read_wording
from records.runs import read_study_runs
from records.tracking import create_store
from tests.support.browser import check_quiet, open_page
from tests.support.judged_study import NAME, SEEDS, write_judged_study

FIGURES = (
    "learning",
    "forest",
    "trade_off",
    "forgetting",
    "memory",
    "loss_curves",
    "learning_rate",
    "rank",
    "scripts",
    "strata",
    "parallel",
)
QUESTIONS = ("get_experiment_by_name", "search_runs", "get_metric_history", "list_artifacts", "download_artifacts")
NUMBER = re.compile(r"\d[\d,]*\.?\d*(?:e[-+]?\d+)?")


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("store")
    written = tmp_path_factory.mktemp("state")
    uri = create_store(folder)
    write_judged_study(uri, written)
    shutil.rmtree(written)  # what follows has the store alone
    return uri


@pytest.fixture(scope="module")
def asked() -> Counter[tuple[str, ...]]:
    """Return what was asked of MLflow for the one report of this module, each question by its method and what it was asked of."""
    return Counter()


@pytest.fixture(scope="module")
def report(uri: str, asked: Counter[tuple[str, ...]]) -> Report:
    with pytest.MonkeyPatch.context() as patch:
        for name in QUESTIONS:
            patch.setattr(MlflowClient, name, count(name, asked))
        report = build_report(NAME, uri)
        report.as_json()  # every section, and all that the report is made from
    return report


def count(name: str, asked: Counter[tuple[str, ...]]) -> Callable[..., Any]:
    """Return a method of MLflow's client that counts how often it is called with what."""
    method = getattr(MlflowClient, name)

    def counted(client: MlflowClient, *given: Any, **named: Any) -> Any:
        asked[name, *(str(argument) for argument in given[:2])] += 1  # behind a run's id and a name, a folder of this process
        return method(client, *given, **named)

    return counted


@pytest.fixture(scope="module")
def folder(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report.write(tmp_path_factory.mktemp("report")).parent


class Page(HTMLParser):
    """What a page refers to, its ids, and how many shapes each figure has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[tuple[str, str]] = []
        self.ids: Counter[str] = Counter()
        self.shapes: dict[str, int] = {}
        self._figure = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.targets += [(tag, value or "") for name, value in attrs if name in ("src", "href", "xlink:href", "srcset", "action", "data")]
        self.ids.update([named["id"] or ""] if "id" in named else [])
        if tag == "figure":
            self._figure = named.get("id") or ""
        if tag in ("path", "use") and self._figure.startswith("figure-"):
            self.shapes[self._figure] = self.shapes.get(self._figure, 0) + 1


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_nothing_is_asked_of_the_network(page: Page, folder: Path, report: Report) -> None:
    outside = {target for _, target in page.targets if not target.startswith(("#", "data:"))}
    assert outside <= set(report.findings.urls.values())
    assert all(target.startswith(f"{LOCAL_PAGES}/#/experiments/") for target in outside)
    assert {tag for tag, target in page.targets if target in outside} == {"a"}
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"@import|url\((?!#)|fetch\(|XMLHttpRequest", text)


def test_every_figure_is_drawn_once_and_every_link_leads_somewhere(page: Page, report: Report, folder: Path) -> None:
    names = [figure.name for figure in report.document.figures()]
    assert set(FIGURES) <= set(names)
    assert set(page.shapes) == {f"figure-{name}" for name in names}
    assert min(page.shapes.values()) > 10
    assert {name: count for name, count in page.ids.items() if count > 1} == {}
    assert {target[1:] for _, target in page.targets if target.startswith("#")} <= set(page.ids)
    assert all((folder / "figures" / f"{name}.svg").is_file() for name in names)
    assert all((folder / "tables" / f"{table.name}.csv").is_file() for table in report.document.tables())


def test_figures_follow_the_page_from_light_to_dark(folder: Path) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    drawn = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))
    assert "var(--arm-0)" in drawn
    assert set(re.findall(r"(?:fill|stroke): (#\w+)", drawn)) <= {"#ffffff"}


def test_every_number_in_words_is_in_the_json(report: Report, folder: Path) -> None:
    told: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    text = (folder / "report.md").read_text(encoding="utf-8")
    shown = [line for line in text.splitlines() if line.startswith("| ")]
    for table in told["tables"].values():
        for row in table["rows"]:
            cells = [re.escape(" ".join(format_cell(cell).split()).replace("|", "\\|")) for cell in row]
            assert any(re.fullmatch(r"\| [`\[]?" + r"[`\]]? \| [`\[]?".join(cells) + r"[`\]]? \|", line) for line in shown), row
    known = set(NUMBER.findall(json.dumps(told["sections"], ensure_ascii=False)))
    known |= {format_cell(cell) for table in told["tables"].values() for row in table["rows"] for cell in row if not isinstance(cell, str)}
    prose = [line for line in text.splitlines() if not line.startswith(("| ", "![", "- ", "[", "#"))]
    texts = [text for section in told["sections"] for text in section["texts"]]
    notes = [table["note"] for table in told["tables"].values()]
    captions = [figure.caption for figure in report.document.figures()]
    for line in prose:
        plain = line.strip("*")
        if plain not in texts and plain not in notes and plain not in captions:
            assert set(NUMBER.findall(plain)) <= known | {str(told["openings"]), str(len(told["trials"]))}, line


def test_finalists_are_judged_by_their_seeds(report: Report) -> None:
    assert report.findings.seeds == SEEDS
    told = report.as_json()
    first = told["tables"]["difference"]["rows"][0]
    assert first[2:4] == [50, SEEDS]
    assert first[4] == pytest.approx(0.5, abs=0.1)
    assert first[-1] == "full better"
    assert "Full fine-tuning reaches the lower perplexity" in told["sections"][0]["texts"][0]
    on_fronts = told["tables"]["fronts"]["rows"]
    assert any(row[2] == 0.5 for row in on_fronts)
    means = {row[-1]: row[2] for row in told["tables"]["answer"]["rows"]}
    seeds = [run.metrics["test/nats_per_token"] for run in report.findings.runs.replicates if run.arm == "lora"]
    assert means["test/bits_per_character"] == pytest.approx(sum(seeds) / SEEDS / 0.6931471805599453 / 2)


def test_a_report_asks_mlflow_once_for_each_artifact_and_history(report: Report, asked: Counter[tuple[str, ...]]) -> None:
    """Six trials and ten replicates: 119 questions where nothing is remembered, 68 where all of it is."""
    runs = report.findings.runs
    assert (len(runs.trials), len(runs.replicates)) == (6, 10)
    assert {question for question, times in asked.items() if times > 1} == set()
    kinds = Counter(name for name, *_ in asked)
    assert kinds["download_artifacts"] == 11  # the openings, and the documents of ten replicates
    assert kinds["list_artifacts"] <= 1 + len(runs.trials) + len(runs.replicates)
    assert kinds["get_metric_history"] <= 4 * (len(runs.trials) + len(runs.replicates))  # loss, gradient's norm, validation, retention


def test_the_report_is_made_again_from_the_store_alone(uri: str, folder: Path, tmp_path: Path) -> None:
    again = build_report(NAME, uri).write(tmp_path).parent
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert [name for name in names if (folder / name).read_bytes() != (again / name).read_bytes()] == []


def test_the_study_s_run_carries_the_report(uri: str, folder: Path) -> None:
    runs = read_study_runs(NAME, uri)
    kept = runs.artifact(runs.parent, "report")
    assert kept is not None
    assert (kept / "report.html").read_bytes() == (folder / "report.html").read_bytes()
    assert (kept / "figures" / "forest.svg").is_file()


def test_no_text_becomes_markup() -> None:
    evil = '<x-evil a="1">&\'`<x-evil>`'
    table = Table(evil, evil, (Column(evil, evil, evil), Column("name", is_code=True)), ((evil, evil), ("1", evil)), evil)
    blocks = (
        Paragraph(evil),
        Points((evil,)),
        Folded(evil, evil),
        Tiles((Tile(evil, ((evil, evil),), evil),)),
        Leanings((Leaning(evil, (evil,), evil),)),
        table,
        Figure("name", evil, "<svg ></svg>", evil),
        Sample(evil, evil, {evil: evil}),
    )
    document = Document(evil, evil, (Section("name", evil, blocks),), {evil: evil, "<x-evil>": evil}, {evil: BASE})
    page = render_page(document, read_wording())
    assert len({type(block) for block in blocks}) == len(get_args(Block))
    assert "<x-evil" not in page
    assert page.count("&lt;x-evil") > 30
    assert Page(page).ids["table-" + evil] == 1


def test_a_browser_opens_it_without_a_request_or_an_error(folder: Path, tmp_path: Path) -> None:
    check_quiet(folder / "report.html", tmp_path)


def test_a_click_sorts_by_value_and_back(folder: Path, tmp_path: Path) -> None:
    click = """<script>
      const table = document.getElementById("table-answer"), title = table.tHead.rows[0].cells[2];
      const values = () => { title.click(); return [...table.tBodies[0].rows].map((row) => row.cells[2].dataset.value ?? "absent") };
      document.title = JSON.stringify([values(), values()]);
    </script></body>"""
    page = tmp_path / "clicked.html"
    page.write_text((folder / "report.html").read_text(encoding="utf-8").replace("</body>", click), encoding="utf-8")
    up, down = json.loads(re.findall(r"<title>(.*?)</title>", open_page(page).stdout)[0])
    known = [float(value) for value in up if value != "absent"]
    assert len(known) > 2
    assert known == sorted(known)
    assert [float(value) for value in down if value != "absent"] == known[::-1]
    assert up.count("absent") == down.count("absent") == len(up) - len(known)
    assert all(value == "absent" for value in [*up[len(known) :], *down[len(known) :]])
