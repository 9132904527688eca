"""What is damaged, or another run's, is put aside with a line and never used: results, checkpoints, texts."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hikaku.search.asides import AsideLines, claim_results
from hikaku.search.standing import read_standing
from hikaku.study.setting import Setting
from hikaku.study.study import Study
from records.documents import read_table
from records.refusals import Refusal
from records.results import Outcome, Result, RungReport, claim_result, load_result, save_result
from records.sealed import DamagedError
from tests.support.small_study import describe_study
from tests.support.stand_in import make_referee, make_study, result_of
from trainables.config import TrialConfig
from trainables.corpora.tokens.folder import TRAIN_FILES, check_split, check_texts, load_card
from trainables.corpora.tokens.writing import prepare_data
from trainables.training.data_order import DataOrder


def begin(folder: Path) -> TrialConfig:
    """Return the configuration of a study's first trial, which was asked for and left unfinished."""
    referee = make_referee(make_study(folder), folder)
    flat = referee.next_trial()
    assert flat is not None
    referee.close(finished=False)
    return TrialConfig.unflatten(flat)


def own(config: TrialConfig) -> Result:
    return result_of(config, Outcome.COMPLETED, 900).model_copy(update={"config": config.owner.config})


def of_another_rate(config: TrialConfig) -> Result:
    other = config.model_copy(update={"optimizer": config.optimizer.model_copy(update={"learning_rate": 1e-6})})
    return own(other)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


DAMAGES: dict[str, Callable[[Path, TrialConfig], object]] = {
    "another rate's": lambda path, config: save_result(path.parent, of_another_rate(config)),
    "another trial's": lambda path, config: save_result(path.parent, own(config.model_copy(update={"uid": "small/lora/7"}))),
    "a digit": lambda path, config: edit(path, '"tokens": 900', '"tokens": 800'),
    "cut": lambda path, config: path.write_bytes(path.read_bytes()[:100]),
    "empty": lambda path, config: path.write_bytes(b""),
    "a list": lambda path, config: path.write_text("[]"),
    "no result": lambda path, config: path.write_text('{"uid": "small/lora/0"}'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_result_that_is_not_the_trials_is_put_aside_and_the_trial_trained(tmp_path: Path, damage: str) -> None:
    config = begin(tmp_path)
    path = Path(config.folder) / "result.json"
    save_result(path.parent, own(config))
    DAMAGES[damage](path, config)
    lines = AsideLines(tmp_path / "small")
    referee = make_referee(make_study(tmp_path), tmp_path)  # takes up what an earlier process left
    assert referee.snapshot()[0].outcome is None
    again = referee.next_trial()
    assert again is not None
    assert again["uid"] == config.uid
    assert load_result(path.parent) is None
    assert path.with_name("result.json.set-aside-1").exists()
    (line,) = lines.new()
    assert line.startswith(f"{path}: ")
    assert line.endswith("; put aside as result.json.set-aside-1, and not used")
    assert lines.new() == []


def test_a_result_that_is_gone_is_told_once_where_its_trial_is_not_trained_again(tmp_path: Path) -> None:
    study, folder = make_study(tmp_path), tmp_path / "small"
    referee = make_referee(study, tmp_path)
    for rate in (0, 1, 2):  # of one arm or both; the best of an arm would be trained again
        flat = referee.next_trial()
        assert flat is not None
        config = TrialConfig.unflatten(flat)
        result = own(config).model_copy(update={"metrics": {"eval/perplexity": 10.0 + rate}})
        save_result(Path(config.folder), result)
        referee.finish(config.uid, result)
    referee.close(finished=False)
    path = Path(config.folder) / "result.json"  # the last trial's, the worst of its arm
    path.unlink()
    lines, setting = AsideLines(folder), Setting(folder, tmp_path / "model", tmp_path / "data", "fp32")
    claim_results(read_standing(study, folder), setting)
    (line,) = lines.new()
    assert line == f"{path}: is gone; how {config.uid} ended stands, and of its curve and costs what MLflow holds already"
    claim_results(read_standing(study, folder), setting)
    assert lines.new() == []


def test_a_trials_own_result_counts_also_from_the_version_before(tmp_path: Path) -> None:
    config = begin(tmp_path)
    path = Path(config.folder) / "result.json"
    save_result(path.parent, own(config))
    assert claim_result(path.parent, config.owner) == load_result(path.parent)
    plain = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in plain.items() if key not in ("format", "sha256", "config", "files")}))
    referee = make_referee(make_study(tmp_path), tmp_path)
    assert referee.snapshot()[0].outcome == Outcome.COMPLETED


def test_a_trial_that_the_store_has_otherwise_is_refused(tmp_path: Path) -> None:
    config = begin(tmp_path)
    study, folder = make_study(tmp_path, seed=43), tmp_path / "small"
    setting = Setting(folder, tmp_path / "model", tmp_path / "data", "fp32")
    with pytest.raises(Refusal, match=f"^{config.uid}: the store of trials has it with another configuration"):
        claim_results(read_standing(study, folder), setting)


def test_places_and_what_only_rounds_are_no_part_of_whose_a_result_is(tmp_path: Path) -> None:
    config = begin(tmp_path)
    flat = config.flatten()
    same = {"folder": "/elsewhere", "data.folder": "/d", "model.folder": "/m", "engine.workers": 2, "batch.micro_blocks": 3}
    assert TrialConfig.unflatten(flat | same).owner == config.owner
    for name, value in {"optimizer.learning_rate": 5e-5, "method.rank": 3, "seed": 1, "data.digest": "d", "batch.blocks": 12}.items():
        assert TrialConfig.unflatten(flat | {name: value}).owner.config != config.owner.config
    elided = config.model_dump(mode="json", exclude_defaults=True)  # as a version would write it that has a key less
    assert TrialConfig.model_validate(elided | {"method": elided["method"] | {"name": "lora"}}).owner == config.owner


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path, Path]:
    root = tmp_path_factory.mktemp("texts")
    study = Study.model_validate(describe_study(root, "fp32"))
    prepare_data(study.data, root / "model", 64, root / "data")
    return study, root / "model", root / "data"


@pytest.mark.parametrize("file", [*TRAIN_FILES, "japanese/validation/targets.npy", "english/test/documents.parquet", "card.json"])
@pytest.mark.parametrize("damage", ["a bit", "cut", "missing"])
def test_damaged_texts_are_noticed_before_they_are_used_and_prepared_again(
    texts: tuple[Study, Path, Path], tmp_path: Path, file: str, damage: str
) -> None:
    study, model, prepared = texts
    folder = tmp_path / "data"
    shutil.copytree(prepared, folder)
    path, digest = folder / file, load_card(folder).train_digest
    check_texts(folder)  # as a process does that has read them before
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content if damage == "a bit" else content[: len(content) // 2])
    if damage == "missing":
        path.unlink()
    if not (file == "card.json" and damage == "missing"):  # without a card it is no prepared folder
        with pytest.raises(DamagedError, match=f"{file}: .*; give the same command again: the texts are put aside and made tokens anew"):
            check_texts(folder, [file])
        if file.startswith("japanese/validation"):
            with pytest.raises(DamagedError):
                check_split(folder, "validation")
            check_split(folder, "test")
    card = prepare_data(study.data, model, 64, folder, replace=file == "card.json")
    assert card.train_digest == digest == DataOrder(folder, study.training.batch, 1).digest()
    assert check_texts(folder) == card
    assert np.load(folder / TRAIN_FILES[0]).shape[1] == 64
    if not (file == "card.json" and damage == "missing"):
        assert "put aside as data.set-aside-1" in (tmp_path / "set-aside.log").read_text()
        assert (tmp_path / "data.set-aside-1").exists()


def test_a_table_of_documents_is_read_only_as_it_was_written(tmp_path: Path) -> None:
    import pandas as pd

    from trainables.evaluation.documents import read_documents, write_documents

    table = pd.DataFrame({"set": ["a"], "split": ["test"], "document": ["d"], "nats": [1.5], "tokens": [3]})
    write_documents(tmp_path, table, "mine")
    path = tmp_path / "documents.parquet"
    kept = read_documents(tmp_path, "mine")
    assert kept is not None
    assert kept["nats"].tolist() == [1.5]
    with pytest.raises(DamagedError, match=r"documents\.parquet: is of another configuration"):
        read_table(path, "another's")
    content = path.read_bytes()
    at = content.index(np.float64(1.5).tobytes())
    path.write_bytes(content[:at] + np.float64(2.5).tobytes() + content[at + 8 :])
    with pytest.raises(DamagedError, match=r"documents\.parquet: is not what was written"):
        read_table(path)
    write_documents(tmp_path, table.assign(split="validation"), "mine")
    assert read_table(path)["split"].tolist() == ["validation"]
    pd.DataFrame({"set": ["a"]}).to_parquet(path)  # of the version before
    assert read_table(path, "mine")["set"].tolist() == ["a"]


def test_a_checkpoint_of_another_configuration_is_put_aside(tmp_path: Path) -> None:
    import torch

    from trainables.training.checkpoint import Checkpoints, Progress

    def opened(config: str) -> Checkpoints:
        return Checkpoints(tmp_path / "checkpoints", rank=0, keep_best=0, barrier=lambda: None, config=config)

    def save_weights(folder: Path) -> None:
        folder.mkdir()
        (folder / "adapter").write_bytes(b"weights")

    report = RungReport(tokens=1, metrics={}, unix_time=0)
    opened("mine").save(Progress(world_size=1, zero_stage=0, step=3, rungs=[report]), {"a": torch.zeros(1)}, {}, save_weights)
    found = opened("mine").newest(world_size=1, zero_stage=0)
    assert found is not None
    assert found.progress.step == 3
    assert opened("another's").newest(world_size=1, zero_stage=0) is None
    assert (tmp_path / "checkpoints" / "0000000003.set-aside-1").exists()
    assert "is of another configuration; put aside as 0000000003.set-aside-1" in (tmp_path / "set-aside.log").read_text()
