#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks who includes whom: `include_graph.py [--draw] ROOT`.

Reads every #include "room/..." under ROOT/src and fails when
  - an arrow points up in the order of the rooms (cmake/SkepRoomOrder.cmake),
  - files include each other in a circle,
  - a room includes what its skep_room(... DEPENDS ...) does not name,
  - the graph differs from the drawing, the ```rooms block in docs/architecture.md,
  - a public header includes anything but public and system headers.
Tests and benchmarks obey the order and their TEST_DEPENDS too, but are not part of the drawing.
--draw prints the block as it should be. Exit: 0 clean, 1 findings, 2 misused.
"""

import pathlib
import re
import sys

ORDER_FILE = "cmake/SkepRoomOrder.cmake"
DRAWING_FILE = "docs/architecture.md"
SOURCE_SUFFIXES = {".hpp", ".cpp", ".h", ".c", ".inc"}
TEST_ONLY = re.compile(r"_(test|bench|fuzz|testing|fixture|test_support)$")
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')


class Include:
    """One line `#include "target"` in a file of a room; room_below is None for what is no room's."""

    def __init__(self, file, line, target, room, room_below, test_only):
        self.file, self.line, self.target = file, line, target
        self.room, self.room_below, self.test_only = room, room_below, test_only

    def __str__(self):
        return f'{self.file}:{self.line}: #include "{self.target}"'


def without_cmake_comments(text):
    return re.sub(r"#[^\n]*", "", text)


def read_order(root):
    text = without_cmake_comments((root / ORDER_FILE).read_text())
    match = re.search(r"set\s*\(\s*SKEP_ROOM_ORDER\s+([^)]*)\)", text)
    if not match:
        raise SystemExit(f"{ORDER_FILE}: no set(SKEP_ROOM_ORDER ...)")
    return match.group(1).split()


def source_files(folder):
    return sorted(p for p in folder.rglob("*") if p.suffix in SOURCE_SUFFIXES and p.is_file())


def quoted_includes(path):
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1)


def read_includes(root, order):
    includes = []
    for room in order:
        for path in source_files(root / "src" / room):
            test_only = bool(TEST_ONLY.search(path.stem))
            for number, target in quoted_includes(path):
                first = target.split("/")[0]
                room_below = first if "/" in target and first in order else None
                includes.append(Include(path.relative_to(root).as_posix(), number, target, room,
                                        room_below, test_only))
    return includes


def check_folders(root, order):
    for folder in sorted((root / "src").iterdir()):
        if folder.is_dir() and folder.name not in order and source_files(folder):
            yield f"src/{folder.name}: not a room of {ORDER_FILE}"


def check_spelling(includes):
    for include in includes:
        public = include.target.startswith("skep/")
        support = include.test_only and include.target.startswith("support/")
        if include.room_below is None and not public and not support:
            yield f'{include}: write it as "room/file.hpp"'


def check_order(includes, order):
    for include in includes:
        if include.room_below and order.index(include.room_below) > order.index(include.room):
            yield f"{include}: {include.room} stands below {include.room_below}"


def check_file_cycles(root, includes):
    below = {}
    for include in includes:
        target = "src/" + include.target
        if include.room_below and (root / target).is_file():
            below.setdefault(include.file, []).append(target)
    done, path = set(), []

    def walk(file):
        if file in done:
            return
        if file in path:
            yield "files include each other: " + " -> ".join(path[path.index(file):] + [file])
            return
        path.append(file)
        for target in below.get(file, []):
            yield from walk(target)
        path.pop()
        done.add(file)

    for file in list(below):
        yield from walk(file)


def read_depends(root, room):
    """DEPENDS and TEST_DEPENDS of the room's skep_room(), or None when there is none."""
    path = root / "src" / room / "CMakeLists.txt"
    text = without_cmake_comments(path.read_text()) if path.is_file() else ""
    match = re.search(r"\bskep_room\s*\(\s*" + re.escape(room) + r"\b([^)]*)\)", text)
    if not match:
        return None
    depends = {"DEPENDS": set(), "TEST_DEPENDS": set()}
    keyword = None
    for word in match.group(1).split():
        if re.fullmatch(r"[A-Z_]+", word):
            keyword = word
        elif keyword in depends:
            depends[keyword].add(word)
    return depends


def check_depends(root, includes, order):
    for room in order:
        crossing = [i for i in includes if i.room == room and i.room_below not in (None, room)]
        if not source_files(root / "src" / room):
            continue
        depends = read_depends(root, room)
        if depends is None:
            yield f"src/{room}/CMakeLists.txt: no skep_room({room} ...)"
            continue
        for include in crossing:
            keyword, allowed = "DEPENDS", depends["DEPENDS"]
            if include.test_only:
                keyword, allowed = "TEST_DEPENDS", allowed | depends["TEST_DEPENDS"]
            if include.room_below not in allowed:
                yield f"{include}: {include.room_below} is not in the {keyword} of room {room}"


def room_graph(root, includes, order):
    graph = {room: set() for room in order if source_files(root / "src" / room)}
    for include in includes:
        if include.room_below not in (None, include.room) and not include.test_only:
            graph[include.room].add(include.room_below)
    return graph


def draw(graph, order):
    lines = ["```rooms"]
    for room in reversed(order):
        if room in graph:
            below = [name for name in order if name in graph[room]]
            lines.append(" ".join([room, "->"] + below) if below else room)
    return "\n".join(lines + ["```"])


def read_drawing(root):
    """The drawn graph, or None when the document has no such block."""
    path = root / DRAWING_FILE
    text = path.read_text() if path.is_file() else ""
    match = re.search(r"^```rooms\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    if not match:
        return None
    graph = {}
    for line in match.group(1).splitlines():
        room, _, below = line.partition("->")
        if room.strip():
            graph.setdefault(room.strip(), set()).update(below.split())
    return graph


def check_drawing(root, includes, graph):
    drawn = read_drawing(root)
    if drawn is None:
        yield f"{DRAWING_FILE}: no ```rooms block; --draw prints it"
        return
    for room in sorted(graph.keys() | drawn.keys()):
        if room not in drawn:
            yield f"{DRAWING_FILE}: room {room} is in src/ but not drawn"
        if room not in graph:
            yield f"{DRAWING_FILE}: room {room} is drawn but not in src/"
        here, there = graph.get(room, set()), drawn.get(room, set())
        for below in sorted(here - there):
            example = next(i for i in includes if i.room == room and i.room_below == below
                           and not i.test_only)
            yield f"{DRAWING_FILE}: {room} -> {below} is not drawn, but {example}"
        for below in sorted(there - here):
            yield f"{DRAWING_FILE}: {room} -> {below} is drawn, but src/{room} includes no {below}/"


def check_public_headers(root):
    for path in source_files(root / "include"):
        for number, target in quoted_includes(path):
            if not target.startswith("skep/"):
                yield (f'{path.relative_to(root).as_posix()}:{number}: #include "{target}": '
                       "a public header includes only public and system headers")


def findings(root):
    order = read_order(root)
    includes = read_includes(root, order)
    graph = room_graph(root, includes, order)
    if not graph:
        return [f"no sources under {root}/src"]
    return [
        *check_folders(root, order),
        *check_spelling(includes),
        *check_order(includes, order),
        *check_file_cycles(root, includes),
        *check_depends(root, includes, order),
        *check_drawing(root, includes, graph),
        *check_public_headers(root),
    ]


def main(arguments):
    if arguments and arguments[0] == "--draw":
        root = pathlib.Path(*arguments[1:])
        order = read_order(root)
        print(draw(room_graph(root, read_includes(root, order), order), order))
        return 0
    if len(arguments) != 1:
        print("usage: include_graph.py [--draw] ROOT", file=sys.stderr)
        return 2
    found = findings(pathlib.Path(arguments[0]))
    for finding in found:
        print(finding, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
