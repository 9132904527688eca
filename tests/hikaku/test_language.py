"""The terminal speaks the language of its texts: with every text replaced, only names, numbers and what was recorded stay English."""

import importlib.metadata
import io
import platform
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from rich.console import Console

from analysis.text import wording
from analysis.text.wording import read_wording
from hikaku.commands.check import print_plan
from hikaku.commands.doctor import examine
from hikaku.commands.evaluate import TaskRun, print_tasks
from hikaku.commands.export import Export
from hikaku.commands.model_card import FACTS, MEASURED, Kind, render_card
from hikaku.commands.prepare import print_card
from hikaku.commands.repro import Rerun, print_rerun
from hikaku.commands.status import StudyStatus, print_status
from hikaku.commands.tokens import Fertility, Passage, Piece, TokenView, print_view
from hikaku.search.closing import answer_lines
from hikaku.search.launcher import tell_correlation
from hikaku.search.progress import describe_replicate, render_line, render_table
from hikaku.search.standing import RankCorrelation
from hikaku.study.plan import make_plan
from hikaku.study.reading import read_study
from hikaku.study.study import Study
from records.results import Outcome, Result, TrialStatus, save_result
from records.run_id import RunId
from tests.support.broken_studies import GOOD, write_surroundings
from tests.support.made_runs import make_run, make_seeds, make_study
from tests.support.prose import find_prose, mark, write_marked
from trainables.corpora.cleaning.clean_card import CleanCard, SplitCard, describe_split
from trainables.evaluation.tasks import Measured
from trainables.jobs.export import Agreement
from trainables.models.source import ModelSource

NEAR = Agreement(trial_perplexity=8.0, perplexity=8.0000001, logit_difference=1e-5, logit_spread=2.0, tolerance=2e-3)
ARMS = ("lora", "sft", "good")


@pytest.fixture(scope="module")
def languages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_marked(tmp_path_factory.mktemp("languages") / "text")


@pytest.fixture(autouse=True)
def marked(languages: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the marked texts in the place of the English ones."""
    monkeypatch.setattr(wording, "FOLDER", languages)
    read_wording.cache_clear()
    yield
    read_wording.cache_clear()


@pytest.fixture
def study(tmp_path: Path) -> Study:
    write_surroundings(tmp_path)
    (tmp_path / "good.yaml").write_text(GOOD)
    return read_study(tmp_path / "good.yaml", ["pruning=null", "budget.trials=1", "finalists={seeds: 3}"])


def printed(write: Callable[[Console], None]) -> str:
    """Return what is written on a wide terminal without colours."""
    out = io.StringIO()
    write(Console(file=out, width=200, soft_wrap=True))
    return out.getvalue()


def test_the_plan(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    huge = study.model_copy(update={"resources": study.resources.model_copy(update={"cpus_per_worker": 4096, "gpus_per_worker": 1})})
    plans = [make_plan(each, tmp_path) for each in (study, huge)]
    text = "".join(printed(lambda console, plan=plan: print_plan(plan, console)) for plan in plans)
    names = [*ARMS, "model", "fp32", "bf16", "fp16", "tpe", "full", "eval/bits_per_character", "retention/english", "attention"]
    for arm in study.arms.values():
        names += arm.space.names()
    assert mark("objectives") in text
    assert find_prose(text, names) == []


def status(outcome: Outcome | None, perplexity: float | None) -> TrialStatus:
    return TrialStatus(
        uid="good/lora/0", arm="lora", outcome=outcome, rung=None, tokens=64, perplexity=perplexity, tokens_per_second=9.0, started=None
    )


@pytest.mark.parametrize("outcome", [None, *Outcome])
def test_progress(outcome: Outcome | None, study: Study) -> None:
    row = status(outcome, 12.0)
    lines = [render_line(row), render_line(status(outcome, None))]
    lines += [printed(lambda console, left=left: console.print(render_table(study, [row], left))) for left in (None, 5.0, 500.0)]
    if outcome is not None:
        ended = Result(uid="good/lora/0/seed-1", outcome=outcome, tokens=64, metrics={}, started=1.0, ended=2.0, reason="nan")
        lines.append(describe_replicate(ended))
    assert find_prose("\n".join(lines), ["good/lora/0/seed-1", "good/lora/0", *ARMS, "nan"]) == []


def test_the_end_of_a_study(tmp_path: Path) -> None:
    base, one, other = (RunId.parse(f"good/{name}") for name in ("base", "lora/0", "lora/0/seed-1"))
    for run in (base, one, other):
        result = Result(uid=str(run), outcome=Outcome.COMPLETED, tokens=1, metrics={"test/perplexity": 9.0}, started=1.0, ended=2.0)
        save_result(tmp_path / run.folder, result)
    lines = [line for runs in ([one], [one, other]) for line in answer_lines(tmp_path, base, {"lora": runs})]
    lines += [tell_correlation(RankCorrelation("lora", 100, 5, 0.5), read_wording())]
    assert len(lines) == 7
    assert find_prose("\n".join(lines), ["test/perplexity", "efficiency/evaluation_share", "lora"]) == []


def test_what_was_never_begun(study: Study, tmp_path: Path) -> None:
    text = printed(lambda console: print_status(StudyStatus(study, tmp_path, ()), console))
    assert find_prose(text, [str(tmp_path), "good"]) == []


def test_a_machine(tmp_path: Path) -> None:
    findings = examine(tmp_path)
    parts = [Requirement(line).name for line in importlib.metadata.requires("hikaku") or ()]
    names = [platform.platform(), *parts, *(shutil.which(tool) or tool for tool in ("gcc", "g++")), "gcc", "HF_TOKEN", str(tmp_path)]
    names += [importlib.metadata.version(part) for part in parts if any(part == finding.name for finding in findings)]
    assert find_prose("\n".join(f"{finding.name}: {finding.detail}" for finding in findings), names) == []


def test_tasks() -> None:
    run = TaskRun({"name": "my_model", "precision": "fp32"}, {"bleu": Measured({"task/bleu/bleu_words": 12.5}, {"items": 3})})
    text = printed(lambda console: print_tasks(run, console))
    assert mark("better") in text
    assert find_prose(text, ["task/bleu/bleu_words", "bleu", "items", "name", "my_model", "precision", "fp32"]) == []


@pytest.mark.parametrize("again", [8.0, 9.0])
def test_a_trial_again(again: float) -> None:
    changed = {"device": ("H100", ""), "git_commit": ("", "abc")}
    done = Rerun("good/lora/0", {"eval/perplexity": 8.0}, {"eval/perplexity": again}, 1e-7, changed, 1e-6)
    text = printed(lambda console: print_rerun(done, console))
    assert find_prose(text, ["good/lora/0", "eval/perplexity", "device", "H100", "git_commit", "abc"]) == []


@pytest.mark.parametrize("kind", ["adapter", "merged model", "full model"])
def test_an_export(kind: Kind) -> None:
    done = Export("good/lora/0", Path("/home"), kind, NEAR)
    assert find_prose(str(done), ["good/lora/0", "/home"]) == []


def test_the_card_of_a_model() -> None:
    params = {"model.precision": "bf16", "method.name": "lora", "method.rank": 8, "seed": 5}
    trial = make_run("good/lora/0", {"eval/perplexity": 8.0, "efficiency/trainable_parameters": 1000.0}, params, device="H100")
    runs = make_study([trial], make_seeds(trial, "eval/perplexity", [4.0, 16.0]), base=make_run("good/base", {"eval/perplexity": 20.0}))
    source = ModelSource(id="owner/model", revision="ab" * 20, licence="MIT")
    card = render_card(runs, runs.trials[0], source, "adapter", "owner/model", NEAR)
    prose = re.sub(r"(?s)^---.*?---|```.*?```", "", card)  # what the hub reads, and code
    names = [
        "good/lora/0",
        "owner/model",
        "good",
        "lora",
        *MEASURED,
        *FACTS,
        "H100",
        trial.run_id,
        *trial.params,
        "efficiency/train_seconds",
    ]
    assert find_prose(prose, [*names, "efficiency/peak_memory_gib"]) == []


def test_a_clean_folder() -> None:
    splits: dict[str, SplitCard] = {
        "train": describe_split([("日本語abc", "")]),
        "validation": describe_split([]),
        "test": describe_split([]),
    }
    card = CleanCard(
        sources=["here"],
        options={},
        read=4,
        used=1,
        truncated={"cut": 1},
        skipped={"dropped": 2},
        changes={"folded": 1},
        splits=splits,
        files={"a.txt": "text, utf-8"},
        left_out=["b.bin"],
        licences={},
        questions={"about": 1},
        overlaps=["a, b"],
        digest="0" * 64,
    )
    text = "".join(
        printed(lambda console, shown=shown: print_card(shown, Path("/there"), console))
        for shown in (card, card.model_copy(update={"questions": {}}))
    )
    recorded = ["cut", "dropped", "folded", "text, utf-8", "b.bin", "about", "/there"]
    assert find_prose(text, recorded) == []


def test_tokens() -> None:
    pieces = (Piece(1, "あ", "given"), *(Piece(2, "い", "trained") for _ in range(200)))
    view = TokenView(
        study="good",
        set="japanese",
        sequence_length=64,
        blocks=2,
        train_tokens=100,
        padding_share=0.1,
        train_digest="0" * 8,
        block=0,
        block_documents=3,
        block_padding=4,
        trained=(Passage("あ", pieces, 3),),
        evaluated=(Passage("い", pieces),),
        fertility={"japanese": Fertility({"train": 0.5, "validation": 0.5, "test": 0.4}, {"kanji": 1.0, "latin": 0.3})},
    )
    text = printed(lambda console: print_view(view, console))
    assert find_prose(text, ["good", "japanese"]) == []
