"""The command `mbdl apply`: from a rule's file and an image's file to an image's file."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import jax.numpy as jnp
import numpy as np

import mbdl
from mbdl.cli.apply import apply, enlargement
from mbdl.cli.images import ImageFile, read_image, write_image
from mbdl.networks import upsample


def use(
    rule_path: Path, image_path: Path, out: Path, *, overwrite: bool, say: Callable[[str], None], bar: bool = False
) -> None:
    """Applies a saved rule to an image file and writes the result.

    Transparency is enlarged by bicubic interpolation.

    Args:
        rule_path: a file that `mbdl.save` wrote.
        image_path: the image.
        out: where to write.
        overwrite: whether `out` may exist.
        say: is told what happens, a line each.
        bar: whether to show a progress bar.

    Raises:
        FileNotFoundError: if a file is missing.
        FileExistsError: if `out` exists.
        ValueError: if a file is not what it should be.
    """
    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} exists; choose another name, or say --overwrite")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {out.parent} to write {out.name} into")
    image = read_image(image_path)
    rule = mbdl.load(rule_path)
    factor = enlargement(rule)
    say(f"rule: {mbdl.spectrum(rule)}")
    with _progress(bar) as tell:
        values = apply(rule, image.values, tell=tell)
    alpha = None
    if image.alpha is not None:
        alpha = np.clip(np.asarray(upsample(jnp.asarray(image.alpha), factor)), 0.0, 1.0)
    result = ImageFile(values, alpha, image.bits, image.profile)
    lost = write_image(out, result)
    say(f"{image_path}: {image.describe()} → {out}: {result.describe()}{f' ({lost})' if lost else ''}")


@contextlib.contextmanager
def _progress(bar: bool) -> Iterator[Callable[[int, int], None]]:
    if not bar:
        yield lambda done, of: None
        return
    from rich.progress import Progress

    with Progress(transient=True) as progress:
        task = progress.add_task("applying", total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)
