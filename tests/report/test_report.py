"""The report is one file that needs nothing else, and its figures are drawn."""

import html.parser
import json
import re

import numpy as np
import pytest
from report.example import write_run

from mbdl import report
from mbdl.report.photographs import cut


class Links(html.parser.HTMLParser):
    """Collects what a page would load, and checks that its tags match."""

    VOID = ("meta", "img", "source", "br", "rect", "link")

    def __init__(self):
        super().__init__()
        self.links, self.open = [], []

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "poster")]
        assert tag not in ("script", "link", "iframe")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "run"
    write_run(folder)
    return report.render(folder)


def test_the_page_is_self_contained(rendered):
    page = rendered[-1]
    text = page.read_text(encoding="utf-8")
    parser = Links()
    parser.feed(text)
    assert parser.open == []
    assert len(parser.links) == 2 * 2 + 1 + 4 * 2  # two charts on two grounds, a photograph, details
    assert all(link.startswith("data:image/") for link in parser.links)
    assert not re.search(r"https?://", text)
    assert "@import" not in text
    assert not re.search(r"url\(", text)


def test_the_page_says_what_was_found(rendered):
    text = rendered[-1].read_text(encoding="utf-8")
    for part in ("A made-up run", "TV &lt;model&gt;", "−0.38 ± 0.12", "What was asked &amp; how.", "One is better."):
        assert part in text
    assert "prefers-color-scheme:dark" in text
    assert "no evidence" not in text


def test_a_quick_run_says_that_it_is_no_evidence(tmp_path):
    write_run(tmp_path / "run", evidence=False)
    files = report.render(tmp_path / "run")
    assert all("no evidence" in file.read_text(encoding="utf-8") for file in files[-2:])


def test_figures_are_drawn(rendered):
    from PIL import Image

    files = {file.name: file for file in rendered}
    for name in ("spectrum.png", "spectrum-dark.png", "patches.png", "patches-dark.png", "photograph-camera.png"):
        with Image.open(files[name]) as image:
            pixels = np.asarray(image.convert("L"))
            assert min(pixels.shape) > 400
            assert pixels.std() > 5
    with Image.open(files["spectrum.png"]) as light, Image.open(files["spectrum-dark.png"]) as dark:
        assert np.median(np.asarray(light.convert("L"))) > 200
        assert np.median(np.asarray(dark.convert("L"))) < 60


def test_rendering_again_gives_the_same_page(rendered):
    first = rendered[-1].read_bytes()
    assert report.render(rendered[-1].parent)[-1].read_bytes() == first


def test_details_of_a_small_image_are_the_same_part_of_the_scene():
    small = np.arange(16, dtype=np.uint8).reshape(4, 4)
    large = np.kron(small, np.ones((2, 2), np.uint8))
    detail = {"row": 2, "column": 4, "size": 4}
    np.testing.assert_array_equal(cut(large, large.shape, detail)[::2, ::2], cut(small, large.shape, detail))


def test_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="is it the folder of a run"):
        report.read(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="--resume"):
        report.read(tmp_path)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        report.read(tmp_path)
    (tmp_path / "results.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(ValueError, match="format 1"):
        report.read(tmp_path)
