"""The pages of the documentation: their blocks of code, tables, links and names in code type."""

from __future__ import annotations

import dataclasses
from pathlib import Path
import re
import shlex

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted(
    path
    for pattern in ('*.md', 'docs/*.md', 'examples/**/*.md', 'recon3d_core/**/*.md')
    for path in ROOT.glob(pattern)
)  # fmt: skip

_FENCE = re.compile(r'^```(\w*)\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_LINK = re.compile(r'!?\[[^\]]*\]\(([^)\s]+)\)')
_HEADING = re.compile(r'^#+ (.+)$', re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, below which heading, its language and its text."""

    page: Path
    line: int
    heading: str
    language: str
    text: str

    @property
    def place(self) -> str:
        return f'{self.page.relative_to(ROOT)}:{self.line}'


def blocks(page: Path, language: str) -> list[Block]:
    """Return the blocks of a language, in order."""
    text = page.read_text(encoding='utf-8')
    found = []
    for match in _FENCE.finditer(text):
        if match[1] == language:
            before = _HEADING.findall(_without_blocks(text[: match.start()]))
            line = text.count('\n', 0, match.start()) + 2
            found.append(Block(page, line, before[-1] if before else '', match[1], match[2]))
    return found


def _without_blocks(text: str) -> str:
    return _FENCE.sub('', text)


def headings(page: Path) -> list[str]:
    """Return the headings of a page."""
    return _HEADING.findall(_without_blocks(page.read_text(encoding='utf-8')))


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings."""
    kept = [re.sub(r'[^\w\- ]', '', heading.lower()) for heading in headings(page)]
    return {heading.replace(' ', '-') for heading in kept}


def links(page: Path) -> list[str]:
    """Return the targets of links and pictures."""
    return _LINK.findall(_without_blocks(page.read_text(encoding='utf-8')))


def code_words(page: Path) -> list[str]:
    """Return what stands in code type outside of blocks."""
    return re.findall(r'`([^`\n]+)`', _without_blocks(page.read_text(encoding='utf-8')))


def tables(page: Path, *columns: str, raw: bool = False) -> list[list[str]]:
    """Return the rows of all tables with this header; cells without backquotes unless `raw`."""
    rows, wanted, inside = [], list(columns), False
    for line in _without_blocks(page.read_text(encoding='utf-8')).splitlines():
        cells = [cell.strip() for cell in line.strip().strip('|').split('|')]
        if not line.startswith('|'):
            inside = False
        elif cells == wanted:
            inside = True
        elif inside and not set(line) <= set('|- '):
            rows.append([cell if raw else cell.replace('`', '') for cell in cells])
    assert rows, f'{page.name} has no table {wanted}'
    return rows


def commands(page: Path, *names: str) -> list[list[str]]:
    """Return the words of each command of these programs, of blocks and in code type."""
    lines = [
        line.removeprefix('$ ')
        for block in blocks(page, 'console')
        for line in block.text.splitlines()
        if line.startswith('$ ')
    ]
    found = []
    for line in lines + code_words(page):
        if line.split(' ')[0] in names and ' ' in line:
            found.append(shlex.split(line, comments=True))
    return found
