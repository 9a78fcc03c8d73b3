"""`python -m salcr verify` on reference values of other seeds and sizes, from the slow method."""

from __future__ import annotations

from pathlib import Path

import pytest

from salcr.verification.clustering import CHECKS
from tests.reference.slow_golden import Sizes, make_golden
from tests.support import tiny

SMALL = Sizes(
    identities=9, images=8, width=24, infrared_clusters=7, k1=11, k2=4, eps=(0.4, 0.55),
    min_samples=3, strength=2.0, plan=(41, 5), cmfp_k=3, aim=((5, 3), (3, 1)), cmrr_k=5,
    cmrr_eta=0.2, momentum=0.2, temperature=0.07, batch=5, clusters=(4, 6), instances=(50, 64),
    refine_k=9, refine_weight=0.3, parts=2, queries=33, gallery=70, gallery_identities=11,
)  # fmt: skip
# A third as many infrared clusters: PGM needs three rounds, and MBCCM four copies, not three.
LARGE = Sizes(
    identities=33, images=15, width=96, infrared_clusters=11, k1=20, k2=6, eps=(0.5, 0.6),
    min_samples=5, strength=10.0, plan=(220, 31), cmfp_k=12, aim=((9, 2), (6, 4)), cmrr_k=13,
    cmrr_eta=0.05, momentum=0.5, temperature=0.1, batch=14, clusters=(13, 10),
    instances=(150, 130), refine_k=24, refine_weight=1.0, parts=4, queries=120, gallery=210,
    gallery_identities=26,
)  # fmt: skip


@pytest.mark.parametrize(
    ("seed", "sizes"),
    [
        pytest.param(17, SMALL, id="small"),
        pytest.param(12, LARGE, id="large", marks=pytest.mark.slow),
    ],
)
def test_every_module_agrees_on_other_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: int, sizes: Sizes
) -> None:
    """For all numbers of images, clusters, parts or neighbors: all lines say yes, exit status 0."""
    make_golden(tmp_path / "golden", seed, sizes)
    assert tiny.run("verify", "--golden", tmp_path / "golden", "--device", "cpu") == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(CHECKS)
    assert all(line.endswith("  yes") for line in lines)
