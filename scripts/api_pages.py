"""A Griffe extension for the API pages: what a package re-exports is public, and doctests are code."""

from typing import Any

import griffe


def fence_doctests(text: str) -> str:
    """Put `>>>` examples into code fences; Markdown would take them for quotations."""
    lines: list[str] = []
    margin = None
    fenced = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        if margin is None and not fenced and line.lstrip().startswith(">>> "):
            margin = line[: len(line) - len(line.lstrip())]
            # A fence needs a paragraph of its own, but no empty line may follow the title of a section.
            if lines and lines[-1].strip() and not lines[-1].rstrip().endswith(":"):
                lines.append("")
            lines.append(f"{margin}```pycon")
        elif margin is not None and not line.strip():
            lines.append(f"{margin}```")
            margin = None
        lines.append(line)
    return "\n".join([*lines, f"{margin}```"] if margin is not None else lines)


class ApiPages(griffe.Extension):
    """Sets exports where there is no `__all__`, lets functions take the names of their modules, fences doctests."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = fence_doctests(obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        modules = [pkg]
        while modules:
            module = modules.pop()
            modules += [member for member in module.members.values() if not member.is_alias and member.is_module]
            if not module.is_init_module:
                continue
            inside = {name: source for name, source in module.imports.items() if source.startswith(f"{pkg.name}.")}
            if module.exports is None:
                module.exports = list(inside)
            for name, source in inside.items():
                # `from .spectrum import spectrum`: at run time the function hides the module, in Griffe the reverse.
                held = module.members[name]
                if not held.is_alias and held.is_module and source == f"{held.path}.{name}":
                    module.members[name] = griffe.Alias(name, held.members[name], parent=module)
