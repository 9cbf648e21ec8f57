"""One process of a training that several share: `python -m training.processes PORT COUNT NUMBER FOLDER`."""

import sys
from pathlib import Path

import jax
import numpy as np
import optax
from training.toys import affine, pairs


def trained(mesh=None, **options):
    """The training, on one device or on a mesh."""
    from mbdl.training import fit, losses, supervised

    data = pairs()
    return fit(
        affine(), supervised(data, losses.mse), optax.adam(0.05), steps=12, batch_size=4, key=jax.random.key(3),
        validation=data, validate_every=3, mesh=mesh, **options,
    )  # fmt: skip


def main(port, count, number, folder):
    """Trains with the other processes, and writes what this one found."""
    jax.distributed.initialize(f"localhost:{port}", int(count), int(number))
    from jax.sharding import Mesh

    found = trained(Mesh(np.array(jax.devices()), ("examples",)), checkpoint=Path(folder) / "checkpoint")
    again = trained(Mesh(np.array(jax.devices()), ("examples",)), checkpoint=Path(folder) / "checkpoint", resume=True)
    matrix = np.asarray(found.rule.matrix.raw)
    np.testing.assert_array_equal(np.asarray(again.rule.matrix.raw), matrix)
    np.savez(Path(folder) / f"{number}.npz", matrix=matrix, losses=found.history.losses, best=found.history.validation)


if __name__ == "__main__":
    main(*sys.argv[1:])
