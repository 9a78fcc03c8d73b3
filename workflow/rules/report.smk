# Pictures. Each is drawn from the tables alone, so that restyling one retrains nothing.
rule figures:
    input:
        summary=f"{RESULTS}/summary.csv",
        tables=expand(f"{RESULTS}/{{table}}.csv", table=TABLES),
        rankings=shown_ranking,
        visible=ancient(f"{DATA}/visible.npy"),
        infrared=ancient(f"{DATA}/infrared.npy"),
    output:
        png=report(
            f"{RESULTS}/figures/{{figure}}.png",
            caption="../report/figures.rst",
            category="Figures",
        ),
        pdf=f"{RESULTS}/figures/{{figure}}.pdf",
    log:
        f"{LOG}/figures/{{figure}}.log",
    benchmark:
        f"{TIME}/figures/{{figure}}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        flags=flags("figures"),
        code=code("figures"),
        tables=subpath(input.summary, parent=True),
        data=subpath(input.visible, parent=True),
    shell:
        "python -m salcr figures --figure {wildcards.figure} --tables {params.tables:q}"
        " --rankings {input.rankings:q} --data {params.data:q} --png {output.png:q}"
        " --pdf {output.pdf:q} {params.flags} > {log:q} 2>&1"
