"""Formulas become MathML, and doctests code."""

import sys
import textwrap
from pathlib import Path

import markdown
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from scripts.api_pages import fence_doctests
from scripts.mathml import MathML


def render(text: str) -> str:
    return markdown.markdown(text, extensions=[MathML(), "fenced_code"])


def test_formulas_are_rendered_within_a_line_and_displayed():
    html = render("so $x_1 = \\frac{1}{2}$ and\n\n$$\ny = \\|x\\|_2\n$$")
    assert html.count('display="inline"') == 1
    assert html.count('display="block"') == 1
    assert "<mfrac>" in html
    assert "$" not in html


def test_markdown_within_a_formula_is_left_alone():
    assert "<em>" not in render("$a_b * c * d_e$ and $f_g$")


@pytest.mark.parametrize("text", ["costs $5, or $6 today", "`$x$`", "```\n$x$\n```", "a $ b $ c"])
def test_what_is_no_formula_is_left_alone(text):
    assert "<math" not in render(text)


def test_names_are_set_as_words():
    assert "<mo>prox</mo>" in render("$\\mathrm{prox}_f$")
    assert "<munder>" in render("$$\\arg\\min_s f(s)$$")


def test_an_unknown_command_is_an_error():
    with pytest.raises(ValueError, match=r"uses \\blub, which latex2mathml does not know"):
        render("$\\blub x$")


def test_doctests_are_fenced():
    text = textwrap.dedent(
        """\
        A sum.

        Example:
            >>> 1 + 1
            2

        And more."""
    )
    assert fence_doctests(text).splitlines() == [
        "A sum.", "", "Example:", "    ```pycon", "    >>> 1 + 1", "    2", "    ```", "", "And more.",
    ]  # fmt: skip


def test_a_doctest_that_ends_the_text_or_follows_a_line_is_fenced():
    assert fence_doctests("so\n>>> 1\n1") == "so\n\n```pycon\n>>> 1\n1\n```"


def test_what_is_fenced_already_is_left_alone():
    text = "```python\n>>> 1\n1\n```"
    assert fence_doctests(text) == text
