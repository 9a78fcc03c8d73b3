"""Embed features in the plane by t-SNE (van der Maaten and Hinton, JMLR 2008)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from salcr.types import Floats

_PERPLEXITY = 30.0
_SEED = 0


def tsne_2d(features: Floats) -> NDArray[np.float64]:
    """Return t-SNE coordinates [N, 2], the same for equal features.

    The exact method is used, because the approximation by trees depends on the number of threads;
    it takes seconds for hundreds of points. The perplexity is 30, or (N - 1) / 3 if that is less.

    Args:
        features: [N, D], N >= 2; unit rows for distances that depend on cosines only.
    """
    from sklearn.manifold import TSNE  # the import takes over a second

    perplexity = min(_PERPLEXITY, (len(features) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", method="exact", random_state=_SEED)
    points: NDArray[np.float64] = tsne.fit_transform(features.astype(np.float64))
    return points
