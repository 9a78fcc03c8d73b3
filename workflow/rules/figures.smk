# Figures: the stages that compute what some of them show, and `plot`, which alone runs again where
# only their style changes.
rule figures:
    input:
        PICTURES,


rule analyze:
    input:
        **STORED,
        checkpoint=f"{ROUND}/checkpoint.pt",
        identities=f"{DATA}/identities.csv",
    output:
        distances=f"{ROUND}/distances.json",
        tsne=f"{ROUND}/tsne.csv",
        attention=f"{ROUND}/attention.json",
    log:
        f"{LOG}/analyze/{{variant}}-trial{{trial}}-round{{round}}.log",
    benchmark:
        f"{TIME}/analyze/{{variant}}-trial{{trial}}-round{{round}}.tsv"
    conda:
        "../../environment.yml"
    threads: CONFIG.compute.threads
    resources:
        **gpu_job(mem_mb=8000, runtime=60),
    params:
        flags=flags("analyze"),
        code=code("analyze"),
        data=subpath(input.summary, parent=True),
    message:
        "analyze: {wildcards.variant}, trial {wildcards.trial}, round {wildcards.round}"
    shell:
        "python -m salcr analyze"
        " --data {params.data:q}"
        " --trial {wildcards.trial}"
        " --checkpoint {input.checkpoint:q}"
        " --identities {input.identities:q}"
        " --distances {output.distances:q}"
        " --tsne {output.tsne:q}"
        " --attention {output.attention:q}"
        " --device {resources.device}"
        " --threads {resources.torch_threads}"
        " {params.flags}"
        " > {log:q} 2>&1"


rule cluster_centers:
    input:
        **STORED,
        checkpoint=previous("checkpoint.pt"),
        labels=f"{ROUND}/labels.csv",
        identities=f"{DATA}/identities.csv",
    output:
        centers=f"{ROUND}/cluster_centers.csv",
    log:
        f"{LOG}/cluster_centers/{{variant}}-trial{{trial}}-round{{round}}.log",
    benchmark:
        f"{TIME}/cluster_centers/{{variant}}-trial{{trial}}-round{{round}}.tsv"
    wildcard_constraints:
        round=AFTER_STAGE_ONE,
    conda:
        "../../environment.yml"
    threads: CONFIG.compute.threads
    resources:
        **gpu_job(mem_mb=16000, runtime=60),
    params:
        flags=flags("cluster_centers"),
        code=code("cluster_centers"),
        data=subpath(input.summary, parent=True),
    message:
        "cluster_centers: {wildcards.variant}, trial {wildcards.trial}, round {wildcards.round}"
    shell:
        "python -m salcr cluster-centers"
        " --data {params.data:q}"
        " --trial {wildcards.trial}"
        " --checkpoint {input.checkpoint:q}"
        " --labels {input.labels:q}"
        " --identities {input.identities:q}"
        " --cluster-centers {output.centers:q}"
        " --device {resources.device}"
        " --threads {resources.torch_threads}"
        " {params.flags}"
        " > {log:q} 2>&1"


rule plot:
    input:
        sources=lookup(dpath="{figure}/files", within=FIGURES),
        visible=ancient(f"{DATA}/visible.npy"),
        infrared=ancient(f"{DATA}/infrared.npy"),
    output:
        png=f"{RESULTS}/figures/{{figure}}.png",
        pdf=f"{RESULTS}/figures/{{figure}}.pdf",
    log:
        f"{LOG}/plot/{{figure}}.log",
    benchmark:
        f"{TIME}/plot/{{figure}}.tsv"
    wildcard_constraints:
        figure="|".join(FIGURES),
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        flags=flags("plot"),
        code=code("plot"),
        names=lookup(dpath="{figure}/names", within=FIGURES),
        data=subpath(input.visible, parent=True),
    message:
        "plot: {wildcards.figure}"
    shell:
        "python -m salcr plot"
        " --figure {wildcards.figure}"
        " --sources {input.sources:q}"
        " --names {params.names:q}"
        " --data {params.data:q}"
        " --png {output.png:q}"
        " --pdf {output.pdf:q}"
        " {params.flags}"
        " > {log:q} 2>&1"
