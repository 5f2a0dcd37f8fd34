/* authd-check: is this password right? The zygote keeps PAM, its modules and the hash of nobody's password warm; an attempt runs in
 * a fork that gets one name from the monitor and one password in a descriptor that the monitor passes on unread, and
 * answers with one verdict. One that was only asked about the suite's own password file may be asked again, one that ran PAM or SCRAM never is.
 * Whatever kills it is "could not be checked". SCRAM-SHA-256 (RFC 5802) runs here whole: nonce, proof. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "authd/check.h"
#include "authd/helper.h"
#include "authd/passfile.h"
#include "authd/scram.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/enc.h"
#include "ipc/helper.h"
#include "log/log.h"
#include "map/cdbfile.h"
#include "os/os.h"

enum { WAIT_MS = 130000, NAME_MAX_ = 512, MEMORY_MAX = 256 << 20 };

static char passwd_file[1024];
static struct cdbfile *passwd;	/* open from the first look of an attempt to its end: all its answers come from one file; NULL */
static struct buf dummy_hash;
static uint8_t start_secret[32];	/* salts of unknown names while there is no password file */

struct verdict verdict_say(int v, const char *reason)
{
	struct verdict r = { .v = v };

	snprintf(r.reason, sizeof r.reason, "%s", reason);
	return r;
}

/* The value of key in the password file. 0; 1: no such record, or no file yet; -1. */
static int passwd_get(struct str key, size_t max, struct buf *out, struct err *e)
{
	if (!passwd && cdbfile_open(passwd_file, &passwd, e) < 0)
		return e->code == ERR_NOENT ? 1 : -1;
	return cdbfile_get(passwd, key, max, out, e);
}

/* --- application passwords --- */

/* Those of user; none where there is no record. */
static int app_record_get(struct str user, struct buf *value, struct app_passwords *out, struct err *e)
{
	struct buf key;

	buf_init(&key, 512);
	buf_c(&key, APP_KEY);
	buf_str(&key, user);
	const int rc = passwd_get(buf_view(&key), APP_RECORD_MAX, value, e);
	buf_fini(&key);
	return rc == 0 ? app_parse(buf_view(value), out, e) : rc < 0 ? -1 : 0;
}

/* 1: it is one of user's, *v says which; 0: it is none, and the main password may be tried; 2: none, and it may not; -1: *v says that it cannot be checked. */
static int check_app(const struct ipc_helper_CHECK *m, struct str password, struct verdict *v)
{
	struct app_passwords p = { 0 };
	const struct app_password *which = NULL;
	struct err e = { 0 };
	struct buf value;

	buf_init(&value, APP_RECORD_MAX);
	int rc = app_record_get(m->user, &value, &p, &e);
	app_drop_before(&p, m->since);
	if (rc == 0)
		rc = app_match(&p, password, app_service(m->protocol), (uint64_t)clock_wall(), &which, &e);
	if (rc < 0) {
		log_error("application passwords of %.*s: %s", STR_ARG(m->user), e.text);
		*v = verdict_say(V_TEMP, "password file");
	} else if (rc == 1) {
		*v = verdict_say(V_RIGHT, "");
		snprintf(v->reason, sizeof v->reason, "app-password:%.*s", STR_ARG(which->name));
		snprintf(v->app, sizeof v->app, "%.*s", STR_ARG(which->id));
		v->expires = which->expires;
	} else if (p.main_for_webmail && !m->webmail) {
		rc = 2;
	}
	buf_fini(&value);
	return rc;
}

/* --- the suite's own users --- */

/* The record of user, its value in out. 0; 1: none; -1. */
static int record_get(struct str user, struct buf *out, struct pass_record *r, struct err *e)
{
	const int rc = passwd_get(user, PASS_RECORD_MAX, out, e);

	return rc == 0 ? pass_record_parse(buf_view(out), r, e) : rc;
}

/* As long as a real check. */
static struct verdict check_nobody(struct str password)
{
	struct err e = { 0 };

	(void)pass_verify(buf_view(&dummy_hash), password, &e);
	return verdict_say(V_WRONG, "unknown user");
}

static struct verdict check_file(const struct ipc_helper_CHECK *m, struct str password)
{
	const struct str user = m->user;
	struct pass_record r;
	struct verdict v;
	struct err e = { 0 };
	struct buf value;

	const int app = check_app(m, password, &v);
	if (app == 1 || app < 0)
		return v;
	if (app == 2) {
		v = check_nobody(password);
		snprintf(v.reason, sizeof v.reason, "app password required");
		return v;
	}
	buf_init(&value, PASS_RECORD_MAX);
	int rc = record_get(user, &value, &r, &e);
	if (rc == 0)
		rc = pass_verify(r.hash, password, &e) + 10;
	if (rc == 1) {
		v = check_nobody(password);
		snprintf(v.reason, sizeof v.reason, "no password set");
	} else if (rc < 0 || rc == 9) {
		log_error("password of %.*s: %s", STR_ARG(user), e.text);
		v = verdict_say(V_TEMP, "password file");
	} else {
		v = rc == 11 ? verdict_say(V_RIGHT, "password") : verdict_say(V_WRONG, "password");
	}
	buf_wipe(&value);
	buf_fini(&value);
	return v;
}

/* --- accounts of the system --- */

/* As much work as for an account of the system with a wrong password: its modules hash nothing for a name that they do not know. The name that they are asked about
 * is nobody's, whatever was given: a module that counts failures shuts out no root. What cannot be checked, cannot be checked for anybody. */
static struct verdict check_pam_nobody(const char *service, const char *client, const char *password)
{
	const struct verdict v = check_nobody(str_c(password)), p = check_pam(":nobody", service, client, password);

	return p.v == V_TEMP ? p : v;
}

/* The account is under attack: only what nobody can guess may be right. */
static struct verdict check_app_alone(const struct ipc_helper_CHECK *m, const char *password, struct arena *a)
{
	struct verdict v, account;
	const int rc = check_app(m, str_c(password), &v);

	if (rc == 0 || rc == 2)
		return verdict_say(V_WRONG, "account limit");
	if (rc < 0 || str_eq(m->how, STR("app")))
		return v;
	account = check_pam(arena_cstr(a, m->user), arena_cstr(a, m->service), arena_cstr(a, m->client), NULL);
	return account.v == V_RIGHT ? v : account;
}

/* An account of the system. An application password stands in place of PAM's word on the password, not of its word on the account. */
static struct verdict check_system(const struct ipc_helper_CHECK *m, const char *password, struct arena *a)
{
	const char *const service = arena_cstr(a, m->service), *const client = arena_cstr(a, m->client), *const user = arena_cstr(a, m->user);
	struct verdict v, account;

	switch (check_app(m, str_c(password), &v)) {
	case 0:
		return check_pam(user, service, client, password);
	case 1:
		account = check_pam(user, service, client, NULL);
		return account.v == V_RIGHT ? v : account;
	case 2:
		v = check_pam_nobody(service, client, password);
		if (v.v == V_WRONG)
			snprintf(v.reason, sizeof v.reason, "app password required");
		return v;
	default:
		return v;
	}
}

/* --- one attempt --- */

static bool asks_pam(struct str how)
{
	return str_starts(how, STR("pam"));
}

static void answer(int channel, uint32_t id, const struct verdict *v, struct str data)
{
	struct err e = { 0 };
	const struct ipc_helper_RESULT r = { .verdict = (uint64_t)v->v, .reason = str_c(v->reason), .data = data,
					     .app = v->app[0] ? str_c(v->app) : (struct str){ 0 }, .expires = v->expires,
					     .tag = v->has_tag ? str_n(v->tag, sizeof v->tag) : (struct str){ 0 } };

	if (ipc_send_fd(channel, &ipc_helper, IPC_helper_RESULT, &r, id, -1, &e) < 0)
		_exit(0);
}

static void attempt_password(const struct helper *h, int channel, uint32_t id, const struct ipc_helper_CHECK *m, int fd, struct arena *a)
{
	char password[PASSWORD_MAX + 1];
	struct verdict v;
	struct err e = { 0 };
	size_t n = 0;

	if (helper_password_take(fd, password, PASSWORD_MAX, &n, &e) < 0) {
		v = verdict_say(V_TEMP, e.text);
		answer(channel, id, &v, (struct str){ 0 });
		return;
	}
	password[n] = 0;
	const struct str p = str_n(password, n);
	if (n == 0 || memchr(password, 0, n))
		v = verdict_say(V_WRONG, "empty password");
	else if (str_eq(m->how, STR("file")))
		v = check_file(m, p);
	else if (str_eq(m->how, STR("app")) || str_eq(m->how, STR("pam-app")))
		v = check_app_alone(m, password, a);
	else if (asks_pam(m->how) && n > CRYPT_INPUT_MAX)
		v = check_nobody(p);	/* no system hash can be of it, and PAM modules call it an error */
	else if (str_eq(m->how, STR("pam")))
		v = check_system(m, password, a);
	else if (str_eq(m->how, STR("pam-none")))
		v = check_pam_nobody(arena_cstr(a, m->service), arena_cstr(a, m->client), password);
	else
		v = check_nobody(p);
	helper_tag(h, m->given, p, v.tag);
	v.has_tag = true;
	mem_wipe(password, sizeof password);
	answer(channel, id, &v, (struct str){ 0 });
}

/* --- SCRAM --- */

static struct str secret_get(struct buf *out)
{
	struct buf hex;
	struct err e = { 0 };

	buf_init(&hex, 256);
	if (passwd_get(STR(PASS_SECRET_KEY), 128, &hex, &e) != 0 || hex_decode(out, buf_view(&hex)) < 0)
		buf_reset(out);
	buf_wipe(&hex);
	buf_fini(&hex);
	if (out->n == 0)
		buf_mem(out, start_secret, sizeof start_secret);
	return buf_view(out);
}

/* The account's verifier, or one that fits nobody. *reason_out says which, for the log. An application password has none: the client does not say which of them it
 * has. Nothing delays a challenge, so all is looked up and made for every name: its time does not tell who has one. */
static int verifier_get(const struct ipc_helper_ACCOUNT_IS *who, struct str given, struct scram_verifier *v, const char **reason_out, struct err *e)
{
	const struct str user = who->user.n ? who->user : STR(":nobody");	/* no account's name */
	struct app_passwords apps = { 0 };
	struct pass_record r = { 0 };
	struct buf value, secret;

	buf_init(&value, APP_RECORD_MAX);
	buf_init(&secret, 256);
	int rc = app_record_get(user, &value, &apps, e);
	buf_reset(&value);
	if (rc == 0)
		rc = record_get(user, &value, &r, e);
	scram_verifier_fake(secret_get(&secret), given, v);
	*reason_out = who->user.n ? "no SCRAM verifier" : "unknown user";
	if (rc == 0 && r.has_scram && (!apps.main_for_webmail || who->webmail)) {
		*v = r.scram;
		*reason_out = "password";
	}
	buf_wipe(&value);
	buf_fini(&value);
	buf_wipe(&secret);
	buf_fini(&secret);
	return rc < 0 ? -1 : 0;
}

static void *scram_wait(int channel, uint16_t want, struct arena *a)
{
	struct err e = { 0 };
	uint16_t type;
	uint32_t id;
	void *msg;
	int fd;

	if (ipc_recv_fd(channel, &ipc_helper, WAIT_MS, a, &type, &id, &msg, &fd, &e) < 0 || type != want)
		_exit(0);
	return msg;
}

static void scram_send(int channel, uint16_t type, const void *msg, uint32_t id)
{
	struct err e = { 0 };

	if (ipc_send_fd(channel, &ipc_helper, type, msg, id, -1, &e) < 0)
		_exit(0);
}

static void scram_failed(int channel, uint32_t id, const struct err *e, const char *reason)
{
	struct verdict v = verdict_say(e->code == ERR_TEMP ? V_TEMP : V_WRONG, e->code == ERR_AUTH ? reason : e->text);

	answer(channel, id, &v, (struct str){ 0 });
	_exit(0);
}

static void attempt_scram(int channel, uint32_t id, struct str initial, struct arena *a)
{
	struct scram s;
	struct scram_verifier v;
	struct err e = { 0 };
	struct buf nonce, out;
	uint8_t random[18];
	const char *reason = "";

	scram_init(&s);
	buf_init(&nonce, 64);
	buf_init(&out, SCRAM_MESSAGE_MAX);
	random_bytes(random, sizeof random);
	base64_encode(&nonce, str_n(random, sizeof random));
	if (scram_server_first(&s, initial, &e) < 0)
		scram_failed(channel, id, &e, "");
	scram_send(channel, IPC_helper_NAME, &(struct ipc_helper_NAME){ .given = str_c(s.user) }, id);
	const struct ipc_helper_ACCOUNT_IS *who = scram_wait(channel, IPC_helper_ACCOUNT_IS, a);
	if (verifier_get(who, str_c(s.user), &v, &reason, &e) < 0) {
		log_error("password of %.*s: %s", STR_ARG(who->user), e.text);
		e.code = ERR_TEMP;
		scram_failed(channel, id, &e, "");
	}
	if (scram_server_challenge(&s, &v, buf_view(&nonce), &out, &e) < 0)
		scram_failed(channel, id, &e, "");
	scram_send(channel, IPC_helper_CHALLENGE, &(struct ipc_helper_CHALLENGE){ .data = buf_view(&out) }, id);
	const struct ipc_helper_STEP *step = scram_wait(channel, IPC_helper_STEP, a);
	buf_reset(&out);
	if (scram_server_final(&s, step->data, &out, &e) < 0)
		scram_failed(channel, id, &e, reason);
	struct verdict ok = verdict_say(V_RIGHT, "scram");
	answer(channel, id, &ok, buf_view(&out));
}

/* Whoever may be asked again has no use for processes, as PAM's modules may. */
static void give_up_processes(const struct helper *h)
{
	struct err e = { 0 };

	if (!h->unconfined && confine_no_processes(&e) < 0) {
		log_error("%s", e.text);
		_exit(0);
	}
}

static bool may_be_asked_again(uint16_t type, const void *msg)
{
	return type == IPC_helper_CHECK && !asks_pam(((const struct ipc_helper_CHECK *)msg)->how);
}

static void worker(const struct helper *h, int channel)
{
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	bool again = true;

#ifndef __SANITIZE_ADDRESS__	/* its shadow is larger */
	const struct rlimit memory = { MEMORY_MAX, MEMORY_MAX };
	(void)setrlimit(RLIMIT_DATA, &memory);
#endif
	for (bool first = true; again; first = false) {
		uint16_t type;
		uint32_t id;
		void *msg;
		int fd;

		arena_reset(a);
		if (ipc_recv_fd(channel, &ipc_helper, WAIT_MS, a, &type, &id, &msg, &fd, &e) < 0)
			break;
		again = may_be_asked_again(type, msg);
		if (again && first)
			give_up_processes(h);
		if (type == IPC_helper_CHECK)
			attempt_password(h, channel, id, msg, fd, a);
		else if (type == IPC_helper_SCRAM)
			attempt_scram(channel, id, ((struct ipc_helper_SCRAM *)msg)->initial, a);
		cdbfile_close(&passwd);
		close_fd(&fd);
	}
	_exit(0);
}

/* What libcrypto sets up at its first use is then there for all workers, not made anew in each. */
static void warm_up(void)
{
	struct scram_verifier v;

	scram_verifier_fake(str_n(start_secret, sizeof start_secret), STR("x"), &v);
}

int main(int argc, char **argv)
{
	struct helper h;
	struct err e = { 0 };

	helper_init(&h, argc, argv, "check");
	snprintf(passwd_file, sizeof passwd_file, "%s/passwd.cdb", h.conf->state_directory);
	buf_init(&dummy_hash, PASS_RECORD_MAX);
	random_bytes(start_secret, sizeof start_secret);
	if (pass_dummy(&dummy_hash, &e) < 0)
		log_error("%s", e.text);
	static const char *const system[] = { "/etc", "/usr", "/lib", "/lib64", "/bin", "/sbin", "/run/systemd/userdb", "/dev/null",
					      "/dev/urandom", "/proc/sys", "/var/lib/misc" };
	struct confine_path paths[ARRAY_LEN(system) + 1];
	size_t n = 0;
	for (size_t i = 0; i < ARRAY_LEN(system); i++) {
		struct stat st;

		if (stat(system[i], &st) == 0)
			paths[n++] = (struct confine_path){ .path = system[i] };
	}
	paths[n++] = (struct confine_path){ .path = h.conf->state_directory };
	helper_confine(&h, CONFINE_AUTH_CHECK, h.conf->user_pam, paths, n);
	if (h.conf->auth_system_accounts)
		check_pam_warm(h.conf);
	helper_setup(&h);
	warm_up();
	zygote_run(&h, worker);
}
