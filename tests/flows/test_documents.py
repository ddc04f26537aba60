"""README.md and docs/*.md: what they tell a reader to type is accepted, and what they point to is there.

Nothing is run: commands are parsed by the real command line, targets and variables looked up in the Makefile.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from functools import cache
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from tests.flows.conftest import ROOT
from tests.flows.documents import Block, Command, Document, command_of, slug

PAGES = [
    Document(p) for p in (ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").glob("*.md")))
    if p.exists()
]  # fmt: skip
PACKAGES = ("feature_repo", "runtime", "meta_models", "reports", "flows", "tests")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path.name)


class Fault(AssertionError):
    """What a reader would stumble over."""


# Commands


@by_page
def test_every_command_is_accepted(page):
    faults = []
    for command in page.commands():
        try:
            check(command)
        except Fault as fault:
            faults.append(f"{command}\n    {fault}")
    assert not faults, "\n".join(faults)


@by_page
def test_every_variable_is_read(page):
    faults = [where for name, where in page.settings() if name not in _all_variables() | _environment()]
    assert not faults, "nothing reads the variable of: " + "; ".join(faults)


def test_the_help_of_a_target_names_variables_of_its_recipe():
    for target, told in re.findall(r"^([a-z-]+):.*## (.*)$", MAKEFILE, re.MULTILINE):
        for name in re.findall(r"\b([A-Z][A-Z_]+)=", told):
            assert name in _variables(target) | _scripts(target), f"make {target} does not read {name}"


def test_every_variable_of_a_recipe_is_declared():
    declared = set(re.findall(r"^(?:export )?([A-Z_]+) *[?:]?=", MAKEFILE, re.MULTILINE))
    read = set().union(*map(_variables, _targets()))
    assert read <= declared | {"MAKEFILE_LIST"}


def check(command: Command) -> None:
    """Raise `Fault` for a command that would not be accepted."""
    name, *rest = command.words
    if name == "make":
        _check_make(rest, command.variables)
    elif name == "ofi-meta":
        _check_ofi_meta(rest, whole=command.whole)
    elif name == "feast":
        _check_feast(rest)
    else:
        _check_module(rest[1:])
    for variable in command.variables:
        if variable not in _environment() and name != "make":
            raise Fault(f"nothing reads {variable} from the environment")


def _check_make(words: list[str], before: tuple[str, ...]) -> None:
    targets = [word for word in words if "=" not in word]
    for target in targets:
        if target not in _targets():
            raise Fault(f"the Makefile has no target {target!r}, but {', '.join(sorted(_targets()))}")
    read = set().union(_environment(), *(_variables(t) | _scripts(t) for t in targets))
    for name in (*before, *(word.split("=")[0] for word in words if "=" in word)):
        if name not in read:
            raise Fault(f"make {' '.join(targets)} does not read {name}")


def _check_ofi_meta(words: list[str], *, whole: bool) -> None:
    command, path = _app(), ["ofi-meta"]
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        name, *words = words
        if name not in command.commands:
            raise Fault(f"`{' '.join(path)}` has no command {name!r}, but {', '.join(command.commands)}")
        command, path = command.commands[name], [*path, name]
    if path[1:] == ["train"] and "--help" not in words:
        _check_train(words, whole=whole)
        return
    if hasattr(command, "commands") and not words:
        return  # a group by itself shows its help
    try:
        command.make_context(" ".join(path), list(words))
    except typer.Exit:
        return  # --help
    except typer.TyperException as error:
        if whole or type(error).__name__ != "MissingParameter":
            raise Fault(error.format_message()) from error


def _check_train(words: list[str], *, whole: bool) -> None:
    """It parses its arguments by itself."""
    from meta_models.train import _parse

    try:
        _parse(words if whole else [*words, "--features", "F", "--labels", "L"])
    except SystemExit as error:
        if error.code:
            raise Fault("python -m meta_models.train does not take that") from error


def _check_feast(words: list[str]) -> None:
    """Those that its tests run from a shell: Feast takes seconds to import."""
    if words[:2] != ["-c", "feature_repo"] or words[2] not in ("apply", "materialize-incremental", "serve"):
        raise Fault(f"feast {' '.join(words)} is not one that a test runs")


def _check_module(words: list[str]) -> None:
    if not words:
        raise Fault("python -m what?")
    name, *options = words
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        found = None
    if found is None or found.origin is None:
        raise Fault(f"there is no module {name}")
    if name.split(".")[0] not in PACKAGES:
        return
    source = Path(found.origin)
    source = source.with_name("__main__.py") if source.name == "__init__.py" else source
    if not source.is_file() or ("__main__" not in source.read_text() and source.name != "__main__.py"):
        raise Fault(f"{name} is no command")
    for option in (word.split("=")[0] for word in options if word.startswith("--")):
        if f'"{option}"' not in source.read_text():
            raise Fault(f"{name} has no option {option}")


@cache
def _app():
    from flows.cli import app

    return get_command(app)


@cache
def _targets() -> dict[str, tuple[list[str], str]]:
    """Prerequisites and recipe by target."""
    rules = re.findall(r"^([a-z][a-z-]*):([^\n#=]*)(?:#[^\n]*)?\n((?:\t.*\n)*)", MAKEFILE, re.MULTILINE)
    return {name: (needs.split(), recipe) for name, needs, recipe in rules}


def _variables(target: str) -> set[str]:
    """Make's variables in the recipes of a target and of what it needs."""
    needs, recipe = _targets().get(target, ([], ""))
    return set(re.findall(r"\$\(([A-Z_]+)\)", recipe)).union(*map(_variables, needs))


def _scripts(target: str) -> set[str]:
    """Variables of the shell scripts that a target calls."""
    called = re.findall(r"@(\.ci/\w+)", _targets().get(target, ([], ""))[1])
    paths = [ROOT / name for name in called]
    return {name for path in paths for name in re.findall(r"\$\{?([A-Z][A-Z_]+)", path.read_text())}


@cache
def _all_variables() -> set[str]:
    return set().union(*(_variables(t) | _scripts(t) for t in _targets()))


@cache
def _environment() -> set[str]:
    """Names that the code, or a library that it starts, reads from the environment."""
    text = "\n".join(p.read_text() for package in PACKAGES[:-1] for p in (ROOT / package).rglob("*.py"))
    read = re.findall(r'environ(?:\.get\(|\.setdefault\(|\[)\s*"([A-Z_]+)"', text)
    named = re.findall(r'^[A-Z_]+ = "([A-Z]+_[A-Z_]+)"', text, re.MULTILINE)  # constants: WEBHOOK = "OFI_META_..."
    return {*read, *named, "PREFECT_API_DATABASE_CONNECTION_URL"}


# Links and names


@pytest.mark.parametrize("page", [*PAGES, Document(ROOT / "CHANGELOG.md")], ids=lambda page: page.path.name)
def test_every_link_leads_somewhere(page):
    faults = []
    for link in page.links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.path.parent / path).resolve() if path else page.path
        if not target.exists():
            faults.append(f"{link}: no such file")
        elif anchor and anchor not in Document(target).anchors:
            faults.append(f"{link}: no such heading")
    assert not faults, faults


@by_page
def test_every_file_that_is_named_exists(page):
    """Files of the code; what the code writes below reports/ is none."""
    code = re.compile(rf"(?:{'|'.join(PACKAGES)}|docs)/[\w./-]+\.(?:py|md|yaml)|reports/[\w/]+\.py|\.ci/\w+")
    faults = [span for span in page.spans if code.fullmatch(span) and not (ROOT / span).is_file()]
    assert not faults


@by_page
def test_every_name_of_the_code_is_there(page):
    """``runtime.live.online.OnlineWindow(symbol)``: its module, and the name in it."""
    name = re.compile(rf"((?:{'|'.join(PACKAGES)})(?:\.\w+)+)(?:\(.*)?")
    faults = [found[1] for span in page.spans if (found := name.fullmatch(span)) and not _is_there(found[1])]
    assert not faults


def test_both_readmes_have_the_same_content():
    """The same headings, commands, blocks, tables and links: what one of them gains, the other gains."""
    english, chinese = Document(ROOT / "README.md"), Document(ROOT / "README.zh-CN.md")
    for told in (_outline, _typed, _pointed_to):
        assert told(chinese) == told(english)


def _outline(page: Document) -> list[str]:
    """Depth of each heading, and number of columns of each row of a table."""
    return re.findall(r"^#+(?= )", page.prose, re.MULTILINE) + [
        str(row.count("|")) for row in re.findall(r"^\|.*\|$", page.prose, re.MULTILINE)
    ]


def _typed(page: Document) -> list[list[str]]:
    """Lines of each block without their comments; pictures have words of their own."""
    return [
        [line.split(" # ")[0].rstrip() for line in block.lines]
        for block in page.blocks
        if not any("─►" in line for line in block.lines)
    ]


def _pointed_to(page: Document) -> list[str]:
    return [link for link in page.links if not link.startswith("README")]


# Python


def blocks() -> list[tuple[Document, Block]]:
    return [(page, block) for page in PAGES for block in page.blocks if block.is_python]


@pytest.mark.parametrize(("page", "block"), blocks(), ids=[f"{p.path.name}:{b.line}" for p, b in blocks()])
def test_python_compiles_and_its_imports_are_there(page, block):
    tree = ast.parse("\n".join(block.lines), f"{page.path.name}:{block.line}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            assert _is_there(name), name


def test_the_long_blocks_are_run_by_a_test():
    """What a reader copies whole, a test runs; the others are two or three lines beside their explanation."""
    for page, block in blocks():
        if len(block.lines) > 8:
            tests = {
                "gating.md": "tests/runtime/test_gating_page.py",
                "own-strategy.md": "tests/flows/test_entries_command.py",
            }
            text = (ROOT / tests[page.path.name]).read_text()
            assert page.path.name in text
            assert "exec(" in text


def _is_there(dotted: str) -> bool:
    """Whether a dotted name is a module, or a name or method in one; our own are read, not imported."""
    parts = dotted.split(".")
    if parts[0] not in PACKAGES:
        return importlib.util.find_spec(parts[0]) is not None
    for cut in range(len(parts), 0, -1):
        base = ROOT.joinpath(*parts[:cut])
        file = next((f for f in (base.with_suffix(".py"), base / "__init__.py") if f.is_file()), None)
        if file is not None:
            return _holds(ast.parse(file.read_text()).body, parts[cut:])
    return False


def _holds(body: list[ast.stmt], names: list[str]) -> bool:
    """Whether a module or class defines the first name, and that one the rest."""
    if not names:
        return True
    first, *rest = names
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == first:
            return _holds(node.body, rest) if isinstance(node, ast.ClassDef) else not rest
        if isinstance(node, ast.ImportFrom) and first in [alias.asname or alias.name for alias in node.names]:
            return True
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        named = [target.id for target in targets if isinstance(target, ast.Name)]
        # The names that a package imports late stand in its __all__ only.
        if first in named or ("__all__" in named and first in _late_names(body, node)):
            return True
    return False


def _late_names(body: list[ast.stmt], node: ast.stmt) -> list[str]:
    late = any(isinstance(n, ast.FunctionDef) and n.name == "__getattr__" for n in body)
    return ast.literal_eval(node.value) if late else []


# The checks themselves


def test_there_is_something_to_check():
    commands = [command for page in PAGES for command in page.commands()]
    first = {command.words[0] for command in commands if command.whole}
    assert first >= {"make", "ofi-meta"}
    assert len(commands) > 60
    assert len(blocks()) >= 7


@pytest.mark.parametrize(
    "line",
    [
        "make shadow HOURS=168 MAX_CANDIDATES=60000",
        "RUNNER=dask SCHEDULER=tcp://10.0.0.7:8786 make prefect",
        "make live REPLAY=<recording> [SPEED=5]",
        "ofi-meta shadow --help",
        "ofi-meta tape fetch ETHUSDT 2024-08-01     # the first of a month is free",
        "ofi-meta release promote <tag> [--stage shadow] [--why \"...\"]",
        "ofi-meta train --features F --labels L --model stack",
        "python -m tests.bench --only gate",
        "python -m pytest",
    ],
)  # fmt: skip
def test_a_right_command_passes(line):
    check(command_of(line))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("make shadows", "no target 'shadows'"),
        ("make shadow HOUR=3", "does not read HOUR"),
        ("make lint HOURS=3", "does not read HOURS"),
        ("RUNER=dask make shadow", "does not read RUNER"),
        ("ofi-meta shadw", "no command 'shadw'"),
        ("ofi-meta tape importe x", "no command 'importe'"),
        ("ofi-meta shadow --hour 3", "No such option: --hour"),
        ("ofi-meta shadow --hours three", "Invalid value for '--hours'"),
        ("ofi-meta tape import", "Missing argument"),
        ("ofi-meta drift TAPE --features F --labels L", "Missing option '--day'"),
        ("ofi-meta tape simulate 3", "unexpected extra argument"),
        ("ofi-meta train --features F --labels L --epoch 3", "does not take that"),
        ("ofi-meta train --features F", "does not take that"),
        ("python -m flows.serves", "no module flows.serves"),
        ("python -m flows.days", "no command"),
        ("python -m tests.bench --lonely gate", "no option --lonely"),
    ],
)
def test_a_wrong_command_is_found(line, said):
    with pytest.raises(Fault, match=re.escape(said)):
        check(command_of(line))


def test_a_document_is_read_as_a_reader_does(tmp_path):
    (tmp_path / "page.md").write_text(
        "# A `page`, of two\n\nSee [there](#a-page-of-two), run `ofi-meta explain` or\n`make\nlint`.\n\n"
        "```sh\n$ ofi-meta tape inspect x \\\n    --plot y.png   # or make help\nexport RUNNER=dask\n```\n\n"
        "    make test\n    tape ──► book\n\n```python\nimport numpy\n```\n\n    from runtime import Reason\n"
    )
    page = Document(tmp_path / "page.md")
    whole = [" ".join(c.words) for c in page.commands() if c.whole]
    assert whole == ["ofi-meta tape inspect x --plot y.png", "make help", "make test"]
    assert [" ".join(c.words) for c in page.commands() if not c.whole] == ["ofi-meta explain", "make lint"]
    assert [name for name, _ in page.settings()] == ["RUNNER"]
    assert page.links == ("#a-page-of-two",)
    assert page.anchors == {slug("A page, of two")} == {"a-page-of-two"}
    assert [block.lines for block in page.blocks if block.is_python] == [
        ("import numpy",), ("from runtime import Reason",)
    ]  # fmt: skip


def test_a_name_that_is_gone_is_found():
    assert _is_there("runtime.live.online.OnlineWindow.push")
    assert _is_there("runtime.MetaFilter")
    assert not _is_there("runtime.live.online.OnlineWindow.shove")
    assert not _is_there("runtime.MetaSieve")
    assert not _is_there("runtime.lives")
