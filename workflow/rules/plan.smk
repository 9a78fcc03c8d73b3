# Which figures there are, and what each is drawn from. What shows single networks is of the first
# trial, and of the first variant where it shows one.
FIRST = next(iter(RUNS.values()))
SHOWN = [RUNS[name] for name in runs.shown(RUNS, CONFIG.plot.variants)]


def of_first_trial(run, round_, name):
    """Return a file of a round of the first trial."""
    folder = run.folder(Path(RESULTS), CONFIG.dataset.trials[0], round_)
    return str(folder / name)


def before_and_after(name, runs):
    """Return file -> name of its network: before stage two, and at the end of each variant."""
    networks = {}
    for run in runs:
        given = VARIANTS[run.variant].pretrain.checkpoint
        start = "as given" if given else "stage one"
        if start in networks.values():  # of another variant, with other settings
            start = f"{run.variant}, {start}"
        networks.setdefault(of_first_trial(run, 0, name), start)
    for run in runs:
        networks.setdefault(of_first_trial(run, run.rounds, name), run.variant)
    return networks


def sweeps():
    """Return figure -> what it is drawn from, where variants sweep a key of the refinement."""
    known = [] if CONFIG.dataset.synthetic or DEPARTURES else [PUBLISHED]
    found = {}
    for key in ("weight", "k"):
        values = configuration.swept(CONFIG, "gpcr", key)
        # A variant with no refinement at all, whose weight is 0 in effect.
        without = PAPER.get("fig6", {}).get("lambda=0")
        if key == "weight" and without and 0 not in values.values():
            values[without[0]] = 0.0
        if len(values) > 1:
            names = [f"{variant}={value}" for variant, value in values.items()]
            found[f"refinement_{key}"] = ([f"{RESULTS}/summary.csv", *known], names)
    return found


def plan():
    """Return figure -> (files that it is drawn from, their names), as far as there are results."""
    figures = {
        "cmc": ([f"{RESULTS}/cmc.csv"], []),
        "map": ([f"{RESULTS}/trials.csv"], []),
    }
    for figure, name, runs in (
        ("ranking", "rankings.json", [FIRST]),
        ("tsne", "tsne.csv", [FIRST]),
        ("attention", "attention.json", [FIRST]),
        ("distances", "distances.json", SHOWN),
    ):
        networks = before_and_after(name, runs)
        figures[figure] = (list(networks), list(networks.values()))
    if SHOWN[0].rounds or not VARIANTS[SHOWN[0].variant].pretrain.checkpoint:
        figures["losses"] = ([f"{RESULTS}/losses.csv"], [])
    if any(run.rounds for run in SHOWN):
        figures["label_quality"] = ([f"{RESULTS}/label_quality.csv"], [])
    associate = VARIANTS[FIRST.variant].associate
    if FIRST.rounds and associate.cmfp and associate.method == "dagl":
        figures["cluster_centers"] = ([of_first_trial(FIRST, FIRST.rounds, "cluster_centers.csv")], [])
    return figures | sweeps()


FIGURES = plan()
PICTURES = expand(
    f"{RESULTS}/figures/{{figure}}.{{form}}", figure=FIGURES, form=["png", "pdf"]
)
