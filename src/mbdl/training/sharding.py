"""Data parallelism: the examples of a batch on the devices of a mesh."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, PRNGKeyArray

from mbdl.training.batches import batch_length
from mbdl.training.risk import AbstractExampleRisk


class SpreadRisk:
    """A mean over examples of which each device of a mesh computes an equal part."""

    def __init__(self, risk: AbstractExampleRisk, mesh: Mesh):
        self.risk, self.mesh = risk, mesh

    def values(self, rule: Any, batch: Any, key: PRNGKeyArray | None) -> Float[Array, " batch"]:
        """The value of each example."""
        arrays, static = eqx.partition((self.risk, rule), eqx.is_array)

        def part(arrays: Any, batch: Any, key: Any) -> Array:
            risk, rule = eqx.combine(arrays, static)
            return risk.values(rule, batch, key)

        whole, split = PartitionSpec(), PartitionSpec(self.mesh.axis_names)
        spread = jax.shard_map(part, mesh=self.mesh, in_specs=(whole, split, whole), out_specs=split, check_vma=False)
        return spread(arrays, batch, key)

    def __call__(self, rule: Any, batch: Any = None, key: PRNGKeyArray | None = None) -> Float[Array, ""]:
        batch = self.risk.examples() if batch is None else batch
        return jnp.mean(self.values(rule, batch, key))


def spread(risk: Any, mesh: Mesh | None, batch: Any) -> Any:
    """A risk for a batch, spread over a mesh where there is one whose devices can share it equally."""
    if mesh is None or not isinstance(risk, AbstractExampleRisk) or _examples(risk, batch) % mesh.size:
        return risk
    return SpreadRisk(risk, mesh)


def check_shared(risk: Any, mesh: Mesh, batch: Any) -> None:
    """Refuses a risk for a batch that the devices of a mesh cannot share.

    Raises:
        TypeError: for a risk that is not a mean over examples.
        ValueError: for a batch that they cannot share equally.
    """
    if not isinstance(risk, AbstractExampleRisk):
        raise TypeError(
            "fit: a mesh shares the examples of a batch among devices, so the risk has to be a mean over examples: "
            "mbdl.supervised, mbdl.unsupervised, mbdl.deep_supervision, control.closed_loop, or an "
            f"mbdl.training.AbstractExampleRisk of one's own; got {type(risk).__name__}."
        )
    examples = _examples(risk, batch)
    if examples % mesh.size:
        raise ValueError(
            f"fit: the {mesh.size} devices of the mesh cannot share a batch of {examples} examples equally; give a "
            f"batch_size (of a closed loop: runs) that is a multiple of {mesh.size}."
        )


def _examples(risk: AbstractExampleRisk, batch: Any) -> int:
    """How many examples a batch has, or the risk where there is none."""
    return batch_length(risk.examples() if batch is None else batch)


def replicated(tree: Any, mesh: Mesh | None) -> Any:
    """The same arrays on every device of a mesh; as they are where there is none."""
    if mesh is None:
        return tree
    everywhere = NamedSharding(mesh, PartitionSpec())
    if everywhere.is_fully_addressable:
        return jax.device_put(tree, everywhere)

    def placed(leaf: Array) -> Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(placed(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
        held = np.asarray(leaf)
        return jax.make_array_from_callback(held.shape, everywhere, lambda index: held[index])

    return jax.tree.map(placed, tree)


def gathered(tree: Any, mesh: Mesh | None) -> Any:
    """Arrays that every device of a mesh holds, on one device of this process."""
    if mesh is None:
        return tree
    return jax.tree.map(lambda leaf: jax.device_put(leaf.addressable_data(0), mesh.local_devices[0]), tree)


LEAST_SHARE = 4
"""The fewest examples for each device; with fewer there, fewer devices share them."""


def local_mesh(examples: int) -> Mesh | None:
    """A mesh of the most devices of this process that can share a number of examples equally, at least `LEAST_SHARE`
    for each; none for one device."""
    devices = jax.local_devices()
    most = max(1, min(len(devices), examples // LEAST_SHARE))
    count = max(n for n in range(1, most + 1) if examples % n == 0)
    return Mesh(np.array(devices[:count]), ("examples",)) if count > 1 else None
