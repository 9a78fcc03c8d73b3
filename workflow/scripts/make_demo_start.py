"""Trains the network that the demo starts from: python -m workflow.scripts.make_demo_start.

Real runs start from ImageNet's weights, of a network that has learned to see. This is the same for
synthetic people: a ResNet-18 of width 16 (model.weights: synthetic), trained to tell apart visible
images of 300 people. Their seed is one that a configuration cannot have, so they are never the
people of a demo or a study; infrared images are not used. The network learns from the plain and the
channel-augmented view by turns: pooled feature, batch norm, linear classifier.

The file holds the stem and the trunk, in float16 to be small, and the recipe with the accuracy on
images that were not trained on, 99.8%. It takes 80 seconds with one thread. The same machine writes
the same file again; another one may round differently.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from salcr.atomic import atomic_path
from salcr.config.method import Augment
from salcr.config.synthetic import SYNTHETIC_NETWORK, SYNTHETIC_WEIGHTS
from salcr.data.transforms import augmented_view, normalize_images, visible_view
from salcr.datasets.synthetic.people import render, sample_person
from salcr.log import say
from salcr.models.network import generalized_mean
from salcr.models.resnet import Stem, Trunk, initialize
from salcr.training.seeding import make_generator, seed_torch

SEED = 2**31  # `seed` of a configuration is below
HEIGHT, WIDTH = 96, 48
AUGMENT = Augment(
    pad=4,
    jitter=0.5,
    erasing_probability=0.5,
    erasing_max_area=0.15,
    linear_probability=0.0,
    linear_transform="radical",
    infrared_forms="five",
)
_PERSON, _IMAGE, _WEIGHTS, _BATCH = range(4)


@dataclass(frozen=True)
class Recipe:
    """What the network is trained on, and how long."""

    people: int = 300
    images: int = 20  # of each person, to train on
    test_images: int = 2  # of each person, other ones
    hardness: float = 0.75
    steps: int = 600
    batch: int = 64
    learning_rate: float = 4e-3
    label_smoothing: float = 0.1


class Classifier(nn.Module):
    """The stem and the trunk of the demo's network, and a classifier of people."""

    def __init__(self, people: int) -> None:
        super().__init__()
        backbone, width = SYNTHETIC_NETWORK
        self.stem, self.trunk = Stem(width), Trunk(backbone, width)
        initialize(self)
        self.neck = nn.BatchNorm1d(self.trunk.num_channels)
        self.classifier = nn.Linear(self.trunk.num_channels, people, bias=False)

    def forward(self, views: Tensor) -> Tensor:
        """Return the logits [B, people] of normalized images [B, 3, H, W]."""
        return self.classifier(self.neck(generalized_mean(self.trunk(self.stem(views)))))


def render_people(recipe: Recipe) -> Tensor:
    """Return visible images, uint8 [people, images + test_images, H, W, 3]."""
    count = recipe.images + recipe.test_images
    images = np.empty((recipe.people, count, HEIGHT, WIDTH, 3), np.uint8)
    for identity, own in enumerate(images):
        person = sample_person(make_generator(SEED, _PERSON, identity))
        for index in range(count):
            own[index] = render(
                person,
                modality="visible",
                rng=make_generator(SEED, _IMAGE, identity, index),
                height=HEIGHT,
                width=WIDTH,
                hardness=recipe.hardness,
            )
    return torch.from_numpy(images)


def train(images: Tensor, recipe: Recipe) -> Classifier:
    """Return the network, trained on images [people, images, H, W, 3]."""
    seed_torch(SEED, _WEIGHTS)
    network = Classifier(recipe.people)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.learning_rate, total_steps=recipe.steps
    )
    for step in range(recipe.steps):
        rng = make_generator(SEED, _BATCH, step)
        labels = torch.from_numpy(rng.integers(len(images), size=recipe.batch))
        chosen = images[labels, torch.from_numpy(rng.integers(images.shape[1], size=recipe.batch))]
        if step % 2 == 0:
            views = visible_view(chosen, rng, AUGMENT, ltg=False)
        else:
            views = augmented_view(chosen, rng, AUGMENT)
        loss = F.cross_entropy(network(views), labels, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            say(f"step {step}: loss {loss.item():.3f}")
    return network


@torch.no_grad()
def accuracy(network: Classifier, images: Tensor) -> float:
    """Return the share of images [people, images, H, W, 3] that get the right label."""
    network.eval()
    right = [
        (network(normalize_images(own)).argmax(dim=1) == identity).float().mean()
        for identity, own in enumerate(images)
    ]
    return float(torch.stack(right).mean())


def start(network: Classifier) -> dict[str, Tensor]:
    """Return the state dict of stem and trunk with torchvision's names, in float16."""
    state = network.stem.state_dict() | network.trunk.state_dict()
    return {
        name: value.half()
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
    }


def make(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Train and write the file, and return the recipe with the accuracy that was reached."""
    torch.set_num_threads(1)
    images = render_people(recipe)
    network = train(images[:, : recipe.images], recipe)
    made = asdict(recipe) | {
        "seed": SEED,
        "accuracy": round(accuracy(network, images[:, recipe.images :]), 4),
    }
    with atomic_path(out) as temporary, temporary.open("wb") as file:
        torch.save({"state_dict": start(network), "recipe": made}, file)
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=SYNTHETIC_WEIGHTS, help="file to write")
    say(f"made: {make(Recipe(), parser.parse_args().out)}")
