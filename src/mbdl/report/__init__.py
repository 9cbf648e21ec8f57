"""Tables, plots and the page of a run."""

from mbdl.report.render import read, render
from mbdl.report.tables import markdown, plain, rich_table

__all__ = [
    "markdown",
    "plain",
    "read",
    "render",
    "rich_table",
]
