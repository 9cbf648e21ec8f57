"""Tables, plots and the page of a run."""

from mbdl.report.render import read as read
from mbdl.report.render import render as render
from mbdl.report.tables import markdown as markdown
from mbdl.report.tables import plain as plain
from mbdl.report.tables import rich_table as rich_table
