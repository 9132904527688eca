"""Published claims beside a study's own figures: what adds up, what can be compared, and what chance may have done."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.findings import Findings
from analysis.guidance.arithmetic import agrees, compute
from analysis.guidance.claim_book import CLAIMS, Claim, ClaimBook, read_claims
from analysis.guidance.claims import RATES, Judged, judge_claims
from analysis.guidance.source_checks import judge_by_source
from analysis.report.document import Folded
from analysis.report.sections.claims import claims
from analysis.report.tables import Table
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


def by_source(book: ClaimBook, name: str) -> str:
    """Return the verdict of a claim's sources and its reason in one line."""
    claim = next(claim for claim in book.claims if claim.name == name)
    verdict = judge_by_source(claim, book, read_wording())
    return f"{verdict.word.replace('_', ' ')}: {verdict.reason}"


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("parameters_by_rank", "contradicts: not linear in rank"),
        ("loss_at_the_start", "contradicts: above ln(V)"),
        ("trainable_parameters", "contradicts: 16: printed 1,310,720, but 16 × 24 × (2 × (896 + 896) + 2 × (896 + 128)) is 2,162,688"),
        ("interval_and_t", "contradicts: t: printed 3.47, but (0.81 + 0.45) / (0.81 - 0.45) × t_quantile(0.975, 49) is 7.034"),
        ("interval", "agrees: (0.45 + 0.81) / 2 ≈ 11.84 - 11.21"),
        ("p_value", "agrees: p_of_t(3.47, 49)"),
        ("effect_size", "contradicts: not so: 0.52 > 25"),
        ("optimal_rank", "cannot be told: none is better than 16 in both figures, and that is so of 4, 8, 16, 32, 64 alike"),
        ("parameters_saved", "agrees: 1 - 1310720 / 494033920"),
        ("parameters_saved_in_the_readme", "agrees: 0.99735"),
        ("initial_loss_drop", "agrees: 2.89 + 2.47 ≈ 2.94 + 2.42"),
        ("initial_loss_drop_from_the_log", "contradicts: not so: 2.89 + 2.47 ≈ 12.11"),
        ("convergence_saved", "agrees: 1 - 850 / 920"),
        ("time_saved", "agrees: 1 - 2.3 / 3.1"),
        ("throughput_gained", "agrees: 484.7 / 359.6 - 1"),
        ("memory_saved", "agrees: 1 - 13.2 / 22.7"),
        ("optimizer_memory_saved", "agrees: 1 - 5.2 / 12.1"),
        ("bleu", "agrees: lora: (0.623 + 0.351) / 2; full: (0.641 + 0.365) / 2"),
        ("bleu_ratio", "agrees: 0.487 / 0.503"),
        ("character_accuracy", "agrees: (0.923 + 0.887 + 0.834) / 3; (0.934 + 0.901 + 0.856) / 3"),
        ("script_gaps", "agrees: 0.934 - 0.923 < 0.901 - 0.887; 0.901 - 0.887 < 0.856 - 0.834"),
        ("better_cross_domain", "contradicts: not so: 0.847 > 0.863"),
        ("overfitting_shows_held_out", "contradicts: not so: 0.26 > 0.28"),
        ("stability_score", "contradicts: full again: printed 0.84, elsewhere 0.89"),
        ("memory_saved_by_bf16", "contradicts: share: printed 0.5, but 1 - 13.2 / 18.4 is 0.2826"),
        ("warmup_steps", "contradicts: steps: printed 200, but 0.1 × 1000 is 100"),
        ("tokenizer", "contradicts: entries: printed 50,257, elsewhere 151,936"),
        ("target_memory", "contradicts: full: 22.7, above 16"),
        ("fiqa_length_shares", "agrees: 0.294 + 0.521 + 0.186 ≈ 1"),
        ("hours_by_precision", "agrees: bf16: 2.3"),
        ("overfitting_step", "cannot be told: "),
        ("fiqa_lengths", "agrees: 154 < 199"),
        ("fiqa_train_split", "agrees: "),
        ("fiqa_held_out_splits", "cannot be told: no other figure tells"),
        ("fiqa_steps", "agrees: 3 × ceil(5500 / 16)"),
    ],
)
def test_a_claim_is_set_against_the_other_figures_of_its_sources(book: ClaimBook, name: str, verdict: str) -> None:
    assert by_source(book, name).startswith(verdict)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"computed": {"lora": "{other.a} / {other.b}"}}, "agrees"),  # 2.3 / 3.1 is 0.742, and 0.76 with what rounding took
        ({"computed": {"lora": "2.3 / 3.1"}}, "contradicts"),
        ({"holds": ("{other.a} < {other.b}",)}, "agrees"),
        ({"holds": ("{other.a} > {other.b}",)}, "contradicts"),
        ({"holds": ("{other.b} < {other.c}",)}, "cannot_be_told"),  # 3.1 and 3.14 may be of one number
        ({"holds": ("{other.b} == {other.c}",)}, "agrees"),
        ({"holds": ("{other.a} < {other.b}", "{other.a} > {other.b}")}, "contradicts"),
        ({"trade_off": {"chosen": "b", "between": ("other", "size")}}, "contradicts"),
        ({"trade_off": {"chosen": "a", "between": ("other", "size")}}, "agrees"),
        ({"trade_off": {"chosen": "a", "between": ("other", "shrinking")}}, "cannot_be_told"),
        ({}, "cannot_be_told"),
    ],
)
def test_a_verdict_follows_from_the_figures(book: ClaimBook, fields: dict[str, Any], word: str) -> None:
    tables = [
        Claim(name=name, source=("D",), published=dict(zip("abc", values, strict=True)))
        for name, values in {"other": (2.3, 3.1, 3.14), "size": (1.0, 2.0, 3.0), "shrinking": (3.0, 2.0, 1.0)}.items()
    ]
    claim = Claim.model_validate({"name": "made", "source": ["D"], "published": {"lora": 0.76}} | fields)
    made = book.model_copy(update={"claims": (*tables, claim)})
    assert judge_by_source(claim, made, read_wording()).word == word


def test_an_effect_size_by_another_formula_is_not_set_beside_ours(book: ClaimBook) -> None:
    judged = judge(make_study([make_run("toy/lora/0", {"eval/perplexity": 60.0}, LORA)]), book)["effect_size"]
    assert judged.claim.metric == ""
    assert told(judged).startswith("not comparable: it is the difference over the deviation of one method")


@pytest.mark.parametrize(
    ("model", "texts", "size", "own"),
    [
        (QWEN, "novels", None, {"japanese"}),
        ("qwen2.5-0.5b", "novels", 494_032_768.0, {"japanese"}),  # a folder's name
        ("Qwen2.5-0.5B", "novels", 1_319_488.0, set()),  # a stand-in, in a folder of that name
        ("Qwen/Qwen2.5-0.5B-Instruct", "novels", None, set()),
        ("embedded small", "ja/ja_wiki/train_0.jsonl", None, {"japanese"}),
        ("embedded small", "texts/ja_wiki_of_ours/a.jsonl", None, set()),
        ("embedded small", "data/fiqa/main/train", None, {"fiqa"}),
        ("embedded small", "data/fiqa.parquet", None, {"fiqa"}),
        (QWEN, "data/fiqa/main/train", None, {"japanese", "fiqa"}),
        ("embedded small", "novels", 1_319_488.0, set()),
    ],
)
def test_a_claim_is_a_studys_own_by_model_or_data(book: ClaimBook, model: str, texts: str, size: float | None, own: set[str]) -> None:
    base = make_run("toy/base", {} if size is None else {"efficiency/total_parameters": size})
    runs = make_study([make_run("toy/lora/0", {"eval/perplexity": 60.0}, LORA)], model=model, texts=texts, base=base)
    judged = judge_claims(book, Findings(runs), read_wording())
    assert {each.claim.setting for each in judged if each.is_own} == own
    assert all(each.is_own for each in judged if each.claim.setting in own)


def test_claims_of_others_are_one_folded_line(book: ClaimBook) -> None:
    trials = [make_run("toy/lora/0", {"eval/perplexity": 60.0}, LORA)]
    section = claims(Findings(make_study(trials, model="embedded small", texts="novels")), read_wording())
    assert section
    (line,) = section.blocks
    assert isinstance(line, Folded)
    assert line.line == f"{len(book.claims)} published claims are left aside: neither their model nor their data are this study's."
    assert "The model here is embedded small" in line.text
    assert f"{QWEN}, on ja_wiki: " in line.text
    assert "docs/claims.md" in line.text


def test_claims_of_the_studys_own_stand_in_a_table(book: ClaimBook) -> None:
    section = claims(Findings(make_study([make_run("japanese/lora/0", {"eval/perplexity": 11.9}, LORA)])), read_wording())
    assert section
    _, table, line = section.blocks
    assert isinstance(table, Table)
    assert isinstance(line, Folded)
    own = sum(claim.setting == "japanese" for claim in book.claims)
    assert len(table.rows) == own
    assert line.line.startswith(f"{len(book.claims) - own} published claims are left aside")
    assert "FiQA" not in table.note


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


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("2 * (3 + 4) / 7", 2.0),
        ("ceil(5500 / 16)", 344.0),
        ("t_quantile(0.975, 49)", 2.0096),
        ("p_of_t(3.47, 49)", 0.0011),
        ("2**-1", 0.5),
        ("ln(exp(3))", 3.0),
        ("sqrt(16) - -1", 5.0),
    ],
)
def test_sums_are_computed(expression: str, value: float) -> None:
    assert compute(expression) == pytest.approx(value, rel=1e-2 if "t" in expression else 1e-9)


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
    assert [claim.name for claim in book.claims if claim.setting is None] == ["adapter_layers"]
    for claim in book.claims:
        figure = claim.metric in FIGURES or claim.metric in {f"learning_rate/{name}" for name in RATES}
        if claim.metric and not figure and claim.metric != "optimizer.learning_rate":
            definition_of(claim.metric.replace("{}", next(iter(claim.published))))
        assert claim.metric or not claim.comparable or claim.published or claim.holds or claim.trade_off, claim.name


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("source: [D]", "source: [Z]", "Z"),
        ("check: order", "check: ordre", "check"),
        ("computed: {t:", "computed: {u:", "interval_and_t"),
        ("{cross_domain.lora} >", "{cross_domain.lola} >", "cross_domain.lola"),
        ("{cross_domain.lora} >", "{cross_domain.lora} is", "two sums"),
    ],
)
def test_a_broken_book_is_refused_in_one_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(CLAIMS.read_text(encoding="utf-8").replace(old, new, 1))
    with pytest.raises(ValueError, match=says) as error:
        read_claims(path)
    assert "\n" not in str(error.value)
