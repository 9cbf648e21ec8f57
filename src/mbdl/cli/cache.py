"""Where compiled programs are kept between runs of the command line."""

import contextlib
import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """The user's cache folder of this library, by the custom of the system."""
    home = Path.home()
    if sys.platform == "darwin":
        root = home / "Library" / "Caches"
    elif sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    else:
        given = os.environ.get("XDG_CACHE_HOME", "")
        root = Path(given) if Path(given).is_absolute() else home / ".cache"
    return root / "mbdl"


def keep_compiled_programs() -> None:
    """Lets JAX keep compiled programs in the cache folder, unless a place was chosen or none can be written."""
    import jax

    if getattr(jax.config, "jax_compilation_cache_dir", None) is not None:
        return
    with contextlib.suppress(OSError, RuntimeError):
        folder = cache_folder() / "compiled"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            jax.config.update("jax_compilation_cache_dir", str(folder))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
