"""The decision card: conditions go to the method that measured better beyond chance, and nothing is said that was not measured."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analysis.findings import Findings
from analysis.guidance.card import tell_basis, tell_condition, tell_measured, tell_tier, tell_tiers_basis
from analysis.guidance.questions import Answer, answer_questions
from analysis.guidance.sentences import tell_knee, tell_verdict
from analysis.statistics.difference import measure_difference
from analysis.statistics.sensitivity import Ablation, Effect, RankKnee
from analysis.statistics.verdict import Verdict
from analysis.text.wording import read_wording
from records.runs import Run, StudyRuns
from tests.support.made_runs import make_run, make_study

WORDING = read_wording()
FIGURES: dict[str, tuple[float, float]] = {  # LoRA, full
    "eval/perplexity": (12.0, 11.0),
    "test/perplexity": (12.1, 11.1),
    "retention/english": (0.9, 0.8),
    "efficiency/peak_memory_gib": (5.0, 20.0),
    "efficiency/trainable_parameters": (2_162_688, 494_032_768),
    "efficiency/tokens_per_second": (9000.0, 9000.0),
    "convergence/tokens_to_95": (40_000.0, 30_000.0),
}


def make_two_arms(seeds: int, figures: Mapping[str, tuple[float, float]] = FIGURES, params: Mapping[str, Any] | None = None) -> StudyRuns:
    """Return a study of one trial an arm; replicates differ by a thousandth of each figure, another thousandth in another direction."""
    trials: list[Run] = []
    replicates: list[Run] = []
    for side, arm in enumerate(("lora", "sft")):
        metrics = {name: values[side] for name, values in figures.items()}
        trials.append(make_run(f"toy/{arm}/0", metrics, params))
        for seed in range(seeds):
            chance = 1 + 0.001 * math.sin(3 * seed + side)
            moved = {
                name: value if name.startswith("efficiency/") and "second" not in name else value * chance
                for name, value in metrics.items()
            }
            replicates.append(make_run(f"toy/{arm}/0/seed-{seed}", moved, params, trial=f"toy/{arm}/0", seed_index=str(seed)))
    return make_study(trials, tuple(replicates), "toy")


def make_verdict(shift: float, noise: float = 0.01, seeds: int = 5) -> Verdict:
    """Return a verdict on 60 documents of 100 tokens, LoRA worse by `shift` nats a token."""
    random = np.random.default_rng(0)
    full = 300 + random.normal(size=(60, 1)) + 100 * noise * random.normal(size=(60, seeds))
    lora = full + 100 * shift + 100 * noise * random.normal(size=(60, seeds))
    return Verdict(("lora", "full"), measure_difference(lora, full, np.full(60, 100.0)))


def find(runs: StudyRuns, **computed: object) -> Findings:
    """Return the findings; what is given by the name of a property of theirs stands as if it had been computed."""
    findings = Findings(runs)
    vars(findings).update(computed)
    return findings


def names(findings: Findings, winner: str | None) -> list[str]:
    return [condition.name for condition in findings.conditions if condition.winner == winner]


def answers(findings: Findings) -> tuple[Answer, ...]:
    return answer_questions(findings, WORDING)


def test_conditions_go_to_the_better_method() -> None:
    findings = find(make_two_arms(seeds=5), verdict=make_verdict(0.09))
    assert names(findings, "lora") == ["memory", "storage"]
    assert names(findings, "full") == ["quality", "data"]
    assert names(findings, None) == ["speed", "retention"]  # what was retained where each stopped says nothing of equal learning
    memory = next(condition for condition in findings.conditions if condition.name == "memory")
    assert tell_condition(memory, WORDING) == "memory is short (Peak memory, GiB): 5 (lora/0) against 20 (sft/0)"
    assert {run.uid for run in memory.runs} == {f"toy/{arm}/0/seed-{seed}" for arm in ("lora", "sft") for seed in range(5)}
    speed = next(condition for condition in findings.conditions if condition.winner is None)
    assert "chance between seeds" in tell_condition(speed, WORDING)
    assert findings.sides is not None
    assert tell_basis(findings.sides, WORDING).startswith("From 5 seeds")


def test_test_documents_decide_where_both_have_them() -> None:
    news, law = (f"domain/{name}/bits_per_character" for name in ("news", "law"))
    both = FIGURES | {news: (3.0, 4.0), f"test/{news}": (4.0, 3.0), f"test/{law}": (3.0, 4.0)}
    decided = {each.metric: each.winner for each in find(make_two_arms(5, both)).conditions if each.name == "domain"}
    assert decided == {f"test/{news}": "full", f"test/{law}": "lora"}


def test_one_seed_decides_only_what_chance_does_not_move() -> None:
    findings = find(make_two_arms(seeds=0))
    assert names(findings, "lora") == ["memory", "storage"]
    assert names(findings, "full") == []
    assert names(findings, None) == ["quality", "speed", "data", "retention"]
    assert "no verdict" in tell_condition(findings.conditions[0], WORDING)
    assert answers(findings)[0].state == "unanswered"
    sides = find(make_two_arms(seeds=3)).sides
    assert sides is not None
    assert tell_basis(sides, WORDING).startswith("Provisional: from 3 seeds")


@pytest.mark.parametrize(
    ("shift", "lora", "full"),
    [(0.0, ["margin"], []), (0.02, ["margin"], ["quality"]), (0.2, [], ["quality"]), (-0.1, ["quality"], [])],
)
def test_a_margin_speaks_for_lora_where_it_is_shown(shift: float, lora: list[str], full: list[str]) -> None:
    findings = find(make_two_arms(seeds=5), verdict=make_verdict(shift))
    assert [name for name in names(findings, "lora") if name in ("margin", "quality")] == lora
    assert [name for name in names(findings, "full") if name in ("margin", "quality")] == full


def test_any_two_methods_are_challenger_and_reference() -> None:
    size, memory = "efficiency/trainable_parameters", "efficiency/peak_memory_gib"
    trials = [
        make_run("toy/a/0", {"eval/perplexity": 12.0, size: 5000.0, memory: 3.0}, method="dora"),
        make_run("toy/b/0", {"eval/perplexity": 11.0, size: 300.0, memory: 3.0}, method="ia3"),
        make_run("toy/c/0", {"eval/perplexity": 10.0, size: 9e6, memory: 9.0}, method="full"),
    ]
    smallest_first = find(make_study(trials))
    assert smallest_first.methods == ("ia3", "dora", "full")
    assert names(smallest_first, "ia3") == ["storage"]
    (storage,) = (condition for condition in smallest_first.conditions if condition.winner)
    assert tell_condition(storage, WORDING) == (
        "many adaptations are to be kept or sent (Trainable parameters): 300 (b/0) against 5,000 (a/0)"
    )
    assert tell_measured(storage, WORDING) == "Trainable parameters: ia3 300, dora 5,000, which does not depend on chance."

    runs = make_study(trials)
    named = find(replace(runs, parent=replace(runs.parent, tags={**runs.parent.tags, "challenger": "dora", "reference": "full"})))
    assert named.methods == ("dora", "full", "ia3")
    assert names(named, "dora") == ["memory", "storage"]
    assert [gain.value for gain in named.gains if gain.name == "gain/peak_memory"] == [3.0]


def test_one_method_alone_has_no_conditions() -> None:
    findings = find(make_study([make_run("toy/lora/0", {"eval/perplexity": 3.0})], model="toy"))
    assert findings.conditions == ()
    assert answers(findings)[0].text == "Only one of the two methods completed a trial."


def test_a_gpu_gets_the_best_trial_that_fits_it() -> None:
    def trial(uid: str, bits: float, gib: float, reserved: float | None = None, **tags: str) -> Run:
        memory = {"efficiency/peak_memory_gib": gib} | ({"efficiency/reserved_memory_gib": reserved} if reserved else {})
        params = {"method.rank": 8, "batch.micro_blocks": 4, "batch.sequence_length": 2048, "model.precision": "bf16"}
        return make_run(uid, {"eval/perplexity": bits} | memory, params, **tags)

    trials = [
        trial("toy/lora/0", 12.0, 10.0),
        trial("toy/lora/1", 9.0, 3.0, outcome="pruned"),
        trial("toy/lora/2", 11.8, 14.0, reserved=15.5),  # its tensors would leave room, what was reserved does not
        trial("toy/sft/0", 11.0, 23.0),
        trial("toy/sft/1", 10.0, 79.5),
    ]
    tiers = find(make_study(trials, model="toy")).tiers
    assert [(tier.gib, tier.best.uid if tier.best else None) for tier in tiers] == [
        (12, "toy/lora/0"),
        (16, "toy/lora/0"),
        (24, "toy/sft/0"),
        (80, "toy/sft/0"),
    ]
    assert {method: run.uid for method, run in tiers[2].by_method.items()} == {"lora": "toy/lora/2", "full": "toy/sft/0"}
    assert tiers[0].peak == 10.0
    assert tell_tier(tiers[0], WORDING) == "LoRA: rank 8, learning_rate 0.0003; 4 rows of 2048 tokens at a time in bf16"
    too_large = [trial("toy/lora/0", 12.0, 90.0)]
    assert find(make_study(too_large, model="toy")).tiers == ()


def test_a_gpus_memory_is_told_from_a_gpu_or_named_as_predicted_and_not_where_every_size_gets_the_same() -> None:
    def trial(uid: str, perplexity: float, measured: float, predicted: float, device: str) -> Run:
        memory = {"efficiency/peak_memory_gib": measured, "efficiency/predicted_peak_memory_gib": predicted}
        return make_run(uid, {"eval/perplexity": perplexity} | memory, device=device)

    cpu, gpu = "x86_64 CPU, 2 threads", "NVIDIA L4"
    on_cpu = find(make_study([trial("toy/lora/0", 12.0, 0.1, 10.0, cpu), trial("toy/sft/0", 11.0, 0.1, 30.0, cpu)], model="toy"))
    assert [(tier.basis, tier.best and tier.best.uid, tier.peak) for tier in on_cpu.tiers] == [
        *[("predicted", "toy/lora/0", 10.0)] * 3,
        ("predicted", "toy/sft/0", 30.0),
    ]
    assert "not by measurement" in tell_tiers_basis(on_cpu.runs, "predicted", WORDING)
    mixed = find(make_study([trial("toy/lora/0", 12.0, 13.0, 10.0, gpu), trial("toy/sft/0", 11.0, 0.1, 30.0, cpu)], model="toy"))
    assert [(tier.basis, tier.best and tier.best.uid) for tier in mixed.tiers] == [
        ("measured", None),
        *[("measured", "toy/lora/0")] * 3,
    ]
    assert "measured on NVIDIA L4" in tell_tiers_basis(mixed.runs, "measured", WORDING)
    small = find(make_study([trial("toy/lora/0", 12.0, 0.1, 0.1, gpu), trial("toy/sft/0", 11.0, 0.1, 0.2, gpu)], model="toy"))
    assert small.tiers == (), "four rows that say the same are no table"


def test_the_first_question_needs_a_verdict_and_convergence() -> None:
    def state(verdict: Verdict, tokens: float) -> str:
        figures = FIGURES | {"convergence/tokens_to_95": (40_000.0, tokens)}
        return answers(find(make_two_arms(5, figures), verdict=verdict))[0].state

    assert state(make_verdict(0.09), 30_000) == "answered"
    assert state(make_verdict(0.09), 40_000) == "partly_answered"
    assert state(make_verdict(0.05, noise=0.5), 40_000) == "unanswered"  # inconclusive
    text = answers(find(make_two_arms(5), verdict=make_verdict(0.09)))[0].text
    assert text.startswith(tell_verdict(make_verdict(0.09), read_wording()))
    assert text.endswith("LoRA 39,998, full fine-tuning 30,004, more than chance between seeds.")


def test_the_second_question_is_the_ranks() -> None:
    knee = RankKnee("lora", (4, 8, 16), 5, 60, "knee", 8, (8, 8), 0.1, 0.001, 0.001)
    answer = answers(find(make_two_arms(0), knees=(knee,)))[1]
    assert (answer.state, answer.text) == ("answered", f"{tell_knee(knee, WORDING)}.")
    trials = [
        make_run(f"toy/lora/{number}", {"eval/perplexity": quality, "efficiency/trainable_parameters": size})
        for number, (quality, size) in enumerate([(10.0, 4000.0), (10.4, 1000.0), (10.6, 500.0)])  # within 5 %, and just not
    ]
    answer = answers(find(make_study(trials, model="toy")))[1]
    assert answer.state == "unanswered"
    assert [run.uid for run in answer.runs] == ["toy/lora/1", "toy/lora/0"]
    assert "toy/lora/1: 1,000 trainable parameters, 10.4 against 10" in answer.text


def test_the_third_question_needs_schedules_with_the_same_seeds() -> None:
    runs = make_two_arms(0, params={"schedule.shape": "cosine"})
    answer = answers(find(runs))[2]
    assert (answer.state, answer.text) == (
        "unanswered",
        "Every trial followed one schedule (cosine); studies/schedules.yaml compares four.",
    )
    trials = [make_run(f"toy/lora/{n}", {}, {"schedule.shape": shape}) for n, shape in enumerate(("linear", "cosine"))]
    assert "(cosine, linear), but not each with the same seeds" in answers(find(make_study(trials, model="toy")))[2].text


@pytest.mark.parametrize(("factor", "told"), [(3.0, "constant differ from cosine by more than chance"), (1.0, "none differs from cosine")])
def test_schedules_are_compared_by_the_variance_of_the_loss(factor: float, told: str) -> None:
    settings = [{"schedule.shape": shape, "seed": seed} for shape in ("cosine", "constant") for seed in range(5)]
    trials = [make_run(f"toy/lora/{n}", {"eval/nats_per_token": 3.0, "eval/perplexity": 20.0}, each) for n, each in enumerate(settings)]

    def curve(shape: str, seed: int) -> list[tuple[int, float]]:
        """Fall along a line with a zigzag about it, wider by the factor where the schedule is constant; seeds differ a little."""
        width = 0.1 * (factor if shape == "constant" else 1.0)
        return [(step, 3.0 - 0.01 * step + width * (-1) ** step * (1 + 0.01 * ((5 * seed + step * len(shape)) % 7))) for step in range(41)]

    curves = {(run.uid, "train/loss"): curve(each["schedule.shape"], each["seed"]) for run, each in zip(trials, settings, strict=True)}
    space = {
        name: {"attributes": {"choices": choices}}
        for name, choices in (("schedule.shape", ["cosine", "constant"]), ("seed", list(range(5))))
    }
    runs = replace(make_study(trials, model="toy"), files={"lora.json": space}, curves=curves)
    ablations = (Ablation("lora", "schedule.shape", 5, 60, (Effect("cosine", 3.0, (2.9, 3.1), None, math.nan, {}, 0),)),)
    answer = answers(find(runs, ablations=ablations))[2]
    assert answer.state == "answered"
    assert told in answer.text
    shown = re.search(r"cosine (\d\.\d+)", answer.text)
    assert shown
    assert float(shown[1]) == pytest.approx(0.103**2 * 10 / 8, rel=0.05)  # ten points, of which the line takes two degrees of freedom
    assert answers(find(replace(runs, curves={}), ablations=ablations))[2].state == "partly_answered"


def trial_of(uid: str, perplexity: float, gib: float, **params: Any) -> Run:
    return make_run(uid, {"eval/perplexity": perplexity, "efficiency/peak_memory_gib": gib}, params)


def judge_memory(*trials: Run) -> tuple[str | None, str]:
    (memory,) = (condition for condition in find(make_study(list(trials), model="toy")).conditions if condition.name == "memory")
    return memory.winner, tell_condition(memory, WORDING)


def test_a_cost_that_another_setting_moves_as_far_is_left_open_and_names_it() -> None:
    dropped = trial_of("toy/lora/0", 30.0, 0.1175, **{"method.rank": 16, "method.dropout": 0.05})
    plain = trial_of("toy/lora/1", 30.9, 0.082, **{"method.rank": 16, "method.dropout": 0.0})
    full = trial_of("toy/sft/0", 28.0, 0.099)
    winner, told = judge_memory(dropped, plain, full)
    assert winner is None
    assert told == (
        "memory is short (Peak memory, GiB): LoRA 0.082, full fine-tuning 0.099, "
        "no farther apart than the trials of LoRA alone, 0.082 to 0.1175 (dropout 0 and 0.05)"
    )
    far = trial_of("toy/lora/1", 60.0, 0.082, **{"method.rank": 16, "method.dropout": 0.0})  # not as good: it is no cheaper way to the same
    winner, told = judge_memory(dropped, far, full)
    assert winner is None
    assert "LoRA 0.1175, full fine-tuning 0.099" in told
    assert "(dropout 0 and 0.05)" in told


def test_a_cost_is_compared_between_the_cheapest_trials_of_comparable_quality() -> None:
    best = trial_of("toy/lora/0", 30.0, 6.0, **{"method.rank": 64})
    cheap = trial_of("toy/lora/1", 31.4, 5.0, **{"method.rank": 8})
    worse = trial_of("toy/lora/2", 31.6, 2.0, **{"method.rank": 2})  # more than 5 % above the best perplexity
    full, wide = trial_of("toy/sft/0", 28.0, 20.0), trial_of("toy/sft/1", 28.1, 20.5)
    assert judge_memory(best, cheap, worse, full, wide) == (
        "lora",
        "memory is short (Peak memory, GiB): 5 (lora/1: rank 8) against 20 (sft/0)",
    )
