"""A line that takes its time: every packet is held for a while and then delivered, as netem's `delay` does.

Run in a network namespace of its own, this program makes a device (TUN) there. A packet to FAR comes out of the device, waits,
and goes back in with its two addresses swapped: what is sent to FAR thus arrives at NEAR, on this very machine, and the answers
go the same way back. TCP knows nothing of it: its handshake, windows and slow start meet the latency as on a real line.

Not netem itself, because not every kernel has it, and because on the loopback device it would also slow down what the parts of
a server say to each other. How fast the line is depends on how fast this program is; it says nothing and ends with its parent.
"""

import fcntl
import os
import queue
import struct
import subprocess
import sys
import threading
import time

NEAR, FAR = "10.98.76.1", "10.98.76.2"
DEVICE = "slow"
# From linux/if_tun.h: which request, a device for IP packets, no header of its own before each.
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
# The longest packet there is: as on loopback, there are few packets a megabyte.
LONGEST = 65535


def main(seconds: float) -> None:
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    for line in (
        "link set lo up",
        # Room for what several connections send at once; packets that find none are lost.
        f"link set {DEVICE} mtu {LONGEST} txqueuelen 10000 up",
        f"address add {NEAR} peer {FAR} dev {DEVICE}",
    ):
        subprocess.run(["ip", *line.split()], check=True)
    held = queue.SimpleQueue()
    threading.Thread(target=deliver, args=(device, held), daemon=True).start()
    while True:
        packet = os.read(device, LONGEST)
        # Only IPv4; the kernel tries IPv6 on its own account.
        if packet[0] >> 4 == 4:
            held.put((time.monotonic() + seconds, packet))


def deliver(device: int, held: queue.SimpleQueue) -> None:
    while True:
        due, packet = held.get()
        time.sleep(max(0.0, due - time.monotonic()))
        # Neither checksum changes: both are sums, and the addresses stand in them in any order.
        os.write(device, packet[:12] + packet[16:20] + packet[12:16] + packet[20:])


if __name__ == "__main__":
    main(float(sys.argv[1]))
