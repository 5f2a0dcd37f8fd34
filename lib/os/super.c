/* Supervision: a root parent that only starts children and restarts them. It reads nothing from anybody but signals and exit statuses.
 *
 * A member of the group that dies takes the group with it: the socket pairs between members are made anew for each start, so nobody
 * talks to half of an old group. Restart is at once after a long life, later after short ones. */
#include "os/os.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "log/log.h"

enum {
	FAST_DEATH_MS = 5000,		/* a life shorter than this counts as fast */
	BACKOFF_FIRST_MS = 100,
	BACKOFF_MAX_MS = 5000,
	END_WAIT_MS = 10000,		/* between TERM and KILL */
	TICK_MAX_MS = 60000,
	EXIT_NO_RETURN = 70,
};

struct state {
	struct super *s;
	sigset_t watched;
	bool stopping;
	bool leads_ending;		/* of stopping: the others are told when those that lead are gone */
	bool group_ending;		/* members are being ended; the group starts again when all are gone */
	uint64_t group_start_ms;	/* when the group is to be started; 0: it runs */
	uint64_t watchdog_ms, watchdog_at_ms;
	uint64_t kill_ms;		/* when those that still live are killed; 0: never */
};

static bool in_group(const struct super_child *c)
{
	return c->with_group;
}

static uint64_t backoff_ms(unsigned fast_deaths)
{
	if (fast_deaths <= 1)
		return 0;
	uint64_t ms = BACKOFF_FIRST_MS;
	for (unsigned i = 2; i < fast_deaths && ms < BACKOFF_MAX_MS; i++)
		ms *= 2;
	return ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS;
}

static void child_main(const struct state *st, struct super_child *c, pid_t parent)
{
	(void)sigprocmask(SIG_UNBLOCK, &st->watched, NULL);
	/* Children do not outlive their supervisor: a new one would start a second set beside them. confine_enter keeps this over the change of
	 * identity, which would clear it. */
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(0);
	c->run(c->ctx);
	_exit(EXIT_NO_RETURN);
}

static void start_child(struct state *st, struct super_child *c)
{
	const pid_t parent = getpid();
	c->started_ms = clock_mono_ms();
	c->start_at_ms = 0;
	const pid_t pid = fork();
	if (pid == 0)
		child_main(st, c, parent);
	if (pid < 0) {
		log_error("%s: fork failed (errno %d), trying again", c->name, errno);
		c->fast_deaths++;
		c->start_at_ms = clock_mono_ms() + BACKOFF_MAX_MS;
		return;
	}
	c->pid = pid;
	log_debug("%s started, pid %d", c->name, (int)pid);
}

static void signal_children(const struct super *s, int signo, bool group_only)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->children[i].pid > 0 && (!group_only || in_group(&s->children[i])))
			(void)kill(s->children[i].pid, signo);
}

static size_t count_alive(const struct super *s, bool group_only)
{
	size_t n = 0;
	for (size_t i = 0; i < s->n; i++)
		n += s->children[i].pid > 0 && (!group_only || in_group(&s->children[i]));
	return n;
}

/* End what lives of the group; it is started again from at_ms on. */
static void end_group(struct state *st, uint64_t at_ms)
{
	st->group_ending = true;
	st->group_start_ms = at_ms;
	st->kill_ms = clock_mono_ms() + END_WAIT_MS;
	signal_children(st->s, SIGTERM, true);
}

static void start_group(struct state *st)
{
	struct super *s = st->s;
	bool any = false;
	for (size_t i = 0; i < s->n; i++)
		any = any || in_group(&s->children[i]);
	st->group_ending = false;
	st->group_start_ms = 0;
	if (!any)
		return;
	if (s->before_start)
		s->before_start(s->ctx);
	for (size_t i = 0; i < s->n; i++)
		if (in_group(&s->children[i]))
			start_child(st, &s->children[i]);
	if (s->after_start)
		s->after_start(s->ctx);
	/* One that could not be forked: its channels are closed now, the others would wait for ever. */
	for (size_t i = 0; i < s->n; i++)
		if (in_group(&s->children[i]) && s->children[i].pid == 0)
			end_group(st, clock_mono_ms() + BACKOFF_MAX_MS);
}

/* Note a death: how, and when it may start again. */
static void child_died(struct state *st, struct super_child *c, int status)
{
	const uint64_t now = clock_mono_ms();
	c->pid = 0;
	if (st->stopping)
		return;
	c->fast_deaths = now - c->started_ms < FAST_DEATH_MS ? c->fast_deaths + 1 : 0;
	const bool expected = in_group(c) && st->group_ending;
	if (expected)
		c->fast_deaths = 0;	/* we ended it */
	else if (WIFSIGNALED(status))
		log_error("%s died of signal %d, restarting", c->name, WTERMSIG(status));
	else if (WEXITSTATUS(status) == 0)
		log_info("%s has ended, starting it again", c->name);	/* to take a new configuration, say */
	else
		log_error("%s exited with status %d, restarting", c->name, WEXITSTATUS(status));
	const uint64_t at = now + backoff_ms(c->fast_deaths);
	if (!in_group(c)) {
		c->start_at_ms = at;
		return;
	}
	if (!expected)
		end_group(st, at);
}

static void reap(struct state *st)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < st->s->n; i++)
			if (st->s->children[i].pid == pid)
				child_died(st, &st->s->children[i], status);
}

static size_t signal_leads(const struct super *s, int signo)
{
	size_t n = 0;
	for (size_t i = 0; i < s->n; i++)
		if (s->children[i].leads && s->children[i].pid > 0) {
			(void)kill(s->children[i].pid, signo);
			n++;
		}
	return n;
}

/* Those that lead may finish what the others do for them. */
static void begin_stop(struct state *st)
{
	if (st->stopping)
		return;
	st->stopping = true;
	(void)sd_notify_send("STOPPING=1");
	st->kill_ms = clock_mono_ms() + END_WAIT_MS;
	st->leads_ending = signal_leads(st->s, SIGTERM) > 0;
	if (!st->leads_ending)
		signal_children(st->s, SIGTERM, false);
}

static void go_on_stopping(struct state *st)
{
	if (!st->leads_ending || signal_leads(st->s, 0) > 0)
		return;
	st->leads_ending = false;
	st->kill_ms = clock_mono_ms() + END_WAIT_MS;
	signal_children(st->s, SIGTERM, false);
}

/* What the clock brings: kills, starts. Returns milliseconds until the next one. */
static uint64_t do_timers(struct state *st)
{
	const uint64_t now = clock_mono_ms();
	uint64_t next = now + TICK_MAX_MS;
	if (st->watchdog_ms) {
		if (now >= st->watchdog_at_ms) {
			(void)sd_notify_send("WATCHDOG=1");
			st->watchdog_at_ms = now + st->watchdog_ms;
		}
		next = st->watchdog_at_ms < next ? st->watchdog_at_ms : next;
	}
	if (st->stopping)
		go_on_stopping(st);
	if (st->kill_ms && (st->stopping || st->group_ending)) {
		if (now >= st->kill_ms) {
			if (st->leads_ending)
				(void)signal_leads(st->s, SIGKILL);
			else
				signal_children(st->s, SIGKILL, !st->stopping);
			st->kill_ms = now + END_WAIT_MS;
		}
		next = st->kill_ms < next ? st->kill_ms : next;
	}
	if (st->stopping)
		return next - now;
	if (st->group_ending && count_alive(st->s, true) == 0) {
		if (now >= st->group_start_ms)
			start_group(st);
		else
			next = st->group_start_ms < next ? st->group_start_ms : next;
	}
	for (size_t i = 0; i < st->s->n; i++) {
		struct super_child *c = &st->s->children[i];
		if (in_group(c) || c->pid > 0)
			continue;
		if (now >= c->start_at_ms)
			start_child(st, c);
		if (c->pid == 0 && c->start_at_ms < next)
			next = c->start_at_ms;
	}
	return next > now ? next - now : 1;
}

static void on_signal(struct state *st, int signo)
{
	switch (signo) {
	case SIGTERM:
	case SIGINT:
		begin_stop(st);
		break;
	case SIGHUP:
		(void)sd_notify_send("RELOADING=1");
		if (st->s->hup)
			st->s->hup(st->s->ctx);
		signal_children(st->s, SIGHUP, false);
		(void)sd_notify_send("READY=1");
		break;
	default:
		reap(st);
	}
}

int super_run(struct super *s, struct err *e)
{
	struct state st = { .s = s, .watchdog_ms = proc_watchdog_ms() };
	sigemptyset(&st.watched);
	sigaddset(&st.watched, SIGTERM);
	sigaddset(&st.watched, SIGINT);
	sigaddset(&st.watched, SIGHUP);
	sigaddset(&st.watched, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &st.watched, NULL) < 0)
		return err_set(e, ERR_BUG, errno, "sigprocmask");
	start_group(&st);
	while (!st.stopping || count_alive(s, false) > 0) {
		const uint64_t ms = do_timers(&st);
		proc_ready();
		const struct timespec wait = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 };
		const int signo = sigtimedwait(&st.watched, NULL, &wait);
		if (signo > 0)
			on_signal(&st, signo);
		reap(&st);	/* signals of the same number are merged */
	}
	return 0;
}
