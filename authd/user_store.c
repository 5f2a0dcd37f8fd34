/* Files of postern-user. */
#include "authd/user_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "authd/passfile.h"
#include "authd/place.h"
#include "base/clock.h"
#include "base/enc.h"
#include "map/cdbfile.h"
#include "os/confine.h"
#include "os/os.h"

static const char *path_of(const struct user_store *s, const char *name)
{
	return arena_printf(s->arena, "%s/%s", s->conf->state_directory, name);
}

static int lock_take(struct user_store *s, struct err *e)
{
	s->lock = open(path_of(s, "users.lock"), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock < 0)
		return err_set(e, ERR_TEMP, errno, "%s", path_of(s, "users.lock"));
	if (flock(s->lock, LOCK_EX) < 0)
		return err_set(e, ERR_TEMP, errno, "lock of the users file");
	return 0;
}

static int users_read(struct user_store *s, struct err *e)
{
	struct buf b;
	struct str text = { "", 0 };
	struct err why = { 0 };

	buf_init(&b, USERS_FILE_MAX);
	if (file_read(path_of(s, "users"), USERS_FILE_MAX, &b, &why) == 0)
		text = arena_str(s->arena, buf_view(&b));
	buf_fini(&b);
	if (why.code != ERR_NONE && why.code != ERR_NOENT) {
		*e = why;
		return -1;
	}
	if (users_parse(text, (uint32_t)s->conf->virtual_uid_base, (uint32_t)s->conf->virtual_uid_count, s->arena, &s->users, e) < 0)
		return err_wrap(e, "%s", path_of(s, "users"));
	return 0;
}

static void pair_append(struct user_store *s, struct str name, struct str value)
{
	if ((s->n_passwords & (s->n_passwords - 1)) == 0) {
		struct pass_pair *v = ARENA_ARRAY(s->arena, struct pass_pair, s->n_passwords ? s->n_passwords * 2 : 1);

		if (s->n_passwords)
			memcpy(v, s->passwords, s->n_passwords * sizeof *v);
		s->passwords = v;
	}
	s->passwords[s->n_passwords++] = (struct pass_pair){ arena_str(s->arena, name), arena_str(s->arena, value) };
}

static int on_pair(void *ctx, struct str key, struct str value)
{
	pair_append(ctx, key, value);
	return 0;
}

int user_store_passwords_read(struct user_store *s, struct err *e)
{
	struct cdbfile *c;

	if (cdbfile_open(path_of(s, "passwd.cdb"), &c, e) < 0) {
		if (e->code != ERR_NOENT)
			return -1;
		err_clear(e);
		return 0;
	}
	const int rc = cdbfile_each(c, on_pair, s, e);
	cdbfile_close(&c);
	return rc < 0 ? -1 : 0;
}

int user_store_open(struct user_store *s, const struct conf *c, bool write, struct err *e)
{
	*s = (struct user_store){ .conf = c, .arena = arena_new(0), .lock = -1 };
	if (write && (dir_make(c->state_directory, 0755, 0, 0, e) < 0 || lock_take(s, e) < 0))
		return -1;
	if (users_read(s, e) < 0)
		return -1;
	return write ? user_store_passwords_read(s, e) : 0;
}

void user_store_close(struct user_store *s)
{
	for (size_t i = 0; i < s->n_passwords; i++)
		mem_wipe((char *)(uintptr_t)s->passwords[i].value.p, s->passwords[i].value.n);
	close_fd(&s->lock);
	arena_free(&s->arena);
}

static int passwords_write(struct user_store *s, struct err *e)
{
	struct cdbwrite *w;
	uid_t uid;
	gid_t gid;
	int rc = 0;

	if (confine_user(s->conf->user_pam, &uid, &gid, e) < 0)
		return -1;
	if (!user_store_has_password(s, STR(PASS_SECRET_KEY))) {
		uint8_t secret[32];
		struct buf hex;

		random_bytes(secret, sizeof secret);
		buf_init(&hex, 128);
		hex_encode(&hex, str_n(secret, sizeof secret));
		pair_append(s, STR(PASS_SECRET_KEY), buf_view(&hex));
		buf_fini(&hex);
	}
	if (cdbwrite_begin(path_of(s, "passwd.cdb"), &w, e) < 0)
		return -1;
	for (size_t i = 0; i < s->n_passwords && rc >= 0; i++)
		rc = cdbwrite_add(w, s->passwords[i].name, s->passwords[i].value, e);
	if (rc < 0) {
		cdbwrite_abort(&w);
		return -1;
	}
	return cdbwrite_commit(&w, 0640, 0, gid, e);
}

static int users_write(struct user_store *s, struct err *e)
{
	struct buf b;
	int rc;

	buf_init(&b, USERS_FILE_MAX);
	users_format(&s->users, &b);
	rc = buf_check(&b, "users file", e);
	if (rc == 0)
		rc = file_replace(path_of(s, "users"), buf_view(&b), 0600, 0, 0, e);
	buf_fini(&b);
	return rc;
}

int user_store_save(struct user_store *s, bool removing, struct err *e)
{
	if (removing && s->users_changed && users_write(s, e) < 0)
		return -1;
	if (s->passwords_changed && passwords_write(s, e) < 0)
		return -1;
	return !removing && s->users_changed ? users_write(s, e) : 0;
}

static struct pass_pair *pair_find(const struct user_store *s, struct str name)
{
	for (size_t i = 0; i < s->n_passwords; i++)
		if (str_eq(s->passwords[i].name, name))
			return &s->passwords[i];
	return NULL;
}

void user_store_password(struct user_store *s, struct str name, struct str value)
{
	struct pass_pair *p = pair_find(s, name);

	s->passwords_changed = true;
	if (p && value.p) {
		p->value = arena_str(s->arena, value);
	} else if (p) {
		*p = s->passwords[--s->n_passwords];
	} else if (value.p) {
		pair_append(s, name, value);
	}
}

struct str user_store_password_get(const struct user_store *s, struct str name)
{
	const struct pass_pair *p = pair_find(s, name);

	return p ? p->value : (struct str){ 0 };
}

bool user_store_has_password(const struct user_store *s, struct str name)
{
	return pair_find(s, name) != NULL;
}

int user_store_uid(struct user_store *s, uint32_t *uid_out, struct err *e)
{
	const uint64_t end = s->conf->virtual_uid_base + s->conf->virtual_uid_count;

	if (s->users.next_uid >= end)
		return err_set(e, ERR_LIMIT, 0, "all %llu uids of the reserved range have been given (virtual_uid_count)",
			       (unsigned long long)s->conf->virtual_uid_count);
	*uid_out = s->users.next_uid++;
	return 0;
}

int user_store_account(const struct user_store *s, const struct user_row *r, struct account *out, struct err *e)
{
	struct account a = { .uid = r->uid, .gid = r->uid, .quota_bytes = r->quota_bytes, .quota_count = r->quota_count,
			     .flags = ACCOUNT_F_VIRTUAL | (r->disabled ? ACCOUNT_F_DISABLED : 0u) };

	snprintf(a.name, sizeof a.name, "%.*s", STR_ARG(r->name));
	if (place_account(s->conf, &a) < 0)
		return err_set(e, ERR_INPUT, 0, "%s: home or maildir path too long", a.name);
	*out = a;
	return 0;
}
