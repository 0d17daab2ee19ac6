/* SPDX-License-Identifier: MIT */
/*
 * What a system call left in the scratch, made into packets and counted.
 */
#include "batch.h"

#include "packet.h"
#include "vnet.h"

#include <netinet/ip.h>
#include <string.h>

static int
read_link_sender(struct receiver *self, struct packet *packet,
		 const struct sockaddr_ll *link)
{
	packet->address.packet = *link;
	packet->ifindex = link->sll_ifindex;
	packet->direction = (uint8_t)packet_direction(link->sll_pkttype);
	packet->ifname =
		ifnames_get(&self->ifnames, self->fd, link->sll_ifindex);
	return packet->ifname == NULL ? -1 : 0;
}

/* How much of a packet is there; with MSG_TRUNC, msg_len is what there was. */
static size_t
held(const struct receiver *self, const struct mmsghdr *slot)
{
	return slot->msg_len < self->size ? slot->msg_len : self->size;
}

/*
 * The header of a packet of a raw IPv4 socket, out of which the kernel would
 * take the sender and the time to live as well (net/ipv4/raw.c,
 * net/ipv4/ip_sockglue.c), for a tenth of what receiving a packet costs.
 */
static bool
read_ip_header(const struct receiver *self, const struct mmsghdr *slot,
	       struct iphdr *header)
{
	if (!self->skip_ip_header || held(self, slot) < sizeof(*header))
		return false;
	memcpy(header, slot->msg_hdr.msg_iov->iov_base, sizeof(*header));
	return true;
}

static void
set_ip_sender(union address *address, const struct iphdr *header)
{
	address->inet = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_addr.s_addr = header->saddr,
	};
}

static int
read_sender(struct receiver *self, struct packet *packet,
	    struct mmsghdr *slot)
{
	struct msghdr *message = &slot->msg_hdr;
	const struct sockaddr *name = message->msg_name;
	size_t length = message->msg_namelen;
	struct iphdr header;

	if (self->skip_ip_header) {
		if (read_ip_header(self, slot, &header)) {
			set_ip_sender(&packet->address, &header);
			control_write_ttl(message, header.ttl);
		}
		return 0;
	}
	if (length < sizeof(name->sa_family))
		return 0;
	if (name->sa_family == AF_UNIX) {
		PyObject *addr = address_build_unix(name, length);

		atomic_init(&packet->addr, addr);
		return addr == NULL ? -1 : 0;
	}
	if (name->sa_family == AF_PACKET)
		return read_link_sender(self, packet, message->msg_name);
	if (length > sizeof(packet->address))
		length = sizeof(packet->address);
	memcpy(&packet->address, name, length);
	return 0;
}

static int
take_header(struct packet *packet, const struct virtio_net_hdr *header)
{
	/* All others are complete as they are. */
	if (header->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return 0;
	packet->ancdata = vnet_ancdata(header);
	return packet->ancdata == NULL ? -1 : 0;
}

/*
 * What the packet starts with and the caller does not want: the header of a
 * device, or that of IPv4.
 */
static size_t
skipped(const struct receiver *self, const unsigned char *start, size_t length)
{
	size_t header;

	if (!self->skip_ip_header || length == 0)
		return self->header;
	/* IHL counts words of four bytes (RFC 791, 3.1). */
	header = (size_t)(start[0] & 0x0f) * 4;
	return header < length ? header : length;
}

static PyObject *
copy_data(const struct receiver *self, const struct mmsghdr *slot,
	  size_t *wire_len)
{
	const unsigned char *start = slot->msg_hdr.msg_iov->iov_base;
	size_t length = held(self, slot);
	size_t skip = skipped(self, start, length);

	*wire_len = slot->msg_len - skip;
	return PyBytes_FromStringAndSize((const char *)start + skip,
					 (Py_ssize_t)(length - skip));
}

static void
count(struct receiver *self, PyObject *data, bool truncated)
{
	self->packets++;
	self->bytes += (size_t)PyBytes_Size(data);
	self->truncated += truncated ? 1 : 0;
}

/* The packet in a slot; NULL with an exception. */
PyObject *
batch_packet(struct receiver *self, struct mmsghdr *slot)
{
	struct msghdr *message = &slot->msg_hdr;
	size_t wire_len;
	PyObject *data = copy_data(self, slot, &wire_len);
	struct packet *packet;

	if (data == NULL)
		return NULL;
	packet = packet_new(self->state->packet_type, data);
	if (packet == NULL)
		return NULL;
	packet->wire_len = (uint32_t)wire_len;
	if (read_sender(self, packet, slot) < 0 ||
	    control_read(message, packet, &self->overflow,
			 &self->last_ancdata) < 0) {
		Py_DECREF(packet);
		return NULL;
	}
	if (self->header > 0 && take_header(packet, message->msg_iov->iov_base) < 0) {
		Py_DECREF(packet);
		return NULL;
	}
	packet->truncated = packet->wire_len > (size_t)PyBytes_Size(data) ||
			    (message->msg_flags & MSG_TRUNC) != 0;
	count(self, data, packet->truncated);
	return (PyObject *)packet;
}

/* The packet of a frame that shows so many bytes of it; NULL with an exception. */
PyObject *
batch_frame(struct receiver *self, const struct tpacket2_hdr *header,
	    const struct sockaddr_ll *sender, size_t length)
{
	size_t held = length < self->size ? length : self->size;
	PyObject *data = PyBytes_FromStringAndSize(
		(const char *)header + header->tp_mac, (Py_ssize_t)held);
	struct packet *packet;

	if (data == NULL)
		return NULL;
	packet = packet_new(self->state->packet_type, data);
	if (packet == NULL)
		return NULL;
	if (read_link_sender(self, packet, sender) < 0) {
		Py_DECREF(packet);
		return NULL;
	}
	packet->timestamp_ns =
		(int64_t)header->tp_sec * 1000000000 + header->tp_nsec;
	packet->wire_len = header->tp_len > held ? header->tp_len
						 : (uint32_t)held;
	packet->truncated = packet->wire_len > held;
	control_read_vlan(packet, header->tp_status, header->tp_vlan_tci,
			  header->tp_vlan_tpid);
	count(self, data, packet->truncated);
	return (PyObject *)packet;
}

/* Python's object for it, built when it was not met before; or NULL. */
static PyObject *
find_sender(struct receiver *self, const union address *address)
{
	PyObject **known, *ifname = NULL;

	known = senders_find(&self->senders, address);
	if (known == NULL)
		return NULL;
	if (*known == NULL) {
		if (address->family == AF_PACKET) {
			ifname = ifnames_get(&self->ifnames, self->fd,
					     address->packet.sll_ifindex);
			if (ifname == NULL)
				return NULL;
		}
		*known = address_build(address, ifname);
		Py_XDECREF(ifname);
	}
	Py_XINCREF(*known);
	return *known;
}

static PyObject *
build_sender(struct receiver *self, const struct mmsghdr *slot)
{
	const struct msghdr *message = &slot->msg_hdr;
	union address address = {.raw = {0}};
	size_t length = message->msg_namelen;
	struct iphdr header;

	if (self->skip_ip_header) {
		if (!read_ip_header(self, slot, &header))
			Py_RETURN_NONE;
		set_ip_sender(&address, &header);
		return find_sender(self, &address);
	}
	if (length < sizeof(address.family))
		Py_RETURN_NONE;
	memcpy(&address, message->msg_name,
	       length < sizeof(address) ? length : sizeof(address));
	if (address.family == AF_UNIX)
		return address_build_unix(message->msg_name, length);
	return find_sender(self, &address);
}

/*
 * The bytes of the packet in a slot, and its sender; NULL with an exception.
 * Nobody will see the other things that came with it.
 */
PyObject *
batch_datagram(struct receiver *self, struct mmsghdr *slot, PyObject **addr)
{
	struct msghdr *message = &slot->msg_hdr;
	size_t wire_len;
	PyObject *data = copy_data(self, slot, &wire_len);

	if (message->msg_controllen > 0) {
		control_close_descriptors(message);
		wire_len = control_skim(message, wire_len, &self->overflow);
	}
	if (data == NULL)
		return NULL;
	*addr = build_sender(self, slot);
	if (*addr == NULL) {
		Py_DECREF(data);
		return NULL;
	}
	count(self, data, wire_len > (size_t)PyBytes_Size(data) ||
				  (message->msg_flags & MSG_TRUNC) != 0);
	return data;
}

/* Slots that nobody will see: what must not be left of them is closed. */
void
batch_discard(struct mmsghdr *slot, struct mmsghdr *end)
{
	for (; slot < end; slot++)
		control_close_descriptors(&slot->msg_hdr);
}

/* The packets of slots as a list; NULL with an exception. */
PyObject *
batch_list(struct receiver *self, struct mmsghdr *messages, int filled)
{
	PyObject *packets = PyList_New(filled);

	for (int slot = 0; packets != NULL && slot < filled; slot++) {
		PyObject *packet = batch_packet(self, &messages[slot]);

		if (packet == NULL)
			Py_CLEAR(packets);
		else
			PyList_SetItem(packets, slot, packet);
	}
	if (packets == NULL)
		batch_discard(messages, messages + filled);
	return packets;
}

/* Appends the packets of slots to a list: 0, or -1 with an exception. */
int
batch_append(struct receiver *self, PyObject *packets,
	     struct mmsghdr *messages, int filled)
{
	for (int slot = 0; slot < filled; slot++) {
		PyObject *packet = batch_packet(self, &messages[slot]);
		int failed = packet == NULL ? -1
					    : PyList_Append(packets, packet);

		Py_XDECREF(packet);
		if (failed < 0) {
			/* Also of those built: nobody will see the list. */
			batch_discard(messages, messages + filled);
			return -1;
		}
	}
	return 0;
}
