"""The label file of a round, as `associate` writes it; `train` and `label_quality` read it.

A column holds a checksum of the content and of the hash of the data set, so that neither a damaged
file nor the labels of another data set are used.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from salcr import files
from salcr.errors import SalcrError
from salcr.types import MODALITIES, Integers, PseudoLabels

COLUMNS = ["trial", "modality", "position", "cluster", "visible_space", "infrared_space"]
_CHECKSUM = "checksum"


def write_labels(
    path: Path,
    labels: PseudoLabels[Integers],
    clusters: dict[str, Integers],
    *,
    trial: int,
    data_hash: str,
) -> None:
    """Write one line per image: its DBSCAN cluster and its labels in both spaces, -1 for none.

    Args:
        path: CSV file to write.
        labels: of the training images of both modalities.
        clusters: modality -> [N] DBSCAN labels.
        trial: number of the split.
        data_hash: of the stored data set.
    """
    tables = [
        pd.DataFrame(
            {
                "trial": trial,
                "modality": modality,
                "position": np.arange(len(clusters[modality])),
                "cluster": clusters[modality],
                "visible_space": labels.of(modality, "visible"),
                "infrared_space": labels.of(modality, "infrared"),
            }
        )
        for modality in MODALITIES
    ]
    table = pd.concat(tables)
    files.write_table(path, table.assign(**{_CHECKSUM: _crc32(table, data_hash)}))


def read_labels(
    path: Path, *, trial: int, sizes: dict[str, int], data_hash: str
) -> tuple[PseudoLabels[Integers], dict[str, Integers]]:
    """Return the labels and, by modality, the clusters of the training images.

    Args:
        path: file that `write_labels` wrote.
        trial: number of the split.
        sizes: modality -> number of the trial's training images.
        data_hash: of the stored data set.

    Raises:
        SalcrError: the file is damaged, or of another trial or data set.
    """
    table = files.read_columns(path, [*COLUMNS, _CHECKSUM])
    if set(table["trial"]) != {trial}:
        raise SalcrError(f"{path}: does not hold labels of trial {trial}; run associate for it")
    lines = {modality: table[table["modality"] == modality] for modality in MODALITIES}
    for modality, size in sizes.items():
        if len(lines[modality]) != size:
            raise SalcrError(
                f"{path}: labels {len(lines[modality])} {modality} images, the split has {size}; "
                f"{files.RERUN_HINT}"
            )
    if set(table[_CHECKSUM]) != {_crc32(table[COLUMNS], data_hash)}:
        raise SalcrError(f"{path}: is damaged or of another data set; {files.RERUN_HINT}")
    columns: dict[str, dict[str, Integers]] = {
        modality: {name: lines[modality][name].to_numpy(np.int64) for name in COLUMNS[3:]}
        for modality in MODALITIES
    }
    visible, infrared = columns["visible"], columns["infrared"]
    labels = PseudoLabels(
        visible=visible["visible_space"],
        visible_to_infrared=visible["infrared_space"],
        infrared=infrared["infrared_space"],
        infrared_to_visible=infrared["visible_space"],
    )
    return labels, {"visible": visible["cluster"], "infrared": infrared["cluster"]}


def _crc32(table: pd.DataFrame, data_hash: str) -> str:
    # The letter prevents that a CSV reader takes the digits for a number.
    return "x" + files.text_crc32(data_hash + table.to_csv(index=False, lineterminator="\n"))
