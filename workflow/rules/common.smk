# What the rules share: the checked plan, names of files, and functions for inputs and params.
import functools
import gc
import json
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from snakemake.persistence.file import FilePersistence

# What a plan allocates lives as long as the plan, millions of objects. To look for cycles among
# them after every 700 took a fifth of the time; memory does not grow with fewer looks.
gc.set_threshold(50_000)

# Snakemake remembers 128 of its records, and reads those of a job's outputs six times over if these
# are more: a span of forty rounds has 240. This is not its interface; without it, only slower.
read_record = vars(FilePersistence).get("_read_record_cached")
if hasattr(read_record, "__wrapped__"):
    FilePersistence._read_record_cached = functools.lru_cache(1024)(
        read_record.__wrapped__
    )


def stop(error):
    """End with a message for the user instead of Snakemake's report of an exception."""
    print(f"error: {escape_text(str(error))}", file=sys.stderr)
    sys.exit(1)


def prepend(variable, folder):
    """Put a folder first in an environment variable that lists folders."""
    others = os.getenv(variable)
    os.environ[variable] = f"{folder}{os.pathsep}{others}" if others else str(folder)


# Jobs run `python -m salcr` of this checkout with the Python that runs Snakemake, from whatever
# folder and whether or not the environment is activated.
prepend("PATH", Path(sys.executable).parent)
prepend("PYTHONPATH", workflow.basedir)
sys.path.insert(0, str(workflow.basedir))

from salcr import codehash, files
from salcr.config.loading import stage_flags
from salcr.config.plan import Plan
from salcr.config.reading import read_configurations
from salcr.config.runs import round_name
from salcr.config.spans import rounds_of_spans, span_logs, span_rules
from salcr.config.synthetic import SYNTHETIC_WEIGHTS
from salcr.datasets.readers import READERS
from salcr.dvc import check_pulled, raw_files
from salcr.errors import SalcrError
from salcr.log import escape_text, escape_what_cannot_be_printed
from salcr.reporting import inputs, paper, starts
from salcr.reporting.closing import closing_lines

escape_what_cannot_be_printed()


def logs_of_checkpoints():
    """Return checkpoint -> log of the job that writes it, over variants, trials and rounds."""
    return {**PLAN.training_logs(), **span_logs(PLAN, SPAN_RULES)}


try:
    # Read again, since Snakemake drops equal keys and takes `{k: 5}` of `--config` for text.
    PLAN = Plan.from_values(
        read_configurations(
            [
                Path(workflow.basedir, "config/default.yaml"),
                *workflow.overwrite_configfiles,
            ],
            workflow.config_settings.config_args,
        )
    )
    CONFIG = PLAN.config
    PLAN.check_named_files()
    ROOT = CONFIG.dataset.root
    READER = READERS[CONFIG.dataset.layout]
    PLAN = replace(PLAN, has_test=READER.has_test(Path(ROOT)))
    # What preprocess waits for: the marker of synthetic images, or the files that list given ones.
    if CONFIG.dataset.synthetic:
        SOURCE = [str(Path(ROOT, "synthesize.json"))]
    else:
        SOURCE = raw_files(Path(ROOT), READER.split_files, READER.missing)
        PLAN.check_trials(READER.find_trials(map(Path, SOURCE)))
    SPAN_RULES = span_rules(PLAN, functools.cache(codehash.stage_hash))
    # Not in the process of a job: while others run, files are missing.
    if workflow.is_main_process:
        check_pulled(PLAN.results, logs_of_checkpoints)
except SalcrError as error:
    stop(error)
except OSError as error:  # such as a folder that may not be read
    stop(f"{error.filename}: {error.strerror}")

# What a profile sets for `rounds` and `evaluate` counts for the rules of spans, too.
set_resources = workflow.resource_settings.overwrite_resources
workflow.resource_settings.overwrite_resources = {
    **{
        rule_.name(stage): set_resources[stage]
        for rule_ in SPAN_RULES
        for stage in ("rounds", "evaluate")
        if stage in set_resources
    },
    **set_resources,
}

RESULTS = str(PLAN.results)
DATA = f"{RESULTS}/preprocess"
TRIAL = f"{RESULTS}/{{variant}}/trial{{trial}}"
ROUND = f"{TRIAL}/round{{round}}"
OPTIMIZER_STATE = f"{ROUND}/optimizer.pt"
if not CONFIG.compute.keep_optimizer_states:
    OPTIMIZER_STATE = temp(OPTIMIZER_STATE)
LOG = f"{RESULTS}/logs"
TIME = f"{RESULTS}/benchmarks"
CURVES = f"{RESULTS}/curves/{{variant}}-trial{{trial}}"


def other_rounds(*rounds):
    """Return an expression that matches the numbers of all rounds but some."""
    numbers = "|".join(f"{round_:02d}" for round_ in sorted(rounds))
    return rf"(?!(?:{numbers})\b)\d\d+" if rounds else r"\d\d+"


# Round 0 is stage one's, and what spans compute needs no jobs of its own.
AFTER_STAGE_ONE = other_rounds(0)
TRAINED_ALONE = other_rounds(0, *rounds_of_spans(PLAN, SPAN_RULES, evaluated=False))
EVALUATED_ALONE = other_rounds(*rounds_of_spans(PLAN, SPAN_RULES, evaluated=True))
TABLES = ["trials", "cmc", "label_quality", "losses"]  # beside the summary

# Relative to the folder where the workflow runs: in another clone the path is the same.
PUBLISHED = os.path.relpath(f"{workflow.basedir}/workflow/resources/published.csv")

# The paper's tables: source -> row -> the variant that computes it, and the stage of its results.
PAPER = paper.matches(CONFIG, PLAN.variants) if PLAN.has_test else {}
DEPARTURES = paper.departures(CONFIG)
PAPER_FORMS = ["csv", "md", "tex"]
PAPER_TABLES = [table.name for table in paper.TABLES] if PLAN.has_test else []

COMPARABLE = not (CONFIG.dataset.synthetic or DEPARTURES)
FIGURES = {
    figure: {"files": list(files), "names": list(names)}
    for figure, (files, names) in inputs.figure_inputs(
        PLAN, PAPER, [PUBLISHED] if COMPARABLE else []
    ).items()
}
PICTURES = expand(
    f"{RESULTS}/figures/{{figure}}.{{form}}", figure=FIGURES, form=["png", "pdf"]
)


wildcard_constraints:
    variant="|".join(PLAN.runs),
    trial=r"\d\d+",
    round=r"\d\d+",


def gpu_job(mem_mb, runtime):
    """Return the resources of a job that uses a GPU if there is one; MB and minutes."""
    return {
        "gpu": 1,
        "device": CONFIG.compute.device,
        "torch_threads": CONFIG.compute.threads,
        "mem_mb": mem_mb,
        "runtime": runtime,
    }


def flags(stage):
    """Return a params function: the stage's flags for the wildcards' variant."""

    @functools.cache
    def of_name(name):
        return stage_flags(PLAN.variants[name] if name else CONFIG, stage)

    def of_variant(wildcards):
        return of_name(wildcards.get("variant"))

    return of_variant


@functools.cache
def code(stage):
    """Return the hash of the stage's code, a param: editing the code reruns the stage."""
    others = READERS.keys() - {CONFIG.dataset.layout}
    unused = {f"datasets.{name}" for name in others}
    try:
        return codehash.stage_hash(stage, unused)
    except SalcrError as error:
        stop(error)


def option(flag, name):
    """Return a params function: the flag with the input of that name, or nothing without it."""

    def words(wildcards, input):
        paths = input.get(name)
        paths = [paths] if isinstance(paths, str) else paths
        return shlex.join([flag, *paths]) if paths else ""

    return words


def folder_of_images(wildcards):
    """Return where the data set is."""
    return ROOT


def listing(wildcards):
    """Return a digest of the images, where no file lists them: a param, so that more are read."""
    try:
        return READER.listing(Path(ROOT))
    except SalcrError as error:
        stop(error)


def scores_of_trials(wildcards):
    """Return the table of scores, which there is where there are test images."""
    try:
        PLAN.check_test("tables")
    except SalcrError as error:
        stop(error)
    return f"{RESULTS}/trials.csv"


def initial_weights(wildcards):
    """Return the state dict that stage one starts from; nothing where it needs none."""
    return PLAN.initial_weights(wildcards.variant) or []


def packaged_weights(wildcards):
    """Return the digest of the packaged file that stage one starts from: part of its code."""
    used = PLAN.variants[wildcards.variant].model.weights == "synthetic"
    return files.sha256(SYNTHETIC_WEIGHTS) if used else None


def given_checkpoint(wildcards):
    """Return the checkpoint that takes the place of stage one, if the configuration has one."""
    return PLAN.given_checkpoint(wildcards.variant, int(wildcards.trial)) or []


def previous(name):
    """Return an input function: a file of the round before, which for round 1 is stage one's."""

    def path(wildcards):
        trial, round_ = int(wildcards.trial), int(wildcards.round)
        return PLAN.previous(wildcards.variant, trial, round_, name)

    return path


def previous_optimizer_state(wildcards):
    """Return the optimizer's state of the round before; the first round starts without one."""
    if int(wildcards.round) == 1:
        return []
    return previous("optimizer.pt")(wildcards)


def labels_of_trial(wildcards):
    """Return the label files of all rounds."""
    return PLAN.labels(wildcards.variant, int(wildcards.trial))


def of_rounds(rounds, *names):
    """Return files of some rounds, for output."""
    return [
        f"{TRIAL}/{round_name(round_)}/{name}" for round_ in rounds for name in names
    ]


def before(span, name):
    """Return an input function: a file of the round before a span."""

    def path(wildcards):
        return PLAN.previous(wildcards.variant, int(wildcards.trial), span.first, name)

    return path


def checkpoints_of_metrics(wildcards, output):
    """Return the networks that are evaluated, in the order of their metrics."""
    return [str(Path(metrics).with_name("checkpoint.pt")) for metrics in output.metrics]


def origin(wildcards):
    """Return the digests of settings and code of a start of a study, as words of a command."""
    return shlex.join(ORIGINS[wildcards.variant])


def last_metrics(wildcards):
    """Return the evaluation of the last round."""
    run = PLAN.runs[wildcards.variant]
    return PLAN.last(run, int(wildcards.trial), "metrics.json")


def jobs_of_all(wildcards):
    """Return what is known about all jobs; a function, as only `provenance` reads so many files."""
    return [
        *PLAN.stage_one("jobs/pretrain.json"),
        *PLAN.stage_two("jobs/associate.json"),
        *PLAN.stage_two("jobs/train.json"),
        *PLAN.stage_two_trials("jobs/label_quality.json"),
        *PLAN.evaluated("jobs/evaluate.json"),
    ]


def jobs_of_start(wildcards):
    """Return what is known about the jobs of training and of the last evaluation."""
    run, trial = PLAN.runs[wildcards.variant], int(wildcards.trial)
    evaluation = PLAN.last(run, trial, "jobs/evaluate.json")
    return [*PLAN.training_jobs(run, trial), evaluation]


@functools.cache
def planned_study():
    """Return the files of the starts that a study needs, and a digest of all others.

    Once, when it is planned: the rows that its jobs add do not count. A damaged csv ends a study,
    and nothing else.
    """
    settings = [setting.name for setting in READERS[CONFIG.dataset.layout].settings]
    try:
        PLAN.check_test("study")
        rows = starts.read_rows(PLAN.study_rows)
        needed = starts.needed_starts(PLAN, rows, ORIGINS, settings)
        return list(needed), starts.rows_to_show(rows, needed, ORIGINS)
    except SalcrError as error:
        stop(error)


def files_of_starts(wildcards):
    """Return the file of each start that the study needs, or that was finished here."""
    return planned_study()[0]


def digest_of_others(wildcards):
    """Return a digest that changes where the table must be written though no start is run."""
    return planned_study()[1]


def made_study(wildcards):
    """Return the table and the figure of a study that was made.

    As words of a command and not as inputs, since a report never asks for a study.
    """
    paths = [STUDY["text"], STUDY["figures"][0]]
    return shlex.join(["--study", *paths]) if all(map(os.path.exists, paths)) else ""


def made_study_text(wildcards):
    """Return a digest of its table: the report follows a study that was made again."""
    path = Path(STUDY["text"])
    return files.sha256(path) if path.exists() else None
