/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_VNET_H
#define AIOPROCKET_VNET_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <sys/socket.h>

enum {
	VNET_HEADER = sizeof(struct virtio_net_hdr),
	VNET_HEADER_MAX = 64,	/* what a device may be set to have */
};

/* Of struct virtio_net_hdr; since Linux 6.2. */
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

bool vnet_check_header(Py_ssize_t header, int is_socket);
ssize_t vnet_read(int fd, size_t header, unsigned char *buffer, size_t size);
PyObject *vnet_ancdata(const struct virtio_net_hdr *header);
bool vnet_put(unsigned char *at, size_t size, PyObject *ancdata);
bool vnet_find(PyObject *ancdata, struct virtio_net_hdr *header);

#endif
