/* SPDX-License-Identifier: MIT */
/*
 * generator INTERFACE SECONDS SIZE PER_SECOND: sends the same frame (SIZE 0:
 * frames of 64, 128, 576 and 1,500 bytes, in no order), 64 per system call, at most PER_SECOND of them (0: as fast as it goes), and prints
 * how many the interface took. The frame is for a station that nobody is, so
 * that packet sockets alone see it.
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, LARGEST = 1514 };

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
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
	/* Without it the queueing discipline would be part of what we measure. */
	setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &bypass, sizeof(bypass));
	return fd;
}

static long flood(int fd, double seconds, struct mmsghdr *batch, double rate)
{
	double start = now();
	double passed = 0;
	long sent = 0;

	while (passed < seconds) {
		if (rate <= 0 || (double)sent < passed * rate) {
			int taken = sendmmsg(fd, batch, BATCH, 0);

			if (taken < 0)
				return -1;
			sent += taken;
		}
		passed = now() - start;
	}
	return sent;
}

/* As a die falls, and the same each time: the golden ratio's bits. */
static size_t any_size(int at)
{
	static const size_t sizes[] = {64, 128, 576, 1500};

	return sizes[(uint32_t)at * 2654435761u >> 30];
}

int main(int argc, char **argv)
{
	static unsigned char frame[LARGEST] = {2, 0, 0, 0, 0xfe, 0xfe, 2, 0, 0, 0, 0xfe,
					       0xfe, 0x88, 0xb5};
	struct iovec texts[BATCH];
	struct mmsghdr batch[BATCH] = {0};
	size_t size;
	long sent;
	int fd;

	if (argc != 5)
		return 2;
	fd = open_on(argv[1]);
	size = strtoul(argv[3], NULL, 10);
	if (fd < 0 || size > LARGEST)
		return 2;
	for (int i = 0; i < BATCH; i++) {
		texts[i] = (struct iovec){frame, size > 0 ? size : any_size(i)};
		batch[i].msg_hdr.msg_iov = &texts[i];
		batch[i].msg_hdr.msg_iovlen = 1;
	}
	sent = flood(fd, strtod(argv[2], NULL), batch, strtod(argv[4], NULL));
	printf("%ld\n", sent);
	return sent < 0;
}
