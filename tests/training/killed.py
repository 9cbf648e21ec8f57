"""Training runs that kill themselves at chosen moments of their checkpoints: `python -m training.killed FOLDER`.

Everything is imported once, and each moment then gets a process of its own, forked. So nothing here or in what it
imports may compute with JAX at import: a process with JAX's threads cannot be forked.
"""

import os
import signal
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
from training.toys import Affine, pairs

from mbdl.core import learn
from mbdl.training import fit, losses, supervised
from mbdl.training.checkpoint import Checkpoint

MOMENTS = ("within-the-write", "before-the-rename", "after-the-rename", "within-a-step", "before-the-first")


def killed_run(**options):
    """The run, whole unless something kills it."""
    xs, targets = pairs()
    rule = learn(Affine(jnp.eye(3), jnp.zeros(3)), lambda r: (r.matrix, r.offset))
    options |= {"batch_size": 7, "validation": (xs[:9], targets[:9]), "validate_every": 4, "checkpoint_every": 2}
    return fit(
        rule, supervised((xs, targets), losses.mse), optax.adam(0.05), steps=30, key=jax.random.key(9), **options
    )


def run_and_be_killed(moment, folder):
    """Kills itself at the seventh checkpoint, after fourteen steps, or where the moment says."""

    def kill():
        os.kill(os.getpid(), signal.SIGKILL)

    saves = []
    save, fsync, replace = Checkpoint.save, os.fsync, Path.replace

    def counting(self, state):
        saves.append(state.done)
        if moment == "before-the-first":
            kill()
        save(self, state)

    def on_fsync(descriptor):
        if len(saves) == 7 and moment == "within-the-write":
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            kill()
        fsync(descriptor)

    def on_replace(self, target):
        if len(saves) == 7 and moment == "before-the-rename":
            kill()
        replace(self, target)
        if len(saves) == 7 and moment == "after-the-rename":
            kill()

    def callback(step, metrics, rule):
        if step == 15 and moment == "within-a-step":
            kill()

    Checkpoint.save, os.fsync, Path.replace = counting, on_fsync, on_replace
    killed_run(checkpoint=folder, callbacks=[callback])


def main():
    """Forks a run for each moment and prints the signals that ended them."""
    for moment in MOMENTS:
        child = os.fork()
        if child == 0:
            signal.alarm(120)
            run_and_be_killed(moment, Path(sys.argv[1]) / moment)
            os._exit(3)
        sys.stdout.write(f"{moment}:{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) * -1}\n")


if __name__ == "__main__":
    main()
