/* sendmail: the way local programs post mail, with the options that everybody's sendmail has. It is an SMTP client of the suite's own submit socket,
 * nothing is setuid: smtpd knows who posts by the peer's uid. The message is never lost silently: when it cannot be handed over, it is appended to
 * dead.letter in the caller's home directory and the exit status (sysexits.h) says why.
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "admin/sendmail/sendmail.h"
#include "os/os.h"
#include "smtp/addr.h"

enum mode { MODE_POST, MODE_SMTP, MODE_LIST, MODE_ALIASES, MODE_FLUSH, MODE_VERIFY, MODE_NOTHING };

struct options {
	enum mode mode;
	const char *conf_file, *sender, *full_name, *notify, *ret, *envid;
	const char *flush_word, *flush_what;	/* -qI -qR -qS */
	bool from_header, dot_is_text, eight_bit;
	int first;		/* first recipient in argv */
};

static int usage(const char *what)
{
	(void)fprintf(stderr, "sendmail: %s\nusage: sendmail [-t] [-i] [-f sender] [-F name] [-B 7BIT|8BITMIME]\n"
			      "                [-N never|success,failure,delay] [-R full|hdrs] [-V envelope-id] [recipient ...]\n"
			      "       sendmail -bs | -bp | -bi | -bv address ... | -q | -qI id | -qR domain | -qS sender\n", what);
	return EX_USAGE;
}

static int take_mode(struct options *o, char c)
{
	switch (c) {
	case 'm': o->mode = MODE_POST; return 0;
	case 's': o->mode = MODE_SMTP; return 0;
	case 'p': o->mode = MODE_LIST; return 0;
	case 'i': o->mode = MODE_ALIASES; return 0;
	case 'v': o->mode = MODE_VERIFY; return 0;
	case 'd': return usage("-bd: the suite is started by postern-run, systemd or its init script");
	default: return usage("-b takes m, s, p, i or v");
	}
}

/* Options of other implementations that ask for what is always so, or for nothing that is done here: read and ignored. With a value: */
static const char ignored_with_value[] = "hLOXAo";
static const char ignored[] = "nmUvGsTc";

/* -q: all; -qI -qR -qS: one message, the mail to a domain, of a sender. -q with a time is for a daemon, which always does so. */
static int take_flush(struct options *o, const char *rest, int argc, char **argv, int *at)
{
	static const struct {
		char letter;
		const char *word;
	} kinds[] = { { 'I', "flush" }, { 'R', "flush-domain" }, { 'S', "--sender" } };

	o->mode = ch_digit(rest[0]) ? MODE_NOTHING : MODE_FLUSH;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (rest[0] == kinds[i].letter) {
			o->flush_word = kinds[i].word;
			o->flush_what = rest[1] ? rest + 1 : *at + 1 < argc ? argv[++*at] : NULL;
			return o->flush_what ? 0 : usage("-q: which?");
		}
	return rest[0] == '\0' || o->mode == MODE_NOTHING ? 0 : usage("-q takes I, R, S or a time");
}

/* RFC 3461 4.1: NEVER alone, or a list of the others. */
static int take_notify(struct options *o, const char *value)
{
	static const char *const words[] = { "success", "failure", "delay" };
	struct str list = str_c(value), word;

	o->notify = value;
	if (str_case_eq(list, STR("never")))
		return 0;
	while (str_token(&list, ",", &word)) {
		bool known = false;
		for (size_t i = 0; i < ARRAY_LEN(words); i++)
			known |= str_case_eq(word, str_c(words[i]));
		if (!known)
			return usage("-N takes never, or success, failure, delay");
	}
	return value[0] ? 0 : usage("-N takes never, or success, failure, delay");
}

static int take_ret(struct options *o, const char *value)
{
	o->ret = value;
	return str_case_eq(str_c(value), STR("full")) || str_case_eq(str_c(value), STR("hdrs")) ? 0 : usage("-R takes full or hdrs");
}

/* One argument that begins with '-'. 0, or an exit status. */
static int take_option(struct options *o, int argc, char **argv, int *at)
{
	const char *p = argv[*at] + 1;

	for (; *p != '\0'; p++) {
		const char c = *p;
		if (c == 't') {
			o->from_header = true;
		} else if (c == 'i' || (c == 'o' && p[1] == 'i' && p[2] == '\0')) {
			o->dot_is_text = true;
			if (c == 'o')
				return 0;
		} else if (c == 'q') {
			return take_flush(o, p + 1, argc, argv, at);
		} else if (c == 'd' || c == 'e') {
			return 0;	/* debugging, error mode: with their value attached */
		} else if (c == 'b') {
			return take_mode(o, p[1]);
		} else if (memchr("fFrBCNRV", c, 8) != NULL || memchr(ignored_with_value, c, sizeof ignored_with_value - 1) != NULL) {
			const char *value = p[1] != '\0' ? p + 1 : *at + 1 < argc && c != 'o' ? argv[++*at] : "";
			if (c == 'f' || c == 'r')
				o->sender = value;
			else if (c == 'F')
				o->full_name = value;
			else if (c == 'C')
				o->conf_file = value;
			else if (c == 'N')
				return take_notify(o, value);
			else if (c == 'R')
				return take_ret(o, value);
			else if (c == 'V')
				o->envid = value;
			else if (c == 'B')
				o->eight_bit = str_case_eq(str_c(value), STR("8BITMIME"));
			return 0;
		} else if (memchr(ignored, c, sizeof ignored - 1) == NULL) {
			return usage("unknown option");
		}
	}
	return 0;
}

static int take_options(struct options *o, int argc, char **argv)
{
	const struct str path = str_c(argv[0]);
	const struct str name = str_from(path, (size_t)(str_rchr(path, '/') + 1));
	int i, r;

	if (str_eq(name, STR("mailq")))
		o->mode = MODE_LIST;
	else if (str_eq(name, STR("newaliases")))
		o->mode = MODE_ALIASES;
	for (i = 1; i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
		if (str_eq(str_c(argv[i]), STR("--"))) {
			i++;
			break;
		}
		if ((r = take_option(o, argc, argv, &i)) != 0)
			return r;
	}
	o->first = i;
	return 0;
}

/* The suite's other tools are where this one is. Does not return when it works. args ends in NULL. */
static int run_tool(const char *name, const char *const *args)
{
	char path[4096], *copy[64];
	const ssize_t n = readlink("/proc/self/exe", path, sizeof path - 64);
	size_t i = 0;

	if (n > 0) {
		const ptrdiff_t slash = str_rchr(str_n(path, (size_t)n), '/');
		(void)snprintf(path + slash + 1, 63, "%s", name);
		while (args[i] != NULL && i < ARRAY_LEN(copy) - 1) {
			copy[i] = xstrdup(args[i]);
			i++;
		}
		copy[i] = NULL;
		execv(path, copy);
	}
	(void)fprintf(stderr, "sendmail: %s: %s\n", name, strerror(errno));
	return EX_OSFILE;
}

static int queue_tool(const struct options *o)
{
	const bool sender = o->flush_word && o->flush_word[0] == '-';
	const char *word = o->mode == MODE_LIST ? "list" : o->flush_word && !sender ? o->flush_word : "flush";
	const char *const args[] = { "postern", "-c", o->conf_file, "queue", word, sender ? o->flush_word : o->flush_what, sender ? o->flush_what : NULL, NULL };

	return run_tool("postern", args);
}

/* -bv: nothing is sent; where the mail would go is told. */
static int verify(const struct options *o, int argc, char **argv)
{
	const char *args[60] = { "postern", "-c", o->conf_file, "why" };
	size_t n = 4;

	for (int i = o->first; i < argc && n < ARRAY_LEN(args) - 1; i++)
		args[n++] = argv[i];
	return n == 4 ? usage("no address") : run_tool("postern", args);
}

/* newaliases: every map of alias_database. */
static int compile_aliases(const struct conf *conf, const struct options *o)
{
	const char *args[60] = { "postalias", "-c", o->conf_file };
	size_t n = 3;

	for (size_t i = 0; i < conf->alias_database.n && n < ARRAY_LEN(args) - 1; i++)
		args[n++] = conf->alias_database.v[i];
	return n == 3 ? 0 : run_tool("postalias", args);
}

static void save_dead_letter(const struct post *p, const struct passwd *pw)
{
	char path[4096];
	struct err e = { 0 };
	struct stat st;

	if (pw == NULL || p->message.n == 0 || snprintf(path, sizeof path, "%s/dead.letter", pw->pw_dir) >= (int)sizeof path)
		return;
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || write_all(fd, p->message.p, p->message.n, &e) < 0 || write_all(fd, "\n", 1, &e) < 0 ||
	    fsync(fd) < 0)
		(void)fprintf(stderr, "sendmail: the message could not be saved in %s either\n", path);
	else
		(void)fprintf(stderr, "sendmail: the message was saved in %s\n", path);
	close_fd(&fd);
}

/* Full name from the first part of gecos, where '&' stands for the login name. */
static struct str gecos_name(struct arena *a, const struct passwd *pw)
{
	struct str gecos = str_c(pw->pw_gecos ? pw->pw_gecos : ""), name;
	struct buf b;

	buf_init(&b, 1024);
	name = str_split(&gecos, ',');
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == '&' && pw->pw_name[0] != '\0') {
			buf_ch(&b, ch_up(pw->pw_name[0]));
			buf_c(&b, pw->pw_name + 1);
		} else {
			buf_ch(&b, name.p[i]);
		}
	}
	name = arena_str(a, buf_view(&b));
	buf_fini(&b);
	return name;
}

static int set_sender(struct post *p, const struct options *o, const struct passwd *pw)
{
	char uid[32];
	struct str s = o->sender ? str_trim(str_c(o->sender)) : (struct str){ 0 };

	(void)snprintf(uid, sizeof uid, "uid%u", (unsigned)getuid());
	p->author = post_complete(p, str_c(pw ? pw->pw_name : uid));
	p->full_name = o->full_name ? str_c(o->full_name) : pw ? gecos_name(p->a, pw) : STR("");
	if (s.n >= 2 && s.p[0] == '<' && s.p[s.n - 1] == '>')
		s = str_sub(s, 1, s.n - 2);
	if (o->sender == NULL)
		p->sender = p->author;
	else
		p->sender = s.n > 0 ? post_complete(p, s) : STR("");
	if (p->sender.n > 0)
		p->author = p->sender;
	if (p->sender.p == NULL) {
		(void)fprintf(stderr, "sendmail: bad sender address\n");
		return EX_USAGE;
	}
	return 0;
}

static int post(const struct conf *conf, const struct options *o, int argc, char **argv)
{
	struct post p = { .conf = conf, .a = arena_new(0), .from_header = o->from_header, .dot_is_text = o->dot_is_text, .eight_bit = o->eight_bit,
			  .notify = o->notify, .ret = o->ret, .envid = o->envid };
	const struct passwd *pw = getpwuid(getuid());
	int r = set_sender(&p, o, pw);

	buf_init(&p.message, POST_MESSAGE_MAX);
	for (int i = o->first; i < argc && r == 0; i++)
		r = post_recipient(&p, str_c(argv[i]));
	if (r == 0 && o->first == argc && !o->from_header)
		r = usage("no recipient");
	if (r == 0) {
		r = post_read(&p, stdin);
		if (r == 0)
			r = post_headers(&p);
		if (r == 0)
			r = post_send(&p);
		if (r != 0)
			save_dead_letter(&p, pw);
	}
	buf_fini(&p.message);
	arena_free(&p.a);
	return r;
}

int main(int argc, char **argv)
{
	struct options o = { .conf_file = conf_default_file() };
	struct conf *conf = NULL;
	struct err e = { 0 };
	int r;

	proc_init(argc, argv);
	(void)signal(SIGPIPE, SIG_IGN);
	if ((r = take_options(&o, argc, argv)) != 0)
		return r;
	if (o.mode == MODE_NOTHING)
		return 0;
	if (o.mode == MODE_LIST || o.mode == MODE_FLUSH)
		return queue_tool(&o);
	if (o.mode == MODE_VERIFY)
		return verify(&o, argc, argv);
	if (conf_load(o.conf_file, &conf, NULL, &e) < 0) {
		(void)fprintf(stderr, "sendmail: %s\n", e.text);
		return EX_CONFIG;
	}
	if (o.mode == MODE_ALIASES)
		r = compile_aliases(conf, &o);
	else
		r = o.mode == MODE_SMTP ? post_relay_stdio(conf) : post(conf, &o, argc, argv);
	conf_free(&conf);
	return r;
}
