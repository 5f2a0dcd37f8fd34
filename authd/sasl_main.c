/* authd-sasl: libsasl2 in a process of its own. The zygote loads the library and the PLAIN and LOGIN plugins, then gives up everything; each
 * exchange runs in a fork that knows one client's steps. After a right login it may be asked again, for the same user, with nothing left of the
 * last one: what the library frees is overwritten, and so are the messages. Every option of the library is answered here, so no file outside decides;
 * no auxprop, no saslauthd. Whether a password is right is not found out here: the callback takes it for right, so that the library says all that it has to
 * say; a name that it would let in goes to the monitor, with the password in a descriptor for a check worker. That is the last word here, and only the check
 * worker's counts. (RFC 4616 PLAIN, RFC 4422 framing; LOGIN is a draft that clients use.) */
#include <errno.h>
#include <malloc.h>
#include <sasl/sasl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "authd/helper.h"
#include "authd/passfile.h"
#include "base/arena.h"
#include "base/enc.h"
#include "ipc/helper.h"
#include "log/log.h"
#include "os/os.h"

enum { WAIT_CLIENT_MS = 600000, GIVEN_MAX = 512, STEP_MAX = 16384 };

static struct exchange {
	const struct helper *h;
	int channel;
	uint32_t id;
	char given[GIVEN_MAX + 1];
	uint8_t tag[32];
	int password_fd;	/* -1: no password has come */
} exchange;

static const struct { const char *option, *value; } options[] = {
	{ "mech_list", "PLAIN LOGIN" },
	{ "pwcheck_method", "none" },		/* behind our callback there is nothing to ask */
	{ "auxprop_plugin", "none" },
	{ "canon_user_plugin", "INTERNAL" },
	{ "auto_transition", "no" },
	{ "log_level", "1" },
};

static int on_getopt(void *ctx, const char *plugin, const char *option, const char **result, unsigned *len)
{
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		if (strcmp(option, options[i].option) == 0) {
			*result = options[i].value;
			if (len)
				*len = (unsigned)strlen(options[i].value);
			return SASL_OK;
		}
	}
	return SASL_FAIL;
}

/* Of all plugins on the machine only these are loaded. */
static int on_verifyfile(void *ctx, const char *file, sasl_verify_type_t type)
{
	static const char *const names[] = { "libplain.so", "liblogin.so" };
	const char *base = strrchr(file, '/');

	if (type != SASL_VRFY_PLUGIN)
		return SASL_CONTINUE;
	base = base ? base + 1 : file;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strncmp(base, names[i], strlen(names[i])) == 0)
			return SASL_OK;
	return SASL_CONTINUE;
}

static int on_log(void *ctx, int level, const char *message)
{
	if (level <= SASL_LOG_ERR && !strstr(message, "unknown password verifier"))
		log_debug("libsasl2: %s", message);
	return SASL_OK;
}

static void send_or_exit(uint16_t type, const void *msg, int fd)
{
	struct err e = { 0 };

	if (ipc_send_fd(exchange.channel, &ipc_helper, type, msg, exchange.id, fd, &e) < 0)
		_exit(0);
}

/* The next message for us, of this exchange or of a new one; the process ends when the monitor does not want us any more. */
static void *wait_for(struct arena *a, uint16_t *type, int *fd)
{
	struct err e = { 0 };
	uint32_t id;
	void *msg;

	if (ipc_recv_fd(exchange.channel, &ipc_helper, WAIT_CLIENT_MS, a, type, &id, &msg, fd, &e) < 0)
		_exit(0);
	if ((*type == IPC_helper_BEGIN) == (id == exchange.id))
		_exit(0);
	exchange.id = id;
	return msg;
}

static int on_checkpass(sasl_conn_t *conn, void *ctx, const char *user, const char *pass, unsigned pass_n, struct propctx *props)
{
	const struct str given = str_c(user), password = str_n(pass, pass_n);
	struct err e = { 0 };

	/* An empty password is never asked for: some back ends take it for an anonymous login. */
	if (exchange.password_fd >= 0 || given.n == 0 || given.n > GIVEN_MAX || pass_n == 0 || pass_n > PASSWORD_MAX || memchr(pass, 0, pass_n))
		return SASL_BADAUTH;
	memcpy(exchange.given, given.p, given.n + 1);
	helper_tag(exchange.h, given, password, exchange.tag);
	if (helper_password_put(password, &exchange.password_fd, &e) < 0) {
		log_warning("%s", e.text);
		return SASL_FAIL;
	}
	return SASL_OK;
}

/* The library would cut blanks and line ends off a name: such a name is refused instead, before anything looks it up. */
static int on_canon(sasl_conn_t *conn, void *ctx, const char *in, unsigned n, unsigned flags, const char *realm, char *out, unsigned max,
		    unsigned *n_out)
{
	if (n == 0 || n >= max || n > GIVEN_MAX)
		return SASL_BADAUTH;
	for (unsigned i = 0; i < n; i++)
		if (ch_ctl(in[i]) || ch_space(in[i]))
			return SASL_BADAUTH;
	memcpy(out, in, n);
	out[n] = 0;
	*n_out = n;
	return SASL_OK;
}

typedef int any_fn(void);
static const sasl_callback_t callbacks[] = {
	{ SASL_CB_GETOPT, (any_fn *)(uintptr_t)on_getopt, NULL },
	{ SASL_CB_VERIFYFILE, (any_fn *)(uintptr_t)on_verifyfile, NULL },
	{ SASL_CB_LOG, (any_fn *)(uintptr_t)on_log, NULL },
	{ SASL_CB_CANON_USER, (any_fn *)(uintptr_t)on_canon, NULL },
	{ SASL_CB_SERVER_USERDB_CHECKPASS, (any_fn *)(uintptr_t)on_checkpass, NULL },
	{ SASL_CB_LIST_END, NULL, NULL },
};

static enum err_code code_of(int r)
{
	switch (r) {
	case SASL_OK: return ERR_NONE;
	case SASL_BADPROT:
	case SASL_BADPARAM: return ERR_INPUT;
	case SASL_NOMEM:
	case SASL_FAIL: return exchange.password_fd >= 0 ? ERR_AUTH : ERR_TEMP;
	default: return ERR_AUTH;
	}
}

/* The library's last word must be the name that was checked. */
static bool lets_in(sasl_conn_t *conn, int r)
{
	const void *name = NULL;

	return r == SASL_OK && exchange.password_fd >= 0 && sasl_getprop(conn, SASL_USERNAME, &name) == SASL_OK && name &&
	       strcmp((const char *)name, exchange.given) == 0;
}

/* Nobody but who knows a password leaves a process behind: here it ends, and where the password was wrong the monitor ends it. */
static void refuse(int r)
{
	const struct ipc_helper_DONE done = { .code = r == SASL_OK ? ERR_AUTH : code_of(r), .given = str_c(exchange.given),
					      .text = r == SASL_OK ? (struct str){ 0 } : str_c(sasl_errstring(r, NULL, NULL)) };

	send_or_exit(IPC_helper_DONE, &done, -1);
	_exit(0);
}

/* One exchange. When it says the name it has forgotten the password. */
static void serve(struct arena *a)
{
	sasl_conn_t *conn = NULL;
	const char *out = NULL;
	unsigned out_n = 0;
	uint16_t type;
	int fd = -1;

	const struct ipc_helper_BEGIN *b = wait_for(a, &type, &fd);
	if (type != IPC_helper_BEGIN)
		_exit(0);
	int r = sasl_server_new(arena_cstr(a, b->service), "localhost", NULL, NULL, NULL, NULL, 0, &conn);
	if (r != SASL_OK)
		refuse(SASL_FAIL);
	r = sasl_server_start(conn, arena_cstr(a, b->mech), b->initial.p, (unsigned)b->initial.n, &out, &out_n);
	while (r == SASL_CONTINUE) {
		if (out_n > STEP_MAX)
			refuse(SASL_FAIL);
		send_or_exit(IPC_helper_CHALLENGE, &(struct ipc_helper_CHALLENGE){ .data = str_n(out ? out : "", out_n) }, -1);
		arena_wipe(a);
		const struct ipc_helper_STEP *s = wait_for(a, &type, &fd);
		if (type != IPC_helper_STEP)
			_exit(0);
		r = sasl_server_step(conn, s->data.p, (unsigned)s->data.n, &out, &out_n);
	}
	if (!lets_in(conn, r))
		refuse(r);
	sasl_dispose(&conn);
	arena_wipe(a);
	send_or_exit(IPC_helper_CREDS, &(struct ipc_helper_CREDS){ .given = str_c(exchange.given), .tag = str_n(exchange.tag, sizeof exchange.tag) },
		     exchange.password_fd);
	close_fd(&exchange.password_fd);
}

static void worker(const struct helper *h, int channel)
{
	struct arena *a = arena_new(0);
	struct err e = { 0 };

	/* The zygote may fork and end its workers; a worker, which has the client's bytes, may not: the others have the same uid. */
	if (!h->unconfined && confine_no_processes(&e) < 0) {
		log_error("%s", e.text);
		_exit(0);
	}
	for (uint32_t id = 0;; id = exchange.id) {
		mem_wipe(&exchange, sizeof exchange);
		exchange.h = h;
		exchange.channel = channel;
		exchange.id = id;
		exchange.password_fd = -1;
		serve(a);
	}
}

/* --- the library's memory: what is given back is overwritten --- */

static void *take(size_t n)
{
	return malloc(n);
}

static void *take_zeroed(size_t count, size_t size)
{
	return calloc(count, size);
}

static void give(void *p)
{
	if (p)
		mem_wipe(p, malloc_usable_size(p));
	free(p);
}

static void *resize(void *p, size_t n)
{
	const size_t had = p ? malloc_usable_size(p) : 0;
	void *new = malloc(n);

	if (!new)
		return NULL;
	if (p)
		memcpy(new, p, had < n ? had : n);
	give(p);
	return new;
}

int main(int argc, char **argv)
{
	struct helper h;

	helper_init(&h, argc, argv, "sasl");
	sasl_set_alloc(take, take_zeroed, resize, give);
	int r = sasl_server_init(callbacks, "postern");
	if (r != SASL_OK) {
		log_error("libsasl2 cannot be used: %s", sasl_errstring(r, NULL, NULL));
		return 78;
	}
	const char **mechs = sasl_global_listmech();
	bool plain = false;
	for (; mechs && *mechs; mechs++)
		plain = plain || strcmp(*mechs, "PLAIN") == 0;
	if (!plain)
		log_error("libsasl2 has no PLAIN mechanism: install its modules package");
	helper_confine(&h, CONFINE_AUTH_SASL, h.conf->user_sasl, NULL, 0);
	helper_setup(&h);
	zygote_run(&h, worker);
}
