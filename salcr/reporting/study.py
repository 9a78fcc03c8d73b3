"""A study's table: what each variant reaches, and its paired differences from others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from scipy.special import stdtrit

from salcr.errors import SalcrError
from salcr.reporting import tables
from salcr.reporting.starts import START, Origin, comparable

SCORES = {"rank1": "rank-1", "map": "mAP"}
_CONFIDENCE = 0.95
_COLUMNS = [
    "variant", "setting", "code", "current", "starts",
    *(f"{score}_{name}" for score in SCORES for name in ("mean", "std")),
    "compared_with", "pairs",
    *(f"{score}_{name}" for score in SCORES for name in ("difference", "low", "high", "better")),
]  # fmt: skip


def compare_variants(
    rows: pd.DataFrame, now: Mapping[str, Origin], compared: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """Return a line per variant, code, direction, and comparison; those of the present code first.

    Args:
        rows: finished starts. Those of other settings than the present ones are left out.
        now: variant -> its present settings and code.
        compared: variant -> variants that it is compared with, over the starts that both have
            with comparable code.

    Returns:
        Number of starts, mean and sample standard deviation of each score; of the paired
        differences their number, mean, 95 % interval (Student's t), and how many are positive.
        Percent; empty where there are too few starts.
    """
    present = rows["variant"].map({name: origin.config for name, origin in now.items()})
    rows = rows[rows["config"] == present]
    lines = []
    for name in now:
        mine = rows[rows["variant"] == name]
        for (code, setting), group in mine.groupby(["code", "setting"], sort=False):
            current = code == now[name].code
            head = {
                "variant": name, "setting": setting, "code": code, "starts": len(group),
                "current": current, **_spread(group),
            }  # fmt: skip
            others = {
                other: _others(rows, now[other], other, str(setting), str(code), current=current)
                for other in compared.get(name, [])
            }
            found = [
                {**head, "compared_with": other, **pair_differences(group, theirs)}
                for other, theirs in others.items()
                if len(theirs)
            ]
            lines += found or [head]
    table = pd.DataFrame(lines, columns=_COLUMNS).round(4)
    counts = ["starts", "pairs", *(f"{score}_better" for score in SCORES)]
    table = table.astype(dict.fromkeys(counts, "Int64"))
    return table.sort_values("current", ascending=False, kind="stable").reset_index(drop=True)


def pair_differences(ours: pd.DataFrame, theirs: pd.DataFrame) -> dict[str, Any]:
    """Return the paired differences of two variants' rows in one setting.

    Returns:
        pairs, and for each score difference, low, high, and better, as `compare_variants` has them.
    """
    pairs = ours.merge(theirs, on=[*START, "data"], suffixes=("", "_theirs"))
    values: dict[str, Any] = {"pairs": len(pairs)}
    for score in SCORES:
        differences = pairs[score] - pairs[f"{score}_theirs"]
        values[f"{score}_difference"] = mean = differences.mean()
        values[f"{score}_better"] = int((differences > 0).sum())
        if len(pairs) > 1:
            quantile = stdtrit(len(pairs) - 1, (1 + _CONFIDENCE) / 2)
            half = quantile * differences.std() / math.sqrt(len(pairs))
            values[f"{score}_low"], values[f"{score}_high"] = mean - half, mean + half
    return values


def as_markdown(table: pd.DataFrame, planned: Sequence[str]) -> str:
    """Return what the table is, and a GitHub table for each direction.

    Args:
        table: see `compare_variants`.
        planned: all variants of the study.
    """
    if table.empty:
        return "Not run yet.\n"
    return "\n\n".join([*tables.markdown_panels(_panels(table)), *_notes(table, planned)]) + "\n"


def as_latex(table: pd.DataFrame, planned: Sequence[str]) -> str:
    """Return a table environment of the same content, for a document that loads booktabs."""
    return tables.latex_table(" ".join(_notes(table, planned)), "salcr-study", _panels(table))


def marks(table: str) -> tuple[str, str]:
    """Return the lines of a page between which a study's table is, by the table's name."""
    return f"<!-- {table} table -->", f"<!-- end of {table} table -->"


def replace_section(page: str, content: str, table: str) -> str:
    """Return the text of a page with other content between the marks of a study's table.

    Args:
        page: the whole text.
        content: to write there.
        table: name of the table in the page.

    Raises:
        SalcrError: the page does not hold each mark once, in order.
    """
    first, last = marks(table)
    before, begin, rest = page.partition(first)
    _, end, after = rest.partition(last)
    if not (begin and end) or first in rest or last in after:
        raise SalcrError(f"needs the lines `{first}` and `{last}` once each, in this order")
    return f"{before}{first}\n\n{content.strip()}\n\n{last}{after}"


def line_name(line: Mapping[Any, Any]) -> str:
    """Return the name of a line's variant, with its code where that is not the present one."""
    return str(line["variant"]) if line["current"] else f"{line['variant']} (code {line['code']})"


def _spread(group: pd.DataFrame) -> dict[str, float]:
    return {
        f"{score}_{statistic}": group[score].agg(statistic)
        for score in SCORES
        for statistic in ("mean", "std")
    }


def _others(
    rows: pd.DataFrame, now: Origin, name: str, setting: str, code: str, *, current: bool
) -> pd.DataFrame:
    """Return a variant's rows of the comparable code that has the most, the present one first.

    A line of the present code is compared with the present code alone.
    """
    theirs = rows[(rows["variant"] == name) & (rows["setting"] == setting)]
    counts = theirs["code"].value_counts()
    codes = [one for one in counts.index if comparable(code, one)]
    if current or now.code in codes:
        codes = [now.code]
    return theirs[theirs["code"].isin(codes[:1])]


def _panels(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the title and the cells of each direction."""
    columns = ["", "starts", *SCORES.values(), "compared with", "pairs"]
    for title in SCORES.values():
        columns += [f"{title}: difference", "better"]
    for setting, lines in table.groupby("setting", sort=False):
        cells, last = [], ""
        for line in lines.to_dict("records"):
            name = line_name(line)
            means = [_with_deviation(line, score) for score in SCORES]
            head = [name, str(line["starts"]), *means] if name != last else [""] * 4
            cells.append([*head, *_comparison(line)])
            last = name
        yield tables.setting_title(str(setting)), pd.DataFrame(cells, columns=columns)


def _with_deviation(line: Mapping[Any, Any], score: str) -> str:
    mean, std = line[f"{score}_mean"], line[f"{score}_std"]
    return f"{mean:.1f}" if pd.isna(std) else f"{mean:.1f} ± {std:.1f}"


def _comparison(line: Mapping[Any, Any]) -> list[str]:
    if pd.isna(line["compared_with"]):
        return [""] * (2 + 2 * len(SCORES))
    cells = [line["compared_with"], str(line["pairs"])]
    for score in SCORES:
        difference, low, high = (line[f"{score}_{name}"] for name in ("difference", "low", "high"))
        text = "" if pd.isna(difference) else _signed(difference)
        if not pd.isna(low):
            text += f" [{_signed(low)}, {_signed(high)}]"
        cells += [text, str(line[f"{score}_better"])]
    return cells


def _signed(value: float) -> str:
    return f"{round(value, 1) + 0:+.1f}".replace("-", "−")  # + 0: there is no −0.0


def _notes(table: pd.DataFrame, planned: Sequence[str]) -> list[str]:
    """Return what a reader of the table has to know."""
    notes = [
        "In percent: mean ± standard deviation over starts. A start is a seed and a trial. A "
        "difference is the mean over the starts that both variants have, with its 95 % interval "
        "(Student's t of the paired differences); better: how many of these starts it improves."
    ]
    if missing := [name for name in planned if name not in set(table["variant"])]:
        notes.append(f"Not run yet: {', '.join(missing)}.")
    if not table["current"].all():
        notes.append("Lines with a code were made by another version of the program.")
    return notes
