/* postern-sockets: a generator of systemd's (systemd.generator(7)). The ports are said in postern.conf alone; from there come the socket units, so that
 * systemd binds them and the daemons' units need neither network nor the right to bind. It runs as root at boot and at each daemon-reload, before any unit: it
 * reads one file of root's and writes into the directories that systemd gives it. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "conf/conf.h"
#include "os/os.h"

enum { EXIT_USAGE = 64, EXIT_FAILED = 1 };

struct run {
	const char *dir, *early;	/* early: goes before what the administrator has; NULL: not given */
	struct conf *conf;
	struct arena *a;
};

static int usage(FILE *to, int status)
{
	fputs("usage: postern-sockets [-c FILE] DIRECTORY [EARLY LATE]\n"
	      "Write socket units for the listeners of postern.conf, as a generator of systemd's.\n",
	      to);
	return status;
}

static int open_file(const char *path, FILE **out, struct err *e)
{
	*out = fopen(path, "wxe");
	return *out ? 0 : err_set(e, ERR_TEMP, errno, "%s", path);
}

static int close_file(FILE *f, const char *path, struct err *e)
{
	const bool good = !ferror(f);
	return fclose(f) == 0 && good ? 0 : err_set(e, ERR_TEMP, errno, "%s", path);
}

static int want_by_target(const struct run *r, const char *unit, struct err *e)
{
	const char *dir = arena_printf(r->a, "%s/postern.target.wants", r->dir);
	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return err_set(e, ERR_TEMP, errno, "%s", dir);
	if (symlink(arena_printf(r->a, "../%s", unit), arena_printf(r->a, "%s/%s", dir, unit)) < 0)
		return err_set(e, ERR_TEMP, errno, "%s/%s", dir, unit);
	return 0;
}

/* The head of a unit, up to its addresses. */
static int begin(const struct run *r, const char *unit, const char *daemon, FILE **out, struct err *e)
{
	if (open_file(arena_printf(r->a, "%s/%s", r->dir, unit), out, e) < 0 || want_by_target(r, unit, e) < 0)
		return -1;
	fprintf(*out,
		"# Made by postern-sockets(8) from the configuration, at each daemon-reload.\n"
		"[Unit]\nDescription=Postern: ports of %s\nDocumentation=man:%s(8) man:postern-sockets(8)\nPartOf=postern.target\n\n"
		"[Socket]\nService=postern-%s.service\nAccept=no\nBacklog=1024\n"
		"# Addresses may come later than the ports.\nFreeBind=yes\n",
		daemon, daemon, daemon);
	return 0;
}

/* "%" begins what systemd fills in. */
static void put_path(FILE *f, const char *path)
{
	for (; *path; path++)
		fputs(*path == '%' ? "%%" : (char[]){ *path, 0 }, f);
}

static void put_address(FILE *f, const struct conf_listener *l)
{
	if (!*l->host)
		fprintf(f, "ListenStream=%u\n", l->port);
	else
		fprintf(f, strchr(l->host, ':') ? "ListenStream=[%s]:%u\n" : "ListenStream=%s:%u\n", l->host, l->port);
}

/* One that cannot be bound beside an earlier one: systemd would bind none of them. */
static bool in_the_way(const struct conf_listener *rows, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (rows[k].port == rows[i].port && (!*rows[k].host || !*rows[i].host || strcmp(rows[k].host, rows[i].host) == 0))
			return true;
	return false;
}

static void put_listeners(FILE *f, const char *daemon, const struct conf_listener *rows, size_t n)
{
	bool both = false;
	for (size_t i = 0; i < n; i++) {
		if (in_the_way(rows, i)) {
			fprintf(stderr, "postern-sockets: %s: port %u is listened on already, by an earlier listener: left out\n", daemon, rows[i].port);
			continue;
		}
		put_address(f, &rows[i]);
		both |= !*rows[i].host;
	}
	fprintf(f, "BindIPv6Only=%s\n", both ? "both" : "ipv6-only");
}

/* A daemon that is to listen nowhere is not started. */
static int mask(const struct run *r, const char *daemon, struct err *e)
{
	const char *path = arena_printf(r->a, "%s/postern-%s.service", r->early ? r->early : r->dir, daemon);
	return symlink("/dev/null", path) == 0 ? 0 : err_set(e, ERR_TEMP, errno, "%s", path);
}

/* smtpd always has its local socket. */
static int front(const struct run *r, const char *daemon, const char *service, struct conf_list list, struct err *e)
{
	const char *unit = arena_printf(r->a, "postern-%s.socket", daemon);
	const bool local = strcmp(service, "smtp") == 0;
	struct conf_listener *rows;
	size_t n;
	FILE *f;

	if (conf_listeners(r->conf, list, service, r->a, &rows, &n, e) < 0)
		return -1;
	if (n == 0 && !local)
		return mask(r, daemon, e);
	if (begin(r, unit, daemon, &f, e) < 0)
		return -1;
	put_listeners(f, daemon, rows, n);
	if (local) {
		fputs("SocketMode=0666\nListenStream=", f);
		put_path(f, r->conf->run_directory);
		fputs("/smtpd/submit\n", f);
	}
	return close_file(f, unit, e);
}

/* log looks at the addresses itself: they must be this machine's alone. */
static int metrics(const struct run *r, struct err *e)
{
	static const char unit[] = "postern-metrics.socket";
	FILE *f;

	if (r->conf->metrics_listeners.n == 0)
		return 0;
	if (begin(r, unit, "log", &f, e) < 0)
		return -1;
	for (size_t i = 0; i < r->conf->metrics_listeners.n; i++) {
		fputs("ListenStream=", f);
		put_path(f, r->conf->metrics_listeners.v[i]);
		fputc('\n', f);
	}
	return close_file(f, unit, e);
}

/* filterd's other protocols: the unit is called as the protocol is, by which filterd knows its sockets. user: whose group may use them. tell: those of addresses
 * in that list, or not in it. */
static int doors(const struct run *r, const char *protocol, const char *user, struct conf_list addresses, const struct conf_list *tell, bool in_tell, struct err *e)
{
	const char *unit = arena_printf(r->a, "postern-%s.socket", protocol);
	FILE *f = NULL;

	for (size_t i = 0; i < addresses.n; i++) {
		struct str s = str_c(addresses.v[i]);
		if (tell && conf_list_has(*tell, addresses.v[i]) != in_tell)
			continue;
		if (!f && begin(r, unit, "filterd", &f, e) < 0)
			return -1;
		for (size_t k = 0; k < 2; k++)
			if (str_starts(s, k ? STR("inet:") : STR("unix:")))
				s = str_from(s, 5);
		fputs("ListenStream=", f);
		put_path(f, arena_cstr(r->a, s));
		fputc('\n', f);
	}
	if (!f)
		return 0;
	fprintf(f, "BindIPv6Only=ipv6-only\nFileDescriptorName=%s\nSocketMode=0660\nSocketGroup=%s\n", protocol, user);
	return close_file(f, unit, e);
}

static int generate(const struct run *r, struct err *e)
{
	const struct conf *c = r->conf;
	return front(r, "smtpd", "smtp", c->smtp_listeners, e) < 0 || front(r, "imapd", "imap", c->imap_listeners, e) < 0 ||
			       front(r, "pop3d", "pop3", c->pop3_listeners, e) < 0 || metrics(r, e) < 0 ||
			       doors(r, "milter", c->user_milter, c->filter_milter_listeners, NULL, false, e) < 0 ||
			       doors(r, "spamd", c->user_spamd, c->filter_spamd_listeners, &c->filter_spamd_tell_listeners, false, e) < 0 ||
			       doors(r, "spamd-tell", c->user_spamd, c->filter_spamd_listeners, &c->filter_spamd_tell_listeners, true, e) < 0
		       ? -1
		       : 0;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = { { "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' }, { NULL, 0, NULL, 0 } };
	const char *file = conf_default_file();
	struct run r = { 0 };
	struct err e = { 0 };

	proc_init(argc, argv);
	for (int o; (o = getopt_long(argc, argv, "c:", longs, NULL)) != -1;) {
		if (o == 'c')
			file = optarg;
		else if (o == 'V')
			return puts("postern-sockets (Postern) " POSTERN_VERSION) < 0;
		else
			return usage(o == 'h' ? stdout : stderr, o == 'h' ? 0 : EXIT_USAGE);
	}
	if (argc - optind != 1 && argc - optind != 3)
		return usage(stderr, EXIT_USAGE);
	r.dir = argv[optind];
	r.early = argc - optind == 3 ? argv[optind + 1] : NULL;
	if (access(file, F_OK) < 0 && errno == ENOENT)
		return 0;	/* not set up yet: no ports */
	if (conf_load_told("postern-sockets", file, false, &r.conf) < 0)
		return EXIT_FAILED;
	umask(022);
	r.a = arena_new(0);
	const int status = generate(&r, &e) < 0 ? EXIT_FAILED : 0;
	if (status)
		fprintf(stderr, "postern-sockets: %s\n", e.text);
	arena_free(&r.a);
	conf_free(&r.conf);
	return status;
}
