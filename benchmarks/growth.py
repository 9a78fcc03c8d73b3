"""How time and memory of the clustering grow with the number of images."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.row import measure_call, run_in_subprocess

SIZES = (5_000, 10_000, 20_000, 40_000, 100_000)
_WIDTH = 512


def growth(sizes: Iterable[int], threads: int) -> list[dict[str, float]]:
    """Cluster so many images of width 512, each number in a process of its own, and print a line.

    Args:
        sizes: numbers of images.
        threads: CPU threads.

    Returns:
        for each size `images`, `seconds` and `peak_gb`, the most memory above the features.

    Raises:
        RuntimeError: a process failed; it has said why.
    """
    found = []
    print(f"{'images':>8}{'seconds':>10}{'peak':>11}")
    for size in sizes:
        one = run_in_subprocess(["--size", str(size)], threads)
        if one is None:
            raise RuntimeError(f"clustering {size} images failed")
        found.append(one)
        print(f"{size:>8}{one['seconds']:>10.2f}{one['peak_gb']:>8.2f} GB", flush=True)
    return found


def cluster_so_many(size: int) -> dict[str, float]:
    """Cluster drawn images in this process and return what `growth` lists."""
    from benchmarks.clustering import SYSU, clusters, images, warm_up

    warm_up()
    features = images(size, 0, width=_WIDTH).visible
    _, seconds, peak_gb = measure_call(lambda: clusters(features, SYSU))
    return {"images": size, "seconds": seconds, "peak_gb": peak_gb}
