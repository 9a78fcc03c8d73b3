"""docs/own-pictures.md, run as it is written, from the pictures to the search page."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.support import plans, tiny
from tests.support.markdown import ROOT, code_lines

_SMALL = {"clustering": {"k1": 10, "k2": 4, "eps": 0.6}}


@pytest.mark.slow
def test_every_command_runs_and_the_page_is_served(tmp_path: Path) -> None:
    """With a training of seconds in place of the demo's; the one for a GPU is left out."""
    plans.copy_code(tmp_path)
    config = {**yaml.safe_load(tiny.TINY_CONFIG.read_text()), **_SMALL, "variants": {"salcr": {}}}
    (tmp_path / "config/demo.yaml").write_text(yaml.safe_dump(config))
    page = (ROOT / "docs/own-pictures.md").read_text().replace("round12", "round01")
    lines = [line for line in code_lines(page) if line.startswith(("python -m", "snakemake "))]
    lines = [line for line in lines if "config/folders.yaml" not in line]
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": programs, "PYTEST_XDIST_WORKER": ""}
    assert len(lines) == 7 and lines[-1].startswith("python -m salcr serve ")
    for line in lines[:-1]:
        done = subprocess.run(
            line,
            shell=True,
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}"
    results = tmp_path / "results/own"
    assert "<h3>" in (results / "report.html").read_text()
    assert "synthetic 000a83d43f7f.jpg" in (results / "hits.html").read_text()
    words = [*lines[-1].split(), "--port", "0"]
    with subprocess.Popen(
        words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    ) as server:  # fmt: skip
        assert server.stdout is not None
        printed = next(found for line in server.stdout if (found := re.search(r"http://\S+", line)))
        with urllib.request.urlopen(f"{printed[0].rstrip('/')}/api/index", timeout=60) as answer:
            described = json.load(answer)
        server.terminate()
    assert described["num_pictures"] == {"infrared": 1120, "visible": 1120}
    assert described["people_from"] == "identities" and described["thresholds"]
