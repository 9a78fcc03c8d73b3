"""Download the ImageNet weights of a backbone once, so that compute nodes need no internet."""

from __future__ import annotations

import argparse
import hashlib
import re
import urllib.request
from http.client import HTTPException
from pathlib import Path

from salcr import files
from salcr.config.schema import Config
from salcr.errors import SalcrError
from salcr.log import say
from salcr.models.resnet import ARCHITECTURES

# torchvision's publisher puts the first digits of a file's SHA-256 into its name.
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.pth$")
_CHUNK = 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the stage writes."""
    parser.add_argument("--backbone", choices=list(ARCHITECTURES), required=True, help="network")
    parser.add_argument("--out", type=Path, required=True, help="state dict to write")


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Download torchvision's IMAGENET1K_V1 weights, check them and write their SHA-256 beside."""
    from torchvision.models import get_model_weights

    url = get_model_weights(arguments.backbone).IMAGENET1K_V1.url
    digest = download(url, arguments.out)
    files.write_text(arguments.out.with_suffix(".sha256"), f"{digest}  {arguments.out.name}\n")
    say(f"{arguments.out}: {url}, sha256 {digest}")


def download(url: str, out: Path) -> str:
    """Download a file whose name carries the first digits of its SHA-256; return the SHA-256.

    Raises:
        SalcrError: no connection, or the content is not what the name says; nothing is written.
    """
    match = _HASH_IN_NAME.search(url)
    if match is None:
        raise SalcrError(f"{url}: carries no hash in its name")
    digest = hashlib.sha256()
    with files.atomic_path(out) as temporary:
        try:
            with urllib.request.urlopen(url, timeout=60) as response, temporary.open("wb") as file:
                while chunk := response.read(_CHUNK):
                    digest.update(chunk)
                    file.write(chunk)
        except (HTTPException, OSError) as error:  # URLError and time-outs are OSErrors
            raise SalcrError(
                f"{url}: cannot be downloaded ({error}); fetch it on another machine and set "
                "model.weights to its path"
            ) from None
        if not digest.hexdigest().startswith(match[1]):
            raise SalcrError(f"{url}: came damaged (sha256 {digest.hexdigest()}); try again")
    return digest.hexdigest()
