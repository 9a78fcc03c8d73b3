# A study, on request: variants over the same starts. What it keeps, the csv of finished starts, is
# under version control and both input and output, so Snakemake is not given it as either.
ORIGINS = starts.origins(PLAN, code)

STUDY = {
    "text": f"{RESULTS}/study.md",
    "table": f"{RESULTS}/study_table.csv",
    "latex": f"{RESULTS}/study.tex",
    "figures": [f"{RESULTS}/figures/study.png", f"{RESULTS}/figures/study.pdf"],
}


rule study_row:
    input:
        metrics=last_metrics,
        jobs=jobs_of_start,
        summary=f"{DATA}/preprocess.json",
    output:
        row=f"{TRIAL}/{starts.ROW}",
    log:
        f"{LOG}/study_row/{{variant}}-trial{{trial}}.log",
    benchmark:
        f"{TIME}/study_row/{{variant}}-trial{{trial}}.tsv"
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code("study_row"),
        origin=origin,
        rows=str(PLAN.study_rows),
        data=subpath(input.summary, parent=True),
    message:
        "study_row: {wildcards.variant}, trial {wildcards.trial}"
    shell:
        "python -m salcr study-row"
        " --variant {wildcards.variant}"
        " --origin {params.origin}"
        " --metrics {input.metrics:q}"
        " --data {params.data:q}"
        " --jobs {input.jobs:q}"
        " --rows {params.rows:q}"
        " --row {output.row:q}"
        " > {log:q} 2>&1"


rule study:
    input:
        starts=files_of_starts,
    output:
        **STUDY,
    log:
        f"{LOG}/study.log",
    benchmark:
        f"{TIME}/study.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        flags=flags("study"),
        code=code("study"),
        starts=option("--starts", "starts"),
        origins=json.dumps(ORIGINS),
        compare=json.dumps(CONFIG.study.compare),
        rows=str(PLAN.study_rows),
        others=digest_of_others,
        page=shlex.join(
            ["--page", CONFIG.study.page, "--page-table", CONFIG.study.page_table]
            if CONFIG.study.page
            else []
        ),
    message:
        "study: table and figure"
    shell:
        "python -m salcr study"
        " --rows {params.rows:q}"
        " {params.starts}"
        " --origins {params.origins:q}"
        " --compare {params.compare:q}"
        " --table {output.table:q}"
        " --text {output.text:q}"
        " --latex {output.latex:q}"
        " --figures {output.figures:q}"
        " {params.page}"
        " {params.flags}"
        " > {log:q} 2>&1"
