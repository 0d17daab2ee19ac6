/* SPDX-License-Identifier: MIT */
/*
 * The queue of a packet socket in memory that the kernel shares, a frame for
 * each packet (TPACKET_V2): what comes is seen without a system call, and at
 * once, where the blocks of TPACKET_V3 are handed over by time.  A frame is
 * copied out and goes back to the kernel before anybody sees its packet.
 *
 * A packet that is larger than a frame is in the socket's own queue as well
 * (PACKET_COPY_THRESH), if there is room; it is read from there.
 */
#include "frames.h"

#include "batch.h"
#include "control.h"
#include "fill.h"
#include "lineage.h"
#include "receiver.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* Of a frame: what is before its packet, and where the sender is. */
enum { SENDER = TPACKET_ALIGN((int)sizeof(struct tpacket2_hdr)) };

static struct tpacket2_hdr *
next_header(const struct frames *frames)
{
	return (void *)(frames->memory + frames->next * frames->frame_size);
}

static bool
is_there(const struct tpacket2_hdr *header)
{
	uint32_t status = __atomic_load_n(&header->tp_status, __ATOMIC_ACQUIRE);

	return (status & TP_STATUS_USER) != 0;
}

static void
give_back(struct frames *frames, struct tpacket2_hdr *header)
{
	__atomic_store_n(&header->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	if (++frames->next == frames->count)
		frames->next = 0;
}

/* Frames of the socket's ring, which was made so; NULL with errno. */
struct frames *
frames_map(int fd, size_t frame_size, size_t count)
{
	struct frames *frames = calloc(1, sizeof(*frames));
	void *memory;

	if (frames == NULL)
		return NULL;
	memory = mmap(NULL, frame_size * count, PROT_READ | PROT_WRITE,
		      MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED) {
		free(frames);
		return NULL;
	}
	frames->memory = memory;
	frames->frame_size = frame_size;
	frames->count = (uint32_t)count;
	frames->process = lineage_here();
	return frames;
}

void
frames_unmap(struct frames *frames)
{
	if (frames == NULL)
		return;
	munmap(frames->memory, frames->frame_size * frames->count);
	free(frames);
}

/*
 * The whole of a packet that its frame shows the beginning of: its length, 0
 * if it is not in the socket's queue.  What is there may be that of an earlier
 * frame, whose own was not found; two processors may queue in another order
 * than they took frames.  So the beginnings are compared.
 */
static size_t
read_whole(struct receiver *self, const struct iovec *room,
	   const unsigned char *start, size_t length)
{
	for (;;) {
		ssize_t whole = recv(self->fd, room->iov_base, room->iov_len,
				     MSG_DONTWAIT | MSG_TRUNC);
		size_t same = length < room->iov_len ? length : room->iov_len;

		if (whole < 0 && errno == EAGAIN)
			return 0;
		if (whole < 0) {
			if (self->frames->error != 0)
				return 0;
			/* Reading has cleared it: to be told of later. */
			self->frames->error = errno;
			continue;
		}
		if ((size_t)whole > length &&
		    memcmp(room->iov_base, start, same) == 0)
			return (size_t)whole;
	}
}

/* The kernel is trusted, and its offsets are checked all the same. */
static size_t
checked_length(const struct frames *frames, const struct tpacket2_hdr *header)
{
	size_t start = header->tp_mac, length = header->tp_snaplen;

	if (start > frames->frame_size || length > frames->frame_size - start)
		return 0;
	return length;
}

bool
frames_is_next(const struct frames *frames)
{
	return is_there(next_header(frames));
}

/* Whether a packet is there, and all of it is in its frame, as a rule. */
bool
frames_next_is_whole(const struct frames *frames)
{
	const struct tpacket2_hdr *header = next_header(frames);

	return is_there(header) && (header->tp_status & TP_STATUS_COPY) == 0 &&
	       frames->process == lineage_here();
}

/* The next, which is whole; NULL with an exception: it is still there then. */
PyObject *
frames_take(struct receiver *self)
{
	struct frames *frames = self->frames;
	struct tpacket2_hdr *header = next_header(frames);
	PyObject *packet =
		batch_frame(self, header,
			    (void *)((unsigned char *)header + SENDER),
			    checked_length(frames, header));

	if (packet != NULL)
		give_back(frames, header);
	return packet;
}

static void
copy_out(struct receiver *self, const struct tpacket2_hdr *header,
	 struct mmsghdr *slot)
{
	const unsigned char *frame = (const void *)header;
	struct msghdr *message = &slot->msg_hdr;
	const struct iovec *room = message->msg_iov;
	size_t length = checked_length(self->frames, header), whole = 0;

	if ((header->tp_status & TP_STATUS_COPY) != 0 && length > 0)
		whole = read_whole(self, room, frame + header->tp_mac, length);
	if (whole == 0)
		memcpy(room->iov_base, frame + header->tp_mac,
		       length < room->iov_len ? length : room->iov_len);
	slot->msg_len = (unsigned)(whole > 0 ? whole : length);
	memcpy(message->msg_name, frame + SENDER, sizeof(struct sockaddr_ll));
	message->msg_namelen = sizeof(struct sockaddr_ll);
	message->msg_flags = 0;
	control_write(message, header);
}

/* Why nothing is there: what happened to the socket, once. */
static int
find_reason(struct receiver *self)
{
	socklen_t length = sizeof(int);
	int error = self->frames->error;

	self->frames->error = 0;
	if (error == 0 && getsockopt(self->fd, SOL_SOCKET, SO_ERROR, &error,
				     &length) < 0)
		error = errno;
	return error != 0 ? error : EAGAIN;
}

/* As fill(), without a system call where there is something. */
int
frames_fill(struct receiver *self, struct scratch *scratch, int wanted)
{
	struct frames *frames = self->frames;
	int filled = 0;

	if (frames->process != lineage_here()) {
		self->failure = EBADF;
		return 0;
	}
	while (filled < wanted) {
		struct tpacket2_hdr *header = next_header(frames);

		if (!is_there(header))
			break;
		copy_out(self, header, &scratch->messages[filled++]);
		give_back(frames, header);
	}
	scratch->used = filled;
	if (filled < wanted)
		self->failure = filled > 0 ? EAGAIN : find_reason(self);
	return filled;
}

/* Bytes of the ring that waiting packets take. */
unsigned long long
frames_queued(const struct frames *frames)
{
	struct frames at = *frames;
	unsigned long long queued = 0;

	for (; queued < at.frame_size * at.count && is_there(next_header(&at));
	     queued += at.frame_size)
		at.next = (at.next + 1) % at.count;
	return queued;
}

/*
 * The whole of a packet whose frame is thrown away: without its frame nobody
 * would read it, and the socket would be readable for ever.
 */
static void
forget_whole(struct receiver *self)
{
	unsigned char start;

	if (recv(self->fd, &start, sizeof(start), MSG_DONTWAIT) >= 0 ||
	    errno == EAGAIN)
		return;
	/* As in read_whole(): the packet is still behind the error. */
	self->frames->error = errno;
	(void)recv(self->fd, &start, sizeof(start), MSG_DONTWAIT);
}

/* Throw away what waits: no more than the ring holds, if more comes. */
void
frames_forget(struct receiver *self)
{
	struct frames *frames = self->frames;

	if (frames->process != lineage_here())
		return;
	for (uint32_t seen = 0; seen < frames->count; seen++) {
		struct tpacket2_hdr *header = next_header(frames);

		if (!is_there(header))
			break;
		if ((header->tp_status & TP_STATUS_COPY) != 0)
			forget_whole(self);
		give_back(frames, header);
	}
}
