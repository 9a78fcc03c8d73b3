# An index of folders of pictures, by as many jobs as wanted:
#   snakemake -s workflow/embed.smk --cores all --config images=FOLDER checkpoint=CHECKPOINT \
#     out=INDEX shards=8
# Other words of --config: modality (one, or one for each folder), kind, device, threads. Several
# folders are "images=[ONE, OTHER]". Pictures that are added, removed or replaced rerun the jobs,
# which embed only what is new.
import functools
import hashlib
import os
import shlex
import sys
from pathlib import Path

# Jobs run `python -m salcr` of this checkout with the Python that runs Snakemake.
for variable, folder in (
    ("PATH", Path(sys.executable).parent),
    ("PYTHONPATH", Path(workflow.basedir).parent),
):
    others = os.getenv(variable)
    os.environ[variable] = f"{folder}{os.pathsep}{others}" if others else str(folder)
sys.path.insert(0, str(Path(workflow.basedir).parent))

from salcr.data.pictures import list_files
from salcr.errors import SalcrError
from salcr.search.factory import KINDS


def stop(message):
    """End with a message for the user instead of Snakemake's report of an exception."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


WORDS = {
    "images": None,
    "checkpoint": None,
    "out": None,
    "shards": 1,
    "modality": "auto",
    "kind": "flat",
    "device": "auto",
    "threads": 1,
}
"""Word of --config -> its default."""


def words(key):
    """Return the value of a word of --config as a list of texts."""
    value = config.get(key, WORDS[key])
    if value in (None, []):
        stop(f"--config {key}=...: is missing; see the head of workflow/embed.smk")
    return [str(one) for one in (value if isinstance(value, list) else [value])]


def word(key):
    """Return the only value of a word of --config as text."""
    first, *others = words(key)
    if others:
        stop(f"--config {key}: takes one value, not {1 + len(others)}")
    return first


if unknown := sorted(set(config) - set(WORDS)):
    stop(f"--config {unknown[0]}: is not one of {', '.join(WORDS)}")
IMAGES, MODALITY = words("images"), words("modality")
CHECKPOINT, OUT = word("checkpoint"), word("out").rstrip("/")
KIND, DEVICE = word("kind"), word("device")
THREADS, SHARDS = word("threads"), word("shards")
if not (SHARDS.isdecimal() and THREADS.isdecimal() and int(SHARDS) and int(THREADS)):
    stop("--config shards and threads: must be whole numbers from 1")
if KIND not in KINDS:
    stop(f"--config kind={KIND}: is not one of {', '.join(KINDS)}")


@functools.cache
def pictures():
    """Return a hash of the names, sizes, and dates of all pictures."""
    digest = hashlib.sha256()
    try:
        for folder in IMAGES:
            for name in list_files(Path(folder)):
                status = os.stat(Path(folder, name), follow_symlinks=False)
                line = [folder, name, status.st_size, status.st_mtime_ns]
                digest.update(repr(line).encode())
    except SalcrError as error:
        stop(error)
    return digest.hexdigest()


rule embed_folder:
    default_target: True
    input:
        f"{OUT}/embed.json",
        f"{OUT}.shards/join.json",  # without it, the index is of another command


# Its outputs are temporary, since `join-index` deletes the blocks: what writes the index again, such
# as another kind, needs all parts again. They keep the features of the index that is there.
rule embed_shard:
    input:
        checkpoint=CHECKPOINT,
    output:
        job=temp(f"{OUT}.shards/{SHARDS}/{{shard}}.json"),
    log:
        f"{OUT}.shards/{SHARDS}/{{shard}}.log",
    threads: int(THREADS)
    resources:
        gpu=0 if DEVICE == "cpu" else 1,
        mem_mb=4000,
        runtime=240,
    params:
        images=shlex.join(IMAGES),
        modality=shlex.join(MODALITY),
        out=OUT,
    message:
        "embed: part {wildcards.shard} of {SHARDS}"
    shell:
        "python -m salcr embed"
        " --images {params.images}"
        " --modality {params.modality}"
        " --checkpoint {input.checkpoint:q}"
        " --out {params.out:q}"
        " --shard {wildcards.shard}/{SHARDS}"
        " --device {DEVICE:q}"
        " --threads {threads}"
        " --job {output.job:q}"
        " > {log:q} 2>&1"


rule join_index:
    input:
        expand(
            "{out}.shards/{of}/{n}.json",
            out=OUT,
            of=SHARDS,
            n=range(1, int(SHARDS) + 1),
        ),
    output:
        summary=f"{OUT}/embed.json",
        job=f"{OUT}.shards/join.json",
    log:
        f"{OUT}.shards/join.log",
    threads: int(THREADS)
    resources:
        mem_mb=lambda wildcards, attempt: 16000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        kind=KIND,
        out=OUT,
        pictures=lambda wildcards: pictures(),
        folders=[IMAGES, MODALITY],
    message:
        "join-index: {OUT}"
    shell:
        "python -m salcr join-index"
        " --index {params.out:q}"
        " --kind {params.kind}"
        " --threads {threads}"
        " --job {output.job:q}"
        " > {log:q} 2>&1"
