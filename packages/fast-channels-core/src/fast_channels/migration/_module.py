"""One file: its syntax tree, and what the names in it stand for."""

import ast
import warnings
from collections.abc import Iterator
from pathlib import Path

from fast_channels.migration._finding import Advice, Finding


class UnreadableError(Exception):
    """A file that is not Python, or not of this version; the text says why."""


class Module:
    """A file that was parsed. Nothing in it is ever run."""

    def __init__(self, path: Path, source: bytes) -> None:
        self.path = path
        # Every rule looks at all of them, and to find them is what takes time.
        self.nodes = tuple(ast.walk(parse(source)))
        self.imports: dict[str, str] = {}
        """What a name was imported as, by the local name; relative imports begin with periods."""
        self.classes: dict[str, ast.ClassDef] = {}
        for node in self.nodes:
            match node:
                case ast.Import():
                    for name in node.names:
                        top = name.name.partition(".")[0]
                        self.imports[name.asname or top] = name.name if name.asname else top
                case ast.ImportFrom():
                    for name in node.names:
                        self.imports[name.asname or name.name] = join(source_of(node), name.name)
                case ast.ClassDef():
                    self.classes[node.name] = node
                case _:
                    pass

    def full_name(self, node: ast.AST) -> str | None:
        """The dotted name of an imported thing, or of an attribute of one."""
        if isinstance(node, ast.Name):
            return self.imports.get(node.id)
        if isinstance(node, ast.Attribute):
            inner = self.full_name(node.value)
            return None if inner is None else join(inner, node.attr)
        return None

    def called(self, node: ast.AST) -> str | None:
        """The dotted name of what a call calls."""
        return self.full_name(node.func) if isinstance(node, ast.Call) else None

    def finding(self, node: ast.expr | ast.stmt, kind: str, what: str, advice: Advice) -> Finding:
        return Finding(
            str(self.path),
            node.lineno,
            node.col_offset + 1,
            kind,
            what,
            advice.todo,
            advice.page,
            advice.required,
        )


def parse(source: bytes) -> ast.Module:
    """Raises :class:`UnreadableError`, and nothing else, for whatever the bytes are."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what its author should know, at another time
            return ast.parse(source)
    except SyntaxError as error:
        where = "" if error.lineno is None else f", line {error.lineno}"
        raise UnreadableError(f"{error.msg}{where}") from None
    except (ValueError, LookupError, RecursionError, MemoryError) as error:
        # Null bytes, an unknown encoding, and what is nested too deeply.
        raise UnreadableError(str(error) or type(error).__name__) from None


def join(*parts: str) -> str:
    """A dotted name; what ends with a period is a relative import."""
    name = ""
    for part in parts:
        name += part if not name or name.endswith(".") else f".{part}"
    return name


def source_of(node: ast.ImportFrom) -> str:
    """Where the names come from, with the periods of a relative import."""
    return "." * node.level + (node.module or "")


def literal_type(node: ast.AST) -> str | None:
    """The value of ``"type"`` in a dict that is written out."""
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if text(key) == "type":
                return text(value)
    return None


def text(node: ast.AST | None) -> str | None:
    """The value of a string that is written out."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return None


def methods(owner: ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in owner.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def is_self(node: ast.AST, *names: str) -> bool:
    """Whether it is ``self.name``, with one of these names."""
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
        and node.attr in names
    )
