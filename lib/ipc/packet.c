/* sendmsg and recvmsg with at most one descriptor. */
#include "ipc/packet.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FDS_TAKEN_MAX = 4 }; /* received, then closed, when a peer sends more than the one it may */

union fd_space {
	char bytes[CMSG_SPACE(sizeof(int) * FDS_TAKEN_MAX)];
	struct cmsghdr align;
};

int packet_send(int sock, const void *p, size_t n, int fd, bool wait, struct err *e)
{
	union {
		const void *c;
		void *v;
	} data = { .c = p }; /* iovec has no const */
	struct iovec iov = { data.v, n };
	union fd_space space = { .bytes = { 0 } };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		mh.msg_control = space.bytes;
		mh.msg_controllen = CMSG_SPACE(sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&mh);

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	for (;;) {
		if (sendmsg(sock, &mh, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT)) >= 0)
			return 0;
		/* Too many of our descriptors are under way to peers that are slow to take them: as good as full. */
		if (errno == EAGAIN || (errno == ETOOMANYREFS && !wait))
			return 1;
		if (errno != EINTR)
			break;
	}
	if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN)
		return err_set(e, ERR_CLOSED, 0, "the peer has closed");
	return err_set(e, ERR_TEMP, errno, "sendmsg");
}

/* Collects descriptors: the first in *first, the others are closed. Returns how many came. */
static unsigned take_fds(struct msghdr *mh, int *first)
{
	unsigned count = 0;

	*first = -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t off = CMSG_LEN(0); off + sizeof(int) <= c->cmsg_len;
		     off += sizeof(int)) {
			int fd;

			memcpy(&fd, (const char *)c + off, sizeof(int));
			if (count++ == 0)
				*first = fd;
			else
				close(fd);
		}
	}
	return count;
}

int packet_recv(int sock, unsigned char *p, size_t *n_out, int *fd_out, struct err *e)
{
	struct iovec iov = { p, IPC_PACKET_MAX };
	union fd_space space;
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = space.bytes,
			     .msg_controllen = sizeof(space.bytes) };
	ssize_t n;
	int fd;

	do
		n = recvmsg(sock, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	/* A reset is reported once, before what the peer had sent: that is still to be read. */
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n < 0 && errno == EAGAIN)
		return 1;
	if (n < 0)
		return err_set(e, ERR_TEMP, errno, "recvmsg");
	const unsigned fds = take_fds(&mh, &fd);

	if (fds > 1 || (mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		if (fd >= 0)
			close(fd);
		return err_set(e, ERR_INPUT, 0,
			       mh.msg_flags & MSG_TRUNC ? "packet too long"
							: "too many descriptors");
	}
	if (n == 0) {
		if (fd >= 0)
			close(fd);
		return err_set(e, ERR_CLOSED, 0, "the peer has closed");
	}
	*n_out = (size_t)n;
	*fd_out = fd;
	return 0;
}
