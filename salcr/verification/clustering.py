"""Compare clustering, association, metrics and re-rankings with reference values.

The format of the values is described in golden/README.md. Each check yields comparisons, which the
caller evaluates. The device computes all that a job computes on it: the searches of neighbors,
memories, losses and the network. Other steps of clustering and the metrics are computed on the CPU.
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
from salcr.pseudo_labels.neighbors import nearest_within
from salcr.pseudo_labels.sinkhorn import sinkhorn
from salcr.types import Floats
from salcr.verification.comparison import Arrays, Comparison
from salcr.verification.stage_one import stage_one
from salcr.verification.training import memory, network, stage_two_losses


def jaccard(data: Arrays, folder: Path, device: torch.device) -> Iterator[Comparison]:
    """Compare Jaccard distances and the DBSCAN partitions."""
    k1, k2 = int(data["k1"]), int(data["k2"])
    (features,) = _on(device, data["features"])
    neighbors = nearest_within(features, k1).indices
    stored = clustering.jaccard_distance(data["features"], k1=k1, k2=k2, neighbors=neighbors)
    pairs = stored.tocoo()
    distance = np.ones(stored.shape, np.float32)
    distance[pairs.row, pairs.col] = pairs.data
    yield Comparison("distance", distance, data["distance"])
    # The partitions are computed from the reference distances: averages over k2 neighbors have few
    # values, and one may equal eps (k2 = 6: 0.5, k2 = 4: 0.4), where rounding would decide.
    rows, columns = np.nonzero(data["distance"] < 1)
    reference = sparse.csr_matrix((data["distance"][rows, columns], (rows, columns)), stored.shape)
    for eps in data["dbscan_eps"]:
        name = f"labels_eps{eps:g}".replace(".", "")
        labels = clustering.dbscan(
            reference, eps=float(eps), min_samples=int(data["dbscan_min_samples"])
        )
        yield Comparison(name, _partition(labels), _partition(data[name]), 0)


def transport(data: Arrays, folder: Path, device: torch.device) -> Iterator[Comparison]:
    """Compare the transport plan."""
    plan = sinkhorn(data["cost"], strength=float(data["reg_lambda"]))
    # The entries are far below the absolute tolerance, so they are scaled to rows of sum 1.
    size = len(plan)
    yield Comparison("plan x N", plan * size, data["plan"] * size)


def cmfp(data: Arrays, folder: Path, device: torch.device) -> Iterator[Comparison]:
    """Compare propagated features."""
    visible, infrared, k = data["visible"], data["infrared"], int(data["k"])
    blocks = propagation.nearest_blocks(*_on(device, visible, infrared), k=k)
    mixed = propagation.propagate(visible, infrared, k=k, blocks=blocks)
    yield Comparison("propagated", np.concatenate(mixed), data["propagated"])


def associate(data: Arrays, folder: Path, device: torch.device) -> Iterator[Comparison]:
    """Compare the labels of both modalities in both spaces, with and without CMFP."""
    both, k = _on(device, data["visible"], data["infrared"]), int(data["k"])
    blocks = propagation.nearest_blocks(*both, k=k)
    for prefix, cmfp_k in (("cmfp", k), ("plain", None)):
        labels = association.associate(
            data["visible"],
            data["infrared"],
            data["visible_cluster"],
            data["infrared_cluster"],
            cmfp_k=cmfp_k,
            strength=float(data["reg_lambda"]),
            relabel_own_modality=True,
            blocks=blocks,
        )
        for role, values in labels._asdict().items():
            yield Comparison(f"{prefix}_{role}", values, data[f"{prefix}_{role}"], 0)


def other_associations(data: Arrays, folder: Path, device: torch.device) -> Iterator[Comparison]:
    """Compare the labels of PGM and MBCCM."""
    methods: tuple[association.Method, ...] = ("pgm", "mbccm")
    for method in methods:
        labels = association.associate(
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
            yield Comparison(f"{method}_{role}", getattr(labels, role), data[f"{method}_{role}"], 0)


def retrieval(data: Arrays, folder: Path, device: torch.device) -> Iterator[Comparison]:
    """Compare CMC, mAP and mINP under the rules of the three data sets."""
    query, gallery = data["query_id"], data["gallery_id"]
    same_camera = data["llcm_query_camera"][:, None] == data["gallery_camera"]
    excluded_by = {
        "regdb": None,
        "sysu": (data["query_camera"][:, None] == 3) & (data["gallery_camera"] == 2),
        "llcm": same_camera & (query[:, None] == gallery),
    }
    for rules, excluded in excluded_by.items():
        scores = metrics.retrieval_metrics(
            data["distance"],
            query,
            gallery,
            excluded=excluded,
            identity_once=excluded is not None,
            num_ranks=len(data[f"{rules}_cmc"]),
        )
        yield Comparison(f"{rules}_cmc", scores.cmc, data[f"{rules}_cmc"])
        for name in ("map", "minp"):
            yield Comparison(
                f"{rules}_{name}", np.asarray(getattr(scores, name)), data[f"{rules}_{name}"]
            )


def rerankings(data: Arrays, folder: Path, device: torch.device) -> Iterator[Comparison]:
    """Compare AIM with visible queries and CMRR with infrared queries."""
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
    "stage_one": stage_one,
    "metrics": retrieval,
    "rerank": rerankings,
    "network": network,
}
"""Name of a file in the golden folder -> its check."""


def _on(device: torch.device, *features: Floats) -> list[torch.Tensor]:
    """Return copies of feature arrays on a device."""
    return [torch.tensor(rows, dtype=torch.float32, device=device) for rows in features]


def _partition(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return labels renumbered in the order of their first occurrence; -1 is kept."""
    names: dict[int, int] = {-1: -1}
    return np.array([names.setdefault(int(label), len(names) - 1) for label in labels])
