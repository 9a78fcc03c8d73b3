"""Complete views: against torchvision's chain, in chunks, of gray images, and in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as oracle

from salcr.data import transforms, windows
from tests.support.helpers import close
from tests.support.views import FILL, LUMA, OFF, PAPER, VIEWS, pictures


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("at_once", [2, 5, 11])
def test_chunks_do_not_change_views(rng, device, monkeypatch, name, at_once):
    """A batch computed in chunks, the last one smaller, equals the batch computed at once."""
    images = pictures(rng, 11, 24, 16, device)
    images[3:7] = images[3:7, :, :, :1]  # a chunk of gray images among color images
    expected = VIEWS[name](images, np.random.default_rng(5), PAPER)
    monkeypatch.setattr(transforms, "_at_once", lambda images: at_once)
    close(VIEWS[name](images, np.random.default_rng(5), PAPER), expected)
    monkeypatch.setattr(transforms, "_at_once", lambda images: 1)
    close(VIEWS[name](images, np.random.default_rng(5), PAPER), expected)


@pytest.mark.parametrize("name", ["augmented", "infrared"])
def test_gray_images_are_not_a_special_case(rng, device, monkeypatch, name):
    """The shortcut for gray images changes no result; a single colored pixel disables it."""
    images = pictures(rng, 30, 24, 16, device)
    images[:] = images[..., :1]
    recorded = []
    planes = transforms._drop_equal_channels
    monkeypatch.setattr(
        transforms,
        "_drop_equal_channels",
        lambda all_: recorded.append(planes(all_)) or recorded[-1],
    )
    monkeypatch.setattr(transforms, "_at_once", lambda images: 1)
    augment = PAPER.model_copy(update={"pad": 3})
    gray = VIEWS[name](images, np.random.default_rng(5), augment)
    nearly_gray = images.clone()
    nearly_gray[:, 12, 8, 2] ^= 1
    nearly_gray_view = VIEWS[name](nearly_gray, np.random.default_rng(5), augment)
    monkeypatch.setattr(transforms, "_drop_equal_channels", lambda planes: planes)
    close(gray, VIEWS[name](images, np.random.default_rng(5), augment))
    assert torch.equal(
        nearly_gray_view, VIEWS[name](nearly_gray, np.random.default_rng(5), augment)
    )
    # A step of 1 of 255 in one of 384 pixels moves the mean gray by less than 1e-5.
    assert int(((gray - nearly_gray_view).abs() > 1e-3).flatten(2).any(dim=1).sum(dim=1).max()) <= 1
    if device.type == "cpu":
        assert all(one.shape[1] == 1 for one in recorded[:30])
        assert all(one.shape[1] == 3 for one in recorded[30:60])


@pytest.mark.parametrize("name", VIEWS)
def test_views_have_the_memory_layout_of_the_network(rng, device, name):
    """Views are already channels-last, so that they are passed on without a copy, and trainable."""
    view = VIEWS[name](pictures(rng, 4, 24, 16, device), rng, PAPER)
    assert view.is_contiguous(memory_format=torch.channels_last)
    weight = torch.ones(1, 3, 1, 1, device=device, requires_grad=True)
    torch.nn.functional.conv2d(view, weight).sum().backward()
    close(weight.grad.flatten(), view.sum(dim=(0, 2, 3)), rtol=1e-3)


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize(("forms", "num_choices"), [("five", 8), ("four", 4)])
def test_a_view_is_torchvisions_chain_with_the_sampled_parameters(
    rng, device, forms, num_choices, gray
):
    """Crop, mirror, jitter, normalization, erasing and choice, in this order, image by image."""
    images, seed = pictures(rng, 40, 24, 16, device), 8
    images = images[..., :1].expand_as(images) if gray else images
    augment = PAPER.model_copy(update={"infrared_forms": forms})
    view = transforms.infrared_view(images, np.random.default_rng(seed), augment).cpu()
    generator = np.random.default_rng(seed)
    places = windows.sample_windows(40, generator, 10)
    order = np.argsort(generator.random((40, 4)), axis=1)
    amounts = generator.uniform(-0.5, 0.5, (40, 4)) + np.array([1, 1, 1, 0])
    erased = windows.sample_rectangles(images, generator, 0.5, 0.4)
    choice = generator.integers(num_choices, size=40)
    assert set(choice) == set(range(num_choices))
    steps = (
        oracle.adjust_brightness,
        oracle.adjust_contrast,
        oracle.adjust_saturation,
        oracle.adjust_hue,
    )
    for index, image in enumerate(images.cpu().permute(0, 3, 1, 2)):
        down, right, mirrored = places[index].tolist()
        image = oracle.horizontal_flip(image) if mirrored else image
        image = oracle.crop(oracle.pad(image, [10, 10]), down + 10, right + 10, 24, 16)
        image = oracle.to_dtype(image, torch.float32, scale=True)
        for number in order[index]:
            image = steps[number](image, float(amounts[index, number]))
        image = oracle.normalize(image, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        top, bottom, left, right = erased[index].tolist()
        if bottom:
            fill = FILL.view(3, 1, 1)
            image = oracle.erase(image, top, left, bottom - top, right - left, fill)
        luma = torch.einsum("chw,c->hw", image, LUMA).expand_as(image)
        copies = [channel.expand_as(image) for channel in image]
        close(view[index], [*copies, luma, image, *copies][choice[index]], atol=1e-3)


def test_five_forms_have_the_released_shares(rng, device, golden):
    """Channel 0, 1, 2, gray and unchanged occur as often as in 20,000 views of the released code.

    The views are of one pixel of three clearly different channels, so its form can be read off.
    """
    color = torch.tensor([30, 90, 210], dtype=torch.uint8, device=device)
    views = transforms.infrared_view(color.expand(20000, 1, 1, 3), rng, OFF).flatten(1).cpu()
    plain = transforms.normalize_images(color.view(1, 1, 1, 3)).flatten().cpu()
    forms = torch.stack([*plain[:, None].expand(3, 3), (plain @ LUMA).expand(3), plain])
    gaps = (views[:, None] - forms).abs().amax(dim=2)
    assert (gaps.amin(dim=1) < 1e-4).all()
    shares = torch.bincount(gaps.argmin(dim=1), minlength=5).numpy() / len(views)
    expected = np.array([2, 2, 2, 1, 1]) / 8
    error = np.sqrt(expected * (1 - expected) / len(views))
    assert (np.abs(shares - golden("stage_one")["infrared_shares"]) < 4 * np.sqrt(2) * error).all()
    assert (np.abs(shares - expected) < 4 * error).all()
