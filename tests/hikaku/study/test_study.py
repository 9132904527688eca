"""Reading study files, and what a study derives from them: rungs, trial configurations, identity."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hikaku.study.folder import load_identity, save_identity
from hikaku.study.identity import describe_change
from hikaku.study.reading import read_study, study_schema
from hikaku.study.setting import Setting
from hikaku.study.study import Study
from records.folders import STUDY_FILE
from records.obstacles import Obstacle
from records.refusals import Refusal
from tests.support.broken_studies import GOOD, write_surroundings
from tests.support.tree import STUDIES

SHIPPED = sorted(STUDIES.glob("*.yaml"))
TWO_WORKERS = ["resources.workers=2", "training.batch.micro_blocks=4"]
DIGESTS = {"japanese": "j", "english": "e"}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    write_surroundings(tmp_path)
    (tmp_path / "good.yaml").write_text(GOOD)
    return tmp_path / "good.yaml"


def overrides_for(path: Path, folder: Path) -> list[str]:
    """Return what stands in for the texts and the model a person brings to a study."""
    write_surroundings(folder)
    (folder / "texts" / "one.jsonl").write_text('{"text": "a text"}\n')
    keys = {
        "japanese": ["japanese.files.train", "japanese.files.validation", "japanese.files.test", "english.path", "chinese.path"],
        "ablation": ["japanese.files.train", "japanese.files.validation", "japanese.files.test", "english.path"],
        "local": ["texts.path", "kept.path"],
    }
    kind = "ablation" if path.stem in {"rank_sensitivity", "learning_rate", "precision", "schedules"} else path.stem
    texts = folder / "texts" / ("one.txt" if kind == "local" else "one.jsonl")
    model = [f"model.path={folder / 'model'}", "training.batch.sequence_length=512"] if path.stem == "local" else []
    return [f"data.{key}={texts}" for key in keys.get(kind, [])] + model


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_study_is_sound(path: Path, tmp_path: Path) -> None:
    study = read_study(path, overrides_for(path, tmp_path))
    assert study.name == path.stem
    assert study.description
    if any("seed" in arm.space.root for arm in study.arms.values()):  # an ablation: every setting with the same seeds, nothing pruned
        assert study.pruning is None
        assert {arm.sampler for arm in study.arms.values()} == {"grid"}
        assert {sum(1 for _ in arm.space.configurations()) for arm in study.arms.values()} == {study.budget.trials}
    else:
        assert {arm.method for arm in study.arms.values()} == {"lora", "full"}
        assert study.arms["sft"].method == "full"
        assert study.rungs()


def test_the_four_studies_ship() -> None:
    assert {path.stem for path in SHIPPED} >= {"quickstart", "smoke", "japanese", "local"}


@pytest.mark.parametrize("name", ["quickstart", "japanese", "local"])
def test_known_recipes_are_tried_first(name: str, tmp_path: Path) -> None:
    path = next(path for path in SHIPPED if path.stem == name)
    study = read_study(path, overrides_for(path, tmp_path))
    recipes = [
        (start["method.rank"], start["method.rank"] * start["method.alpha_over_rank"], start["optimizer.learning_rate"])
        for start in study.arms["lora"].starts
    ]
    assert recipes[:2] == [(16, 32, 3e-4), (8, 32, 2e-4)]
    assert [start["optimizer.learning_rate"] for start in study.arms["sft"].starts][:2] == [3e-4, 2e-5]


def test_the_japanese_study_trains_the_sources_batch(tmp_path: Path) -> None:
    path = next(path for path in SHIPPED if path.stem == "japanese")
    study = read_study(path, overrides_for(path, tmp_path))
    batch = study.training.batch
    assert (batch.blocks, batch.sequence_length, batch.micro_blocks) == (32, 2048, 4)
    assert study.budget.tokens == 1000 * 32 * 2048
    assert re.fullmatch(r"[0-9a-f]{40}", study.model.revision or "")


def test_a_study_that_needs_own_texts_says_so() -> None:
    with pytest.raises(Refusal, match=r"local.yaml:\d+: model.path: got .*my_model; allowed: a folder that exists"):
        read_study(next(path for path in SHIPPED if path.stem == "local"))


def test_exponents_are_numbers(good: Path) -> None:
    study = read_study(good, ["training.optimizer.learning_rate=3e-4", "budget.tokens=1e5"])
    assert study.arms["lora"].starts[0]["optimizer.learning_rate"] == 3e-4
    assert study.arms["lora"].space.values("optimizer.learning_rate") == (1e-4, 1e-2)
    assert study.training.optimizer.learning_rate == 3e-4
    assert study.budget.tokens == 100_000
    assert isinstance(study.budget.tokens, int)


def test_overrides_reach_every_depth(good: Path) -> None:
    study = read_study(
        good,
        [
            "arms.lora.space.method.dropout=0.1",
            "arms.lora.space.optimizer.learning_rate.high=5e-3",
            "arms.lora.space.optimizer.weight_decay={choices: [0.0, 0.1]}",
            "arms.lora.starts.1.method.rank=4",
            "resources.concurrent_trials=2",
            "constraints=[]",
        ],
    )
    lora = study.arms["lora"]
    assert lora.space.values("method.dropout") == (0.1,)
    assert lora.space.values("optimizer.learning_rate")[-1] == 5e-3
    assert lora.space.values("optimizer.weight_decay") == (0.0, 0.1)
    assert lora.starts[1]["method.rank"] == 4
    assert (study.resources.concurrent_trials, study.constraints) == (2, ())


def test_spaces_by_name_by_path_and_with_changes(good: Path) -> None:
    (good.parent / "mine.yaml").write_text("optimizer.learning_rate: {low: 1e-5, high: 1e-3, log: true}\nschedule.warmup_share: 0.1\n")
    assert read_study(good, ["arms.sft.space=full"]).arms["sft"].space.values("optimizer.learning_rate")[-1] == 5e-4
    text = good.read_text().replace(
        "    space:\n      optimizer.learning_rate: {low: 1e-5, high: 5e-3, log: true}\n", "    space: mine.yaml\n"
    )
    good.write_text(text)
    assert read_study(good).arms["sft"].space.names() == ("optimizer.learning_rate", "schedule.warmup_share")
    good.write_text(
        text.replace("mine.yaml", "\n      from: mine.yaml\n      schedule.warmup_share: null\n      schedule.floor_share: 0.2")
    )
    assert read_study(good).arms["sft"].space.names() == ("optimizer.learning_rate", "schedule.floor_share")
    good.write_text(text)
    (good.parent / "mine.yaml").write_text("\noptimizer.learning_rate: {low: 1e-3, high: 1e-5}\n")
    with pytest.raises(Refusal, match=r"mine.yaml:2: arms.sft.space.optimizer.learning_rate: got low 0.001 and high 1e-05"):
        read_study(good)


def test_paths_are_the_files_own_and_those_of_set_are_the_callers(good: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_surroundings(elsewhere)
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_study(good).model.path == str(tmp_path / "model")
    assert read_study(good, ["model.path=model"]).model.path == str(elsewhere / "model")
    assert read_study(good, ["model.path=~/model"]).model.path == str(tmp_path / "model")
    own = ["data.english={role: retain, path: texts, documents: line}"]
    assert read_study(good, own).data["english"].path == str(elsewhere / "texts")


def test_rungs_grow_by_the_factor_and_stay_below_the_budget(good: Path) -> None:
    assert read_study(good).rungs() == (16384, 32768)
    assert read_study(good, ["pruning.reduction_factor=3", "pruning.first_rung=7000"]).rungs() == (7000, 21000, 63000)
    assert read_study(good, ["pruning=null"]).rungs() == ()


def test_an_objectives_direction_is_its_metrics(good: Path) -> None:
    study = read_study(good, ["pruning=null", "objectives=[{metric: retention/english}, {metric: eval/perplexity}, {function: 'a.b:c'}]"])
    assert [objective.direction for objective in study.objectives] == ["maximize", "minimize", "minimize"]


STATE = Path("/state")
SETTING = Setting(STATE, STATE / "model", STATE / "data", "fp32")
CHOICES = {"method.rank": 8, "method.alpha_over_rank": 2.0, "optimizer.learning_rate": 1e-3}


def config_of(study: Study, choices: Mapping[str, Any] = CHOICES) -> dict[str, Any]:
    return study.trial_config(study.id.trial("lora", 3), SETTING, choices).flatten()


def test_a_trials_configuration_is_the_studys_with_the_samples_over_it(good: Path) -> None:
    flat = config_of(read_study(good, ["training.optimizer.weight_decay=0.1", "own_metrics.bleu='my.module:bleu'", *TWO_WORKERS]))
    assert (flat["method.name"], flat["method.rank"], flat["optimizer.learning_rate"]) == ("lora", 8, 1e-3)
    assert (flat["optimizer.weight_decay"], flat["engine.workers"], flat["budget.rungs"]) == (0.1, 2, [16384, 32768])
    assert flat["own_metrics"] == {"own/bleu": "my.module:bleu"}
    with pytest.raises(ValidationError, match=r"method\.lora\.rank"):
        config_of(read_study(good), {"method.rank": 0, "method.alpha_over_rank": 2.0})


def test_the_base_is_configured_without_an_arm(good: Path) -> None:
    study = read_study(good)
    flat = study.trial_config(study.id.base, SETTING, {}).flatten()
    assert (flat["uid"], flat["folder"], flat["method.name"], flat["data.base_result_folder"]) == ("good/base", "/state/base", "full", "")


def test_seeds_differ_by_use_and_by_study(good: Path) -> None:
    study, other = read_study(good), read_study(good, ["seed=43"])
    seeds = [study.derive_seed("lora", 0), study.derive_seed("lora", 1), study.derive_seed("sft", 0), other.derive_seed("lora", 0)]
    assert len(set(seeds)) == 4
    assert study.derive_seed("lora", 0) == seeds[0]
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_a_trial_has_a_seed_of_its_own_and_replicates_share_theirs_in_all_arms(good: Path) -> None:
    study = read_study(good)
    lora, sft = study.id.trial("lora", 0), study.id.trial("sft", 0)
    assert study.seed_of(lora) == study.derive_seed("lora", 0) != study.seed_of(sft)
    assert study.seed_of(lora.replicate(1)) == study.seed_of(sft.replicate(1)) == study.derive_seed("finalists", 1)
    assert study.seed_of(study.id.base) == study.derive_seed("base")


def identity_of(path: Path, *overrides: str, digests: dict[str, str] = DIGESTS) -> dict[str, Any]:
    return json.loads(json.dumps(read_study(path, overrides).identity("fp32", digests, "m")))


@pytest.mark.parametrize(
    "override",
    [
        "resources.concurrent_trials=3",
        "resources={workers: 4, cpus_per_worker: 2}",
        "tracking.uri=http://x",
        "storage=sqlite:////tmp/x",
        "description=new",
    ],
)
def test_identity_leaves_out_what_changes_no_answer(good: Path, override: str) -> None:
    small = "training.batch.micro_blocks=2"
    assert describe_change(identity_of(good, small), identity_of(good, small, override)) is None


@pytest.mark.parametrize(
    ("override", "shown"),
    [
        ("arms.lora.space.optimizer.learning_rate.low=2e-4", "arms.lora.space.optimizer.learning_rate.low: 0.0001 -> 0.0002"),
        ("budget.tokens=65537", "budget.tokens: 65536 -> 65537"),
        ("budget.trials=3", "budget.trials: 4 -> 3"),
        ("seed=43", "seed: 42 -> 43"),
        ("pruning.first_rung=16385", "pruning.first_rung: 16384 -> 16385"),
        ("arms.sft.space.optimizer.weight_decay=0.1", "arms.sft.space.optimizer.weight_decay: absent -> 0.1"),
        ("training.batch.micro_blocks=4", "training.batch.micro_blocks: 8 -> 4"),
        ("training.zero_stage=2", "training.zero_stage: 0 -> 2"),
    ],
)
def test_identity_shows_what_differs(good: Path, override: str, shown: str) -> None:
    assert describe_change(identity_of(good), identity_of(good, override)) == shown


def test_identity_is_content_and_not_place(good: Path, tmp_path: Path) -> None:
    other = tmp_path / "moved"
    other.mkdir()
    write_surroundings(other)
    (other / "good.yaml").write_text(GOOD)
    assert describe_change(identity_of(good), identity_of(other / "good.yaml")) is None
    changed = identity_of(good, digests=DIGESTS | {"english": "other"})
    assert describe_change(identity_of(good), changed) == "data.english.digest: e -> other"
    assert str(tmp_path) not in json.dumps(identity_of(good))


@pytest.mark.parametrize("before", ["this version", "the version before"])
def test_a_key_at_its_default_is_no_part_of_a_stored_identity(good: Path, tmp_path: Path, before: str) -> None:
    study = read_study(good, [])
    whole, stored = (study.identity("fp32", DIGESTS, "m", stored=kept) for kept in (False, True))
    if before == "this version":
        save_identity(tmp_path, stored)
    else:  # which wrote every key down, and neither format nor seal
        (tmp_path / STUDY_FILE).write_text(json.dumps(whole))
    begun = load_identity(tmp_path)
    assert begun is not None
    assert describe_change(begun, whole, stored) is None
    # A later version adds a key: at its default it changes nothing, at another value it does.
    later = whole["training"] | {"added": 1}
    assert describe_change(begun, whole | {"training": later}, stored) is None
    changed = describe_change(begun, whole | {"training": later}, stored | {"training": stored["training"] | {"added": 1}})
    assert changed == "training.added: absent -> 1"
    other = read_study(good, ["training.zero_stage=2", "pruning.reduction_factor=5"])
    now, kept = (other.identity("fp32", DIGESTS, "m", stored=kept) for kept in (False, True))
    expected = {"training.zero_stage: 0 -> 2", "pruning.reduction_factor: 2 -> 5"}
    assert set(str(describe_change(begun, now, kept, other.default_of)).split("; ")) == expected
    assert describe_change(begun | {"seed": 43}, whole, stored) == "seed: 43 -> 42"
    assert ("zero_stage" in begun["training"]) == (before == "the version before")


def test_an_identity_that_cannot_be_read_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / STUDY_FILE
    save_identity(tmp_path, {"seed": 42})
    assert load_identity(tmp_path) == {"seed": 42}
    path.write_text(path.read_text().replace("42", "43"))
    with pytest.raises(Refusal, match=r"study\.json: is not what was written; allowed: the file as it was"):
        load_identity(tmp_path)
    path.write_text('{"format": 3, "seed": 42}')
    with pytest.raises(Obstacle, match=r"study\.json: format 3 was written by a newer hikaku, this one reads 1 and 2"):
        load_identity(tmp_path)


def test_trials_may_grow(good: Path) -> None:
    assert describe_change(identity_of(good), identity_of(good, "budget.trials=9")) is None


def test_the_schema_is_json_schema_and_knows_every_section() -> None:
    schema = study_schema()
    assert set(schema["properties"]) == set(Study.model_fields)
    assert {"name", "model", "data", "arms", "budget"} == set(schema["required"])
    space = schema["$defs"]["Arm"]["properties"]["space"]
    kinds = schema["$defs"]["SearchSpace"]["anyOf"] if "$ref" in space else space["anyOf"]
    assert {kind["type"] for kind in kinds} == {"string", "object"}
    assert json.loads(json.dumps(schema)) == schema


def test_an_ablation_varies_seed_and_precision(good: Path) -> None:
    space = ["arms.lora.space.seed={choices: [0, 1]}", "arms.lora.space.model.precision={choices: [fp32, bf16]}"]
    study = read_study(good, space)
    config = study.trial_config(study.id.trial("lora", 0), SETTING, CHOICES | {"seed": 1, "model.precision": "bf16"})
    assert (config.seed, config.model.precision) == (1, "bf16")
    with pytest.raises(ValueError, match=r"arms\.lora\.space\.seed: got seeds in a space, beside finalists"):
        read_study(good, [*space, "finalists={seeds: 3}"])
    with pytest.raises(ValueError, match=r"arms\.lora\.space\.model\.precision: got 'fp8'"):
        read_study(good, ["arms.lora.space.model.precision={choices: [fp32, fp8]}"])
