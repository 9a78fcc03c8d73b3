"""Points in the plane that lie as features do: t-SNE (van der Maaten and Hinton, JMLR 2008)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from salcr.types import Floats

_PERPLEXITY = 30.0
_SEED = 0


def tsne_2d(features: Floats) -> NDArray[np.float64]:
    """Return t-SNE coordinates [N, 2], the same for equal features.

    Exact, since the approximation by trees sums in another order on other numbers of threads; that
    is seconds for hundreds of points. For fewer than 91 points the perplexity is (N - 1) / 3.

    Args:
        features: [N, D], N >= 2; unit rows, where cosines are meant.
    """
    from sklearn.manifold import TSNE  # takes over a second

    perplexity = min(_PERPLEXITY, (len(features) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", method="exact", random_state=_SEED)
    points: NDArray[np.float64] = tsne.fit_transform(features.astype(np.float64))
    return points
