"""Download the ImageNet weights of a backbone once, so that compute nodes need no internet."""

from __future__ import annotations

import argparse
import re
import socket
import sys
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError

import torch

from salcr import files
from salcr.atomic import follow_link, temporary_folder
from salcr.config.schema import Config
from salcr.errors import SalcrError
from salcr.log import say
from salcr.models.resnet import ARCHITECTURES

# Published file names of torchvision's weights carry the first digits of their SHA-256.
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.pth$")
_TIMEOUT = 60.0  # seconds without a response


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments."""
    parser.add_argument("--backbone", choices=list(ARCHITECTURES), required=True, help="network")
    parser.add_argument("--out", type=Path, required=True, help="state dict to write")


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Download torchvision's IMAGENET1K_V1 weights, check them and write them and their SHA-256."""
    from torchvision.models import get_model_weights

    url = get_model_weights(arguments.backbone).IMAGENET1K_V1.url
    digest = download(url, arguments.out)
    files.write_text(arguments.out.with_suffix(".sha256"), f"{digest}  {arguments.out.name}\n")
    say(f"{arguments.out}: {url}, sha256 {digest}")


def download(url: str, out: Path) -> str:
    """Download a file whose name holds the first digits of its SHA-256, and return the SHA-256.

    Args:
        url: of the file.
        out: file to write; only a complete file is written.

    Raises:
        SalcrError: there is no connection, the content does not match the name, or `out` cannot be
            written.
    """
    match = _HASH_IN_NAME.search(url)
    if match is None:
        raise SalcrError(f"{url}: the file name does not hold a hash")
    out = follow_link(out)
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)  # torch.hub would wait forever
    # To a temporary folder, because torch.hub also writes a temporary file beside its result.
    with temporary_folder(out) as folder:
        whole = folder / out.name
        try:
            torch.hub.download_url_to_file(url, str(whole), match[1], progress=sys.stderr.isatty())
        except RuntimeError as error:
            raise SalcrError(f"{url}: the download is damaged ({error}); try again") from None
        except (URLError, HTTPException, ConnectionError, TimeoutError) as error:
            raise SalcrError(
                f"{url}: cannot be downloaded ({error}); fetch it on another machine and set "
                "model.weights to its path"
            ) from None
        finally:
            socket.setdefaulttimeout(timeout)
        digest = files.sha256(whole)
        whole.replace(out)
    return digest
