/* The parts of deliver: deliver.c as root until it is the user; after that deliver_user.c (copies), deliver_plan.c (what a .forward file, an alias or a list asks for),
 * deliver_program.c (commands and files), deliver_quota.c. */
#ifndef DELIVER_PRIV_H
#define DELIVER_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "deliver/local/forward.h"
#include "map/accounts.h"
#include "store/quota.h"

enum { DELIVER_CHANNEL = 0, DELIVER_POLICY_MAX = 64000, POLICY_WORDS_MAX = 16, FORWARD_FILES_MAX = 32, DIRECTORIES_MAX = 32 };

/* What the configuration says is in a file of root's with this first line; behind it lines "name=value". queued's parent writes it. */
#define DELIVER_POLICY_MARK "postern-deliver 1\n"

/* As the user, confined: serve copies until the channel is closed or idle. alias: the value of the alias that this agent is for, or empty: a mailbox. Returns the exit status. */
int deliver_serve(const struct account *acct, const char *policy, struct str alias);

static inline struct quota account_quota(const struct account *a) { return (struct quota){ a->quota_bytes, a->quota_count }; }
/* A message came in: tell the user once when it passes one of the percentages. Best effort. */
void quota_warn(int rootfd, const struct account *acct, struct str percentages, struct str hostname);

/* --- deliver_plan.c --- */

/* The lines of the policy that are not deliver.c's own. */
struct policy {
	bool run;			/* this agent can execute commands */
	uint64_t limit_s;		/* of one command */
	struct str delimiters, mailbox_command;
	struct str text;		/* all of it: command_of=USER COMMAND lines are looked for when they are wanted */
	struct str commands[POLICY_WORDS_MAX], files[POLICY_WORDS_MAX], forward[POLICY_WORDS_MAX];
	size_t n_commands, n_files, n_forward;
};
void policy_parse(struct str text, struct policy *out);

/* A file that was read before the agent confined itself. */
struct kept_file {
	struct kept_file *next;
	struct str path;
	struct str extension;		/* of a .forward+extension; else empty */
	char delimiter;			/* before it; '\0': for mail with any */
	size_t template;		/* which forward_path */
	struct str text;
	struct err trouble;		/* it must not be used: why */
};

struct sources {
	struct arena *arena;		/* of the agent's life */
	const struct account *acct;
	struct policy policy;
	struct str alias;
	struct kept_file *forwards, *lists;
	struct str directories[DIRECTORIES_MAX];	/* that files are written in */
	size_t n_directories;
};
/* Before confinement: read forward files and include lists. What is wrong with one shows when a message needs it. */
void sources_read(struct sources *s);

struct program {
	bool command;			/* else a file */
	struct str text;		/* command, or absolute path */
};
/* Where one message goes. */
struct plan {
	struct str *addresses;
	size_t n_addresses;
	struct program *programs;
	size_t n_programs;
	bool keep;			/* into the mailbox */
	bool commands;			/* a program is a command */
};
struct ipc_deliver_COPY;
int plan_make(const struct sources *s, const struct ipc_deliver_COPY *m, struct arena *a, struct plan *out, struct err *e) MUST_CHECK;

/* --- deliver_program.c --- */
struct outcome {
	bool permanent;
	char enhanced[12], text[300];
};
/* The message as it is given to a program: head (with the lines that come before it), then the body. */
struct content {
	struct str head;
	int fd;
	uint64_t body, end;
};
/* 0: delivered, out->text says where. -1: out says how it failed. */
int program_deliver(const struct sources *s, const struct ipc_deliver_COPY *m, const struct program *p, const struct content *c, struct outcome *out) MUST_CHECK;
/* What a command's end means (sysexits.h), and its output. Pure. 0, or -1. */
int program_outcome(int status, bool overran, struct str command, struct str output, struct outcome *out) MUST_CHECK;

#endif
