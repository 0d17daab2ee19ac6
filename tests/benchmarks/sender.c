/* SPDX-License-Identifier: MIT */
/*
 * sender INTERFACE SECONDS SIZE: sends frames as fast as it goes, 128 per
 * system call, and prints how many the interface took and the processor
 * seconds that this took. The frames lie apart in memory, as those of any
 * program do that has different ones to send.
 */
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

enum { FRAMES = 512, BATCH = 128, LARGEST = 1514 };

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int open_on(const char *interface)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_ifindex = (int)if_nametoindex(interface),
	};
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		return -1;
	return fd;
}

static long flood(int fd, double seconds, struct mmsghdr *frames)
{
	double end = now() + seconds;
	long sent = 0;

	while (now() < end) {
		for (int start = 0; start < FRAMES; start += BATCH) {
			int taken = sendmmsg(fd, frames + start, BATCH, MSG_DONTWAIT);

			if (taken < 0)
				return -1;
			sent += taken;
		}
	}
	return sent;
}

int main(int argc, char **argv)
{
	static const unsigned char header[] = {2, 0, 0, 0, 0xfe, 0xfe, 2,
					       0, 0, 0, 0xfe, 0xfe, 0x88, 0xb5};
	static unsigned char data[FRAMES][LARGEST + 6];
	static struct iovec texts[FRAMES];
	static struct mmsghdr frames[FRAMES];
	size_t size;
	double began;
	long sent;
	int fd;

	if (argc != 4)
		return 2;
	fd = open_on(argv[1]);
	size = strtoul(argv[3], NULL, 10);
	if (fd < 0 || size > LARGEST)
		return 2;
	for (int i = 0; i < FRAMES; i++) {
		/* As close as an allocator would put them. */
		unsigned char *place = &data[0][0] + (size_t)i * (size + 6);

		memcpy(place, header, sizeof(header));
		memcpy(place + sizeof(header), &i, sizeof(i));
		texts[i] = (struct iovec){place, size};
		frames[i].msg_hdr.msg_iov = &texts[i];
		frames[i].msg_hdr.msg_iovlen = 1;
	}
	began = cpu_seconds();
	sent = flood(fd, strtod(argv[2], NULL), frames);
	printf("%ld %f\n", sent, cpu_seconds() - began);
	return sent < 0;
}
