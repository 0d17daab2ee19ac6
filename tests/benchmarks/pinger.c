/* SPDX-License-Identifier: MIT */
/*
 * Echo requests to many hosts by sendmmsg(), replies by recvmmsg(): what a
 * program can reach that does nothing else.
 *
 * usage: pinger FIRST COUNT WINDOW
 *
 * FIRST is an IPv4 address, COUNT how many from there on. With COUNT 0: the
 * one host back to back for a second. Prints how many answered, the seconds
 * and the processor seconds.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#ifndef SO_RCVBUFFORCE
#define SO_RCVBUFFORCE 33
#endif

enum { BATCH = 64, PAYLOAD = 56, SIZE = 8 + PAYLOAD, ROOM = 256 };

struct probe {
	struct icmphdr header;
	unsigned char payload[PAYLOAD];
};

static int fd;
static unsigned short identifier = 0x4242;
static int64_t *sent_ns, *rtt_ns;

static int64_t
clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static unsigned short
checksum(const void *data, size_t length)
{
	const unsigned short *words = data;
	unsigned sum = 0;

	for (size_t at = 0; at < length / 2; at++)
		sum += words[at];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (unsigned short)~sum;
}

static void
build(struct probe *probe, unsigned number)
{
	memset(probe, 0, sizeof(*probe));
	probe->header.type = ICMP_ECHO;
	probe->header.un.echo.id = htons(identifier);
	probe->header.un.echo.sequence = htons((unsigned short)number);
	memcpy(probe->payload, &number, sizeof(number));
	probe->header.checksum = checksum(probe, sizeof(*probe));
}

static unsigned
send_batch(unsigned first, unsigned from, unsigned count)
{
	static struct probe probes[BATCH];
	static struct sockaddr_in names[BATCH];
	static struct iovec vectors[BATCH];
	static struct mmsghdr messages[BATCH];
	int64_t now = clock_ns(CLOCK_REALTIME);
	int sent;

	for (unsigned at = 0; at < count; at++) {
		build(&probes[at], from + at);
		names[at].sin_family = AF_INET;
		names[at].sin_addr.s_addr = htonl(first + from + at);
		vectors[at].iov_base = &probes[at];
		vectors[at].iov_len = sizeof(probes[at]);
		messages[at].msg_hdr.msg_name = &names[at];
		messages[at].msg_hdr.msg_namelen = sizeof(names[at]);
		messages[at].msg_hdr.msg_iov = &vectors[at];
		messages[at].msg_hdr.msg_iovlen = 1;
		sent_ns[from + at] = now;
	}
	sent = sendmmsg(fd, messages, count, MSG_DONTWAIT);
	return sent < 0 ? 0 : (unsigned)sent;
}

static unsigned
receive_batch(unsigned count)
{
	static unsigned char data[BATCH][ROOM], control[BATCH][ROOM];
	static struct iovec vectors[BATCH];
	static struct mmsghdr messages[BATCH];
	unsigned answered = 0;
	int came;

	for (int at = 0; at < BATCH; at++) {
		vectors[at].iov_base = data[at];
		vectors[at].iov_len = ROOM;
		messages[at].msg_hdr.msg_iov = &vectors[at];
		messages[at].msg_hdr.msg_iovlen = 1;
		messages[at].msg_hdr.msg_control = control[at];
		messages[at].msg_hdr.msg_controllen = ROOM;
	}
	came = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
	for (int at = 0; at < came; at++) {
		const struct icmphdr *header = (const void *)(data[at] + 20);
		struct cmsghdr *part = CMSG_FIRSTHDR(&messages[at].msg_hdr);
		struct timespec stamp;
		unsigned number;

		if (header->type != ICMP_ECHOREPLY ||
		    header->un.echo.id != htons(identifier) || part == NULL)
			continue;
		memcpy(&number, header + 1, sizeof(number));
		memcpy(&stamp, CMSG_DATA(part), sizeof(stamp));
		if (number >= count || rtt_ns[number])
			continue;
		rtt_ns[number] = stamp.tv_sec * 1000000000LL + stamp.tv_nsec -
				 sent_ns[number];
		answered++;
	}
	return answered;
}

static unsigned
sweep(unsigned first, unsigned count, unsigned window)
{
	unsigned sent = 0, answered = 0;
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	while (answered < count) {
		unsigned room = window - (sent - answered), before = answered;

		if (room > BATCH)
			room = BATCH;
		if (room > count - sent)
			room = count - sent;
		if (room > 0)
			sent += send_batch(first, sent, room);
		answered += receive_batch(count);
		if (answered == before && (room == 0 || sent == count) &&
		    poll(&ready, 1, 1000) == 0)
			break;
	}
	return answered;
}

static unsigned
back_to_back(unsigned first)
{
	int64_t end = clock_ns(CLOCK_MONOTONIC) + 1000000000;
	unsigned answered = 0;
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	while (clock_ns(CLOCK_MONOTONIC) < end) {
		rtt_ns[0] = 0;
		send_batch(first, 0, 1);
		while (receive_batch(1) == 0)
			if (poll(&ready, 1, 1000) == 0)
				return answered;
		answered++;
	}
	return answered;
}

int
main(int argc, char **argv)
{
	int buffer = 4 << 20, on = 1;
	unsigned first, count, window, answered;
	struct rusage usage;
	int64_t began;

	if (argc != 4)
		return 2;
	first = ntohl(inet_addr(argv[1]));
	count = (unsigned)atoi(argv[2]);
	window = (unsigned)atoi(argv[3]);
	fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	sent_ns = calloc(count + 1, sizeof(*sent_ns));
	rtt_ns = calloc(count + 1, sizeof(*rtt_ns));
	if (fd < 0 || sent_ns == NULL || rtt_ns == NULL)
		return 1;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer));
	setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
	began = clock_ns(CLOCK_MONOTONIC);
	answered = count > 0 ? sweep(first, count, window) : back_to_back(first);
	getrusage(RUSAGE_SELF, &usage);
	printf("%u %.6f %.6f\n", answered,
	       (double)(clock_ns(CLOCK_MONOTONIC) - began) / 1e9,
	       (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
		       (double)(usage.ru_utime.tv_usec +
				usage.ru_stime.tv_usec) / 1e6);
	return 0;
}
