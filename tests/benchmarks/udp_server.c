/* SPDX-License-Identifier: MIT */
/*
 * udp_server PORT: sends datagrams back to where they came from, up to 64 per
 * system call, until it is killed.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { BATCH = 64, LARGEST = 2048 };

static struct mmsghdr batch[BATCH];
static struct iovec texts[BATCH];
static struct sockaddr_in names[BATCH];
static char data[BATCH][LARGEST];

static int open_on(const char *port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((unsigned short)atoi(port)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		return -1;
	return fd;
}

static int receive(int fd)
{
	for (int i = 0; i < BATCH; i++) {
		texts[i] = (struct iovec){data[i], LARGEST};
		batch[i].msg_hdr = (struct msghdr){
			.msg_name = &names[i],
			.msg_namelen = sizeof(names[i]),
			.msg_iov = &texts[i],
			.msg_iovlen = 1,
		};
	}
	return recvmmsg(fd, batch, BATCH, 0, NULL);
}

int main(int argc, char **argv)
{
	int fd = argc == 2 ? open_on(argv[1]) : -1;
	struct pollfd readable = {.fd = fd, .events = POLLIN};

	if (fd < 0)
		return 2;
	while (poll(&readable, 1, -1) == 1) {
		int received = receive(fd);

		for (int i = 0; i < received; i++)
			texts[i].iov_len = batch[i].msg_len;
		for (int sent = 0; sent < received;) {
			int taken = sendmmsg(fd, batch + sent, (unsigned)(received - sent), 0);

			if (taken < 0)
				return 1;
			sent += taken;
		}
	}
	return 1;
}
