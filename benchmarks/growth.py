"""Growth of the clustering's time and memory with the number of images."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.row import measure_call, run_in_subprocess

SIZES = (5_000, 10_000, 20_000, 40_000, 100_000)
_WIDTH = 512


def measure_growth(sizes: Iterable[int], threads: int) -> list[dict[str, float]]:
    """Cluster features of width 512, each size in a separate process, and print a line for each.

    Args:
        sizes: numbers of images.
        threads: CPU threads.

    Returns:
        for each size `images`, `seconds` and `peak_gb`, the peak memory above the features.

    Raises:
        RuntimeError: a process failed; the reason is on its standard error.
    """
    results = []
    print(f"{'images':>8}{'seconds':>10}{'peak':>11}")
    for size in sizes:
        result = run_in_subprocess(["--size", str(size)], threads)
        if result is None:
            raise RuntimeError(f"clustering {size} images failed")
        results.append(result)
        print(f"{size:>8}{result['seconds']:>10.2f}{result['peak_gb']:>8.2f} GB", flush=True)
    return results


def measure_clustering(size: int) -> dict[str, float]:
    """Cluster random features in this process and return `images`, `seconds` and `peak_gb`."""
    from benchmarks.clustering import SYSU, clusters, sample_images, warm_up

    warm_up()
    features = sample_images(size, 0, width=_WIDTH).visible
    _, seconds, peak_gb = measure_call(lambda: clusters(features, SYSU))
    return {"images": size, "seconds": seconds, "peak_gb": peak_gb}
