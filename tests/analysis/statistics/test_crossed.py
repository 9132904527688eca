"""The crossed estimate against scipy's tests where they coincide, against a REML likelihood, and against its own definitions."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import optimize, stats

from analysis.statistics.crossed import adjust_holm, estimate

DOCUMENTS, SEEDS = 12, 5
CELLS = tuple(product(range(DOCUMENTS), range(SEEDS)))
TIGHTLY = {"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000}


def made(documents: int = DOCUMENTS, seeds: int = SEEDS, spread: tuple[float, float, float] = (1.0, 0.8, 0.4)) -> np.ndarray:
    of_documents, of_seeds, of_errors = spread
    random = np.random.default_rng(7)
    parts = random.normal(size=(documents, 1)), random.normal(size=(1, seeds)), random.normal(size=(documents, seeds))
    return 0.5 + of_documents * parts[0] + of_seeds * parts[1] + of_errors * parts[2]


def test_without_seed_effects_it_is_scipys_t_test_over_documents() -> None:
    values = np.random.default_rng(7).normal(0.3, 1.0, DOCUMENTS)
    found, theirs = estimate(np.repeat(values[:, None], SEEDS, axis=1), np.ones(DOCUMENTS)), stats.ttest_1samp(values, 0.0)
    assert found.p_value() == pytest.approx(theirs.pvalue, rel=1e-9)
    assert found.degrees == pytest.approx(DOCUMENTS - 1)
    assert found.interval() == pytest.approx(tuple(theirs.confidence_interval()))
    assert found.effect_size == pytest.approx(values.mean() / values.std(ddof=1))
    assert found.p_value_below(0.4) == pytest.approx(stats.ttest_1samp(values, 0.4, alternative="less").pvalue)


def test_without_document_effects_it_is_scipys_t_test_over_seeds() -> None:
    values = np.random.default_rng(7).normal(0.3, 1.0, SEEDS)
    found, theirs = estimate(np.repeat(values[None], DOCUMENTS, axis=0), np.ones(DOCUMENTS)), stats.ttest_1samp(values, 0.0)
    assert found.p_value() == pytest.approx(theirs.pvalue, rel=1e-9)
    assert found.degrees == pytest.approx(SEEDS - 1)
    assert found.interval(0.9) == pytest.approx(tuple(theirs.confidence_interval(0.9)))


def deviance(variances: np.ndarray, table: np.ndarray) -> float:
    """Return -2 log of the restricted likelihood of a table under crossed normal effects, by dense matrices."""
    documents, seeds = table.shape
    of_documents, of_seeds, of_errors = np.exp(variances)
    one, eye = np.ones, np.eye
    covariance = (
        of_documents * np.kron(eye(documents), one((seeds, seeds)))
        + of_seeds * np.kron(one((documents, documents)), eye(seeds))
        + of_errors * eye(documents * seeds)
    )
    inverse, ones = np.linalg.inv(covariance), np.ones(table.size)
    weight = ones @ inverse @ ones
    residual = table.ravel() - (ones @ inverse @ table.ravel()) / weight
    return float(np.linalg.slogdet(covariance)[1] + math.log(weight) + residual @ inverse @ residual)


def test_balanced_tables_give_what_reml_gives() -> None:
    table = made()
    found = estimate(table, np.ones(DOCUMENTS))
    best = optimize.minimize(
        deviance, np.zeros(3), (table,), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000}
    )
    of_documents, of_seeds, of_errors = np.exp(best.x)
    assert (found.of_documents, found.of_seeds, found.of_errors) == pytest.approx((of_documents, of_seeds, of_errors), rel=1e-4)
    assert found.variance == pytest.approx(of_documents / DOCUMENTS + of_seeds / SEEDS + of_errors / (DOCUMENTS * SEEDS), rel=1e-4)
    assert found.effect_size == pytest.approx(table.mean() / math.sqrt(of_documents + of_seeds + of_errors), rel=1e-4)


def test_degrees_of_freedom_are_those_of_the_likelihoods_curvature() -> None:
    table = made(spread=(0.8, 0.6, 1.5))
    found = estimate(table, np.ones(DOCUMENTS))
    place = np.array([float(found.of_documents), float(found.of_seeds), float(found.of_errors)])
    step = 1e-3 * place
    curvature = np.zeros((3, 3))
    for row, column in product(range(3), range(3)):  # second differences of the deviance in the variances
        corners = [
            place + up * step * np.eye(3)[row] + right * step * np.eye(3)[column] for up, right in ((1, 1), (1, -1), (-1, 1), (-1, -1))
        ]
        heights = [deviance(np.log(corner), table) for corner in corners]
        curvature[row, column] = (heights[0] - heights[1] - heights[2] + heights[3]) / (4 * step[row] * step[column])
    gradient = np.array([1 / DOCUMENTS, 1 / SEEDS, 1 / (DOCUMENTS * SEEDS)])
    expected = 2 * found.variance**2 / (gradient @ np.linalg.inv(curvature / 2) @ gradient)  # Satterthwaite as lmerTest has it
    assert found.degrees == pytest.approx(float(expected), rel=1e-3)


def test_documents_of_unequal_length_are_weighed_as_the_page_says() -> None:
    """docs/statistics.md, term by term."""
    random = np.random.default_rng(4)
    t = random.uniform(10, 500, DOCUMENTS)
    x = t[:, None] * made()
    total = sum(t)
    delta = sum(x[d, s] for d, s in CELLS) / (SEEDS * total)
    leverage = [(1 - t[d] / total) / (1 - 1 / DOCUMENTS) for d in range(DOCUMENTS)]
    u = np.array([[delta + (x[d, s] - delta * t[d]) / (total / DOCUMENTS) / leverage[d] for s in range(SEEDS)] for d in range(DOCUMENTS)])
    of_documents = SEEDS * sum((u[d].mean() - u.mean()) ** 2 for d in range(DOCUMENTS)) / (DOCUMENTS - 1)
    of_seeds = DOCUMENTS * sum((u[:, s].mean() - u.mean()) ** 2 for s in range(SEEDS)) / (SEEDS - 1)
    of_errors = sum((u[d, s] - u[d].mean() - u[:, s].mean() + u.mean()) ** 2 for d, s in CELLS) / ((DOCUMENTS - 1) * (SEEDS - 1))
    free = 1 / sum((t / total) ** 2) - 1
    scaled = of_documents + of_seeds - of_errors
    assert scaled > max(of_documents, of_seeds)  # the guard has no part in this
    found = estimate(x, t)
    assert found.mean == pytest.approx(delta)
    assert found.variance == pytest.approx(scaled / (DOCUMENTS * SEEDS))
    wobble = of_documents**2 / free + of_seeds**2 / (SEEDS - 1) + of_errors**2 / (free * (SEEDS - 1))
    assert found.degrees == pytest.approx(scaled**2 / wobble)


def test_many_tables_at_once_are_the_tables_one_by_one() -> None:
    tables, tokens = np.random.default_rng(7).normal(size=(4, DOCUMENTS, SEEDS)), np.random.default_rng(7).uniform(10, 500, (4, DOCUMENTS))
    together = estimate(tables, tokens)
    for place in range(4):
        alone = estimate(tables[place], tokens[place])
        for name, value in vars(alone).items():
            assert vars(together)[name][place] == pytest.approx(value), name


@given(shift=some.floats(-2, 2), scale=some.floats(0.1, 10), length=some.floats(0.1, 1000))
@settings(max_examples=50, deadline=None)
def test_a_shift_moves_the_mean_alone_and_units_do_not_matter(shift: float, scale: float, length: float) -> None:
    tokens = np.linspace(20, 400, DOCUMENTS)
    table = np.random.default_rng(3).normal(size=(DOCUMENTS, SEEDS)) * tokens[:, None]
    before = estimate(table, tokens)
    after = estimate(scale * (table + shift * tokens[:, None]) * length, tokens * length)
    assert after.mean == pytest.approx(scale * (float(before.mean) + shift), abs=1e-9)
    assert after.variance == pytest.approx(scale**2 * float(before.variance))
    assert after.degrees == pytest.approx(float(before.degrees))


def test_the_mean_is_nats_over_tokens_whatever_the_lengths() -> None:
    table, tokens = np.random.default_rng(7).normal(size=(DOCUMENTS, SEEDS)), np.random.default_rng(7).uniform(10, 500, DOCUMENTS)
    assert estimate(table, tokens).mean == pytest.approx(table.sum() / (SEEDS * tokens.sum()))


def test_noise_beyond_its_model_leaves_a_positive_variance() -> None:
    table = np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.001, -0.002]])
    found = estimate(table, np.ones(3))
    assert found.variance > 0
    assert found.of_documents == found.of_seeds == 0
    assert found.degrees >= 2


def test_equal_models_do_not_differ() -> None:
    found = estimate(np.zeros((DOCUMENTS, SEEDS)), np.ones(DOCUMENTS))
    assert (found.mean, found.variance, found.p_value(), found.effect_size) == (0, 0, 1, 0)
    assert found.p_value_below(math.log(1.05)) == 0


def test_one_seed_or_one_document_tells_a_mean_and_nothing_else() -> None:
    for table in (made(seeds=1), made(documents=1)):
        found = estimate(table, np.ones(len(table)))
        assert found.mean == pytest.approx(table.mean())
        assert np.isnan([found.variance, found.degrees, found.effect_size, found.p_value(), *found.interval()]).all()


def test_holm_equals_a_hand_computation() -> None:
    assert adjust_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust_holm([0.6, 0.5]) == [1.0, 1.0]
    nan = adjust_holm([0.02, math.nan, 0.03])
    assert nan[::2] == pytest.approx([0.04, 0.04])
    assert math.isnan(nan[1])
    assert adjust_holm([]) == []
