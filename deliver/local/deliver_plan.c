/* What a message's way is beyond the mailbox: the user's forward files, the item of an alias, include lists. Files are read as the user before the agent confines itself;
 * which of them a message needs is decided when it comes. A file that others could have written is not followed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"
#include "deliver/local/deliver_priv.h"
#include "ipc/deliver.h"
#include "os/os.h"

/* --- policy --- */

static void add_word(struct str v[POLICY_WORDS_MAX], size_t *n, struct str word)
{
	if (*n < POLICY_WORDS_MAX)
		v[(*n)++] = word;
}

void policy_parse(struct str text, struct policy *out)
{
	struct policy p = { .limit_s = 1000, .delimiters = STR("+"), .text = text };

	while (text.n > 0) {
		struct str value = str_split(&text, '\n'), name = str_split(&value, '=');
		if (str_eq(name, STR("run")))
			p.run = true;
		else if (str_eq(name, STR("limit")))
			(void)!num_parse(value, 1, 86400, &p.limit_s);
		else if (str_eq(name, STR("delimiter")))
			p.delimiters = value;
		else if (str_eq(name, STR("mailbox_command")))
			p.mailbox_command = value;
		else if (str_eq(name, STR("commands")))
			add_word(p.commands, &p.n_commands, value);
		else if (str_eq(name, STR("files")))
			add_word(p.files, &p.n_files, value);
		else if (str_eq(name, STR("forward")))
			add_word(p.forward, &p.n_forward, value);
	}
	if (p.n_forward == 0)
		add_word(p.forward, &p.n_forward, STR("$home/.forward"));
	*out = p;
}

/* What takes the mailbox's place: the user's own command (mailbox_command_maps), or everybody's. */
static struct str command_of(const struct policy *p, struct str user)
{
	struct str text = p->text;

	while (text.n > 0) {
		struct str value = str_split(&text, '\n'), name = str_split(&value, '=');
		if (str_eq(name, STR("command_of")) && str_case_eq(str_split(&value, ' '), user))
			return value;
	}
	return p->mailbox_command;
}

static bool has_word(const struct str *v, size_t n, const char *word)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(v[i], str_c(word)))
			return true;
	return false;
}

/* --- reading --- */

/* The text, when it is a plain file that its owner (the user, or root) alone can write. *found false: there is none. */
static int read_plain(int dir, const char *name, uid_t uid, size_t max, struct arena *a, struct str *out, bool *found, struct err *e)
{
	struct stat st;
	CLEANUP_FD int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	*found = fd >= 0;
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 0 : err_set(e, ERR_TEMP, errno, "%s", name);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_uid != uid && st.st_uid != 0) || (st.st_mode & 022) || (st.st_nlink != 1 && st.st_uid != uid))
		return err_set(e, ERR_TEMP, 0, "%s is not a plain file of the user's alone", name);
	char *p = arena_alloc(a, max + 1);
	size_t n = 0;
	for (ssize_t k; (k = read(fd, p + n, max + 1 - n)) != 0; n += (size_t)k)
		if (k < 0 || n + (size_t)k > max)
			return err_set(e, ERR_TEMP, k < 0 ? errno : 0, "%s cannot be read, or is too long", name);
	*out = str_n(p, n);
	return 0;
}

static void keep(struct kept_file **list, struct arena *a, const struct kept_file *f)
{
	struct kept_file *k = ARENA_NEW(a, struct kept_file);

	*k = *f;
	k->next = *list;
	*list = k;
}

/* One forward file in dir. */
static void read_forward(struct sources *s, int dir, const char *name, const struct kept_file *like)
{
	struct kept_file f = *like;
	struct stat st;
	bool found = false;

	if (read_plain(dir, name, s->acct->uid, FORWARD_FILE_MAX, s->arena, &f.text, &found, &f.trouble) == 0 && found &&
	    (fstat(dir, &st) < 0 || (st.st_uid != s->acct->uid && st.st_uid != 0) || (st.st_mode & 022)))
		(void)err_set(&f.trouble, ERR_TEMP, 0, "%s: the home directory may be written by others", name);
	if (found || f.trouble.code)
		keep(&s->forwards, s->arena, &f);
}

/* Every file "name+extension" of dir. delimiters: that it may have; of recipient_delimiter each for mail with the same alone. */
static void read_extended(struct sources *s, int dir, struct str base, struct str delimiters, const struct kept_file *like)
{
	const int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	size_t n = 0;

	for (const struct dirent *de; d && (de = readdir(d)) != NULL && n < FORWARD_FILES_MAX;) {
		const struct str name = str_c(de->d_name);
		struct kept_file f = *like;
		if (name.n < base.n + 2 || !str_starts(name, base) || str_chr(delimiters, name.p[base.n]) < 0)
			continue;
		f.extension = arena_str(s->arena, str_from(name, base.n + 1));
		f.delimiter = delimiters.p == s->policy.delimiters.p ? name.p[base.n] : '\0';
		read_forward(s, dir, de->d_name, &f);
		n++;
	}
	if (d)
		closedir(d);
}

static struct str replace(struct arena *a, struct str in, const char *what, const char *by)
{
	const ptrdiff_t at = str_find(in, str_c(what));

	if (at < 0)
		return in;
	return str_c(arena_printf(a, "%.*s%s%.*s", (int)at, in.p, by, STR_ARG(str_from(in, (size_t)at + strlen(what)))));
}

/* One template of forward_path. */
static void read_template(struct sources *s, size_t i)
{
	static const char *const extended[] = { "${recipient_delimiter}${extension}", "$recipient_delimiter$extension", "+${extension}", "+$extension" };
	struct str t = s->policy.forward[i];
	struct kept_file like = { .template = i };
	bool ext = false, plus = false;

	t = replace(s->arena, replace(s->arena, t, "$home", s->acct->home), "${home}", s->acct->home);
	t = replace(s->arena, replace(s->arena, t, "$user", s->acct->name), "${user}", s->acct->name);
	for (size_t k = 0; k < ARRAY_LEN(extended) && !ext; k++) {
		const ptrdiff_t at = str_find(t, str_c(extended[k]));
		ext = at >= 0;
		plus = ext && extended[k][0] == '+';
		if (ext)
			t = str_sub(t, 0, (size_t)at);
	}
	const ptrdiff_t slash = str_rchr(t, '/');
	if (slash < 0 || t.p[0] != '/')
		return;
	const char *dir_name = arena_cstr(s->arena, str_sub(t, 0, slash ? (size_t)slash : 1)), *base = arena_cstr(s->arena, str_from(t, (size_t)slash + 1));
	CLEANUP_FD int dir = open(dir_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	like.path = arena_str(s->arena, t);
	if (dir < 0)
		return;
	if (ext)
		read_extended(s, dir, str_c(base), plus ? STR("+") : s->policy.delimiters, &like);
	else
		read_forward(s, dir, base, &like);
}

/* "~/x" is below the home. Empty: no absolute path. */
static struct str full_path(const struct sources *s, struct arena *a, struct str path)
{
	if (str_starts(path, STR("~/")))
		path = str_c(arena_printf(a, "%s%.*s", s->acct->home, STR_ARG(str_from(path, 1))));
	return path.n > 0 && path.p[0] == '/' && path.n < 1024 ? path : STR("");
}

/* Files will be written there. */
static void note_directory(struct sources *s, struct str file)
{
	const ptrdiff_t slash = str_rchr(file.n > 1 ? str_sub(file, 0, file.n - 1) : file, '/');
	const struct str dir = slash > 0 ? str_sub(file, 0, (size_t)slash) : STR("");
	struct stat st;

	if (dir.n == 0 || str_eq(file, STR("/dev/null")) || s->n_directories == DIRECTORIES_MAX)
		return;
	const struct str path = arena_str(s->arena, dir);
	if (stat(arena_cstr(s->arena, path), &st) == 0 && S_ISDIR(st.st_mode))
		s->directories[s->n_directories++] = path;
}

static void read_items(struct sources *s, struct str text, bool lists);

static void read_list(struct sources *s, struct str item)
{
	struct kept_file f = { .path = full_path(s, s->arena, item) };
	bool found = false;

	if (f.path.n > 0 && read_plain(AT_FDCWD, arena_cstr(s->arena, f.path), s->acct->uid, LIST_FILE_MAX, s->arena, &f.text, &found, &f.trouble) == 0 && !found)
		(void)err_set(&f.trouble, ERR_TEMP, 0, "%.*s cannot be opened", STR_ARG(f.path));
	keep(&s->lists, s->arena, &f);
	if (f.trouble.code == ERR_NONE)
		read_items(s, f.text, false);
}

/* What the items of a text will need. Mistakes are told when a message comes. */
static void read_items(struct sources *s, struct str text, bool lists)
{
	struct forward f;
	struct err e = { 0 };

	if (forward_parse(text, s->arena, &f, &e) < 0)
		return;
	for (size_t i = 0; i < f.n; i++) {
		const struct alias_item *item = &f.v[i];
		if (item->kind == ALIAS_FILE || (item->kind == ALIAS_ADDRESS && str_starts(item->text, STR("~/"))))
			note_directory(s, full_path(s, s->arena, item->text));
		else if (item->kind == ALIAS_INCLUDE && lists)
			read_list(s, item->text);
	}
}

void sources_read(struct sources *s)
{
	if (s->alias.n > 0) {
		read_items(s, s->alias, true);
		return;
	}
	for (size_t i = 0; i < s->policy.n_forward; i++)
		read_template(s, i);
	for (const struct kept_file *f = s->forwards; f; f = f->next)
		if (f->trouble.code == ERR_NONE)
			read_items(s, f->text, true);
}

/* --- a message's plan --- */

struct planning {
	const struct sources *s;
	const struct ipc_deliver_COPY *m;
	struct arena *a;
	struct plan *plan;
};

static int add_items(struct planning *p, struct str text, const char *where, struct err *e);

static int add_address(struct planning *p, const struct alias_item *item, const char *where)
{
	struct plan *plan = p->plan;
	const bool self = strcmp(where, "alias") != 0 && p->s->alias.n == 0 &&
			  (str_case_eq(item->text, str_c(p->s->acct->name)) || str_case_eq(item->text, p->m->recipient));

	if ((item->plain && p->s->alias.n == 0) || self)
		plan->keep = true;
	else if (plan->n_addresses < FORWARD_ITEMS_MAX)
		plan->addresses[plan->n_addresses++] = item->text;
	return 0;
}

static int add_program(struct planning *p, bool command, struct str text, const char *where, struct err *e)
{
	const struct policy *policy = &p->s->policy;
	struct plan *plan = p->plan;
	const bool allowed = command ? has_word(policy->commands, policy->n_commands, where) : has_word(policy->files, policy->n_files, where);

	if (!allowed)
		return err_set(e, ERR_DENIED, 0, "%s are not allowed by configuration (allow_mail_to_%s = %s)", command ? "commands" : "files",
			       command ? "commands" : "files", where);
	if (!command) {
		text = full_path(p->s, p->a, text);
		if (text.n == 0)
			return err_set(e, ERR_TEMP, 0, "a file's path must be absolute");
	}
	plan->programs[plan->n_programs++] = (struct program){ .command = command, .text = text };
	plan->commands |= command;
	return 0;
}

static int add_list(struct planning *p, struct str item, const char *where, struct err *e)
{
	const struct str path = full_path(p->s, p->a, item);

	if (strcmp(where, "include") == 0)
		return err_set(e, ERR_TEMP, 0, ":include: inside of a list");
	for (const struct kept_file *f = p->s->lists; f; f = f->next)
		if (path.n > 0 && str_eq(f->path, path)) {
			*e = f->trouble;
			return e->code ? -1 : add_items(p, f->text, "include", e);
		}
	return err_set(e, ERR_TEMP, 0, "list %.*s was not read", STR_ARG(item));
}

static int add_item(struct planning *p, const struct alias_item *item, const char *where, struct err *e)
{
	switch (item->kind) {
	case ALIAS_COMMAND:
		return add_program(p, true, item->text, where, e);
	case ALIAS_FILE:
		return add_program(p, false, item->text, where, e);
	case ALIAS_INCLUDE:
		return add_list(p, item->text, where, e);
	default:
		if (str_starts(item->text, STR("~/")))
			return add_program(p, false, item->text, where, e);
		return add_address(p, item, where);
	}
}

static int add_items(struct planning *p, struct str text, const char *where, struct err *e)
{
	struct forward f;

	if (forward_parse(text, p->a, &f, e) < 0)
		return -1;
	for (size_t i = 0; i < f.n; i++) {
		if (p->plan->n_programs + p->plan->n_addresses >= FORWARD_ITEMS_MAX)
			return err_set(e, ERR_LIMIT, 0, "more than %d recipients", FORWARD_ITEMS_MAX);
		if (add_item(p, &f.v[i], where, e) < 0)
			return -1;
	}
	return 0;
}

/* The item that queued names must stand in the alias as the map has it. */
/* For so many items, and mailbox_command. Most users have none: to clear room for the most that there may be costs as much as to read and write the message. */
static void make_room(struct planning *p, size_t n)
{
	p->plan->addresses = n > 0 ? ARENA_ARRAY(p->a, struct str, n) : NULL;
	p->plan->programs = ARENA_ARRAY(p->a, struct program, n + 1);
}

static int plan_alias(struct planning *p, struct err *e)
{
	struct forward f;

	make_room(p, FORWARD_ITEMS_MAX);
	if (forward_parse(p->s->alias, p->a, &f, e) < 0)
		return -1;
	for (size_t i = 0; i < f.n; i++)
		if (f.v[i].kind != ALIAS_ADDRESS && str_eq(f.v[i].text, p->m->item) && str_eq(str_c(alias_kind_words[f.v[i].kind]), p->m->kind))
			return add_item(p, &f.v[i], "alias", e);
	return err_set(e, ERR_TEMP, 0, "the alias does not say so (any more)");
}

/* What stands before the extension in the recipient's address. */
static char delimiter_of(const struct ipc_deliver_COPY *m)
{
	const ptrdiff_t at = str_rchr(m->recipient, '@');
	const struct str local = at < 0 ? m->recipient : str_sub(m->recipient, 0, (size_t)at);

	return m->extension.n > 0 && local.n > m->extension.n ? local.p[local.n - m->extension.n - 1] : '\0';
}

/* The forward file for this message's extension: the first template that has one decides. */
static const struct kept_file *choose_forward(const struct sources *s, const struct ipc_deliver_COPY *m)
{
	const char delimiter = delimiter_of(m);

	for (size_t i = 0; i < s->policy.n_forward; i++)
		for (const struct kept_file *f = s->forwards; f; f = f->next)
			if (f->template == i && (f->extension.n == 0 || (str_case_eq(f->extension, m->extension) && (f->delimiter == '\0' || f->delimiter == delimiter))))
				return f;
	return NULL;
}

static int plan_mailbox(struct planning *p, struct err *e)
{
	const struct kept_file *f = choose_forward(p->s, p->m);
	const struct policy *policy = &p->s->policy;

	if (f && f->trouble.code) {
		*e = f->trouble;
		return -1;
	}
	make_room(p, f ? FORWARD_ITEMS_MAX : 0);
	if (f && add_items(p, f->text, "forward", e) < 0)
		return err_wrap(e, ".forward");
	if (p->plan->n_addresses == 0 && p->plan->n_programs == 0)
		p->plan->keep = true;
	const struct str command = p->plan->keep ? command_of(policy, str_c(p->s->acct->name)) : (struct str){ 0 };
	if (command.n > 0) {
		p->plan->keep = false;
		p->plan->commands = true;
		p->plan->programs[p->plan->n_programs++] = (struct program){ .command = true, .text = command };
	}
	return 0;
}

int plan_make(const struct sources *s, const struct ipc_deliver_COPY *m, struct arena *a, struct plan *out, struct err *e)
{
	struct planning p = { .s = s, .m = m, .a = a, .plan = out };

	*out = (struct plan){ .addresses = NULL };
	if ((s->alias.n > 0) != (m->kind.n > 0))
		return err_set(e, ERR_TEMP, 0, "this agent is for something else");
	if ((s->alias.n > 0 ? plan_alias(&p, e) : plan_mailbox(&p, e)) == 0)
		return 0;
	e->code = ERR_TEMP;	/* somebody can mend it: the mail waits */
	return -1;
}
