"""`hikaku tokens`: a sample that says what is trained, given and padding, with and without colour, made once with `tune`'s own tokens."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hikaku.commands.tokens import TokenView, print_view, view_tokens
from hikaku.study.folder import lock_study, prepare_texts, save_identity
from hikaku.study.reading import read_study
from hikaku.study.study import Study
from tests.support.texts import draw_texts, write_byte_model, write_jsonl
from tests.support.tree import STUDIES
from trainables.corpora.tokens.folder import Card

SAMPLE = STUDIES / "fiqa_sample.yaml"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokens")
    config = write_byte_model(folder / "model") / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 512}))
    write_jsonl(folder / "japanese.jsonl", draw_texts(12, longest=2))
    return folder


def _changes(root: Path) -> list[str]:
    """Return overrides of the shipped study: a tokenizer of bytes, and half-Japanese texts beside the finance questions."""
    english = f"data.english={{role: domain, format: jsonl, path: {root / 'japanese.jsonl'}}}"
    return ["model.embedded=null", f"model.path={root / 'model'}", english, "training.batch.sequence_length=512"]


def _study(root: Path, *changes: str) -> Study:
    return read_study(SAMPLE, [*_changes(root), *changes])


@pytest.fixture(scope="module")
def view(root: Path) -> TokenView:
    return view_tokens(_study(root), root / "state", print, documents=2)


def _print(view: TokenView, **options: Any) -> str:
    text = io.StringIO()
    print_view(view, Console(file=text, width=100, **options))
    return text.getvalue()


def test_every_token_is_given_or_trained_as_the_labels_say(view: TokenView) -> None:
    for passage in view.trained:
        states = [token.state for token in passage.tokens]
        given = states.count("given")
        assert states == ["given"] * given + ["trained"] * (len(states) - given)
        texts = {state: "".join(token.text for token in passage.tokens if token.state == state) for state in ("given", "trained")}
        if passage.tokens[0].text == "<|endoftext|>":
            assert texts["given"].startswith("<|endoftext|>You are a helpful financial assistant.")
            assert texts["given"].endswith("\n\nAnswer:\n") or not texts["trained"]
        else:
            assert passage.title.endswith(", continued")
    assert any(passage.tokens[-1].text == "<|endoftext|>" for passage in view.trained)
    for passage in view.evaluated:
        assert {token.state for token in passage.tokens} == {"given", "measured"}
        assert passage.tokens[-1].text != "<|endoftext|>"
        assert len(passage.tokens) - 1 + passage.padding == view.sequence_length
    assert view.block_padding > 0


def test_signs_say_what_colours_say(view: TokenView) -> None:
    plain, coloured = _print(view), _print(view, force_terminal=True, color_system="standard")
    assert "\x1b[" not in plain
    assert "\x1b[32m" in coloured
    for sign in ("⟦<|endoftext|>│Y│o│u│ │a│r│e", "│:│↵⟧", f"[padding × {view.block_padding}]", view.train_digest, "▶ finance_questions/"):
        assert sign in plain.replace("\n", "")


def test_tokens_per_character_are_the_cards_and_the_tokenizers(view: TokenView) -> None:
    """With a token a byte, a kana is three tokens and a Latin letter one."""
    fertility = view.fertility["english"]  # whose texts are half Japanese
    assert {script: fertility.scripts[script] for script in ("hiragana", "kanji", "latin")} == pytest.approx(
        {"hiragana": 3, "kanji": 3, "latin": 1}
    )
    assert set(fertility.splits) == {"validation", "test"}
    assert view.fertility["finance"].splits["train"] == pytest.approx(1.0, abs=0.02)
    assert view_json(view)["fertility"]["english"]["scripts"]["kanji"] == pytest.approx(3)


def view_json(view: TokenView) -> dict[str, Any]:
    return json.loads(json.dumps(view.as_json()))


def test_a_character_of_several_tokens_is_shown_when_it_is_whole(root: Path) -> None:
    view = view_tokens(_study(root), root / "state", print, documents=1, name="english")
    (passage,) = view.evaluated
    text = "".join(token.text for token in passage.tokens[1:])
    assert "▯▯。" in text
    assert text.replace("▯", "")[0].isdigit()


def test_what_steers_a_terminal_is_spelt_out(root: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "evil.jsonl", [f"{text}\x1b[31m" for text in draw_texts(12, longest=2)])
    study = _study(root, f"data.english.path={tmp_path / 'evil.jsonl'}")
    printed = _print(view_tokens(study, tmp_path / "state", print, documents=1, name="english"))
    assert "\x1b" not in printed
    assert "<1B>│[│3│1│m" in printed.replace("\n", "")


def test_tokens_are_made_once_for_tune_and_made_anew_only_before_the_study_began(root: Path, tmp_path: Path) -> None:
    said: list[str] = []
    study, folder = _study(root), tmp_path / "state"
    first = view_tokens(study, folder, said.append, documents=1)
    assert len(said) == 2  # a line a set

    def tune(study: Study) -> Card:
        with lock_study(study, folder):
            return prepare_texts(study, root / "model", folder, said.append)

    assert tune(study).train_digest == first.train_digest
    assert len(said) == 2
    other = _study(root, "data.finance.template=" + str(_template(tmp_path)))
    changed = view_tokens(other, folder, said.append, documents=1)
    assert changed.train_digest != first.train_digest
    assert len(said) == 4
    save_identity(folder, {"begun": True})
    with lock_study(other, folder):  # by the run that may be looked into
        assert view_tokens(other, folder, said.append, documents=1) == changed
    with pytest.raises(ValueError, match="was prepared from other texts"):
        view_tokens(study, folder, said.append, documents=1)


def _template(folder: Path) -> Path:
    path = folder / "short.jinja"
    path.write_text("{{ prompt }} ")
    return path


def test_the_command_prints_and_refuses_in_one_line(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> tuple[int, str, str]:
        return _run_command(monkeypatch, capsys, words)

    where = ["--state", str(root / "runs"), *(word for change in _changes(root) for word in ("--set", change))]
    code, out, _ = run("tokens", str(SAMPLE), *where, "--documents", "1", "--json")
    assert code == 0
    assert json.loads(out)["set"] == "finance"
    code, out, err = run("tokens", str(SAMPLE), *where, "--data", "finanse")
    assert (code, out, err) == (2, "", "--data: got 'finanse'; did you mean 'finance'?\n")


def _run_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> tuple[int, str, str]:
    from hikaku.cli import main

    entry: Callable[[], Any] = main
    monkeypatch.setattr("sys.argv", ["hikaku", *words])
    with pytest.raises(SystemExit) as ended:
        entry()
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err
