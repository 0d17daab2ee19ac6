/* SPDX-License-Identifier: MIT */
/*
 * The least that can hand out descriptors: one message in, one raw ICMP
 * socket out, until end of file. No check, no policy, no preparation. The
 * session is stdin, as the helper's is.
 */
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int pass(int session, int fd)
{
	char reply[96] = {0};
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec text = {reply, sizeof(reply)};
	struct msghdr message = {
		.msg_iov = &text,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *rights = CMSG_FIRSTHDR(&message);

	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
	return sendmsg(session, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

int main(void)
{
	char request[256];

	while (recv(STDIN_FILENO, request, sizeof(request), 0) > 0) {
		int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
				IPPROTO_ICMP);

		if (fd < 0 || pass(STDIN_FILENO, fd) != 0)
			return 1;
		close(fd);
	}
	return 0;
}
