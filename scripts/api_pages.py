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

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        waiting: list[griffe.Object] = [pkg]
        while waiting:
            held = waiting.pop()
            waiting += [member for member in held.members.values() if isinstance(member, griffe.Object)]
            if held.docstring is None and isinstance(held, griffe.Attribute):
                # `positive = Positive()` is documented by its class.
                made_by = held.parent.members.get(str(held.value).removesuffix("()")) if held.parent else None
                if isinstance(made_by, griffe.Class):
                    held.docstring = made_by.docstring
            elif held.docstring is not None:
                held.docstring.value = fence_doctests(held.docstring.value)
            if isinstance(held, griffe.Module) and held.is_init_module:
                self.reexport(held, f"{pkg.name}.")

    @staticmethod
    def reexport(package: griffe.Module, inside: str) -> None:
        imports = {name: source for name, source in package.imports.items() if source.startswith(inside)}
        if package.exports is None:
            package.exports = list(imports)
        for name, source in imports.items():
            # `from .spectrum import spectrum`: at run time the function hides the module, in Griffe the reverse.
            held = package.members[name]
            if isinstance(held, griffe.Module) and source == f"{held.path}.{name}":
                package.members[name] = griffe.Alias(name, held.members[name], parent=package)
