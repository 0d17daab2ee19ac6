/* SPDX-License-Identifier: MIT */
/*
 * Datagrams of one size to one destination, as one to the kernel, which cuts it
 * again as late as it can (UDP_SEGMENT): what takes most of the time of a
 * datagram is its way through the kernel, and they go it together.
 *
 * A run is what goes together.  Where the kernel does not take one, or has no
 * room for all of it, its datagrams are sent one by one, and what it says of
 * those counts: so nobody sees more of it than that it is faster.
 */
#include "segmented.h"

#include "group.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdalign.h>
#include <stdint.h>
#include <string.h>

enum {
	UDP_SEGMENT_OPTION = 103,	/* linux/udp.h */
	/* UDP_MAX_SEGMENTS of include/linux/udp.h; 128 since Linux 6.9. */
	RUN_MOST = 64,
	/*
	 * The receiver of a run begins when all of it is there.  More small ones
	 * save nothing any more, and it would only be idle meanwhile.
	 */
	SMALL = 512,
	SMALL_RUN_MOST = 16,
	/*
	 * GSO_LEGACY_MAX_SIZE of include/linux/netdevice.h, 65,536, less all
	 * headers: of more than that no device cuts anything.
	 */
	MOST = 65400,
};

struct run {
	int count;
	alignas(struct cmsghdr) unsigned char
		control[CMSG_SPACE(sizeof(uint16_t))];
};

/* What one system call is given. */
struct runs {
	int used;
	struct mmsghdr messages[GROUP];
	struct run runs[GROUP];
};

static bool
is_to_the_same(const struct msghdr *one, const struct msghdr *other)
{
	return one->msg_namelen == other->msg_namelen &&
	       (one->msg_namelen == 0 ||
		memcmp(one->msg_name, other->msg_name, one->msg_namelen) == 0);
}

/* How many from the first on go together. */
static int
measure(const struct mmsghdr *messages, int count)
{
	const struct msghdr *first = &messages[0].msg_hdr;
	size_t size = first->msg_iov->iov_len, total = size;
	int longest = size <= SMALL ? SMALL_RUN_MOST : RUN_MOST;
	int run = 1;

	if (count > longest)
		count = longest;
	/* One without bytes would be none of the segments. */
	while (size > 0 && run < count) {
		const struct msghdr *next = &messages[run].msg_hdr;
		size_t length = next->msg_iov->iov_len;

		if (length == 0 || length > size || total + length > MOST ||
		    next->msg_iov != first->msg_iov + run ||
		    !is_to_the_same(first, next))
			break;
		total += length;
		run++;
		if (length < size)
			break;
	}
	return run;
}

static void
put_segment_size(struct msghdr *message, struct run *run)
{
	uint16_t size = (uint16_t)message->msg_iov->iov_len;
	struct cmsghdr *item = (struct cmsghdr *)run->control;

	memset(run->control, 0, sizeof(run->control));
	item->cmsg_level = IPPROTO_UDP;
	item->cmsg_type = UDP_SEGMENT_OPTION;
	item->cmsg_len = CMSG_LEN(sizeof(size));
	memcpy(CMSG_DATA(item), &size, sizeof(size));
	message->msg_control = run->control;
	message->msg_controllen = sizeof(run->control);
	message->msg_iovlen = (size_t)run->count;
}

/* Runs of datagrams smaller than limit; larger ones go alone. */
static void
form(struct runs *runs, const struct mmsghdr *messages, int count, size_t limit)
{
	runs->used = 0;
	for (int at = 0; at < count; at += runs->runs[runs->used++].count) {
		struct run *run = &runs->runs[runs->used];
		struct msghdr *message = &runs->messages[runs->used].msg_hdr;

		*message = messages[at].msg_hdr;
		run->count = message->msg_iov->iov_len < limit
				     ? measure(messages + at, count - at)
				     : 1;
		if (run->count > 1)
			put_segment_size(message, run);
	}
}

/*
 * Whether that is said of the run, and not of its datagrams, or of what the
 * network has answered to an earlier one, which is said only once.
 */
static bool
is_about_the_run(int failure)
{
	switch (failure) {
	case EIO:		/* checksums are not the device's, or by IPsec */
	case EMSGSIZE:		/* larger than the MTU */
	case EINVAL:		/* the same before Linux 6.10; no checksums */
	case EOPNOTSUPP:
	case EAGAIN:		/* for a part there may be room */
	case ENOBUFS:
		return true;
	default:
		return false;
	}
}

/* As sender_transmit_plainly(), which it is for a sender of any other kind. */
int
segmented_transmit(struct sender *self, struct mmsghdr *messages, int count)
{
	size_t limit = SIZE_MAX;
	int sent = 0;

	while (self->segments && sent < count && self->failure == 0) {
		struct runs runs;
		int taken, refused;

		form(&runs, messages + sent, count - sent, limit);
		taken = sender_transmit_plainly(self, runs.messages,
						runs.used);
		for (int run = 0; run < taken; run++)
			sent += runs.runs[run].count;
		if (taken == runs.used)
			break;
		refused = runs.runs[taken].count;
		if (refused == 1 || !is_about_the_run(self->failure))
			break;
		if (self->failure == EIO)
			self->segments = 0;
		else if (self->failure != EAGAIN && self->failure != ENOBUFS)
			limit = messages[sent].msg_hdr.msg_iov->iov_len;
		self->failure = 0;
		sent += sender_transmit_plainly(self, messages + sent, refused);
	}
	if (!self->segments && self->failure == 0)
		sent += sender_transmit_plainly(self, messages + sent,
						count - sent);
	return sent;
}
