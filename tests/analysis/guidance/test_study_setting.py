"""Which claims are of a study's own model or data."""

import pytest

from analysis.findings import Findings
from analysis.guidance.claim_book import ClaimBook
from analysis.guidance.claims import judge_claims
from analysis.text.wording import read_wording
from tests.support.made_runs import QWEN, make_run, make_study


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
    runs = make_study([make_run("toy/lora/0", {"eval/perplexity": 60.0})], model=model, texts=texts, base=base)
    judged = judge_claims(book, Findings(runs), read_wording())
    assert {each.claim.setting for each in judged if each.is_own} == own
    assert all(each.is_own for each in judged if each.claim.setting in own)
