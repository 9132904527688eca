"""Published claims beside a study's own figures: what adds up, what can be compared, and what chance may have done."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.findings import Findings
from analysis.guidance.arithmetic import agrees, compute
from analysis.guidance.claim_book import CLAIMS, ClaimBook, read_claims
from analysis.guidance.claims import RATES, Judged, judge_claims
from analysis.statistics.comparison import FIGURES
from analysis.statistics.finalists import compare_seeds, find_finalists
from analysis.text.wording import read_wording
from records.metrics import definition_of
from records.runs import StudyRuns
from tests.support.ablation_runs import TOKENS, write_grid
from tests.support.made_runs import QWEN, make_run, make_seeds, make_study

OTHERS = {"budget.tokens": 65_536_000, "batch.sequence_length": 2048, "batch.blocks": 32, "batch.micro_blocks": 4}
SHARED = OTHERS | {"model.activation_checkpointing": True, "optimizer.learning_rate": 3e-4}
LORA = SHARED | {"method.rank": 16, "method.alpha": 32.0, "method.dropout": 0.1, "method.targets": "attention"}


@pytest.fixture(scope="module")
def book() -> ClaimBook:
    return read_claims()


def judge(runs: StudyRuns, book: ClaimBook) -> dict[str, Judged]:
    return {judged.claim.name: judged for judged in judge_claims(book, Findings(runs), read_wording())}


def told(judged: Judged) -> str:
    """Return the verdict and its reason in one line."""
    return f"{judged.word.replace('_', ' ')}: {judged.reason}"


def test_tables_that_contradict_themselves_are_called_so(book: ClaimBook) -> None:
    judged = judge(make_study([make_run("toy/lora/0", {"eval/perplexity": 60.0}, LORA)], model="embedded small"), book)
    assert told(judged["parameters_by_rank"]).startswith("not reproduced: not linear in rank")
    assert told(judged["loss_at_the_start"]).startswith("not comparable: above ln(V)")
    assert told(judged["trainable_parameters"]).startswith("not reproduced: does not add up: printed 1,310,720")
    assert "2,162,688" in judged["trainable_parameters"].reason
    assert "7.034" in judged["interval_and_t"].reason
    assert judged["optimal_rank"].reason.endswith("rank 16 11.84, above 11.76")


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


def test_seeds_are_paired_and_chance_is_a_t_interval() -> None:
    rising = {seed: 10.0 * seed for seed in range(5)}
    assert compare_seeds(rising, {seed: value + 0.1 + 0.01 * seed for seed, value in rising.items()}) == 1
    assert compare_seeds({0: 1.0, 1: 2.0}, {2: 5.0, 3: 6.0}) == 0  # no seed in common
    assert compare_seeds({0: 1.0}, {0: 2.0}) == 0
    assert compare_seeds({0: 0.0, 1: 0.0, 2: 0.0}, {0: -1.0, 1: -1.1, 2: -0.9}) == -1
    half = 4.302652729911275 * 1.0 / math.sqrt(3)  # t at 97.5 %, 2 degrees of freedom, differences with deviation 1
    for shift, sign in ((half * 1.001, 1), (half * 0.999, 0)):
        assert compare_seeds({0: 0.0, 1: 0.0, 2: 0.0}, {0: shift - 1, 1: shift, 2: shift + 1}) == sign


def test_a_finalist_is_its_replicates() -> None:
    trials = [make_run("toy/lora/0", {"eval/perplexity": 4.0}), make_run("toy/lora/1", {"eval/perplexity": 3.0}, outcome="pruned")]
    study = make_study(trials, make_seeds(trials[0], "eval/perplexity", [2.0, 8.0]))
    lost = make_run("toy/lora/0/seed-2", {"eval/perplexity": 99.0}, trial="toy/lora/0", seed_index="2", outcome="diverged")
    study = replace(study, replicates=(*study.replicates, lost))
    finalist = find_finalists(study)["lora"]
    assert finalist.trial.uid == "toy/lora/0"
    assert finalist.mean("eval/perplexity") == pytest.approx(4.0)  # the geometric mean: nats add up
    assert finalist.mean("retention/english") is None
    assert find_finalists(study, {"full": {}}) == {}


@pytest.mark.parametrize(("expression", "value"), [("2 * (3 + 4) / 7", 2.0), ("2**-1", 0.5), ("ln(exp(3))", 3.0), ("sqrt(16) - -1", 5.0)])
def test_sums_are_computed(expression: str, value: float) -> None:
    assert compute(expression) == pytest.approx(value)


@pytest.mark.parametrize("expression", ["__import__('os')", "x + 1", "1 / 0", "open('a')", "(1).real", "1 if 2 else 3", "True + 1", "2 +"])
def test_anything_else_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="allowed: numbers"):
        compute(expression)


@pytest.mark.parametrize(
    ("printed", "computed", "same"),
    [(0.944, 0.9468, False), (0.947, 0.9468, True), (1_310_720, 1_310_721, False), (1.493e-6, 1.4925e-6, True), (27, 27.26, True)],
)
def test_figures_agree_to_their_last_digit(printed: float, computed: float, same: bool) -> None:
    assert agrees(printed, computed) is same


def test_every_claim_names_what_exists(book: ClaimBook) -> None:
    assert len({claim.name for claim in book.claims}) == len(book.claims)
    for claim in book.claims:
        figure = claim.metric in FIGURES or claim.metric in {f"learning_rate/{name}" for name in RATES}
        if claim.metric and not figure and claim.metric != "optimizer.learning_rate":
            definition_of(claim.metric.replace("{}", next(iter(claim.published))))
        for expression in claim.computed.values():
            compute(expression)
        assert claim.metric or not claim.comparable or claim.computed, claim.name


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [("source: [D]", "source: [Z]", "Z"), ("check: order", "check: ordre", "check"), ("computed: {t:", "computed: {u:", "interval_and_t")],
)
def test_a_broken_book_is_refused_in_one_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(CLAIMS.read_text(encoding="utf-8").replace(old, new, 1))
    with pytest.raises(ValueError, match=says) as error:
        read_claims(path)
    assert "\n" not in str(error.value)
