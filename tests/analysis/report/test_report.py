import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

import analysis
from analysis.report.figures.trade_off import draw_trade_off
from analysis.report.report import Report, build_report
from analysis.text.wording import read_wording
from records.results import Outcome
from records.tracking import RunRecord, Tracker, create_store

TRIALS: list[tuple[str, Outcome, float, float]] = [
    ("lora", Outcome.COMPLETED, 5.0, 150.0),
    ("lora", Outcome.PRUNED, 4.0, 140.0),  # better, but not at the whole budget
    ("lora", Outcome.COMPLETED, 4.5, 145.0),
    ("sft", Outcome.COMPLETED, 4.2, 120.0),
    ("sft", Outcome.DIVERGED, math.nan, math.nan),
    ("sft", Outcome.INFEASIBLE, 3.9, 100.0),
]


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    uri = create_store(folder)
    tracker = Tracker(uri)
    openings = folder / "openings.jsonl"
    openings.write_text('{"uid": "made/base"}\n{"uid": "made/lora/2"}\n{"uid": "made/sft/0"}\n')
    tags = {
        "objective": "eval/bits_per_character",
        "direction": "minimize",
        "description": "A study made by hand.",
        "weights": '{"eval/perplexity": 3, "retention/english": 1}',
    }
    tracker.write(
        RunRecord(
            uid="made", kind="study", name="made", tags=tags, artifacts=(openings,), outcome=Outcome.COMPLETED, started=1.0, ended=9.0
        )
    )
    base = {"eval/perplexity": 250.0, "eval/bits_per_character": 6.0, "test/perplexity": 260.0, "retention/english": 1.0}
    tracker.write(RunRecord(uid="made/base", kind="base", name="base", outcome=Outcome.COMPLETED, metrics=base, started=1.0, ended=2.0))
    counts = {"lora": 0, "sft": 0}
    for arm, outcome, bits, perplexity in TRIALS:
        number, counts[arm] = counts[arm], counts[arm] + 1
        metrics = (
            {}
            if math.isnan(bits)
            else {
                "eval/bits_per_character": bits,
                "eval/perplexity": perplexity,
                "retention/english": 0.9,
                "efficiency/trainable_parameters": 1e4 * (number + 1),
                "efficiency/peak_memory_gib": 0.1,
            }
        )
        method = {"lora": "lora", "sft": "full"}[arm]
        params = {"method.name": method, "optimizer.learning_rate": 3e-4, "uid": "x"} | ({"method.rank": 8} if arm == "lora" else {})
        tracker.write(
            RunRecord(
                uid=f"made/{arm}/{number}",
                kind="trial",
                name=f"{arm}/{number}",
                params=params,
                tags={"arm": arm, "method": method},
                outcome=outcome,
                tokens=64,
                metrics=metrics,
                started=2.0,
                ended=3.0,
            )
        )
    return uri


@pytest.fixture(scope="module")
def report(uri: str) -> Report:
    return build_report("made", uri)


def test_json_holds_what_machines_rely_on(report: Report) -> None:
    told: dict[str, Any] = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert told["study"] == "made"
    assert told["base"]["metrics"]["eval/perplexity"] == 250.0
    assert told["best"] == {"lora": "made/lora/2", "sft": "made/sft/0"}
    assert told["openings"] == 3
    assert [trial["outcome"] for trial in told["trials"]] == [outcome.value for _, outcome, _, _ in TRIALS]
    first, diverged = told["trials"][0], told["trials"][4]
    assert first["params"] == {"method.name": "lora", "method.rank": 8, "optimizer.learning_rate": 3e-4}
    assert (first["arm"], first["method"], first["tokens"]) == ("lora", "lora", 64)
    needed = {
        "eval/perplexity",
        "eval/bits_per_character",
        "retention/english",
        "efficiency/trainable_parameters",
        "efficiency/peak_memory_gib",
        "efficiency/tokens_per_second",
    }
    for trial in told["trials"]:
        assert needed <= set(trial["metrics"])
    assert diverged["metrics"]["eval/perplexity"] is None
    assert first["metrics"]["efficiency/tokens_per_second"] is None


def test_markdown_says_the_same_numbers(report: Report, tmp_path: Path) -> None:
    path = report.write(tmp_path)
    text = path.read_text(encoding="utf-8")
    listed = text[text.index("## All trials") :]
    for trial in report.as_json()["trials"]:
        row = next(line for line in listed.splitlines() if line.startswith(f"| [{trial['uid'].split('/', 1)[1]}] |"))
        value = trial["metrics"]["eval/bits_per_character"]
        assert (f"| {value:.4g} |" in row) if value is not None else ("| – |" in row)
    assert "opened 3 times" in text
    pictures = re.findall(r"\]\((figures/\w+\.svg)\)", text)
    assert "figures/trade_off.svg" in pictures
    assert all((tmp_path / picture).stat().st_size > 1000 for picture in pictures)


def test_pruned_trials_are_open_marks(uri: str) -> None:
    axes = draw_trade_off(analysis.load("made", uri), read_wording()).axes[0]
    faces = {str(marks.get_label()): len(marks.get_facecolor()) for marks in axes.collections}
    assert faces["lora"] == 1
    assert faces["lora, pruned"] == 0


def test_table_has_a_row_per_run(uri: str) -> None:
    table = analysis.load("made", uri)
    assert list(table["uid"]) == ["made/base", *(f"made/{arm}/{n}" for arm in ("lora", "sft") for n in range(3))]
    assert table.set_index("uid").loc["made/lora/2", "eval/perplexity"] == 145.0


@pytest.mark.parametrize("outcome", [None, Outcome.FAILED, Outcome.DIVERGED])
def test_a_study_without_a_result_has_a_report_all_the_same(tmp_path: Path, outcome: Outcome | None) -> None:
    tracker = Tracker(uri := create_store(tmp_path))
    tracker.write(RunRecord(uid="early", kind="study", name="early", started=1.0))
    nothing_yet = build_report("early", uri)
    assert nothing_yet.as_json()["trials"] == []
    assert "# early" in nothing_yet.as_markdown()
    tags, metrics = {"arm": "lora", "method": "lora"}, {"eval/perplexity": math.nan} if outcome else {}
    tracker.write(RunRecord(uid="early/lora/0", kind="trial", name="lora/0", tags=tags, outcome=outcome, metrics=metrics, started=2.0))
    report = build_report("early", uri)
    assert report.write(tmp_path / "out").is_file()
    assert report.as_json()["best"] == {}
    assert f"| [lora/0] | {outcome or 'running'} | 0 |" in report.as_markdown()


def test_a_score_follows_the_studys_weights(report: Report) -> None:
    table = next(table for table in report.document.tables() if table.name == "scores")
    assert [column.title.rpartition(" × ")[2] for column in table.columns[3:]] == ["0.75", "0.25"]
    assert [row[0] for row in table.rows] == ["sft/0", "lora/2", "lora/0"]  # 120, 145 and 150; all retain the same
    for row in table.rows:
        _, _, score, perplexity, retention = row
        assert isinstance(perplexity, float)
        assert isinstance(retention, float)
        assert score == pytest.approx(0.75 * perplexity + 0.25 * retention)
