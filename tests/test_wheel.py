"""`pip install .`: what the wheel contains and requires, and that it works outside the clone."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from argparse import ArgumentParser
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import salcr
from salcr.config.schema import Config
from salcr.models.checkpoint import write_model
from salcr.models.network import Network
from salcr.stages import tables
from tests.support.plans import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
SYNTHESIZE = [
    "--synthesize-num-identities", "4", "--synthesize-images-per-identity", "2",
    "--synthesize-num-trials", "1", "--synthesize-height", "64", "--synthesize-width", "32",
]  # fmt: skip


def run(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command without this process's Python path, and return it with its output."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [str(word) for word in words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of a copy of the clone, links kept as links, built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    unneeded = shutil.ignore_patterns("__pycache__")
    for name in ("salcr", "config", "workflow"):
        shutil.copytree(REPOSITORY / name, folder / "clone" / name, symlinks=True, ignore=unneeded)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, folder / "clone")
    words = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder]
    done = run(sys.executable, "-m", "pip", "wheel", *words, folder / "clone")
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_is_the_package(wheel: Path) -> None:
    """Every file below salcr/ is in it with the same bytes as here, with links resolved."""
    package = REPOSITORY / "salcr"
    expected = {
        path.relative_to(REPOSITORY).as_posix(): path.read_bytes()
        for path in package.rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    data = ("config/default.yaml", "models/synthetic_people.pth", "reporting/published.csv")
    assert {f"salcr/{name}" for name in data} <= expected.keys()
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    own = {name: content for name, content in files.items() if ".dist-info/" not in name}
    assert own.keys() == expected.keys()
    assert own == expected


def third_party(folder: Path) -> Iterator[str]:
    """Yield the top-level modules imported by code in a folder, except the standard library."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            yield from (name.partition(".")[0] for name in names)


def test_what_is_imported_is_required_and_nothing_else() -> None:
    """The dependencies, with the extras of two commands, are exactly what salcr/ imports."""
    extras = PROJECT["optional-dependencies"]
    lines = PROJECT["dependencies"] + extras["export"] + extras["serve"]
    requirements = [Requirement(line) for line in lines]
    required = {
        canonicalize_name(one.name)
        for one in requirements
        if one.marker is None or one.marker.evaluate()
    }
    imported = {*third_party(REPOSITORY / "salcr")} - {"salcr", *sys.stdlib_module_names}
    imported.add("tabulate")  # by pandas, for DataFrame.to_markdown
    imported.remove("tensorboard")  # of the extra for the workflow; without it, no curves
    providers = packages_distributions()
    assert {canonicalize_name(providers[name][0]) for name in imported} == required


def test_the_lock_meets_every_requirement() -> None:
    """Everything that pyproject.toml requires, extras included, is in requirements.lock."""
    locked: dict[str, list[str]] = {}
    for line in (REPOSITORY / "requirements.lock").read_text().splitlines():
        one = Requirement(line)
        locked.setdefault(canonicalize_name(one.name), []).append(next(iter(one.specifier)).version)
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    expected = [Requirement(line) for group in groups for line in group]
    extras = {extra for one in expected if one.name == "salcr" for extra in one.extras}
    assert extras == PROJECT["optional-dependencies"].keys() - {"dev"}  # the lock comes from dev
    for one in expected:
        if one.name != "salcr":
            versions = locked[canonicalize_name(one.name)]
            assert all(one.specifier.contains(version) for version in versions), one


def test_the_published_figures_are_the_packaged_ones() -> None:
    """Without --published, tables reads a file of the package, wherever it is run."""
    parser = ArgumentParser()
    tables.add_arguments(parser)
    path = parser.get_default("published")
    assert path.is_relative_to(Path(salcr.__file__).parent)
    assert {"source", "variant", "dataset"} <= set(pd.read_csv(path).columns)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in an unrelated Git repository: env/ has the wheel, and there is network.pt.

    The environment sees the packages of this one, but not the clone.
    """
    folder = tmp_path_factory.mktemp("installed")
    git = ["git", "-c", "user.name=a", "-c", "user.email=b", "-C", folder]
    assert run(*git, "init").returncode == 0
    assert run(*git, "commit", "--allow-empty", "-m", "something else").returncode == 0
    assert run(sys.executable, "-m", "venv", "--without-pip", folder / "env").returncode == 0
    (packages,) = (folder / "env/lib").glob("python*/site-packages")
    (packages / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    words = ["--python", folder / "env/bin/python", "install", "--no-deps", "--no-index", wheel]
    done = run(sys.executable, "-m", "pip", *words)
    assert done.returncode == 0, done.stderr
    network = Network(backbone="resnet18", width=8, num_parts=3)
    write_model(
        folder / "network.pt", network, image_size=(64, 32), settings=Config.model_construct(),
        round_=0, trial=1, data_hash=None,
    )  # fmt: skip
    return folder


def command(installed: Path, *words: object) -> str:
    """Run the installed `salcr` in the folder and return its output; it must succeed."""
    done = run(installed / "env/bin/salcr", *words, cwd=installed)
    assert done.returncode == 0, done.stderr
    return done.stdout


def module(installed: Path, *words: object) -> str:
    """Run the installed `python -m salcr` in the folder and return its output."""
    done = run(installed / "env/bin/python", "-m", "salcr", *words, cwd=installed)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_both_entry_points_are_the_installed_package(installed: Path) -> None:
    """The package is the one in the environment; each entry point names itself in its usage."""
    code = "import salcr, salcr.api; print(salcr.__file__)"
    done = run(installed / "env/bin/python", "-c", code, cwd=installed)
    assert done.stdout.startswith(str(installed / "env/lib")), done.stderr
    assert command(installed, "--version") == f"salcr {salcr.__version__}\n"
    assert command(installed, "info", "--help").startswith("usage: salcr info ")
    assert module(installed, "info", "--help").startswith("usage: python -m salcr info ")


@pytest.mark.slow
def test_info_says_that_this_is_not_a_clone(installed: Path) -> None:
    """It names what is missing, without an error; the enclosing repository is not its own."""
    text = command(installed, "info", "--job", "job.json")
    assert f"installed in {installed / 'env/lib'}" in text and "not in a clone" in text
    assert "regdb, data/RegDB: not there" in text
    assert "make demo" not in text and "make venv" not in text
    assert f"torch {torch.__version__.partition('+')[0]}" in text
    job = json.loads((installed / "job.json").read_text())
    assert job["commit"] is None and job["clean"] is None and job["code"]


@pytest.mark.slow
def test_verify_includes_its_values(installed: Path) -> None:
    """All eleven modules agree with the values in the wheel."""
    lines = command(installed, "verify", "--device", "cpu").splitlines()
    assert len(lines) == 12 and all(line.endswith("  yes") for line in lines[1:])


@pytest.mark.slow
def test_images_are_synthesized_embedded_searched_and_exported(installed: Path) -> None:
    """One command after another; the features equal those of the installed `salcr.api`."""
    command(installed, "synthesize", "--out", "people", *SYNTHESIZE)
    network = ["--checkpoint", "network.pt"]
    device = ["--device", "cpu"]
    folders = ["--images", "people/Visible", "people/Thermal"]
    modalities = ["--modality", "visible", "infrared"]
    module(installed, "embed", *folders, *modalities, *network, "--out", "index", *device)
    lines = pd.read_csv(installed / "index/files.csv")
    assert lines["modality"].value_counts().to_dict() == {"visible": 8, "infrared": 8}

    names = ["people/" + ("Visible", "Thermal")[one.folder] + "/" + one.file
             for one in lines.itertuples()]  # fmt: skip
    code = (
        "import sys, numpy; from salcr import api; names = sys.argv[1:]; "
        "words = ['visible' if 'Visible' in name else 'infrared' for name in names]; "
        "network = api.load_network('network.pt', device='cpu'); "
        "numpy.save('features.npy', network.embed(names, words))"
    )
    done = run(installed / "env/bin/python", "-c", code, *names, cwd=installed)
    assert done.returncode == 0, done.stderr
    features, expected = (
        np.load(installed / name) for name in ("features.npy", "index/features.npy")
    )
    np.testing.assert_allclose(features, expected, atol=1e-5)

    words = ["--query", names[0], "--top", 3, "--page", "hits.html", "--json", "hits.json"]
    text = module(installed, "search", "--index", "index", *network, *words, *device)
    query = features[names.index(names[0])]
    infrared = np.flatnonzero(lines["modality"] == "infrared")
    best = infrared[np.argsort(-(features[infrared] @ query), kind="stable")[:3]]
    assert re.findall(r"people/Thermal/\S+", text) == [names[row] for row in best]
    assert "SALCR search" in (installed / "hits.html").read_text()
    module(installed, "export", *network, "--modality", "infrared", "--out", "model.onnx")
    assert (installed / "model.onnx").stat().st_size > 10_000
