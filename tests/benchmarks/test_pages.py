"""The benchmarks that write docs/benchmarks.md, with a model and settings so small that only their way is tested, not their figures."""

import re
import sys
from pathlib import Path

import pytest

from benchmarks import equal_learning, evaluation, known_worlds, memory, page, samplers, step
from tests.support.tree import ROOT
from trainables.models.recipes import SMALL, embedded_shape

TABLE_ROW = re.compile(r"^\| (?!-)", re.MULTILINE)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Return a page with the markers of both benchmarks, and words around them."""
    path = tmp_path / "page.md"
    path.write_text(
        "\n".join(["before", step.START, step.END, "between", evaluation.START, "old", evaluation.END, "after"]), encoding="utf-8"
    )
    return path


def test_the_step_of_a_page_is_the_shipped_models() -> None:
    small, real = step.cases_of_page(steps=7)
    assert small.shape == embedded_shape(SMALL)
    assert small.shape.parameters() == 1_319_488
    assert real.shape.layers == 2


def test_both_tables_of_a_step_are_written(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = step.Case("tiny", step.SHAPES["tiny"], rows=2, length=16, precision="fp32", checkpointing=False, steps=2)
    monkeypatch.setattr(step, "cases_of_page", lambda steps: [tiny, tiny])
    monkeypatch.setattr(step, "measure_peak", lambda *_: 1e9)
    monkeypatch.setattr(sys, "argv", ["benchmarks/step.py", "--threads", "1", "--write", str(written)])
    step.main()
    text = written.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith(f"between\n{evaluation.START}\nold\n{evaluation.END}\nafter")
    assert text.count(f"**tiny** (2 layers of 32, {tiny.shape.parameters():,} parameters), 2 x 16 tokens, fp32") == 2
    assert len(TABLE_ROW.findall(text)) == 2 * (1 + 2 * len(step.METHODS))
    assert f"Measured by `python benchmarks/step.py --threads 1 --write {written}`." in text


def test_a_step_is_printed_without_a_page(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "measure_peak", lambda *_: 1e9)
    sizes = ["--shape", "tiny", "--layers", "1", "--rows", "1", "--length", "8", "--steps", "2", "--threads", "1", "--checkpointing"]
    monkeypatch.setattr(sys, "argv", ["benchmarks/step.py", *sizes])
    step.main()
    assert "**tiny** (1 layers of 32" in capsys.readouterr().out


def test_the_evaluation_is_written(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = ["--base", "tiny", "--tokens", "600", "--repeats", "1", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", ["benchmarks/evaluation.py", *sizes, "--write", str(written)])
    evaluation.main()
    text = written.read_text(encoding="utf-8")
    assert "old" not in text
    assert "600 tokens of Japanese, the embedded tiny base" in text
    assert len(TABLE_ROW.findall(text)) == 4


def test_a_page_without_markers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("no markers", encoding="utf-8")
    with pytest.raises(ValueError, match="not found"):
        page.write_between(path, step.START, step.END, "text")
    assert path.read_text(encoding="utf-8") == "no markers"


def test_make_writes_every_measured_table() -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nbenchmarks:")[2].partition("\n\n")[0]
    written = dict(re.findall(r"benchmarks/(\w+)\.py --write (docs/\w+\.md)", recipe))
    modules = (step, evaluation, memory, known_worlds, samplers, equal_learning)
    markers = {module.__name__.rpartition(".")[2]: module.START for module in modules}
    assert written.keys() == markers.keys()
    pages = {path: path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md")}
    assert sum(text.count(": begin -->") for text in pages.values()) == len(markers)
    assert all(marker in pages[ROOT / written[name]] for name, marker in markers.items())
