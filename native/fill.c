/* SPDX-License-Identifier: MIT */
/*
 * The system calls of a receiver: packets into the scratch, and what it means
 * that none came.
 *
 * A batch ends when its data reach BATCH_BYTES.  Beyond 128 KiB, glibc returns
 * the memory of a list that is dropped to the system, and each packet of the
 * next pays for page faults, 10 times what receiving it costs.
 */
#include "fill.h"

#include "coalesced.h"
#include "frames.h"
#include "vnet.h"

#include <errno.h>
#include <unistd.h>

/* System calls; what ends them early goes to self->failure */

static int
receive_messages(const struct receiver *self, struct mmsghdr *messages,
		 int wanted)
{
	ssize_t length;

	if (wanted > 1)
		return recvmmsg(self->fd, messages, (unsigned)wanted,
				self->flags, NULL);
	/* recvmmsg() of one takes 100 ns longer. */
	length = recvmsg(self->fd, &messages->msg_hdr, self->flags);
	if (length < 0)
		return -1;
	messages->msg_len = (unsigned)length;
	return 1;
}

/* Who sent a packet that has its IP header is said there as well. */
static int
receive_headed(const struct receiver *self, struct scratch *scratch, int wanted)
{
	int filled;

	for (int slot = 0; slot < wanted; slot++)
		scratch->messages[slot].msg_hdr.msg_name = NULL;
	filled = receive_messages(self, scratch->messages, wanted);
	for (int slot = 0; slot < wanted; slot++)
		scratch->messages[slot].msg_hdr.msg_name =
			&scratch->names[slot];
	return filled;
}

static int
fill_from_socket(struct receiver *self, struct scratch *scratch, int wanted)
{
	int filled = self->skip_ip_header
			     ? receive_headed(self, scratch, wanted)
			     : receive_messages(self, scratch->messages, wanted);

	if (filled < 0) {
		self->failure = errno;
		return 0;
	}
	scratch->used = filled;
	for (int slot = 0; self->zero_is_end && slot < filled; slot++) {
		if (scratch->messages[slot].msg_len == 0) {
			self->failure = END_OF_FILE;
			return slot;
		}
	}
	return filled;
}

static int
fill_from_device(struct receiver *self, struct scratch *scratch, int wanted)
{
	int filled;

	for (filled = 0; filled < wanted; filled++) {
		struct mmsghdr *slot = &scratch->messages[filled];
		ssize_t length =
			self->header > 0
				? vnet_read(self->fd, self->header,
					    slot->msg_hdr.msg_iov->iov_base,
					    self->size)
				: read(self->fd,
				       slot->msg_hdr.msg_iov->iov_base,
				       self->size);

		if (length <= 0) {
			self->failure = length < 0 ? errno : END_OF_FILE;
			break;
		}
		slot->msg_len = (unsigned)length;
		slot->msg_hdr.msg_namelen = 0;
		slot->msg_hdr.msg_controllen = 0;
		slot->msg_hdr.msg_flags = 0;
	}
	scratch->used = filled;
	return filled;
}

/* How many packets came; where that is less than wanted, self->failure says why. */
int
fill(struct receiver *self, struct scratch *scratch, int wanted)
{
	if (self->frames != NULL)
		return frames_fill(self, scratch, wanted);
	return self->is_socket ? fill_from_socket(self, scratch, wanted)
			       : fill_from_device(self, scratch, wanted);
}

static void
raise_failure(int failure)
{
	if (failure == END_OF_FILE) {
		PyErr_SetString(PyExc_EOFError, "end of file");
	} else {
		errno = failure;
		PyErr_SetFromErrno(PyExc_OSError);
	}
}

/*
 * Nothing came, and self->failure says why: 1 to try again, 0 if there is
 * nothing to receive, -1 with an exception.
 */
int
fill_settle(struct receiver *self)
{
	int failure = self->failure;

	self->failure = NO_FAILURE;
	if (failure == EINTR)
		return PyErr_CheckSignals() < 0 ? -1 : 1;
	if (failure == EAGAIN || failure == NO_FAILURE)
		return 0;
	raise_failure(failure);
	return -1;
}

/*
 * How many slots to offer: what the kernel puts into them cannot be given
 * back, so the bound on bytes has to be guessed from what came last.
 */
int
fill_slots(const struct receiver *self, Py_ssize_t missing, size_t room)
{
	int most = coalesced_slots(self, missing);
	size_t slots = room / self->typical;

	if (slots > (size_t)most)
		return most;
	return slots > 0 ? (int)slots : 1;
}
