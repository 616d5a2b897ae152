# SPDX-License-Identifier: Apache-2.0
"""Nanosecond pcap files and Internet checksums, for the scripts of this directory."""

import struct

MAGIC = 0xA1B23C4D
ETHERNET = 1
SNAPLEN = 262144
HEADER = struct.Struct("<IHHiIII")
RECORD = struct.Struct("<IIII")


def header(magic=MAGIC, version=(2, 4), snaplen=SNAPLEN, link_type=ETHERNET):
    return HEADER.pack(magic, *version, 0, 0, snaplen, link_type)


def record(time_ns, packet):
    seconds, nanoseconds = divmod(time_ns, 10**9)
    return RECORD.pack(seconds, nanoseconds, len(packet), len(packet)) + packet


def write(path, packets):
    """`packets` are pairs (time in ns, bytes), in order of time."""
    path.write_bytes(header() + b"".join(record(time_ns, packet) for time_ns, packet in packets))


def read(path):
    """What write() was given. Only little-endian nanosecond files of whole Ethernet frames."""
    data = path.read_bytes()
    magic, _, _, _, _, _, link_type = HEADER.unpack_from(data)
    if (magic, link_type) != (MAGIC, ETHERNET):
        raise ValueError(f"{path}: not a nanosecond pcap file of Ethernet frames")
    packets, at = [], HEADER.size
    while at < len(data):
        seconds, nanoseconds, kept, length = RECORD.unpack_from(data, at)
        at += RECORD.size
        if kept != length or at + kept > len(data):
            raise ValueError(f"{path}: packet {len(packets) + 1} is not whole")
        packets.append((seconds * 10**9 + nanoseconds, data[at : at + kept]))
        at += kept
    return packets


def ones_sum(data):
    """The ones' complement sum of 16-bit words (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def checksum(data):
    return ~ones_sum(data) & 0xFFFF
