"""The precision of matrix products."""

import jax


def multiply_in_full() -> None:
    """Makes JAX multiply matrices with all digits of their dtype, unless a precision was chosen; called when `mbdl` is
    imported.

    A GPU or TPU multiplies matrices of float32 with ten bits of mantissa or fewer by default, an error of 1e-3 in every
    product, which covariances and quadratic programs do not bear. To have it back, for large networks say, choose it:
    `jax.config.update("jax_default_matmul_precision", "tensorfloat32")`, or in the environment
    `JAX_DEFAULT_MATMUL_PRECISION`. On a CPU nothing changes.
    """
    if getattr(jax.config, "jax_default_matmul_precision", None) is None:
        jax.config.update("jax_default_matmul_precision", "highest")
