/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fdpass.h"

/* Keeps the first descriptor that came and closes all others. */
static void take_descriptors(struct msghdr *message, struct incoming *incoming)
{
	struct cmsghdr *item;
	int fd;

	for (item = CMSG_FIRSTHDR(message); item != NULL;
	     item = CMSG_NXTHDR(message, item)) {
		if (item->cmsg_level != SOL_SOCKET ||
		    item->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = CMSG_LEN(0);
		     at + sizeof(fd) <= item->cmsg_len; at += sizeof(fd)) {
			memcpy(&fd, (unsigned char *)item + at, sizeof(fd));
			if (incoming->fd == -1)
				incoming->fd = fd;
			else
				close(fd);
		}
	}
}

int fdpass_receive(int session, void *buffer, size_t size,
		   struct incoming *incoming)
{
	union {
		struct cmsghdr align;
		unsigned char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = { .iov_base = buffer, .iov_len = size };
	/* CMSG_SPACE would, by its padding, let in two descriptors. */
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_LEN(sizeof(int)),
	};
	ssize_t received;

	*incoming = (struct incoming){ .fd = -1 };
	do
		received = recvmsg(session, &message, MSG_CMSG_CLOEXEC);
	while (received < 0 && errno == EINTR);
	if (received < 0)
		return -1;
	take_descriptors(&message, incoming);
	incoming->size = (size_t)received;
	incoming->whole = !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC));
	return 0;
}

int fdpass_send(int session, const void *bytes, size_t size, int fd)
{
	union {
		struct cmsghdr head;
		unsigned char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	/* sendmsg(2) does not write to it; struct iovec cannot say so. */
	union {
		const void *from;
		void *base;
	} source = { .from = bytes };
	struct iovec part = { .iov_base = source.base, .iov_len = size };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	ssize_t sent;

	if (fd != -1) {
		memset(&control, 0, sizeof(control));
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
		message.msg_control = &control;
		message.msg_controllen = sizeof(control.bytes);
	}
	do
		sent = sendmsg(session, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent == (ssize_t)size ? 0 : -1;
}
