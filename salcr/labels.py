"""The label file of a round, as `associate` writes it; `train` and `assess` read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from salcr import files
from salcr.arrays import Association, Integers
from salcr.data import MODALITIES
from salcr.errors import SalcrError

COLUMNS = ["trial", "modality", "position", "cluster", "visible_space", "infrared_space"]


def write_labels(
    path: Path, labels: Association, clusters: dict[str, Integers], *, trial: int
) -> None:
    """Write one line an image: its DBSCAN cluster and its labels in both spaces, -1 for none."""
    spaces = {
        "visible": (labels.visible, labels.visible_to_infrared),
        "infrared": (labels.infrared_to_visible, labels.infrared),
    }
    tables = [
        pd.DataFrame(
            {
                "trial": trial,
                "modality": modality,
                "position": np.arange(len(clusters[modality])),
                "cluster": clusters[modality],
                "visible_space": spaces[modality][0],
                "infrared_space": spaces[modality][1],
            }
        )
        for modality in MODALITIES
    ]
    files.write_table(path, pd.concat(tables))


def read_labels(
    path: Path, sizes: dict[str, int], *, trial: int
) -> tuple[Association, dict[str, Integers]]:
    """Return the labels and, by modality, the clusters of the training images.

    Args:
        path: file that `write_labels` wrote.
        sizes: modality -> how many training images the trial has.
        trial: whose labels are wanted.

    Raises:
        SalcrError: the file is damaged, of another trial, or labels another number of images.
    """
    table = files.read_table(path, COLUMNS)
    if set(table["trial"]) != {trial}:
        raise SalcrError(f"{path}: holds no labels of trial {trial}; run associate for it")
    columns: dict[str, dict[str, Integers]] = {}
    for modality in MODALITIES:
        lines = table[table["modality"] == modality]
        if len(lines) != sizes[modality]:
            raise SalcrError(
                f"{path}: labels {len(lines)} {modality} images, the split has {sizes[modality]}; "
                "delete it and run snakemake again"
            )
        columns[modality] = {name: lines[name].to_numpy(np.int64) for name in COLUMNS[3:]}
    visible, infrared = columns["visible"], columns["infrared"]
    labels = Association(
        visible=visible["visible_space"],
        visible_to_infrared=visible["infrared_space"],
        infrared=infrared["infrared_space"],
        infrared_to_visible=infrared["visible_space"],
    )
    return labels, {"visible": visible["cluster"], "infrared": infrared["cluster"]}
