"""A study's rows and statistics: against scipy, kept by several writers, told apart by code."""

from __future__ import annotations

import statistics
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel

from salcr.config.loading import DEFAULT_CONFIG, merge
from salcr.config.plan import Plan
from salcr.errors import SalcrError
from salcr.files import read_yaml
from salcr.reporting import study
from salcr.reporting.figures.differences import plot_differences
from salcr.reporting.starts import (
    Origin,
    comparable,
    merge_rows,
    needed_starts,
    origins,
    read_rows,
)
from tests.support import tiny

SETTINGS = ("visible-to-thermal", "thermal-to-visible")
NOW = {"salcr": Origin("aaaa", "11+22"), "dagl": Origin("bbbb", "11+22"), "one": Origin("cc", "11")}


def row(variant: str, trial: int, setting: str = SETTINGS[0], **other: Any) -> dict[str, Any]:
    """Return a row of the present settings and code, with other values for some columns."""
    scores = {"rank1": 50.0, "map": 40.0, "minp": 30.0}
    facts = {
        "rounds": 1,
        "data": "dddd",
        "commit": "0123",
        "clean": "True",
        "device": "CPU",
        "torch": "2",
    }
    start = {"variant": variant, "seed": 0, "trial": trial, "setting": setting}
    return {**start, **scores, **facts, **NOW[variant]._asdict(), "seconds": 1.5, **other}


def random_rows(rng: np.random.Generator, variant: str, trials: range, **other: Any) -> list[Any]:
    """Return rows of both settings with random scores."""
    return [
        row(variant, trial, setting, rank1=rng.uniform(20, 90), map=rng.uniform(20, 90), **other)
        for trial in trials
        for setting in SETTINGS
    ]


def line_of(table: pd.DataFrame, *key: str) -> Any:
    """Return the only line of a variant, setting, and compared variant."""
    columns = ["variant", "setting", "compared_with"][: len(key)]
    (line,) = table[(table[columns] == list(key)).all(axis=1)].to_dict("records")
    return line


def test_differences_are_those_of_the_paired_t_test(rng: np.random.Generator) -> None:
    """Mean, interval and number of better starts, over the six that both variants have."""
    rows = random_rows(rng, "salcr", range(1, 9)) + random_rows(rng, "dagl", range(3, 10))
    table = study.compare_variants(pd.DataFrame(rows), NOW, {"salcr": ["dagl"]})
    for setting in SETTINGS:
        line = line_of(table, "salcr", setting, "dagl")
        assert (line["starts"], line["pairs"]) == (8, 6)
        for score in ("rank1", "map"):
            of = {
                (one["variant"], one["trial"]): one[score]
                for one in rows
                if one["setting"] == setting
            }
            ours, theirs = ([of[name, t] for t in range(3, 9)] for name in ("salcr", "dagl"))
            expected = ttest_rel(ours, theirs).confidence_interval(0.95)
            actual = [line[f"{score}_{name}"] for name in ("low", "high")]
            np.testing.assert_allclose(actual, list(expected), atol=1e-4)
            difference = statistics.mean(ours) - statistics.mean(theirs)
            assert line[f"{score}_difference"] == pytest.approx(difference, abs=1e-4)
            assert line[f"{score}_better"] == sum(np.greater(ours, theirs))
            everything = [of["salcr", trial] for trial in range(1, 9)]
            assert line[f"{score}_mean"] == pytest.approx(statistics.mean(everything), abs=1e-4)
            assert line[f"{score}_std"] == pytest.approx(statistics.stdev(everything), abs=1e-4)


def test_a_start_is_a_seed_and_a_trial() -> None:
    """Trial 1 of seed 5 is not paired with trial 1 of seed 0; a single pair has no interval."""
    rows = [row("salcr", 1), row("salcr", 1, seed=5, rank1=60.0), row("dagl", 1, seed=5)]
    table = study.compare_variants(pd.DataFrame(rows), NOW, {"salcr": ["dagl"]})
    line = line_of(table, "salcr")
    assert (line["starts"], line["pairs"], line["rank1_difference"]) == (2, 1, 10)
    assert pd.isna(line["rank1_low"]) and pd.isna(line_of(table, "dagl")["rank1_std"])


def test_codes_are_told_apart() -> None:
    """A line per code, the present first; pairs are of one code, as far as both have run it."""
    old = {"code": "11+99"}
    rows = [row("salcr", trial, rank1=70.0) for trial in (1, 2)]
    rows += [row("salcr", trial, rank1=60.0, **old) for trial in (1, 2, 3)]
    rows += [row("dagl", trial, rank1=55.0, **old) for trial in (1, 2, 3)]
    rows += [row("one", trial, rank1=40.0) for trial in (1, 2)]
    rows += [row("one", trial, rank1=10.0, code="33") for trial in (1, 2, 3)]
    compared = {"salcr": ["dagl", "one"]}
    table = study.compare_variants(pd.DataFrame(rows), NOW, compared)
    shown = table[["variant", "code", "compared_with", "pairs", "rank1_difference"]]
    assert shown.astype(object).where(shown.notna(), None).to_numpy().tolist() == [
        ["salcr", "11+22", "one", 2, 30.0],
        ["one", "11", None, None, None],
        ["salcr", "11+99", "dagl", 3, 5.0],
        ["salcr", "11+99", "one", 2, 20.0],
        ["dagl", "11+99", None, None, None],
        ["one", "33", None, None, None],
    ]
    assert table["current"].tolist() == [True, True, False, False, False, False]
    text = study.as_markdown(table, [*NOW, "more"])
    assert "| salcr (code 11+99) |" in text and "Not run yet: more." in text
    assert not comparable("11+22", "12") and comparable("11", "11+22")


def test_a_present_line_is_not_compared_with_old_code() -> None:
    """The other variant has run with older code only: the difference waits for its new rows."""
    rows = [row("one", 1, rank1=40.0), row("salcr", 1, rank1=70.0, code="11+99")]
    table = study.compare_variants(pd.DataFrame(rows), NOW, {"one": ["salcr"]})
    assert pd.isna(line_of(table, "one")["compared_with"])


def test_starts_on_other_data_are_not_paired() -> None:
    """Two copies of a data set may hold other images under the same trial."""
    rows = [row("salcr", 1, rank1=70.0, data="eeee"), row("salcr", 2, rank1=60.0)]
    rows += [row("dagl", 1), row("dagl", 2)]
    table = study.compare_variants(pd.DataFrame(rows), NOW, {"salcr": ["dagl"]})
    line = line_of(table, "salcr", SETTINGS[0], "dagl")
    assert (line["starts"], line["pairs"], line["rank1_difference"]) == (2, 1, 10)


def test_a_digest_is_of_the_file_to_start_from(tmp_path: Path) -> None:
    """Other weights under the same name are another start."""
    path = tmp_path / "weights.pth"
    digests = set()
    for content in (b"one", b"other"):
        path.write_bytes(content)
        digests.add(origins(plan(model={"weights": str(path)}), str)["salcr"].config)
    assert len(digests) == 2


def test_a_start_is_finished_when_it_has_every_direction() -> None:
    """A row that was lost in a merge of Git is run again."""
    ours = plan(dataset={"trials": [1]})
    now = origins(ours, str)
    rows = pd.DataFrame(
        [
            row("one", 1, setting, seed=ours.config.seed, **now["one"]._asdict())
            for setting in SETTINGS
        ]
    )
    for number, needed in ((2, ["salcr", "dagl"]), (1, ["salcr", "dagl", "one"])):
        found = needed_starts(ours, rows[:number], now, SETTINGS)
        assert {start[0] for start in found.values()} == set(needed)


def test_rows_of_other_settings_are_kept_and_not_shown(tmp_path: Path) -> None:
    """The file has them, the table does not."""
    merge_rows(tmp_path / "rows.csv", [row("salcr", 1), row("salcr", 1, config="old", rank1=99.0)])
    rows = read_rows(tmp_path / "rows.csv")
    assert len(rows) == 2
    assert line_of(study.compare_variants(rows, NOW, {}), "salcr")["rank1_mean"] == 50


def test_merging_adds_and_replaces(tmp_path: Path) -> None:
    """A start that is there is replaced; words and digests made of digits remain as they are."""
    path = tmp_path / "folder/rows.csv"
    given = [row("salcr", 2, config="00123456", code="12345678+1e100000", commit="", clean="")]
    merge_rows(path, [])
    assert not path.exists() and read_rows(path).empty
    merge_rows(path, given)
    merge_rows(path, [row("dagl", 1), {**row("salcr", 1), "variant": "none"}])
    merge_rows(path, [{**given[0], "rank1": 12.3456}])
    rows = read_rows(path).to_dict("records")
    assert [(one["variant"], one["trial"]) for one in rows] == [
        ("dagl", 1), ("none", 1), ("salcr", 2),
    ]  # fmt: skip
    assert rows[2] == {**given[0], "rank1": 12.3456}


def test_writers_at_the_same_time_lose_no_row(tmp_path: Path) -> None:
    """Eight writers with four starts each: all of them are in the file."""

    def write(number: int) -> None:
        for trial in range(4 * number, 4 * number + 4):
            merge_rows(tmp_path / "rows.csv", [row("salcr", trial + 1)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert read_rows(tmp_path / "rows.csv")["trial"].tolist() == list(range(1, 33))
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("variant,", "name,"),
        ("50.0", "fifty"),
        ("50.0", "123.0"),
        ("50.0", ""),
        ("salcr", ""),
        (",1.5", ""),
        (",1.5", ",nan"),
        ("dagl", "salcr"),
        ("salcr", "<<<<<<< HEAD\nsalcr"),
    ],
)
def test_a_damaged_file_is_refused_and_left(tmp_path: Path, old: str, new: str) -> None:
    """Other columns, no number, no percentage, no name, two rows of a start, a conflict of Git."""
    path = tmp_path / "rows.csv"
    merge_rows(path, [row("salcr", 1), {**row("salcr", 1), "variant": "dagl"}])
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    damaged = path.read_text()
    with pytest.raises(SalcrError, match=f"{path}: .* restore it with Git"):
        merge_rows(path, [row("salcr", 2)])
    assert path.read_text() == damaged


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"compare": {"salcr": "gone"}}, "study.compare: 'gone' is not one of the variants"),
        ({"compare": {"gone": ["salcr"]}}, "study.compare: 'gone' is not one of the variants"),
        ({"compare": {"salcr": ["salcr"]}}, "study.compare: 'salcr' is compared with itself"),
        ({"starts": {"gone": 2}}, "study.starts: 'gone' is not one of the variants"),
        ({"starts": {"salcr": 0}}, "study.starts.salcr"),
    ],
)
def test_wrong_names_of_variants_are_refused(section: dict[str, Any], message: str) -> None:
    """The message names the key and the variant."""
    with pytest.raises(SalcrError) as caught:
        plan(study=section)
    assert message in str(caught.value)


def plan(**overlay: Any) -> Plan:
    """Return the plan of the tiny configuration with an overlay."""
    values = merge(read_yaml(DEFAULT_CONFIG), read_yaml(tiny.TINY_CONFIG))
    return Plan.from_values(merge(merge(values, {"variants": {"one": {"rounds": 0}}}), overlay))


@pytest.mark.parametrize(
    ("overlay", "changed"),
    [
        ({"seed": 4, "compute": {"threads": 3}, "plot": {"dpi": 90}}, set()),
        ({"dataset": {"name": "other", "root": "data/other", "trials": [2]}}, set()),
        ({"synthesize": {"num_trials": 9}, "evaluate": {"rerank": ["aim"], "aim_k1": 3}}, set()),
        ({"variants": {"more": {}}, "evaluate_every": 9}, set()),
        ({"gpcr": {"k": 5}, "train": {"iterations": 4}}, {"salcr", "dagl"}),
        ({"variants": {"dagl": {"gpcr": {"k": 5}}}}, {"dagl"}),
        ({"rounds": 2}, {"salcr", "dagl"}),
        ({"clustering": {"eps": 0.6}}, {"salcr", "dagl", "one"}),
        ({"synthesize": {"hardness": 0.9}}, {"salcr", "dagl", "one"}),
        ({"dataset": {"synthetic": False}}, {"salcr", "dagl", "one"}),
    ],
)
def test_a_digest_is_of_the_settings_that_a_result_depends_on(
    overlay: dict[str, Any], changed: set[str]
) -> None:
    """Not of names, seed, and compute; stage one alone does not depend on those of stage two."""
    before, after = (origins(one, str) for one in (plan(), plan(**overlay)))
    assert {name for name in before if before[name].config != after[name].config} == changed
    assert len({origin.config for origin in before.values()}) == 3


@pytest.mark.parametrize(
    ("stage", "changed"),
    [
        ("pretrain", {"salcr", "dagl", "one"}),
        ("evaluate", {"salcr", "dagl", "one"}),
        ("synthesize", {"salcr", "dagl", "one"}),
        ("train", {"salcr", "dagl"}),
        ("associate", {"salcr", "dagl"}),
        ("label_quality", set()),
    ],
)
def test_a_digest_is_of_the_code_that_ran(stage: str, changed: set[str]) -> None:
    """Edited code of a stage concerns the variants that run it; stage one's part comes first."""
    before = origins(plan(), str)
    after = origins(plan(), lambda name: f"{name} edited" if name == stage else name)
    assert {name for name in before if before[name].code != after[name].code} == changed
    assert after["salcr"].code.partition("+")[0] == after["one"].code


def test_each_variant_has_its_number_of_starts() -> None:
    """The first trials, in the order of the configuration; those not named have all."""
    starts = plan(study={"starts": {"dagl": 1, "one": 7}}).study_starts()
    assert starts == [("salcr", 1), ("salcr", 2), ("dagl", 1), ("one", 1), ("one", 2)]


def test_more_starts_than_trials_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A study of the first trials alone is planned, and says which starts it leaves out."""
    ours = plan(study={"starts": {"dagl": 1, "one": 7}})
    needed_starts(ours, read_rows(Path("missing.csv")), origins(ours, str), SETTINGS)
    said = "study.starts: more than the 2 of dataset.trials (one: 7)"
    assert capsys.readouterr().err.count(said) == 1
    needed_starts(plan(), read_rows(Path("missing.csv")), origins(plan(), str), SETTINGS)
    assert capsys.readouterr().err == ""


def test_variants_are_in_the_order_of_their_comparisons() -> None:
    """Those that are not compared come first; the configuration itself sorts them by name."""
    ours = plan(study={"compare": {"one": "dagl", "dagl": ["salcr"]}}, variants={"a": {}})
    assert list(origins(ours, str)) == ["a", "salcr", "one", "dagl"]


def test_the_table_in_words(rng: np.random.Generator) -> None:
    """A line as it is printed: means, the difference with its interval, and the better starts."""
    rows = [row("salcr", trial, rank1=52.0 + trial, map=38.0) for trial in (1, 2, 3)]
    rows += [row("dagl", trial) for trial in (1, 2, 3)]
    table = study.compare_variants(pd.DataFrame(rows), NOW, {"salcr": ["dagl"]})
    text = study.as_markdown(table, ["salcr", "dagl"])
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    # 4 +- t(0.975, 2) / sqrt(3), with the tabulated quantile 4.303
    assert ["salcr", "3", "54.0 ± 1.0", "38.0 ± 0.0", "dagl", "3", "+4.0 [+1.5, +6.5]", "3",
            "−2.0 [−2.0, −2.0]", "0"] in cells  # fmt: skip
    assert "**visible to thermal**" in text and "Not run yet" not in text
    latex = study.as_latex(table, ["salcr", "dagl"])
    assert r"salcr & 3 & 54.0 $\pm$ 1.0 &" in latex and latex.isascii()
    empty = study.compare_variants(read_rows(Path("missing.csv")), NOW, {})
    assert study.as_markdown(empty, list(NOW)) == "Not run yet.\n"


def test_the_figure_has_a_point_per_comparison_and_direction(rng: np.random.Generator) -> None:
    """Points are the differences and bars the intervals; without a pair the figure says so."""
    rows = random_rows(rng, "salcr", range(1, 5)) + random_rows(rng, "dagl", range(1, 5))
    table = study.compare_variants(pd.DataFrame(rows), NOW, {"salcr": ["dagl"]})
    figure = plot_differences(table)
    for axes, score in zip(figure.axes, ("rank1", "map"), strict=True):
        for bars, setting in zip(axes.containers, SETTINGS, strict=True):
            line = line_of(table, "salcr", setting, "dagl")
            assert bars.lines[0].get_xdata().tolist() == [line[f"{score}_difference"]]
            (ends,) = bars.lines[2][0].get_segments()
            expected = [line[f"{score}_low"], line[f"{score}_high"]]
            np.testing.assert_allclose(ends[:, 0], expected, atol=1e-3)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["salcr − dagl"]
    alone = plot_differences(study.compare_variants(pd.DataFrame(rows), NOW, {}))
    assert "no two variants" in alone.get_suptitle()
    plt.close("all")


def test_a_page_keeps_what_is_outside_the_marks() -> None:
    """The text between them is replaced, again and again; without them the page is refused."""
    begin, end = "<!-- gate table -->", "<!-- end of gate table -->"
    other = "<!-- study table -->\nkept\n<!-- end of study table -->\n"
    page = f"# Title\n\n{begin}\nold\n{end}\n\n{other}"
    once = study.replace_section(page, "new\n", "gate")
    assert once == f"# Title\n\n{begin}\n\nnew\n\n{end}\n\n{other}"
    assert study.replace_section(once, "new", "gate") == once
    for broken in ("", other, page.replace(end, ""), page + page, f"{end} {begin}"):
        with pytest.raises(SalcrError, match="gate table"):
            study.replace_section(broken, "new", "gate")
