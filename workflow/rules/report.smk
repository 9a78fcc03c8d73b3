# What made the results.
rule record:
    input:
        summary=f"{DATA}/preprocess.json",
        preprocess=f"{DATA}/jobs/preprocess.json",
        pretrain=every_round("jobs/pretrain.json", lambda run: [0]),
        rounds=[
            every_round(f"jobs/{stage}.json", lambda run: range(1, run.rounds + 1))
            for stage in ("associate", "assess", "train")
        ],
        evaluate=every_round(
            "jobs/evaluate.json", lambda run: run.evaluated(CONFIG.evaluate_every)
        ),
    output:
        table=report(
            f"{RESULTS}/provenance.csv",
            caption="../report/provenance.rst",
            category="Provenance",
        ),
        trials=[
            f"{RESULTS}/{run.variant}/{layout.trial_name(trial)}/provenance.json"
            for run in RUNS.values()
            for trial in CONFIG.dataset.trials
        ],
    log:
        f"{LOG}/record.log",
    benchmark:
        f"{TIME}/record.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code("record"),
        dataset=CONFIG.dataset.name,
        root=subpath(output.table, parent=True),
        data=subpath(input.summary, parent=True),
        runs=[str(run) for run in RUNS.values()],
        trials=CONFIG.dataset.trials,
        every=CONFIG.evaluate_every,
    shell:
        "python -m salcr record --dataset {params.dataset} --root {params.root:q}"
        " --data {params.data:q} --runs {params.runs} --trials {params.trials}"
        " --every {params.every} > {log:q} 2>&1"
