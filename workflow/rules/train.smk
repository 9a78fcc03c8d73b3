# The method: stage one, then rounds of association and training.
#
# Arrays are `ancient`: the summary carries their hashes, and comparing gigabytes by content would
# take longer. Sums of floats depend on the number of threads, and Snakemake lowers `threads` to the
# cores that it has; so a job computes with `torch_threads`, however many cores there are.
STORED = {
    "visible": ancient(f"{DATA}/visible.npy"),
    "infrared": ancient(f"{DATA}/infrared.npy"),
    "manifest": f"{DATA}/manifest.csv",
    "summary": f"{DATA}/preprocess.json",
}


rule pretrain:
    input:
        **STORED,
        weights=initial_weights,
        start=given_checkpoint,
    output:
        checkpoint=f"{TRIAL}/round00/checkpoint.pt",
        losses=f"{TRIAL}/round00/losses.csv",
        job=f"{TRIAL}/round00/jobs/pretrain.json",
    log:
        f"{LOG}/pretrain/{{variant}}-trial{{trial}}.log",
    benchmark:
        f"{TIME}/pretrain/{{variant}}-trial{{trial}}.tsv"
    conda:
        "../../environment.yml"
    threads: CONFIG.compute.threads
    resources:
        **gpu_job(mem_mb=16000, runtime=480),
    params:
        flags=flags("pretrain"),
        code=code("pretrain"),
        packaged=packaged_weights,
        data=subpath(input.summary, parent=True),
        curves=f"{CURVES}/pretrain",
        weights=option("--weights-file", "weights"),
        start=option("--from-checkpoint", "start"),
    message:
        "pretrain: {wildcards.variant}, trial {wildcards.trial}"
    shell:
        "python -m salcr pretrain"
        " --data {params.data:q}"
        " --trial {wildcards.trial}"
        " {params.weights}"
        " {params.start}"
        " --checkpoint {output.checkpoint:q}"
        " --losses {output.losses:q}"
        " --device {resources.device}"
        " --threads {resources.torch_threads}"
        " {params.flags}"
        " --job {output.job:q}"
        " --curves {params.curves:q}"
        " > {log:q} 2>&1"


rule associate:
    input:
        **STORED,
        checkpoint=previous("checkpoint.pt"),
    output:
        labels=f"{ROUND}/labels.csv",
        job=f"{ROUND}/jobs/associate.json",
    log:
        f"{LOG}/associate/{{variant}}-trial{{trial}}-round{{round}}.log",
    benchmark:
        f"{TIME}/associate/{{variant}}-trial{{trial}}-round{{round}}.tsv"
    wildcard_constraints:
        round=TRAINED_ALONE,
    conda:
        "../../environment.yml"
    threads: CONFIG.compute.threads
    resources:
        **gpu_job(mem_mb=16000, runtime=60),
    params:
        flags=flags("associate"),
        code=code("associate"),
        data=subpath(input.summary, parent=True),
    message:
        "associate: {wildcards.variant}, trial {wildcards.trial}, round {wildcards.round}"
    shell:
        "python -m salcr associate"
        " --data {params.data:q}"
        " --trial {wildcards.trial}"
        " --checkpoint {input.checkpoint:q}"
        " --labels {output.labels:q}"
        " --device {resources.device}"
        " --threads {resources.torch_threads}"
        " {params.flags}"
        " --job {output.job:q}"
        " > {log:q} 2>&1"


rule train:
    input:
        **STORED,
        checkpoint=previous("checkpoint.pt"),
        optimizer=previous_optimizer_state,
        labels=f"{ROUND}/labels.csv",
    output:
        checkpoint=f"{ROUND}/checkpoint.pt",
        optimizer=OPTIMIZER_STATE,
        losses=f"{ROUND}/losses.csv",
        job=f"{ROUND}/jobs/train.json",
    log:
        f"{LOG}/train/{{variant}}-trial{{trial}}-round{{round}}.log",
    benchmark:
        f"{TIME}/train/{{variant}}-trial{{trial}}-round{{round}}.tsv"
    wildcard_constraints:
        round=TRAINED_ALONE,
    conda:
        "../../environment.yml"
    threads: CONFIG.compute.threads
    resources:
        **gpu_job(mem_mb=16000, runtime=120),
    params:
        flags=flags("train"),
        code=code("train"),
        data=subpath(input.summary, parent=True),
        curves=f"{CURVES}/train",
        state=option("--optimizer-state", "optimizer"),
    message:
        "train: {wildcards.variant}, trial {wildcards.trial}, round {wildcards.round}"
    shell:
        "python -m salcr train"
        " --data {params.data:q}"
        " --trial {wildcards.trial}"
        " --round {wildcards.round}"
        " --checkpoint {input.checkpoint:q}"
        " {params.state}"
        " --labels {input.labels:q}"
        " --out-checkpoint {output.checkpoint:q}"
        " --out-optimizer-state {output.optimizer:q}"
        " --losses {output.losses:q}"
        " --device {resources.device}"
        " --threads {resources.torch_threads}"
        " {params.flags}"
        " --job {output.job:q}"
        " --curves {params.curves:q}"
        " > {log:q} 2>&1"
