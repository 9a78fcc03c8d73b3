# The quality of labels and of retrieval; then all of it as tables.
rule label_quality:
    input:
        labels=labels_of_trial,
        identities=f"{DATA}/identities.csv",
        summary=f"{DATA}/preprocess.json",
    output:
        label_quality=f"{TRIAL}/label_quality.json",
        job=f"{TRIAL}/jobs/label_quality.json",
    log:
        f"{LOG}/label_quality/{{variant}}-trial{{trial}}.log",
    benchmark:
        f"{TIME}/label_quality/{{variant}}-trial{{trial}}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code("label_quality"),
        data=subpath(input.summary, parent=True),
    message:
        "label_quality: {wildcards.variant}, trial {wildcards.trial}"
    shell:
        "python -m salcr label-quality"
        " --data {params.data:q}"
        " --trial {wildcards.trial}"
        " --labels {input.labels:q}"
        " --identities {input.identities:q}"
        " --label-quality {output.label_quality:q}"
        " --job {output.job:q}"
        " > {log:q} 2>&1"


rule evaluate:
    input:
        **STORED,
        checkpoint=f"{ROUND}/checkpoint.pt",
        identities=f"{DATA}/identities.csv",
    output:
        metrics=f"{ROUND}/metrics.json",
        rankings=f"{ROUND}/rankings.json",
        job=f"{ROUND}/jobs/evaluate.json",
    log:
        f"{LOG}/evaluate/{{variant}}-trial{{trial}}-round{{round}}.log",
    benchmark:
        f"{TIME}/evaluate/{{variant}}-trial{{trial}}-round{{round}}.tsv"
    wildcard_constraints:
        round=EVALUATED_ALONE,
    conda:
        "../../environment.yml"
    threads: CONFIG.compute.threads
    resources:
        **gpu_job(mem_mb=8000, runtime=60),
    params:
        flags=flags("evaluate"),
        code=code("evaluate"),
        data=subpath(input.summary, parent=True),
        curves=f"{CURVES}/evaluate",
    message:
        "evaluate: {wildcards.variant}, trial {wildcards.trial}, round {wildcards.round}"
    shell:
        "python -m salcr evaluate"
        " --data {params.data:q}"
        " --trial {wildcards.trial}"
        " --checkpoint {input.checkpoint:q}"
        " --identities {input.identities:q}"
        " --metrics {output.metrics:q}"
        " --rankings {output.rankings:q}"
        " --device {resources.device}"
        " --threads {resources.torch_threads}"
        " {params.flags}"
        " --job {output.job:q}"
        " --curves {params.curves:q}"
        " > {log:q} 2>&1"


if CONFIG.transfer.checkpoint:

    rule transfer:
        input:
            **STORED,
            identities=f"{DATA}/identities.csv",
            checkpoint=CONFIG.transfer.checkpoint,
            other=f"results/{CONFIG.transfer.results}/preprocess/preprocess.json",
        output:
            metrics=f"{RESULTS}/transfer/metrics.json",
            job=f"{RESULTS}/transfer/jobs/transfer.json",
        log:
            f"{LOG}/transfer.log",
        benchmark:
            f"{TIME}/transfer.tsv"
        conda:
            "../../environment.yml"
        threads: CONFIG.compute.threads
        resources:
            **gpu_job(mem_mb=8000, runtime=60),
        params:
            flags=flags("transfer"),
            code=code("transfer"),
            data=subpath(input.summary, parent=True),
            other=subpath(input.other, parent=True),
            trial=CONFIG.dataset.trials[0],
        message:
            "transfer: evaluate {input.checkpoint}"
        shell:
            "python -m salcr transfer"
            " --data {params.data:q}"
            " --trial {params.trial}"
            " --identities {input.identities:q}"
            " --other {params.other:q}"
            " --checkpoint {input.checkpoint:q}"
            " --metrics {output.metrics:q}"
            " --device {resources.device}"
            " --threads {resources.torch_threads}"
            " {params.flags}"
            " --job {output.job:q}"
            " > {log:q} 2>&1"


rule aggregate:
    input:
        metrics=PLAN.evaluated("metrics.json"),
        label_quality=PLAN.stage_two_trials("label_quality.json"),
        losses=PLAN.every_round("losses.csv"),
    output:
        summary=f"{RESULTS}/summary.csv",
        text=f"{RESULTS}/summary.txt",
        metrics=f"{RESULTS}/metrics.json",
        tables=expand(f"{RESULTS}/{{table}}.csv", table=TABLES),
    log:
        f"{LOG}/aggregate.log",
    benchmark:
        f"{TIME}/aggregate.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code("aggregate"),
        dataset=CONFIG.dataset.name,
        root=subpath(output.summary, parent=True),
        runs=[str(run) for run in PLAN.runs.values()],
        trials=CONFIG.dataset.trials,
        every=PLAN.evaluate_every,
    message:
        "aggregate: tables of all trials and rounds"
    shell:
        "python -m salcr aggregate"
        " --dataset {params.dataset}"
        " --root {params.root:q}"
        " --runs {params.runs}"
        " --trials {params.trials}"
        " --every {params.every}"
        " > {log:q} 2>&1"
