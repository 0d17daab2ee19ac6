/* SPDX-License-Identifier: MIT */
/*
 * udp_client PORT WINDOW SECONDS SIZE: keeps WINDOW datagrams under way to an
 * echo server, sends one for each that came back, and prints how many did and
 * how many were lost. What has not come back in a tenth of a second is lost.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, LARGEST = 2048, PATIENCE = 100 };

static struct mmsghdr batch[BATCH];
static struct iovec texts[BATCH];
static char data[LARGEST];

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int connect_to(const char *port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((unsigned short)atoi(port)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		return -1;
	return fd;
}

static int send_some(int fd, int wanted)
{
	int sent = 0;

	while (sent < wanted) {
		int group = wanted - sent < BATCH ? wanted - sent : BATCH;
		int taken = sendmmsg(fd, batch, (unsigned)group, 0);

		if (taken <= 0)
			break;
		sent += taken;
	}
	return sent;
}

int main(int argc, char **argv)
{
	int fd = argc == 5 ? connect_to(argv[1]) : -1;
	struct pollfd readable = {.fd = fd, .events = POLLIN};
	int window, under_way;
	long answered = 0, lost = 0;
	double ends;

	if (fd < 0)
		return 2;
	window = atoi(argv[2]);
	ends = now() + atof(argv[3]);
	for (int i = 0; i < BATCH; i++) {
		texts[i] = (struct iovec){data, (size_t)atoi(argv[4])};
		batch[i].msg_hdr = (struct msghdr){.msg_iov = &texts[i], .msg_iovlen = 1};
	}
	under_way = send_some(fd, window);
	while (now() < ends) {
		int came;

		if (poll(&readable, 1, PATIENCE) == 0) {
			lost += under_way;
			under_way = 0;
		}
		came = recvmmsg(fd, batch, BATCH, 0, NULL);
		if (came > 0) {
			answered += came;
			under_way -= came;
		}
		under_way += send_some(fd, window - under_way);
	}
	printf("%ld %ld\n", answered, lost);
	return 0;
}
