/* One signature: one request on the connection's channel and its answer, waited for. Nothing else uses the channel, so
 * an answer to what was never asked, or of another type, is an error; one that comes after its question was given up is dropped. */
#include "ipc/key_client.h"

#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "ipc/key.h"

static int take_answer(uint16_t type, const void *msg, unsigned char *sig, size_t sig_max, size_t *sig_n_out, struct err *e)
{
	if (type == IPC_key_REFUSED) {
		const struct ipc_key_REFUSED *m = msg;

		return err_set(e, ERR_DENIED, 0, "key worker: %.*s", STR_ARG(m->text));
	}
	if (type != IPC_key_SIGNED)
		return err_set(e, ERR_BUG, 0, "key worker: unexpected answer %u", type);
	const struct str got = ((const struct ipc_key_SIGNED *)msg)->signature;
	if (got.n == 0 || got.n > sig_max)
		return err_set(e, ERR_BUG, 0, "key worker: a signature of %zu bytes", got.n);
	memcpy(sig, got.p, got.n);
	*sig_n_out = got.n;
	return 0;
}

/* One question and its answer, which lives in a. */
static int ask_worker(int channel, uint16_t ask_type, const void *ask, struct arena *a, uint16_t *type_out, void **msg_out, struct err *e)
{
	static uint32_t last_id;
	const uint32_t id = ++last_id;
	uint32_t got_id;
	int fd, got;

	if (ipc_send_fd(channel, &ipc_key, ask_type, ask, id, -1, e) < 0)
		return -1;
	do {
		fd = -1;
		got = ipc_recv_fd(channel, &ipc_key, KEY_CLIENT_MS, a, type_out, &got_id, msg_out, &fd, e);
		if (fd >= 0)
			close(fd);
	} while (got == 0 && (int32_t)(got_id - id) < 0);
	if (got < 0)
		return -1;
	return got_id == id ? 0 : err_set(e, ERR_BUG, 0, "key worker: an answer to another question");
}

static int ask_signature(int channel, uint16_t ask_type, const void *ask, unsigned char *sig, size_t sig_max, size_t *sig_n_out, struct err *e)
{
	struct arena *a = arena_new(0);
	uint16_t type;
	void *msg;
	int r = ask_worker(channel, ask_type, ask, a, &type, &msg, e);

	if (r == 0)
		r = take_answer(type, msg, sig, sig_max, sig_n_out, e);
	arena_free(&a);
	return r;
}

int key_client_sign(int channel, const char *scheme, struct str tbs, struct str cert_sha256, unsigned char *sig, size_t sig_max,
		    size_t *sig_n_out, struct err *e)
{
	const struct ipc_key_SIGN ask = { .scheme = str_c(scheme), .tbs = tbs, .cert_sha256 = cert_sha256 };

	return ask_signature(channel, IPC_key_SIGN, &ask, sig, sig_max, sig_n_out, e);
}

int key_client_sign_client(int channel, const char *scheme, struct str tbs, struct str cert_sha256, unsigned char *sig, size_t sig_max,
			   size_t *sig_n_out, struct err *e)
{
	const struct ipc_key_CLIENT ask = { .scheme = str_c(scheme), .tbs = tbs, .cert_sha256 = cert_sha256 };

	return ask_signature(channel, IPC_key_CLIENT, &ask, sig, sig_max, sig_n_out, e);
}

int key_client_known(int channel, struct str certs, bool known_out[KEY_KNOWN_MAX], struct err *e)
{
	const struct ipc_key_KNOWN ask = { .certs = certs };
	const size_t n = certs.n / KEY_CERT_BYTES;
	struct arena *a = arena_new(0);
	uint16_t type;
	void *msg;
	int r = n <= KEY_KNOWN_MAX ? 0 : err_set(e, ERR_BUG, 0, "too many certificates to ask about");

	if (r == 0)
		r = ask_worker(channel, IPC_key_KNOWN, &ask, a, &type, &msg, e);
	if (r == 0 && (type != IPC_key_KNOWS || ((const struct ipc_key_KNOWS *)msg)->flags.n != n))
		r = err_set(e, ERR_BUG, 0, "key worker: unexpected answer %u", type);
	for (size_t i = 0; r == 0 && i < n; i++)
		known_out[i] = ((const struct ipc_key_KNOWS *)msg)->flags.p[i] == 1;
	arena_free(&a);
	return r;
}
