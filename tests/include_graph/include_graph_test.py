# SPDX-License-Identifier: Apache-2.0
"""Feeds include_graph.py small trees, good and bad: a check that cannot fail would be none."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

CHECK = pathlib.Path(__file__).with_name("include_graph.py")

GOOD = {
    "cmake/SkepRoomOrder.cmake": "set(SKEP_ROOM_ORDER\n    result # lowest\n    map\n    prog)\n",
    "docs/architecture.md": "Rooms:\n```rooms\nprog -> map result\nmap -> result\nresult\n```\n",
    "src/result/CMakeLists.txt": "skep_room(result)\n",
    "src/result/result.hpp": "#include <vector>\n",
    "src/map/CMakeLists.txt": "skep_room(map SOURCES map.cpp DEPENDS result TESTS map_test.cpp)\n",
    "src/map/map.hpp": '#include "result/result.hpp"\n',
    "src/map/map.cpp": '#include "map/map.hpp"\n',
    "src/map/map_test.cpp": '#include "map/map.hpp"\n#include "support/expect.hpp"\n',
    "src/prog/CMakeLists.txt": "skep_room(prog DEPENDS map result)\n",
    "src/prog/interpreter/run.hpp": '#include "map/map.hpp"\n#include "result/result.hpp"\n',
    "include/skep/skep.hpp": '#include "skep/version.hpp"\n',
}


class IncludeGraph(unittest.TestCase):
    def check(self, changes, *options):
        """Runs the check on GOOD with `changes`; a file that maps to None is left out."""
        with tempfile.TemporaryDirectory() as folder:
            for name, text in {**GOOD, **changes}.items():
                if text is not None:
                    path = pathlib.Path(folder, name)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(text)
            return subprocess.run([sys.executable, str(CHECK), *options, folder],
                                  capture_output=True, text=True, check=False)

    def assert_finds(self, changes, *expected):
        """Exactly the `expected` findings, each a part of one line."""
        result = self.check(changes)
        self.assertEqual(result.returncode, 1, result.stderr)
        lines = result.stderr.splitlines()
        self.assertEqual(len(lines), len(expected), result.stderr)
        for part in expected:
            self.assertTrue(any(part in line for line in lines), f"{part}\n{result.stderr}")

    def test_good_tree_passes(self):
        result = self.check({})
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_arrow_pointing_up_fails(self):
        self.assert_finds(
            {"src/result/errors.hpp": '\n#include "map/map.hpp"\n'},
            "src/result/errors.hpp:2: #include \"map/map.hpp\": result stands below map",
            "map is not in the DEPENDS of room result",
            "result -> map is not drawn")

    def test_test_file_pointing_up_fails(self):
        self.assert_finds(
            {"src/map/map_test.cpp": '#include "prog/interpreter/run.hpp"\n'},
            "map stands below prog", "prog is not in the TEST_DEPENDS of room map")

    def test_files_in_a_circle_fail(self):
        self.assert_finds(
            {"src/map/a.hpp": '#include "map/b.hpp"\n', "src/map/b.hpp": '#include "map/a.hpp"\n'},
            "src/map/a.hpp -> src/map/b.hpp -> src/map/a.hpp")

    def test_include_that_depends_does_not_cover_fails(self):
        self.assert_finds({"src/prog/CMakeLists.txt": "skep_room(prog DEPENDS result) # map\n"},
                          "map is not in the DEPENDS of room prog")

    def test_test_depends_cover_tests_only(self):
        changes = {
            "src/prog/CMakeLists.txt": "skep_room(prog DEPENDS map TEST_DEPENDS result)\n",
            "src/prog/prog_test.cpp": '#include "result/result.hpp"\n',
        }
        self.assert_finds(changes, "src/prog/interpreter/run.hpp:2")

    def test_room_without_skep_room_fails(self):
        self.assert_finds({"src/prog/CMakeLists.txt": "add_library(prog run.cpp)\n"},
                          "no skep_room(prog ...)")

    def test_arrow_missing_from_the_drawing_fails_on_both_sides(self):
        drawing = "```rooms\nprog -> result\nmap -> result prog\nresult\n```\n"
        self.assert_finds(
            {"docs/architecture.md": drawing},
            'prog -> map is not drawn, but src/prog/interpreter/run.hpp:1: #include "map/map.hpp"',
            "map -> prog is drawn, but src/map includes no prog/")

    def test_room_missing_from_the_drawing_or_the_tree_fails(self):
        drawing = "```rooms\nprog -> map result\nmap -> result\nxdp\n```\n"
        self.assert_finds({"docs/architecture.md": drawing},
                          "room result is in src/ but not drawn",
                          "room xdp is drawn but not in src/")

    def test_missing_drawing_fails(self):
        self.assert_finds({"docs/architecture.md": None}, "no ```rooms block")

    def test_folder_that_is_no_room_fails(self):
        self.assert_finds({"src/utils/misc.hpp": ""}, "src/utils: not a room")

    def test_include_without_its_room_fails(self):
        self.assert_finds({"src/map/map.cpp": '#include "map.hpp"\n'}, 'write it as "room/file.hpp"')

    def test_public_header_that_includes_a_room_fails(self):
        self.assert_finds({"include/skep/skep.hpp": '#include "map/map.hpp"\n'},
                          "include/skep/skep.hpp:1", )

    def test_empty_tree_fails(self):
        nothing = {name: None for name in GOOD if name.startswith(("src/", "include/"))}
        self.assert_finds({**nothing, "src/README": ""}, "no sources under")

    def test_draw_prints_the_block_that_passes(self):
        block = self.check({"docs/architecture.md": None}, "--draw").stdout
        self.assertEqual(block, "```rooms\nprog -> result map\nmap -> result\nresult\n```\n")
        self.assertEqual(self.check({"docs/architecture.md": block}).returncode, 0)


if __name__ == "__main__":
    unittest.main()
