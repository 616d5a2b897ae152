#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks what skep-bench prints: `bench_test.py PROGRAM`. Looks at shapes and never at speed."""

import json
import re
import subprocess
import sys
import unittest

COLUMNS = ["name", "unit", "skep", "kernel", "ratio", "min", "max", "runs"]
SUITES = "pipeline|hash|lru|verifier|jit|xdp|dispatcher|mprog|offload|ports|exec"
PROGRAM = ""


def bench(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True)


def names():
    return bench("--list").stdout.split()


class SkepBench(unittest.TestCase):
    def test_names_are_unique_stable_and_in_form(self):
        self.assertEqual(names(), names())
        self.assertEqual(len(set(names())), len(names()))
        for name in names():
            self.assertRegex(name, rf"^({SUITES})(/[a-zA-Z0-9_]+)+$")

    def test_names_that_others_use_are_there(self):
        expected = [f"pipeline/{program}/64B" for program in ("pass", "drop", "counter", "load_balancer")]
        expected += [f"xdp/{case}/1c" for case in ("drop", "redirect", "redirect_egress", "broadcast4")]
        expected += [f"hash/{operation}/hash/{sizes}/{capacity}/1t"
                     for operation in ("lookup_hit", "lookup_miss", "update", "insert_delete")
                     for sizes in ("k4v8", "k16v8") for capacity in ("1k", "64k")]
        expected += ["ports/gen/64B", "ports/pcap/read"]
        self.assertEqual(set(expected) - set(names()), set())

    def test_filter_chooses_by_regular_expression(self):
        chosen = bench("--list", "--filter", "^hash/.*k4v8/64k").stdout.split()
        self.assertEqual(chosen, [name for name in names() if re.search("^hash/.*k4v8/64k", name)])
        self.assertEqual(len(chosen), 4)

    def test_misuse_is_told_with_a_remedy(self):
        for arguments in (["--filter", "no such row"], ["--filter", "("], ["--nonsense"]):
            result = bench(*arguments)
            self.assertEqual(result.returncode, 2, arguments)
            self.assertEqual(result.stdout, "")
            self.assertRegex(result.stderr, r"^skep-bench: .+\nhint: .+\n$")

    def test_rows_as_json(self):
        chosen = "^(pipeline/drop|pipeline/load_balancer|xdp/redirect/|hash/lookup_hit/hash/k4v8/1k|ports/)"
        result = bench("--quick", "--json", "--filter", chosen)
        self.assertEqual(result.returncode, 0, result.stderr)
        document = json.loads(result.stdout)
        self.assertEqual([row["name"] for row in document["rows"]],
                         [name for name in names() if re.search(chosen, name)])
        noted = {name for note in document["notes"] for name in note["rows"]}
        for row in document["rows"]:
            self.assertEqual(list(row)[:len(COLUMNS)], COLUMNS)
            self.assertEqual(row["unit"], "ns/op" if row["name"].startswith("hash/") else "frames/s")
            self.assertEqual(row["runs"], 3)
            self.assertGreater(row["skep"], 0)
            self.assertTrue(row["skep_min"] <= row["skep"] <= row["skep_max"])
            if row["kernel"] is None:
                self.assertTrue(row["ratio"] is row["min"] is row["max"] is None)
                self.assertIn(row["name"], noted)  # says why
                continue
            ratio = row["skep"] / row["kernel"]
            self.assertAlmostEqual(row["ratio"] / (ratio if row["unit"] == "frames/s" else 1 / ratio), 1)
            # The median of quotients lies between them, and so does the quotient of medians.
            self.assertTrue(row["min"] <= row["ratio"] <= row["max"], row)

    def test_rows_as_a_table_with_notes(self):
        lines = bench("--quick", "--filter", "^ports/gen").stdout.splitlines()
        self.assertEqual(lines[0].split(), COLUMNS)
        self.assertRegex(lines[1], r"^ports/gen/64B +frames/s +[0-9.]+ +3$")
        self.assertRegex("\n".join(lines[2:]), r"note: no kernel column: .+ \(ports/gen/64B\)")


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
