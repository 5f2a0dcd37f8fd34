/* postern-queue: the administrator's view of the queue; under the name mailq it lists. It asks queued over $run/queue/control and formats what comes back: as other
 * servers' tools do (scripts parse that), or one JSON object a line. "show" prints the message itself from the spool, which root may read.
 */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/enc.h"
#include "base/json.h"
#include "base/num.h"
#include "conf/conf.h"
#include "ipc/control.h"
#include "os/os.h"
#include "spool/spool.h"

enum { ANSWER_MS = 60000 };

struct printer {
	bool json, open;	/* open: a message's recipients follow */
	bool first_rcpt;
	uint64_t bytes, messages;
	char qid[SPOOL_QID_MAX + 1];
	uint64_t size;
	char reason[700];
};

static struct str get(const struct ipc_control_LINE *l, const char *key)
{
	for (size_t i = 0; i < l->keys.n && i < l->values.n; i++)
		if (str_eq(l->keys.v[i], str_c(key)))
			return l->values.v[i];
	return (struct str){ 0 };
}

static uint64_t get_u64(const struct ipc_control_LINE *l, const char *key)
{
	uint64_t v = 0;

	return num_parse(get(l, key), 0, UINT64_MAX, &v) < 0 ? 0 : v;
}

/* --- the classic form --- */

static void print_message(struct printer *p, const struct ipc_control_LINE *l)
{
	const struct str sender = get(l, "sender"), state = get(l, "queue_name");
	const time_t when = (time_t)get_u64(l, "arrival_time");
	char stamp[40] = "", id[32];
	struct tm tm;

	if (p->messages == 0)
		printf("-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n");
	else
		printf("\n");
	if (localtime_r(&when, &tm))
		strftime(stamp, sizeof(stamp), "%a %b %d %H:%M:%S", &tm);
	snprintf(id, sizeof(id), "%.*s%s", STR_ARG(get(l, "queue_id")), str_eq(state, STR("active")) ? "*" : str_eq(state, STR("hold")) ? "!" : "");
	printf("%-11s %7llu %s  %.*s\n", id, (unsigned long long)get_u64(l, "message_size"), stamp, STR_ARG(sender.n ? sender : STR("MAILER-DAEMON")));
	p->reason[0] = '\0';
}

static void print_rcpt(struct printer *p, const struct ipc_control_LINE *l)
{
	const struct str reason = get(l, "delay_reason");

	if (reason.n > 0 && !str_eq(reason, str_c(p->reason))) {
		const size_t n = reason.n > 600 ? 600 : reason.n;
		printf("%*s(%.*s)\n", n + 2 < 76 ? (int)(76 - n) : 0, "", (int)n, reason.p);
		snprintf(p->reason, sizeof(p->reason), "%.*s", (int)n, reason.p);
	}
	printf("%41s%.*s\n", "", STR_ARG(get(l, "recipient")));
}

/* --- JSON --- */

static void json_close(struct printer *p)
{
	if (p->open)
		printf("]}\n");
	p->open = false;
}

static void json_message(struct printer *p, const struct ipc_control_LINE *l)
{
	json_close(p);
	putchar('{');
	json_field(stdout, "queue_name", get(l, "queue_name"), true);
	json_field(stdout, "queue_id", get(l, "queue_id"), false);
	json_number(stdout, "arrival_time", (long long)get_u64(l, "arrival_time"), false);
	json_number(stdout, "message_size", (long long)get_u64(l, "message_size"), false);
	json_bool(stdout, "forced_expire", false, false);
	json_field(stdout, "sender", get(l, "sender"), false);
	printf(", \"recipients\": [");
	p->open = p->first_rcpt = true;
}

static void json_rcpt(struct printer *p, const struct ipc_control_LINE *l)
{
	fputs(p->first_rcpt ? "{" : ", {", stdout);
	json_field(stdout, "address", get(l, "recipient"), true);
	if (get(l, "delay_reason").n > 0)
		json_field(stdout, "delay_reason", get(l, "delay_reason"), false);
	printf("}");
	p->first_rcpt = false;
}

/* --- one request --- */

static void on_list(struct printer *p, const struct ipc_control_LINE *l)
{
	if (get(l, "queue_id").n > 0) {
		if (p->json)
			json_message(p, l);
		else
			print_message(p, l);
		p->messages++;
		p->bytes += get_u64(l, "message_size");
	} else if (p->json) {
		json_rcpt(p, l);
	} else {
		print_rcpt(p, l);
	}
}

static void on_pairs(struct printer *p, const struct ipc_control_LINE *l)
{
	if (get(l, "queue_id").n > 0) {
		snprintf(p->qid, sizeof(p->qid), "%.*s", STR_ARG(get(l, "queue_id")));
		p->size = get_u64(l, "message_size");
	}
	for (size_t i = 0; i < l->keys.n && i < l->values.n; i++)
		printf("%.*s: %.*s\n", STR_ARG(l->keys.v[i]), STR_ARG(l->values.v[i]));
	printf("\n");
}

static int ask(const struct conf *c, const char *word, char **args, int n_args, struct printer *p, void (*fn)(struct printer *, const struct ipc_control_LINE *))
{
	struct arena *a = arena_new(0);
	struct ipc_control_REQUEST m = { .word = str_c(word) };
	struct err e = { 0 };
	char path[1100];
	int r = EX_UNAVAILABLE;

	m.args.v = ARENA_ARRAY(a, struct str, (size_t)n_args + 1);
	for (int i = 0; i < n_args; i++)
		m.args.v[m.args.n++] = str_c(args[i]);
	snprintf(path, sizeof(path), "%s/queue/control", c->run_directory);
	CLEANUP_FD int sock = sock_unix_connect(path, SOCK_SEQPACKET, &e);
	if (sock < 0 || ipc_send_fd(sock, &ipc_control, IPC_control_REQUEST, &m, 1, -1, &e) < 0) {
		fprintf(stderr, "postern-queue: %s (is queued running?)\n", e.text);
		arena_free(&a);
		return r;
	}
	for (;;) {
		struct arena_mark mark = arena_mark(a);
		uint16_t type;
		uint32_t id;
		void *msg;
		int fd;
		if (ipc_recv_fd(sock, &ipc_control, ANSWER_MS, a, &type, &id, &msg, &fd, &e) < 0) {
			fprintf(stderr, "postern-queue: %s\n", e.text);
			break;
		}
		close_fd(&fd);
		if (type == IPC_control_LINE) {
			fn(p, msg);
		} else if (type == IPC_control_END) {
			const struct ipc_control_END *end = msg;
			if (end->code == 0 && str_eq(end->text, STR("more"))) {	/* a long answer comes in pages */
				const struct ipc_control_REQUEST more = { .word = STR("more") };
				arena_release(a, mark);
				if (ipc_send_fd(sock, &ipc_control, IPC_control_REQUEST, &more, 1, -1, &e) == 0)
					continue;
				fprintf(stderr, "postern-queue: %s\n", e.text);
				break;
			}
			if (end->text.n > 0)
				fprintf(end->code ? stderr : stdout, "%.*s\n", STR_ARG(end->text));
			r = end->code ? EX_DATAERR : 0;
			break;
		}
		arena_release(a, mark);
	}
	arena_free(&a);
	return r;
}

static int list(const struct conf *c, bool json)
{
	struct printer p = { .json = json };
	const int r = ask(c, "list", NULL, 0, &p, on_list);

	if (json)
		json_close(&p);
	else if (r == 0 && p.messages == 0)
		printf("Mail queue is empty\n");
	else if (r == 0)
		printf("\n-- %llu Kbytes in %llu Request%s.\n", (unsigned long long)((p.bytes + 1023) / 1024), (unsigned long long)p.messages, p.messages == 1 ? "" : "s");
	return r;
}

static int show(const struct conf *c, char **args, int n)
{
	struct printer p = { 0 };
	struct spool *sp = NULL;
	struct err e = { 0 };
	char chunk[65536];
	int fd = -1;
	const int r = ask(c, "show", args, n, &p, on_pairs);

	if (r != 0 || p.qid[0] == '\0')
		return r;
	if (spool_open(c->queue_directory, &sp, &e) < 0 || spool_read_fd(sp, str_c(p.qid), p.size, &fd, &e) < 0) {
		fprintf(stderr, "postern-queue: %s\n", e.text);
		spool_close(&sp);
		return EX_NOINPUT;
	}
	for (uint64_t off = 0; off < p.size;) {
		const ssize_t k = pread(fd, chunk, p.size - off < sizeof(chunk) ? (size_t)(p.size - off) : sizeof(chunk), (off_t)off);
		if (k <= 0 || fwrite(chunk, 1, (size_t)k, stdout) != (size_t)k)
			break;
		off += (uint64_t)k;
	}
	close_fd(&fd);
	spool_close(&sp);
	return 0;
}

static void usage(FILE *to)
{
	fprintf(to, "usage: postern-queue [-c FILE] list [--json] | flush [ID…] | hold ID… | release ID… | delete ID… | show ID | status\n"
		    "  ID may be ALL. Without a word, and as mailq: list.\n");
}

static int nothing_asked(const char *word, int n)
{
	if (n > 0 || strcmp(word, "flush") == 0 || strcmp(word, "status") == 0)
		return 0;
	fprintf(stderr, "postern-queue: %s: which message? (ALL for all)\n", word);
	return EX_USAGE;
}

static int do_word(const struct conf *c, const char *word, char **args, int n, bool json)
{
	static const char *const words[] = { "flush", "hold", "release", "delete", "status" };
	struct printer p = { 0 };

	if (strcmp(word, "list") == 0)
		return list(c, json);
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcmp(word, words[i]) == 0) {
			const int r = nothing_asked(word, n);
			return r ? r : ask(c, word, args, n, &p, on_pairs);
		}
	if (strcmp(word, "show") == 0)
		return n == 1 ? show(c, args, 1) : nothing_asked(word, 0);
	usage(stderr);
	return EX_USAGE;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' }, { "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' }, { 0 },
	};
	const char *file = conf_default_file(), *word;
	struct conf *c = NULL;
	struct err e = { 0 };
	bool json = false;

	for (int opt; (opt = getopt_long(argc, argv, "c:jph", longs, NULL)) != -1;)
		switch (opt) {
		case 'c': file = optarg; break;
		case 'j': json = true; break;
		case 'p': break;
		case 'h': usage(stdout); return 0;
		case 'V': printf("Postern %s\n", POSTERN_VERSION); return 0;
		default: usage(stderr); return EX_USAGE;
		}
	if (conf_load(file, &c, NULL, &e) < 0) {
		fprintf(stderr, "postern-queue: %s\n", e.text);
		return EX_CONFIG;
	}
	word = optind < argc ? argv[optind++] : "list";
	const int r = do_word(c, word, argv + optind, argc - optind, json);
	conf_free(&c);
	return r;
}
