/* sendmsg and recvmsg with descriptors. */
#include "ipc/packet.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

union fd_space {
	char bytes[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
	struct cmsghdr align;
};

int packet_send(int sock, const void *p, size_t n, const struct ipc_fds *fds, bool wait,
		struct err *e)
{
	union {
		const void *c;
		void *v;
	} data = { .c = p }; /* iovec has no const */
	struct iovec iov = { data.v, n };
	union fd_space space = { .bytes = { 0 } };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fds->n > 0) {
		const size_t bytes = fds->n * sizeof(int);

		mh.msg_control = space.bytes;
		mh.msg_controllen = CMSG_SPACE(bytes);
		struct cmsghdr *c = CMSG_FIRSTHDR(&mh);

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(bytes);
		memcpy(CMSG_DATA(c), fds->v, bytes);
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

void packet_close(struct ipc_fds *fds)
{
	while (fds->n > 0)
		close(fds->v[--fds->n]);
}

/* What does not fit into our space the kernel has closed, and said MSG_CTRUNC. */
static void take_fds(struct msghdr *mh, struct ipc_fds *out)
{
	out->n = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t off = CMSG_LEN(0);
		     off + sizeof(int) <= c->cmsg_len && out->n < IPC_FDS_MAX; off += sizeof(int))
			memcpy(&out->v[out->n++], (const char *)c + off, sizeof(int));
	}
}

int packet_recv(int sock, unsigned char *p, size_t *n_out, struct ipc_fds *fds_out, bool wait,
		struct err *e)
{
	struct iovec iov = { p, IPC_PACKET_MAX };
	union fd_space space;
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = space.bytes,
			     /* Not CMSG_SPACE: into what that rounds up to the kernel would put one more. */
			     .msg_controllen = CMSG_LEN(sizeof(int) * IPC_FDS_MAX) };
	ssize_t n;

	do
		n = recvmsg(sock, &mh, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
	/* A reset is reported once, before what the peer had sent: that is still to be read. */
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n < 0 && errno == EAGAIN)
		return 1;
	if (n < 0)
		return err_set(e, ERR_TEMP, errno, "recvmsg");
	take_fds(&mh, fds_out);
	if (n == 0 || (mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		packet_close(fds_out);
		if (n == 0)
			return err_set(e, ERR_CLOSED, 0, "the peer has closed");
		return err_set(e, ERR_INPUT, 0,
			       mh.msg_flags & MSG_TRUNC ? "packet too long"
							: "too many descriptors");
	}
	*n_out = (size_t)n;
	return 0;
}
