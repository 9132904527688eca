"""A real pretrained English model, real Japanese literature: the search on files of others, which are read where they lie."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.real_data import REAL, needs_real_data

STUDY = """
name: real
model: {{path: {data}/models/stories260K-hf, licence: MIT}}
data:
  japanese: {{role: adapt, path: {data}/ja/aozora_utf8, evaluation_tokens: 20000}}
  english: {{role: retain, path: {data}/parallel/pud.en.txt, documents: line, evaluation_tokens: 20000}}
arms:
  lora:
    method: lora
    space:
      method.rank: 8
      method.alpha_over_rank: 2.0
      optimizer.learning_rate: {{low: 1e-4, high: 1e-2, log: true}}
    starts: [{{optimizer.learning_rate: 5e-3}}]
  sft:
    method: full
    space:
      optimizer.learning_rate: {{low: 1e-4, high: 5e-3, log: true}}
    starts: [{{optimizer.learning_rate: 2e-3}}]
budget: {{trials: 2, tokens: 245760}}
training:
  batch: {{sequence_length: 256, blocks: 8, micro_blocks: 8}}
"""


@pytest.mark.proof
@needs_real_data
def test_full_fine_tuning_learns_real_japanese_at_a_cost(tmp_path: Path) -> None:
    path = tmp_path / "real.yaml"
    path.write_text(STUDY.format(data=REAL), encoding="utf-8")
    hikaku = [sys.executable, "-m", "hikaku"]
    subprocess.run([*hikaku, "tune", str(path), "--state", str(tmp_path / "state")], check=True)
    told = subprocess.run(
        [*hikaku, "report", str(path), "--json", "--state", str(tmp_path / "state")], check=True, capture_output=True, text=True
    )
    report = json.loads(told.stdout)
    best = next(trial for trial in report["trials"] if trial["uid"] == report["best"]["sft"])
    print({name: best["metrics"][name] for name in ("eval/nats_per_token", "retention/english")}, report["base"]["metrics"])
    assert report["base"]["metrics"]["eval/nats_per_token"] > 20
    assert best["metrics"]["eval/nats_per_token"] < 3.5
    assert best["metrics"]["retention/english"] < 0.9
    assert "retention/english" in (tmp_path / "state/real/report.md").read_text(encoding="utf-8")
