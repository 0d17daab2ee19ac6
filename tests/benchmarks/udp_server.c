/* SPDX-License-Identifier: MIT */
/*
 * udp_server PORT [times]: sends datagrams back to where they came from, up to
 * 64 per system call, until it is killed. With times, it asks for the kernel's
 * time of each.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { BATCH = 64, LARGEST = 2048, CONTROL = 64 };

static struct mmsghdr batch[BATCH];
static struct iovec texts[BATCH];
static struct sockaddr_in names[BATCH];
static char data[BATCH][LARGEST];
static _Alignas(struct cmsghdr) char control[BATCH][CONTROL];

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

static int receive(int fd, int times)
{
	for (int i = 0; i < BATCH; i++) {
		texts[i] = (struct iovec){data[i], LARGEST};
		batch[i].msg_hdr = (struct msghdr){
			.msg_name = &names[i],
			.msg_namelen = sizeof(names[i]),
			.msg_iov = &texts[i],
			.msg_iovlen = 1,
			.msg_control = times ? control[i] : NULL,
			.msg_controllen = times ? CONTROL : 0,
		};
	}
	return recvmmsg(fd, batch, BATCH, 0, NULL);
}

int main(int argc, char **argv)
{
	int times = argc == 3;
	int fd = argc == 2 || times ? open_on(argv[1]) : -1;
	struct pollfd readable = {.fd = fd, .events = POLLIN};

	if (fd < 0)
		return 2;
	setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &times, sizeof(times));
	while (poll(&readable, 1, -1) == 1) {
		int received = receive(fd, times);

		for (int i = 0; i < received; i++) {
			texts[i].iov_len = batch[i].msg_len;
			batch[i].msg_hdr.msg_control = NULL;
			batch[i].msg_hdr.msg_controllen = 0;
		}
		for (int sent = 0; sent < received;) {
			int taken = sendmmsg(fd, batch + sent, (unsigned)(received - sent), 0);

			if (taken < 0)
				return 1;
			sent += taken;
		}
	}
	return 1;
}
