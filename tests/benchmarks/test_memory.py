"""Predicted memory beside measured: nothing that memory depends on is more than a tenth too low."""

import pytest

from benchmarks.memory import LOW, Setting, list_settings, measure_peak, predict, render


def test_the_table_has_thirty_settings_or_more_and_says_what_is_low() -> None:
    settings = list(list_settings())
    assert len(settings) >= 30
    table, lowest = render([(settings[0], 0.8, 1.0), (settings[1], 1.1, 1.0)])
    assert lowest == pytest.approx(-0.2)
    assert "2 settings: from -20.0% to +10.0%" in table


@pytest.mark.parametrize(
    "setting", [each for each in list_settings() if each.length == 64 and "all" in each.name], ids=lambda each: each.name
)
def test_a_prediction_is_not_low(setting: Setting) -> None:
    assert predict(setting).peak / measure_peak(setting) - 1 > -LOW
