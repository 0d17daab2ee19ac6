/* SPDX-License-Identifier: MIT */
/*
 * A message that brings a descriptor, and what kind of socket that is: what
 * the client of a helper does for each request, in one step each.  With the
 * objects that the socket module makes on the way, they take longer than the
 * helper does.
 */
#include "passing.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MESSAGE_MAX = 256 };

/* As many ints as were expected, and nothing else. */
static int
read_ints(PyObject *const *args, Py_ssize_t count, int *values,
	  Py_ssize_t expected)
{
	if (count != expected) {
		PyErr_Format(PyExc_TypeError, "expected %zd arguments, got %zd",
			     expected, count);
		return -1;
	}
	for (Py_ssize_t i = 0; i < count; i++) {
		long value = PyLong_AsLong(args[i]);

		if (value == -1 && PyErr_Occurred())
			return -1;
		if (value != (int)value) {
			PyErr_SetString(PyExc_OverflowError,
					"argument is no C int");
			return -1;
		}
		values[i] = (int)value;
	}
	return 0;
}

const char passing_receive_doc[] = PyDoc_STR(
	"receive_passed(fd, size, wait_ms, /)\n--\n\n"
	"A message of a socket and the descriptor that came with it.\n\n"
	"Returns the data, up to size of at most 256 bytes; the descriptor,\n"
	"close-on-exec and the caller's, or -1; and whether there was more\n"
	"company than that, or no room for it (MSG_CTRUNC). None: nothing has\n"
	"come within wait_ms, for which the calling thread is blocked.\n\n"
	"Raises:\n"
	"    OSError: What recvmsg(2) says.\n\n"
	"Source: unix(7), SCM_RIGHTS; cmsg(3).");

/* Only a hint: what is there is for recvmsg() to say. -1 with an exception. */
static int
wait_for_message(int fd, int wait_ms)
{
	struct pollfd waited = {.fd = fd, .events = POLLIN};
	int ready;

	if (wait_ms <= 0)
		return 0;
	Py_BEGIN_ALLOW_THREADS
	ready = poll(&waited, 1, wait_ms);
	Py_END_ALLOW_THREADS
	return ready < 0 && errno == EINTR ? PyErr_CheckSignals() : 0;
}

static int
passed_descriptor(struct msghdr *message)
{
	struct cmsghdr *item = CMSG_FIRSTHDR(message);
	int fd = -1;

	for (; item != NULL; item = CMSG_NXTHDR(message, item))
		if (item->cmsg_level == SOL_SOCKET &&
		    item->cmsg_type == SCM_RIGHTS &&
		    item->cmsg_len == CMSG_LEN(sizeof(fd)))
			memcpy(&fd, CMSG_DATA(item), sizeof(fd));
	return fd;
}

PyObject *
passing_receive(PyObject *Py_UNUSED(module), PyObject *const *args,
		Py_ssize_t count)
{
	char data[MESSAGE_MAX];
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = {.iov_base = data};
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		/* CMSG_SPACE would, by its padding, let in a second one. */
		.msg_controllen = CMSG_LEN(sizeof(int)),
	};
	PyObject *result;
	ssize_t length;
	int values[3], fd;

	if (read_ints(args, count, values, 3) < 0)
		return NULL;
	if (values[1] < 0 || values[1] > MESSAGE_MAX)
		return PyErr_Format(PyExc_ValueError, "size is not 0 to %d",
				    MESSAGE_MAX);
	part.iov_len = (size_t)values[1];
	if (wait_for_message(values[0], values[2]) < 0)
		return NULL;
	length = recvmsg(values[0], &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (length < 0) {
		if (errno == EAGAIN || errno == EINTR)
			Py_RETURN_NONE;
		return PyErr_SetFromErrno(PyExc_OSError);
	}
	fd = passed_descriptor(&message);
	result = Py_BuildValue("(y#iN)", data, (Py_ssize_t)length, fd,
			       PyBool_FromLong(message.msg_flags & MSG_CTRUNC));
	if (result == NULL && fd >= 0)
		close(fd);
	return result;
}

const char passing_kind_doc[] = PyDoc_STR(
	"socket_kind(fd, /)\n--\n\n"
	"Family, type and protocol of a socket, as it says itself.\n\n"
	"Raises:\n"
	"    OSError: ENOTSOCK: it is none.\n\n"
	"Source: socket(7), SO_DOMAIN, SO_TYPE, SO_PROTOCOL.");

PyObject *
passing_kind(PyObject *Py_UNUSED(module), PyObject *const *args,
	     Py_ssize_t count)
{
	static const int options[] = {SO_DOMAIN, SO_TYPE, SO_PROTOCOL};
	int fd, found[3];

	if (read_ints(args, count, &fd, 1) < 0)
		return NULL;
	for (int i = 0; i < 3; i++) {
		socklen_t size = sizeof(found[i]);

		if (getsockopt(fd, SOL_SOCKET, options[i], &found[i], &size) < 0)
			return PyErr_SetFromErrno(PyExc_OSError);
	}
	return Py_BuildValue("(iii)", found[0], found[1], found[2]);
}
