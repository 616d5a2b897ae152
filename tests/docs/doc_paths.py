#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that paths named in documents exist: `doc_paths.py ROOT`.

Looks at README.md and docs/*.md, there at `code` spans that begin with a folder of the tree
(`src/map/map.hpp`, `tests/*/`, `./scripts/demo --all`) and at relative links. Patterns must match
something; names with a placeholder (<room>, NAME, ...) are left alone, and so is what a build makes.
Exit: 0 clean, 1 findings, 2 misused.
"""

import pathlib
import re
import sys

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
PLACEHOLDER = re.compile(r"[<>{}$…]|\.\.\.|\b[A-Z]{3,}\b(?!\.)")


def folders(root):
    return {p.name for p in root.iterdir() if p.is_dir() and p.name not in ("build", "out", ".git")}


def blanked(match):
    """Fenced blocks are emptied but keep their lines, so that line numbers stay right."""
    return "\n" * match.group(0).count("\n")


def named_paths(root, document):
    """(line, base folder, path) of every path that `document` names."""
    known = folders(root)
    for number, line in enumerate(FENCE.sub(blanked, document.read_text()).splitlines(), 1):
        for code in CODE.findall(line):
            path = code.split()[0].removeprefix("./").rstrip(",;:")
            path = re.sub(r"(:\d+)+$", "", path)
            if "/" in path and path.split("/")[0] in known and not PLACEHOLDER.search(path):
                yield number, root, path
        for link in LINK.findall(CODE.sub("", line)):
            if not re.match(r"[a-z]+:", link):
                yield number, document.parent, link


def exists(base, path):
    if "*" in path:
        return any(base.glob(path.rstrip("/")))
    return (base / path).exists()


def findings(root):
    documents = [p for p in [root / "README.md", *sorted((root / "docs").glob("*.md"))] if p.exists()]
    if not documents:
        return [f"no documents under {root}"]
    return [f"{document.relative_to(root).as_posix()}:{number}: {path} does not exist"
            for document in documents
            for number, base, path in named_paths(root, document) if not exists(base, path)]


def main(arguments):
    if len(arguments) != 1:
        print("usage: doc_paths.py ROOT", file=sys.stderr)
        return 2
    found = findings(pathlib.Path(arguments[0]))
    for finding in found:
        print(finding, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
