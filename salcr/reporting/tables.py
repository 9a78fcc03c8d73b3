"""The paper's tables as text: csv, Markdown and LaTeX of the same lines."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

SCORES = {
    "rank1": "rank-1",
    "map": "mAP",
    "minp": "mINP",
    "seconds": "seconds",
    "parameters": "parameters (M)",
    "macs": "GMac",
}
NOT_RUN, NOT_PUBLISHED = "not run", "—"
_SETTINGS = {
    "all": "all search, single-shot",
    "indoor": "indoor search, single-shot",
    "all multi-shot": "all search, multi-shot",
    "indoor multi-shot": "indoor search, multi-shot",
    "visible-to-thermal": "visible to thermal",
    "thermal-to-visible": "thermal to visible",
    "trial 1 visible-to-thermal": "trial 1, visible to thermal",
}
_NAMES = {"lambda": "λ", "k_train": "k", "k_test": "k"}
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "−": "$-$", "λ": r"$\lambda$", "—": "---", "×": r"$\times$",
}  # fmt: skip


class Score(NamedTuple):
    """One score of one row: ours and the published one, each where there is one."""

    mean: float | None = None
    std: float | None = None
    published: float | None = None
    trials: int = 0
    """Or drawn galleries, over which mean and std are."""


class Line(NamedTuple):
    """One row of a table in one setting of one data set."""

    row: str
    dataset: str
    setting: str
    variant: str | None
    """Ours; None where nothing of ours was run."""
    scores: dict[str, Score]


class Sheet(NamedTuple):
    """A table that is ready to be written."""

    name: str
    heading: str
    title: str
    notes: Sequence[str]
    scores: Sequence[str]
    """Those that it shows, by their key in SCORES."""
    lines: Sequence[Line]
    compares: bool
    """Are ours of the published images, so that a difference says something?"""


def as_csv(sheet: Sheet) -> pd.DataFrame:
    """Return a line per row, setting and score, each number in a column of its own."""
    found = []
    for line in sheet.lines:
        for name in sheet.scores:
            score = line.scores[name]
            found.append(
                {
                    "table": sheet.heading,
                    "row": line.row,
                    "dataset": line.dataset,
                    "setting": line.setting,
                    "score": name,
                    "status": NOT_RUN if score.mean is None else "run",
                    "variant": line.variant,
                    "num_trials": score.trials,
                    "ours_mean": _rounded(score.mean),
                    "ours_std": _rounded(score.std),
                    "published": score.published,
                    "difference": _rounded(_difference(sheet, score)),
                }
            )
    return pd.DataFrame(found)


def as_markdown(sheet: Sheet) -> str:
    """Return a heading, the first note, a GitHub table for each setting, the other notes."""
    parts = [f"## {sheet.heading}. {sheet.title}", sheet.notes[0]]
    for place, lines in _panels(sheet):
        rows = [["", *_titles(sheet)], [":--", *["--:"] * len(_titles(sheet))]]
        rows += [[_label(line.row), *_cells(sheet, line)] for line in lines]
        table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        parts += [f"**{place}**", table] if place else [table]
    parts.append("\n".join(f"- {note}" for note in sheet.notes[1:]))
    return "\n\n".join(parts) + "\n"


def as_latex(sheet: Sheet) -> str:
    """Return a table environment, for a document that loads booktabs."""
    columns = len(_titles(sheet)) + 1
    body = [r"\toprule", _latex_row(["", *_titles(sheet)])]
    for place, lines in _panels(sheet):
        body.append(r"\midrule")
        if place:
            title = rf"\multicolumn{{{columns}}}{{l}}{{\emph{{{escaped(place)}}}}} \\"
            body += [title, r"\midrule"]
        body += [_latex_row([_label(line.row), *_cells(sheet, line)]) for line in lines]
    body.append(r"\bottomrule")
    notes = " ".join(escaped(note.replace("**", "").replace("`", "")) for note in sheet.notes)
    return "\n".join(
        [
            r"\begin{table}[htbp]",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{sheet.heading} of the paper: {escaped(sheet.title)}. {notes}}}",
            rf"\label{{tab:salcr-{sheet.name}}}",
            rf"\begin{{tabular}}{{l{'r' * (columns - 1)}}}",
            *body,
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def document(names: Sequence[str]) -> str:
    """Return a LaTeX document that holds the tables of these names."""
    inputs = [line for name in names for line in (rf"\input{{{name}}}", r"\clearpage")]
    return "\n".join(
        [
            r"\documentclass{article}",
            r"\usepackage[T1]{fontenc}",
            r"\usepackage{booktabs}",
            r"\usepackage[a4paper,margin=15mm]{geometry}",
            r"\begin{document}",
            *inputs,
            r"\end{document}",
            "",
        ]
    )


def escaped(text: str) -> str:
    """Return the text with what means something to LaTeX taken by its word."""
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _panels(sheet: Sheet) -> list[tuple[str, list[Line]]]:
    """Return the lines by data set and setting, each with its title."""
    panels: dict[str, list[Line]] = {}
    for line in sheet.lines:
        words = [line.dataset, _SETTINGS.get(line.setting, line.setting)]
        panels.setdefault(", ".join(filter(None, words)), []).append(line)
    return list(panels.items())


def _titles(sheet: Sheet) -> list[str]:
    titles = []
    for name in sheet.scores:
        titles.append(f"{SCORES[name]}: ours")
        if _is_published(sheet, name):
            titles += ["published", "difference"][: 1 + sheet.compares]
    return titles


def _cells(sheet: Sheet, line: Line) -> list[str]:
    cells = []
    for name in sheet.scores:
        score = line.scores[name]
        cells.append(_ours(score, digits=4 if name == "seconds" else 2))
        if _is_published(sheet, name):
            cells.append(NOT_PUBLISHED if score.published is None else f"{score.published:.2f}")
            if sheet.compares:
                difference = _difference(sheet, score)
                cells.append("" if difference is None else f"{difference:+.2f}".replace("-", "−"))
    return cells


def _ours(score: Score, *, digits: int) -> str:
    if score.mean is None:
        return NOT_RUN
    mean = f"{score.mean:.{digits}f}"
    return mean if score.std is None else f"{mean} ± {score.std:.{digits}f}"


def _difference(sheet: Sheet, score: Score) -> float | None:
    if not sheet.compares or score.mean is None or score.published is None:
        return None
    return score.mean - score.published


def _is_published(sheet: Sheet, name: str) -> bool:
    return any(line.scores[name].published is not None for line in sheet.lines)


def _label(row: str) -> str:
    """Return a row's name to read, such as "k = 8" for "k_train=8"."""
    if match := re.fullmatch(r"(\w+)=(\S+)", row):
        return f"{_NAMES.get(match[1], match[1])} = {match[2]}"
    return row


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(escaped(cell) for cell in cells) + r" \\"


def _rounded(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, 4)
