# SALCR as a workflow:
#   synthesize -> preprocess -> pretrain -> [associate -> train] x rounds
#       -> label_quality, evaluate -> aggregate, analyze, cluster_centers -> plot, provenance
#       -> tables, study, report, which are made on request only
#
# snakemake --cores all --resources gpu=2                         the paper, on data/RegDB
# snakemake --cores all --configfile config/demo.yaml             the demo, on synthetic people
from snakemake.utils import min_version

min_version("9.0")


configfile: f"{workflow.basedir}/config/default.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/rounds.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/study.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        summary=f"{RESULTS}/summary.csv",
        provenance=f"{RESULTS}/provenance.csv",
        figures=PICTURES,


onsuccess:
    for line in closing_lines(PLAN.results):
        print(line)
