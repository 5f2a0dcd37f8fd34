/* The ports that the configuration's listeners want, and who has them. Debian starts an MTA of its own with many packages; the second to come gets no port. */
#include <dirent.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/postern/check.h"
#include "admin/postern/proc_files.h"
#include "base/ip.h"
#include "base/num.h"
#include "os/os.h"

enum { WANTED_MAX = 256, HELD_MAX = 256, STATE_LISTEN = 0x0a, SERVICE_MANAGER = 1, UNITS_TEXT_MAX = 1 << 20 };

struct wanted {
	const char *param, *daemon, *host;	/* host "": all addresses */
	uint16_t port;
};

/* A listening socket on a wanted port. */
struct held {
	uint8_t addr[16];
	uint16_t port;
	uint64_t inode, uid;
	pid_t pid;		/* of its holders: one of ours, or else the eldest; 0: not seen */
	bool ours;
	const char *unit, *service;	/* that is held by systemd: for which of its units, and what that starts; NULL: not known */
};

struct ports {
	struct check *c;
	struct wanted wanted[WANTED_MAX];
	struct held held[HELD_MAX];
	size_t n_wanted, n_held;
	size_t wanted_left_out, held_left_out;
};

/* --- wanted --- */

static void want(struct ports *p, struct wanted w)
{
	if (p->n_wanted < WANTED_MAX)
		p->wanted[p->n_wanted++] = w;
	else
		p->wanted_left_out++;
}

static void want_services(struct ports *p)
{
	const struct conf *o = p->c->conf;
	const struct {
		const char *param, *daemon, *service;
		struct conf_list list;
	} rows[] = { { "smtp_listeners", "smtpd", "smtp", o->smtp_listeners }, { "imap_listeners", "imapd", "imap", o->imap_listeners },
		     { "pop3_listeners", "pop3d", "pop3", o->pop3_listeners } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct conf_listener *v;
		size_t n;
		struct err e = { 0 };
		if (conf_listeners(o, rows[i].list, rows[i].service, p->c->a, &v, &n, &e) < 0) {
			found_param(p->c, SEV_ERROR, rows[i].param, "%s", e.text);
			continue;
		}
		for (size_t k = 0; k < n; k++)
			want(p, (struct wanted){ *v[k].name ? arena_printf(p->c->a, "listener.%s", v[k].name) : rows[i].param, rows[i].daemon, v[k].host, v[k].port });
	}
}

static void want_addresses(struct ports *p)
{
	const struct conf *o = p->c->conf;
	const struct {
		const char *param, *daemon;
		struct conf_list list;
	} rows[] = { { "metrics_listeners", "log", o->metrics_listeners },
		     { "filter_milter_listeners", "filterd", o->filter_milter_listeners },
		     { "filter_spamd_listeners", "filterd", o->filter_spamd_listeners } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (size_t k = 0; k < rows[i].list.n; k++) {
			struct str text = str_c(rows[i].list.v[k]);
			char host[CONF_HOST_MAX];
			uint16_t port;
			struct err e = { 0 };
			if (str_starts(text, STR("unix:")))
				continue;
			if (str_starts(text, STR("inet:")))
				text = str_from(text, 5);
			if (conf_host_port(text, host, &port, &e) < 0)
				found_param(p->c, SEV_ERROR, rows[i].param, "%s", e.text);
			else
				want(p, (struct wanted){ rows[i].param, rows[i].daemon, arena_strdup(p->c->a, host), port });
		}
}

/* --- held --- */

static bool is_any(const uint8_t addr[16])
{
	static const uint8_t zero[16];
	return memcmp(addr, zero, sizeof(zero)) == 0 || (ip_is_v4(addr) && memcmp(addr + 12, zero, 4) == 0);
}

/* A socket of all IPv6 addresses mostly takes IPv4 as well; *maybe: whether it does is not to be seen. */
static bool in_the_way(const struct wanted *w, const struct held *h, bool *maybe)
{
	uint8_t addr[16];

	*maybe = false;
	if (w->port != h->port)
		return false;
	if (!*w->host)
		return true;
	if (addr_parse(str_c(w->host), addr) < 0)
		return false;
	if (memcmp(addr, h->addr, sizeof(addr)) == 0)
		return true;
	*maybe = ip_is_v4(addr) && !ip_is_v4(h->addr) && is_any(h->addr);
	return *maybe || (ip_is_v4(addr) == ip_is_v4(h->addr) && (is_any(addr) || is_any(h->addr)));
}

/* "0100007F:0019": words of 32 bits, as this machine keeps them. */
static int take_address(struct str text, struct held *h)
{
	const struct str words = str_split(&text, ':');
	uint64_t port;

	if ((words.n != 8 && words.n != 32) || num_parse_hex(text, 65535, &port) < 0)
		return -1;
	memset(h->addr, 0, sizeof(h->addr));
	if (words.n == 8)
		h->addr[10] = h->addr[11] = 0xff;
	for (size_t i = 0; i < words.n / 8; i++) {
		uint64_t word;
		if (num_parse_hex(str_sub(words, i * 8, 8), UINT32_MAX, &word) < 0)
			return -1;
		const uint32_t w = (uint32_t)word;
		memcpy(h->addr + (words.n == 8 ? 12 : i * 4), &w, sizeof(w));
	}
	h->port = (uint16_t)port;
	return 0;
}

static int take_line(struct str line, struct held *h)
{
	enum { LOCAL = 1, STATE = 3, UID = 7, INODE = 9, FIELDS };
	struct str v[FIELDS];
	uint64_t state;

	for (size_t i = 0; i < FIELDS; i++)
		if (!str_token(&line, " \n", &v[i]))
			return -1;
	*h = (struct held){ 0 };
	if (num_parse_hex(v[STATE], 255, &state) < 0 || state != STATE_LISTEN || num_parse(v[UID], 0, UINT32_MAX, &h->uid) < 0 || num_parse(v[INODE], 1, UINT64_MAX, &h->inode) < 0)
		return -1;
	return take_address(v[LOCAL], h);
}

static void read_held(struct ports *p, const char *file)
{
	FILE *f = fopen(file, "re");
	char line[512];

	while (f && fgets(line, sizeof(line), f)) {
		struct held h;
		bool maybe, wanted = false;
		if (take_line(str_c(line), &h) < 0)
			continue;
		for (size_t i = 0; i < p->n_wanted; i++)
			wanted |= in_the_way(&p->wanted[i], &h, &maybe);
		if (wanted && p->n_held < HELD_MAX)
			p->held[p->n_held++] = h;
		else if (wanted)
			p->held_left_out++;
	}
	if (f)
		fclose(f);
}

static void note_holder(struct ports *p, uint64_t inode, pid_t pid)
{
	for (size_t i = 0; i < p->n_held; i++) {
		struct held *h = &p->held[i];
		if (h->inode != inode || h->ours)
			continue;
		h->ours = proc_stands_in(pid, p->c->conf->libexec_directory);
		if (h->ours || h->pid == 0 || pid < h->pid)
			h->pid = pid;
	}
}

/* Who holds each: /proc/PID/fd says "socket:[inode]". */
static void look_into(void *ctx, pid_t pid)
{
	char path[64], link[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	DIR *d = opendir(path);

	for (struct dirent *ent; d && (ent = readdir(d));) {
		uint64_t inode;
		const ssize_t n = readlinkat(dirfd(d), ent->d_name, link, sizeof(link));
		const struct str s = str_n(link, n > 0 ? (size_t)n : 0);
		if (str_starts(s, STR("socket:[")) && s.n > 9 && num_parse(str_sub(s, 8, s.n - 9), 1, UINT64_MAX, &inode) == 0)
			note_holder(ctx, inode, pid);
	}
	if (d)
		closedir(d);
}

/* --- systemd binds ports for those whose units say so, ours among them --- */

static bool is_systemd(pid_t pid)
{
	struct buf b;

	if (pid != SERVICE_MANAGER)
		return false;
	buf_init(&b, PROC_FILE_MAX + 1);
	const bool yes = str_eq(str_trim(proc_file(pid, "comm", &b)), STR("systemd"));
	buf_fini(&b);
	return yes;
}

/* Is "[::]:25 (Stream)" the address of that socket? */
static bool is_address_of(const struct held *h, struct str listen)
{
	char host[CONF_HOST_MAX];
	uint8_t addr[16];
	uint16_t port;
	struct err ignored = { 0 };

	return conf_host_port(str_split(&listen, ' '), host, &port, &ignored) == 0 && port == h->port && addr_parse(str_c(host), addr) == 0 &&
	       memcmp(addr, h->addr, sizeof(addr)) == 0;
}

/* Of two units that name the address one has it: ours may be waiting for it, since a daemon-reload. */
static void note_unit(struct ports *p, struct held *h, struct str unit, struct str service)
{
	if (h->unit && str_starts(unit, STR("postern-")))
		return;
	h->unit = arena_cstr(p->c->a, unit);
	h->service = arena_cstr(p->c->a, service);
}

/* systemctl show's properties of one unit, in any order; Listen= as often as it has addresses. */
static void take_unit(struct ports *p, struct str shown)
{
	struct str unit = { 0 }, service = { 0 }, line;
	bool active = false;

	for (struct str rest = shown; str_token(&rest, "\n", &line);) {
		const struct str name = str_split(&line, '=');
		if (str_eq(name, STR("Id")))
			unit = line;
		else if (str_eq(name, STR("Triggers")))
			service = line;
		else if (str_eq(name, STR("ActiveState")))
			active = str_eq(line, STR("active"));
	}
	for (struct str rest = shown; active && str_token(&rest, "\n", &line);) {
		const bool address = str_eq(str_split(&line, '='), STR("Listen"));
		for (size_t i = 0; address && i < p->n_held; i++)
			if (is_systemd(p->held[i].pid) && is_address_of(&p->held[i], line))
				note_unit(p, &p->held[i], unit, service);
	}
}

static void ask_systemd(struct ports *p)
{
	static const char *const argv[] = { "systemctl", "show", "--no-pager", "--property=Id", "--property=Triggers", "--property=ActiveState", "--property=Listen",
					    "*.socket", NULL };
	bool asked = false;
	int status;
	struct buf out;
	struct err ignored = { 0 };

	for (size_t i = 0; i < p->n_held; i++)
		asked |= !p->held[i].ours && is_systemd(p->held[i].pid);
	if (!asked)
		return;
	buf_init(&out, UNITS_TEXT_MAX);
	(void)!proc_output(argv, false, &out, &status, &ignored);
	for (struct str rest = buf_view(&out); rest.n > 0;) {
		const ptrdiff_t end = str_find(rest, STR("\n\n"));
		take_unit(p, str_sub(rest, 0, end < 0 ? rest.n : (size_t)end));
		rest = end < 0 ? STR("") : str_from(rest, (size_t)end + 2);
	}
	buf_fini(&out);
}

static bool by_our_socket_unit(struct check *c, const struct wanted *w, const struct held *h)
{
	return h->service && strcmp(h->service, arena_printf(c->a, "postern-%s.service", w->daemon)) == 0;
}

/* --- what is said --- */

/* What root may be told to type: a user names the units and control groups of his own as he likes. */
static bool is_plain_unit(struct str unit)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:_.@-";
	bool plain = unit.n > 0 && unit.p[0] != '-';

	for (size_t i = 0; i < unit.n; i++)
		plain &= unit.p[i] != '\0' && strchr(allowed, unit.p[i]) != NULL;
	return plain;
}

/* The service that pid belongs to, as "; systemctl disable --now NAME ends it"; "". */
static const char *service_advice(struct check *c, pid_t pid)
{
	const char *out = "";
	struct buf b;

	buf_init(&b, PROC_FILE_MAX + 1);
	const struct str text = str_trim(proc_file(pid, "cgroup", &b));
	struct str unit = str_from(text, (size_t)(str_rchr(text, '/') + 1));
	if (str_ends(unit, STR(".service"))) {
		const ptrdiff_t at = str_chr(unit, '@');		/* of an instance: the service that starts them */
		unit = str_sub(unit, 0, at > 0 ? (size_t)at : unit.n - 8);
		if (is_plain_unit(unit))
			out = arena_printf(c->a, "; systemctl disable --now %.*s ends it", STR_ARG(unit));
	}
	buf_fini(&b);
	return out;
}

static const char *where_text(struct check *c, const struct wanted *w)
{
	if (!*w->host)
		return arena_printf(c->a, "port %u", w->port);
	return arena_printf(c->a, strchr(w->host, ':') ? "[%s]:%u" : "%s:%u", w->host, w->port);
}

static void tell_of_systemd(struct check *c, const struct wanted *w, const struct held *h, const char *where)
{
	if (!h->unit)
		found_param(c, SEV_WARNING, w->param, "%s is held by systemd, for which unit is not to be seen (systemctl list-sockets): unless for ours, %s does not get it",
			    where, w->daemon);
	else
		found_param(c, SEV_ERROR, w->param, "%s is held by systemd for %s (%s): %s does not get it%s", where, *h->service ? h->service : "no service", h->unit,
			    w->daemon, is_plain_unit(str_c(h->unit)) ? arena_printf(c->a, "; systemctl disable --now %s ends it", h->unit) : "");
}

static void tell(struct ports *p, const struct wanted *w, const struct held *h, bool maybe)
{
	const char *where = where_text(p->c, w);
	const struct passwd *pw = getpwuid((uid_t)h->uid);
	char exe[PATH_MAX], name[32] = "";
	struct buf b;

	if (h->pid == 0) {
		found_param(p->c, SEV_WARNING, w->param, "%s is in use, by a socket of the user %s%s", where, pw ? pw->pw_name : arena_printf(p->c->a, "%u", (unsigned)h->uid),
			    geteuid() == 0 ? "; its process is not to be seen from here" : ": only root can see of which process");
		return;
	}
	buf_init(&b, PROC_FILE_MAX + 1);
	(void)snprintf(name, sizeof(name), "%.*s", STR_ARG(str_trim(proc_file(h->pid, "comm", &b))));
	buf_fini(&b);
	if (str_ends(str_c(name), STR("inetd")))
		found_param(p->c, SEV_NOTE, w->param, "%s is %s's (pid %d): right if that starts %s (-i)", where, name, (int)h->pid, w->daemon);
	else if (is_systemd(h->pid))
		tell_of_systemd(p->c, w, h, where);
	else
		found_param(p->c, maybe ? SEV_WARNING : SEV_ERROR, w->param, "%s is held by %s (pid %d, %s): %s does not get it%s%s", where, name, (int)h->pid,
			    proc_program(h->pid, exe, sizeof(exe)), w->daemon, maybe ? ", unless that takes IPv6 only" : "", service_advice(p->c, h->pid));
}

static void judge(struct ports *p, const struct wanted *w)
{
	const struct held *told = NULL;
	bool maybe;

	for (size_t i = 0; i < p->n_held; i++) {
		const struct held *h = &p->held[i];
		if (!in_the_way(w, h, &maybe) || h->ours || by_our_socket_unit(p->c, w, h) ||
		    (told && told->pid == h->pid && told->uid == h->uid && !h->unit))
			continue;
		tell(p, w, h, maybe);
		told = h;
	}
}

static void say_what_is_missing(struct ports *p)
{
	if (p->wanted_left_out)
		found(p->c, SEV_WARNING, p->c->conf->conf_file, "", "of all listeners the ports of %d were looked at, and not of %zu more", WANTED_MAX, p->wanted_left_out);
	if (p->held_left_out)
		found(p->c, SEV_WARNING, p->c->conf->conf_file, "", "%zu more sockets than the %d that were looked at listen on ports of ours (ss -ltnp)",
			    p->held_left_out, HELD_MAX);
}

void check_ports(struct check *c)
{
	struct ports *p = ARENA_NEW(c->a, struct ports);

	p->c = c;
	want_services(p);
	want_addresses(p);
	read_held(p, "/proc/net/tcp");
	read_held(p, "/proc/net/tcp6");
	if (p->n_held > 0)
		proc_each(look_into, p);
	ask_systemd(p);
	for (size_t i = 0; i < p->n_wanted; i++)
		judge(p, &p->wanted[i]);
	say_what_is_missing(p);
}
