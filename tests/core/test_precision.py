"""Matrix products with all digits, unless a precision was chosen."""

import subprocess
import sys

import jax
import pytest


def _precision(chosen, monkeypatch):
    if chosen is None:
        monkeypatch.delenv("JAX_DEFAULT_MATMUL_PRECISION", raising=False)
    else:
        monkeypatch.setenv("JAX_DEFAULT_MATMUL_PRECISION", chosen)
    command = "import jax, mbdl; print(jax.config.jax_default_matmul_precision)"
    return subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(("chosen", "kept"), [(None, "highest"), ("tensorfloat32", "tensorfloat32")])
def test_products_are_exact_unless_a_precision_was_chosen(chosen, kept, monkeypatch):
    assert _precision(chosen, monkeypatch) == kept


def test_a_product_in_a_rule_and_its_derivative_ask_for_all_digits():
    from control.rules import RULES

    rule, x = RULES["LQR"]()
    matrix = jax.numpy.eye(3)
    text = str(jax.make_jaxpr(jax.grad(lambda a: jax.numpy.sum(a @ a @ matrix)))(matrix)) + str(jax.make_jaxpr(rule)(x))
    products = text.count("dot_general[")
    assert products > 3
    assert text.count("precision=(Precision.HIGHEST, Precision.HIGHEST)") + text.count("precision=HIGHEST") == products
