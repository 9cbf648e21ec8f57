"""Tables as text: for a terminal, for Markdown, and cell by cell for the page."""

import math
from typing import Any

MISSING = "—"


def headings(table: dict[str, Any]) -> list[str]:
    """The headings of a table's columns, the first that of its rows' titles."""
    return [
        table.get("row_title", "rule"),
        *(column["title"] + (f" [{column['unit']}]" if column["unit"] else "") for column in table["columns"]),
    ]


def cells(table: dict[str, Any], timings: dict[str, Any]) -> list[list[str]]:
    """The rows of a table as text, each beginning with its title.

    Args:
        table: from a study's results.
        timings: the section `timings` of the results, where columns of times have their numbers.

    Returns:
        One list of texts a row.
    """
    columns = table["columns"]
    return [
        [row["title"], *(_text(column, value_of(row, column, timings)) for column in columns)] for row in table["rows"]
    ]


def value_of(row: dict[str, Any], column: dict[str, Any], timings: dict[str, Any]) -> Any:
    """What a row holds in a column: a number, a number with an error, a text or nothing."""
    if column["timing"]:
        return timings.get("rules", {}).get(row["name"], {}).get(column["name"])
    return row["cells"].get(column["name"])


def best_rows(table: dict[str, Any], timings: dict[str, Any]) -> set[tuple[int, int]]:
    """The cells (row, column) that are best in their column, among the columns that say what best is."""
    best = set()
    for place, column in enumerate(table["columns"]):
        if column["best"] is None:
            continue
        numbers = {}
        for index, row in enumerate(table["rows"]):
            value = value_of(row, column, timings)
            number = value.get("value") if isinstance(value, dict) else value
            if isinstance(number, (int, float)):
                numbers[index] = number
        if numbers:
            choose = max if column["best"] == "max" else min
            top = choose(numbers.values())
            shown = f"{top:.{column['digits']}f}"
            best |= {(index, place) for index, number in numbers.items() if f"{number:.{column['digits']}f}" == shown}
    return best


def markdown(table: dict[str, Any], timings: dict[str, Any]) -> str:
    """A table in Markdown, numbers aligned to the right, the best in bold."""
    best = best_rows(table, timings)
    rows = [
        [row[0], *(f"**{text}**" if (index, place) in best else text for place, text in enumerate(row[1:]))]
        for index, row in enumerate(cells(table, timings))
    ]
    titles = headings(table)
    widths = [max(len(row[place]) for row in [titles, *rows]) for place in range(len(titles))]
    right = [False, *(not is_words(table, column, timings) for column in table["columns"])]

    def line(texts: list[str]) -> str:
        padded = (
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(texts, widths, right, strict=True)
        )
        return f"| {' | '.join(padded)} |"

    dashes = ("-" * (width + 1) + (":" if to_right else "-") for width, to_right in zip(widths, right, strict=True))
    return "\n".join([line(titles), f"|{'|'.join(dashes)}|", *map(line, rows)])


def plain(table: dict[str, Any], timings: dict[str, Any]) -> str:
    """A table for a terminal without colours, columns aligned, the best marked with an asterisk."""
    best = best_rows(table, timings)
    rows = [
        [row[0], *(text + ("*" if (index, place) in best else " ") for place, text in enumerate(row[1:]))]
        for index, row in enumerate(cells(table, timings))
    ]
    right = [False, *(not is_words(table, column, timings) for column in table["columns"])]
    titles = [title + (" " if to_right else "") for title, to_right in zip(headings(table), right, strict=True)]
    widths = [max(len(row[place]) for row in [titles, *rows]) for place in range(len(titles))]

    def line(texts: list[str]) -> str:
        padded = (
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(texts, widths, right, strict=True)
        )
        return "  ".join(padded).rstrip()

    return "\n".join([line(titles), "-" * (sum(widths) + 2 * (len(widths) - 1)), *map(line, rows)])


def rich_table(table: dict[str, Any], timings: dict[str, Any]) -> Any:
    """A table for a terminal that shows colours and bold (a `rich.table.Table`)."""
    from rich.table import Table
    from rich.text import Text

    best = best_rows(table, timings)
    shown = Table(title=table["title"], caption=table["caption"] or None, title_justify="left", caption_justify="left")
    for place, title in enumerate(headings(table)):
        words = place == 0 or is_words(table, table["columns"][place - 1], timings)
        shown.add_column(title, justify="left" if words else "right", no_wrap=place == 0)
    for index, row in enumerate(cells(table, timings)):
        texts = [Text(text, style="bold" if (index, place) in best else "") for place, text in enumerate(row[1:])]
        shown.add_row(Text(row[0]), *texts)
    return shown


def is_words(table: dict[str, Any], column: dict[str, Any], timings: dict[str, Any]) -> bool:
    """Whether a column holds words rather than numbers."""
    return any(isinstance(value_of(row, column, timings), str) for row in table["rows"])


def _text(column: dict[str, Any], value: Any) -> str:
    if value is None:
        return MISSING
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        number = _number(column, value["value"])
        error = value.get("error")
        return number if error is None else f"{number} ± {error:.{column['digits']}f}"
    return _number(column, value)


def _number(column: dict[str, Any], value: float) -> str:
    if not math.isfinite(value):
        return MISSING
    if column["digits"] == 0:
        text = f"{round(value):,}".replace(",", "\u202f")
    else:
        text = f"{value:.{column['digits']}f}"
    if float(f"{value:.{column['digits']}f}") == 0:
        return text.lstrip("-")
    if value < 0:
        return "\u2212" + text.lstrip("-")
    return f"+{text}" if column["signed"] else text
