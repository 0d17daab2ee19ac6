/* SPDX-License-Identifier: MIT */
/*
 * The header that comes before each packet of a device with IFF_VNET_HDR, and
 * where it is kept: in the ancillary data of a packet that is larger than one
 * on the wire, as packet sockets call it (PACKET_VNET_HDR, packet(7)).
 *
 * Source: linux/virtio_net.h; the numbers are in this machine's byte order
 * (drivers/net/tun.c, unless TUNSETVNETBE).
 */
#include "vnet.h"

#include "inetsum.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <string.h>
#include <unistd.h>

/*
 * Sums up what the kernel left open: the field holds the sum of the pseudo
 * header.  Not where each segment will have a sum of its own.  False where the
 * header points outside of the packet.
 */
static bool
complete(const struct virtio_net_hdr *header, unsigned char *data,
	 size_t length)
{
	size_t start = header->csum_start;
	size_t field = start + header->csum_offset;
	uint16_t sum;

	if ((header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0 ||
	    header->gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return true;
	if (field + sizeof(sum) > length)
		return false;
	sum = (uint16_t)~inetsum(data + start, length - start);
	/* Of UDP, 0 would mean that there is none; to TCP they are equal. */
	if (sum == 0)
		sum = 0xffff;
	memcpy(data + field, &sum, sizeof(sum));
	return true;
}

/* Whether a descriptor may have headers of this size; else an exception. */
bool
vnet_check_header(Py_ssize_t header, int is_socket)
{
	if (header == 0 || (!is_socket && header >= VNET_HEADER &&
			    header <= VNET_HEADER_MAX))
		return true;
	PyErr_Format(PyExc_ValueError,
		     "header must be 0, or of a device %d to %d, not %zd",
		     VNET_HEADER, VNET_HEADER_MAX, header);
	return false;
}

/* As read(2), of a packet with its header before it. */
ssize_t
vnet_read(int fd, size_t header, unsigned char *buffer, size_t size)
{
	ssize_t length = read(fd, buffer, size);

	if (length <= 0)
		return length;
	if ((size_t)length < header ||
	    !complete((const struct virtio_net_hdr *)(void *)buffer,
		      buffer + header, (size_t)length - header)) {
		errno = EPROTO;
		return -1;
	}
	return length;
}

/* NULL with an exception. */
PyObject *
vnet_ancdata(const struct virtio_net_hdr *header)
{
	return Py_BuildValue("((iiy#))", SOL_PACKET, PACKET_VNET_HDR,
			     (const char *)header, (Py_ssize_t)VNET_HEADER);
}

/* The header among ancillary data, which may be NULL; false: there is none. */
bool
vnet_find(PyObject *ancdata, struct virtio_net_hdr *header)
{
	Py_ssize_t count = ancdata == NULL ? 0 : PyTuple_Size(ancdata);

	for (Py_ssize_t i = 0; i < count; i++) {
		PyObject *item = PyTuple_GetItem(ancdata, i);
		PyObject *data = PyTuple_GetItem(item, 2);

		if (PyLong_AsLong(PyTuple_GetItem(item, 0)) == SOL_PACKET &&
		    PyLong_AsLong(PyTuple_GetItem(item, 1)) ==
			    PACKET_VNET_HDR &&
		    PyBytes_Check(data) && PyBytes_Size(data) >= VNET_HEADER) {
			memcpy(header, PyBytes_AsString(data), VNET_HEADER);
			return true;
		}
	}
	return false;
}

/*
 * What goes before a packet to a device with headers of this size: zeros,
 * where it is of wire size and complete.  false: the device has none, and the
 * packet needs one.
 */
bool
vnet_put(unsigned char *at, size_t size, PyObject *ancdata)
{
	struct virtio_net_hdr header;

	memset(at, 0, size);
	if (!vnet_find(ancdata, &header))
		return true;
	if (size == 0)
		return header.gso_type == VIRTIO_NET_HDR_GSO_NONE;
	memcpy(at, &header, sizeof(header));
	return true;
}
