/* SPDX-License-Identifier: MIT */
/*
 * datagram_generator udp|icmp PORT SECONDS SIZE PER_SECOND: sends datagrams, or
 * ICMP echo replies that nobody asked for, to the loopback address, and prints
 * how many were taken: PER_SECOND of them, evenly spaced, one by each system
 * call, or, if that is 0, 64 by each, as fast as it goes.
 */
#include <arpa/inet.h>
#include <netinet/ip_icmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, LARGEST = 1472 };

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* RFC 1071; the reply is all zeroes but for its checksum: ones. */
static void make_reply(unsigned char *data)
{
	memset(data, 0, LARGEST);
	memset(data + offsetof(struct icmphdr, checksum), 0xff, 2);
}

int main(int argc, char **argv)
{
	static unsigned char data[LARGEST];
	struct iovec text = {data, 0};
	struct mmsghdr batch[BATCH] = {0};
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	double ends, start, rate;
	unsigned at_once;
	long tried = 0, sent = 0;
	int icmp, fd;

	if (argc != 6)
		return 2;
	icmp = strcmp(argv[1], "icmp") == 0;
	fd = icmp ? socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) : socket(AF_INET, SOCK_DGRAM, 0);
	address.sin_port = icmp ? 0 : htons((unsigned short)atoi(argv[2]));
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		return 2;
	/* The raw socket hears what it sends, and must not be kept busy by it. */
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){1}, sizeof(int));
	make_reply(data);
	text.iov_len = strtoul(argv[4], NULL, 10);
	for (int i = 0; i < BATCH; i++) {
		batch[i].msg_hdr.msg_iov = &text;
		batch[i].msg_hdr.msg_iovlen = 1;
	}
	rate = atof(argv[5]);
	at_once = rate > 0 ? 1 : BATCH;
	start = now();
	ends = start + atof(argv[3]);
	while (now() < ends) {
		int taken;

		if (rate > 0 && (double)tried >= (now() - start) * rate)
			continue;
		taken = sendmmsg(fd, batch, at_once, 0);
		tried += at_once;
		if (taken > 0)
			sent += taken;
	}
	printf("%ld\n", sent);
	return 0;
}
