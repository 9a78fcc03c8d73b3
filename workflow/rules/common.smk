# What the rules share: the checked configuration, names of files, and functions for inputs.
import json
import os
import shlex
import sys
from pathlib import Path

# Jobs run `python -m salcr` of this checkout with the Python that runs Snakemake, from whatever
# folder and whether or not the environment is activated.
for name, folder in (
    ("PATH", Path(sys.executable).parent),
    ("PYTHONPATH", workflow.basedir),
):
    os.environ.update(
        {name: os.pathsep.join(filter(None, [str(folder), os.getenv(name)]))}
    )
sys.path.insert(0, str(workflow.basedir))

from salcr import codehash
from salcr.config import loading as configuration, runs
from salcr.reporting import paper
from salcr.datasets.readers import READERS
from salcr.errors import SalcrError
from salcr.dvc import check_pulled


def stop(message):
    """End with a message for the user, instead of Snakemake's report of an exception."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


try:
    CONFIG = configuration.validate(config)
    VARIANTS = {name: configuration.variant(CONFIG, name) for name in CONFIG.variants}
    RUNS = {
        name: runs.Run(
            name, configuration.pretraining_owner(CONFIG, name), variant.rounds
        )
        for name, variant in VARIANTS.items()
    }
except SalcrError as error:
    stop(error)

OTHER = CONFIG.transfer


def checkpoint_given(variant, trial):
    """Return the checkpoint that takes the place of stage one, or nothing."""
    path = variant.pretrain.checkpoint
    return path.replace("{trial}", str(trial)) if path else []


def files_named():
    """Yield each file that the configuration names: key, path, what to do without it."""
    if OTHER.checkpoint:
        yield "transfer.checkpoint", OTHER.checkpoint, "train on that data set first"
    for variant in VARIANTS.values():
        if variant.model.weights not in ("imagenet", "random"):
            yield "model.weights", variant.model.weights, "correct the key, or put it there"
        for trial in CONFIG.dataset.trials:
            if path := checkpoint_given(variant, trial):
                yield "pretrain.checkpoint", path, "make it with `import-checkpoint`"


# Snakemake itself would not miss an input of jobs that are done, and keep their results.
for key, path, remedy in files_named():
    if not Path(path).exists():
        stop(f"{key}: {path}: no such file; {remedy}")

ROOT = CONFIG.dataset.root
# What preprocess waits for: the marker of a drawn data set, or the split files of a given one.
if CONFIG.dataset.synthetic:
    SOURCE = [f"{ROOT}/synthesize.json"]
else:
    READER = READERS[CONFIG.dataset.layout]
    SOURCE = sorted(str(path) for path in Path(ROOT).glob(READER.split_files))
    TRACKED = Path(f"{ROOT}.dvc")
    if not SOURCE:
        missing = f"{ROOT} is tracked by DVC but not here. Fetch it with\n  dvc pull"
        stop(missing if TRACKED.exists() else READER.missing(Path(ROOT)))
    if TRACKED.exists():
        # An image may change while its split files do not; `dvc add` hashes every image.
        SOURCE.append(str(TRACKED))

RESULTS = f"results/{CONFIG.dataset.name}"
DATA = f"{RESULTS}/preprocess"
ROUND = f"{RESULTS}/{{variant}}/trial{{trial}}/round{{round}}"
OPTIMIZER_STATE = f"{ROUND}/optimizer.pt"
if not CONFIG.compute.keep_optimizer_states:
    OPTIMIZER_STATE = temp(OPTIMIZER_STATE)
LOG = f"{RESULTS}/logs"
TIME = f"{RESULTS}/benchmarks"
CURVES = f"{RESULTS}/curves/{{variant}}-trial{{trial}}"

AFTER_STAGE_ONE = r"(?!00\b)\d\d+"  # round 0 is stage one's
LONGEST_SUMMARY = 40  # lines that are printed at the end
TABLES = ["trials", "cmc", "label_quality", "losses"]  # beside the summary

# Seen from where the workflow runs: in another clone the path is the same.
PUBLISHED = os.path.relpath(f"{workflow.basedir}/workflow/resources/published.csv")

# The paper's tables: source -> row -> the variant that computes it, and the stage of its results.
PAPER = paper.matches(CONFIG, VARIANTS)
DEPARTURES = paper.departures(CONFIG)
PAPER_FORMS = ["csv", "md", "tex"]
PAPER_TABLES = [table.name for table in paper.TABLES]


wildcard_constraints:
    variant="|".join(RUNS),
    trial=r"\d\d+",
    round=r"\d\d+",


def flags(stage):
    """Return a params function: the stage's flags for the wildcards' variant."""

    def of_variant(wildcards):
        name = wildcards.get("variant")
        chosen = VARIANTS[name] if name else CONFIG
        return configuration.stage_flags(chosen, stage)

    return of_variant


def folder_of_images(wildcards):
    """Return where the data set is."""
    return ROOT


def code(stage):
    """Return the hash of the stage's code, a param: editing the code reruns the stage."""
    others = READERS.keys() - {CONFIG.dataset.layout}
    unused = {f"datasets.{name}" for name in others}
    try:
        return codehash.stage_hash(stage, unused)
    except SalcrError as error:
        stop(error)


def initial_weights(wildcards):
    """Return the state dict that stage one starts from; nothing where it needs none."""
    variant = VARIANTS[wildcards.variant]
    model = variant.model
    if model.weights == "random" or variant.pretrain.checkpoint:
        return []
    if model.weights == "imagenet":
        return f"data/weights/{model.backbone}.pth"
    return model.weights


def instead_of_stage_one(wildcards):
    """Return the checkpoint that takes the place of stage one, if the configuration has one."""
    return checkpoint_given(VARIANTS[wildcards.variant], int(wildcards.trial))


def of_previous_round(name):
    """Return an input function: a file of the round before, round 0 being stage one's owner's."""

    def path(wildcards):
        previous = int(wildcards.round) - 1
        folder = RUNS[wildcards.variant].folder(
            Path(RESULTS), int(wildcards.trial), previous
        )
        return str(folder / name)

    return path


def previous_optimizer_state(wildcards):
    """Return the optimizer's state of the round before; the first round starts anew."""
    return (
        of_previous_round("optimizer.pt")(wildcards) if int(wildcards.round) > 1 else []
    )


def option(flag, name):
    """Return a params function: the flag with the input of that name, or nothing without it."""

    def words(wildcards, input):
        path = input.get(name)
        return shlex.join([flag, path]) if path else ""

    return words


def every_round(name, rounds):
    """Return a file of all variants, trials and rounds, `rounds(run)` saying which."""
    return sorted(
        {
            str(run.folder(Path(RESULTS), trial, round_) / name)
            for run in RUNS.values()
            for trial in CONFIG.dataset.trials
            for round_ in rounds(run)
        }
    )


def logs_of_training():
    """Return checkpoint -> log of the job that writes it, over all variants, trials and rounds."""
    logs = {}
    for name in every_round("checkpoint.pt", lambda run: range(run.rounds + 1)):
        folder = Path(name).parts[-4:-1]  # variant, trial, round
        stage = "pretrain" if folder[-1] == "round00" else "train"
        job = "-".join(folder).removesuffix("-round00")
        logs[Path(name)] = Path(LOG, stage, f"{job}.log")
    return logs


def timed_jobs():
    """Return the jobs that measured the re-rankings' seconds: the whole method's, every trial."""
    match = PAPER.get("6", {}).get("none")
    if match is None:
        return []
    run = RUNS[match[0]]
    return [
        str(run.folder(Path(RESULTS), trial, run.rounds) / "jobs/evaluate.json")
        for trial in CONFIG.dataset.trials
    ]


def show_summary():
    """Print the table of results, unless it fills the screen, and where everything is."""
    text = Path(RESULTS, "summary.txt").read_text()
    if text.count("\n") <= LONGEST_SUMMARY:
        print(
            f"\n{CONFIG.dataset.name}, in percent, mean ± standard deviation over trials"
        )
        print(text)
    for title, name in (
        ("results", "summary.csv"),
        ("figures", "figures"),
        ("the paper's tables", "tables/tables.md"),
        ("report", "report.html"),
    ):
        if Path(RESULTS, name).exists():
            print(f"{title}: {RESULTS}/{name}")


# Not in the process of a job: while others run, files are missing.
if workflow.is_main_process:
    try:
        check_pulled(Path(RESULTS), logs_of_training())
    except SalcrError as error:
        stop(error)
