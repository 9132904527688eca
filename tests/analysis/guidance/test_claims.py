"""Published claims beside a study's own figures: what adds up, what can be compared, and what chance may have done."""

import math
from pathlib import Path

import pytest

from analysis.findings import Findings
from analysis.guidance.claim_book import ClaimBook
from analysis.guidance.claims import Judged, judge_claims
from analysis.text.wording import read_wording
from records.runs import StudyRuns
from tests.support.ablation_runs import TOKENS, write_grid
from tests.support.made_runs import QWEN, make_run, make_seeds, make_study

OTHERS = {"budget.tokens": 65_536_000, "batch.sequence_length": 2048, "batch.blocks": 32, "batch.micro_blocks": 4}
SHARED = OTHERS | {"model.activation_checkpointing": True, "optimizer.learning_rate": 3e-4}
LORA = SHARED | {"method.rank": 16, "method.alpha": 32.0, "method.dropout": 0.1, "method.targets": "attention"}


def judge(runs: StudyRuns, book: ClaimBook) -> dict[str, Judged]:
    return {judged.claim.name: judged for judged in judge_claims(book, Findings(runs), read_wording())}


def told(judged: Judged) -> str:
    """Return the verdict and its reason in one line."""
    return f"{judged.word.replace('_', ' ')}: {judged.reason}"


def test_an_effect_size_by_another_formula_is_not_set_beside_ours(book: ClaimBook) -> None:
    judged = judge(make_study([make_run("toy/lora/0", {"eval/perplexity": 60.0}, LORA)]), book)["effect_size"]
    assert judged.claim.metric == ""
    assert told(judged).startswith("not comparable: it is the difference over the deviation of one method")


def test_measured_values_stand_beside_claims_that_fail_by_themselves(book: ClaimBook) -> None:
    counts = {4: 540_672, 8: 1_081_344, 16: 2_162_688, 32: 4_325_376}
    trials = [
        make_run(f"japanese/lora/{n}", {"efficiency/trainable_parameters": count, "eval/perplexity": 12.0}, LORA | {"method.rank": rank})
        for n, (rank, count) in enumerate(counts.items())
    ]
    wide = make_run("japanese/lora/9", {"efficiency/trainable_parameters": 8_798_208}, LORA | {"method.targets": "all_linear"})
    base = make_run("japanese/base", {"eval/nats_per_token": 3.4})
    judged = judge(make_study([wide, *trials], base=base), book)
    assert judged["parameters_by_rank"].measured == {str(rank): count for rank, count in counts.items()}
    assert [run.uid for run in judged["parameters_by_rank"].runs] == [trial.uid for trial in trials]
    assert judged["loss_at_the_start"].measured == {"0": 3.4}
    assert judge(make_study([wide]), book)["parameters_by_rank"].measured == {"16": 8_798_208}  # no trial has the published targets


@pytest.mark.parametrize(("lora", "verdict"), [(11.9, "reproduced: within 5 %"), (14.0, "not reproduced: lora is +18.2 % off")])
def test_values_are_compared_in_the_claims_setting(book: ClaimBook, lora: float, verdict: str) -> None:
    trials = [
        make_run("japanese/lora/0", {"eval/perplexity": lora}, LORA),
        make_run("japanese/lora/1", {"eval/perplexity": 9.0}, LORA | {"method.rank": 64}),  # better, but not the published recipe
        make_run("japanese/sft/0", {"eval/perplexity": 11.0}, SHARED),
    ]
    judged = judge(make_study(trials), book)["final_perplexity"]
    assert told(judged).replace("%", " %").startswith(verdict)
    assert judged.measured == {"lora": lora, "full": 11.0}


def test_another_model_or_recipe_is_not_compared(book: ClaimBook) -> None:
    metrics = {"eval/perplexity": 11.8}
    trials = [make_run("japanese/lora/0", metrics, LORA | {"method.rank": 64}), make_run("japanese/sft/0", metrics, SHARED)]
    assert told(judge(make_study(trials), book)["final_perplexity"]) == "not comparable: method.rank 64 instead of 16"
    other = judge(make_study(trials, model="embedded small"), book)["final_perplexity"]
    assert told(other) == f"not comparable: another model, embedded small instead of {QWEN}"
    assert other.measured == {"lora": 11.8, "full": 11.8}
    elsewhere = judge(make_study(trials, texts="novels"), book)
    assert elsewhere["final_perplexity"].reason == "other texts than ja_wiki; method.rank 64 instead of 16"
    assert judge(make_study(trials[:1]), book)["final_perplexity"].reason == "this study did not measure eval/perplexity for full"


@pytest.mark.parametrize(
    ("lora", "verdict"),
    [
        ([12.0], "not comparable: one seed"),
        ([12.0, 12.1, 12.2], "reproduced: here too"),
        ([12.0, 11.0, 10.0], "not reproduced: no difference beyond chance over 3 seeds, provisional"),
        ([10.0, 10.1, 10.2, 10.1, 10.0], "not reproduced: the other way round beyond chance over 5 seeds ("),
    ],
)
def test_an_order_needs_more_than_chance(book: ClaimBook, lora: list[float], verdict: str) -> None:
    metric = "eval/perplexity"
    trials = [make_run("toy/lora/0", {metric: 12.0}), make_run("toy/sft/0", {metric: 11.0})]
    again = make_seeds(trials[0], metric, lora) + make_seeds(trials[1], metric, [11.0, 11.1, 11.2, 11.1, 11.0][: len(lora)])
    assert told(judge(make_study(trials, again, "toy"), book)["full_predicts_better"]).startswith(verdict)


@pytest.mark.parametrize(
    ("device", "gib", "verdict"),
    [
        ("x86_64 CPU, 1 threads", 13.0, "not comparable: no GPU was used"),
        ("NVIDIA H100", 13.0, "reproduced: within 10%"),
        ("NVIDIA H100", 11.0, "not reproduced: lora is -16.7% off, more than 10%"),
    ],
)
def test_memory_is_a_gpus(book: ClaimBook, device: str, gib: float, verdict: str) -> None:
    trials = [
        make_run(f"japanese/{arm}/0", {"efficiency/peak_memory_gib": value, "eval/perplexity": 12.0}, params, device=device)
        for arm, value, params in (("lora", gib, LORA), ("sft", 22.0, SHARED))
    ]
    assert told(judge(make_study(trials), book)["peak_memory"]).startswith(verdict)


@pytest.mark.parametrize(("loss", "verdict"), [(2.5, "reproduced: here lora: 2.5, full: 2.4"), (10.5, "not reproduced: here lora: 10.5")])
def test_targets_are_kept_or_not(book: ClaimBook, loss: float, verdict: str) -> None:
    trials = [
        make_run(f"japanese/{arm}/0", {"eval/nats_per_token": value, "eval/perplexity": 12.0}, params)
        for arm, value, params in (("lora", loss, LORA), ("sft", 2.4, SHARED))
    ]
    assert told(judge(make_study(trials), book)["target_loss"]) == verdict


def test_tolerated_rates_stand_beside_the_published(book: ClaimBook, tmp_path: Path) -> None:
    rates = {1e-4: 3.0, 1e-3: 2.0, 1e-2: 3.0}
    runs = write_grid(
        tmp_path, {"lora": {"optimizer.learning_rate": list(rates)}}, lambda params: TOKENS * rates[params["optimizer.learning_rate"]]
    )
    judged = judge(runs, book)
    lowest, highest = judged["lowest_learning_rate"], judged["highest_learning_rate"]
    assert lowest.measured["lora"] == pytest.approx(1e-3 / 10 ** math.log(1.05))  # a nat a decade: 5 % of perplexity is ln 1.05 of one
    assert highest.measured["lora"] == pytest.approx(1e-3 * 10 ** math.log(1.05))
    assert lowest.word == "not_comparable"
    assert [run.uid for run in lowest.runs] == ["made/lora/0", "made/lora/1", "made/lora/2"]


def test_ranks_are_compared_over_the_same_seeds(book: ClaimBook) -> None:
    def verdict(fall: float, seeds: int = 5, last: float = 0.0) -> str:
        trials = [
            make_run(
                f"toy/lora/{place * seeds + seed}",
                {"eval/perplexity": 50.0 + seed - fall * place + (last if rank == 64 else 0.0) + 0.01 * ((seed + place) % 2)},
                {"method.rank": rank, "seed": seed},
            )
            for place, rank in enumerate((4, 8, 16, 32, 64))
            for seed in range(seeds)
        ]
        judged = judge(make_study(trials, model="toy"), book)["perplexity_falls_with_rank"]
        assert judged.measured["4"] == pytest.approx(50.0 + (seeds - 1) / 2, abs=0.1)  # a mean over seeds, not the best of them
        return told(judged)

    assert verdict(1.0).startswith("reproduced: here too, 64: 47.98")
    assert verdict(0.0).startswith("not reproduced: no difference beyond chance over 5 seeds (")
    assert verdict(-1.0).startswith("not reproduced: the other way round")
    assert verdict(1.0, last=1.0).startswith("not reproduced: no difference beyond chance")  # 64 is as good as 32
    assert verdict(1.0, seeds=1).startswith("not comparable: one seed")


def test_costs_are_compared_with_one_seed(book: ClaimBook) -> None:
    def verdict(lora: float, full: float) -> str:
        metric = "efficiency/peak_memory_gib"
        trials = [make_run(f"toy/{arm}/0", {metric: value, "eval/perplexity": 9.0}) for arm, value in (("lora", lora), ("sft", full))]
        return told(judge(make_study(trials, model="toy"), book)["lora_takes_less_memory"])

    assert verdict(1.0, 2.0) == "reproduced: here too, lora: 1, full: 2"
    assert verdict(2.0, 1.0) == "not reproduced: here lora: 2, full: 1"
