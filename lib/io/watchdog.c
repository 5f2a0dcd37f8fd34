/* systemd's watchdog: a daemon's main loop says that it still turns. A file of its own, since nothing else in the loop needs lib/os. */
#include "io/loop.h"
#include "os/os.h"

static struct timer *due;

static void on_due(void *ctx)
{
	(void)sd_notify_send("WATCHDOG=1");
	timer_again(due, proc_watchdog_ms());
}

void loop_watchdog(struct loop *l)
{
	if (proc_watchdog_ms() > 0 && !due)
		due = loop_timer(l, 0, on_due, NULL);
}
