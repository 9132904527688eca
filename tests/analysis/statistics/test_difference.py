"""The difference of two finalists, from MLflow to a verdict in a sentence."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.guidance.sentences import tell_limits, tell_verdict
from analysis.statistics.crossed import adjust_holm
from analysis.statistics.difference import Difference, compare_classes, compare_pairs, measure_difference, read_pairs
from analysis.statistics.finalists import find_finalists
from analysis.statistics.verdict import Verdict, judge
from analysis.text.wording import read_wording
from records.folders import DOCUMENTS_FILE
from records.results import Outcome
from records.runs import StudyRuns, read_study_runs
from records.tracking import RunRecord, Tracker, create_store

WORDING = read_wording()

SETS = {"japanese": "adapt", "finance": "domain", "english": "retain"}
STRATA = ("simple", "literary")
EACH = 30  # documents of a set
TOKENS = np.tile(np.arange(40.0, 40 + EACH), len(SETS))
BETTER = {"japanese": 0.10, "finance": 0.0, "english": -0.30}  # nats per token that LoRA needs more

Table = Callable[[str, int], pd.DataFrame]


def documents(method: str, seed: int) -> pd.DataFrame:
    """Return the measured documents of a made run, validation and test."""
    random = np.random.default_rng([seed, method == "lora"])
    sets = np.repeat(list(SETS), EACH)
    nats = 3.0 + (method == "lora") * np.vectorize(BETTER.get)(sets) + random.normal(0, 0.05, len(sets))
    table = pd.DataFrame(
        {
            "set": sets,
            "split": "test",
            "document": [f"d{place % EACH}" for place in range(len(sets))],
            "stratum": [STRATA[place % 2] if name == "japanese" else "" for place, name in enumerate(sets)],
            "nats": nats * TOKENS,
            "tokens": TOKENS.astype(int),
            "characters": TOKENS.astype(int) * 2,
            "bytes": TOKENS.astype(int) * 6,
            "right_characters": 0,
        }
    )
    return pd.concat([table.assign(split="validation", nats=1.0), table], ignore_index=True)


def written(uri: str, folder: Path, seeds: dict[str, int], table: Table = documents) -> StudyRuns:
    """Return the runs of a made study whose best trials of both methods were trained again with so many seeds."""
    tracker, study = Tracker(uri), folder.name
    tracker.write(RunRecord(uid=study, kind="study", name=study, outcome=Outcome.COMPLETED, started=1.0, ended=9.0))
    for arm, method in {"lora": "lora", "sft": "full"}.items():
        metrics = {"eval/bits_per_character": 5.0}
        uids = [f"{study}/{arm}/0", *(f"{study}/{arm}/0/seed-{seed}" for seed in range(seeds[method]))]
        for place, uid in enumerate(uids):
            path = folder / method / str(place) / DOCUMENTS_FILE
            path.parent.mkdir(parents=True)
            table(method, max(place - 1, 0)).to_parquet(path)
            own = {"trial": uids[0], "seed_index": str(place - 1)} if place else {}
            tracker.write(
                RunRecord(
                    uid=uid,
                    kind="replicate" if place else "trial",
                    name=uid.split("/", 1)[1],
                    tags={"arm": arm, "method": method} | own,
                    outcome=Outcome.COMPLETED,
                    metrics=metrics,
                    artifacts=(path,),
                    datasets={name: (str(place) * 64, role) for place, (name, role) in enumerate(SETS.items())},
                    started=2.0,
                    ended=3.0,
                )
            )
    return read_study_runs(study, uri)


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return create_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def runs(uri: str, tmp_path_factory: pytest.TempPathFactory) -> StudyRuns:
    return written(uri, tmp_path_factory.mktemp("study"), {"lora": 6, "full": 5})


def test_pairs_are_the_test_documents_of_the_seeds_that_both_have(runs: StudyRuns) -> None:
    finalists = find_finalists(runs)
    pairs = read_pairs(runs, finalists["lora"], finalists["full"])
    assert pairs is not None
    assert (pairs.methods, pairs.seeds) == (("lora", "full"), (0, 1, 2, 3, 4))
    assert pairs.first.shape == pairs.second.shape == (EACH * len(SETS), 5)
    assert dict(zip(pairs.documents["set"], pairs.documents["role"], strict=True)) == SETS
    for seed in pairs.seeds:
        table = documents("lora", seed)
        assert pairs.first[:, seed] == pytest.approx(table["nats"][table["split"] == "test"].to_numpy())


def test_the_difference_is_that_of_the_adapted_documents(runs: StudyRuns) -> None:
    finalists = find_finalists(runs)
    pairs = read_pairs(runs, finalists["lora"], finalists["full"])
    assert pairs is not None
    found = compare_pairs(pairs)
    apart = (pairs.first - pairs.second)[:EACH]
    assert (found.documents, found.seeds, found.tokens) == (EACH, 5, TOKENS[:EACH].sum())
    assert found.mean == pytest.approx(apart.sum() / (5 * TOKENS[:EACH].sum()))
    assert found.ratio == pytest.approx(math.exp(found.mean))
    assert found.low < 0.10 < found.high
    assert found.better_documents == np.mean(apart.sum(axis=1) < 0)
    assert Verdict(pairs.methods, found).decision == "second_better"


def test_replicates_left_out_are_named(runs: StudyRuns) -> None:
    finalists = find_finalists(runs)
    pairs = read_pairs(runs, finalists["lora"], finalists["full"])
    assert pairs is not None
    assert pairs.lost == (f"{runs.name}/lora/0/seed-5",)  # full fine-tuning has no sixth
    verdict = judge(pairs, margin=0.2)
    assert (verdict.lost, verdict.difference) == (pairs.lost, compare_pairs(pairs, margin=0.2))
    assert tell_verdict(verdict, WORDING).endswith(f"did not complete: {runs.name}/lora/0/seed-5.")


def test_classes_are_strata_domains_and_retained_sets_with_holms_p(runs: StudyRuns) -> None:
    finalists = find_finalists(runs)
    pairs = read_pairs(runs, finalists["lora"], finalists["full"])
    assert pairs is not None
    classes = compare_classes(pairs)
    decisions = {(each.kind, each.name): each.decision for each in classes}
    assert decisions == {
        ("stratum", "literary"): "second_better",
        ("stratum", "simple"): "second_better",
        ("domain", "finance"): "no_difference",
        ("retain", "english"): "first_better",
    }
    assert [each.adjusted_p for each in classes] == adjust_holm([each.difference.p_value for each in classes])
    assert classes[0].difference.documents == EACH / 2


def test_scripts_are_classes_where_runs_kept_their_nats(uri: str, tmp_path: Path) -> None:
    def by_script(method: str, seed: int) -> pd.DataFrame:
        table = documents(method, seed)
        noise = np.random.default_rng([seed, method == "lora", 1]).normal(0, 0.02, len(table))
        kanji = np.where(np.arange(len(table)) % 3 == 0, 0, table["characters"] // 2)  # every third document has none
        worse = 0.2 * (method == "lora")
        columns = {"nats/kanji": kanji * (4.0 + worse + noise), "characters/kanji": kanji, "nats/latin": 0.0, "characters/latin": 0}
        return table.assign(**columns)

    runs = written(uri, tmp_path, {"lora": 5, "full": 5}, by_script)
    finalists = find_finalists(runs)
    pairs = read_pairs(runs, finalists["lora"], finalists["full"])
    assert pairs is not None
    scripts = [each for each in compare_classes(pairs) if each.kind == "script"]
    assert [(each.name, each.decision) for each in scripts] == [("kanji", "second_better")]  # nothing is latin: no class of its own
    found = scripts[0].difference
    test = by_script("lora", 0).query("split == 'test' and set == 'japanese'")
    assert found.documents == (test["characters/kanji"] > 0).sum()
    assert found.tokens == test["characters/kanji"].sum()
    assert found.low < 0.2 < found.high
    assert found.mean == pytest.approx(0.2, abs=0.02)


def test_one_seed_gives_no_verdict(uri: str, tmp_path: Path) -> None:
    runs = written(uri, tmp_path, {"lora": 0, "full": 0})
    finalists = find_finalists(runs)
    pairs = read_pairs(runs, finalists["lora"], finalists["full"])
    assert pairs is not None
    verdict = Verdict(pairs.methods, compare_pairs(pairs))
    assert pairs.seeds == (0,)
    assert math.isfinite(verdict.difference.mean)
    assert (verdict.decision, verdict.better, verdict.is_non_inferior, verdict.is_provisional) == ("no_verdict", None, None, False)
    assert tell_verdict(verdict, WORDING).startswith("On 30 test documents, one seed, LoRA's perplexity is ")
    assert tell_verdict(verdict, WORDING).endswith("(finalists: {seeds: 5}).")
    assert {each.decision for each in compare_classes(pairs)} == {"no_verdict"}


def test_runs_of_other_documents_are_not_compared(uri: str, tmp_path: Path) -> None:
    def other(method: str, seed: int) -> pd.DataFrame:
        table = documents(method, seed)
        return table if method == "lora" else table.assign(tokens=table["tokens"] + 1)

    runs = written(uri, tmp_path, {"lora": 1, "full": 1}, other)
    finalists = find_finalists(runs)
    with pytest.raises(ValueError, match=r"/lora/0 and .*/sft/0: their test documents differ; allowed: runs of the same data$"):
        read_pairs(runs, finalists["lora"], finalists["full"])


def test_runs_that_opened_no_test_documents_are_no_pairs(uri: str, tmp_path: Path) -> None:
    runs = written(uri, tmp_path, {"lora": 1, "full": 1}, lambda method, seed: documents(method, seed).assign(split="validation"))
    finalists = find_finalists(runs)
    assert read_pairs(runs, finalists["lora"], finalists["full"]) is None


def test_documents_without_tokens_do_not_count() -> None:
    nats, tokens = np.random.default_rng(1).normal(size=(8, 5)), np.full(8, 10.0)
    empty = np.vstack([nats, np.zeros((2, 5))])
    assert measure_difference(empty, 0 * empty, np.append(tokens, [0.0, 0.0])) == measure_difference(nats, 0 * nats, tokens)
    with pytest.raises(ValueError, match="none has a token"):
        measure_difference(empty[8:], empty[8:], np.zeros(2))


MEASURED = Difference(
    documents=200,
    seeds=5,
    tokens=40_000,
    mean=0.02,
    standard_error=0.02,
    degrees=10.0,
    low=-0.01,
    high=0.04,
    p_value=0.2,
    p_inferior=0.01,
    effect_size=0.1,
    of_documents=0.1,
    of_seeds=0.05,
    of_errors=0.1,
    better_documents=0.4,
)


@pytest.mark.parametrize(
    ("low", "high", "p_inferior", "decision", "said"),
    [
        (-0.04, -0.01, 0.0001, "first_better", "LoRA is better. LoRA is not inferior by 5% of perplexity or more."),
        (0.01, 0.04, 0.01, "second_better", "Full fine-tuning is better. LoRA is not inferior by 5% of perplexity or more."),
        (0.01, 0.06, 0.1, "second_better", "Full fine-tuning is better. That LoRA is worse by less than 5% of perplexity is not shown."),
        (-0.01, 0.04, 0.01, "non_inferior", "No difference is shown. LoRA is not inferior by 5% of perplexity or more."),
        (-0.01, 0.06, 0.1, "inconclusive", "No difference is shown. That LoRA is worse by less than 5% of perplexity is not shown."),
    ],
)
def test_every_verdict_has_its_word_and_its_sentence(low: float, high: float, p_inferior: float, decision: str, said: str) -> None:
    verdict = Verdict(("lora", "full"), replace(MEASURED, low=low, high=high, p_inferior=p_inferior))
    assert verdict.decision == decision
    assert tell_verdict(verdict, WORDING).endswith(said)
    assert not verdict.is_provisional


def test_the_sentence_holds_the_numbers_and_says_when_it_is_provisional() -> None:
    sentence = tell_verdict(Verdict(("lora", "full"), MEASURED), WORDING)
    assert sentence.startswith("On 200 test documents, 5 seeds, LoRA's perplexity is 2.0% higher than full fine-tuning's.")
    assert "The 95% interval is −1.0% to +4.1% (p = 0.200, effect size 0.10)." in sentence
    for few in (replace(MEASURED, seeds=3), replace(MEASURED, effective_sources=49.9)):
        sentence = tell_verdict(Verdict(("lora", "full"), few), WORDING)
        assert "This is provisional: it rests on fewer than 5 seeds, or on documents that weigh as fewer than 50 independent" in sentence
    assert not Verdict(("lora", "full"), replace(MEASURED, documents=20, effective_sources=50.0)).is_provisional


def draw_nothing(seed: int, sources: int, each: int) -> tuple[Difference, Difference]:
    """Return what is said of a true nothing on documents of which `each` share what makes them hard: with their sources, and without."""
    random, documents = np.random.default_rng(seed), sources * each
    shared = np.repeat(random.normal(0, 0.05, (sources, 1)), each, axis=0)
    nats = 200 * (shared + random.normal(0, 0.02, (1, 5)) + random.normal(0, 0.05, (documents, 5)))
    names = [f"file{place // each}" for place in range(documents)]
    tokens = np.full(documents, 200.0)
    return measure_difference(nats, 0 * nats, tokens, names), measure_difference(nats, 0 * nats, tokens)


def test_documents_of_one_file_are_not_counted_as_independent() -> None:
    pairs = [draw_nothing(seed, sources=20, each=10) for seed in range(300)]
    with_sources, without = (np.mean([found.low > 0 or found.high < 0 for found in side]) for side in zip(*pairs, strict=True))
    assert with_sources <= 0.08
    assert without >= 0.12
    known, blind = pairs[0]
    assert known.mean == pytest.approx(blind.mean)
    assert known.effect_size == blind.effect_size, "of one document with one seed, whatever its source"
    assert (known.documents, known.sources, known.effective_sources) == (200, 20, pytest.approx(20))
    verdict = Verdict(("lora", "full"), known)
    assert verdict.is_provisional
    assert "On 200 test documents from 20 files or articles, which weigh as 20.0 of one size, 5 seeds" in tell_verdict(verdict, WORDING)
    assert "may" not in tell_limits(verdict, WORDING)[0]
    assert tell_limits(Verdict(("lora", "full"), blind), WORDING)[0].startswith("The runs did not keep which documents share a file")


@pytest.mark.parametrize(
    ("sources", "each", "largest", "doubt"),
    [(2, 25, 1.0, "few_sources"), (50, 1, 40.0, "one_source"), (20, 5, 30.0, "one_source"), (4, 10, 1.0, None), (50, 1, 1.0, None)],
)
def test_too_few_sources_or_one_that_decides_give_no_verdict_and_say_why(
    sources: int, each: int, largest: float, doubt: str | None
) -> None:
    random, documents = np.random.default_rng(3), sources * each
    tokens = np.full(documents, 200.0)
    tokens[0] *= largest
    nats = tokens[:, None] * (0.5 + random.normal(0, 0.02, (documents, 5)))
    found = measure_difference(nats, 0 * nats, tokens, [f"file{place // each}" for place in range(documents)])
    assert found.doubt == doubt
    verdict = Verdict(("lora", "full"), found)
    assert verdict.decision == ("no_verdict" if doubt else "second_better")
    assert verdict.is_non_inferior is (None if doubt else False)
    assert ("There is no verdict: " in tell_verdict(verdict, WORDING)) == bool(doubt)


def test_a_seed_that_collapsed_gives_no_verdict_and_one_that_did_not_says_what_may_go_unseen() -> None:
    nats = 200 * (0.05 + np.random.default_rng(2).normal(0, 0.01, (60, 5)) + np.array([0.0, 0.004, -0.004, 0.002, -0.002]))
    collapsed = nats + 200 * np.array([0.0, 0.0, 3.0, 0.0, 0.0])
    verdict = Verdict(("lora", "full"), measure_difference(collapsed, 0 * nats, np.full(60, 200.0)))
    assert (verdict.decision, verdict.difference.doubt) == ("no_verdict", "seed_apart")
    assert "one of the 5 seeds lies apart" in tell_verdict(verdict, WORDING)
    whole = Verdict(("lora", "full"), measure_difference(nats, 0 * nats, np.full(60, 200.0)))
    assert whole.decision == "second_better"
    assert "up to 45% of trainings could have gone unseen" in tell_limits(whole, WORDING)[-1]


def test_interval_and_non_inferiority_agree_and_equal_scipys() -> None:
    values = np.random.default_rng(5).normal(0.03, 0.05, 60)
    nats = np.repeat(values[:, None], 4, axis=1)
    for margin in (0.02, 0.05, 0.2):
        found = measure_difference(nats, 0 * nats, np.ones(60), margin=margin)
        theirs = stats.ttest_1samp(values, math.log1p(margin), alternative="less")
        assert found.p_inferior == pytest.approx(theirs.pvalue)
        assert Verdict(("lora", "full"), found).is_non_inferior == (found.high < math.log1p(margin))
