/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "open.h"
#include "privilege.h"
#include "tun.h"

/* A packet's length in a filter's answer: more than any packet has. */
enum { WHOLE_PACKET = 262144 };

enum { PROLOGUE = 4 };

static const struct shape {
	int domain;
	int type;
	int protocol;
} shapes[] = {
	[KIND_PACKET] = { AF_PACKET, SOCK_RAW, 0 },
	[KIND_PACKET_DGRAM] = { AF_PACKET, SOCK_DGRAM, 0 },
	[KIND_RAW4] = { AF_INET, SOCK_RAW, 0 },
	[KIND_RAW6] = { AF_INET6, SOCK_RAW, 0 },
	[KIND_PING4] = { AF_INET, SOCK_DGRAM, IPPROTO_ICMP },
	[KIND_PING6] = { AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6 },
	[KIND_TCP4] = { AF_INET, SOCK_STREAM, IPPROTO_TCP },
	[KIND_TCP6] = { AF_INET6, SOCK_STREAM, IPPROTO_TCP },
	[KIND_UDP4] = { AF_INET, SOCK_DGRAM, IPPROTO_UDP },
	[KIND_UDP6] = { AF_INET6, SOCK_DGRAM, IPPROTO_UDP },
};

static struct shape shape_of(const struct request *request)
{
	struct shape shape = shapes[request->kind];

	/* Zero in a request of any kind but raw4 and raw6. */
	shape.protocol |= request->protocol;
	return shape;
}

static MUST_CHECK int create_socket(const struct request *request,
				    struct reply *reply)
{
	const struct shape shape = shape_of(request);

	if (privilege_raise(MAY_RAW))
		return reply_fail(reply, STAGE_INTERNAL, errno);
	const int fd = socket(shape.domain,
			      shape.type | SOCK_CLOEXEC | SOCK_NONBLOCK,
			      shape.protocol);
	const int error = errno;

	if (privilege_lower()) {
		reply_fail(reply, STAGE_INTERNAL, errno);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd >= 0 ? fd : reply_fail(reply, STAGE_SOCKET, error);
}

static MUST_CHECK int set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value));
}

static MUST_CHECK int get_int(int fd, int option)
{
	int value;
	socklen_t size = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &size) ? -1 : value;
}

/* The name is looked up once, in the socket's own namespace. */
static MUST_CHECK int find_interface(int fd, const struct request *request,
				     struct reply *reply)
{
	struct ifreq interface = { 0 };

	if (!request_has(request, FLAG_INTERFACE))
		return 0;
	memcpy(interface.ifr_name, request->interface, INTERFACE_SIZE);
	if (ioctl(fd, SIOCGIFINDEX, &interface))
		return reply_fail(reply, STAGE_INTERFACE, errno);
	reply->ifindex = (uint32_t)interface.ifr_ifindex;
	return 0;
}

static MUST_CHECK int bind_to_interface(int fd, const struct request *request,
					struct reply *reply)
{
	if (!request_has(request, FLAG_INTERFACE))
		return 0;
	if (find_interface(fd, request, reply))
		return -1;
	if (set_int(fd, SOL_SOCKET, SO_BINDTOIFINDEX, (int)reply->ifindex))
		return reply_fail(reply, STAGE_INTERFACE, errno);
	return 0;
}

static MUST_CHECK int set_options(int fd, const struct request *request,
				  struct reply *reply)
{
	const struct {
		enum flag flag;
		int option;
		uint32_t value;
	} options[] = {
		{ FLAG_RECEIVE_BUFFER, SO_RCVBUFFORCE,
		  request->receive_buffer },
		{ FLAG_SEND_BUFFER, SO_SNDBUFFORCE, request->send_buffer },
		{ FLAG_MARK, SO_MARK, request->mark },
		{ FLAG_PRIORITY, SO_PRIORITY, request->priority },
	};
	size_t i = 0;

	if (privilege_raise(MAY_ADMIN | MAY_RAW))
		return reply_fail(reply, STAGE_INTERNAL, errno);
	for (; i < sizeof(options) / sizeof(options[0]); i++)
		if (request_has(request, options[i].flag) &&
		    set_int(fd, SOL_SOCKET, options[i].option,
			    (int)options[i].value))
			break;
	const int error = errno;

	if (privilege_lower())
		return reply_fail(reply, STAGE_INTERNAL, errno);
	if (i == sizeof(options) / sizeof(options[0]))
		return 0;
	reply_fail(reply, STAGE_OPTION, error);
	reply->detail = (uint16_t)(ffs((int)options[i].flag) - 1);
	return -1;
}

static MUST_CHECK int bind_address(int fd, const struct request *request,
				   struct reply *reply)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} address = { 0 };
	socklen_t size = sizeof(address.v6);

	if (!(request->flags & (FLAG_ADDRESS | FLAG_PORT)))
		return 0;
	if (request_is_ipv4(request)) {
		size = sizeof(address.v4);
		address.v4.sin_family = AF_INET;
		address.v4.sin_port = htons(request->port);
		memcpy(&address.v4.sin_addr, request->address,
		       sizeof(address.v4.sin_addr));
	} else {
		address.v6.sin6_family = AF_INET6;
		address.v6.sin6_port = htons(request->port);
		memcpy(&address.v6.sin6_addr, request->address, ADDRESS_SIZE);
		if (request_is_link_local(request))
			address.v6.sin6_scope_id = reply->ifindex;
	}
	if (privilege_raise(MAY_BIND_LOW))
		return reply_fail(reply, STAGE_INTERNAL, errno);
	const int failed = bind(fd, &address.any, size);
	const int error = errno;

	if (privilege_lower())
		return reply_fail(reply, STAGE_INTERNAL, errno);
	return failed ? reply_fail(reply, STAGE_BIND, error) : 0;
}

static bool is_confined(const struct request *request)
{
	return request_is_packet(request) &&
	       request_has(request, FLAG_LOCK) &&
	       request_has(request, FLAG_INTERFACE);
}

/*
 * The filter as it will be attached; its length, 0 for none. Only a filter
 * confines a packet socket: the receiver can bind it anew at will.
 */
static size_t build_filter(const struct request *request, uint32_t ifindex,
			   struct sock_filter *code)
{
	size_t count = 0;

	if (is_confined(request)) {
		const struct sock_filter prologue[PROLOGUE] = {
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
				 (uint32_t)(SKF_AD_OFF + SKF_AD_IFINDEX)),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ifindex, 1, 0),
			BPF_STMT(BPF_RET | BPF_K, 0),
			/* A filter may count on finding a zero in A. */
			BPF_STMT(BPF_LD | BPF_IMM, 0),
		};

		memcpy(code, prologue, sizeof(prologue));
		count = PROLOGUE;
		if (request->filter_count == 0)
			code[count++] = (struct sock_filter)BPF_STMT(
				BPF_RET | BPF_K, WHOLE_PACKET);
	}
	memcpy(code + count, request->filter,
	       request->filter_count * sizeof(code[0]));
	return count + request->filter_count;
}

static MUST_CHECK int attach(int fd, struct sock_filter *code, size_t count)
{
	const struct sock_fprog program = {
		.len = (unsigned short)count,
		.filter = code,
	};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program,
			  sizeof(program));
}

/* In place of any filter that is there, without a moment of none. */
static MUST_CHECK int set_filter(int fd, const struct request *request,
				 struct reply *reply)
{
	struct sock_filter code[PROLOGUE + BPF_MAXINSNS];
	const size_t count = build_filter(request, reply->ifindex, code);

	if (count > 0 && attach(fd, code, count))
		return reply_fail(reply, STAGE_FILTER, errno);
	if (request_has(request, FLAG_LOCK) &&
	    set_int(fd, SOL_SOCKET, SO_LOCK_FILTER, 1))
		return reply_fail(reply, STAGE_FILTER, errno);
	return 0;
}

static MUST_CHECK int drop_everything(int fd, struct reply *reply)
{
	struct sock_filter nothing[] = { BPF_STMT(BPF_RET | BPF_K, 0) };

	if (attach(fd, nothing, sizeof(nothing) / sizeof(nothing[0])))
		return reply_fail(reply, STAGE_FILTER, errno);
	return 0;
}

/* Ends: nothing new gets past the filter. */
static MUST_CHECK int drain(int fd, struct reply *reply)
{
	char byte;

	while (recv(fd, &byte, sizeof(byte), MSG_DONTWAIT | MSG_TRUNC) >= 0)
		continue;
	if (errno != EAGAIN && errno != EWOULDBLOCK)
		return reply_fail(reply, STAGE_FILTER, errno);
	return 0;
}

static MUST_CHECK int impl_packet(int fd, const struct request *request,
				  struct reply *reply)
{
	if (find_interface(fd, request, reply) ||
	    set_options(fd, request, reply))
		return -1;
	return set_filter(fd, request, reply);
}

static MUST_CHECK int impl_raw(int fd, const struct request *request,
			       struct reply *reply)
{
	if (drop_everything(fd, reply) ||
	    bind_to_interface(fd, request, reply) ||
	    set_options(fd, request, reply) ||
	    bind_address(fd, request, reply) || drain(fd, reply))
		return -1;
	if (request_has(request, FLAG_FILTER))
		return set_filter(fd, request, reply);
	if (set_int(fd, SOL_SOCKET, SO_DETACH_FILTER, 0))
		return reply_fail(reply, STAGE_FILTER, errno);
	return 0;
}

static MUST_CHECK int set_up_port(int fd, const struct request *request,
				  struct reply *reply)
{
	/* So that one program can hold 0.0.0.0 and :: on the same port. */
	if (!request_is_ipv4(request) &&
	    set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1))
		return reply_fail(reply, STAGE_SOCKET, errno);
	if (request_has(request, FLAG_REUSE_PORT) &&
	    set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1)) {
		reply_fail(reply, STAGE_OPTION, errno);
		reply->detail = (uint16_t)(ffs(FLAG_REUSE_PORT) - 1);
		return -1;
	}
	if (bind_to_interface(fd, request, reply) ||
	    set_options(fd, request, reply))
		return -1;
	return bind_address(fd, request, reply);
}

static MUST_CHECK int impl_udp(int fd, const struct request *request,
			       struct reply *reply)
{
	/* First: it receives from bind(2) on. */
	if (set_filter(fd, request, reply))
		return -1;
	return set_up_port(fd, request, reply);
}

static MUST_CHECK int impl_tcp(int fd, const struct request *request,
			       struct reply *reply)
{
	if (set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1))
		return reply_fail(reply, STAGE_SOCKET, errno);
	if (set_up_port(fd, request, reply))
		return -1;
	if (request_has(request, FLAG_BACKLOG) && listen(fd, request->backlog))
		return reply_fail(reply, STAGE_LISTEN, errno);
	return 0;
}

static MUST_CHECK int find_port(int fd, const struct request *request,
				struct reply *reply)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} address = { 0 };
	socklen_t size = sizeof(address);

	if (getsockname(fd, &address.any, &size))
		return -1;
	reply->port = ntohs(request_is_ipv4(request) ? address.v4.sin_port :
						       address.v6.sin6_port);
	return request->port == 0 || request->port == reply->port ? 0 : -1;
}

/* Some numbers have aliases in socket(2): the socket must say it itself. */
static MUST_CHECK int verify(int fd, const struct request *request,
			     struct reply *reply)
{
	const struct shape shape = shape_of(request);
	const bool packet = request_is_packet(request);
	const bool ported = shape.protocol == IPPROTO_TCP ||
			    shape.protocol == IPPROTO_UDP;

	if (get_int(fd, SO_DOMAIN) != shape.domain ||
	    get_int(fd, SO_TYPE) != shape.type ||
	    get_int(fd, SO_PROTOCOL) != shape.protocol)
		return -1;
	if (get_int(fd, SO_BINDTOIFINDEX) !=
	    (packet ? 0 : (int)reply->ifindex))
		return -1;
	if (get_int(fd, SO_LOCK_FILTER) != request_has(request, FLAG_LOCK) ||
	    get_int(fd, SO_ACCEPTCONN) != request_has(request, FLAG_BACKLOG))
		return -1;
	if (ported && shape.type != SOCK_RAW && find_port(fd, request, reply))
		return -1;
	reply->domain = (uint16_t)shape.domain;
	reply->type = (uint16_t)shape.type;
	reply->protocol = (uint16_t)shape.protocol;
	return 0;
}

static MUST_CHECK int create(const struct request *request,
			     struct reply *reply)
{
	switch (request->kind) {
	case KIND_PACKET:
	case KIND_PACKET_DGRAM:
	case KIND_RAW4:
	case KIND_RAW6:
	case KIND_PING4:
	case KIND_PING6:
	case KIND_TCP4:
	case KIND_TCP6:
	case KIND_UDP4:
	case KIND_UDP6:
		return create_socket(request, reply);
	case KIND_TUN:
	case KIND_TAP:
		return device_open("net/tun", reply);
	case KIND_DEVICE:
		return device_open(request->device, reply);
	case KIND_NONE:
		break;
	}
	return reply_fail(reply, STAGE_INTERNAL, EINVAL);
}

static MUST_CHECK int prepare(int fd, const struct request *request,
			      const struct caller *caller, struct reply *reply)
{
	int failed = -1;

	switch (request->kind) {
	case KIND_PACKET:
	case KIND_PACKET_DGRAM:
		failed = impl_packet(fd, request, reply);
		break;
	case KIND_RAW4:
	case KIND_RAW6:
	case KIND_PING4:
	case KIND_PING6:
		failed = impl_raw(fd, request, reply);
		break;
	case KIND_TCP4:
	case KIND_TCP6:
		failed = impl_tcp(fd, request, reply);
		break;
	case KIND_UDP4:
	case KIND_UDP6:
		failed = impl_udp(fd, request, reply);
		break;
	case KIND_TUN:
	case KIND_TAP:
		return impl_tun(fd, request, caller, reply);
	case KIND_DEVICE:
		return 0;
	case KIND_NONE:
		return reply_fail(reply, STAGE_INTERNAL, EINVAL);
	}
	if (failed)
		return -1;
	if (verify(fd, request, reply))
		return reply_fail(reply, STAGE_VERIFY, EIO);
	return 0;
}

int open_request(const struct request *request, const struct caller *caller,
		 struct reply *reply)
{
	const int fd = create(request, reply);

	if (fd < 0)
		return -1;
	if (prepare(fd, request, caller, reply) == 0)
		return fd;
	close(fd);
	return -1;
}

/* The user namespace's owner is who made the network namespace's. */
static MUST_CHECK int find_owner(int fd, uid_t *owner)
{
	const int user = ioctl(fd, NS_GET_USERNS);
	int failed;

	if (user < 0)
		return -1;
	failed = ioctl(user, NS_GET_OWNER_UID, owner);
	close(user);
	return failed ? -1 : 0;
}

int open_check_namespace(int fd, const struct caller *caller)
{
	struct statfs system;
	uid_t owner;

	/* Before the first ioctl: a device's ioctl could do anything. */
	if (fstatfs(fd, &system) || system.f_type != NSFS_MAGIC)
		return -1;
	if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
		return -1;
	if (caller->mode == MODE_PLAIN || caller->uid == 0)
		return 0;
	/* To hold it proves nothing: /run/netns/x is everybody's to open. */
	return find_owner(fd, &owner) == 0 && owner == caller->uid ? 0 : -1;
}

int open_enter_namespace(int fd)
{
	if (privilege_raise(MAY_ENTER))
		return -1;
	const int failed = setns(fd, CLONE_NEWNET);

	return privilege_lower() || failed ? -1 : 0;
}
