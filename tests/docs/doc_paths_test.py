# SPDX-License-Identifier: Apache-2.0
"""Feeds doc_paths.py small trees with true and untrue documents."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

CHECK = pathlib.Path(__file__).with_name("doc_paths.py")


class DocPaths(unittest.TestCase):
    def check(self, text, files=("src/map/map.hpp", "scripts/demo")):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name in [*files, "docs/guide.md"]:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text if name == "docs/guide.md" else "")
            result = subprocess.run([sys.executable, str(CHECK), folder], capture_output=True,
                                    text=True, check=False)
            return result.returncode, result.stderr

    def test_true_paths_pass(self):
        self.assertEqual(self.check("`src/map/`, `src/map/map.hpp:12`, `./scripts/demo --all`, "
                                    "`src/*/map.hpp`, [map](../src/map/map.hpp#top), "
                                    "[web](https://example.org)\n"), (0, ""))

    def test_missing_path_fails_with_its_line(self):
        self.assertEqual(self.check("# Guide\n```\nsrc/none\n```\nSee `src/map/none.hpp`.\n"),
                         (1, "docs/guide.md:5: src/map/none.hpp does not exist\n"))

    def test_pattern_without_a_match_fails(self):
        self.assertEqual(self.check("`src/*/none.hpp`\n"),
                         (1, "docs/guide.md:1: src/*/none.hpp does not exist\n"))

    def test_dead_link_fails(self):
        self.assertEqual(self.check("[gone](gone.md)\n"),
                         (1, "docs/guide.md:1: gone.md does not exist\n"))

    def test_placeholders_and_foreign_paths_are_left_alone(self):
        self.assertEqual(self.check("`src/<room>/x`, `src/ROOM/x`, `kernel/bpf/syscall.c`\n"),
                         (0, ""))


if __name__ == "__main__":
    unittest.main()
