# Figures: the stages that compute what some show, and the drawing, which alone runs again where
# only the looks change.
rule figures:
    input:
        PICTURES,


rule probe:
    input:
        **STORED,
        checkpoint=f"{ROUND}/checkpoint.pt",
        identities=f"{DATA}/identities.csv",
    output:
        distances=f"{ROUND}/distances.json",
        embedding=f"{ROUND}/embedding.csv",
        attention=f"{ROUND}/attention.json",
    log:
        f"{LOG}/probe/{{variant}}-trial{{trial}}-round{{round}}.log",
    benchmark:
        f"{TIME}/probe/{{variant}}-trial{{trial}}-round{{round}}.tsv"
    conda:
        "../../environment.yml"
    threads: CONFIG.compute.threads
    resources:
        gpu=1,
        device=CONFIG.compute.device,
        torch_threads=CONFIG.compute.threads,
        mem_mb=8000,
        runtime=60,
    params:
        flags=flags("probe"),
        code=code("probe"),
        data=subpath(input.summary, parent=True),
    message:
        "probe: {wildcards.variant}, trial {wildcards.trial}, round {wildcards.round}"
    shell:
        "python -m salcr probe --data {params.data:q} --trial {wildcards.trial}"
        " --checkpoint {input.checkpoint:q} --identities {input.identities:q}"
        " --distances {output.distances:q} --embedding {output.embedding:q}"
        " --attention {output.attention:q}"
        " --device {resources.device} --threads {resources.torch_threads} {params.flags} > {log:q} 2>&1"


rule locate:
    input:
        **STORED,
        checkpoint=of_previous_round("checkpoint.pt"),
        labels=f"{ROUND}/labels.csv",
        identities=f"{DATA}/identities.csv",
    output:
        centres=f"{ROUND}/centres.csv",
    log:
        f"{LOG}/locate/{{variant}}-trial{{trial}}-round{{round}}.log",
    benchmark:
        f"{TIME}/locate/{{variant}}-trial{{trial}}-round{{round}}.tsv"
    wildcard_constraints:
        round=AFTER_STAGE_ONE,
    conda:
        "../../environment.yml"
    threads: CONFIG.compute.threads
    resources:
        gpu=1,
        device=CONFIG.compute.device,
        torch_threads=CONFIG.compute.threads,
        mem_mb=16000,
        runtime=60,
    params:
        flags=flags("locate"),
        code=code("locate"),
        data=subpath(input.summary, parent=True),
    message:
        "locate: {wildcards.variant}, trial {wildcards.trial}, round {wildcards.round}"
    shell:
        "python -m salcr locate --data {params.data:q} --trial {wildcards.trial}"
        " --checkpoint {input.checkpoint:q} --labels {input.labels:q}"
        " --identities {input.identities:q} --centres {output.centres:q}"
        " --device {resources.device} --threads {resources.torch_threads} {params.flags} > {log:q} 2>&1"


rule draw:
    input:
        sources=lambda wildcards: FIGURES[wildcards.figure][0],
        visible=ancient(f"{DATA}/visible.npy"),
        infrared=ancient(f"{DATA}/infrared.npy"),
    output:
        png=f"{RESULTS}/figures/{{figure}}.png",
        pdf=f"{RESULTS}/figures/{{figure}}.pdf",
    log:
        f"{LOG}/draw/{{figure}}.log",
    benchmark:
        f"{TIME}/draw/{{figure}}.tsv"
    wildcard_constraints:
        figure="|".join(FIGURES),
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        flags=flags("draw"),
        code=code("draw"),
        names=lambda wildcards: FIGURES[wildcards.figure][1],
        data=subpath(input.visible, parent=True),
    message:
        "draw: {wildcards.figure}"
    shell:
        "python -m salcr draw --figure {wildcards.figure} --sources {input.sources:q}"
        " --names {params.names:q} --data {params.data:q} --png {output.png:q}"
        " --pdf {output.pdf:q} {params.flags} > {log:q} 2>&1"
