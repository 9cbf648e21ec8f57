"""A Markdown extension: `$…$` and `$$…$$` become MathML while pages are built, so that they need no script."""

import re
import xml.etree.ElementTree as etree

from latex2mathml.converter import convert_to_element
from markdown import Extension, Markdown
from markdown.inlinepatterns import InlineProcessor

# A dollar opens only before and closes only after what is no space, so that prices stay prices.
INLINE = r"(?<![\\$])\$(?![\s$])((?:\\.|[^\\$])+?)(?<!\s)\$(?!\d)"
DISPLAY = r"\$\$(.+?)\$\$"


def element(latex: str, display: str) -> etree.Element:
    """The MathML element of a formula."""
    # What latex2mathml does not know, or would set letter by letter, in its own terms.
    latex = re.sub(r"\\arg\b", r"\\operatorname{arg}", latex.strip())
    latex = re.sub(r"\\mathrm\{([A-Za-z]{2,})\}", r"\\operatorname{\1}", latex)
    found = convert_to_element(latex, display=display)
    for part in found.iter("msub"):
        if part[0].tag == "mo" and part[0].text in ("min", "max", "sup", "inf", "lim"):
            # Below the word where the formula is displayed, beside it in a line.
            part.tag = "munder"
            part[0].set("movablelimits", "true")
    unknown = [part.text for part in found.iter() if part.text and re.fullmatch(r"\\[A-Za-z]+", part.text)]
    if unknown:
        raise ValueError(f"the formula {latex!r} uses {', '.join(unknown)}, which latex2mathml does not know")
    return found


class Formula(InlineProcessor):
    """A formula, within its line or displayed."""

    def __init__(self, pattern: str, display: str, md: Markdown):
        super().__init__(pattern, md)
        self.display = display

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[etree.Element, int, int]:
        return element(m.group(1), self.display), m.start(0), m.end(0)


class MathML(Extension):
    """Registers both."""

    def extendMarkdown(self, md: Markdown) -> None:
        # After code spans (190) and before escapes (180), which would take the backslashes of a formula.
        md.inlinePatterns.register(Formula(DISPLAY, "block", md), "displayed formula", 186)
        md.inlinePatterns.register(Formula(INLINE, "inline", md), "formula", 185)


def makeExtension(**options: object) -> MathML:
    """What Python-Markdown calls."""
    return MathML(**options)
