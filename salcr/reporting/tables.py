"""The paper's tables as text: csv, Markdown and LaTeX of the same lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
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
_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "−": "$-$", "λ": r"$\lambda$", "—": "---", "×": r"$\times$",
})  # fmt: skip
_DOCUMENT = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage{booktabs}
\usepackage[a4paper,margin=15mm]{geometry}
\begin{document}
%s
\end{document}
"""


class Score(NamedTuple):
    """One score of one row: ours and the published one, each where there is one."""

    mean: float | None = None
    std: float | None = None
    published: float | None = None
    num_trials: int = 0
    """Or galleries, over which mean and std are."""


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
    """Return a line per row, setting and score, each number in a separate column."""
    return pd.DataFrame(
        {
            "table": sheet.heading,
            "row": line.row,
            "dataset": line.dataset,
            "setting": line.setting,
            "score": name,
            "status": NOT_RUN if score.mean is None else "run",
            "variant": line.variant,
            "num_trials": score.num_trials,
            "ours_mean": _rounded(score.mean),
            "ours_std": _rounded(score.std),
            "published": score.published,
            "difference": _rounded(_difference(sheet, score)),
        }
        for line in sheet.lines
        for name in sheet.scores
        for score in [line.scores[name]]
    )


def as_markdown(sheet: Sheet) -> str:
    """Return a heading, the first note, a GitHub table for each setting, the other notes."""
    panels = markdown_panels(_panels(sheet))
    notes = "\n".join(f"- {note}" for note in sheet.notes[1:])
    heading = f"## {sheet.heading}. {sheet.title}"
    return "\n\n".join([heading, sheet.notes[0], *panels, notes]) + "\n"


def as_latex(sheet: Sheet) -> str:
    """Return a table environment, for a document that loads booktabs."""
    notes = " ".join(note.replace("**", "").replace("`", "") for note in sheet.notes)
    caption = f"{sheet.heading} of the paper: {sheet.title}. {notes}"
    return latex_table(caption, f"salcr-{sheet.name}", _panels(sheet))


def markdown_panels(panels: Iterable[tuple[str, pd.DataFrame]]) -> list[str]:
    """Return the parts of a text: the title of each panel, if it has one, and its GitHub table."""
    parts = []
    for title, cells in panels:
        aligned = ["left", *["right"] * (len(cells.columns) - 1)]
        table = cells.to_markdown(index=False, disable_numparse=True, colalign=aligned)
        parts += [f"**{title}**", table] if title else [table]
    return parts


def latex_table(caption: str, label: str, panels: Iterable[tuple[str, pd.DataFrame]]) -> str:
    """Return a table environment with these panels, for a document that loads booktabs."""
    parts = [
        r"\begin{table}[htbp]",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{escape_latex(caption)}}}",
        rf"\label{{tab:{label}}}",
    ]
    for title, cells in panels:
        table = cells.map(escape_latex).rename(columns=escape_latex)
        if title:
            table = pd.concat({escape_latex(title): table}, axis="columns")
        columns = "l" + "r" * (len(table.columns) - 1)
        text = table.to_latex(
            index=False, escape=False, column_format=columns, multicolumn_format="l"
        )
        parts += [r"\medskip", text]
    return "\n".join([*parts, r"\end{table}", ""])


def document(names: Sequence[str]) -> str:
    """Return a LaTeX document that holds the tables of these names."""
    return _DOCUMENT % "\n".join(rf"\input{{{name}}}\clearpage" for name in names)


def escape_latex(text: str) -> str:
    """Return plain text as LaTeX, in ASCII."""
    return text.translate(_LATEX)


def setting_title(setting: str) -> str:
    """Return a direction or kind of search in words."""
    return _SETTINGS.get(setting, setting)


def _panels(sheet: Sheet) -> list[tuple[str, pd.DataFrame]]:
    """Return the cells as text, a frame for each data set and setting, each with its title."""
    columns = ["", *_titles(sheet)]
    panels: dict[str, list[list[str]]] = {}
    for line in sheet.lines:
        words = [line.dataset, setting_title(line.setting)]
        row = [_label(line.row), *_cells(sheet, line)]
        panels.setdefault(", ".join(filter(None, words)), []).append(row)
    return [(title, pd.DataFrame(rows, columns=columns)) for title, rows in panels.items()]


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


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
