/* Table and key files of DKIM. Who changes them holds a lock; a key's file is durable before the table names it, and the table forgets it before the file goes. */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "admin/dkim/dkim.h"
#include "authres/sigmake.h"
#include "base/enc.h"
#include "ipc/control.h"
#include "os/os.h"

enum { ANSWER_MS = 10000 };

static const char *path_of(const struct keyring *k, const char *rest)
{
	return arena_printf(k->a, "%s/%s", k->conf->state_directory, rest);
}

/* The file that is ours to write; a credential is the service manager's. */
static const char *key_path(const struct keyring *k, struct str domain, struct str selector)
{
	return dkim_key_path(k->a, k->conf->state_directory, "", domain, selector);
}

bool keyring_is_credential(const struct keyring *k, const struct dkim_row *row)
{
	const char *used = dkim_key_path(k->a, k->conf->state_directory, k->conf->dkim_credentials_directory, row->domain, row->selector);
	return strcmp(used, key_path(k, row->domain, row->selector)) != 0;
}

static int take_lock(struct keyring *k, struct err *e)
{
	const char *dir = path_of(k, DKIM_PRIVATE_DIR);
	if (dir_make(path_of(k, DKIM_TABLE_DIR), 0755, 0, 0, e) < 0 || dir_make(dir, 0700, 0, 0, e) < 0)
		return -1;
	k->lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (k->lock < 0 || flock(k->lock, LOCK_EX) < 0)
		return err_set(e, ERR_TEMP, errno, "%s", dir);
	return 0;
}

int keyring_open(struct keyring *k, bool change, struct err *e)
{
	struct buf text;
	const char *path = path_of(k, DKIM_TABLE_FILE);
	k->lock = -1;
	k->table = (struct dkim_table){ .n = 0 };
	if (change && take_lock(k, e) < 0)
		return -1;
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return 0;
	buf_init(&text, DKIM_TABLE_BYTES_MAX);
	int r = file_read(path, DKIM_TABLE_BYTES_MAX, &text, e);
	if (r == 0 && dkim_table_parse(k->a, buf_view(&text), &k->table, e) < 0)
		r = err_wrap(e, "%s", path);
	buf_fini(&text);
	return r;
}

void keyring_close(struct keyring *k)
{
	close_fd(&k->lock);
}

struct dkim_row *keyring_find(struct keyring *k, struct str domain, struct str selector)
{
	for (size_t i = 0; i < k->table.n; i++)
		if (str_case_eq(k->table.v[i].domain, domain) && str_case_eq(k->table.v[i].selector, selector))
			return &k->table.v[i];
	return NULL;
}

int keyring_save(struct keyring *k, struct err *e)
{
	struct buf text;
	buf_init(&text, DKIM_TABLE_BYTES_MAX);
	dkim_table_format(&k->table, &text);
	int r = buf_check(&text, "the table of keys", e);
	if (r == 0)
		r = file_replace(path_of(k, DKIM_TABLE_FILE), buf_view(&text), 0644, 0, 0, e);
	buf_fini(&text);
	return r;
}

static void append(struct keyring *k, struct dkim_row row)
{
	struct dkim_row *v = ARENA_ARRAY(k->a, struct dkim_row, k->table.n + 1);
	if (k->table.n > 0)
		memcpy(v, k->table.v, k->table.n * sizeof(*v));
	v[k->table.n++] = row;
	k->table.v = v;
}

/* The row as the table would read it: so that no name gets into it that it does not take. */
static int make_row(struct keyring *k, struct str domain, struct str selector, enum sig_kind kind, struct dkim_row *out, struct err *e)
{
	struct dkim_table t;
	const char *line = arena_printf(k->a, "%.*s %.*s %s %s %lld", STR_ARG(domain), STR_ARG(selector), sig_kind_name(kind), dkim_state_name(DKIM_NEW),
					(long long)time(NULL));
	if (dkim_table_parse(k->a, str_c(line), &t, e) < 0 || t.n != 1)
		return err_set(e, ERR_INPUT, 0, "\"%.*s\" or \"%.*s\" is no name of a domain or selector", STR_ARG(domain), STR_ARG(selector));
	*out = t.v[0];
	return 0;
}

int keyring_add(struct keyring *k, struct str domain, struct str selector, struct str pem, struct err *e)
{
	struct sign_key *key;
	struct dkim_row row = { 0 };
	if (sign_key_load(pem, &key, e) < 0)
		return -1;
	const enum sig_kind kind = sign_key_kind(key);
	sign_key_free(&key);
	if (make_row(k, domain, selector, kind, &row, e) < 0)
		return -1;
	if (keyring_find(k, domain, selector) != NULL)
		return err_set(e, ERR_EXISTS, 0, "%.*s has a key %.*s already", STR_ARG(domain), STR_ARG(selector));
	if (k->table.n == DKIM_TABLE_ROWS_MAX)
		return err_set(e, ERR_LIMIT, 0, "there are %d keys already", DKIM_TABLE_ROWS_MAX);
	if (file_replace(key_path(k, row.domain, row.selector), pem, 0600, 0, 0, e) < 0)
		return -1;
	append(k, row);
	return keyring_save(k, e);
}

int keyring_remove(struct keyring *k, struct dkim_row *row, struct err *e)
{
	const char *path = key_path(k, row->domain, row->selector);
	const size_t at = (size_t)(row - k->table.v);
	memmove(row, row + 1, (k->table.n - at - 1) * sizeof(*row));
	k->table.n--;
	if (keyring_save(k, e) < 0)
		return -1;
	return unlink(path) < 0 && errno != ENOENT ? err_set(e, ERR_TEMP, errno, "%s", path) : 0;
}

int keyring_public(struct keyring *k, const struct dkim_row *row, struct buf *p_out, struct err *e)
{
	struct buf pem, raw;
	struct sign_key *key = NULL;
	buf_init(&pem, DKIM_KEY_FILE_MAX);
	buf_init(&raw, DKIM_KEY_FILE_MAX);
	int r = file_read(dkim_key_path(k->a, k->conf->state_directory, k->conf->dkim_credentials_directory, row->domain, row->selector), DKIM_KEY_FILE_MAX, &pem, e);
	if (r == 0)
		r = sign_key_load(buf_view(&pem), &key, e);
	if (r == 0)
		r = sign_key_public(key, &raw, e);
	if (r == 0)
		base64_encode(p_out, buf_view(&raw));
	sign_key_free(&key);
	buf_wipe(&pem);
	buf_fini(&pem);
	buf_fini(&raw);
	return r < 0 ? err_wrap(e, "%.*s._domainkey.%.*s", STR_ARG(row->selector), STR_ARG(row->domain)) : 0;
}

int keyring_tell(struct keyring *k, struct err *e)
{
	const struct ipc_control_REQUEST q = { .word = STR("dkim-changed") };
	uint16_t type = 0;
	uint32_t id;
	void *msg;
	int fd;
	CLEANUP_FD int s = sock_unix_connect(arena_printf(k->a, "%s/auth/control", k->conf->run_directory), SOCK_SEQPACKET, e);
	if (s < 0)
		return 1;
	if (ipc_send_fd(s, &ipc_control, IPC_control_REQUEST, &q, 1, -1, e) < 0)
		return -1;
	while (type != IPC_control_END)
		if (ipc_recv_fd(s, &ipc_control, ANSWER_MS, k->a, &type, &id, &msg, &fd, e) < 0)
			return err_wrap(e, "authd");
	const struct ipc_control_END *end = msg;
	return end->code ? err_set(e, ERR_TEMP, 0, "authd: %.*s", STR_ARG(end->text)) : 0;
}
