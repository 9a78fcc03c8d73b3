"""The titles and captions of all figures."""

from __future__ import annotations

from typing import NamedTuple


class Caption(NamedTuple):
    """The words below a figure."""

    title: str
    in_paper: str
    """Number of the paper's figure that shows the same; empty if none does."""
    text: str


CAPTIONS = {
    "cmc": Caption(
        "CMC",
        "",
        "Share of queries whose identity is among the nearest 1 to 20 gallery images, mean over "
        "trials. Dotted: before stage two.",
    ),
    "map": Caption(
        "mAP over the rounds",
        "",
        "Mean average precision on the held-out identities over the rounds of stage two, mean over "
        "trials with the standard deviation as a band; round 0 is before stage two.",
    ),
    "study": Caption(
        "Differences between variants",
        "",
        "Paired differences of rank-1 and mAP over the starts that both variants have, with 95 % "
        "intervals (Student's t). Right of the line the variant named first is better.",
    ),
    "refinement_weight": Caption(
        "Weight of the refinement loss",
        "5 and 6",
        "Rank-1 and mAP against λ, the weight of the refinement loss: mean and standard deviation "
        "over trials. Gray, where given: as published.",
    ),
    "refinement_k": Caption(
        "Neighbors of the refinement loss",
        "5 and 6",
        "Rank-1 and mAP against k, the number of nearest instances that may become positives of "
        "the refinement loss: mean and standard deviation over trials. Gray, where given: as "
        "published.",
    ),
    "label_quality": Caption(
        "Quality of the pseudo-labels",
        "7",
        "Agreement of the pseudo-labels with the true identities, which training never sees, in "
        "the visible and in the infrared label space, round by round: mean over trials, the "
        "standard deviation as a band. The first round's labels come from the network before stage "
        "two.",
    ),
    "cluster_centers": Caption(
        "Cluster centers before and after CMFP",
        "8",
        "t-SNE of the cluster centers of the training images before and after cross-modality "
        "feature propagation, last round, first trial; each panel has its own t-SNE. A cluster "
        "belongs to the person of most of its images; lines join the centers of one person in the "
        "two modalities. Green: the nearest center of the other modality (cosine of the features) "
        "is of the same person; their percentage is above the panel. Gray: the other modality has "
        "no cluster of the person.",
    ),
    "distances": Caption(
        "Distances across modalities",
        "9",
        "Cosine distances of cross-modality pairs of test images of one person (positive) and of "
        "two (negative), a panel for each network of the first trial; if there are more "
        "than analyze.pairs, a random choice of them, the same in every panel. Vertical lines are "
        "the means; the gap is the distance between them.",
    ),
    "tsne": Caption(
        "t-SNE of test images",
        "10",
        "t-SNE of the test images of some people, evenly spread over all of them, in both "
        "modalities, before stage two and at its end. The number is a person's, the marker is "
        "the modality; colors repeat after eight people. Each panel has its own t-SNE.",
    ),
    "attention": Caption(
        "Attention maps",
        "11",
        "Grad-CAM: the target is the cosine between the image's global feature (after batch "
        "normalization) and that of the first image of the same person in the other modality, "
        "held fixed; the layer is the trunk's last feature map. In an image without an overlay no "
        "position supports the match. Parts: the softmax attention of each part's prototype over "
        "its stripe. Each map is scaled to its own maximum.",
    ),
    "ranking": Caption(
        "Ranking lists",
        "12",
        "Queries (black frame) and their ten nearest gallery images of the other modality, before "
        "stage two and at its end, framed green with a tick where the identity is right and orange "
        "with a cross where it is wrong.",
    ),
    "losses": Caption(
        "Training losses",
        "",
        "Losses of the first variant shown, over the epochs of stage one and the rounds of stage "
        "two: mean over trials, the standard deviation as a band. The total is their sum, the "
        "refinement weighted with λ (gpcr.weight).",
    ),
}
"""Figure -> its caption, in the order of the report."""
