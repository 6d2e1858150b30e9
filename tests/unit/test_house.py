"""The house is as CONTRIBUTING.md draws it: a package imports those above its line, none below."""

import ast
import re


def drawn(root):
    """The packages in the order of the picture."""
    (picture,) = re.findall(
        r"^```\n(common .*?)^```", (root / "CONTRIBUTING.md").read_text(), re.MULTILINE | re.DOTALL
    )
    return [line.split()[0] for line in picture.splitlines()]


def imported(path):
    """Modules of the library that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_picture_has_every_package(root):
    packages = {path.parent.name for path in (root / "src/plm_scaling").glob("*/__init__.py")}
    assert packages == set(drawn(root))


def test_imports_point_one_way(root):
    order = drawn(root)
    backwards = []
    for path in sorted((root / "src/plm_scaling").glob("*/**/*.py")):
        package = path.relative_to(root / "src/plm_scaling").parts[0]
        for module in imported(path):
            parts = module.split(".")
            ours = parts[0] == "plm_scaling" and len(parts) > 1 and parts[1] in order
            if ours and order.index(parts[1]) > order.index(package):
                backwards.append(f"{path.relative_to(root)} imports {module}")
    assert not backwards
