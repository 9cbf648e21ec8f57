"""A Griffe extension: what a package re-exports is its public interface."""

from typing import Any

import griffe


class Reexports(griffe.Extension):
    """Sets a package's exports where it has no `__all__`, and lets functions take the names of their modules."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        modules = [pkg]
        while modules:
            module = modules.pop()
            modules += module.modules.values()
            if not module.is_init_module:
                continue
            inside = {name: source for name, source in module.imports.items() if source.startswith(f"{pkg.name}.")}
            if module.exports is None:
                module.exports = list(inside)
            for name, source in inside.items():
                # `from .spectrum import spectrum`: at run time the function hides the module, in Griffe the reverse.
                held = module.members[name]
                if held.is_module and source == f"{held.path}.{name}":
                    module.members[name] = griffe.Alias(name, held.members[name], parent=module)
