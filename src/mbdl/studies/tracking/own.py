"""The study of a user's own recordings: filters along the spectrum, fitted to them and compared on what is held out."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import mbdl
from mbdl import tracking
from mbdl.studies import results as form
from mbdl.studies import training
from mbdl.studies.study import Run, Stage, Study
from mbdl.studies.tracking.case import decibels
from mbdl.studies.tracking.own_rules import make_rule, titles
from mbdl.studies.tracking.own_settings import OwnSettings, model_of, splits
from mbdl.studies.tracking.recordings import Recordings
from mbdl.training import supervised, unsupervised


def inputs_of(recordings: Recordings) -> tracking.Inputs:
    """The recordings as inputs of a filter, with a leading axis of sequences."""
    return tracking.Inputs(recordings.observations, recordings.control, recordings.present, recordings.duration)


def states_known(recordings: Recordings) -> bool:
    """Whether any state of the recordings is known."""
    return recordings.states is not None and bool(np.isfinite(recordings.states).any())


def known_state_error(estimates: tracking.Estimates, states: Any) -> Any:
    """The squared error of the states that are known, in their mean."""
    known = jnp.isfinite(states)
    error = jnp.where(known, estimates.mean - jnp.where(known, states, 0.0), 0.0)
    return jnp.sum(error**2) / jnp.maximum(jnp.sum(known), 1)


def find(run: Run, name: str) -> dict[str, Any]:
    """Trains a rule: by the error of the states where they are known, else by what it predicts of the observations."""
    settings: OwnSettings = run.settings
    rule = make_rule(settings, name, run.key(name))
    if name in ("filter", "unscented"):
        run.save_rule(name, rule)
        return {}
    network = name == "kalmannet"
    steps = settings.network_steps if network else settings.few_steps
    rate = settings.network_rate if network else settings.few_rate
    parts = splits(settings)
    train, validation = ((inputs_of(part), part.states) for part in (parts["train"], parts["validation"]))
    supervises = states_known(parts["train"])
    if supervises:
        risk, held = supervised(train, known_state_error), validation
    else:
        risk, held = (
            unsupervised(train[0], tracking.prediction_error if network else tracking.likelihood),
            validation[0],
        )
    batch = min(settings.batch, parts["train"].runs)
    record = training.train(
        run,
        name,
        rule,
        risk,
        optax.adam(optax.cosine_decay_schedule(rate, steps, 0.02)),
        steps=steps,
        batch_size=batch,
        examples=batch,
        key=run.key(name, "order"),
        validation=held,
        validations=15,
        clip=1.0,
    )
    return {**record, "objective": "squared error of the states" if supervises else "observations"}


def score(run: Run, name: str) -> dict[str, Any]:
    """What a rule makes of the test sequences: errors by sequence, and whether its innovations are consistent."""
    rule: Any = run.load_rule(name)
    test = splits(run.settings)["test"]

    @jax.jit
    def measured(inputs: Any, states: Any) -> dict[str, Any]:
        def one(x: Any, s: Any) -> dict[str, Any]:
            estimates = rule(x)
            found = {"prediction": tracking.prediction_error(estimates, x)}
            if s is not None:
                found["state"] = known_state_error(estimates, s)
            if estimates.log_likelihood is not None:
                found["likelihood"] = tracking.likelihood(estimates, x)
                found["consistency"] = jnp.sum(estimates.normalised_innovation_squared) / jnp.maximum(
                    jnp.sum(x.present), 1
                )
            return found

        return jax.vmap(one, in_axes=(0, None if states is None else 0))(inputs, states)

    found = measured(inputs_of(test), test.states)
    place = mbdl.spectrum(rule)
    values = {key: [float(f"{value:.6g}") for value in np.asarray(column)] for key, column in found.items()}
    if test.states is not None:  # a sequence of which no state is known says nothing of the error of states
        known = np.isfinite(test.states).any(axis=(1, 2))
        values["state"] = np.asarray(values["state"])[known].tolist()
    return {**values, "learned": place.learned + place.frozen}


def keep_trajectory(run: Run) -> dict[str, Any]:
    """The first test sequence and what each rule makes of its observations."""
    test = splits(run.settings)["test"]
    x = jax.tree.map(lambda leaf: leaf[0], inputs_of(test))
    arrays = {"observed": np.where(test.present[0], test.observations[0], np.nan)}
    model = model_of(run.settings)
    for name in titles(run.settings):
        rule: Any = run.load_rule(name)
        means = rule(x).mean
        moments = tracking.Moment(jnp.arange(len(means)), x.control, x.duration)
        arrays[name] = np.asarray(jax.vmap(model.observe)(means, moments))
    return {"file": str(run.save_arrays("trajectory-test", **arrays)), "components": int(test.observations.shape[2])}


def study_stages(run: Run) -> list[Stage]:
    """The stages of the study."""
    listed = []
    for name, (title, strategy) in titles(run.settings).items():
        seconds = 1 if strategy == "model-based" else 30
        listed.append(Stage(f"find-{name}", title, partial(find, name=name), seconds))
        listed.append(Stage(f"score-{name}", f"{title}, scoring", partial(score, name=name), 2))
    return [*listed, Stage("trajectory", "a test sequence", keep_trajectory, 2)]


def study_results(run: Run) -> dict[str, Any]:
    """The results of the study."""
    parts, rules = splits(run.settings), titles(run.settings)
    supervised_by = "the squared error of the states" if states_known(parts["train"]) else "the observations alone"
    columns = [
        form.column("state", "squared error of the states", unit="dB", best="min"),
        form.column("prediction", "squared error of predicted observations", unit="dB", best="min"),
        form.column("likelihood", "negative log-likelihood", unit="nats"),
        form.column("consistency", "normalised innovation squared a component"),
        form.column("learned", "learned numbers", digits=0),
    ]
    if not any("state" in run[f"score-{name}"] for name in rules):
        columns = columns[1:]
    rows = []
    for name, (title, strategy) in rules.items():
        found = run[f"score-{name}"]
        cells: dict[str, Any] = {"learned": found["learned"]}
        for key in ("state", "prediction"):
            if found.get(key):
                cells[key] = decibels(np.asarray(found[key]))
                if len(found[key]) == 1:
                    del cells[key]["error"]
        for key in ("likelihood", "consistency"):
            if key in found:
                cells[key] = float(np.mean(found[key]))
        rows.append({"name": name, "title": title, "strategy": strategy, "cells": cells})
    test = parts["test"]
    caption = (
        f"Means over {test.runs} test sequences of {test.observations.shape[1]} observations, in dB ± the standard "
        "error over sequences, where there are several. A consistent filter has a normalised innovation squared of one "
        "a component."
    )
    trajectory = run["trajectory"]
    lines: list[dict[str, Any]] = [{"name": "observed", "title": "observed", "points": True}]
    lines += [{"name": name, "title": title, "strategy": strategy} for name, (title, strategy) in rules.items()]
    components = [f"observation {i + 1}" for i in range(trajectory["components"])]
    return {
        "title": "Your recordings, tracked along the spectrum",
        "evidence": not run.quick,
        "statements": [
            f"Recordings: {run.settings.data}; {parts['train'].runs} sequences for training, "
            f"{parts['validation'].runs} for validation and {test.runs} for the test, in the order of the file. "
            "Pieces of one sequence are not independent: errors on them may be too low.",
            f"Model: {run.settings.model}. Trained by {supervised_by}.",
        ],
        "findings": [],
        "tables": [form.table("rules", "Filters, fitted to your recordings", columns, rows, caption=caption)],
        "curves": [],
        "spectrum": None,
        "pictures": [],
        "trajectories": [form.trajectory("test", "The first test sequence", trajectory["file"], components, lines)],
        "raw": {name: {"found": run[f"find-{name}"], "scores": run[f"score-{name}"]} for name in rules},
    }


STUDY = Study(
    name="tracking-own",
    summary="your own recordings (--data FILE): Kalman filters, learned covariances and KalmanNet, fitted and compared",
    settings=OwnSettings,
    quick={"few_steps": 20, "network_steps": 30},
    stages=study_stages,
    results=study_results,
)
