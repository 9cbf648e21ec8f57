"""The page: everything that a run found, in one file that needs no network."""

import html
import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from mbdl.report.photographs import BOXES, cut, data_uri, file_uri
from mbdl.report.style import DARK, LIGHT, MARKERS, Theme
from mbdl.report.tables import best_rows, cells, headings, is_words

_SIGNS = {"o": "●", "s": "■", "D": "◆", "^": "▲", "X": "✖"}


def page(
    results: dict[str, Any], arrays: dict[str, dict[str, np.ndarray]], figures: dict[str, tuple[Path, Path]]
) -> str:
    """The report as HTML, images and style within it.

    Args:
        results: as in `results.json`.
        arrays: the images of each picture, by the picture's name.
        figures: the file of each chart on light and on dark ground, by the chart's name.

    Returns:
        The text of the page.
    """
    timings = results["timings"]
    body = [_header(results)]
    for table in results["tables"][:1]:
        body.append(_table(table, timings))
    if results.get("findings"):
        body.append("<ul>" + "".join(f"<li>{_safe(finding)}</li>" for finding in results["findings"]) + "</ul>")
    if results.get("spectrum"):
        body.append(_chart("spectrum", results["spectrum"], figures))
    body += [_chart(curve["name"], curve, figures) for curve in results.get("curves", [])]
    body += [_trajectory(trajectory, figures) for trajectory in results.get("trajectories", [])]
    if results.get("pictures"):
        body.append("<h2>Photographs</h2>")
        body += [_picture(picture, arrays[picture["name"]]) for picture in results["pictures"]]
    body += [_table(table, timings) for table in results["tables"][1:]]
    body.append(_settings(results))
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{_safe(results['title'])}</title>\n<style>{_style()}</style></head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body></html>\n"
    )


def _header(results: dict[str, Any]) -> str:
    parts = [f"<h1>{_safe(results['title'])}</h1>", f"<p class=lead>{_safe(results['summary'])}</p>"]
    if not results["evidence"]:
        parts.append(
            "<p class=warning><strong>A quick run, no evidence.</strong> Little data and next to no training: "
            "it shows that everything works, not which rule is better.</p>"
        )
    if results["statements"]:
        parts.append("<ul>" + "".join(f"<li>{_safe(statement)}</li>" for statement in results["statements"]) + "</ul>")
    return "\n".join(parts)


def _table(table: dict[str, Any], timings: dict[str, Any]) -> str:
    best = best_rows(table, timings)
    words = [True, *(is_words(table, column, timings) for column in table["columns"])]
    head = "".join(
        f"<th{'' if is_text else ' class=number'}>{_safe(title)}</th>"
        for title, is_text in zip(headings(table), words, strict=True)
    )
    rows = []
    for index, (row, texts) in enumerate(zip(table["rows"], cells(table, timings), strict=True)):
        mark = _mark(row["strategy"]) if row.get("strategy") else ""
        line = [f"<th scope=row>{mark}{_safe(texts[0])}</th>"]
        for place, text in enumerate(texts[1:]):
            kinds = (("number", not words[place + 1]), ("words", words[place + 1]), ("best", (index, place) in best))
            classes = [name for name, on in kinds if on]
            shown = f' class="{" ".join(classes)}"' if classes else ""
            line.append(f"<td{shown}>{_safe(text)}</td>")
        rows.append(f"<tr>{''.join(line)}</tr>")
    caption = f"<p class=caption>{_safe(table['caption'])}</p>" if table["caption"] else ""
    return (
        f"<h2>{_safe(table['title'])}</h2>\n<div class=scroll><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>{caption}"
    )


def _chart(name: str, chart: dict[str, Any], figures: dict[str, tuple[Path, Path]]) -> str:
    light, dark = figures[name]
    caption = f"<figcaption>{_safe(chart['caption'])}</figcaption>" if chart["caption"] else ""
    return (
        f"<h2>{_safe(chart['heading'])}</h2>\n<figure class=chart><picture>"
        f'<source media="(prefers-color-scheme: dark)" srcset="{file_uri(dark)}">'
        f'<img src="{file_uri(light)}" alt="{_safe(chart["title"])}"></picture>{caption}</figure>'
    )


def _trajectory(trajectory: dict[str, Any], figures: dict[str, tuple[Path, Path]]) -> str:
    chart = {"heading": trajectory["title"], "title": trajectory["title"], "caption": trajectory["caption"]}
    return _chart(f"trajectory-{trajectory['name']}", chart, figures)


def _picture(picture: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    panels, details = picture["panels"], picture["details"]
    whole = arrays[panels[0]["name"]]
    height, width = whole.shape[:2]
    boxes = "".join(
        f'<rect x="{detail["column"]}" y="{detail["row"]}" width="{detail["size"]}" height="{detail["size"]}" '
        f'fill="none" stroke="{BOXES[number % len(BOXES)]}" stroke-width="3" vector-effect="non-scaling-stroke"/>'
        for number, detail in enumerate(details)
    )
    parts = [
        f"<h3>{_safe(picture['title'])}</h3>\n<div class=photographs>",
        f'<figure class=whole style="aspect-ratio:{width}/{height}"><img src="{data_uri(whole, jpeg=True)}" '
        f'alt="{_safe(picture["title"])}"><svg viewBox="0 0 {width} {height}">{boxes}</svg></figure>',
        "<div class=panels>",
    ]
    for panel in panels:
        images = "".join(
            f'<img style="border-color:{BOXES[number % len(BOXES)]}" '
            f'src="{data_uri(cut(arrays[panel["name"]], whole.shape, detail))}" '
            f'alt="{_safe(panel["title"])}, detail {number + 1}">'
            for number, detail in enumerate(details)
        )
        score = f"<br><span class=score>{_safe(panel['score'])}</span>" if panel.get("score") else ""
        parts.append(f"<figure>{images}<figcaption>{_safe(panel['title'])}{score}</figcaption></figure>")
    parts.append("</div></div>")
    return "\n".join(parts)


def _settings(results: dict[str, Any]) -> str:
    asked = {"seed": results["seed"], **results["settings"]}
    rows = "".join(f"<tr><th scope=row>{_safe(k)}</th><td>{_safe(_show(v))}</td></tr>" for k, v in asked.items())
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    machine = results["timings"].get("machine", {})
    times = ""
    if machine:
        cores = machine.get("cores")
        times = (
            f"<p class=caption>Times were measured on {cores} core{'s' if cores != 1 else ''}, "
            f"{_safe(str(machine.get('processor')))}, {_safe(str(machine.get('system')))}; "
            f"the whole run took {sum(results['timings']['stages'].values()) / 60:.1f} minutes.</p>"
        )
    return (
        f"<h2>Settings and versions</h2>\n<details><summary>seed {results['seed']} and "
        f"{len(results['settings'])} settings</summary><table class=plain>{rows}</table></details>\n"
        f"<p class=caption>{_safe(versions)}</p>{times}"
    )


def _show(value: Any) -> str:
    return json.dumps(value) if not isinstance(value, list) else ", ".join(map(str, value))


def _mark(strategy: str) -> str:
    return f'<span class="mark {_class(strategy)}" title="{_safe(strategy)}">{_SIGNS[MARKERS[strategy]]}</span> '


def _safe(text: str) -> str:
    return html.escape(str(text))


def _style() -> str:
    marks = "".join(f".{_class(name)}{{color:var(--{_class(name)})}}" for name in LIGHT.strategies)
    rest = resources.files("mbdl.report").joinpath("page.css").read_text(encoding="utf-8")
    return f":root{{{_colours(LIGHT)}}}@media(prefers-color-scheme:dark){{:root{{{_colours(DARK)}}}}}{marks}\n{rest}"


def _colours(theme: Theme) -> str:
    strategies = "".join(f"--{_class(name)}:{value};" for name, value in theme.strategies.items())
    return f"--ground:{theme.ground};--text:{theme.text};--faint:{theme.faint};--grid:{theme.grid};{strategies}"


def _class(strategy: str) -> str:
    return strategy.replace(" ", "-").lower()
