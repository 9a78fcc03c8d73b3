"""The public functions of evaluation, see `salcr.api`."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from salcr.evaluation.metrics import Retrieval
from salcr.pseudo_labels.arguments import (
    check,
    check_both,
    check_choice,
    check_count,
    check_integers,
    check_numbers,
)
from salcr.types import Floats

Protocol = Literal["regdb", "sysu", "llcm"]


def retrieval_metrics(
    query: ArrayLike | None,
    gallery: ArrayLike | None,
    query_identities: ArrayLike,
    gallery_identities: ArrayLike,
    query_cameras: ArrayLike | None = None,
    gallery_cameras: ArrayLike | None = None,
    *,
    protocol: Protocol = "regdb",
    distance: ArrayLike | None = None,
    num_ranks: int = 20,
) -> Retrieval:
    """Return CMC, mAP and mINP of queries in a gallery, by the rules of a data set.

    "regdb" counts every gallery image. "sysu" leaves out camera 2 for queries of camera 3, "llcm"
    the images of the query's own identity and camera; their CMC counts each identity once. The
    gallery is taken as it is: random galleries are the caller's to draw and to average over.

    Args:
        query: [Q, D], unit rows; None where `distance` is given.
        gallery: [G, D], unit rows; None where `distance` is given.
        query_identities: [Q] whole numbers.
        gallery_identities: [G] whole numbers.
        query_cameras: [Q] whole numbers; "sysu" and "llcm" need them.
        gallery_cameras: [G] whole numbers, likewise.
        protocol: "regdb", "sysu" (SYSU-MM01) or "llcm".
        distance: [Q, G] in place of features, smaller is closer; of equal ones the smaller gallery
            index comes first.
        num_ranks: length R of the CMC; at most the images (identities) of the gallery.

    Returns:
        A named tuple of shares in [0, 1], over the queries with a match: `cmc` [R] float64, `map`
        and `minp`.

    Raises:
        ValueError: an argument does not fit, cameras are missing, or no query has a match.

    See Also:
        rerank_cmfp, rerank_aim, rerank_cmrr: distances of re-rankings.

    References:
        Ye et al., Deep Learning for Person Re-Identification: A Survey and Outlook, TPAMI 2021
        (mINP). METHOD 4.1 and 4.2.

    Examples:
        >>> distance = [[0.1, 0.2, 0.3], [0.3, 0.1, 0.2]]
        >>> scores = retrieval_metrics(None, None, [1, 1], [1, 2, 1], distance=distance)
        >>> scores.cmc.tolist(), round(scores.map, 4), round(scores.minp, 4)
        ([0.5, 1.0, 1.0], 0.7083, 0.6667)
    """
    from salcr.datasets.protocol import Annotations
    from salcr.datasets.readers import READERS
    from salcr.evaluation import metrics

    check_choice("protocol", protocol, get_args(Protocol))
    check_count("num_ranks", num_ranks)
    distances = _distances(query, gallery, distance)
    sizes = dict(zip(("query", "gallery"), distances.shape, strict=True))
    identities = {
        "query": check_integers("query_identities", query_identities, sizes["query"]),
        "gallery": check_integers("gallery_identities", gallery_identities, sizes["gallery"]),
    }
    setting = READERS[protocol].settings[0]  # all of a data set have the same rules
    excluded = None
    if setting.excludes is not None:
        sides = []
        for side, cameras in (("query", query_cameras), ("gallery", gallery_cameras)):
            if cameras is None:
                raise ValueError(f"{side}_cameras: protocol {protocol!r} needs them")
            numbers = check_integers(f"{side}_cameras", cameras, sizes[side])
            sides.append(Annotations(identities[side], numbers))
        excluded = setting.excludes(*sides)
    return metrics.retrieval_metrics(
        distances,
        identities["query"],
        identities["gallery"],
        excluded=excluded,
        identity_once=setting.identity_once,
        num_ranks=num_ranks,
    )


def rerank_cmfp(query: ArrayLike, gallery: ArrayLike, k: int = 8) -> Floats:
    """Return squared Euclidean distances of propagated features, all queries at once.

    Args:
        query: [Q, D], unit rows of one modality.
        gallery: [G, D], unit rows of the other.
        k: neighbors in each modality (published: 8 RegDB, 30 SYSU-MM01).

    Returns:
        [Q, G] float32 in [0, 4], smaller is closer. Transductive: it depends on all queries.

    Raises:
        ValueError: `k` is below 1, widths differ, or a row is not finite or not of length 1.

    See Also:
        propagate: the features.
        retrieval_metrics: takes the result as `distance`.

    References:
        METHOD 4.3.

    Examples:
        >>> rerank_cmfp([[1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]], k=1).tolist()
        [[0.0, 2.0]]
    """
    from salcr.evaluation import reranking

    check_count("k", k)
    return reranking.cmfp(*check_both("query", query, "gallery", gallery), k=k)


def rerank_aim(query: ArrayLike, gallery: ArrayLike, k1: int = 8, k2: int = 2) -> Floats:
    """Return the distances of the affinity inference module (AIM).

    Args:
        query: [Q, D], unit rows.
        gallery: [G, D], unit rows.
        k1: largest similarities kept in a row (published: 8 RegDB, 4 SYSU-MM01).
        k2: gallery images, the image itself included, averaged over (2 RegDB, 1 SYSU-MM01).

    Returns:
        [Q, G] float32 in [-2, 2], smaller is closer. Queries do not depend on each other. Memory
        grows with G².

    Raises:
        ValueError: a k is below 1, widths differ, or a row is not finite or not of length 1.

    See Also:
        retrieval_metrics: takes the result as `distance`.

    References:
        Fang et al., Visible-Infrared Person Re-Identification via Semantic Alignment and Affinity
        Inference, ICCV 2023. METHOD 4.3.

    Examples:
        >>> rerank_aim([[1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]], k1=1, k2=1).tolist()
        [[-2.0, -0.0]]
    """
    from salcr.evaluation import reranking

    check_count("k1", k1)
    check_count("k2", k2)
    return reranking.aim(*check_both("query", query, "gallery", gallery), k1=k1, k2=k2)


def rerank_cmrr(query: ArrayLike, gallery: ArrayLike, k: int = 8, eta: float = 0.1) -> Floats:
    """Return the distances of the cross-modality re-ranking (CMRR), all queries at once.

    Args:
        query: [Q, D], unit rows of one modality.
        gallery: [G, D], unit rows of the other.
        k: neighbors (published: 8 RegDB, 15 SYSU-MM01).
        eta: share of the squared Euclidean distance in the result, 0 to 1.

    Returns:
        [Q, G] float32 in [0, 1 + 3 eta], smaller is closer. Transductive: it depends on all
        queries. Memory grows with (Q + G)².

    Raises:
        ValueError: an argument is out of range, widths differ, or a row is not finite or not of
            length 1.

    See Also:
        retrieval_metrics: takes the result as `distance`.

    References:
        METHOD 4.3.

    Examples:
        >>> rows = np.eye(2)[[0, 0, 1, 1]]
        >>> distance = rerank_cmrr(rows, rows, k=1)
        >>> bool(distance[0, 1] < distance[0, 2])
        True
    """
    from salcr.evaluation import reranking

    check_count("k", k)
    check("eta", eta, "from 0 to 1", 0 <= eta <= 1)
    return reranking.cmrr(*check_both("query", query, "gallery", gallery), k=k, eta=eta)


def _distances(
    query: ArrayLike | None, gallery: ArrayLike | None, distance: ArrayLike | None
) -> NDArray[np.floating]:
    """Return the distances [Q, G] that were given, or those of the features."""
    if distance is not None:
        if query is not None or gallery is not None:
            raise ValueError("distance: give features or distances, None for the others")
        return check_numbers("distance", distance)
    if query is None or gallery is None:
        raise ValueError("query, gallery: give both, or `distance`")
    from salcr.evaluation.retrieval import squared_euclidean

    return squared_euclidean(*check_both("query", query, "gallery", gallery))
