/* SPDX-License-Identifier: MIT */
/*
 * stamper INTERFACE SECONDS SIZE PER_SECOND: sends one frame by each system
 * call, evenly spaced, with the time of its sending behind the Ethernet header
 * (CLOCK_REALTIME, nanoseconds, 8 bytes as this machine keeps them), and prints
 * how many the interface took.
 */
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { LARGEST = 1514 };

static uint64_t now(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static int open_on(const char *interface)
{
	int bypass = 1;
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_ifindex = (int)if_nametoindex(interface),
	};
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		return -1;
	setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &bypass, sizeof(bypass));
	return fd;
}

int main(int argc, char **argv)
{
	unsigned char frame[LARGEST] = {2, 0, 0, 0, 0xfe, 0xfe, 2, 0, 0, 0, 0xfe,
					0xfe, 0x88, 0xb5};
	uint64_t start, end, due, step;
	size_t size;
	long sent = 0;
	int fd;

	if (argc != 5)
		return 2;
	fd = open_on(argv[1]);
	size = strtoul(argv[3], NULL, 10);
	if (fd < 0 || size < 14 + sizeof(uint64_t) || size > LARGEST || strtod(argv[4], NULL) <= 0)
		return 2;
	step = (uint64_t)(1e9 / strtod(argv[4], NULL));
	start = now(CLOCK_MONOTONIC);
	end = start + (uint64_t)(strtod(argv[2], NULL) * 1e9);
	for (due = start; due < end; due += step) {
		uint64_t stamp;

		while (now(CLOCK_MONOTONIC) < due)
			; /* a sleep would be later than the step is long */
		stamp = now(CLOCK_REALTIME);
		memcpy(frame + 14, &stamp, sizeof(stamp));
		if (send(fd, frame, size, 0) == (ssize_t)size)
			sent++;
	}
	printf("%ld\n", sent);
	return 0;
}
