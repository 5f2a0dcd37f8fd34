/* The start of smtpd, imapd and pop3d: options, configuration, log, and then one of the two ways to run. */
#include "front/front.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "front/front_priv.h"
#include "log/log.h"
#include "os/os.h"

enum { EXIT_CONF = 78, PROBLEMS_MAX = 1 << 20 };

/* One log line per problem. */
static void say_problems(const struct buf *problems)
{
	struct str rest = buf_view(problems);
	while (rest.p) {
		const struct str line = str_trim(str_split(&rest, '\n'));
		if (line.n && str_find(line, STR(": warning: ")) >= 0)
			log_warning("%.*s", STR_ARG(line));
		else if (line.n)
			log_error("%.*s", STR_ARG(line));
	}
}

int front_conf_load(const char *file, struct conf **out)
{
	struct buf problems;
	struct err e = { 0 };
	buf_init(&problems, PROBLEMS_MAX);
	const int r = conf_load(file, out, &problems, &e);
	say_problems(&problems);
	if (r < 0)
		log_error("%s", e.text);
	buf_fini(&problems);
	return r;
}

static void open_log(const struct front_run *run)
{
	char path[4096];
	struct err e = { 0 };
	(void)snprintf(path, sizeof(path), "%s/log/sock", run->conf->run_directory);
	log_verbose(run->options.verbose);
	/* Mail goes on without a log process; lines then go to stderr. */
	if (log_open(run->conf->syslog_name, run->service->log_program, path, &e) < 0) {
		struct err e2 = { 0 };
		if (log_open(run->conf->syslog_name, run->service->log_program, NULL, &e2) < 0)
			log_error("%s", e2.text);
		log_warning("no log process: %s", e.text);
	}
}

static int test_conf(const struct front_run *run)
{
	struct front_env env;
	struct err e = { 0 };
	if (template_prepare(run, &(struct front_certs){ .key_fd = -1, .whole = true }, &env, &e) == 0)
		return 0;
	log_error("%s", e.text);
	return EXIT_CONF;
}

int front_main(int argc, char **argv, const struct front_service *s)
{
	const struct daemon_usage usage = {
		.program = s->program, .separate = "the service manager has bound all ports: bind none", .inetd = "serve the connection on descriptor 0 (inetd, nowait)",
	};
	static struct front_run run;
	run = (struct front_run){ .service = s };
	proc_init(argc, argv);
	const int done = daemon_options_get(argc, argv, &usage, &run.options);
	if (done >= 0)
		return done;
	const int client_fd = run.options.inetd && !run.options.test ? inetd_take_client() : -1;
	if (front_conf_load(run.options.conf_file, &run.conf) < 0)
		return EXIT_CONF;
	char *absolute = strdup(run.conf->conf_file);	/* a daemon has left the directory it was started in; outlives reloads */
	run.options.conf_file = absolute ? absolute : run.conf->conf_file;
	(void)snprintf(run.user, sizeof(run.user), "%s", s->user(run.conf));	/* the snapshot is freed on reload */
	if (snprintf(run.empty_dir, sizeof(run.empty_dir), "%s/empty", run.conf->run_directory) >= (int)sizeof(run.empty_dir)) {
		log_error("run_directory is too long");
		return EXIT_CONF;
	}
	if (run.options.test)
		return test_conf(&run);
	open_log(&run);
	if (run.options.inetd)
		return inetd_main(&run, client_fd);
	if (geteuid() != 0) {
		log_error("%s must be started as root", s->program);
		return EXIT_CONF;
	}
	return parent_main(&run);
}
