import csv
import io
import json
import math

import pytest

from analysis.labels import Cell, format_cell
from analysis.report.page import render_table
from analysis.report.tables import Column, Table
from analysis.text.wording import read_wording

ROWS: tuple[tuple[Cell, ...], ...] = (
    ("lora/3", 55.26574902743215, 120_832, "a | b"),
    ("sft/5", -0.000123456, 1_319_488, ""),
    ("<none>", math.nan, None, "x"),
)
TABLE = Table(
    "best",
    "The best",
    (Column("trial"), Column("perplexity", "exp of nats"), Column("size", unit="parameters"), Column("name", is_code=True)),
    ROWS,
    "A note.",
)


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
        ("kept as it is", "kept as it is"),
        (1_319_488, "1,319,488"),
        (55.26574902743215, "55.27"),
        (-6.174404448529415, "−6.174"),
        (6.4e-7, "6.4e-7"),
        (0.0, "0"),
        (64_000.4, "64,000"),
        (3.2e12, "3.200e+12"),
    ],
)
def test_a_cell_is_shown_with_four_digits(cell: Cell, shown: str) -> None:
    assert format_cell(cell) == shown


def test_markdown_keeps_cells_apart_and_says_what_columns_mean() -> None:
    lines = TABLE.as_markdown(lambda text: f"[{text}]").splitlines()
    assert lines[:3] == ["| trial | perplexity | size (parameters) | name |", "| --- | ---: | ---: | --- |", lines[2]]
    assert lines[2] == "| [lora/3] | 55.27 | 120,832 | `a \\| b` |"
    assert lines[4] == "| [<none>] | – | – | `x` |"
    assert lines[-3:] == ["A note.", "", "- perplexity: exp of nats"]


def test_html_carries_exact_numbers_links_and_no_markup_of_its_cells() -> None:
    html = render_table(TABLE, read_wording(), {"lora/3": "http://pages/run"})
    assert '<td class="number" data-value="55.26574902743215">55.27</td>' in html
    assert '<a href="http://pages/run">lora/3</a>' in html
    assert "&lt;none&gt;" in html
    assert "<none>" not in html
    assert '<th scope="col" class="number" title="exp of nats">perplexity</th>' in html
    assert "nan" not in html


def test_csv_and_json_hold_exact_numbers() -> None:
    read = list(csv.reader(io.StringIO(TABLE.as_csv())))
    assert read[0] == ["trial", "perplexity", "size (parameters)", "name"]
    assert float(read[1][1]) == ROWS[0][1]
    assert read[3] == ["<none>", "", "", "x"]
    told = json.loads(json.dumps(TABLE.as_json(), allow_nan=False))
    assert told["rows"][0] == list(ROWS[0])
    assert told["rows"][2] == ["<none>", None, None, "x"]
    assert told["columns"][1]["definition"] == "exp of nats"


def test_a_row_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="best: a row of 1 cells under 4 columns"):
        Table("best", "", TABLE.columns, (("alone",),))
