"""Every module against reference values in the format of tests/golden/README.md.

Each check yields comparisons; nothing here judges or prints them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from salcr.evaluation import metrics, reranking
from salcr.pseudo_labels import association, clustering, propagation
from salcr.pseudo_labels.sinkhorn import sinkhorn
from salcr.verification.comparison import Arrays, Comparison
from salcr.verification.training import memory, network, stage_two_losses


def jaccard(data: Arrays, folder: Path, device: torch.device) -> Iterator[Comparison]:
    """Compare distances and both DBSCAN partitions."""
    found = clustering.jaccard_distance(data["features"], k1=int(data["k1"]), k2=int(data["k2"]))
    pairs = found.tocoo()
    distance = np.ones(found.shape, np.float32)
    distance[pairs.row, pairs.col] = pairs.data
    yield Comparison("distance", distance, data["distance"])
    # The partitions are of the file's own distances: k2 neighbors leave few values, one may lie on
    # eps (k2 = 6 on 0.5, k2 = 4 on 0.4), and there rounding would decide.
    rows, columns = np.nonzero(data["distance"] < 1)
    given = sparse.csr_matrix((data["distance"][rows, columns], (rows, columns)), found.shape)
    for eps in data["dbscan_eps"]:
        name = f"labels_eps{eps:g}".replace(".", "")
        labels = clustering.dbscan(
            given, eps=float(eps), min_samples=int(data["dbscan_min_samples"])
        )
        yield Comparison(name, _partition(labels), _partition(data[name]), 0)


def transport(data: Arrays, folder: Path, device: torch.device) -> Iterator[Comparison]:
    """Compare the plan."""
    plan = sinkhorn(data["cost"], strength=float(data["reg_lambda"]))
    # Entries of a plan are far below the absolute tolerance: compare shares of their row.
    size = len(plan)
    yield Comparison("plan x N", plan * size, data["plan"] * size)


def cmfp(data: Arrays, folder: Path, device: torch.device) -> Iterator[Comparison]:
    """Compare propagated features."""
    mixed = propagation.propagate(data["visible"], data["infrared"], k=int(data["k"]))
    yield Comparison("propagated", np.concatenate(mixed), data["propagated"])


def associate(data: Arrays, folder: Path, device: torch.device) -> Iterator[Comparison]:
    """Compare the labels in four roles, with and without CMFP."""
    for prefix, k in (("cmfp", int(data["k"])), ("plain", None)):
        found = association.associate(
            data["visible"],
            data["infrared"],
            data["visible_cluster"],
            data["infrared_cluster"],
            cmfp_k=k,
            strength=float(data["reg_lambda"]),
            relabel_own_modality=True,
        )
        for role, labels in found._asdict().items():
            yield Comparison(f"{prefix}_{role}", labels, data[f"{prefix}_{role}"], 0)


def other_associations(data: Arrays, folder: Path, device: torch.device) -> Iterator[Comparison]:
    """Compare the labels of PGM and MBCCM."""
    methods: tuple[association.Method, ...] = ("pgm", "mbccm")
    for method in methods:
        found = association.associate(
            data["visible"],
            data["infrared"],
            data["visible_cluster"],
            data["infrared_cluster"],
            cmfp_k=None,
            strength=5.0,
            relabel_own_modality=False,
            method=method,
        )
        for role in ("visible_to_infrared", "infrared_to_visible"):
            yield Comparison(f"{method}_{role}", getattr(found, role), data[f"{method}_{role}"], 0)


def retrieval(data: Arrays, folder: Path, device: torch.device) -> Iterator[Comparison]:
    """Compare CMC, mAP and mINP under the rules of the three data sets."""
    query, gallery = data["query_id"], data["gallery_id"]
    same_camera = data["llcm_query_camera"][:, None] == data["gallery_camera"]
    hidden = {
        "regdb": None,
        "sysu": (data["query_camera"][:, None] == 3) & (data["gallery_camera"] == 2),
        "llcm": same_camera & (query[:, None] == gallery),
    }
    for rules, excluded in hidden.items():
        found = metrics.retrieval_metrics(
            data["distance"],
            query,
            gallery,
            excluded=excluded,
            identity_once=excluded is not None,
            num_ranks=len(data[f"{rules}_cmc"]),
        )
        yield Comparison(f"{rules}_cmc", found.cmc, data[f"{rules}_cmc"])
        for name in ("map", "minp"):
            yield Comparison(
                f"{rules}_{name}", np.asarray(getattr(found, name)), data[f"{rules}_{name}"]
            )


def rerankings(data: Arrays, folder: Path, device: torch.device) -> Iterator[Comparison]:
    """Compare AIM of visible queries and CMRR of infrared ones."""
    visible, infrared = data["visible"], data["infrared"]
    for name, expected in data.items():
        if name.startswith("aim_k1_"):
            k1, k2 = int(name.split("_")[2]), int(name.split("_")[4])
            yield Comparison(name, reranking.aim(visible, infrared, k1=k1, k2=k2), expected)
        elif name.startswith("cmrr_infrared_query_k"):
            k, _, eta = name.removeprefix("cmrr_infrared_query_k").partition("_eta")
            distance = reranking.cmrr(
                infrared, visible, k=int(k), eta=float(f"{eta[:1]}.{eta[1:]}")
            )
            yield Comparison(name, distance, expected, 5e-3)


CHECKS: dict[str, Callable[[Arrays, Path, torch.device], Iterator[Comparison]]] = {
    "jaccard": jaccard,
    "sinkhorn": transport,
    "cmfp": cmfp,
    "association": associate,
    "other_associations": other_associations,
    "memory": memory,
    "losses": stage_two_losses,
    "metrics": retrieval,
    "rerank": rerankings,
    "network": network,
}
"""Name of a file in the golden folder -> its check."""


def _partition(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return labels renumbered by their first appearance, -1 kept."""
    names: dict[int, int] = {-1: -1}
    return np.array([names.setdefault(int(label), len(names) - 1) for label in labels])
