/* SPDX-License-Identifier: MIT */
/* migrate_wire.c - messages of `mslot migrate-demo`; see migrate_wire.h. */
#include "migrate_wire.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

int wire_send(int fd, const struct wire_head *head, const void *payload)
{
	struct iovec iov[2] = {{(void *)(uintptr_t)head, sizeof(*head)},
			       {(void *)(uintptr_t)payload, head->payload}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = head->payload > 0 ? 2 : 1};

	while (msg.msg_iovlen > 0) {
		/* A peer that is gone is an answer, not a signal. */
		ssize_t n = sendmsg(fd, &msg, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		for (; msg.msg_iovlen > 0 && (size_t)n >= msg.msg_iov->iov_len; msg.msg_iovlen--)
			n -= (ssize_t)msg.msg_iov++->iov_len;
		if (msg.msg_iovlen > 0) {
			msg.msg_iov->iov_base = (char *)msg.msg_iov->iov_base + n;
			msg.msg_iov->iov_len -= (size_t)n;
		}
	}
	return 0;
}

int wire_receive(int fd, void *buf, size_t len_bytes)
{
	char *at = buf;

	while (len_bytes > 0) {
		const ssize_t n = recv(fd, at, len_bytes, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		at += n;
		len_bytes -= (size_t)n;
	}
	return 0;
}

int wire_expect(int fd, enum wire_type type, struct wire_head *head)
{
	return wire_receive(fd, head, sizeof(*head)) < 0 || head->type != type ? -1 : 0;
}
