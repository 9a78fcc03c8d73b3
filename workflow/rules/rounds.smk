# Several rounds in one job (`compute.rounds_per_job`), with the files of `associate`, `train` and
# `evaluate`: the network stays in memory, and a job starts and waits in a queue once.
#
# A rule for each span of rounds, for the variants and trials that are divided like that. What was
# computed remains divided as it was (salcr/config/spans.py): another number reruns nothing.
for span_rule in SPAN_RULES:
    first, last = span_rule.span
    rounds = range(first, last + 1)

    rule:
        name:
            span_rule.name("rounds")
        input:
            **STORED,
            checkpoint=before(span_rule.span, "checkpoint.pt"),
            optimizer=before(span_rule.span, "optimizer.pt") if first > 1 else [],
        output:
            labels=of_rounds(rounds, "labels.csv"),
            losses=of_rounds(rounds, "losses.csv"),
            checkpoints=of_rounds(rounds, "checkpoint.pt"),
            jobs=of_rounds(rounds, "jobs/associate.json", "jobs/train.json"),
            states=(
                of_rounds(rounds, "optimizer.pt")
                if CONFIG.compute.keep_optimizer_states
                else temp(of_rounds([last], "optimizer.pt"))
            ),
        log:
            f"{LOG}/rounds/{span_rule.job}.log",
        benchmark:
            f"{TIME}/rounds/{span_rule.job}.tsv"
        wildcard_constraints:
            **span_rule.wildcards,
        conda:
            "../../environment.yml"
        threads: CONFIG.compute.threads
        resources:
            **gpu_job(mem_mb=16000, runtime=30 + 30 * len(rounds)),
            # Not a param: what is kept changes no result.
            states="all" if CONFIG.compute.keep_optimizer_states else "last",
        params:
            flags=flags("rounds"),
            code=code("rounds"),
            data=subpath(input.summary, parent=True),
            folder=TRIAL,
            rounds=f"--first {first} --last {last}",
            curves=f"{CURVES}/train",
            state=option("--optimizer-state", "optimizer"),
        message:
            f"rounds {first} to {last}: {{wildcards.variant}}, trial {{wildcards.trial}}"
        shell:
            "python -m salcr rounds"
            " --data {params.data:q}"
            " --trial {wildcards.trial}"
            " --folder {params.folder:q}"
            " {params.rounds}"
            " --checkpoint {input.checkpoint:q}"
            " {params.state}"
            " --optimizer-states {resources.states}"
            " --device {resources.device}"
            " --threads {resources.torch_threads}"
            " {params.flags}"
            " --curves {params.curves:q}"
            " > {log:q} 2>&1"

    workflow.ruleorder(span_rule.name("rounds"), "associate", "train")
    if not span_rule.evaluated:
        continue

    rule:
        name:
            span_rule.name("evaluate")
        input:
            **STORED,
            # Also of rounds that are not evaluated: with another evaluate_every, the same.
            # By way of the rule, so that Snakemake need not search who makes them.
            checkpoints=getattr(rules, span_rule.name("rounds")).output.checkpoints,
            identities=f"{DATA}/identities.csv",
        output:
            metrics=of_rounds(span_rule.evaluated, "metrics.json"),
            rankings=of_rounds(span_rule.evaluated, "rankings.json"),
            jobs=of_rounds(span_rule.evaluated, "jobs/evaluate.json"),
        log:
            f"{LOG}/evaluate/{span_rule.job}.log",
        benchmark:
            f"{TIME}/evaluate/{span_rule.job}.tsv"
        wildcard_constraints:
            **span_rule.wildcards,
        conda:
            "../../environment.yml"
        threads: CONFIG.compute.threads
        resources:
            **gpu_job(mem_mb=8000, runtime=30 + 10 * len(rounds)),
        params:
            flags=flags("evaluate"),
            code=code("evaluate"),
            data=subpath(input.summary, parent=True),
            curves=f"{CURVES}/evaluate",
            checkpoints=checkpoints_of_metrics,
        message:
            f"evaluate rounds {first} to {last}: {{wildcards.variant}}, trial {{wildcards.trial}}"
        shell:
            "python -m salcr evaluate"
            " --data {params.data:q}"
            " --trial {wildcards.trial}"
            " --checkpoint {params.checkpoints:q}"
            " --identities {input.identities:q}"
            " --metrics {output.metrics:q}"
            " --rankings {output.rankings:q}"
            " --jobs {output.jobs:q}"
            " --device {resources.device}"
            " --threads {resources.torch_threads}"
            " {params.flags}"
            " --curves {params.curves:q}"
            " > {log:q} 2>&1"

    workflow.ruleorder(span_rule.name("evaluate"), "evaluate")
