"""What is refused between the base's measurement and the first trial."""

from pathlib import Path

import pytest

from hikaku.search.tuning import refuse_unmeasured
from records.refusals import Refusal
from records.results import Outcome, Result, save_result
from tests.support.stand_in import make_study

BASE = {"eval/perplexity": 40.0, "script/kanji/accuracy": 0.2, "script/hiragana/accuracy": 0.4, "efficiency/total_parameters": 9.0}


def test_what_the_base_has_no_value_of_no_trial_will_have(tmp_path: Path) -> None:
    save_result(tmp_path, Result(uid="small/base", outcome=Outcome.COMPLETED, tokens=0, metrics=BASE, started=0, ended=1))
    study = make_study(tmp_path, constraints=[{"metric": "script/katakana/accuracy", "at_least": 0.1}])
    told = (
        r"^constraints.0.metric: got 'script/katakana/accuracy', which these texts do not give; allowed: script/kanji/accuracy, script/hir"
    )
    with pytest.raises(Refusal, match=told):
        refuse_unmeasured(study, tmp_path)
    with pytest.raises(Refusal, match="'word/noun/accuracy', which these texts do not give; allowed: another metric"):
        refuse_unmeasured(make_study(tmp_path, objectives=[{"metric": "word/noun/accuracy"}]), tmp_path)
    refuse_unmeasured(make_study(tmp_path, constraints=[{"metric": "efficiency/peak_memory_gib", "at_most": 9}]), tmp_path)
