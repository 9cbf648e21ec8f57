"""The documentation builds without a warning, and its pages load nothing from elsewhere."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mbdl

ROOT = Path(__file__).parents[2]
# What a browser fetches by itself: scripts, styles, images, fonts, frames; not links that a reader may follow.
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|audio|video|embed)\b[^>]*\bsrc\s*=\s*["']?(?P<src>(?:https?:)?//[^"'\s>]+)"""
    r"""|<link\b(?![^>]*\brel\s*=\s*["']?canonical)[^>]*\bhref\s*=\s*["']?(?P<href>(?:https?:)?//[^"'\s>]+)"""
    r"""|(?:@import|url\()\s*["']?(?P<css>(?:https?:)?//[^"')\s]+)""",
    re.IGNORECASE,
)


def fetched(text: str) -> list[str]:
    """The addresses that a page or a style sheet makes a browser fetch."""
    return [match.group(match.lastgroup or 0) for match in FETCHED.finditer(text)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built pages, of a copy of the sources: the build writes beside its configuration."""
    folder = tmp_path_factory.mktemp("documentation")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    for name in ("docs", "src", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert build.returncode == 0, re.sub(r"\x1b\[[0-9;]*m", "", build.stdout + build.stderr)
    return folder / "site"


def test_pages_load_nothing_from_elsewhere(site):
    pages = [page for suffix in ("html", "css") for page in site.rglob(f"*.{suffix}")]
    assert len(pages) > 10
    assert {page.name: found for page in pages if (found := fetched(page.read_text(encoding="utf-8")))} == {}


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://cdn.example/a.js"></script>',
        "<link rel=stylesheet href=//fonts.example/css>",
        "@font-face{src:url(https://fonts.example/a.woff2)}",
        '@import "https://fonts.example/a.css";',
    ],
)
def test_what_is_fetched_is_noticed(text):
    assert fetched(text)


def test_links_are_not_fetched():
    assert fetched('<a href="https://arxiv.org/abs/2205.02640">paper</a> <link rel="icon" href="../favicon.png">') == []


def test_formulas_are_rendered(site):
    page = (site / "ideas" / "decision-rules.html").read_text(encoding="utf-8")
    assert page.count("<math") > 5
    for page in site.rglob("*.html"):
        text = re.sub(r"<(pre|code|script|style)\b.*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not re.findall(r"\$\$|\$\\[a-z]+|\\(?:mathrm|frac|sum|min)\b", text), page.name


def test_every_public_name_has_its_place(site):
    for package in ("core", "inverse", "networks", "training"):
        page = (site / "api" / f"{package}.html").read_text(encoding="utf-8")
        module = getattr(mbdl, package)
        names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
        functions = [name for name in names if callable(getattr(module, name))]
        assert [name for name in functions if f'id="mbdl.{package}.{name}"' not in page] == []


def test_the_page_of_the_package_names_all_of_it():
    page = (ROOT / "docs" / "api" / "mbdl.md").read_text(encoding="utf-8")
    assert [name for name in mbdl.__all__ if f"`{name}`" not in page and f"`mbdl.{name}`" not in page] == []
