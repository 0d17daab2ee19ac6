/* SPDX-License-Identifier: MIT */
/*
 * A batch that lies in one piece, sent from there: of none of its packets an
 * object is made.
 */
#include "sender_batch.h"

#include "group.h"
#include "vnet.h"

#include <errno.h>

/* Whether nothing but bytes of it is to be sent, and these are at hand. */
bool
sender_batch_may(const struct sender *self, const struct batch *batch,
		 bool addressed)
{
	return batch->slab != NULL && !(self->is_socket && addressed);
}

static struct iovec
bytes_at(const struct batch *batch, Py_ssize_t at)
{
	return (struct iovec){
		.iov_base = batch->slab->memory + batch->columns->offsets[at],
		.iov_len = batch->columns->lens[at],
	};
}

/* As bytes_at(), with the tag that belongs into them; how many parts. */
static size_t
frame_at(const struct sender *self, struct batch *batch, Py_ssize_t at,
	 struct tag *tag)
{
	uint16_t tci = 0, tpid = 0;

	if (self->tags && batch->columns->tagged)
		frame_tag(batch_header(batch, at), &tci, &tpid);
	return tag_put_back(tag, bytes_at(batch, at), tci, tpid);
}

/* As many as go by one round of system calls, and what ended it in failure. */

static Py_ssize_t
write_all(struct sender *self, struct batch *batch, Py_ssize_t start)
{
	/* They are of wire size, and their sums are there. */
	unsigned char header[VNET_HEADER_MAX] = {0};
	Py_ssize_t at = start;

	for (; at < batch->count; at++) {
		struct tag tag;
		size_t parts = frame_at(self, batch, at, &tag);

		if (!sender_write(self, header, tag.parts, parts))
			break;
	}
	return at - start;
}

static void
put_tag_back(struct msghdr *message, struct tag *tag,
	     const struct tpacket3_hdr *header)
{
	uint16_t tci, tpid;

	frame_tag(header, &tci, &tpid);
	message->msg_iovlen =
		tag_put_back(tag, *message->msg_iov, tci, tpid);
	message->msg_iov = tag->parts;
}

static Py_ssize_t
send_group(struct sender *self, struct batch *batch, Py_ssize_t start)
{
	struct mmsghdr messages[GROUP];
	struct iovec vectors[GROUP];
	struct tag tags[GROUP];
	bool tagged = self->tags && batch->columns->tagged;
	int used = 0;

	for (; used < GROUP && start + used < batch->count; used++) {
		vectors[used] = bytes_at(batch, start + used);
		messages[used].msg_hdr = (struct msghdr){
			.msg_iov = &vectors[used],
			.msg_iovlen = 1,
		};
		if (tagged)
			put_tag_back(&messages[used].msg_hdr, &tags[used],
				     batch_header(batch, start + used));
	}
	return sender_transmit(self, messages, used);
}

/* From start on: how many were taken, -1 with an exception. */
Py_ssize_t
sender_batch_send(struct sender *self, struct batch *batch, Py_ssize_t start)
{
	Py_ssize_t at = start;

	self->failure = 0;
	while (at < batch->count && self->failure == 0) {
		at += self->is_socket ? send_group(self, batch, at)
				      : write_all(self, batch, at);
		if (self->failure != EINTR)
			continue;
		self->failure = 0;
		if (PyErr_CheckSignals() < 0)
			return -1;
	}
	return at - start;
}
