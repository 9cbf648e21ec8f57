"""Training as a stage of a study: from a checkpoint where there is one, to a saved rule and a record of what it was."""

import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import optax

from mbdl.core import DecisionRule
from mbdl.studies.study import Run
from mbdl.training import fit
from mbdl.training.sharding import local_mesh


def train(
    run: Run,
    saved: str,
    rule: DecisionRule,
    risk: Any,
    optimiser: optax.GradientTransformation,
    *,
    steps: int,
    key: Any,
    validation: Any,
    validations: int,
    examples: int,
    batch_size: int | None = None,
    clip: float | None = None,
    deploy: Callable[[Any], DecisionRule] | None = None,
) -> dict[str, Any]:
    """Trains a rule and saves it. A training that was interrupted goes on where it was.

    Args:
        run: the run.
        saved: the name of the rule's file, and of the checkpoint while it is trained.
        rule: the rule.
        risk: what is made small.
        optimiser: an optax transformation; the same object for the same numbers, so that `fit` compiles once.
        steps: the number of its steps.
        key: of the noise, or of the order of the data.
        validation: what chooses the moment that is kept.
        validations: how often it is looked at.
        examples: how many examples a batch has, which the devices of this process share.
        batch_size: as `fit` takes it.
        clip: as `fit` takes it.
        deploy: makes of the trained rule the one that is saved; the rule itself by default.

    Returns:
        What the training was: its steps, the validation risk by step, the step whose rule was kept.

    Raises:
        KeyboardInterrupt: when it is interrupted; the checkpoint stays.
    """
    checkpoint = run.folder.path / "checkpoints" / saved
    trained = fit(
        rule,
        risk,
        optimiser,
        steps=steps,
        batch_size=batch_size,
        key=key,
        mesh=local_mesh(examples),
        validation=validation,
        validate_every=max(1, steps // validations),
        clip=clip,
        checkpoint=checkpoint,
        resume=True,
        progress=run.progress,
    )
    history = trained.history
    if history.interrupted:
        raise KeyboardInterrupt
    run.save_rule(saved, trained.rule if deploy is None else deploy(trained.rule))
    shutil.rmtree(checkpoint, ignore_errors=True)
    return {
        "steps": steps,
        "validation_steps": history.validation_steps.tolist(),
        "validation_risk": [float(f"{value:.6g}") for value in history.validation],
        "kept_step": int(history.best_step),
        "skipped_steps": int(np.sum(history.skipped)),
    }
