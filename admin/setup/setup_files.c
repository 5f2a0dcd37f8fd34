/* postern setup: configuration, certificate, directories, aliases. What exists is kept, whatever it says. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/setup/setup.h"
#include "io/tls.h"
#include "os/confine.h"
#include "os/os.h"
#include "spool/spool.h"

enum { CONF_MAX = 1 << 20, PEM_MAX = 1 << 16, CERT_DAYS = 825 };

/* --- configuration --- */

/* %h host name, %d domain, %c directory of the configuration. */
static const struct setting {
	const char *name, *value, *why;
} settings[] = {
	{ "myhostname", "%h", "This machine's name, as other servers see it: forward and reverse DNS should agree." },
	{ "mydomain", "%d", "The site's domain." },
	{ "myorigin", "%d", "Added to addresses without a domain in mail posted on this machine." },
	{ "virtual_mailbox_domains", "%d", "Mailboxes of the suite's own users: postern user add NAME@%d" },
	{ "alias_maps", "cdb:%c/aliases", "Local aliases: edit the file, then run newaliases." },
	{ "virtual_alias_maps", "cdb:%c/virtual", "Other names of addresses: edit the file, then run postmap cdb:%c/virtual" },
	{ "srs_domain", "%d", "Mail that is forwarded to other servers leaves with a sender here, which SPF allows." },
	{ "maillog_file", "/var/log/postern.log", "The log; remove the line to have it in syslog. share/logrotate.d/postern rotates it." },
	{ "tls_cert_file", "%c/cert.pem", "Certificate and key; share/certbot/deploy-hook puts renewed ones here." },
	{ "tls_key_file", "%c/key.pem", "Readable by root only." },
};

static void expand(const struct setup *s, const char *text, const char *dir, struct buf *out)
{
	for (; *text; text++) {
		if (*text != '%') {
			buf_ch(out, *text);
			continue;
		}
		text++;
		buf_c(out, *text == 'h' ? s->hostname : *text == 'd' ? s->domain : dir);
	}
}

/* Are there only comments and blank lines? */
static bool says_nothing(struct str text)
{
	while (text.n > 0) {
		struct str line = str_split(&text, '\n');

		while (line.n > 0 && (line.p[0] == ' ' || line.p[0] == '\t' || line.p[0] == '\r'))
			line = str_n(line.p + 1, line.n - 1);
		if (line.n > 0 && line.p[0] != '#')
			return false;
	}
	return true;
}

static const char *directory_of(const struct setup *s, const char *file)
{
	const char *slash = strrchr(file, '/');

	return slash && slash != file ? arena_printf(s->a, "%.*s", (int)(slash - file), file) : "/";
}

static int write_configuration(struct setup *s, struct str old, struct err *e)
{
	const char *dir = directory_of(s, s->conf_file);
	struct buf text;
	int rc;

	buf_init(&text, CONF_MAX + 8192);
	buf_c(&text, "# Postern's configuration, postern.conf(5). \"postern check\" reports every mistake.\n\n");
	for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
		buf_c(&text, "# ");
		expand(s, settings[i].why, dir, &text);
		buf_printf(&text, "\n%s = ", settings[i].name);
		expand(s, settings[i].value, dir, &text);
		buf_c(&text, "\n");
	}
	if (old.n > 0)
		buf_c(&text, "\n");
	buf_str(&text, old);
	rc = buf_failed(&text) ? err_set(e, ERR_TOOBIG, 0, "%s: too large", s->conf_file) : dir_make(dir, 0755, (uid_t)-1, (gid_t)-1, e);
	if (rc == 0)
		rc = file_replace(s->conf_file, buf_view(&text), 0644, 0, 0, e);
	buf_fini(&text);
	return rc;
}

int setup_configuration(struct setup *s, struct err *e)
{
	struct buf old;
	int rc = 0;

	if (s->conf_file[0] != '/')
		return err_set(e, ERR_INPUT, 0, "%s: the configuration's name must be absolute", s->conf_file);
	buf_init(&old, CONF_MAX);
	if (access(s->conf_file, F_OK) == 0)
		rc = file_read(s->conf_file, CONF_MAX, &old, e);
	if (rc == 0 && !says_nothing(buf_view(&old))) {
		setup_kept("%s", s->conf_file);
	} else if (rc == 0) {
		rc = write_configuration(s, buf_view(&old), e);
		if (rc == 0)
			setup_made(s, "%s", s->conf_file);
	}
	buf_fini(&old);
	if (rc == 0 && conf_load_told("postern-setup", s->conf_file, false, &s->conf) < 0)
		return err_set(e, ERR_CONF, 0, "%s has mistakes", s->conf_file);
	if (rc == 0 && strcmp(s->conf->myhostname, s->hostname) != 0) {
		setup_kept("myhostname = %s, which is used from here on", s->conf->myhostname);
		s->hostname = s->conf->myhostname;
	}
	return rc;
}

/* --- certificate --- */

static int make_certificate(struct setup *s, struct err *e)
{
	const struct str names[] = { str_c(s->hostname) };
	const struct conf *c = s->conf;
	struct buf cert, key;
	int rc;

	buf_init(&cert, PEM_MAX);
	buf_init(&key, PEM_MAX);
	rc = tls_self_signed(names, ARRAY_LEN(names), CERT_DAYS, &cert, &key, e);
	if (rc == 0)
		rc = dir_make(directory_of(s, c->tls_cert_file), 0755, (uid_t)-1, (gid_t)-1, e);
	if (rc == 0)
		rc = dir_make(directory_of(s, c->tls_key_file), 0755, (uid_t)-1, (gid_t)-1, e);
	/* The certificate last: it is what a second run looks for. */
	if (rc == 0)
		rc = file_replace(c->tls_key_file, buf_view(&key), 0600, 0, 0, e);
	if (rc == 0)
		rc = file_replace(c->tls_cert_file, buf_view(&cert), 0644, 0, 0, e);
	buf_wipe(&key);
	buf_fini(&key);
	buf_fini(&cert);
	if (rc == 0)
		setup_made(s, "%s and %s, self-signed, %d days", c->tls_cert_file, c->tls_key_file, CERT_DAYS);
	return rc;
}

int setup_certificate(struct setup *s, struct err *e)
{
	const char *cert = s->conf->tls_cert_file, *key = s->conf->tls_key_file;

	if (!cert[0] || !key[0]) {
		setup_missing(s, "tls_cert_file and tls_key_file are not set: nobody can log in without TLS");
		return 0;
	}
	if (access(cert, F_OK) == 0) {
		setup_kept("%s", cert);
		return 0;
	}
	if (access(key, F_OK) == 0) {
		setup_missing(s, "%s: the certificate for %s, which is there", cert, key);
		return 0;
	}
	return make_certificate(s, e);
}

/* --- directories --- */

static int directory(struct setup *s, const char *path, struct err *e)
{
	const bool was = access(path, F_OK) == 0;

	if (dir_make(path, 0755, 0, 0, e) < 0)
		return -1;
	if (was)
		setup_kept("%s", path);
	else
		setup_made(s, "%s", path);
	return 0;
}

int setup_directories(struct setup *s, struct err *e)
{
	const struct conf *c = s->conf;
	const bool was = access(c->queue_directory, F_OK) == 0;
	uid_t uid;
	gid_t gid;

	if (confine_user(c->user_queue, &uid, &gid, e) < 0)
		return err_wrap(e, "the suite's users are missing (make users)");
	if (directory(s, c->state_directory, e) < 0 || directory(s, arena_printf(s->a, "%s/mail", c->state_directory), e) < 0 ||
	    spool_make(c->queue_directory, uid, gid, e) < 0)
		return -1;
	if (was)
		setup_kept("%s", c->queue_directory);
	else
		setup_made(s, "%s", c->queue_directory);
	return 0;
}

/* --- aliases --- */

/* The file of the first map that is compiled from one; NULL: none. */
static const char *source_of(const struct conf_list *maps)
{
	for (size_t i = 0; i < maps->n; i++)
		if (strncmp(maps->v[i], "cdb:", 4) == 0)
			return maps->v[i] + 4;
	return NULL;
}

static int put_map(struct setup *s, const char *param, const struct conf_list *maps, const char *text, struct err *e)
{
	const char *file = source_of(maps);

	if (!file) {
		setup_missing(s, "%s names no cdb: map", param);
		return 0;
	}
	if (access(file, F_OK) == 0) {
		setup_kept("%s", file);
		return 0;
	}
	if (dir_make(directory_of(s, file), 0755, (uid_t)-1, (gid_t)-1, e) < 0 || file_replace(file, str_c(text), 0644, 0, 0, e) < 0)
		return -1;
	setup_made(s, "%s", file);
	return 0;
}

int setup_aliases(struct setup *s, struct err *e)
{
	const char *aliases = arena_printf(s->a,
					   "# Local aliases, aliases(5); run newaliases after a change.\n"
					   "mailer-daemon: postmaster\nabuse: postmaster\nhostmaster: postmaster\nwebmaster: postmaster\npostmaster: root\n"
					   "# Who reads root's mail:\n%sroot: %s\n",
					   s->user ? "" : "#", s->user ? s->user : "somebody");
	const char *virtual = arena_printf(s->a,
					   "# Other names of addresses; run postmap on this file after a change.\n%spostmaster@%s %s\n%sabuse@%s %s\n",
					   s->user ? "" : "#", s->domain, s->user ? s->user : "somebody", s->user ? "" : "#", s->domain,
					   s->user ? s->user : "somebody");

	if (!s->user && source_of(&s->conf->alias_maps) && access(source_of(&s->conf->alias_maps), F_OK) < 0)
		setup_missing(s, "a reader of root's and postmaster's mail: name one in the aliases");
	return put_map(s, "alias_maps", &s->conf->alias_maps, aliases, e) < 0 ? -1
									      : put_map(s, "virtual_alias_maps", &s->conf->virtual_alias_maps, virtual, e);
}
