"""A made-up run, small enough to be rendered in a second."""

import json

import numpy as np

from mbdl.studies import results as form


def write_run(folder, *, evidence=True):
    """Writes a folder with results and pictures, and returns the results."""
    generator = np.random.default_rng(0)
    (folder / "pictures").mkdir(parents=True)
    truth = generator.integers(0, 255, (64, 80), np.uint8)
    arrays = {"truth": truth, "observed": truth[::2, ::2], "tv": truth, "net": truth}
    np.savez_compressed(folder / "pictures" / "camera.npz", **arrays)
    columns = [
        form.column("psnr", "PSNR", unit="dB", best="max"),
        form.column("difference", "less TV", unit="dB", signed=True),
        form.column("learned", "learned", digits=0),
        form.column("how", "training"),
        form.column("seconds", "time", unit="s", timing=True, best="min"),
    ]
    rows = [
        {
            "name": "tv",
            "title": "TV <model>",
            "strategy": "model-based",
            "cells": {"psnr": 28.125, "difference": None, "learned": 0, "how": "search"},
        },
        {
            "name": "net",
            "title": "network",
            "strategy": "black box",
            "cells": {
                "psnr": 28.5,
                "difference": {"value": -0.375, "error": 0.1234},
                "learned": 123456,
                "how": "steps",
            },
        },
    ]
    axis = {"title": "patches", "unit": "", "scale": "log"}
    lines = [
        {
            "name": "net",
            "title": "network",
            "strategy": "black box",
            "x": [8, 64],
            "y": [-1.0, 0.2],
            "error": [0.1, 0.1],
        },
        {"name": "tv", "title": "TV", "strategy": "model-based", "x": [8, 64], "y": [0.0, 0.0]},
    ]
    points = [
        {"name": "tv", "title": "TV", "strategy": "model-based", "learned": 0, "value": 28.1},
        {"name": "net", "title": "net", "strategy": "black box", "learned": 123456, "value": 28.5, "error": 0.1},
    ]
    panels = [
        {"name": "truth", "title": "truth"},
        {"name": "observed", "title": "observed"},
        {"name": "tv", "title": "TV", "score": "28.12 dB"},
        {"name": "net", "title": "network", "score": "28.50 dB"},
    ]
    details = [{"row": 8, "column": 12, "size": 16}, {"row": 40, "column": 40, "size": 16}]
    table = form.table("rules", "The rules", columns, rows, caption="What to know.")
    results = {
        "format": 1,
        "study": "example",
        "summary": "an example",
        "quick": not evidence,
        "curves_asked": True,
        "seed": 0,
        "settings": {"size": 3, "parts": [1, 2]},
        "versions": {"python": "3.11"},
        "title": "A made-up run",
        "evidence": evidence,
        "statements": ["What was asked & how."],
        "findings": ["One is better."],
        "tables": [table],
        "curves": [
            form.curve("patches", "Fewer", "Quality", axis, {"title": "PSNR", "unit": "dB"}, lines, caption="c")
        ],
        "spectrum": form.spectrum_plot("Spectrum", {"title": "PSNR", "unit": "dB"}, points, caption="c"),
        "pictures": [form.picture("camera", "camera", "pictures/camera.npz", panels, details)],
        "raw": {},
        "timings": {
            "machine": {"cores": 2, "processor": "x", "system": "y"},
            "stages": {"a": 90.0},
            "rules": {"tv": {"seconds": 2.0}, "net": {"seconds": 0.25}},
        },
    }
    (folder / "results.json").write_text(json.dumps(results))
    return results
