# The paper's tables, how the results were made, and one page of everything.
rule complexity:
    output:
        complexity=f"{RESULTS}/complexity.json",
    log:
        f"{LOG}/complexity.log",
    benchmark:
        f"{TIME}/complexity.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        flags=flags("complexity"),
        code=code("complexity"),
    message:
        "complexity: parameters and operations"
    shell:
        "python -m salcr complexity"
        " --complexity {output.complexity:q}"
        " {params.flags}"
        " > {log:q} 2>&1"


rule tables:
    input:
        trials=scores_of_trials,
        summary=f"{DATA}/preprocess.json",
        complexity=f"{RESULTS}/complexity.json",
        jobs=inputs.timed_jobs(PLAN, PAPER),
        transfer=(
            f"{RESULTS}/transfer/metrics.json" if CONFIG.transfer.checkpoint else []
        ),
        published=PUBLISHED,
    output:
        tables=expand(
            f"{RESULTS}/tables/{{table}}.{{form}}",
            table=PAPER_TABLES,
            form=PAPER_FORMS,
        ),
        text=f"{RESULTS}/tables/tables.md",
        document=f"{RESULTS}/tables/tables.tex",
    log:
        f"{LOG}/tables.log",
    benchmark:
        f"{TIME}/tables.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code("tables"),
        layout=CONFIG.dataset.layout,
        synthetic="--synthetic" if CONFIG.dataset.synthetic else "",
        departures=shlex.join(["--departures", *DEPARTURES] if DEPARTURES else []),
        matches=json.dumps(PAPER),
        jobs=option("--jobs", "jobs"),
        transfer=option("--transfer", "transfer"),
        data=subpath(input.summary, parent=True),
        out=subpath(output.text, parent=True),
    message:
        "tables: the paper's"
    shell:
        "python -m salcr tables"
        " --layout {params.layout}"
        " {params.synthetic}"
        " {params.departures}"
        " --matches {params.matches:q}"
        " --trials {input.trials:q}"
        " --data {params.data:q}"
        " --complexity {input.complexity:q}"
        " {params.jobs}"
        " {params.transfer}"
        " --published {input.published:q}"
        " --out {params.out:q}"
        " > {log:q} 2>&1"


PROVENANCE = PLAN.trial_files("provenance.json")


rule provenance:
    input:
        summary=f"{DATA}/preprocess.json",
        preprocess=f"{DATA}/jobs/preprocess.json",
        jobs=jobs_of_all,
    output:
        table=f"{RESULTS}/provenance.csv",
        trials=PROVENANCE,
    log:
        f"{LOG}/provenance.log",
    benchmark:
        f"{TIME}/provenance.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code("provenance"),
        dataset=CONFIG.dataset.name,
        root=subpath(output.table, parent=True),
        data=subpath(input.summary, parent=True),
        runs=[str(run) for run in PLAN.runs.values()],
        trials=CONFIG.dataset.trials,
        every=PLAN.evaluate_every,
    message:
        "provenance: how each trial was made"
    shell:
        "python -m salcr provenance"
        " --dataset {params.dataset}"
        " --root {params.root:q}"
        " --data {params.data:q}"
        " --runs {params.runs}"
        " --trials {params.trials}"
        " --every {params.every}"
        " > {log:q} 2>&1"


rule report:
    input:
        summary=f"{RESULTS}/summary.csv",
        provenance=f"{RESULTS}/provenance.csv",
        trials=PROVENANCE,
        figures=[path for path in PICTURES if path.endswith(".png")],
        tables=expand(f"{RESULTS}/tables/{{table}}.csv", table=PAPER_TABLES),
        images=f"{DATA}/preprocess.json",
        templates=[
            os.path.relpath(f"{workflow.basedir}/salcr/reporting/{name}.html.j2")
            for name in ("page", "report")
        ],
    output:
        page=f"{RESULTS}/report.html",
    log:
        f"{LOG}/report.log",
    benchmark:
        f"{TIME}/report.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code("report"),
        synthetic="--synthetic" if CONFIG.dataset.synthetic else "",
        data=subpath(input.images, parent=True),
        times=TIME,
        study=made_study,
        study_text=made_study_text,
    message:
        "report: all results on one page"
    shell:
        "python -m salcr report"
        " --summary {input.summary:q}"
        " --provenance {input.provenance:q}"
        " --trials {input.trials:q}"
        " --figures {input.figures:q}"
        " --tables {input.tables:q}"
        " {params.study}"
        " --times {params.times:q}"
        " --data {params.data:q}"
        " {params.synthetic}"
        " --page {output.page:q}"
        " > {log:q} 2>&1"
