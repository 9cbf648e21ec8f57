"""The commands, each a thin layer over `mbdl.studies`, `mbdl.report` and `mbdl.cli.apply`."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

INTERRUPTED = 130
"""The exit code after Ctrl-C, by the custom of shells."""

app = typer.Typer(
    name="mbdl",
    help="Model-based deep learning: one problem, solved by rules along the spectrum from model to data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Runs the command line.

    After Ctrl-C the process ends at once. XLA compiles in threads of its own, which a `KeyboardInterrupt` leaves
    running; an orderly end would wait for them and then take away what they use, and they would crash.
    """
    try:
        app()
    except SystemExit as end:
        if end.code != INTERRUPTED:
            raise
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(INTERRUPTED)


@app.callback(invoke_without_command=True)
def _start(
    version: Annotated[bool, typer.Option("--version", help="Say which version this is, and stop.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"mbdl {installed('mbdl')}")
        raise typer.Exit


@app.command("list")
def list_studies(
    study: Annotated[str | None, typer.Argument(help="A study, to see its settings.")] = None,
) -> None:
    """List the studies, or the settings of one."""
    from mbdl import studies

    if study is None:
        width = max(map(len, studies.names()))
        for name in studies.names():
            typer.echo(f"{name.ljust(width)}  {studies.study(name).summary}")
        return
    try:
        found = studies.study(study)
    except ValueError as error:
        _fail(error)
    typer.echo(f"{found.name}: {found.summary}\n\nsettings (--set name=value), with their defaults:")
    typer.echo(studies.describe(found.settings))
    if found.quick:
        typer.echo("\n--quick sets " + ", ".join(f"{name}={_show(value)}" for name, value in found.quick.items()))


@app.command()
def run(
    study: Annotated[str, typer.Argument(help="The study to run; `mbdl list` names them.")],
    quick: Annotated[
        bool, typer.Option("--quick", help="A small run that shows that everything works; no evidence.")
    ] = False,
    curves: Annotated[
        bool, typer.Option("--curves", help="Add the study's curves, which take longer than its table.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="The number that all random keys are made from.", show_default="0")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder to write.", show_default="a new one, runs/STUDY-1, -2, …")
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change a setting; may be repeated.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="The recordings of a study of your own; short for --set data=FILE.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a run that was stopped: the last one, or --out.")
    ] = False,
) -> None:
    """Run a study: print its table, and write results.json, figures, saved rules and report.html."""
    from mbdl.cli.cache import keep_compiled_programs
    from mbdl.cli.cores import one_device_per_core

    keep_compiled_programs()
    one_device_per_core()
    from mbdl import report, studies

    terminal = sys.stdout.isatty()
    try:
        prepared = studies.prepare(
            studies.study(study),
            out=out,
            seed=seed,
            assignments=[*(assignments or ()), *([] if data is None else [f"data={data}"])],
            quick=quick,
            curves=curves,
            resume=resume,
            progress=terminal,
        )
    except (ValueError, OSError) as error:
        _fail(error)
    folder = prepared.folder.path
    _say(f"{prepared.study.name}, seed {prepared.seed}, into {folder}")
    if prepared.quick:
        _say("A quick run: it shows that everything works, and is no evidence.")
    try:
        results = studies.execute(prepared, _say)
        files = report.render(folder)
    except KeyboardInterrupt:
        _say(f"\nStopped. Continue with: mbdl run {study} --resume --out {folder}")
        raise typer.Exit(INTERRUPTED) from None
    _show_tables(results)
    _say(f"\nreport: {files[-1]}\nresults: {folder / 'results.json'}")
    _say(f"rules: {folder / 'rules'}\nfigures: {folder / 'figures'}")


@app.command("report")
def render_report(folder: Annotated[Path, typer.Argument(help="The folder of a finished run.")]) -> None:
    """Render the figures and the page of a finished run again."""
    from mbdl import report

    try:
        files = report.render(folder)
    except (ValueError, OSError) as error:
        _fail(error)
    _show_tables(report.read(folder))
    _say(f"\nreport: {files[-1]}")


@app.command("apply")
def apply_rule(
    rule: Annotated[Path, typer.Argument(help="A saved rule, RULE.mbdl.")],
    image: Annotated[
        Path, typer.Argument(help="An image of any size: PNG, TIFF or JPEG, grey or colour, 8 or 16 bit.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The image to write: .png, .tif or .jpg.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write even if there is such a file.")] = False,
) -> None:
    """Apply a saved rule to an image."""
    from mbdl.cli.cache import keep_compiled_programs

    keep_compiled_programs()
    from mbdl.cli.use import use

    try:
        use(rule, image, out, overwrite=overwrite, say=_say, bar=sys.stdout.isatty())
    except (ValueError, OSError) as error:
        _fail(error)


def _show_tables(results: dict) -> None:
    from mbdl import report

    table = results["tables"][0]
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(report.rich_table(table, results["timings"]))
    else:
        typer.echo(f"\n{table['title']}\n{report.plain(table, results['timings'])}\n{table['caption']}")
    if not results["evidence"]:
        _say("A quick run, no evidence: little data and next to no training.")


def _say(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()


def _fail(error: Exception) -> None:
    typer.echo(f"error: {error}", err=True)
    raise typer.Exit(2) from error


def _show(value: object) -> str:
    return (
        ",".join(map(str, value))
        if isinstance(value, tuple)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )
