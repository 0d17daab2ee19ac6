/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <sys/socket.h>

#include "fdpass.h"

/* Room for one descriptor, where the kernel wants it. */
union control {
	struct cmsghdr head;
	unsigned char bytes[CMSG_SPACE(sizeof(int))];
};

/* False for other company, as credentials: the client can turn them on. */
static bool take_descriptor(struct msghdr *message, int *fd)
{
	const struct cmsghdr *item = CMSG_FIRSTHDR(message);

	*fd = -1;
	if (item == NULL)
		return true;
	if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS ||
	    item->cmsg_len != CMSG_LEN(sizeof(*fd)))
		return false;
	memcpy(fd, CMSG_DATA(item), sizeof(*fd));
	return true;
}

int fdpass_receive(int session, void *buffer, size_t size,
		   struct incoming *incoming)
{
	union control control;
	struct iovec part = { .iov_base = buffer, .iov_len = size };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		/* CMSG_SPACE would, by its padding, let in a second one. */
		.msg_controllen = CMSG_LEN(sizeof(int)),
	};
	ssize_t received;

	/* main.c leaves no signal handler that could interrupt it. */
	received = recvmsg(session, &message, MSG_CMSG_CLOEXEC);
	if (received < 0)
		return -1;
	incoming->size = (size_t)received;
	incoming->whole = take_descriptor(&message, &incoming->fd) &&
			  !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC));
	return 0;
}

int fdpass_send(int session, void *bytes, size_t size, int fd)
{
	union control control = { 0 };
	struct iovec part = { .iov_base = bytes, .iov_len = size };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	if (fd >= 0) {
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
	}
	/* SOCK_SEQPACKET: all or nothing. */
	if (sendmsg(session, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return -1;
	return 0;
}
