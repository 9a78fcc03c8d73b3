"""The radical local linear transform: golden values, statistics, and a plain formulation."""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from salcr.data import kernels, linear_transform, transforms
from tests.support.helpers import close
from tests.support.views import OFF, PAPER, pictures

Form = Callable[[Tensor, np.ndarray, np.ndarray], Tensor]


def one_by_one(images: Tensor, rectangles: np.ndarray, draws: np.ndarray) -> Tensor:
    """Return the compiled form's result."""
    result = images.clone()
    linear_transform.scale_one_by_one(result, rectangles, draws)
    return result


FORMS = {"one by one": one_by_one, "together": linear_transform.scale_together}
forms = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def plain(image: np.ndarray, rectangles: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, int]:
    """Return a transformed image [H, W, 3] in [0, 255] and the number of its rectangles."""
    image, product = image.astype(np.float64) / 255, np.ones(image.shape)
    for number, (top, bottom, left, right) in enumerate(rectangles):
        for channel in range(3):
            place = (slice(top, bottom), slice(left, right), channel)
            if image[place].any():
                factor = draws[number, channel] / image[place].max()
                image[place] *= factor
                product[place] *= factor
        if product.min() <= 1e-6:
            return 255 * image, number + 1
    return 255 * image, len(rectangles)


def smooth_pictures(
    rng: np.random.Generator, batch: int, height: int = 48, width: int = 24
) -> Tensor:
    """Return images [B, H, W, 3] in [0, 255] that resemble two of the golden images.

    Of all regular grids of colors, interpolated linearly or cubically, 5 x 3 cubically explains
    those two best: what is left is noise of 0.05 everywhere.
    """
    coarse = torch.from_numpy(rng.random((batch, 3, 5, 3)))
    size = (height, width)
    fine = torch.nn.functional.interpolate(coarse, size, mode="bicubic", align_corners=True)
    fine += 0.05 * torch.from_numpy(rng.standard_normal(fine.shape))
    return (fine.clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).float().contiguous()


@forms
def test_golden_rectangles_and_factors_give_the_golden_images(golden, form):
    """Both forms transform the released code's images as it does, black channels included."""
    data = golden("stage_one")
    owner, count = data["ltg_image_of"], 30
    rectangles = np.zeros((4, count, 4), np.int64)
    draws = np.zeros((4, count, 3), np.float32)
    for image in range(4):
        own = owner == image
        top, left, tall, wide = data["ltg_rectangles"][own].T
        rectangles[image, : own.sum()] = np.stack([top, top + tall, left, left + wide], axis=1)
        draws[image, : own.sum()] = data["ltg_factors"][own]
    assert np.isnan(draws).any(), "a channel that is black in a rectangle draws nothing"
    images = torch.tensor(data["ltg_images"]).float().permute(0, 2, 3, 1).contiguous()
    close(form(images, rectangles, draws).permute(0, 3, 1, 2) / 255, data["ltg_outputs"])
    # The file ends where an image is finished: the plain formulation needs all rectangles but
    # none of those that would follow.
    rectangles[:, -1], draws[:, -1] = (0, 48, 0, 24), 0.5
    for image in range(4):
        result, used = plain(images[image].numpy(), rectangles[image], draws[image])
        assert used == (owner == image).sum()
        close(result / 255, data["ltg_outputs"][image].transpose(1, 2, 0))


def test_statistics_agree_with_the_released_code(rng, golden):
    """Rectangles, changed values, change and blackness agree within four standard errors.

    The same images with one rectangle only, or with uniform draws, do not. The images behind
    the statistics are not in the file. Images like two of its own agree within one standard error
    at 96 x 48 pixels; at 48 x 24, they take more rectangles, by three standard errors.
    """
    images = smooth_pictures(rng, 1000, 96, 48)
    rectangles, draws = linear_transform.sample_rectangles(rng.integers(2**63, size=1000), 96, 48)

    def deviations(rectangles: np.ndarray, draws: np.ndarray) -> np.ndarray:
        outputs = one_by_one(images, rectangles, draws)
        change = (outputs - images).abs().flatten(1) / 255
        measured = {
            "rectangles": [
                plain(*one)[1] for one in zip(images.numpy(), rectangles, draws, strict=True)
            ],
            "changed": (change > 0).float().mean(dim=1).numpy(),
            "change": change.mean(dim=1).numpy(),
            "black": (outputs < 0.02 * 255).flatten(1).float().mean(dim=1).numpy(),
        }
        result = []
        for name, values in measured.items():
            mean, error = golden("stage_one")[f"ltg_mean_{name}"]
            own = np.std(values) / np.sqrt(len(images))
            result.append((np.mean(values) - mean) / np.hypot(own, error))
        return np.abs(result)

    assert (deviations(rectangles, draws) < 4).all()
    assert (deviations(rectangles[:, :1], draws[:, :1]) > 4).all()
    uniform = rng.random(draws.shape, np.float32)
    assert (deviations(rectangles, uniform) > 4).any()


def test_rectangles_and_draws_are_distributed_as_described(rng):
    """Sides, places and draws have the distributions of a plain sampler with rejection."""
    height, width = 60, 40
    rectangles, draws = linear_transform.sample_rectangles(
        rng.integers(2**63, size=100), height, width
    )
    area = rng.uniform(0.02, 0.4, 40000) * height * width
    aspect = rng.uniform(0.3, 1 / 0.3, 40000)
    tall, wide = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
    fits = (tall < height) & (wide < width)
    tall, wide = tall[fits], wide[fits]
    top, left = rng.integers(height - tall + 1), rng.integers(width - wide + 1)
    expected = np.column_stack([top, top + tall, left, left + wide])
    flat = rectangles.reshape(-1, 4)
    sides = [np.stack([r[:, 1] - r[:, 0], r[:, 3] - r[:, 2]]) for r in (flat, expected)]
    assert stats.ks_2samp(*[tall / wide for tall, wide in sides]).pvalue > 0.01
    assert stats.ks_2samp(*[tall * wide for tall, wide in sides]).pvalue > 0.01
    for corner in range(4):
        assert stats.ks_2samp(flat[:, corner], expected[:, corner]).pvalue > 0.01
    assert flat.min() == 0 and flat[:, 1].max() == height and flat[:, 3].max() == width
    for channel in range(3):
        assert stats.kstest(draws[..., channel].ravel(), "beta", (0.5, 0.5)).pvalue > 0.01
    numbers = np.concatenate([flat, draws.reshape(-1, 3)], axis=1)
    both = np.corrcoef(np.concatenate([numbers[1:], numbers[:-1]], axis=1).T)
    assert np.abs(both[:7, 7:]).max() < 0.05, "consecutive rectangles are independent"
    assert np.abs(both[4:7, :7] - np.eye(7)[4:7]).max() < 0.05, "draws are independent"


@forms
def test_sampled_transforms_equal_a_plain_formulation(rng, form):
    """Each image is transformed until it is finished, and not beyond; one has a black border."""
    images = smooth_pictures(rng, 40)
    images[:20, :12] = 0
    rectangles, draws = linear_transform.sample_rectangles(rng.integers(2**63, size=40), 48, 24)
    results = form(images, rectangles, draws)
    used = []
    for index, image in enumerate(images.numpy()):
        expected, count = plain(image, rectangles[index], draws[index])
        close(results[index], expected, atol=1e-3)
        used.append(count)
    assert min(used) < 9 < 17 < max(used) < 100


def test_the_form_of_a_gpu_is_the_compiled_form(rng, device):
    """All images at once, on any device, give the result of the compiled loop."""
    images = torch.cat([smooth_pictures(rng, 20), pictures(rng, 20, 48, 24, "cpu").float()])
    images[3:6, :, :12], images[6, ..., 1], images[7] = 0, 0, 0
    rectangles, draws = linear_transform.sample_rectangles(rng.integers(2**63, size=40), 48, 24)
    together = linear_transform.scale_together(images.to(device), rectangles, draws)
    close(together, one_by_one(images, rectangles, draws), rtol=1e-6, atol=0)


@forms
def test_a_finished_image_ignores_further_rectangles(form):
    """A worked example: maxima, the rule to stop, and the image beside one that continues."""
    images = torch.full((2, 2, 4, 3), 204.0)
    images[:, :, 2:] = 102
    rectangles = np.array([[[0, 2, 0, 4], [0, 2, 2, 4], [0, 1, 0, 1]]] * 2)
    draws = np.full((2, 3, 3), 0.5, np.float32)
    draws[:, 2] = 0.25
    draws[0, 1, 0] = 1e-7  # finishes image 0
    # 204 becomes the maximum 0.5 x 255, and 102 half of that; in its own rectangle, it is the
    # maximum and becomes 0.5 x 255, too. A corner of image 1 then becomes 0.25 x 255.
    expected = torch.full((2, 2, 4, 3), 127.5)
    expected[0, :, 2:, 0] = 255e-7
    expected[1, 0, 0] = 63.75
    close(form(images, rectangles, draws), expected)


@forms
def test_black_channels_are_left_alone(rng, form):
    """A black channel neither changes nor divides by 0, and 100 rectangles are enough for all.

    With draws of 1, no factor is below 1, so no image is finished before.
    """
    images = smooth_pictures(rng, 3)
    images[0, ..., 1], images[1] = 0, 0
    rectangles, draws = linear_transform.sample_rectangles(rng.integers(2**63, size=3), 48, 24)
    results = form(images, rectangles, draws)
    assert torch.equal(results[1], images[1]) and not results[0, ..., 1].any()
    assert torch.isfinite(results).all() and not torch.equal(results[0], images[0])
    endless = form(images, rectangles, np.ones_like(draws))
    for index in range(3):
        expected, used = plain(images[index].numpy(), rectangles[index], np.ones((100, 3)))
        assert used == 100
        close(endless[index], expected, atol=1e-3)


def test_an_image_depends_on_its_seed_only(rng, device):
    """Alone, or among others of which some are not chosen, an image is transformed the same way."""
    images = smooth_pictures(rng, 9).to(device)
    seeds, chosen = rng.integers(2**63, size=9), np.array([1, 2, 5, 8])
    batch = images.clone()
    linear_transform.transform_images(batch, seeds, chosen)
    for index in range(9):
        alone = images[index : index + 1].clone()
        linear_transform.transform_images(alone, seeds[index : index + 1], np.array([0]))
        assert not torch.equal(alone[0], images[index])
        assert torch.equal(batch[index], alone[0] if index in chosen else images[index])


@pytest.mark.parametrize("threads", [2, 5])
def test_the_number_of_threads_changes_nothing(rng, threads):
    """With more threads, even more than images, results are equal bit for bit."""
    images, seeds = smooth_pictures(rng, 4), rng.integers(2**63, size=4)
    before, results = torch.get_num_threads(), []
    for count in (1, threads):
        torch.set_num_threads(count)
        results.append(images.clone())
        linear_transform.transform_images(results[-1], seeds, np.arange(4))
    torch.set_num_threads(before)
    assert torch.equal(*results) and not torch.equal(results[0], images)


def test_the_view_transforms_crops_with_their_black_border(rng, device):
    """Crop and flip, the transform of half of the images, normalization: in this order."""
    images, seed = pictures(rng, 30, 24, 16, device), 3
    augment = PAPER.model_copy(update={"erasing_probability": 0})
    view = transforms.visible_view(images, np.random.default_rng(seed), augment, ltg=True).cpu()
    generator = np.random.default_rng(seed)
    corners, mirrored = generator.integers(21, size=(30, 2)), generator.random(30) < 0.5
    chosen, seeds = generator.random(30) < 0.5, generator.integers(2**63, size=30)
    rectangles, draws = linear_transform.sample_rectangles(seeds, 24, 16)
    for index, image in enumerate(images.cpu().numpy()):
        image = np.pad(image[:, ::-1] if mirrored[index] else image, ((10, 10), (10, 10), (0, 0)))
        top, left = corners[index]
        image = image[top : top + 24, left : left + 16]
        if chosen[index]:
            image, _ = plain(image, rectangles[index], draws[index])
        expected = (image / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        close(view[index].permute(1, 2, 0), expected.astype(np.float32), atol=1e-4)
    assert 9 < chosen.sum() < 21


def test_images_that_are_not_transformed_have_seeds_too(rng, device):
    """The probability changes no other random number: the same rectangles are erased."""
    images = pictures(rng, 20, 24, 16, device)
    states = []
    for probability in (0, 0.5, 1):
        generator = np.random.default_rng(5)
        augment = OFF.model_copy(update={"linear_probability": probability})
        transforms.visible_view(images, generator, augment, ltg=True)
        states.append(generator.bit_generator.state)
    assert states[0] == states[1] == states[2]


def test_without_a_folder_for_compiled_code_the_kernels_still_run(monkeypatch):
    """If numba has no writable folder, a kernel is compiled for the current process."""
    monkeypatch.setattr(numba.config, "CACHE_LOCATOR_CLASSES", "ZipCacheLocator")

    def doubled(value):  # type: ignore[no-untyped-def]
        return 2 * value

    with pytest.raises(RuntimeError, match="no locator"):
        numba.njit(cache=True)(doubled)
    assert kernels._compiled(doubled)(4) == 8
