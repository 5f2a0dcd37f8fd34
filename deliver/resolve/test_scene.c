/* See test_scene.h. */
#include "deliver/resolve/test_scene.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "map/accounts.h"

static char dir[64];

const char *scene_dir(void)
{
	return dir;
}

const char *scene_path(const char *name)
{
	static char p[128];

	(void)snprintf(p, sizeof(p), "%s/%s", dir, name);
	return p;
}

void scene_put(const char *name, const char *text)
{
	const int fd = open(scene_path(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
	close(fd);
}

static void put_accounts(void)
{
	static const char *const names[] = { "joe", "susan", "boss", "administrator", "john", "plus+name", "self", "chief",
					     "alice@vmail.example", "john@vmail.example" };
	struct cdbwrite *w;
	struct err e = { 0 };

	if (cdbwrite_begin(scene_path("accounts.cdb"), &w, &e) < 0 || accounts_put_marker(w, &e) < 0)
		abort();
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct account a = { .uid = 2000 + (uid_t)i, .gid = 2000, .home = "/mail/x", .maildir = "/mail/x/Maildir/" };
		struct buf b;

		buf_init(&b, 4096);
		(void)snprintf(a.name, sizeof(a.name), "%s", names[i]);
		account_format(&a, &b);
		if (cdbwrite_add(w, str_c(names[i]), buf_view(&b), &e) < 0)
			abort();
		buf_fini(&b);
	}
	if (cdbwrite_commit(&w, 0644, (uid_t)-1, (gid_t)-1, &e) < 0)
		abort();
}

struct resolver *scene_resolver(const char *extra, struct conf **conf)
{
	struct resolver *r = NULL;
	struct buf text, problems;
	struct err e = { 0 };

	buf_init(&text, 65536);
	buf_init(&problems, 65536);
	buf_printf(&text,
		   "myhostname = mail.example.com\nmydomain = example.com\nmyorigin = $mydomain\n"
		   "mydestination = $myhostname localhost $mydomain\nproxy_interfaces = 192.0.2.9\ninet_interfaces = 127.0.0.1\n"
		   "virtual_mailbox_domains = vmail.example\nrelay_domains = backup.example .sub.example\nstate_directory = %s\n%s",
		   dir, extra);
	if (conf_parse(buf_view(&text), "x.conf", conf, &problems, &e) < 0 || resolver_new(*conf, &r, &e) < 0)
		printf("# %s\n# %s\n", problems.p, e.text);
	if (!r)
		abort();
	buf_fini(&text);
	buf_fini(&problems);
	return r;
}

void scene_begin(void)
{
	(void)snprintf(dir, sizeof(dir), "/tmp/test_resolve.%d", (int)getpid());
	if (mkdir(dir, 0700) < 0 || !freopen("/dev/null", "w", stderr))
		abort();
	put_accounts();
}

void scene_end(void)
{
	(void)unlink(scene_path("accounts.cdb"));
	(void)unlink(scene_path("aliases"));
	(void)unlink(scene_path("virtual"));
	(void)rmdir(dir);
}
