/* SPDX-License-Identifier: MIT */
/*
 * udp_server PORT [times|offload]: sends datagrams back to where they came
 * from, up to 64 per system call, until it is killed. With times, it asks for
 * the kernel's time of each; with offload, for several datagrams in one
 * (UDP_GRO), and sends those of one size to one address so (UDP_SEGMENT).
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 64, LARGEST = 65535, MOST = 65507, CONTROL = 64 };
enum { UDP_SEGMENT = 103, UDP_GRO = 104 };	/* linux/udp.h */

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

static int receive(int fd, int controlled)
{
	for (int i = 0; i < BATCH; i++) {
		texts[i] = (struct iovec){data[i], LARGEST};
		batch[i].msg_hdr = (struct msghdr){
			.msg_name = &names[i],
			.msg_namelen = sizeof(names[i]),
			.msg_iov = &texts[i],
			.msg_iovlen = 1,
			.msg_control = controlled ? control[i] : NULL,
			.msg_controllen = controlled ? CONTROL : 0,
		};
	}
	return recvmmsg(fd, batch, BATCH, 0, NULL);
}

/* How large the datagrams are that came in this one; 0: it is one. */
static unsigned short segment_of(struct msghdr *message)
{
	int size = 0;

	for (struct cmsghdr *item = CMSG_FIRSTHDR(message); item != NULL;
	     item = CMSG_NXTHDR(message, item))
		if (item->cmsg_level == IPPROTO_UDP && item->cmsg_type == UDP_GRO)
			memcpy(&size, CMSG_DATA(item), sizeof(size));
	return (unsigned short)size;
}

static void cut(struct msghdr *message, unsigned short size, char *room)
{
	struct cmsghdr *item = (struct cmsghdr *)room;

	message->msg_control = room;
	message->msg_controllen = CMSG_SPACE(sizeof(size));
	item->cmsg_level = IPPROTO_UDP;
	item->cmsg_type = UDP_SEGMENT;
	item->cmsg_len = CMSG_LEN(sizeof(size));
	memcpy(CMSG_DATA(item), &size, sizeof(size));
}

/* Those of one size to one address as one: how many are left. */
static int join(int received)
{
	int joined = 0;

	for (int i = 0; i < received; joined++) {
		struct msghdr *message = &batch[joined].msg_hdr;
		unsigned short size = segment_of(&batch[i].msg_hdr);
		size_t total = batch[i].msg_len, first = total;
		int from = i;

		*message = batch[i++].msg_hdr;
		while (size == 0 && i < received && batch[i].msg_len == first &&
		       total + first <= MOST &&
		       segment_of(&batch[i].msg_hdr) == 0 &&
		       memcmp(&names[i], &names[from], sizeof(names[i])) == 0)
			total += batch[i++].msg_len;
		message->msg_iovlen = (size_t)(i - from);
		message->msg_control = NULL;
		message->msg_controllen = 0;
		if (size > 0 || i - from > 1)
			cut(message, size > 0 ? size : (unsigned short)first,
			    control[from]);
	}
	return joined;
}

static int plain(int received)
{
	for (int i = 0; i < received; i++) {
		batch[i].msg_hdr.msg_control = NULL;
		batch[i].msg_hdr.msg_controllen = 0;
	}
	return received;
}

int main(int argc, char **argv)
{
	int times = argc == 3 && strcmp(argv[2], "times") == 0;
	int offload = argc == 3 && strcmp(argv[2], "offload") == 0;
	int fd = argc == 2 || times || offload ? open_on(argv[1]) : -1;
	struct pollfd readable = {.fd = fd, .events = POLLIN};

	if (fd < 0)
		return 2;
	setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &times, sizeof(times));
	if (offload &&
	    setsockopt(fd, IPPROTO_UDP, UDP_GRO, &offload, sizeof(offload)) != 0)
		return 2;
	while (poll(&readable, 1, -1) == 1) {
		int received = receive(fd, times || offload), count;

		for (int i = 0; i < received; i++)
			texts[i].iov_len = batch[i].msg_len;
		count = offload ? join(received) : plain(received);
		for (int sent = 0; sent < count;) {
			int taken = sendmmsg(fd, batch + sent, (unsigned)(count - sent), 0);

			if (taken < 0)
				return 1;
			sent += taken;
		}
	}
	return 1;
}
