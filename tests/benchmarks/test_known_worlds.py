"""The known worlds in small: the bounds are kept, an estimator that ignores seeds breaks them, and worlds have the truth they claim."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import known_worlds as worlds

PROMISED = [setting for setting in worlds.SETTINGS if setting.promised and setting.documents == 50 and setting.seeds == 5]


@pytest.mark.parametrize("setting", PROMISED, ids=lambda setting: setting.name)
def test_promises_are_kept_at_fifty_documents_and_five_seeds(setting: worlds.Setting) -> None:
    rates = worlds.count(setting, worlds.crossed, 1000)
    chance = 0.012  # beyond the bounds: three standard errors of what 1,000 worlds tell less surely than 4,000
    assert rates.refused > 0.99 or rates.refused < 0.2
    assert rates.refused > 0.99 or 0.933 - chance <= rates.coverage <= 0.967 + chance
    assert rates.different <= 0.067 + chance
    assert rates.non_inferior <= 0.033 + chance


def test_documents_of_very_unequal_length_are_allowed_for() -> None:
    setting = worlds.Setting("unequal", lengths=1.0, of_seeds=0.002, of_errors=0.02)
    assert worlds.count(setting, worlds.crossed, 3000).coverage > 0.938  # 92 % without leverage and effective numbers


def test_ignoring_seeds_breaks_them() -> None:
    setting = worlds.Setting("seeds vary most", of_seeds=0.05, of_errors=0.02)
    assert worlds.count(setting, worlds.crossed, 1000).coverage > 0.92
    blind = worlds.count(setting, worlds.without_seeds, 1000)
    assert blind.coverage < 0.6
    assert not blind.keeps_bounds


@pytest.mark.parametrize("setting", worlds.SETTINGS, ids=lambda setting: f"{setting.name}, {setting.documents} x {setting.seeds}")
def test_worlds_have_the_mean_they_claim(setting: worlds.Setting) -> None:
    differences, tokens = setting.draw(np.random.default_rng(11), 400, 0.5)
    assert differences.shape == (400, setting.documents, setting.seeds)
    sums, weights = differences.mean(-1).sum(-1), tokens.sum(-1)
    pooled = sums.sum() / weights.sum()
    error = np.std(sums - pooled * weights) / weights.mean() / 20
    collapse = 10 * setting.of_seeds * setting.collapsing  # no part of the truth: the difference is of seeds that do not collapse
    assert abs(pooled - collapse - 0.5) < 4 * error


def test_a_file_that_is_not_known_breaks_them_and_one_that_is_does_not() -> None:
    known = worlds.Setting("ten a file", documents=200, clusters=10)
    blind = dataclasses.replace(known, are_known=False)
    assert worlds.count(known, worlds.crossed, 1000).different < 0.067 + 0.012
    assert worlds.count(blind, worlds.crossed, 1000).different > 0.1


def test_the_page_says_which_settings_fail(tmp_path: Path) -> None:
    page = tmp_path / "statistics.md"
    page.write_text(f"before\n{worlds.START}\nold\n{worlds.END}\nafter\n", encoding="utf-8")
    command = [sys.executable, str(worlds.__file__), "--worlds", "20", "--bootstrap-worlds", "2", "--write", str(page)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    text = page.read_text(encoding="utf-8")
    assert run.returncode in (0, 1)
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert text.count("\n| ") == 1 + len(worlds.SETTINGS)
    assert "skewed, seeds vary most (50 x 5)" in text.split("**Not within the bounds:**")[1]


def test_the_bootstrap_is_about_the_mean_and_says_the_same_twice() -> None:
    random = np.random.default_rng(3)
    table, tokens = 100 * (0.1 + random.normal(0, 0.05, (60, 8))), np.full(60, 100.0)
    low, high = worlds.resample(table, tokens)
    assert (low, high) == worlds.resample(table, tokens)
    assert low < table.sum() / (8 * tokens.sum()) < high
    constant = worlds.resample(np.full((4, 3), 2.0), np.full(4, 10.0))
    assert constant == pytest.approx((0.2, 0.2))
