"""Random views: geometry, erasing and channel mixing, reconstructed from the result."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torch import Tensor
from torchvision.transforms.v2 import functional as oracle

from salcr.data import transforms, windows
from tests.support.helpers import close
from tests.support.views import FILL, LUMA, OFF, PAPER, VIEWS, pictures


def normalized(images: Tensor) -> Tensor:
    """Return torchvision's normalization of uint8 images [B, H, W, 3], on the CPU."""
    scaled = oracle.to_dtype(images.cpu().permute(0, 3, 1, 2), torch.float32, scale=True)
    return oracle.normalize(scaled, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def unflipped(views: Tensor, originals: Tensor) -> Tensor:
    """Return views, each mirrored back if that brings it closer to its normalized original."""
    views, expected = views.cpu(), normalized(originals)
    both = torch.stack([views, views.flip(3)])
    gap = (both - expected).abs().mean(dim=(2, 3, 4)).argmin(dim=0)
    return both[gap, torch.arange(len(views))]


def test_plain_is_torchvisions_normalization(rng, device):
    """Evaluation images are only scaled and normalized with the ImageNet statistics."""
    images = pictures(rng, 3, 8, 6, device)
    close(transforms.normalize_images(images), normalized(images))


@pytest.mark.parametrize("name", VIEWS)
def test_views_follow_their_generator(rng, device, name):
    """Equal generators give equal views, different ones do not; the images are not modified."""
    images = pictures(rng, 4, 32, 16, device)
    before = images.clone()
    views = [VIEWS[name](images, np.random.default_rng(seed), PAPER) for seed in (1, 1, 2)]
    assert torch.equal(views[0], views[1]) and not torch.equal(views[0], views[2])
    assert torch.equal(images, before)
    assert views[0].shape == (4, 3, 32, 16) and views[0].dtype == torch.float32


@pytest.mark.parametrize("name", VIEWS)
def test_every_image_has_its_own_parameters(rng, device, name):
    """Copies of one image all yield different views."""
    images = pictures(rng, 1, 32, 16, device).repeat(12, 1, 1, 1)
    views = VIEWS[name](images, rng, PAPER).flatten(1).cpu()
    assert len({tuple(view.tolist()) for view in views}) == 12


def crop_of(crop: np.ndarray, image: np.ndarray, pad: int) -> list[tuple[int, int, bool]]:
    """Return all (top, left, mirrored) at which the crop is a window of the padded image."""
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    height, width, _ = image.shape
    return [
        (top, left, mirrored)
        for top in range(2 * pad + 1)
        for left in range(2 * pad + 1)
        for mirrored in (False, True)
        if np.array_equal(
            crop[:, ::-1] if mirrored else crop, padded[top : top + height, left : left + width]
        )
    ]


def test_crops_are_shifted_copies_with_a_zero_border(rng, device):
    """Every crop is one window of the padded image; all windows and both orientations occur."""
    images, pad = pictures(rng, 300, 7, 5, device), 2
    places = windows.sample_windows(len(images), rng, pad)
    crops = torch.full(images.shape, 9.0, device=device)
    windows.crop(images, places, out=crops)
    positions = []
    for crop, image in zip(crops.cpu().numpy(), images.cpu().numpy(), strict=True):
        matches = crop_of(crop, image, pad)
        assert len(matches) == 1
        positions += matches
    assert {(top, left) for top, left, _ in positions} == set(np.ndindex(5, 5))
    for axis, (low, high) in enumerate([(30, 100), (30, 100), (120, 180)]):
        counts = Counter(position[axis] for position in positions)
        assert min(counts.values()) > low and max(counts.values()) < high


def rectangle(changed: Tensor) -> tuple[int, int]:
    """Return the height and width of a mask, which must be one filled rectangle."""
    rows, columns = changed.any(dim=1).nonzero(), changed.any(dim=0).nonzero()
    top, left = int(rows[0]), int(columns[0])
    tall, wide = int(rows[-1]) - top + 1, int(columns[-1]) - left + 1
    assert changed[top : top + tall, left : left + wide].all()
    assert int(changed.sum()) == tall * wide
    return tall, wide


@pytest.mark.parametrize("area", [0.4, 0.1])
def test_erasing_fills_a_rectangle_of_the_requested_size(rng, device, area):
    """Half of the images have a rectangle of 2 % to `area`, of bounded aspect, set to the mean."""
    images = torch.full((500, 60, 40, 3), 9.0, device=device)
    rectangles = windows.sample_rectangles(images, rng, 0.5, area)
    windows.erase(images, rectangles, FILL.to(device).expand(500, 3))
    erased = images.cpu()
    changed = (erased != 9).any(dim=3)
    shapes = np.array([rectangle(mask) for mask in changed if mask.any()])
    assert 200 < len(shapes) < 300
    assert torch.equal(erased, torch.where(changed[..., None], FILL, 9.0))
    shares, aspects = shapes.prod(axis=1) / 2400, shapes[:, 0] / shapes[:, 1]
    slack = 0.02  # sides are rounded to pixels
    assert 0.02 - slack < shares.min() < 0.03 and area * 0.85 < shares.max() < area + slack
    assert 0.25 < aspects.min() < 0.6 and 2.2 < aspects.max() < 4
    expected_mean = (0.02 + area) / 2 if area == 0.1 else 0.18  # large flat ones do not fit
    assert abs(shares.mean() - expected_mean) < 0.03


def test_rectangles_reach_every_pixel(rng):
    """Rectangles occur everywhere, including at the borders; none occurs at probability 0."""
    images = torch.empty(6000, 20, 10, 3, dtype=torch.uint8)
    mask = np.zeros((6000, 20, 10), dtype=bool)
    rectangles = windows.sample_rectangles(images, rng, 1.0, 0.4)
    for index, (top, bottom, left, right) in enumerate(rectangles):
        mask[index, top:bottom, left:right] = True
    counts = mask.sum(axis=0)
    assert counts.min() > 0 and mask.any(axis=(1, 2)).all()
    close(counts / counts.max(), (counts / counts.max())[::-1, ::-1], atol=0.1)
    assert not np.any(windows.sample_rectangles(images, rng, 0.0, 0.4))


def test_a_view_without_augmentation_is_the_image_or_its_mirror(rng, device):
    """With all strengths at 0, the visible view is the plain image, mirrored half of the time."""
    images = pictures(rng, 200, 6, 5, device)
    views = transforms.visible_view(images, rng, OFF, ltg=True)
    close(unflipped(views, images), normalized(images))
    mirrored = (views.cpu() - normalized(images)).abs().amax(dim=(1, 2, 3)) > 1e-4
    assert 75 < int(mirrored.sum()) < 125


def test_the_mixture_is_of_all_channels_in_a_rectangle(rng, device):
    """Inside one rectangle all channels are the same convex mixture; outside nothing changes."""
    images = torch.from_numpy(rng.random((600, 16, 8, 3))).float().to(device)
    mixed = images.clone()
    rectangles = windows.sample_rectangles(images, rng, 0.5, 0.4)
    mixtures = transforms._on(images, transforms._sample_mixtures(600, rng))
    windows.mix_channels(mixed, rectangles, mixtures)
    solutions = []
    pairs = zip(images.cpu().permute(0, 3, 1, 2), mixed.cpu().permute(0, 3, 1, 2), strict=True)
    for before, after in pairs:
        changed = (before != after).any(dim=0)
        if changed.any():
            rectangle(changed)
            inside = after[:, changed]
            assert torch.equal(inside[0], inside[1]) and torch.equal(inside[0], inside[2])
            source = before[:, changed].T.double()
            if len(source) > 4:
                solutions.append(np.linalg.lstsq(source, inside[0].double(), rcond=None)[0])
    weights = np.stack(solutions)
    assert 200 < len(weights) < 330
    close(weights.sum(axis=1), np.ones(len(weights)), atol=1e-3)
    assert weights.min() > -1e-3
    samples = np.random.default_rng(0).beta(0.5, 0.5, (20000, 3))
    expected = samples / samples.sum(axis=1, keepdims=True)
    for channel in range(3):
        assert ks_2samp(weights[:, channel], expected[:, 0]).pvalue > 0.01
    uniform = np.random.default_rng(0).random((20000, 3))
    uniform /= uniform.sum(axis=1, keepdims=True)
    assert ks_2samp(weights.ravel(), uniform[:, 0]).pvalue < 1e-6, "the test could not tell"


@pytest.mark.parametrize("kind", ["radical", "mixture"])
def test_only_stage_one_has_a_linear_transform(rng, device, kind):
    """The local linear transform of either kind is applied only if requested."""
    images = pictures(rng, 20, 16, 8, device)
    augment = OFF.model_copy(update={"linear_probability": 1, "linear_transform": kind})
    without = transforms.visible_view(images, rng, augment, ltg=False)
    close(unflipped(without, images), normalized(images))
    with_ = unflipped(transforms.visible_view(images, rng, augment, ltg=True), images)
    assert ((with_ - normalized(images)).abs().amax(dim=(1, 2, 3)) > 0.01).all()


@pytest.mark.parametrize(("name", "num_choices"), [("augmented", 3), ("infrared", 4)])
def test_one_channel_views_repeat_a_channel(rng, device, name, num_choices):
    """All channels equal one channel of the image, or its gray for infrared, equally often."""
    images = pictures(rng, 400, 6, 5, device)
    four = OFF.model_copy(update={"infrared_forms": "four"})
    views = VIEWS[name](images, rng, four).cpu()
    assert torch.equal(views[:, 0], views[:, 1]) and torch.equal(views[:, 0], views[:, 2])
    plain = normalized(images)
    gray = torch.einsum("bchw,c->bhw", plain, LUMA)[:, None]
    candidates = torch.cat([plain, gray], dim=1)[:, :num_choices]
    candidates = torch.cat([candidates, candidates.flip(3)], dim=1)
    gaps = (candidates - views[:, :1]).abs().amax(dim=(2, 3))
    assert ((gaps < 1e-4).sum(dim=1) == 1).all()
    chosen = Counter((gaps.argmin(dim=1) % num_choices).tolist())
    assert len(chosen) == num_choices
    assert min(chosen.values()) > 0.7 * 400 / num_choices


@pytest.mark.parametrize(
    ("name", "fills"), [("visible", {0}), ("augmented", {1, 2, 3}), ("infrared", {0, 1, 2, 3, 4})]
)
def test_views_erase_normalized_images(rng, device, name, fills):
    """The fill is in the view itself, or its channel or gray where one is copied to all three."""
    white = torch.full((60, 20, 12, 3), 255, dtype=torch.uint8, device=device)
    augment = OFF.model_copy(update={"erasing_probability": 1.0})
    chosen = set()
    for view in VIEWS[name](white, rng, augment).cpu():
        erased = (view < 1).all(dim=0)  # normalized white is above 2
        rectangle(erased)
        inside = view[:, erased]
        close(inside, inside[:, :1].expand_as(inside), atol=0)
        allowed = torch.stack([FILL, *FILL[:, None].expand(3, 3), (FILL @ LUMA).expand(3)])
        gaps = (allowed - inside[:, 0]).abs().amax(dim=1)
        assert gaps.min() < 1e-6
        chosen.add(int(gaps.argmin()))
    assert chosen == fills


def test_channels_are_mixed_before_normalization(rng, device):
    """The mixture acts on colors in [0, 1]: undoing the normalization reveals equal channels."""
    images = pictures(rng, 20, 16, 8, device)
    augment = OFF.model_copy(update={"linear_probability": 1, "linear_transform": "mixture"})
    view = transforms.visible_view(images, rng, augment, ltg=True).cpu()
    std, mean = torch.tensor([0.229, 0.224, 0.225]), torch.tensor([0.485, 0.456, 0.406])
    color = view * std.view(3, 1, 1) + mean.view(3, 1, 1)
    equal = (color.amax(dim=1) - color.amin(dim=1)) < 1e-5
    assert (equal.flatten(1).sum(dim=1) >= 2).all()


@pytest.mark.parametrize("name", ["augmented", "infrared"])
def test_channel_views_are_jittered_cropped_and_erased(rng, device, name):
    """Each augmentation switch affects both channel-augmented views."""
    images = pictures(rng, 40, 20, 12, device)
    changes = {"pad": 5, "jitter": 0.5, "erasing_probability": 1}
    for key, value in changes.items():
        augment = OFF.model_copy(update={key: value})
        plain = VIEWS[name](images, np.random.default_rng(3), OFF)
        changed = VIEWS[name](images, np.random.default_rng(3), augment)
        assert (plain != changed).flatten(1).any(dim=1).all(), key
