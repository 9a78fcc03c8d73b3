# Images: synthetic or given, decoded once; and the weights to start from.
if CONFIG.dataset.synthetic:

    rule synthesize:
        output:
            marker=SOURCE[0],
        log:
            f"{LOG}/synthesize.log",
        benchmark:
            f"{TIME}/synthesize.tsv"
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            mem_mb=2000,
            runtime=30,
        params:
            flags=flags("synthesize"),
            code=code("synthesize"),
            root=subpath(output.marker, parent=True),
            layout=CONFIG.dataset.layout,
        message:
            "synthesize: write synthetic people to {params.root}"
        shell:
            "python -m salcr synthesize"
            " --out {params.root:q}"
            " --layout {params.layout}"
            " {params.flags}"
            " > {log:q} 2>&1"


rule weights:
    output:
        weights="data/weights/{backbone}.pth",
        digest="data/weights/{backbone}.sha256",
    log:
        f"{LOG}/weights/{{backbone}}.log",
    benchmark:
        f"{TIME}/weights/{{backbone}}.tsv"
    wildcard_constraints:
        backbone=r"\w+",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    message:
        "weights: download {wildcards.backbone}"
    shell:
        "python -m salcr weights"
        " --backbone {wildcards.backbone}"
        " --out {output.weights:q}"
        " > {log:q} 2>&1"


rule preprocess:
    input:
        source=SOURCE,
    output:
        visible=f"{DATA}/visible.npy",
        infrared=f"{DATA}/infrared.npy",
        manifest=f"{DATA}/manifest.csv",
        identities=f"{DATA}/identities.csv",
        summary=f"{DATA}/preprocess.json",
        job=f"{DATA}/jobs/preprocess.json",
    log:
        f"{LOG}/preprocess.log",
    benchmark:
        f"{TIME}/preprocess.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        **({"listing": listing} if CONFIG.dataset.layout == "folders" else {}),
        flags=flags("preprocess"),
        code=code("preprocess"),
        root=folder_of_images,
        layout=CONFIG.dataset.layout,
        subset=(  # synthetic images have no published numbers to be compared with
            "--allow-subset"
            if CONFIG.dataset.allow_subset or CONFIG.dataset.synthetic
            else ""
        ),
        out=subpath(output.summary, parent=True),
    message:
        "preprocess: decode {params.root}"
    shell:
        "python -m salcr preprocess"
        " --root {params.root:q}"
        " --layout {params.layout}"
        " {params.subset}"
        " --out {params.out:q}"
        " {params.flags}"
        " --job {output.job:q}"
        " > {log:q} 2>&1"
