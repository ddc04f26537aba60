"""What a document asks its reader to type, run or open: commands, Python blocks, links and names of the code."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

__all__ = ["Block", "Command", "Document", "command_of", "slug"]

_SHELL = ("", "sh", "bash", "shell", "console")
_COMMAND = re.compile(
    r"(?P<before>(?:[A-Z][A-Z0-9_]*=\S*\s+)*)(?:/usr/bin/time -v\s+)?(?:\.venv/bin/)?"
    r"(?P<words>(?:make|ofi-meta|python3? -m|feast -c)(?:\s.*)?)$"
)
_EXPORT = re.compile(r"(?:export\s+)?((?:[A-Z][A-Z0-9_]*=\S*\s*)+)$")
_MODULE = re.compile(r"python3?\s+-m\s")
_CODE_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_LINK = re.compile(r"\[(?:[^\]]|\][^(])*\]\(\s*<?([^)\s>]+)>?[^)]*\)")


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive lines of code, fenced or indented."""

    line: int
    language: str
    lines: tuple[str, ...]

    @property
    def is_python(self) -> bool:
        first = next((line for line in self.lines if line.strip()), "")
        return self.language == "python" or (not self.language and first.startswith(("from ", "import ")))


@dataclass(frozen=True, slots=True)
class Command:
    """A command as a reader would type it.

    Attributes
    ----------
    where : document and line, or the span itself
    words : of the command, a choice such as ``shadow|small_live`` taken one at a time
    variables : names set before it
    whole : stands in a block; a span in running text may leave out what is required
    """

    where: str
    words: tuple[str, ...]
    variables: tuple[str, ...] = ()
    whole: bool = True

    def __str__(self) -> str:
        return f"{self.where}: {' '.join(self.words)}"


@dataclass(frozen=True)
class Document:
    """One Markdown file."""

    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        return tuple(_blocks(self.text))

    @cached_property
    def prose(self) -> str:
        """The text with every line of a block emptied."""
        lines = self.text.splitlines()
        for block in self.blocks:
            fenced = lines[block.line - 1].lstrip().startswith("```")
            for i in range(block.line - 1, block.line - 1 + len(block.lines) + 2 * fenced):
                lines[i] = ""
        return "\n".join(lines)

    @cached_property
    def spans(self) -> tuple[str, ...]:
        """What stands between backticks in running text; a span that is broken over two lines is one."""
        return tuple(" ".join(span.split()) for span in _CODE_SPAN.findall(self.prose))

    @cached_property
    def links(self) -> tuple[str, ...]:
        return tuple(_LINK.findall(_CODE_SPAN.sub("", self.prose)))

    @cached_property
    def anchors(self) -> frozenset[str]:
        """As GitHub names the headings; a repeated one gets a number."""
        seen: dict[str, int] = {}
        out = set(re.findall(r'<a (?:id|name)="([^"]+)"', self.prose))
        for heading in re.findall(r"^#{1,6}\s+(.+?)\s*#*$", self.prose, re.MULTILINE):
            name = slug(heading)
            out.add(f"{name}-{seen[name]}" if name in seen else name)
            seen[name] = seen.get(name, 0) + 1
        return frozenset(out)

    def commands(self) -> Iterator[Command]:
        for block in self.blocks:
            if block.language in _SHELL and not block.is_python:
                for offset, line in _joined(block.lines):
                    yield from _commands(line, f"{self.path.name}:{block.line + offset}", whole=True)
        for span in self.spans:
            yield from _commands(span, f"{self.path.name}, `{span}`", whole=False)

    def settings(self) -> Iterator[tuple[str, str]]:
        """(name, where) of every variable that a line or a span sets without a command behind it."""
        lines = [line for b in self.blocks if b.language in _SHELL for _, line in _joined(b.lines)]
        for text in (*lines, *self.spans):
            set_ = _EXPORT.match(_plain(text).strip())
            for name in re.findall(r"([A-Z][A-Z0-9_]*)=", set_[1] if set_ else ""):
                yield name, f"{self.path.name}, {text.strip()}"


def slug(heading: str) -> str:
    """The anchor of a heading."""
    shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")


def command_of(line: str) -> Command:
    """The command of one line, for a test's own examples."""
    (command,) = _commands(line, "here", whole=True)
    return command


def _blocks(text: str) -> Iterator[Block]:
    lines, i = text.splitlines(), 0
    while i < len(lines):
        if lines[i].lstrip().startswith("```"):
            indent = len(lines[i]) - len(lines[i].lstrip())
            end = next((j for j in range(i + 1, len(lines)) if lines[j].strip() == "```"), len(lines))
            yield Block(i + 1, lines[i].strip("` ").lower(), tuple(line[indent:] for line in lines[i + 1 : end]))
            i = end + 1
        elif lines[i].startswith("    ") and (i == 0 or not lines[i - 1].strip()):
            end = i
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            while not lines[end - 1].strip():
                end -= 1
            yield Block(i + 1, "", tuple(line[4:] for line in lines[i:end]))
            i = end
        else:
            i += 1


def _joined(lines: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Lines with what a backslash continues."""
    begin, text = 0, ""
    for i, line in enumerate(lines):
        begin, text = (i, line) if not text else (begin, f"{text} {line.strip()}")
        if text.endswith("\\"):
            text = text[:-1].rstrip()
        else:
            yield begin, text
            text = ""


def _plain(text: str) -> str:
    """A line without its comment, and with what may be left out as if it were there."""
    text = re.sub(r"\s#\s.*$", "", text)
    text = re.sub(r"<([^<>]+)>", lambda m: re.sub(r"\W+", "-", m[1]), text)
    return re.sub(r"[\[\]]|(?<=\s)\|(?=\s)|(?<=\s)(?:\.\.\.|…)(?=\s|$)", " ", text)


def _commands(text: str, where: str, *, whole: bool) -> Iterator[Command]:
    comment = re.search(r"\s#\s+(?:or\s+)?(.*)$", text)
    for part in (_plain(text), comment[1] if comment else ""):
        found = _COMMAND.match(part.strip().removeprefix("$ "))
        if found is None:
            continue
        before = tuple(word.split("=")[0] for word in found["before"].split())
        choices = [word.split("|") if "=" not in word else [word] for word in shlex.split(found["words"])]
        for words in itertools.product(*choices):
            yield Command(where, words, before, whole)
