/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "filter.h"
#include "open.h"
#include "privilege.h"

/* The port lies at the same place in both. */
union endpoint {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

typedef int impl(struct job *job);

static impl impl_packet, impl_raw, impl_tcp, impl_udp, impl_route;

static const struct row {
	impl *open;
	int domain, type, protocol;
} rows[] = {
	[KIND_PACKET] = { impl_packet, AF_PACKET, SOCK_RAW, 0 },
	[KIND_PACKET_DGRAM] = { impl_packet, AF_PACKET, SOCK_DGRAM, 0 },
	[KIND_RAW4] = { impl_raw, AF_INET, SOCK_RAW, 0 },
	[KIND_RAW6] = { impl_raw, AF_INET6, SOCK_RAW, 0 },
	[KIND_PING4] = { impl_raw, AF_INET, SOCK_DGRAM, IPPROTO_ICMP },
	[KIND_PING6] = { impl_raw, AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6 },
	[KIND_TCP4] = { impl_tcp, AF_INET, SOCK_STREAM, IPPROTO_TCP },
	[KIND_TCP6] = { impl_tcp, AF_INET6, SOCK_STREAM, IPPROTO_TCP },
	[KIND_UDP4] = { impl_udp, AF_INET, SOCK_DGRAM, IPPROTO_UDP },
	[KIND_UDP6] = { impl_udp, AF_INET6, SOCK_DGRAM, IPPROTO_UDP },
	[KIND_TUN] = { impl_tun, 0, 0, 0 },
	[KIND_TAP] = { impl_tun, 0, 0, 0 },
	[KIND_DEVICE] = { impl_device, 0, 0, 0 },
	[KIND_ROUTE] = { impl_route, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE },
};

void open_job(struct job *job)
{
	job->fd = -1;
	if (rows[job->request.kind].open(job) == 0)
		return;
	/* The one way out of all failures: nothing half done is left. */
	if (job->fd >= 0)
		close(job->fd);
	job->fd = -1;
}

int open_fail(struct job *job, enum stage stage)
{
	return reply_fail(&job->reply, stage, errno);
}

static MUST_CHECK int open_socket(struct job *job)
{
	const struct row *row = &rows[job->request.kind];
	const int type = row->type | SOCK_CLOEXEC | SOCK_NONBLOCK;
	/* One of the two is 0. */
	const int protocol = row->protocol | job->request.protocol;

	if (privilege_raise(MAY_RAW) == 0)
		job->fd = privilege_lower(socket(row->domain, type, protocol));
	return job->fd < 0 ? open_fail(job, STAGE_SOCKET) : 0;
}

static MUST_CHECK int set(struct job *job, int level, int option, int value)
{
	return setsockopt(job->fd, level, option, &value, sizeof(value));
}

static MUST_CHECK int set_flagged(struct job *job, enum flag flag, int option,
				  uint32_t value)
{
	if (!(job->request.flags & flag))
		return 0;
	if (privilege_raise(MAY_ADMIN | MAY_RAW) == 0 &&
	    privilege_lower(set(job, SOL_SOCKET, option, (int)value)) == 0)
		return 0;
	open_fail(job, STAGE_OPTION);
	job->reply.detail = (uint16_t)(ffs((int)flag) - 1);
	return -1;
}

static MUST_CHECK int set_options(struct job *job)
{
	const struct request *request = &job->request;

	return set_flagged(job, FLAG_RECEIVE_BUFFER, SO_RCVBUFFORCE,
			   request->receive_buffer) ||
	       set_flagged(job, FLAG_SEND_BUFFER, SO_SNDBUFFORCE,
			   request->send_buffer) ||
	       set_flagged(job, FLAG_MARK, SO_MARK, request->mark) ||
	       set_flagged(job, FLAG_PRIORITY, SO_PRIORITY, request->priority);
}

/* Once, in the socket's own namespace; from here on it is the index. */
static MUST_CHECK int find_interface(struct job *job)
{
	struct ifreq interface = { 0 };

	if (!(job->request.flags & FLAG_INTERFACE))
		return 0;
	memcpy(interface.ifr_name, job->request.interface, INTERFACE_SIZE);
	if (ioctl(job->fd, SIOCGIFINDEX, &interface))
		return open_fail(job, STAGE_INTERFACE);
	job->reply.ifindex = (uint32_t)interface.ifr_ifindex;
	return 0;
}

static MUST_CHECK int bind_to_interface(struct job *job)
{
	/* It is bound to none from birth, which verify() sees to. */
	if (!(job->request.flags & FLAG_INTERFACE))
		return 0;
	if (find_interface(job))
		return -1;
	if (set(job, SOL_SOCKET, SO_BINDTOIFINDEX, (int)job->reply.ifindex))
		return open_fail(job, STAGE_INTERFACE);
	return 0;
}

static socklen_t write_endpoint(const struct job *job, union endpoint *endpoint)
{
	const struct request *request = &job->request;

	endpoint->v4.sin_port = htons(request->port);
	if (request_is_ipv4(request)) {
		endpoint->v4.sin_family = AF_INET;
		memcpy(&endpoint->v4.sin_addr, request->address,
		       sizeof(endpoint->v4.sin_addr));
		return sizeof(endpoint->v4);
	}
	endpoint->v6.sin6_family = AF_INET6;
	memcpy(&endpoint->v6.sin6_addr, request->address, ADDRESS_SIZE);
	if (request_is_link_local(request))
		endpoint->v6.sin6_scope_id = job->reply.ifindex;
	return sizeof(endpoint->v6);
}

static MUST_CHECK int bind_address(struct job *job)
{
	union endpoint endpoint = { 0 };
	const socklen_t size = write_endpoint(job, &endpoint);

	if (!(job->request.flags & (FLAG_ADDRESS | FLAG_PORT)))
		return 0;
	if (privilege_raise(MAY_BIND_LOW) ||
	    privilege_lower(bind(job->fd, &endpoint.any, size)))
		return open_fail(job, STAGE_BIND);
	return 0;
}

static MUST_CHECK int share_port(struct job *job)
{
	const struct request *request = &job->request;
	const bool tcp = rows[request->kind].protocol == IPPROTO_TCP;

	if (tcp && set(job, SOL_SOCKET, SO_REUSEADDR, 1))
		return open_fail(job, STAGE_SOCKET);
	/* So that one program can hold 0.0.0.0 and :: on the same port. */
	if (!request_is_ipv4(request) &&
	    set(job, IPPROTO_IPV6, IPV6_V6ONLY, 1))
		return open_fail(job, STAGE_SOCKET);
	return set_flagged(job, FLAG_REUSE_PORT, SO_REUSEPORT, 1);
}

static MUST_CHECK int start_listening(struct job *job)
{
	if (job->request.flags & FLAG_BACKLOG &&
	    listen(job->fd, job->request.backlog))
		return open_fail(job, STAGE_LISTEN);
	return 0;
}

static bool has(const struct job *job, int option, int expected)
{
	int value;
	socklen_t size = sizeof(value);

	return getsockopt(job->fd, SOL_SOCKET, option, &value, &size) == 0 &&
	       value == expected;
}

/* Some numbers are aliases in socket(2): only the socket knows what it is. */
static MUST_CHECK int verify(struct job *job)
{
	const struct request *request = &job->request;
	struct reply *reply = &job->reply;
	const struct row *row = &rows[request->kind];
	const int protocol = row->protocol | request->protocol;
	const uint32_t bound = request_is_packet(request) ? 0 : reply->ifindex;

	if (!has(job, SO_DOMAIN, row->domain) ||
	    !has(job, SO_TYPE, row->type) ||
	    !has(job, SO_PROTOCOL, protocol) ||
	    !has(job, SO_BINDTOIFINDEX, (int)bound) ||
	    !has(job, SO_LOCK_FILTER, (request->flags & FLAG_LOCK) != 0) ||
	    !has(job, SO_ACCEPTCONN, (request->flags & FLAG_BACKLOG) != 0))
		return reply_fail(reply, STAGE_VERIFY, EPROTO);
	reply->domain = (uint16_t)row->domain;
	reply->type = (uint16_t)row->type;
	reply->protocol = (uint16_t)protocol;
	return 0;
}

static MUST_CHECK int verify_port(struct job *job)
{
	union endpoint endpoint = { 0 };
	socklen_t size = sizeof(endpoint);

	if (getsockname(job->fd, &endpoint.any, &size))
		return open_fail(job, STAGE_VERIFY);
	job->reply.port = ntohs(endpoint.v4.sin_port);
	if (job->request.flags & FLAG_PORT &&
	    job->reply.port != job->request.port)
		return reply_fail(&job->reply, STAGE_VERIFY, EPROTO);
	return 0;
}

static int impl_packet(struct job *job)
{
	/* Of protocol 0, it receives nothing before its receiver binds it. */
	return open_socket(job) || find_interface(job) || set_options(job) ||
	       filter_set(job) || verify(job);
}

static int impl_raw(struct job *job)
{
	/* It receives from birth, and first more than it is to receive. */
	const bool stale = job->request.flags &
			   (FLAG_ADDRESS | FLAG_INTERFACE | FLAG_FILTER);

	return open_socket(job) || (stale && filter_drop_all(job)) ||
	       bind_to_interface(job) || set_options(job) ||
	       bind_address(job) ||
	       (stale && (filter_drain(job) || filter_replace(job))) ||
	       verify(job);
}

static int impl_udp(struct job *job)
{
	/* It receives from bind(2) on. */
	return open_socket(job) || find_interface(job) || filter_set(job) ||
	       share_port(job) || bind_to_interface(job) || set_options(job) ||
	       bind_address(job) || verify(job) || verify_port(job);
}

static int impl_tcp(struct job *job)
{
	return open_socket(job) || share_port(job) || bind_to_interface(job) ||
	       set_options(job) || bind_address(job) || start_listening(job) ||
	       verify(job) || verify_port(job);
}

/* Its holder can ask; to change anything the kernel wants his own right. */
static int impl_route(struct job *job)
{
	return open_socket(job) || verify(job);
}

/* To hold one proves nothing: /run/netns/x is everybody's to open. */
static bool is_own(int fd, const struct caller *caller)
{
	const int user = ioctl(fd, NS_GET_USERNS);
	uid_t owner;
	const int failed = user < 0 || ioctl(user, NS_GET_OWNER_UID, &owner);

	if (user >= 0)
		close(user);
	/* Root of a container is not the one that the host's belong to. */
	return !failed && owner == caller->uid &&
	       !(caller->mode == MODE_BROKER && owner == 0);
}

int open_find_site(int fd, const struct caller *caller,
		   const struct policy *policy, struct site *site)
{
	struct statfs system;
	struct stat status;

	*site = (struct site){ 0 };
	/* First, for an ioctl on what is not nsfs could do anything. */
	if (fstatfs(fd, &system) || system.f_type != NSFS_MAGIC ||
	    ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET || fstat(fd, &status))
		return -1;
	if (is_own(fd, caller))
		site->places |= PLACE_OWN;
	for (size_t i = 0; i < policy->namespace_count; i++)
		if (policy->namespaces[i].fd >= 0 &&
		    policy->namespaces[i].device == status.st_dev &&
		    policy->namespaces[i].inode == status.st_ino)
			site->namespaces |= 1U << i;
	return 0;
}

int open_enter_namespace(int fd)
{
	if (privilege_raise(MAY_ENTER))
		return -1;
	return privilege_lower(setns(fd, CLONE_NEWNET));
}
