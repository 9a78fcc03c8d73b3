"""The keys of synthetic people, and the network that was trained on other ones."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from salcr.config.section import Section

# The network of `model.weights: synthetic`, which workflow/scripts/make_demo_start.py trains.
SYNTHETIC_WEIGHTS = Path(__file__).parents[1] / "models" / "synthetic_people.pth"
SYNTHETIC_NETWORK = ("resnet18", 16)


class Synthesize(Section):
    """Synthetic people for the demo and the tests."""

    num_identities: int = Field(ge=4, description="people; each trial trains on half of them")
    own_people: bool = Field(description="true: so many for each trial; false: all share them")
    images_per_identity: int = Field(ge=2, description="images of a person in each modality")
    num_trials: int = Field(ge=1, le=99, description="random splits to write, RegDB's layout only")
    hardness: float = Field(ge=0, le=1, description="0: infrared resembles gray visible; 1: not")
    occlusion: float = Field(ge=0, le=1, description="share of images with an object in front")
    misalignment: float = Field(ge=0, le=0.5, description="largest error of the detector box")
    private_cues: float = Field(ge=0, le=1, description="share of cues that one modality shows")
    look_alikes: float = Field(ge=0, le=1, description="share of people who differ in one stripe")
    unpaired: float = Field(ge=0, le=1, description="share of training people in one modality only")
    height: int = Field(ge=32, le=1024, description="image height in pixels")
    width: int = Field(ge=16, le=1024, description="image width in pixels")
