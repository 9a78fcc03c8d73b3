"""The method as functions of arrays, for programs of your own.

    >>> import numpy as np
    >>> from salcr import api
    >>> rng = np.random.default_rng(0)
    >>> identity = np.repeat(np.arange(20), 8)  # 20 people, 8 images of each in both modalities
    >>> rows = rng.normal(size=(20, 64))[identity] + 0.5 * rng.normal(size=(2, 160, 64))
    >>> visible, infrared = rows / np.linalg.norm(rows, axis=2, keepdims=True)
    >>> clusters = [api.cluster(features, k1=8, k2=3) for features in (visible, infrared)]
    >>> labels = api.associate(visible, infrared, *clusters)
    >>> found = api.retrieval_metrics(infrared, visible, identity, identity)
    >>> print(f"{labels.visible.max() + 1} clusters, rank-1 {found.cmc[0]:.0%}")
    20 clusters, rank-1 100%

Features are arrays [N, D] of unit rows; those of pictures come from a trained network, see
`load_network`. Defaults are those of config/default.yaml, which has the paper's values for RegDB.
An argument that does not fit is a ValueError that names it. Nothing here writes files, draws
random numbers, or imports torch, numba or faiss before it is needed. References such as METHOD 2.2
are sections of docs/METHOD.md, which has the equations and lists the publications.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from salcr.evaluation.metrics import Retrieval
from salcr.types import MODALITIES, Floats, Integers, PseudoLabels

if TYPE_CHECKING:
    from scipy import sparse

    from salcr.search.embedder import Embedder

__all__ = [
    "PseudoLabels", "Retrieval", "TrainedNetwork", "associate", "cluster", "dbscan",
    "jaccard_distance", "load_network", "propagate", "rerank_aim", "rerank_cmfp", "rerank_cmrr",
    "retrieval_metrics",
]  # fmt: skip

Method = Literal["dagl", "otla", "pgm", "mbccm"]
Protocol = Literal["regdb", "sysu", "llcm"]
Device = Literal["auto", "cpu", "cuda"]

_LENGTH_TOLERANCE = 1e-3  # rows normalized in half precision pass
_BLOCK = 512  # images of one size in memory at a time


def jaccard_distance(
    features: ArrayLike, k1: int = 30, k2: int = 6, max_distance: float = 1.0
) -> sparse.csr_matrix:
    """Return the Jaccard distance of k-reciprocal encodings, as a sparse matrix.

    Time grows with N², for an exact neighbor search; memory with the pairs stored, 8 bytes each. Up
    to a radius of DBSCAN they are hardly more than the pairs within clusters: 100,000 rows of 512
    numbers take 0.3 GB beside the features at a `max_distance` of 0.6. Up to 1 they are all pairs
    that share a neighbor, over a thousand for each row, and far more where there are no clusters.

    Args:
        features: [N, D], unit rows.
        k1: neighbors, the row itself included, in the k-reciprocal sets; at least 1.
        k2: neighbors, the row itself included, whose encodings are averaged; 1 averages nothing.
        max_distance: larger distances are not stored, above 0 and at most 1. DBSCAN needs none
            above its eps.

    Returns:
        [N, N] float32 in [0, 1], symmetric, the zeros of the diagonal stored. A pair that is not
        stored is farther than `max_distance`.

    Raises:
        ValueError: an argument is out of range, or a row is not finite or not of length 1.

    See Also:
        dbscan: clusters of such a matrix.
        cluster: both in one call.

    References:
        Zhong et al., Re-ranking Person Re-identification with k-reciprocal Encoding, CVPR 2017.
        METHOD 2.2.

    Examples:
        Two pairs of equal rows at a right angle; pairs without a common neighbor are not stored.

        >>> rows = np.repeat(np.eye(2), 2, axis=0)
        >>> distance = jaccard_distance(rows, k1=2, k2=1)
        >>> distance.nnz
        8
        >>> distance.toarray()[0, :2].tolist()
        [0.0, 0.0]
    """
    from salcr.pseudo_labels import clustering

    rows = _unit_rows("features", features)
    _check_count("k1", k1)
    _check_count("k2", k2)
    _check("max_distance", max_distance, "above 0 and at most 1", 0 < max_distance <= 1)
    return clustering.jaccard_distance(rows, k1=k1, k2=k2, at_most=max_distance)


def dbscan(distance: sparse.spmatrix, eps: float, min_samples: int = 4) -> Integers:
    """Return DBSCAN's clusters of a sparse distance matrix.

    The labels equal those of `sklearn.cluster.DBSCAN(metric="precomputed")`, numbers included.

    Args:
        distance: [N, N] scipy.sparse matrix, symmetric, with the zeros of its diagonal stored.
            A pair that is not stored is no neighbor, so store all distances up to `eps`.
        eps: largest distance of a neighbor, above 0.
        min_samples: neighbors, the row itself included, that make a core point; at least 1.

    Returns:
        [N] int64 labels 0 .. K-1; -1 for outliers.

    Raises:
        ValueError: an argument is out of range, or the matrix is dense, not square, not symmetric
            or lacks its diagonal.

    See Also:
        jaccard_distance: makes such a matrix; its `max_distance` must not be below `eps`.

    References:
        Ester et al., A Density-Based Algorithm for Discovering Clusters in Large Spatial Databases
        with Noise, KDD 1996. METHOD 2.3.

    Examples:
        >>> from scipy import sparse
        >>> pairs = [0, 0, 1, 1, 2], [0, 1, 0, 1, 2]
        >>> distance = sparse.csr_matrix(([0, 0.2, 0.2, 0, 0], pairs), shape=(3, 3))
        >>> dbscan(distance, eps=0.5, min_samples=2).tolist()
        [0, 0, -1]
    """
    from salcr.pseudo_labels import clustering

    _check("eps", eps, "above 0", eps > 0)
    _check_count("min_samples", min_samples)
    return clustering.dbscan(_symmetric(distance), eps=eps, min_samples=min_samples)


def cluster(
    features: ArrayLike, k1: int = 30, k2: int = 6, eps: float = 0.3, min_samples: int = 4
) -> Integers:
    """Return the clusters of one modality's features: Jaccard distance, then DBSCAN.

    Args:
        features: [N, D], unit rows.
        k1: neighbors, the row itself included, in the k-reciprocal sets; at least 1.
        k2: neighbors, the row itself included, whose encodings are averaged; 1 averages nothing.
        eps: DBSCAN's radius in Jaccard distance, above 0 and below 1 (published: 0.3 RegDB, 0.6
            SYSU-MM01).
        min_samples: neighbors, the row itself included, that make a core point; at least 1.

    Returns:
        [N] int64 labels 0 .. K-1; -1 for outliers, which all rows may be.

    Raises:
        ValueError: an argument is out of range, or a row is not finite or not of length 1.

    See Also:
        associate: labels across modalities from the clusters of both.

    References:
        METHOD 2.2 and 2.3.

    Examples:
        >>> cluster(np.eye(4)[[0, 0, 0, 1, 2, 2, 2]], k1=3, k2=1, min_samples=3).tolist()
        [0, 0, 0, -1, 1, 1, 1]
    """
    from salcr.pseudo_labels import clustering

    _check("eps", eps, "above 0 and below 1", 0 < eps < 1)
    _check_count("min_samples", min_samples)
    distance = jaccard_distance(features, k1, k2, max_distance=eps)
    return clustering.dbscan(distance, eps=eps, min_samples=min_samples)


def associate(
    visible: ArrayLike,
    infrared: ArrayLike,
    visible_clusters: ArrayLike,
    infrared_clusters: ArrayLike,
    method: Method = "dagl",
    *,
    cmfp_k: int | None = 8,
    strength: float = 5.0,
    relabel_own_modality: bool = True,
) -> PseudoLabels[Integers]:
    """Return pseudo-labels of both modalities in the label spaces of both.

    Args:
        visible: [N, D], unit rows of visible images.
        infrared: [M, D], unit rows of infrared images.
        visible_clusters: [N] labels 0 .. K-1 without gaps, -1 for outliers, as of `cluster`.
        infrared_clusters: [M] labels 0 .. L-1, likewise.
        method: "dagl" (SALCR), or, to compare with, "otla", "pgm" or "mbccm".
        cmfp_k: neighbors of the feature propagation (published: 8 RegDB, 30 SYSU-MM01), None to
            do without it; "dagl" only.
        strength: lambda of the optimal transport, above 0, at most 100; "dagl" and "otla" only.
        relabel_own_modality: give images a new label in their own modality too (released code)
            instead of their cluster (paper); "dagl" only.

    Returns:
        A named tuple of int64 labels: `visible` and `visible_to_infrared` [N], `infrared` and
        `infrared_to_visible` [M]. -1 for outliers and, of "otla", in all of
        `visible_to_infrared`, since it has the visible space only.

    Raises:
        ValueError: an argument is out of range, lengths differ, a side has no cluster, or a row is
            not finite or not of length 1.

    See Also:
        cluster: the clusters of one modality.
        propagate: the feature propagation alone.

    References:
        METHOD 3.1 (DAGL) and 5: Wang et al., ECCV 2022 (OTLA); Wu and Ye, CVPR 2023 (PGM); Cheng
        et al., ACM Multimedia 2023 (MBCCM).

    Examples:
        The second infrared cluster shows the first visible one's person; an outlier has no label.

        >>> visible, infrared = np.eye(2)[[0, 0, 1, 1, 1]], np.eye(2)[[1, 1, 0, 0]]
        >>> labels = associate(visible, infrared, [0, 0, 1, 1, -1], [0, 0, 1, 1], cmfp_k=2)
        >>> labels.visible_to_infrared.tolist()
        [1, 1, 0, 0, -1]
        >>> labels.infrared_to_visible.tolist()
        [1, 1, 0, 0]
    """
    import torch

    from salcr.config import schema
    from salcr.pseudo_labels.generate import label_images
    from salcr.pseudo_labels.neighbors import nearest_within

    sides = _two_sides("visible", visible, "infrared", infrared)
    clusters = {
        "visible": _clusters("visible_clusters", visible_clusters, len(sides[0])),
        "infrared": _clusters("infrared_clusters", infrared_clusters, len(sides[1])),
    }
    _check_choice("method", method, get_args(Method))
    _check("strength", strength, "above 0 and at most 100", 0 < strength <= 100)
    if cmfp_k is not None:
        _check_count("cmfp_k", cmfp_k)
    settings = schema.Associate(
        method=method,
        cmfp=cmfp_k is not None,
        cmfp_k=cmfp_k or 1,
        sinkhorn_strength=strength,
        relabel_own_modality=relabel_own_modality,
    )
    features = {m: torch.from_numpy(rows) for m, rows in zip(MODALITIES, sides, strict=True)}
    neighbors = {}
    if settings.cmfp and method == "dagl":
        neighbors = {m: nearest_within(rows, settings.cmfp_k) for m, rows in features.items()}
    return label_images(features, clusters, settings, neighbors)


def propagate(visible: ArrayLike, infrared: ArrayLike, k: int = 8) -> tuple[Floats, Floats]:
    """Return features mixed with those of their neighbors in both modalities (CMFP).

    Args:
        visible: [N, D], unit rows of visible images.
        infrared: [M, D], unit rows of infrared images.
        k: neighbors in each modality (published: 8 RegDB, 30 SYSU-MM01); all, where there are
            fewer.

    Returns:
        visible [N, D] and infrared [M, D] float32 features, unit rows.

    Raises:
        ValueError: `k` is below 1, widths differ, or a row is not finite or not of length 1.

    See Also:
        rerank_cmfp: the same as a re-ranking.

    References:
        METHOD 3.1.2.

    Examples:
        With one neighbor in each modality, a row is mixed with the nearest of the other.

        >>> visible, infrared = propagate([[1.0, 0.0]], [[0.8, 0.6], [0.0, 1.0]], k=1)
        >>> [round(float(value), 4) for value in visible[0]]
        [0.9487, 0.3162]
    """
    from salcr.pseudo_labels import propagation

    _check_count("k", k)
    return propagation.propagate(*_two_sides("visible", visible, "infrared", infrared), k=k)


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
        >>> found = retrieval_metrics(None, None, [1, 1], [1, 2, 1], distance=distance)
        >>> found.cmc.tolist(), round(found.map, 4), round(found.minp, 4)
        ([0.5, 1.0, 1.0], 0.7083, 0.6667)
    """
    from salcr.datasets.protocol import Annotations
    from salcr.datasets.readers import READERS
    from salcr.evaluation import metrics

    _check_choice("protocol", protocol, get_args(Protocol))
    _check_count("num_ranks", num_ranks)
    found = _distances(query, gallery, distance)
    sizes = dict(zip(("query", "gallery"), found.shape, strict=True))
    identities = {
        "query": _integers("query_identities", query_identities, sizes["query"]),
        "gallery": _integers("gallery_identities", gallery_identities, sizes["gallery"]),
    }
    setting = READERS[protocol].settings[0]  # all of a data set have the same rules
    excluded = None
    if setting.excludes is not None:
        sides = []
        for side, cameras in (("query", query_cameras), ("gallery", gallery_cameras)):
            if cameras is None:
                raise ValueError(f"{side}_cameras: protocol {protocol!r} needs them")
            numbers = _integers(f"{side}_cameras", cameras, sizes[side])
            sides.append(Annotations(identities[side], numbers))
        excluded = setting.excludes(*sides)
    return metrics.retrieval_metrics(
        found,
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

    _check_count("k", k)
    return reranking.cmfp(*_two_sides("query", query, "gallery", gallery), k=k)


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

    _check_count("k1", k1)
    _check_count("k2", k2)
    return reranking.aim(*_two_sides("query", query, "gallery", gallery), k1=k1, k2=k2)


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

    _check_count("k", k)
    _check("eta", eta, "from 0 to 1", 0 <= eta <= 1)
    return reranking.cmrr(*_two_sides("query", query, "gallery", gallery), k=k, eta=eta)


class TrainedNetwork:
    """A trained network that turns images into features; `load_network` returns one."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width that images are resized to."""
        return self._embedder.image_size

    @property
    def num_channels(self) -> int:
        """Width C of the features."""
        return self._embedder.network.num_channels

    def embed(
        self,
        images: NDArray[np.uint8] | Sequence[str | os.PathLike[str] | NDArray[np.uint8]],
        modality: str | Sequence[str],
    ) -> Floats:
        """Return the features that evaluation uses: the mean of an image's and its mirror image's.

        Args:
            images: uint8 RGB array [N, H, W, 3], or a list of paths and of arrays [H, W, 3]; of
                any sizes. Each is resized to `image_size`, as the workflow resizes its images.
            modality: "visible" or "infrared": one word for all images, or one for each.

        Returns:
            [N, C] float32, unit rows.

        Raises:
            ValueError: an array is not uint8 RGB, or a modality is unknown.
            SalcrError: a file is missing or cannot be decoded.

        See Also:
            The commands `embed` and `search`, for whole folders and an index on disk.

        Examples:
            See `load_network`.
        """
        if isinstance(images, str | os.PathLike):
            raise ValueError("images: one path; give a list of paths")
        words = [modality] * len(images) if isinstance(modality, str) else list(modality)
        if len(words) != len(images):
            raise ValueError(f"modality: {len(words)} words for {len(images)} images")
        for word in words:
            _check_choice("modality", word, MODALITIES)
        features = np.empty((len(images), self.num_channels), dtype=np.float32)
        for start in range(0, len(images), _BLOCK):
            block = slice(start, start + _BLOCK)
            resized = [_resized(one, *self.image_size) for one in images[block]]
            features[block] = self._embedder.features(np.stack(resized), words[block])
        return features


def load_network(checkpoint: str | os.PathLike[str], device: Device = "auto") -> TrainedNetwork:
    """Return the network of a checkpoint that the workflow or `import-checkpoint` wrote.

    Args:
        checkpoint: path of a round's checkpoint.pt. Nothing in it is executed.
        device: "auto" (a GPU if there is one), "cpu" or "cuda".

    Raises:
        ValueError: `device` is none of these, or is "cuda" and there is no GPU.
        SalcrError: the file is missing or damaged, or holds no network.

    See Also:
        retrieval_metrics: how well features retrieve.
        cluster: clusters of features.

    References:
        METHOD 1 and 4.1.

    Examples:
        With `checkpoint` the path of a narrow ResNet-18 for images of 64 × 32:

        >>> network = load_network(checkpoint, device="cpu")
        >>> network.image_size, network.num_channels
        ((64, 32), 64)
        >>> images = np.random.default_rng(0).integers(256, size=(3, 100, 50, 3), dtype=np.uint8)
        >>> features = network.embed(images, "visible")
        >>> features.shape, np.linalg.norm(features, axis=1).round(4).tolist()
        ((3, 64), [1.0, 1.0, 1.0])
    """
    import torch

    from salcr.config.loading import DEFAULT_CONFIG
    from salcr.config.schema import Numerics
    from salcr.files import read_yaml
    from salcr.search.embedder import read_embedder

    _check_choice("device", device, get_args(Device))
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: 'cuda', but torch sees no GPU; use 'auto' or 'cpu'")
    on_gpu = device != "cpu" and torch.cuda.is_available()
    numerics = Numerics(**read_yaml(DEFAULT_CONFIG)["numerics"])
    place = torch.device("cuda" if on_gpu else "cpu")
    return TrainedNetwork(read_embedder(Path(checkpoint), place, numerics))


def _unit_rows(name: str, values: ArrayLike) -> Floats:
    """Return features as a float32 array that may be written; ValueError if they are not that."""
    rows = np.require(_numbers(name, values), np.float32, ["C", "W"])
    if len(rows) == 0:
        raise ValueError(f"{name}: has no rows")
    lengths = np.sqrt(np.vecdot(rows, rows))
    wrong = np.flatnonzero(np.abs(lengths - 1) > _LENGTH_TOLERANCE)
    if len(wrong):
        raise ValueError(
            f"{name}: row {wrong[0]} has length {lengths[wrong[0]]:.4g}, not 1; normalize the rows "
            f"first: {name} / np.linalg.norm({name}, axis=1, keepdims=True)"
        )
    return rows


def _numbers(name: str, values: ArrayLike) -> NDArray[np.floating]:
    array = np.asarray(values)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise ValueError(
            f"{name}: must be numbers with two axes, not {array.dtype} {list(array.shape)}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: must be finite, but holds NaN or infinity")
    return array


def _two_sides(
    name: str, one: ArrayLike, other_name: str, other: ArrayLike
) -> tuple[Floats, Floats]:
    """Return the features of both modalities; ValueError if they do not fit together."""
    rows, others = _unit_rows(name, one), _unit_rows(other_name, other)
    if rows.shape[1] != others.shape[1]:
        raise ValueError(
            f"{other_name}: rows of {others.shape[1]} numbers, but those of {name} have "
            f"{rows.shape[1]}"
        )
    return rows, others


def _integers(name: str, values: ArrayLike, length: int) -> Integers:
    array = np.asarray(values)
    if array.shape != (length,) or array.dtype.kind not in "iu":
        raise ValueError(
            f"{name}: must be {length} whole numbers, not {array.dtype} {list(array.shape)}"
        )
    return array.astype(np.int64)


def _clusters(name: str, values: ArrayLike, length: int) -> Integers:
    labels = _integers(name, values, length)
    found = np.unique(labels[labels != -1])
    if len(found) == 0:
        raise ValueError(f"{name}: has outliers only; cluster with a larger eps")
    if not np.array_equal(found, np.arange(len(found))):
        raise ValueError(f"{name}: must be 0 .. K-1 without gaps, and -1 for outliers")
    return labels


def _distances(
    query: ArrayLike | None, gallery: ArrayLike | None, distance: ArrayLike | None
) -> NDArray[np.floating]:
    """Return the distances [Q, G] that were given, or those of the features."""
    if distance is not None:
        if query is not None or gallery is not None:
            raise ValueError("distance: give features or distances, None for the others")
        return _numbers("distance", distance)
    if query is None or gallery is None:
        raise ValueError("query, gallery: give both, or `distance`")
    from salcr.evaluation.retrieval import squared_euclidean

    return squared_euclidean(*_two_sides("query", query, "gallery", gallery))


def _symmetric(distance: sparse.spmatrix) -> sparse.csr_matrix:
    """Return a distance matrix in rows; ValueError if DBSCAN would not mean anything on it."""
    from scipy import sparse

    if not sparse.issparse(distance) or distance.shape[0] != distance.shape[1]:
        raise ValueError("distance: must be a square scipy.sparse matrix, as of jaccard_distance")
    rows, columns = sparse.csr_matrix(distance), sparse.csr_matrix(distance.T)
    for side in (rows, columns):
        side.sum_duplicates()  # sorts, too
    same = np.array_equal(rows.indptr, columns.indptr)
    same = same and np.array_equal(rows.indices, columns.indices)
    if not (same and np.allclose(rows.data, columns.data, atol=1e-6)):
        raise ValueError("distance: must be symmetric and finite")
    pairs = rows.tocoo()
    if np.count_nonzero(pairs.row == pairs.col) < pairs.shape[0]:
        raise ValueError("distance: the zeros of its diagonal must be stored")
    return rows


def _resized(image: Any, height: int, width: int) -> NDArray[np.uint8]:
    from PIL import Image

    from salcr.data.images import decoded

    if isinstance(image, str | os.PathLike):
        return decoded(Path(image), height=height, width=width)
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise ValueError(
            f"images: must be uint8 [height, width, 3], not {array.dtype} {list(array.shape)}"
        )
    return np.asarray(Image.fromarray(array).resize((width, height), Image.Resampling.BILINEAR))


def _check_count(name: str, value: int) -> None:
    is_count = isinstance(value, Integral) and value >= 1
    _check(name, value, "a whole number from 1 on", is_count)


def _check_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    _check(name, value, f"one of {', '.join(allowed)}", value in allowed)


def _check(name: str, value: object, wanted: str, holds: bool) -> None:
    if not holds:
        raise ValueError(f"{name}: must be {wanted}, not {value!r}")
