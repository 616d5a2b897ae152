# SPDX-License-Identifier: Apache-2.0
"""What make-hostile and make-mixed-large promise: the same bytes each time, every kind of damage,
right checksums."""

import collections
import importlib.machinery
import importlib.util
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

import pcap

HERE = pathlib.Path(__file__).resolve().parent


def generate(script, *arguments):
    subprocess.run([sys.executable, HERE / script, *map(str, arguments)], check=True)


def files_of(directory):
    return {path.relative_to(directory): path.read_bytes()
            for path in sorted(directory.rglob("*")) if path.is_file()}


class Generated(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.once, cls.again = (pathlib.Path(scratch.name) / name for name in ("once", "again"))
        for directory in (cls.once, cls.again):
            cls.generate(directory)

    def test_is_the_same_each_time(self):
        once, again = files_of(self.once), files_of(self.again)
        self.assertEqual(once.keys(), again.keys())
        for name, data in once.items():
            self.assertTrue(data == again[name], name)


class WholeCaptures(Generated):
    def test_has_times_in_order(self):
        for path in self.once.glob("*.pcap"):
            times = [time_ns for time_ns, _ in pcap.read(path)]
            self.assertTrue(all(a < b for a, b in zip(times, times[1:])), path.name)


class Hostile(WholeCaptures):
    @staticmethod
    def generate(directory):
        generate("make-hostile", directory)

    def packets(self, name):
        """Pairs (what is wrong, frame)."""
        lines = (self.once / f"{name}.txt").read_text().splitlines()
        frames = [frame for _, frame in pcap.read(self.once / f"{name}.pcap")]
        self.assertEqual(len(lines), len(frames))
        for number, line in enumerate(lines, 1):
            self.assertTrue(line.startswith(f"{number}: "), line)
        return [(line.split(": ", 1)[1], frame) for line, frame in zip(lines, frames)]

    def test_frames_have_the_sizes_of_their_file(self):
        for name, low, high in (("hostile", 14, 3520), ("hostile_jumbo", 3521, 73152)):
            sizes = {len(frame) for _, frame in self.packets(name)}
            self.assertEqual((min(sizes), max(sizes)), (low, high), name)
        sizes = {len(frame) for _, frame in self.packets("hostile_unreceivable")}
        self.assertTrue(all(size < 14 or size > 73152 for size in sizes))
        self.assertLessEqual({*range(14), 73153}, sizes)

    def test_has_every_truncation_of_every_kind(self):
        frames = dict(self.packets("hostile") + self.packets("hostile_unreceivable"))
        whole = {what: frame for what, frame in frames.items()
                 if f"{what} cut to 14 of {len(frame)} bytes" in frames}
        kinds = ("ethernet", "vlan", "qinq", "ipv4", "ipv4 options", "ipv4 later fragment", "ipv6",
                 "ipv6 extension headers", "tcp", "udp", "icmp", "icmpv6", "icmp error",
                 "icmpv6 error", "arp")
        self.assertLessEqual(set(kinds), whole.keys())
        for what, frame in whole.items():
            for size in range(len(frame)):
                cut = frames[f"{what} cut to {size} of {len(frame)} bytes"]
                self.assertEqual(cut, frame[:size])

    def test_has_every_kind_of_damage(self):
        names = {what for what, _ in self.packets("hostile")}
        for what in ("ipv6 with 100 destination headers", "ipv6 with 100 mixed headers",
                     "20 tags 802.1Q, ipv4 tcp", "20 tags 802.1ad, nothing behind",
                     "ipv4 with version 4 and ihl 4", "tcp flags 0x03", "runt of 59 bytes of tcp",
                     "ipv4 with total length 65535 and 0 bytes of padding",
                     "ipv6 with payload length 0 and 46 bytes of padding",
                     "ipv4, udp with length 7", "ipv4 udp at fragment offset 65528 with flags 0x0",
                     "ipv4, tcp with data offset 15 and 0 bytes more", "3520 bytes of 0xff",
                     "64 bytes of 0x00", "1514 random bytes"):
            self.assertIn(what, names)
        jumbo = {what for what, _ in self.packets("hostile_jumbo")}
        for what in ("udp frame of 9000 bytes", "73152 bytes of 0x00"):
            self.assertIn(what, jumbo)

    def test_length_fields_are_wrong_only_where_it_says_so(self):
        """A generator that damaged everything would prove nothing about the damage it names."""
        for what, frame in self.packets("hostile"):
            if what.startswith(("udp frame", "tcp frame", "20 tags 802.1Q, ipv4", "ipv4 protocol")):
                at = 14
                while frame[at - 2 : at] == b"\x81\x00":
                    at += 4
                if frame[at - 2 : at] == b"\x08\x00":
                    total = struct.unpack_from("!H", frame, at + 2)[0]
                    self.assertEqual(total, len(frame) - at, what)
                    self.assertEqual(pcap.checksum(frame[at : at + 20]), 0, what)


class Broken(Generated):
    @staticmethod
    def generate(directory):
        generate("make-hostile", "--broken-files", directory)

    def test_index_lists_every_file(self):
        index = json.loads((self.once / "index.json").read_text())
        self.assertEqual({entry["file"] for entry in index} | {"index.json"},
                         {path.name for path in self.once.iterdir()})
        self.assertEqual(len({entry["file"] for entry in index}), len(index))
        counts = collections.Counter(entry["damage"] for entry in index)
        self.assertEqual(counts.keys(), {"none", "header", "record", "snaplen"})

    def test_index_agrees_with_the_reader_here(self):
        """Where the small reader of pcap.py can tell: it reads whole little-endian files only."""
        for entry in json.loads((self.once / "index.json").read_text()):
            path = self.once / entry["file"]
            if path.suffix != ".pcap" or not entry["file"].startswith("cut-"):
                continue
            try:
                self.assertEqual(len(pcap.read(path)), entry["packets"], path.name)
                self.assertEqual(entry["damage"], "none", path.name)
            except (ValueError, struct.error):
                has_header = path.stat().st_size >= pcap.HEADER.size
                self.assertEqual(entry["damage"], "record" if has_header else "header", path.name)


class MixedLarge(WholeCaptures):
    @staticmethod
    def generate(directory):
        generate("make-mixed-large", directory)

    def read(self, name):
        return pcap.read(self.once / f"{name}.pcap")

    def test_has_twenty_times_the_packets(self):
        mixed = pcap.read(HERE / "mixed.pcap")
        large = self.read("mixed_large")
        self.assertEqual(len(large), 20 * len(mixed))
        sizes = collections.Counter(len(frame) for _, frame in mixed)
        self.assertEqual(collections.Counter(len(frame) for _, frame in large),
                         {size: 20 * count for size, count in sizes.items()})

    def test_parts_make_the_whole(self):
        for whole, name in ((self.read("mixed_large"), "mixed_large"),
                            (pcap.read(HERE / "mixed.pcap"), "mixed")):
            parts = self.read(f"{name}_from_clients") + self.read(f"{name}_from_server")
            self.assertTrue(sorted(parts) == sorted(whole), name)

    def test_packets_of_one_time_are_told_apart(self):
        """Ports are played in order of time: with equal times it would be that of the ports."""
        loader = importlib.machinery.SourceFileLoader("large", str(HERE / "make-mixed-large"))
        large = importlib.util.module_from_spec(importlib.util.spec_from_loader("large", loader))
        loader.exec_module(large)
        frame = bytes(60)
        times = [time_ns for time_ns, _ in large.overlapping_copies([(5, frame)] * 4, copies=2)]
        self.assertEqual(len(set(times)), 8)
        self.assertEqual(times, sorted(times))

    def test_has_other_hosts_in_every_copy(self):
        sources = {frame[26:30] for _, frame in self.read("mixed_large")
                   if frame[12:14] == b"\x08\x00"}
        hosts = {bytes([10, network, copy, 2]) for network in (1, 2) for copy in range(20)}
        self.assertLessEqual(hosts, sources)

    def test_every_checksum_is_right(self):
        """IPv4 headers, and TCP, UDP, ICMP and ICMPv6 over whole datagrams, put together."""
        checked = collections.Counter()
        datagrams = {}
        for _, frame in self.read("mixed_large"):
            ethertype, at = frame[12:14], 14
            while ethertype in (b"\x81\x00", b"\x88\xa8"):
                ethertype, at = frame[at + 2 : at + 4], at + 4
            if ethertype == b"\x08\x00":
                size = (frame[at] & 15) * 4
                self.assertEqual(pcap.checksum(frame[at : at + size]), 0)
                field = struct.unpack_from("!H", frame, at + 6)[0]
                payload = frame[at + size : at + struct.unpack_from("!H", frame, at + 2)[0]]
                name = (frame[at + 12 : at + 20], frame[at + 4 : at + 6], frame[at + 9])
                offset, more = (field & 0x1FFF) * 8, bool(field & 0x2000)
            elif ethertype == b"\x86\xdd":
                end = at + 40 + struct.unpack_from("!H", frame, at + 4)[0]
                protocol, start, offset, more, number = frame[at + 6], at + 40, 0, False, b""
                while protocol in (0, 43, 44, 60):
                    if protocol == 44:
                        field = struct.unpack_from("!H", frame, start + 2)[0]
                        offset, more = field & 0xFFF8, bool(field & 1)
                        number = frame[start + 4 : start + 8]
                        protocol, start = frame[start], start + 8
                        if offset:
                            break
                    else:
                        protocol, start = frame[start], start + 8 + 8 * frame[start + 1]
                payload, name = frame[start:end], (frame[at + 8 : at + 40], number, protocol)
            else:
                continue
            if offset or more:
                pieces = datagrams.setdefault(name, {})
                pieces[offset] = payload
                if more:
                    continue
                payload = b"".join(pieces[at] for at in sorted(pieces))
                self.assertEqual(len(payload), offset + len(pieces[offset]))
                del datagrams[name]
            addresses, _, protocol = name
            if protocol == 17 and payload[6:8] == bytes(2):
                checked["udp without"] += 1
                continue
            pseudo = b"" if protocol == 1 else addresses + struct.pack("!IHBB", len(payload), 0, 0,
                                                                       protocol)
            self.assertEqual(pcap.checksum(pseudo + payload), 0, (protocol, addresses.hex()))
            checked[protocol] += 1
        self.assertEqual(datagrams, {})
        self.assertEqual(set(checked), {1, 6, 17, 58, "udp without"})


del Generated, WholeCaptures  # only their children are cases

if __name__ == "__main__":
    unittest.main()
