/* The machine around the configuration: users, directories and their rights, the setuid agent, certificates. */
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "admin/postern/check.h"
#include "io/tls.h"
#include "os/os.h"

enum { PEM_MAX = 1 << 20, EXPIRY_WARN_DAYS = 14, RSA_BITS_MIN = 2048 };

/* --- users --- */

static void check_users(struct check *c)
{
	const struct conf *o = c->conf;
	const struct {
		const char *param, *name;
	} users[] = {
		{ "user_smtp", o->user_smtp },	   { "user_imap", o->user_imap },
		{ "user_pop3", o->user_pop3 },	   { "user_sasl", o->user_sasl },
		{ "user_pam", o->user_pam },	   { "user_key", o->user_key },
		{ "user_queue", o->user_queue },   { "user_map", o->user_map },
		{ "user_mda", o->user_mda },	   { "user_remote", o->user_remote },
		{ "user_filter", o->user_filter }, { "user_log", o->user_log },
		{ "user_dns", o->user_dns },	   { "user_policy", o->user_policy },
		{ "user_milter", o->user_milter },
		{ "user_spamd", o->user_spamd },
		{ "user_sts", o->user_sts },
	};

	for (size_t i = 0; i < ARRAY_LEN(users); i++) {
		const struct passwd *pw = getpwnam(users[i].name);

		if (!pw)
			found_param(c, SEV_ERROR, users[i].param,
				    "no user \"%s\" (useradd -r -M -s /usr/sbin/nologin -U %s)",
				    users[i].name, users[i].name);
		else if (pw->pw_uid == 0)
			found_param(c, SEV_ERROR, users[i].param, "\"%s\" is root", users[i].name);
		for (size_t k = 0; pw && k < i; k++)
			if (strcmp(users[k].name, users[i].name) == 0)
				found_param(c, SEV_WARNING, users[i].param,
					    "the same user as %s: the wall between them is gone",
					    users[k].param);
	}
}

/* --- directories and files --- */

static void check_directory(struct check *c, const char *param, const char *path, const char *owner,
			    bool must_be)
{
	const struct passwd *pw = owner ? getpwnam(owner) : NULL;
	const uid_t uid = pw ? pw->pw_uid : 0;
	struct stat st;

	if (stat(path, &st) < 0) {
		if (must_be)
			found_param(c, SEV_WARNING, param, "%s does not exist yet", path);
		return;
	}
	if (!S_ISDIR(st.st_mode))
		found_param(c, SEV_ERROR, param, "%s is not a directory", path);
	if (st.st_uid != uid && st.st_uid != 0)
		found_param(c, SEV_ERROR, param, "%s belongs to uid %u (allowed: %s)", path,
			    (unsigned)st.st_uid, owner ? owner : "root");
	if (st.st_mode & 022)
		found_param(c, SEV_ERROR, param, "%s: mode %04o: group or others may write it",
			    path, (unsigned)st.st_mode & 07777);
}

static void check_space(struct check *c)
{
	struct statvfs vfs;

	if (statvfs(c->conf->queue_directory, &vfs) < 0)
		return;
	const uint64_t free_bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize,
		       needed = c->conf->message_size_limit + c->conf->message_size_limit / 2;

	if (free_bytes < needed || free_bytes < c->conf->queue_minfree)
		found_param(c, SEV_ERROR, "queue_directory",
			    "%s has %llu bytes free: mail is refused (1.5 x message_size_limit and "
			    "queue_minfree are kept)",
			    c->conf->queue_directory, (unsigned long long)free_bytes);
}

/* A secret of root's: nobody else reads or writes it. */
static void check_secret(struct check *c, const char *param, const char *path)
{
	struct stat st;

	if (!path[0])
		return;
	if (stat(path, &st) < 0) {
		found_param(c, SEV_ERROR, param, "%s cannot be read", path);
		return;
	}
	if (st.st_uid != 0 && geteuid() == 0)
		found_param(c, SEV_ERROR, param, "%s belongs to uid %u, must belong to root", path,
			    (unsigned)st.st_uid);
	if (st.st_mode & 077)
		found_param(c, SEV_ERROR, param,
			    "%s: mode %04o: others than root may read it (chmod 600)", path,
			    (unsigned)st.st_mode & 07777);
}

static void check_agent(struct check *c)
{
	const struct group *gr = getgrnam(c->conf->user_mda);
	const char *path = arena_printf(c->a, "%s/deliver", c->conf->libexec_directory);
	struct stat st;

	if (stat(path, &st) < 0) {
		found_param(c, SEV_ERROR, "libexec_directory",
			    "%s is missing: no local mail can be delivered", path);
		return;
	}
	if (geteuid() == 0 &&
	    (st.st_uid != 0 || (st.st_mode & 07777) != 04710 || (gr && st.st_gid != gr->gr_gid)))
		found(c, SEV_ERROR, path, "", "must be 4710 root:%s, is %04o %u:%u",
		      c->conf->user_mda, (unsigned)st.st_mode & 07777, (unsigned)st.st_uid,
		      (unsigned)st.st_gid);
}

/* --- certificates --- */

struct pair {
	const char *cert_param, *key_param, *cert, *key;
	bool server;		/* clients look at the name and at who signed it */
};

static void check_server_certificate(struct check *c, const struct pair *p, const struct tls_cert_info *info)
{
	if (!tls_cert_covers(info, str_c(c->conf->myhostname)))
		found_param(c, SEV_WARNING, p->cert_param, "does not cover myhostname (%s)", c->conf->myhostname);
	if (info->self_signed)
		found_param(c, SEV_WARNING, p->cert_param, "is self-signed: mail programs warn their users");
	else if (info->chain_length < 2)
		found_param(c, SEV_NOTE, p->cert_param, "holds one certificate; when its issuer is no root, the intermediate ones belong behind it");
}

static void check_certificate_info(struct check *c, const struct pair *p, const struct tls_cert_info *info)
{
	if (info->days_left < 0)
		found_param(c, SEV_ERROR, p->cert_param, "expired %lld days ago", (long long)-info->days_left);
	else
		found_param(c, info->days_left < EXPIRY_WARN_DAYS ? SEV_WARNING : SEV_NOTE, p->cert_param, "expires in %lld days", (long long)info->days_left);
	if (info->not_before > (int64_t)time(NULL))
		found_param(c, SEV_ERROR, p->cert_param, "is not valid yet");
	if (strcmp(info->key_type, "RSA") == 0 && info->key_bits < RSA_BITS_MIN)
		found_param(c, SEV_ERROR, p->cert_param, "an RSA key of %d bits is refused by today's peers (at least %d, or EC P-256)", info->key_bits, RSA_BITS_MIN);
	if (p->server)
		check_server_certificate(c, p, info);
}

static void check_certificate(struct check *c, const struct pair *p)
{
	struct tls_cert_info info;
	struct tls_key *key = NULL;
	struct buf pem, key_pem;
	struct err e = { 0 };

	if (!p->cert[0])
		return;
	buf_init(&pem, PEM_MAX);
	buf_init(&key_pem, PEM_MAX);
	if (file_read(p->cert, PEM_MAX, &pem, &e) < 0 || tls_cert_info(buf_view(&pem), c->a, &info, &e) < 0)
		found_param(c, SEV_ERROR, p->cert_param, "%s", e.text);
	else
		check_certificate_info(c, p, &info);
	if (pem.n && (file_read(p->key, PEM_MAX, &key_pem, &e) < 0 || tls_key_load(buf_view(&key_pem), &key, &e) < 0 || tls_key_matches(key, buf_view(&pem), &e) < 0))
		found_param(c, SEV_ERROR, p->key_param, "%s", e.text);
	if (key)
		tls_key_free(&key);
	buf_wipe(&key_pem);
	buf_fini(&key_pem);
	buf_fini(&pem);
	check_secret(c, p->key_param, p->key);
}

static void check_certificates(struct check *c)
{
	const struct conf *o = c->conf;

	check_certificate(c, &(struct pair){ "tls_cert_file", "tls_key_file", o->tls_cert_file, o->tls_key_file, true });
	check_certificate(c, &(struct pair){ "smtp_tls_cert_file", "smtp_tls_key_file", o->smtp_tls_cert_file, o->smtp_tls_key_file, false });
}

void check_system(struct check *c)
{
	check_users(c);
	check_directory(c, "run_directory", c->conf->run_directory, NULL, false);
	check_directory(c, "state_directory", c->conf->state_directory, NULL, true);
	check_directory(c, "queue_directory", c->conf->queue_directory, c->conf->user_queue, true);
	check_space(c);
	check_agent(c);
	check_certificates(c);
}
